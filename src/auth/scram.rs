//! SCRAM-SHA-256 from the server's side, as an exchange without a socket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::ScramServerAuthWaitingForClientFinal;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};

use crate::auth::users::Verifier;
use crate::protocol::cursor::{Cursor, Malformed};

const PLAIN: &str = "SCRAM-SHA-256";

/// The proof is bound to the certificate that the client has seen: nobody stands between.
const BOUND: &str = "SCRAM-SHA-256-PLUS";

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed,
    #[error("the client chose an authentication mechanism that was not offered")]
    Mechanism,
    #[error("the proof is wrong")]
    Wrong,
}

impl From<Malformed> for ScramError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Has seen the client's first message; waits for its proof.
pub struct AwaitsProof(ScramServerAuthWaitingForClientFinal);

/// What the client may choose from.
pub struct Offer(ScramServerAuth);

impl Offer {
    /// `certificate` is what the client has seen of us, in DER.
    pub fn new(certificate: Option<&[u8]>) -> Self {
        let mut exchange = ScramServerAuth::new();
        if let Some(certificate) = certificate {
            let pem = format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                STANDARD.encode(certificate)
            );
            // RFC 5929 does not say how to bind to a signature without a hash, such as Ed25519's.
            let _ = exchange.configure_certificate(pem.as_bytes());
        }
        Self(exchange)
    }

    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.0.supports_channel_binding() { &[BOUND, PLAIN] } else { &[PLAIN] }
    }

    /// Takes the body of the client's SASLInitialResponse; gives the challenge to send.
    pub fn begin(
        &self,
        body: &[u8],
        verifier: Verifier,
    ) -> Result<(String, AwaitsProof), ScramError> {
        let mut cursor = Cursor::new(body);
        let mechanism = cursor.text()?;
        let length = usize::try_from(cursor.i32()?).map_err(|_| ScramError::Malformed)?;
        let first = cursor.bytes(length)?;
        cursor.end()?;
        if !self.mechanisms().iter().any(|offered| offered.as_bytes() == mechanism) {
            return Err(ScramError::Mechanism);
        }
        if first.starts_with(b"p=") != (mechanism == BOUND.as_bytes()) {
            return Err(ScramError::Malformed);
        }
        let secret = ScramSecret::Verifier {
            iterations: verifier.iterations as usize,
            salt: verifier.salt,
            stored_key: verifier.stored_key.to_vec(),
            server_key: verifier.server_key.to_vec(),
        };
        let (challenge, exchange) = self
            .0
            .on_client_first_message_with_secret(first, secret)
            .map_err(|_| ScramError::Malformed)?;
        Ok((challenge, AwaitsProof(exchange)))
    }
}

impl AwaitsProof {
    /// Takes the body of the client's SASLResponse; gives our own proof to send.
    pub fn finish(self, body: &[u8]) -> Result<String, ScramError> {
        use pgwire::error::PgWireError;

        self.0.on_client_final_message(body).map_err(|error| match error {
            PgWireError::InvalidPassword(_) => ScramError::Wrong,
            _ => ScramError::Malformed,
        })
    }
}
