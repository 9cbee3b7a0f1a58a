//! Who PostgreSQL runs as: it refuses root, so root lends it a lesser account.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::unistd::{User, geteuid};

/// Packages of PostgreSQL make the first; every Unix has the second.
const LESSER_ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("cannot look up the account `{name}`")]
    LookUp { name: &'static str, source: Errno },
    #[error(
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody` to run it as"
    )]
    None,
}

#[derive(Debug, Clone)]
pub enum RunAs {
    Ourselves,
    Lesser { name: &'static str, uid: u32, gid: u32 },
}

impl RunAs {
    pub fn choose() -> Result<Self, AccountError> {
        if !geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        for name in LESSER_ACCOUNTS {
            let user = User::from_name(name)
                .map_err(|source| AccountError::LookUp { name, source })?
                .filter(|user| !user.uid.is_root());
            if let Some(user) = user {
                return Ok(Self::Lesser { name, uid: user.uid.as_raw(), gid: user.gid.as_raw() });
            }
        }
        Err(AccountError::None)
    }

    /// A command that will run as this account, outside the terminal's process group: Ctrl-C is
    /// for us alone, and we decide in which order things stop.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The directory we stand in may be closed to the account.
        command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C").process_group(0);
        if let Self::Lesser { uid, gid, .. } = self {
            // As root, the standard library also drops our supplementary groups here.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes the account the owner of a file or directory that we have just made.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Lesser { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)),
        }
    }

    /// Whether the account can pass through `directory`: asked of the kernel, because mode bits
    /// of the parents, groups and access lists would all have to be weighed.
    pub fn reaches(&self, directory: &Path) -> bool {
        self.command(Path::new("/bin/sh"))
            .args(["-c", "cd -- \"$1\"", "sh"])
            .arg(directory)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Ourselves => "this user",
            Self::Lesser { name, .. } => name,
        }
    }
}
