//! What a fresh socket says first: a request for encryption, a cancel, or a startup.

use std::collections::BTreeMap;

use crate::protocol::cursor::{Cursor, Malformed};

/// PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`, in bytes.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// Startup parameters, at most.
const PARAMETERS_MAX: usize = 256;

const PROTOCOL_3: u16 = 3;

/// The newest minor version that we speak. 3.1 never was, and is spoken as 3.0.
const MINOR_MAX: u16 = 2;

/// From this minor version on, cancel keys are long.
const MINOR_OF_LONG_KEYS: u16 = 2;

/// PostgreSQL's `MAX_CANCEL_KEY_LENGTH`, in bytes, for keys that we make.
const LONG_KEY_BYTES: usize = 32;
const SHORT_KEY_BYTES: usize = 4;

/// PostgreSQL looks at no longer key, in bytes.
const CANCEL_KEY_BYTES_MAX: usize = 256;

/// What a client asks of the protocol, and not of the server, begins so.
const PROTOCOL_OPTION: &str = "_pq_.";

const CANCEL_CODE: u32 = 80_877_102;
const SSL_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;

/// The first packet of a connection, without its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    Cancel(CancelKey),
    Gss,
    Ssl,
    Startup(Startup),
}

/// What proves that a cancel comes from the client whose query it stops.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CancelKey {
    pub process: u32,
    pub secret: Box<[u8]>,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, ***)", self.process)
    }
}

/// A startup message, its settings already gathered from their two places.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Startup {
    pub minor_version: u16,
    pub user: String,
    /// As the client named it; PostgreSQL falls back to the user's name.
    pub database: String,
    /// Switches of PostgreSQL's command line, unread: nobody hears of a mistake before its proof.
    pub options: String,
    /// Run-time settings, by lower-case name.
    pub settings: BTreeMap<String, String>,
    /// `_pq_.` options, which nobody here knows, as they came.
    pub protocol_options: Vec<String>,
}

/// What we answer to a client that asks for more of the protocol than we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    /// The version that will be spoken, major and minor in one word.
    pub version: u32,
    pub unknown_options: Vec<String>,
}

impl Startup {
    pub fn negotiation(&self) -> Option<Negotiation> {
        let is_newer = MINOR_MAX < self.minor_version;
        let minor = self.minor_version.min(MINOR_MAX);
        (is_newer || !self.protocol_options.is_empty()).then(|| Negotiation {
            version: u32::from(PROTOCOL_3) << 16 | u32::from(minor),
            unknown_options: self.protocol_options.clone(),
        })
    }

    /// How long the cancel key is that this client can take.
    pub fn key_bytes(&self) -> usize {
        if self.minor_version < MINOR_OF_LONG_KEYS { SHORT_KEY_BYTES } else { LONG_KEY_BYTES }
    }
}

/// A first packet that cannot be served. The words are PostgreSQL's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.{MINOR_MAX}")]
    Version(u16, u16),
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("parameter \"{0}\" stands more than once in the startup packet")]
    Twice(String),
    #[error("more than {PARAMETERS_MAX} parameters in the startup packet")]
    Many,
    #[error("invalid byte sequence for encoding \"UTF8\" in the startup packet")]
    NotUtf8,
    #[error("replication connections are not supported")]
    Replication,
    #[error("invalid value for parameter \"replication\": \"{0}\"")]
    ReplicationKind(String),
}

impl StartupError {
    /// Who is encrypted already has no such request to make: PostgreSQL takes it for a version.
    pub const ENCRYPTED: Self = Self::Version(1234, 5679);
    pub const ENCRYPTED_GSS: Self = Self::Version(1234, 5680);
}

/// Checks the length word that opens every first packet; gives what is left to read.
pub fn body_bytes(length: [u8; 4]) -> Result<usize, StartupError> {
    let claimed = u32::from_be_bytes(length) as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&claimed) {
        return Err(StartupError::Length);
    }
    Ok(claimed - 4)
}

