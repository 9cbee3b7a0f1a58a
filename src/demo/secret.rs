//! Passwords in files of their own, readable by their owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const RANDOM_BYTES: usize = 16;

/// The password in this file; a new random one when there is none yet.
pub fn keep(path: &Path) -> io::Result<String> {
    match read(path) {
        Ok(password) if !password.is_empty() => Ok(password),
        Ok(_) => write_random(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_random(path),
        Err(error) => Err(error),
    }
}

pub fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

fn write_random(path: &Path) -> io::Result<String> {
    let password = random()?;
    write(path, &password)?;
    Ok(password)
}

/// Letters and digits that nobody can guess.
pub fn random() -> io::Result<String> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Replaces the file as a whole; it is never readable by others, not even while it is written.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    // A file left by a crash keeps its old mode.
    let _ = fs::remove_file(&unfinished);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{}", text.trim_end())?;
    fs::rename(&unfinished, path)
}
