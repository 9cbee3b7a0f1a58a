//! `veneer check`: every mistake in the files, and nothing started.

use std::path::Path;

use crate::config::Config;
use crate::directory::file;
use crate::yaml::Mistakes;

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
    config.tls(&mut mistakes);

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped directory, with a configuration in a folder of its own.
    #[track_caller]
    fn report(name: &str, config: &str) -> (String, bool) {
        let folder =
            std::env::temp_dir().join(format!("veneer-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tenants.yaml");
        std::fs::copy(shipped, folder.join("tenants.yaml")).unwrap();
        let file = folder.join("veneer.yaml");
        std::fs::write(&file, config).unwrap();
        let Verdict { report, is_good } = check(&file);
        let report = report.replace(&format!("{}/", folder.display()), "");
        std::fs::remove_dir_all(&folder).unwrap();
        (report, is_good)
    }

    #[test]
    fn reports() {
        assert_eq!(
            report("good", "users: {a: {method: trust, tenants: all}}\n"),
            ("veneer.yaml: ok (3 shards, 4 tenants, 1 user)".to_owned(), true)
        );
        assert_eq!(
            report("warning", "users: {a: {method: trust, tenants: [initec]}}\n"),
            (
                "veneer.yaml:1:38: warning: `initec` matches no tenant; did you mean `initech`?\n\
                 veneer.yaml: ok (3 shards, 4 tenants, 1 user)"
                    .to_owned(),
                true
            )
        );
        assert_eq!(
            report("tls", "tls: {mode: require, key: gone.key}\n"),
            (
                "veneer.yaml:1:1: `certificate` is missing; wanted `certificate: FILE`, \
                 or `mode: off`"
                    .to_owned(),
                false
            )
        );
        assert_eq!(
            report("mode", "tls: {mode: on, certificat: x}\n"),
            (
                "veneer.yaml:1:13: `mode` is `on`; wanted one of `off`, `allow`, `require`\n\
                 veneer.yaml:1:17: unknown key `certificat`; did you mean `certificate`?"
                    .to_owned(),
                false
            )
        );
        assert_eq!(
            report("bad", "listen: 1\ndirectory: {file: gone.yaml}\n"),
            (
                "veneer.yaml:1:9: `listen` is `1`; wanted an address and port, such as \
                 `127.0.0.1:6432` or `[::1]:6432`\n\
                 gone.yaml: cannot be read: No such file or directory (os error 2)"
                    .to_owned(),
                false
            )
        );
    }
}
