//! TLS as it is spoken, byte for byte: what libpq would never send, and a certificate that changes.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use postgres_protocol::authentication::sasl::ChannelBinding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::authority::Authority;
use crate::support::message::{first_packet, query, startup};
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Wire;
use crate::support::world;

const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

const POSTGRESQL: &[u8] = b"postgresql";

/// A veneer and the authority that vouches for it.
struct House {
    veneer: Veneer,
    authority: Authority,
}

impl House {
    /// `more` is more of the configuration.
    async fn build(name: &str, mode: &str, more: &str) -> Self {
        let authority = Authority::found(&world().demo.dir, name);
        let [certificate, key] = authority.files();
        let config = format!("tls: {{ mode: {mode}, {certificate}, {key} }}\n{more}");
        let veneer = Wanted::default().pool_size(1).config(&config).start().await;
        Self { veneer, authority }
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.veneer.port)).await.unwrap()
    }

    /// By an SSLRequest.
    async fn asked(&self) -> TlsStream<TcpStream> {
        let mut socket = self.socket().await;
        socket.write_all(&first_packet(SSL, b"")).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        self.shake_hands(socket, &[]).await.unwrap()
    }

    /// The handshake of a client that wants one of these protocols.
    async fn shake_hands(
        &self,
        socket: TcpStream,
        protocols: &[&[u8]],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority.root()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
    }

    /// Somebody gets an answer, over TLS.
    async fn check_serves(&self, after: &str) {
        let door = self.veneer.door("app");
        let wire = Wire::over(self.asked().await);
        let mut wire = door.knock_on(wire, "", ChannelBinding::unsupported()).await.unwrap();
        let told = wire.query("SELECT count(*) FROM initech.authors").await;
        assert!(told.contains("DataRow 7"), "{after}: {told}");
    }
}

fn hello() -> Vec<u8> {
    startup([("user", "app"), ("database", "bookstore")])
}

/// What a socket is told that sends these bytes and then listens.
async fn told(house: &House, bytes: &[u8]) -> Vec<u8> {
    let mut socket = house.socket().await;
    socket.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn nothing_is_smuggled_in() {
    let house = House::build("smuggled", "allow", "").await;
    for (what, bytes) in [
        ("a startup", hello()),
        ("one byte", b"x".to_vec()),
        ("a cancel", first_packet(CANCEL, &[0; 8])),
        ("a ClientHello", vec![0x16, 3, 1, 0, 1, 1]),
        ("another request", first_packet(SSL, b"")),
    ] {
        let bytes = [first_packet(SSL, b""), bytes].concat();
        assert_eq!(told(&house, &bytes).await, b"", "{what}");
        house.check_serves(what).await;
    }
    // Behind a request of GSS, too, and the other way round.
    let mut socket = house.socket().await;
    socket.write_all(&first_packet(GSS, b"")).await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'N');
    socket.write_all(&[first_packet(SSL, b""), hello()].concat()).await.unwrap();
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    assert_eq!(said, b"");
}

#[tokio::test]
async fn a_client_begins_with_tls_itself() {
    let house = House::build("direct", "require", "").await;
    for protocols in [&[POSTGRESQL][..], &[b"h2", POSTGRESQL]] {
        let stream = house.shake_hands(house.socket().await, protocols).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(POSTGRESQL));
        let door = house.veneer.door("app");
        let wire = Wire::over(stream);
        let mut wire = door.knock_on(wire, "", ChannelBinding::unsupported()).await.unwrap();
        assert!(wire.query("SELECT 1").await.contains("DataRow 1"));
    }
    // Without the name it could be another protocol's client. Its handshake may have an end.
    if let Ok(mut stream) = house.shake_hands(house.socket().await, &[]).await {
        let _ = stream.write_all(&hello()).await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        assert_eq!(said, b"");
    }
    let error = house.shake_hands(house.socket().await, &[b"http/1.1"]).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    house.check_serves("wrong names").await;
}

