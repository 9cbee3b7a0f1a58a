//! Clients that are no Rust: each script of `tests/clients` says what failed and exits with 1.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::veneer::{Veneer, shared};

#[track_caller]
fn run(script: &str, veneer: &Veneer) {
    run_with(script, veneer, &[]);
}

/// With more in its environment.
#[track_caller]
pub fn run_with(script: &str, veneer: &Veneer, environment: &[(&str, &OsStr)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = venv(root).join("bin/python");
    assert!(python.exists(), "{} is missing\nrun: tests/setup.sh tests", python.display());
    let said = veneer.run(
        Command::new(python)
            .arg(root.join("tests/clients").join(script))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(environment.iter().copied()),
    );
    print!("{said}");
}

/// As tests/setup.sh has made it.
fn venv(root: &Path) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root.join(target).join("venv")
}

#[test]
fn psql() {
    run("psql.py", shared());
}

#[test]
fn the_catalogue_over_three_backends() {
    run("catalogue.py", &Veneer::start("catalogue", 3));
}

#[test]
fn psycopg_over_three_backends() {
    run("psycopg3.py", &Veneer::start("psycopg", 3));
}

#[test]
fn asyncpg_over_three_backends() {
    run("asyncpg_driver.py", &Veneer::start("asyncpg", 3));
}
