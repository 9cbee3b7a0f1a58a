//! A real PostgreSQL cluster of our own, on loopback, stopped when it is dropped.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::account::{AccountError, RunAs};
use super::programs::{Programs, ProgramsMissing};
use super::secret;
use super::watchdog::Watchdog;

pub const SUPERUSER: &str = "postgres";

const START_WAIT_MAX: Duration = Duration::from_secs(60);
/// After this a stop is repeated less politely.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Somebody else may take a free port between our finding it and PostgreSQL's binding it.
const FREE_PORT_TRIES_MAX: u32 = 5;
/// How PostgreSQL says so in its log.
const ADDRESS_TAKEN: &str = "Address already in use";
const LOG_TAIL_LINES: usize = 12;

/// Not for data that anybody would miss: nothing is flushed to disk.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    // No socket file at all: every connection proves its password, and no path can be too long.
    ("unix_socket_directories", ""),
    ("password_encryption", "scram-sha-256"),
    ("max_connections", "200"),
    ("shared_buffers", "32MB"),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("wal_level", "logical"),
    ("max_prepared_transactions", "20"),
    ("max_locks_per_transaction", "256"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // See `ADDRESS_TAKEN`.
    ("lc_messages", "C"),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("log_statement", "all"),
    // `statements` in the tests' harness reads this.
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_checkpoints", "off"),
];

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("cannot {doing} `{path}`")]
    Files { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("no port of 127.0.0.1 is free")]
    NoFreePort(#[source] io::Error),
    #[error("`initdb` failed ({status}):\n{said}")]
    Initdb { status: ExitStatus, said: String },
    #[error("PostgreSQL on port {port} did not start ({status}); its log ends with:\n{log_tail}")]
    Exited { port: u16, status: ExitStatus, log_tail: String },
    #[error(transparent)]
    Programs(#[from] ProgramsMissing),
    #[error("port {0} of 127.0.0.1 is taken")]
    PortTaken(u16),
    #[error("cannot run `{program}`")]
    Run { program: PathBuf, source: io::Error },
    #[error("PostgreSQL on port {port} was not ready within {} s; its log ends with:\n{log_tail}", START_WAIT_MAX.as_secs())]
    Slow { port: u16, log_tail: String },
    #[error("PostgreSQL must run as {account}, who cannot enter `{directory}`")]
    Unreachable { account: &'static str, directory: PathBuf },
}

/// ```text
/// DIR/data             PostgreSQL's own, 0700, owned by the account that it runs as
/// DIR/superuser        the password of `postgres`, 0600
/// DIR/postgresql.log   every statement
/// ```
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    programs: Programs,
    run_as: RunAs,
    port: u16,
    password: String,
    postmaster: Option<Postmaster>,
}

/// The running server.
#[derive(Debug)]
struct Postmaster {
    process: Child,
    _watchdog: Watchdog,
}

impl Cluster {
    /// Makes a cluster in `directory`, or takes over the one that is there, and starts it.
    /// Without a port it takes a free one.
    pub async fn create(directory: &Path, port: Option<u16>) -> Result<Self, ClusterError> {
        let programs = Programs::find()?;
        let run_as = RunAs::choose()?;
        fs::create_dir_all(directory).map_err(files("make", directory))?;
        let directory = directory.canonicalize().map_err(files("find", directory))?;
        fs::set_permissions(&directory, Permissions::from_mode(0o711))
            .map_err(files("open", &directory))?;
        if !run_as.reaches(&directory) {
            return Err(ClusterError::Unreachable { account: run_as.name(), directory });
        }
        let password = secret::keep(&directory.join("superuser"))
            .map_err(files("keep a password in", &directory))?;
        let mut cluster = Self { directory, programs, run_as, port: 0, password, postmaster: None };
        cluster.stop_leftover().await?;
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.initdb().await?;
        }
        match port {
            Some(port) => cluster.start_on(port).await?,
            None => cluster.start_anywhere().await?,
        }
        Ok(cluster)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every statement that the cluster was asked, and its errors.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("postgresql.log")
    }

    /// Empties the log, so that it begins with what comes next.
    pub fn forget_log(&self) -> Result<(), ClusterError> {
        let path = self.log_path();
        // PostgreSQL appends, so it goes on at the new end.
        File::create(&path).map(drop).map_err(files("empty", &path))
    }

    pub fn superuser_config(&self) -> tokio_postgres::Config {
        self.config(SUPERUSER, &self.password, "postgres")
    }

    pub fn config(&self, role: &str, password: &str, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(role).password(password).dbname(database);
        config
    }

    /// Starts a stopped cluster again, on the port that it had.
    pub async fn start(&mut self) -> Result<(), ClusterError> {
        match self.postmaster {
            Some(_) => Ok(()),
            None => self.start_on(self.port).await,
        }
    }

    /// Disconnects everybody and stops; harmless when stopped already.
    pub async fn stop(&mut self) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        postmaster.signal(Signal::SIGINT);
        if !postmaster.ends_within(STOP_WAIT_MAX).await {
            // Dropping it insists.
            postmaster.signal(Signal::SIGQUIT);
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    async fn initdb(&self) -> Result<(), ClusterError> {
        // Under another name until it is whole: a crash half-way is not taken for a cluster.
        let unfinished = self.directory.join("data.unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(files("remove", &unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(files("make", &unfinished))?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o700))
            .map_err(files("close", &unfinished))?;
        self.run_as.give(&unfinished).map_err(files("give away", &unfinished))?;
        let password_file = self.directory.join("superuser");
        self.run_as.give(&password_file).map_err(files("give away", &password_file))?;

        let program = self.programs.path("initdb");
        let mut command = self.run_as.command(&program);
        command.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.arg("--username").arg(SUPERUSER);
        command.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(&unfinished);
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| ClusterError::Run { program, source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ClusterError::Initdb { status: output.status, said });
        }
        fs::rename(&unfinished, self.data()).map_err(files("rename", &unfinished))
    }

    async fn start_anywhere(&mut self) -> Result<(), ClusterError> {
        let mut tries = 1;
        loop {
            match self.start_on(free_port()?).await {
                Err(ClusterError::PortTaken(_)) if tries < FREE_PORT_TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn start_on(&mut self, port: u16) -> Result<(), ClusterError> {
        let log_path = self.log_path();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .map_err(files("open", &log_path))?;
        let program = self.programs.path("postgres");
        let mut command = self.run_as.command(&program);
        command.arg("-D").arg(self.data()).arg("-p").arg(port.to_string());
        for (name, value) in SETTINGS {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let errors = log.try_clone().map_err(files("open", &log_path))?;
        let process = command
            .stdout(log)
            .stderr(Stdio::from(errors))
            .spawn()
            .map_err(|source| ClusterError::Run { program, source })?;
        let watchdog = Watchdog::over(process.id(), &self.pid_file())
            .map_err(|source| ClusterError::Run { program: "/bin/sh".into(), source })?;
        let postmaster = Postmaster { process, _watchdog: watchdog };
        self.port = port;
        self.postmaster = Some(self.when_ready(postmaster).await?);
        Ok(())
    }

    async fn when_ready(&self, mut postmaster: Postmaster) -> Result<Postmaster, ClusterError> {
        let deadline = Instant::now() + START_WAIT_MAX;
        let port = self.port;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = postmaster.process.try_wait() {
                let log_tail = self.log_tail();
                return Err(match log_tail.contains(ADDRESS_TAKEN) {
                    true => ClusterError::PortTaken(port),
                    false => ClusterError::Exited { port, status, log_tail },
                });
            }
            // Asked of the file, not of the port: on the port somebody else may answer.
            let file = PidFile::read(&self.pid_file());
            if file.is_some_and(|file| file.pid == postmaster.process.id() && file.ready) {
                return Ok(postmaster);
            }
            sleep(POLL_EVERY).await;
        }
        Err(ClusterError::Slow { port, log_tail: self.log_tail() })
    }

    /// Stops what an earlier process of ours left running here when it crashed.
    async fn stop_leftover(&self) -> Result<(), ClusterError> {
        let pid_file = self.pid_file();
        let Some(leftover) = PidFile::read(&pid_file) else { return Ok(()) };
        if !leftover.may_serve(&self.data()) {
            // The number may belong to a stranger by now; PostgreSQL would refuse to start.
            return fs::remove_file(&pid_file).map_err(files("remove", &pid_file));
        }
        let program = self.programs.path("pg_ctl");
        let mut command = self.run_as.command(&program);
        command.args(["stop", "--silent", "--mode=fast", "--pgdata"]).arg(self.data());
        // Its own answer is no guide: the watchdog of the crashed process may come first.
        tokio::process::Command::from(command)
            .output()
            .await
            .map_err(|source| ClusterError::Run { program, source })?;
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Postmaster {
    fn signal(&self, signal: Signal) {
        // It is our child and not yet waited for, so the number is still its own.
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    async fn ends_within(&mut self, wait_max: Duration) -> bool {
        let deadline = Instant::now() + wait_max;
        while Instant::now() < deadline {
            if self.has_ended() {
                return true;
            }
            sleep(POLL_EVERY).await;
        }
        false
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // At once: nobody will miss this data.
        self.signal(Signal::SIGQUIT);
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(POLL_EVERY);
        }
        if !self.has_ended() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// What a running PostgreSQL says of itself in `postmaster.pid`.
struct PidFile {
    pid: u32,
    ready: bool,
}

impl PidFile {
    /// The line that tells how far the start has come.
    const STATE_LINE: usize = 7;

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        let state = text.lines().nth(Self::STATE_LINE).unwrap_or_default();
        Some(Self { pid, ready: state.trim() == "ready" })
    }

    /// False when the process is surely not a PostgreSQL that serves `data`.
    fn may_serve(&self, data: &Path) -> bool {
        let proc = Path::new("/proc");
        if !proc.join("self").exists() {
            return true;
        }
        // PostgreSQL always stands in its data directory.
        fs::read_link(proc.join(self.pid.to_string()).join("cwd"))
            .is_ok_and(|directory| directory == data)
    }
}

/// A port of 127.0.0.1 that nobody listens on just now.
pub fn free_port() -> Result<u16, ClusterError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(ClusterError::NoFreePort)
}

/// Whether nobody listens on this port of 127.0.0.1 just now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn files(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError + use<> {
    let path = path.to_owned();
    move |source| ClusterError::Files { doing, path, source }
}
