//! Stops what we started even when we die without a word.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which the kernel closes when our process is gone, however it
/// went. The process is named by its PID file too, so a number used anew is left alone.
const STOP_WHEN_ALONE: &str = r#"
trap '' HUP INT TERM
read -r _
is_it() { [ "$(head -n 1 "$2" 2>/dev/null)" = "$1" ]; }
is_it "$@" && kill -INT "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    is_it "$@" || exit 0
    sleep 1
done
kill -QUIT "$1" 2>/dev/null
"#;

/// A small shell that watches over one PostgreSQL. Dropping it calls it off.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Stops the PostgreSQL with this process id and PID file when our own process ends.
    pub fn over(pid: u32, pid_file: &Path) -> io::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", STOP_WHEN_ALONE, "veneer-watchdog"])
            .arg(pid.to_string())
            .arg(pid_file)
            .current_dir("/")
            // Held open by `shell`, never written to.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C for us must not take it along.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Killed before its input closes, or it would take the closing for our death.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
