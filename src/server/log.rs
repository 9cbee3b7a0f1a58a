//! Where the log goes.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;

use crate::config::{Level, Log};

/// Starts the process's log. A second start changes nothing.
pub fn start(settings: &Log) -> io::Result<()> {
    let builder = tracing_subscriber::fmt().with_max_level(filter(settings.level));
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

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
