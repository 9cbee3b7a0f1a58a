//! Certificates of a test's own, and the authority that vouches for them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub struct Authority {
    pub directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// In a new directory below `beside`: `ca.crt`, `server.crt` and `server.key`.
    pub fn found(beside: &Path, name: &str) -> Self {
        let directory = beside.join(format!("authority-{name}"));
        fs::create_dir(&directory).expect("the name is ours alone");
        let mut params = CertificateParams::new([]).expect("no names are good names");
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        fs::write(directory.join("ca.crt"), issuer.pem()).expect("it is our directory");
        let authority = Self { directory, issuer };
        authority.issue();
        authority
    }

    /// A new certificate and key for this machine; what they are, in DER.
    pub fn issue(&self) -> Vec<u8> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        let file = self.directory.join("server.key");
        fs::write(&file, key.serialize_pem()).expect("it is our directory");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("it is our file");
        let file = self.directory.join("server.crt");
        fs::write(file, certificate.pem()).expect("it is our directory");
        certificate.der().to_vec()
    }

    pub fn root(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// The keys of the section `tls` beside its mode.
    pub fn files(&self) -> [String; 2] {
        let directory = self.directory.display();
        [format!("certificate: {directory}/server.crt"), format!("key: {directory}/server.key")]
    }
}
