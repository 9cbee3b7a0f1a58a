//! What a server stores of a SCRAM password: enough to check a proof, too little to log in.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const MECHANISM: &str = "SCRAM-SHA-256";

/// What PostgreSQL uses, and so what a decoy shows.
const ITERATIONS: u32 = 4096;

/// A verifier, in PostgreSQL's own form once printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: [u8; 32],
    pub server_key: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a verifier; wanted `{MECHANISM}$4096:SALT$STOREDKEY:SERVERKEY` as in pg_authid")]
pub struct BadVerifier;

impl Verifier {
    /// Made from a password, with a salt of its own.
    pub fn of_password(password: &str) -> Result<Self, BadVerifier> {
        postgres_protocol::password::scram_sha_256(password.as_bytes()).parse()
    }

    /// Looks like any other and accepts nobody: no password is known for random keys.
    pub(super) fn decoy(number: impl Fn(u64) -> u64) -> Self {
        let fill = |first: u64, target: &mut [u8]| {
            for (index, part) in (first..).zip(target.chunks_mut(8)) {
                part.copy_from_slice(&number(index).to_le_bytes());
            }
        };
        let mut decoy = Self {
            iterations: ITERATIONS,
            salt: vec![0; 16],
            stored_key: [0; 32],
            server_key: [0; 32],
        };
        fill(0, &mut decoy.salt);
        fill(2, &mut decoy.stored_key);
        fill(6, &mut decoy.server_key);
        decoy
    }
}

impl FromStr for Verifier {
    type Err = BadVerifier;

    fn from_str(text: &str) -> Result<Self, BadVerifier> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| BadVerifier);
        let key = |text: &str| decode(text)?.try_into().map_err(|_| BadVerifier);

        let rest = text.strip_prefix(MECHANISM).and_then(|rest| rest.strip_prefix('$'));
        let (how, keys) = rest.and_then(|rest| rest.split_once('$')).ok_or(BadVerifier)?;
        let (iterations, salt) = how.split_once(':').ok_or(BadVerifier)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(BadVerifier)?;

        let iterations: u32 = iterations.parse().map_err(|_| BadVerifier)?;
        let salt = decode(salt)?;
        if iterations == 0 || salt.is_empty() {
            return Err(BadVerifier);
        }
        Ok(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, stored_key, server_key } = self;
        let (salt, stored_key, server_key) =
            (STANDARD.encode(salt), STANDARD.encode(stored_key), STANDARD.encode(server_key));
        write!(f, "{MECHANISM}${iterations}:{salt}${stored_key}:{server_key}")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}
