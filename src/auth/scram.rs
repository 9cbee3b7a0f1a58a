//! SCRAM-SHA-256 from the server's side, as an exchange without a socket.

use pgwire::api::auth::sasl::scram::ScramServerAuthWaitingForClientFinal;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};

use crate::auth::users::Verifier;
use crate::protocol::cursor::{Cursor, Malformed};

pub const MECHANISM: &str = "SCRAM-SHA-256";

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

/// Takes the body of the client's SASLInitialResponse; gives the challenge to send.
pub fn begin(body: &[u8], verifier: Verifier) -> Result<(String, AwaitsProof), ScramError> {
    let mut cursor = Cursor::new(body);
    let mechanism = cursor.text()?;
    let length = usize::try_from(cursor.i32()?).map_err(|_| ScramError::Malformed)?;
    let first = cursor.bytes(length)?;
    cursor.end()?;
    if mechanism != MECHANISM.as_bytes() {
        return Err(ScramError::Mechanism);
    }
    let secret = ScramSecret::Verifier {
        iterations: verifier.iterations as usize,
        salt: verifier.salt,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    };
    let (challenge, exchange) = ScramServerAuth::new()
        .on_client_first_message_with_secret(first, secret)
        .map_err(|_| ScramError::Malformed)?;
    Ok((challenge, AwaitsProof(exchange)))
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
