//! Settings whose parts do not declare them yet; each struct moves to the part it names.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use crate::tenant::SchemaName;

/// To be `server::Settings`: the door. From `limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
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
            clients_max: NonZeroUsize::new(1000).expect("1000 is not 0"),
            login_max: Duration::from_secs(15),
            drain_max: Duration::from_secs(30),
        }
    }
}

/// To be `session::Settings`: what one client may ask for. From `limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// One message of a client. It is passed on in pieces and never held whole.
    pub message_bytes_max: ByteSize,
    /// A `Query` or `Parse`, which is held whole to be read.
    pub statement_bytes_max: ByteSize,
    /// Prepared statements of one client.
    pub statements_max: NonZeroUsize,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            message_bytes_max: ByteSize::gib(1),
            statement_bytes_max: ByteSize::mib(16),
            statements_max: NonZeroUsize::new(1000).expect("1000 is not 0"),
        }
    }
}

/// To be `sql::Settings`. From `limits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sql {
    /// Longer texts are not given to the SQL parser.
    pub parse_bytes_max: ByteSize,
    /// Statements remembered as parsed, all clients together.
    pub cache_bytes_max: ByteSize,
}

impl Default for Sql {
    fn default() -> Self {
        Self { parse_bytes_max: ByteSize::kib(128), cache_bytes_max: ByteSize::mib(16) }
    }
}

/// To be `pool::Settings`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Backends of one shard and role, at most.
    pub size_max: NonZeroUsize,
    /// How long a client waits in line for one.
    pub wait_max: Duration,
    /// How long a new one may take until it can be used.
    pub connect_max: Duration,
    /// An unused one is closed after this.
    pub idle_max: Duration,
    /// Any is closed after this, once it is free.
    pub life_max: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size_max: NonZeroUsize::new(20).expect("20 is not 0"),
            wait_max: Duration::from_secs(10),
            connect_max: Duration::from_secs(5),
            idle_max: Duration::from_secs(10 * 60),
            life_max: Duration::from_secs(60 * 60),
        }
    }
}

/// To be `router::Settings`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    pub no_tenant: NoTenant,
    /// Schemas that are everybody's and so never choose a shard.
    pub shared_schemas: Vec<SchemaName>,
}

impl Default for Routing {
    fn default() -> Self {
        let public = SchemaName::stored("public").expect("`public` is a name");
        Self { no_tenant: NoTenant::Home, shared_schemas: vec![public] }
    }
}

/// Where an unqualified table goes when no tenant is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoTenant {
    Home,
    Refuse,
}

/// To be the settings of whoever starts the log.
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

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Which statements are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statements {
    None,
    Refused,
    All,
}
