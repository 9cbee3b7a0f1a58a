use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::*;
use crate::protocol::wire::{READ_BYTES, Wire};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(listener.accept(), TcpStream::connect(address));
    (near.unwrap().0, far.unwrap())
}

async fn plain() -> (Wire<Socket>, TcpStream) {
    let (near, far) = pair().await;
    (Wire::new(Socket::Plain(near)), far)
}

async fn encrypted() -> (Wire<Socket>, client::TlsStream<TcpStream>) {
    let (near, far) = pair().await;
    let made = rcgen::generate_simple_self_signed(["here".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let (acceptor, connector) =
        (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
    let name = ServerName::try_from("here").unwrap();
    let (near, far) = tokio::join!(acceptor.accept(near), connector.connect(name, far));
    (Wire::new(Socket::Tls(Box::new(near.unwrap()))), far.unwrap())
}

/// Who closes its own side is seen to, behind what it sent last; and it still gets its answer.
async fn check_half_closed<S>(mut wire: Wire<Socket>, mut far: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    far.write_all(b"last words").await.unwrap();
    far.shutdown().await.unwrap();
    wire.closed(READ_BYTES).await.unwrap();
    assert_eq!(wire.inbox, &b"last words"[..]);
    // It stays so.
    wire.closed(READ_BYTES).await.unwrap();
    wire.outbox.extend_from_slice(b"an answer");
    wire.flush().await.unwrap();
    drop(wire);
    let mut answer = Vec::new();
    // The end of a TLS conversation without a goodbye is an error to its reader.
    let _ = far.read_to_end(&mut answer).await;
    assert_eq!(answer, b"an answer");
}

#[tokio::test]
async fn half_closed() {
    let (wire, far) = plain().await;
    check_half_closed(wire, far).await;
    let (wire, far) = encrypted().await;
    check_half_closed(wire, far).await;
}

/// A socket that is no longer readable may hold text that was read and not taken.
#[tokio::test]
async fn what_rustls_holds_is_not_forgotten() {
    let (mut wire, mut far) = encrypted().await;
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(5 * READ_BYTES + 7).collect();
    far.write_all(&sent).await.unwrap();
    far.flush().await.unwrap();
    while wire.inbox.len() < sent.len() {
        wire.fill().await.unwrap();
    }
    assert_eq!(wire.inbox, sent);
}

/// An end without TLS's own goodbye may be anybody's doing.
#[tokio::test]
async fn a_cut_is_no_end() {
    let (mut wire, mut far) = encrypted().await;
    far.write_all(b"half a messa").await.unwrap();
    far.flush().await.unwrap();
    far.get_mut().0.shutdown().await.unwrap();
    let error = wire.closed(READ_BYTES).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(wire.inbox, &b"half a messa"[..]);
}

/// It is not read on and on: who waits in line may say so much and no more.
#[tokio::test]
async fn a_talker_in_line() {
    let (mut wire, mut far) = plain().await;
    far.write_all(&[b'x'; 4 * READ_BYTES]).await.unwrap();
    far.shutdown().await.unwrap();
    tokio::select! {
        biased;
        _ = wire.closed(READ_BYTES) => panic!("the end was seen"),
        () = tokio::task::yield_now() => {}
    }
    while wire.inbox.len() < READ_BYTES {
        wire.fill().await.unwrap();
    }
    assert!(wire.inbox.len() < 2 * READ_BYTES);
}