#[tokio::test]
async fn one_encryption_is_enough() {
    let house = House::build("twice", "allow", "").await;
    for (code, version) in [(SSL, "1234.5679"), (GSS, "1234.5680")] {
        let mut wire = Wire::over(house.asked().await);
        wire.send(&first_packet(code, b"")).await;
        let said = wire.read_on().await;
        assert!(
            said.contains(&format!("C=0A000 M=unsupported frontend protocol {version}")),
            "{said}"
        );
    }
    let mut socket = house.socket().await;
    for (code, answer) in [(GSS, b'N'), (SSL, b'S')] {
        socket.write_all(&first_packet(code, b"")).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), answer);
    }
    house.shake_hands(socket, &[]).await.unwrap();
}

#[tokio::test]
async fn handshakes_that_are_none() {
    let house = House::build("garbage", "require", "limits: { login_max: 300ms }").await;
    let request = first_packet(SSL, b"");
    for bytes in
        [&[0x16][..], &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[0x16; 400], &[0x16, 3, 1, 255, 255]]
    {
        // An alert, or nothing, and the end.
        let said = told(&house, bytes).await;
        assert!(said.is_empty() || said[0] == 0x15, "{bytes:?}: {said:?}");
        let mut socket = house.socket().await;
        socket.write_all(&request).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'S');
        socket.write_all(bytes).await.unwrap();
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said).await;
        assert!(said.is_empty() || said[0] == 0x15, "{bytes:?}: {said:?}");
        house.check_serves("garbage").await;
    }
    // Silence before, in and behind the handshake.
    assert_eq!(told(&house, &request).await, b"S");
    let mut stream = house.asked().await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    assert_eq!(said, b"");
    house.check_serves("silence").await;
}

#[tokio::test]
async fn without_a_certificate() {
    let veneer = Veneer::start().await;
    let mut socket = TcpStream::connect(("127.0.0.1", veneer.port)).await.unwrap();
    socket.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    assert_eq!(said, b"");
    veneer.assert_alive();
}

