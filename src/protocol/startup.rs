//! What a fresh socket says first: a request for encryption, a cancel, or a startup.

use std::collections::BTreeMap;

use crate::protocol::cursor::{Cursor, Malformed};

/// PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`, in bytes.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// Startup parameters and settings in `options`, together.
const PARAMETERS_MAX: usize = 256;

const PROTOCOL_3: u16 = 3;
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CancelKey {
    pub process: u32,
    pub secret: u32,
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
    /// Run-time settings, by lower-case name; `options` first, own keys over them.
    pub settings: BTreeMap<String, String>,
    /// `_pq_.` options, which nobody here knows.
    pub protocol_options: Vec<String>,
}

/// A first packet that cannot be served. The words are PostgreSQL's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.0")]
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
    #[error("invalid command-line argument for server process: {0}")]
    Option(String),
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
    let secret = cursor.i32()?.cast_unsigned();
    cursor.end()?;
    Ok(CancelKey { process, secret })
}

fn startup(code: u32, mut cursor: Cursor<'_>) -> Result<Startup, StartupError> {
    let (major, minor) = ((code >> 16) as u16, (code & 0xffff) as u16);
    if major != PROTOCOL_3 {
        return Err(StartupError::Version(major, minor));
    }
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let name = cursor.text().map_err(|_| StartupError::Layout)?;
        if name.is_empty() {
            break;
        }
        let value = cursor.text().map_err(|_| StartupError::Layout)?;
        let name = utf8(name)?;
        if PARAMETERS_MAX <= own.len() {
            return Err(StartupError::Many);
        }
        if own.insert(name.clone(), utf8(value)?).is_some() {
            return Err(StartupError::Twice(name));
        }
    }
    cursor.end().map_err(|_| StartupError::Layout)?;
    sort_out(minor, own)
}

/// Tells what is the connection's from what is a setting.
fn sort_out(minor: u16, mut own: BTreeMap<String, String>) -> Result<Startup, StartupError> {
    if own.remove("replication").is_some_and(|value| is_true(&value)) {
        return Err(StartupError::Replication);
    }
    let user = own.remove("user").filter(|user| !user.is_empty()).ok_or(StartupError::NoUser)?;
    let database = own.remove("database").filter(|name| !name.is_empty());
    let mut settings = match own.remove("options") {
        Some(options) => read_options(&options)?,
        None => BTreeMap::new(),
    };
    let mut protocol_options = Vec::new();
    for (name, value) in own {
        if name.starts_with("_pq_.") {
            protocol_options.push(name);
        } else {
            settings.insert(name.to_ascii_lowercase(), value);
        }
    }
    let database = database.unwrap_or_else(|| user.clone());
    Ok(Startup { minor_version: minor, user, database, settings, protocol_options })
}

fn utf8(bytes: &[u8]) -> Result<String, StartupError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StartupError::NotUtf8)
}

/// As libpq's `parse_bool`; `replication=database` asks for logical replication.
fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "false" | "off" | "no" | "f" | "n")
}

/// Reads `-c name=value` and `--name=value` from the `options` parameter.
fn read_options(options: &str) -> Result<BTreeMap<String, String>, StartupError> {
    let mut settings = BTreeMap::new();
    let mut words = split_options(options).into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().ok_or_else(|| StartupError::Option(word.clone()))?
        } else if let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            rest.to_owned()
        } else {
            return Err(StartupError::Option(word));
        };
        let Some((name, value)) = assignment.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            return Err(StartupError::Option(word));
        };
        // PostgreSQL's ParseLongOption: a dash in the name stands for an underscore.
        settings.insert(name.replace('-', "_").to_ascii_lowercase(), value.to_owned());
        if PARAMETERS_MAX < settings.len() {
            return Err(StartupError::Many);
        }
    }
    Ok(settings)
}

/// PostgreSQL's `pg_split_opts`: white space parts, a backslash takes the next character as it is.
fn split_options(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = options.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        while let Some(character) = characters.next_if(|c| !c.is_ascii_whitespace()) {
            match character {
                '\\' => word.extend(characters.next()),
                other => word.push(other),
            }
        }
        words.push(word);
    }
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
            Ok(First::Startup(s)) => format!("{}@{} {:?}", s.user, s.database, s.settings),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn startups() {
        check(b"user\0ann\0\0", "ann@ann {}");
        check(b"user\0ann\0database\0b\0search_path\0a,b\0\0", r#"ann@b {"search_path": "a,b"}"#);
        check(
            b"user\0ann\0options\0-c search_path=a --statement-timeout=5 -cx.y=a\\ b\0\0",
            r#"ann@ann {"search_path": "a", "statement_timeout": "5", "x.y": "a b"}"#,
        );
        check(
            b"user\0ann\0options\0-c search_path=a\0search_path\0b\0\0",
            r#"ann@ann {"search_path": "b"}"#,
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
        for bad in ["-c", "-c=", "-c =x", "-c x", "--", "-x", "foo"] {
            let parameters = format!("user\0a\0options\0{bad}\0\0");
            let word = bad.split(' ').next().expect("a word");
            check(
                parameters.as_bytes(),
                &format!("invalid command-line argument for server process: {word}"),
            );
        }
        check(b"user\0a\0options\0-c x=y\\\0\0", r#"a@a {"x": "y"}"#);
        check(format!("user\0a\0options\0{}\0\0", " ".repeat(9_000)).as_bytes(), "a@a {}");
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
}