impl First {
    /// Reads the whole packet behind its length.
    pub fn read(body: &[u8]) -> Result<Self, StartupError> {
        let mut cursor = Cursor::new(body);
        let code = cursor.i32().map_err(|_| StartupError::Length)?.cast_unsigned();
        match code {
            SSL_CODE => cursor.end().map(|()| Self::Ssl).map_err(|_| StartupError::Length),
            GSS_CODE => cursor.end().map(|()| Self::Gss).map_err(|_| StartupError::Length),
            CANCEL_CODE => cancel(cursor).map(Self::Cancel).map_err(|_| StartupError::Length),
            _ => startup(code, cursor).map(Self::Startup),
        }
    }
}

fn cancel(mut cursor: Cursor<'_>) -> Result<CancelKey, Malformed> {
    let process = cursor.i32()?.cast_unsigned();
    let secret = cursor.rest();
    if !(1..=CANCEL_KEY_BYTES_MAX).contains(&secret.len()) {
        return Err(Malformed);
    }
    Ok(CancelKey { process, secret: secret.into() })
}

fn startup(code: u32, mut cursor: Cursor<'_>) -> Result<Startup, StartupError> {
    let (major, minor) = ((code >> 16) as u16, (code & 0xffff) as u16);
    if major != PROTOCOL_3 {
        return Err(StartupError::Version(major, minor));
    }
    let mut startup = Startup { minor_version: minor, ..Startup::default() };
    let mut parameters = 0;
    loop {
        let name = cursor.text().map_err(|_| StartupError::Layout)?;
        if name.is_empty() {
            break;
        }
        let value = cursor.text().map_err(|_| StartupError::Layout)?;
        parameters += 1;
        if PARAMETERS_MAX < parameters {
            return Err(StartupError::Many);
        }
        startup.take(utf8(name)?, utf8(value)?)?;
    }
    cursor.end().map_err(|_| StartupError::Layout)?;
    if startup.user.is_empty() {
        return Err(StartupError::NoUser);
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

impl Startup {
    /// Tells what is the connection's from what is a setting, whose last value counts.
    fn take(&mut self, name: String, value: String) -> Result<(), StartupError> {
        let own = match name.as_str() {
            "user" => &mut self.user,
            "database" => &mut self.database,
            "options" => &mut self.options,
            "replication" => return no_replication(value),
            _ if name.starts_with(PROTOCOL_OPTION) => {
                self.protocol_options.push(name);
                return Ok(());
            }
            _ => {
                self.settings.insert(name.to_ascii_lowercase(), value);
                return Ok(());
            }
        };
        // PostgreSQL takes the last one. Who reads the first one would be fooled.
        if !own.is_empty() {
            return Err(StartupError::Twice(name));
        }
        *own = value;
        Ok(())
    }
}

fn no_replication(value: String) -> Result<(), StartupError> {
    match is_true(&value) {
        Some(false) => Ok(()),
        Some(true) => Err(StartupError::Replication),
        None if value == "database" => Err(StartupError::Replication),
        None => Err(StartupError::ReplicationKind(value)),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, StartupError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StartupError::NotUtf8)
}

/// PostgreSQL's `parse_bool`: a word, or enough of its beginning.
fn is_true(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, letters: usize| letters <= value.len() && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || value == "on" || value == "1" {
        return Some(true);
    }
    let is_false = begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0";
    is_false.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(parameters: &[u8]) -> Vec<u8> {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        body.extend_from_slice(parameters);
        body
    }

    #[track_caller]
    fn check(parameters: &[u8], expected: &str) {
        let told = match First::read(&packet(parameters)) {
            Ok(First::Startup(s)) => {
                format!("{}@{} {:?} {}", s.user, s.database, s.settings, s.options)
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(told.trim_end(), expected);
    }

    #[test]
    fn startups() {
        check(b"user\0ann\0\0", "ann@ann {}");
        check(b"user\0ann\0database\0b\0search_path\0a,b\0\0", r#"ann@b {"search_path": "a,b"}"#);
        check(
            b"user\0ann\0options\0-c x=y\0Work_Mem\x004\0work_mem\x005\0\0",
            r#"ann@ann {"work_mem": "5"} -c x=y"#,
        );
        check(b"user\0ann\0", "invalid startup packet layout: expected terminator as last byte");
        check(b"user\0ann\0\0x", "invalid startup packet layout: expected terminator as last byte");
        check(b"\0", "no PostgreSQL user name specified in startup packet");
        check(b"user\0\0\0", "no PostgreSQL user name specified in startup packet");
        check(
            b"user\0a\0user\0b\0\0",
            "parameter \"user\" stands more than once in the startup packet",
        );
        check(b"user\0a\0replication\0true\0\0", "replication connections are not supported");
        check(b"user\0a\0replication\0database\0\0", "replication connections are not supported");
        check(b"user\0a\0replication\0off\0\0", "a@a {}");
        check(b"user\0a\0replication\0F\0\0", "a@a {}");
        check(b"user\0a\0replication\0o\0\0", "invalid value for parameter \"replication\": \"o\"");
    }

    #[test]
    fn lengths() {
        for bad in [0_u32, 3, 7, 10_001, 0x7fff_ffff, u32::MAX] {
            assert_eq!(body_bytes(bad.to_be_bytes()), Err(StartupError::Length));
        }
        assert_eq!(body_bytes(8_u32.to_be_bytes()), Ok(4));
        assert_eq!(First::read(&SSL_CODE.to_be_bytes()), Ok(First::Ssl));
        assert_eq!(First::read(&[4, 210, 22, 47, 0]), Err(StartupError::Length));
    }

    #[test]
    fn cancels() {
        let read = |secret: &[u8]| {
            let code = CANCEL_CODE.to_be_bytes();
            First::read(&[&code[..], &[0, 0, 0, 7], secret].concat())
        };
        for secret in [&[1_u8, 2, 3, 4][..], &[7; 32], &[7], &[7; 256]] {
            let key = CancelKey { process: 7, secret: secret.into() };
            assert_eq!(read(secret), Ok(First::Cancel(key)));
        }
        assert_eq!(read(&[]), Err(StartupError::Length));
        assert_eq!(read(&[7; 257]), Err(StartupError::Length));
    }

    /// What is answered, and the length of the cancel key: as PostgreSQL 18 does it.
    #[test]
    fn versions() {
        #[track_caller]
        fn check(
            version: u32,
            parameters: &[u8],
            expected: Result<(Option<Negotiation>, usize), &str>,
        ) {
            let body = [&version.to_be_bytes()[..], parameters].concat();
            let told = match First::read(&body) {
                Ok(First::Startup(startup)) => Ok((startup.negotiation(), startup.key_bytes())),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.to_string()),
            };
            assert_eq!(told, expected.map_err(str::to_owned));
        }
        let (three, spoken) = (196_608, |version: u32, options: &[&str]| {
            let unknown_options = options.iter().map(|&name| name.to_owned()).collect();
            Some(Negotiation { version, unknown_options })
        });
        let user = b"user\0a\0\0";
        check(three, user, Ok((None, 4)));
        check(three + 1, user, Ok((None, 4)));
        check(three + 2, user, Ok((None, 32)));
        check(three + 3, user, Ok((spoken(three + 2, &[]), 32)));
        check(three + 9999, user, Ok((spoken(three + 2, &[]), 32)));
        let options = b"_pq_.zebra\0on\0user\0a\0_pq_.\0\0_pq_.ape\0off\0\0";
        let names = ["_pq_.zebra", "_pq_.", "_pq_.ape"];
        check(three, options, Ok((spoken(three, &names), 4)));
        check(three + 1, options, Ok((spoken(three + 1, &names), 4)));
        check(three + 2, options, Ok((spoken(three + 2, &names), 32)));
        check(three + 7, options, Ok((spoken(three + 2, &names), 32)));
        let words = |version| {
            format!("unsupported frontend protocol {version}: server supports 3.0 to 3.2")
        };
        check(0x0002_0000, user, Err(&words("2.0")));
        check(0x0004_0000, user, Err(&words("4.0")));
        check(0x0001_0007, user, Err(&words("1.7")));
        check(0, user, Err(&words("0.0")));
    }
}
