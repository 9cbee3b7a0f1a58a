//! The settings of the server itself: its door, its patience, its log.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::session::Statements;
use crate::tenant::RoleName;

/// Where clients come in, and what they call the place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Door {
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// The one database, under one name here and on every shard.
    #[serde(deserialize_with = "database_name")]
    pub database: String,
}

impl Default for Door {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 6432)), database: "bookstore".to_owned() }
    }
}

/// How many may come, and how long they may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    pub workers: Workers,
    /// Clients at once, at most.
    pub clients_max: NonZeroUsize,
    /// From the first byte to the end of the login.
    pub login_max: Duration,
    /// After SIGTERM, for transactions that are open.
    pub drain_max: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: Workers::Auto,
            clients_max: NonZeroUsize::new(1000).expect("1000 is not 0"),
            login_max: Duration::from_secs(15),
            drain_max: Duration::from_secs(30),
        }
    }
}

/// Threads that relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Half of the processors, at least one.
    Auto,
    Count(NonZeroUsize),
}

impl Workers {
    pub fn count(self) -> NonZeroUsize {
        match self {
            Self::Count(count) => count,
            Self::Auto => {
                let processors = available_parallelism().map_or(1, NonZeroUsize::get);
                NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Count).map_err(|_| {
                de::Error::invalid_value(
                    de::Unexpected::Str(&text),
                    &"`auto`, or a whole number above 0",
                )
            }),
        }
    }
}

/// What is logged, and where.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: Level,
    pub statements: Statements,
    /// Left out: standard error.
    pub file: Option<PathBuf>,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, statements: Statements::Refused, file: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wanted = "an address and port, such as `127.0.0.1:6432` or `[::1]:6432`";
    text.parse()
        .map_err(|_| de::Error::invalid_value(de::Unexpected::Other(&format!("`{text}`")), &wanted))
}

fn database_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    // The same rules as every name in PostgreSQL.
    RoleName::deserialize(deserializer).map(String::from)
}
