//! Where the log goes.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Mutex;

use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use crate::session::Statements;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub level: Level,
    pub statements: Statements,
    /// Left out: standard error.
    pub file: Option<PathBuf>,
}

impl Default for Settings {
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

/// Starts the process's log. A second start changes nothing.
pub fn start(settings: &Settings) -> io::Result<()> {
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::from(settings.level));
    let started = match &settings.file {
        Some(file) => {
            let file = OpenOptions::new().create(true).append(true).open(file)?;
            builder.with_ansi(false).with_writer(Mutex::new(file)).try_init()
        }
        None => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).with_writer(io::stderr).try_init()
        }
    };
    // Tests start many servers in one process.
    let _ = started;
    Ok(())
}