/// Where encryption is required, a cancel may still come in plain text: older libpq sends it so.
#[tokio::test]
async fn plain_text_is_refused() {
    let house = House::build("required", "require", "").await;
    let said = house.veneer.door("app").knock().await.err().unwrap();
    assert_eq!(
        said,
        "ErrorResponse S=FATAL V=FATAL C=28000 M=no pg_hba.conf entry for host \"127.0.0.1\", \
         user \"app\", database \"bookstore\", no encryption \
         H=Encrypted connections only are taken here; connect with sslmode=require."
    );
    let door = house.veneer.door("app");
    let wire = Wire::over(house.asked().await);
    let mut wire = door.knock_on(wire, "", ChannelBinding::unsupported()).await.unwrap();
    wire.send(&query("SELECT pg_sleep(60), 1 FROM initech.authors")).await;
    let key = wire.greeting.iter().find(|frame| frame.tag == b'K').unwrap().body.to_vec();
    // Until it sleeps, a cancel hits nobody.
    let deadline = Instant::now() + Duration::from_secs(20);
    let canceller = async {
        loop {
            assert_eq!(told(&house, &first_packet(CANCEL, &key)).await, b"");
            assert!(Instant::now() < deadline, "it was never cancelled");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = async {
        loop {
            let frame = wire.next().await.expect("it goes on");
            if frame.tag == b'E' {
                return String::from_utf8_lossy(&frame.body).into_owned();
            }
        }
    };
    tokio::select! {
        () = canceller => unreachable!("it never ends by itself"),
        said = outcome => assert!(said.contains("C57014"), "{said}"),
    }
}

/// What is proved in a proof of this kind, when the client has seen another certificate or lies.
#[tokio::test]
async fn proofs_are_bound() {
    let house = House::build("bound", "require", "").await;
    let certificate = house.authority.issue();
    // Signed with SHA-256, so hashed with it; this one veneer has not read.
    let other = ring_digest(&certificate);
    let shown = house.asked().await.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let (plain, plus) = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS");
    let bound = ChannelBinding::tls_server_end_point;
    for (what, mechanism, binding, expected) in [
        ("as it should be", plus, bound(ring_digest(&shown)), ""),
        ("not bound", plain, ChannelBinding::unsupported(), ""),
        ("another certificate", plus, bound(other), "C=08P01"),
        ("unbound by that name", plus, ChannelBinding::unsupported(), "C=08P01"),
        ("bound by the other name", plain, bound(ring_digest(&shown)), "C=08P01"),
        // It could bind, and says that we cannot: somebody has changed what we offered.
        ("a downgrade", plain, ChannelBinding::unrequested(), "C=08P01"),
    ] {
        let wire = Wire::over(house.asked().await);
        let knocked = house.veneer.door("proved").knock_on(wire, mechanism, binding).await;
        match knocked {
            Ok(mut wire) => {
                assert_eq!(expected, "", "{what}");
                let offered = &wire.greeting[0].body;
                assert_eq!(**offered, *b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
                assert!(wire.query("SELECT 1").await.contains("DataRow 1"), "{what}");
            }
            Err(said) => assert!(!expected.is_empty() && said.contains(expected), "{what}: {said}"),
        }
    }
    // In plain text there is nothing to bind to.
    let house = House::build("unbound", "allow", "").await;
    let door = house.veneer.door("proved");
    let wire = door.open().await;
    assert_eq!(*wire.greeting[0].body, *b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let wire = Wire::connect(house.veneer.port).await;
    let said = door.knock_on(wire, plus, bound(ring_digest(&shown))).await.err().unwrap();
    assert!(said.contains("C=08P01"), "{said}");
}

fn ring_digest(certificate: &[u8]) -> Vec<u8> {
    use tokio_rustls::rustls::crypto::hash::HashAlgorithm;
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().unwrap().common.hash_provider;
    assert_eq!(hash.algorithm(), HashAlgorithm::SHA256);
    hash.hash(certificate).as_ref().to_vec()
}

#[tokio::test]
async fn a_certificate_that_changes() {
    let house = House::build("reload", "require", "").await;
    let certificate =
        async || house.asked().await.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let until = async |wanted: &[u8]| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while certificate().await != wanted {
            assert!(Instant::now() < deadline, "it is never shown");
            sleep(Duration::from_millis(10)).await;
        }
    };
    let first = certificate().await;
    let door = house.veneer.door("app");
    let wire = Wire::over(house.asked().await);
    let mut old = door.knock_on(wire, "", ChannelBinding::unsupported()).await.unwrap();
    // Written, and not yet read.
    let second = house.authority.issue();
    assert_eq!(certificate().await, first);
    raise(Signal::SIGHUP).unwrap();
    until(&second).await;
    assert!(old.query("SELECT 'still here'").await.contains("DataRow still here"));
    // A file with a mistake changes nothing.
    let file = house.authority.directory.join("server.crt");
    let good = fs::read(&file).unwrap();
    fs::write(&file, "no certificate").unwrap();
    raise(Signal::SIGHUP).unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(certificate().await, second);
    fs::write(&file, good).unwrap();
    let third = house.authority.issue();
    raise(Signal::SIGHUP).unwrap();
    until(&third).await;
    assert!(old.query("SELECT 'still here'").await.contains("DataRow still here"));
}

/// As in plain text: who has only stopped sending is answered, and who has left holds no place.
#[tokio::test]
async fn leaving() {
    let house = House::build("leaving", "require", "limits: { clients_max: 2 }").await;
    let door = house.veneer.door("app").with("search_path", "cyberdyne");
    let open = async || {
        let wire = Wire::over(house.asked().await);
        door.knock_on(wire, "", ChannelBinding::unsupported()).await
    };
    let mut wire = open().await.unwrap();
    wire.send(&[query("SELECT 1"), query("SELECT pg_sleep(0.2), 2 FROM authors LIMIT 1")].concat())
        .await;
    wire.stop_sending().await;
    let said = wire.read_on().await;
    assert!(said.contains("DataRow 1\n") && said.contains("| 2\n"), "{said}");
    let mut holder = open().await.unwrap();
    assert!(holder.play("Query BEGIN\n\nQuery LOCK TABLE books").await.contains("LOCK TABLE"));
    for goodbye in [true, false] {
        let mut waiter = open().await.unwrap();
        waiter.send(&query("SELECT 1 FROM authors")).await;
        sleep(Duration::from_millis(100)).await;
        waiter.send(&query("SELECT 2")).await;
        if goodbye {
            waiter.stop_sending().await;
        }
        drop(waiter);
        let deadline = Instant::now() + Duration::from_secs(8);
        while let Err(said) = open().await {
            assert!(said.contains("C=53300"), "{said}");
            assert!(Instant::now() < deadline, "it still stands in line");
        }
    }
}
