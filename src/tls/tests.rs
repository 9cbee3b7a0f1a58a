//! A client's socket, both ways; and the files that make an identity.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::protocol::wire::{READ_BYTES, Wire};
use crate::yaml::{Mistakes, Place, Placed};

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

/// A directory with a certificate for the name `here`, and its key; gone when dropped.
struct Papers {
    directory: PathBuf,
    certificate: CertificateDer<'static>,
}

impl Papers {
    fn new(name: &str) -> Self {
        let directory = format!("veneer-tls-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let made = rcgen::generate_simple_self_signed(["here".to_owned()]).unwrap();
        fs::write(directory.join("certificate.pem"), made.cert.pem()).unwrap();
        fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(directory.join("key.pem"), Permissions::from_mode(0o600)).unwrap();
        Self { directory, certificate: made.cert.der().clone() }
    }

    /// What comes of these settings: an identity, and what is wrong.
    fn load(&self, certificate: &str, key: &str) -> (Tls, String) {
        let at = |line, file: &str| {
            let file = Some(file).filter(|file| !file.is_empty());
            file.map(|file| Placed { place: Place { line, column: 1 }, value: PathBuf::from(file) })
        };
        let settings =
            Settings { mode: Mode::Allow, certificate: at(2, certificate), key: at(3, key) };
        let mut mistakes = Mistakes::new(Path::new("veneer.yaml"));
        let place = Place { line: 1, column: 1 };
        let tls = Tls::load(&settings, &self.directory, Some(place), &mut mistakes);
        (tls, mistakes.to_string().replace(&format!("{}/", self.directory.display()), ""))
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.directory.join(file), text).unwrap();
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

async fn encrypted(name: &str) -> (Wire<Socket>, client::TlsStream<TcpStream>) {
    let (near, far) = pair().await;
    let papers = Papers::new(name);
    let (tls, mistakes) = papers.load("certificate.pem", "key.pem");
    assert_eq!(mistakes, "");
    let identity = tls.identity().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(papers.certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("here").unwrap();
    let (near, far) = tokio::join!(identity.accept(near), connector.connect(name, far));
    (Wire::new(near.unwrap()), far.unwrap())
}

/// Every mistake is one line that says which file, what is wrong and what is wanted.
#[test]
fn files() {
    let papers = Papers::new("files");
    let other = rcgen::generate_simple_self_signed(["there".to_owned()]).unwrap();
    papers.write("other.pem", &other.signing_key.serialize_pem());
    papers.write("prose.pem", "Dear certificate,\n");
    papers.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    papers.write("open.pem", &fs::read_to_string(papers.directory.join("key.pem")).unwrap());
    for (file, mode) in [("other.pem", 0o600), ("prose.pem", 0o600), ("open.pem", 0o644)] {
        fs::set_permissions(papers.directory.join(file), Permissions::from_mode(mode)).unwrap();
    }
    let unread = "cannot be read: No such file or directory (os error 2)";
    for (certificate, key, expected) in [
        ("certificate.pem", "key.pem", ""),
        (
            "",
            "key.pem",
            "veneer.yaml:1:1: `certificate` is missing; wanted `certificate: FILE`, or `mode: off`",
        ),
        (
            "certificate.pem",
            "",
            "veneer.yaml:1:1: `key` is missing; wanted `key: FILE`, or `mode: off`",
        ),
        ("gone.pem", "key.pem", &format!("veneer.yaml:2:1: certificate file `gone.pem`: {unread}")),
        ("certificate.pem", "gone.pem", &format!("veneer.yaml:3:1: key file `gone.pem`: {unread}")),
        (
            "prose.pem",
            "key.pem",
            "veneer.yaml:2:1: certificate file `prose.pem`: it holds no certificate; wanted PEM, `-----BEGIN CERTIFICATE-----`",
        ),
        (
            "broken.pem",
            "key.pem",
            "veneer.yaml:2:1: certificate file `broken.pem`: cannot be used: invalid peer certificate: BadEncoding",
        ),
        (
            "certificate.pem",
            "prose.pem",
            "veneer.yaml:3:1: key file `prose.pem`: it holds no private key; wanted PEM that no password protects, `-----BEGIN PRIVATE KEY-----`",
        ),
        (
            "certificate.pem",
            "other.pem",
            "veneer.yaml:3:1: the key in `other.pem` does not belong to the certificate",
        ),
        (
            "certificate.pem",
            "open.pem",
            "veneer.yaml:3:1: warning: key file `open.pem` can be read by others (mode 0644); wanted 0600",
        ),
    ] {
        let (tls, mistakes) = papers.load(certificate, key);
        assert_eq!(mistakes, expected, "{certificate} {key}");
        let is_good = expected.is_empty() || expected.contains("warning");
        assert_eq!(tls.identity().is_some(), is_good, "{certificate} {key}");
    }
}

/// A bad file changes nothing.
#[test]
fn reload() {
    let papers = Papers::new("reload");
    let (tls, _) = papers.load("certificate.pem", "key.pem");
    let shown = || tls.identity().unwrap().certificate().to_vec();
    let first = shown();
    let other = rcgen::generate_simple_self_signed(["there".to_owned()]).unwrap();
    papers.write("certificate.pem", &other.cert.pem());
    tls.reload();
    assert_eq!(shown(), first, "its key is not there yet");
    papers.write("key.pem", &other.signing_key.serialize_pem());
    tls.reload();
    assert_eq!(shown(), *other.cert.der().as_ref());
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
    // Without a goodbye the end of a TLS conversation would be an error.
    far.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"an answer");
}

#[tokio::test]
async fn half_closed() {
    let (wire, far) = plain().await;
    check_half_closed(wire, far).await;
    let (wire, far) = encrypted("half-closed").await;
    check_half_closed(wire, far).await;
}

/// A socket that is no longer readable may hold text that was read and not taken.
#[tokio::test]
async fn what_rustls_holds_is_not_forgotten() {
    let (mut wire, mut far) = encrypted("held").await;
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
    let (mut wire, mut far) = encrypted("cut").await;
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
