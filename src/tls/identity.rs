//! The certificate that veneer shows, and how it comes by another while it runs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tracing::{error, info};

use crate::tls::{Encrypted, Socket};
use crate::yaml::{Mistakes, Place, Placed};

/// PostgreSQL's name in ALPN. A client that begins with TLS itself must ask for it.
pub(super) const ALPN: &[u8] = b"postgresql";

/// A certificate with its chain takes some KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Whether clients may, or must, encrypt what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Off,
    /// It is offered; plain text is taken, too.
    Allow,
    Require,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub mode: Mode,
    /// The certificate, and the chain behind it, in PEM.
    pub certificate: Option<Placed<PathBuf>>,
    /// Its private key, in PEM, not encrypted.
    pub key: Option<Placed<PathBuf>>,
}

/// Who we are to clients that encrypt. Replaced whole.
pub struct Identity {
    acceptor: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

/// The server's side of TLS, while it runs.
#[derive(Debug)]
pub struct Tls {
    mode: Mode,
    files: Option<Files>,
    identity: ArcSwapOption<Identity>,
}

#[derive(Debug)]
struct Files {
    certificate: Placed<PathBuf>,
    key: Placed<PathBuf>,
}

/// Why files make no identity, and which of the two is to blame.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("certificate file `{0}`: {1}")]
    Certificate(PathBuf, Unusable),
    #[error("key file `{0}`: {1}")]
    Key(PathBuf, Unusable),
    #[error("the key in `{0}` does not belong to the certificate")]
    Foreign(PathBuf),
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0}")]
    Unread(#[from] io::Error),
    #[error("larger than {} KiB", FILE_BYTES_MAX >> 10)]
    Large,
    #[error("it holds no certificate; wanted PEM, `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    #[error(
        "it holds no private key; wanted PEM that no password protects, `-----BEGIN PRIVATE KEY-----`"
    )]
    NoKey,
    #[error("cannot be used: {0}")]
    Unfit(rustls::Error),
}

impl Tls {
    /// No encryption is offered.
    pub fn off() -> Self {
        Self { mode: Mode::Off, files: None, identity: ArcSwapOption::empty() }
    }

    /// Reads the files, `beside` the configuration. `place` is where it speaks of TLS.
    pub fn load(
        settings: &Settings,
        beside: &Path,
        place: Option<Place>,
        mistakes: &mut Mistakes,
    ) -> Self {
        if settings.mode == Mode::Off {
            return Self::off();
        }
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
            let missing = if settings.certificate.is_none() { "certificate" } else { "key" };
            mistakes.error(
                place,
                format!("`{missing}` is missing; wanted `{missing}: FILE`, or `mode: off`"),
            );
            return Self::off();
        };
        let beside =
            |file: &Placed<PathBuf>| Placed { place: file.place, value: beside.join(&file.value) };
        let files = Files { certificate: beside(certificate), key: beside(key) };
        let identity =
            files.read().map_err(|flaw| mistakes.error(files.place(&flaw), flaw.to_string())).ok();
        if let Some(mode) = files.open_mode() {
            let path = files.key.value.display();
            let what =
                format!("key file `{path}` can be read by others (mode {mode:04o}); wanted 0600");
            mistakes.warning(files.key.place, what);
        }
        Self {
            mode: settings.mode,
            files: Some(files),
            identity: ArcSwapOption::new(identity.map(Arc::new)),
        }
    }

    /// Reads the files again. With a mistake in them the old certificate stays.
    pub fn reload(&self) {
        let Some(files) = &self.files else { return };
        match files.read() {
            Ok(identity) => {
                self.identity.store(Some(Arc::new(identity)));
                info!(file = %files.certificate.value.display(), "certificate read");
            }
            Err(flaw) => error!(%flaw, "certificate refused; the old one stays"),
        }
    }

    /// What to encrypt with, if that is offered.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    pub fn is_required(&self) -> bool {
        self.mode == Mode::Require
    }
}

impl Identity {
    /// The handshake, from the first byte of the client's hello.
    pub async fn accept(self: Arc<Self>, socket: TcpStream) -> io::Result<Socket> {
        let stream = self.acceptor.accept(socket).await?;
        Ok(Socket::Tls(Box::new(Encrypted { stream, identity: self })))
    }

    /// What the client has seen, and may bind its proof to.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

impl Files {
    fn read(&self) -> Result<Identity, Flaw> {
        let Self { certificate: Placed { value: certificate, .. }, key: Placed { value: key, .. } } =
            self;
        let of_certificate = |why| Flaw::Certificate(certificate.clone(), why);
        let of_key = |why| Flaw::Key(key.clone(), why);
        let pem = read(certificate).map_err(of_certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.unwrap_or_default();
        let Some(leaf) = chain.first().cloned() else {
            return Err(of_certificate(Unusable::NoCertificate));
        };
        let pem = read(key).map_err(of_key)?;
        let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| of_key(Unusable::NoKey))?;
        let config = config(chain, secret).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Flaw::Foreign(key.clone())
            }
            rustls::Error::InvalidCertificate(_) => of_certificate(Unusable::Unfit(error)),
            error => of_key(Unusable::Unfit(error)),
        })?;
        Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: leaf })
    }

    fn place(&self, flaw: &Flaw) -> Place {
        match flaw {
            Flaw::Certificate(..) => self.certificate.place,
            Flaw::Key(..) | Flaw::Foreign(_) => self.key.place,
        }
    }

    /// The key's permissions, when more than its owner may read it. As in PostgreSQL, a group may
    /// read what belongs to root.
    fn open_mode(&self) -> Option<u32> {
        let facts = std::fs::metadata(&self.key.value).ok()?;
        let mode = facts.mode() & 0o777;
        let allowed = if facts.uid() == 0 { 0o740 } else { 0o700 };
        (mode & !allowed != 0).then_some(mode)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if FILE_BYTES_MAX < bytes.len() as u64 { Err(Unusable::Large) } else { Ok(bytes) }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // No session is taken up again, as with PostgreSQL: it would go on with the old certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
