//! Where this machine keeps PostgreSQL's server programs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Parents of the directories that packages use, one per version.
const VERSIONED_ROOTS: [&str; 2] = ["/usr/lib/postgresql", "/opt/homebrew/opt"];
const PLAIN_DIRECTORIES: [&str; 1] = ["/usr/local/pgsql/bin"];

#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL's server programs (`initdb`, `postgres`) were not found on PATH, by `pg_config` \
     or in the usual places\n\nhint: install them: `apt-get install postgresql` (Debian, Ubuntu), \
     `dnf install postgresql-server` (Fedora) or `brew install postgresql` (macOS)"
)]
pub struct ProgramsMissing;

/// One installation of PostgreSQL.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// PATH first, so that the user can choose; then what `pg_config` says; then the newest
    /// of the places where packages put it.
    pub fn find() -> Result<Self, ProgramsMissing> {
        let path = env::var_os("PATH").unwrap_or_default();
        Self::find_in(&path, &VERSIONED_ROOTS.map(Path::new))
    }

    fn find_in(path: &OsStr, versioned_roots: &[&Path]) -> Result<Self, ProgramsMissing> {
        env::split_paths(path)
            .chain(asked_of_pg_config())
            .chain(versioned_roots.iter().flat_map(|root| newest_first(root)))
            .chain(PLAIN_DIRECTORIES.map(PathBuf::from))
            .find(|directory| ["initdb", "postgres"].iter().all(|name| runs(&directory.join(name))))
            // Links in /usr/local/bin often cover a few of the programs only.
            .map(|directory| directory.join("postgres").canonicalize().unwrap_or(directory))
            .and_then(|postgres| postgres.parent().map(Path::to_owned))
            .map(|directory| Self { directory })
            .ok_or(ProgramsMissing)
    }

    /// The path of one program, such as `initdb`.
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }
}

fn runs(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn asked_of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(directory.trim()))
}

/// `ROOT/15/bin`, `ROOT/postgresql@15/bin` …, highest version first.
fn newest_first(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("postgresql").unwrap_or(&name);
            let version = version.strip_prefix('@').unwrap_or(version);
            // A bare `postgresql` is whatever the packager calls current.
            let version = if version.is_empty() { u32::MAX } else { version.parse().ok()? };
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, directory)| directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretend(directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        for name in ["initdb", "postgres"] {
            let program = directory.join(name);
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn newest_version_is_a_number_not_a_word() {
        let root = env::temp_dir().join(format!("veneer-programs-{}", std::process::id()));
        for version in ["9", "15", "postgresql@17", "share"] {
            pretend(&root.join(version).join("bin"));
        }
        let found = newest_first(&root);
        let expected = ["postgresql@17", "15", "9"].map(|version| root.join(version).join("bin"));
        assert_eq!(found, expected);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn path_comes_before_the_usual_places() {
        let root = env::temp_dir().join(format!("veneer-path-{}", std::process::id()));
        pretend(&root.join("chosen"));
        pretend(&root.join("packages/99/bin"));
        let packages = root.join("packages");
        let programs =
            Programs::find_in(root.join("chosen").as_os_str(), &[packages.as_path()]).unwrap();
        assert_eq!(
            programs.path("initdb"),
            root.canonicalize().unwrap().join("chosen").join("initdb")
        );
        fs::remove_dir_all(&root).unwrap();
    }
}
