//! `veneer check`: every mistake in the files, and nothing started.

use std::path::Path;

use crate::config::Config;
use crate::directory::file;
use crate::directory::yaml::Mistakes;

/// What the check found.
#[derive(Debug)]
pub struct Verdict {
    /// One line per mistake, or what was found good.
    pub report: String,
    /// Warnings alone are good.
    pub is_good: bool,
}

/// Reads the configuration, the directory it names and the secrets it points at.
pub fn check(config_file: &Path) -> Verdict {
    let mut mistakes = Mistakes::new(config_file);
    let config = Config::read(config_file, &mut mistakes);
    let users = config.users(&mut mistakes);

    // With a broken configuration the directory's usual place is still worth reading.
    let mut in_directory = Mistakes::new(&config.directory.file);
    let snapshot = file::read(&config.directory.file, &mut in_directory);
    if let Some(snapshot) = &snapshot {
        config.compare(snapshot, &mut mistakes);
    }
    mistakes.absorb(in_directory);

    let mut report = mistakes.to_string();
    let is_good = !mistakes.has_errors();
    if let Some(snapshot) = snapshot.filter(|_| is_good) {
        if !report.is_empty() {
            report.push('\n');
        }
        report.push_str(&format!(
            "{}: ok ({}, {}, {})",
            config_file.display(),
            count(snapshot.shards().len(), "shard"),
            count(snapshot.tenants().len(), "tenant"),
            count(users.len(), "user"),
        ));
    }
    Verdict { report, is_good }
}

fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
