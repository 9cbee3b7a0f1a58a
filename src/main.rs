//! The `veneer` program.

use std::process::ExitCode;

use clap::Parser;
use veneer::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
