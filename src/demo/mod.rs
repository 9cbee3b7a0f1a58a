//! The demo: three PostgreSQL clusters, four tenants and veneer in front, on loopback.

pub mod account;
pub mod cluster;
pub mod migrations;
pub mod papers;
pub mod shard;
pub mod world;

mod programs;
mod secret;
mod watchdog;

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use self::account::AccountError;
use self::cluster::ClusterError;
use self::shard::DATABASE;
use self::world::World;
use crate::lifecycle::placeholders::SyncError;
use crate::migrate::MigrateError;
use crate::tenant::BadName;
use crate::yaml::Mistakes;

pub const LISTEN_PORT: u16 = 6432;
pub const SHARD_PORTS: [u16; 3] = [6433, 6434, 6435];
/// Ignored by git and removed by `make clean`.
pub const DIRECTORY: &str = "target/demo";

const LISTEN_WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// What shells answer for a command that was interrupted: 128 and the signal's number.
const SIGNALLED: i32 = 128;
const INTERRUPTED: u8 = 130;

#[derive(Debug, Clone)]
pub struct Options {
    pub dir: PathBuf,
    /// 0 takes any free port; a port that is taken is replaced by a free one.
    pub listen_port: u16,
    /// Like `listen_port`.
    pub shard_ports: [u16; 3],
    /// Run this by `sh -c` instead of waiting for Ctrl-C.
    pub exit_after: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: DIRECTORY.into(),
            listen_port: LISTEN_PORT,
            shard_ports: SHARD_PORTS,
            exit_after: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("cannot run `{command}`")]
    Command { command: String, source: io::Error },
    #[error("cannot build {shard}")]
    Cluster { shard: &'static str, source: Box<ClusterError> },
    #[error("the demo's directory of tenants has mistakes:\n{0}")]
    Directory(Mistakes),
    #[error("cannot {doing} `{path}`")]
    Files { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("veneer has no port to listen on")]
    Listen { source: Box<ClusterError> },
    #[error(
        "another demo runs in `{dir}`\n\nhint: stop it with Ctrl-C, or choose a directory of your own with `--dir`"
    )]
    Locked { dir: PathBuf, source: Errno },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Name(#[from] BadName),
    #[error(transparent)]
    Placeholders(#[from] SyncError),
    #[error("building a shard failed in an unforeseen way")]
    Panicked(#[source] tokio::task::JoinError),
    #[error("veneer could not serve the demo")]
    Serve(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{shard} would not {doing}")]
    Shard { shard: String, doing: &'static str, source: tokio_postgres::Error },
    #[error("cannot listen for Ctrl-C")]
    Signals(#[source] io::Error),
    #[error("veneer did not listen on port {port} within {} s", LISTEN_WAIT_MAX.as_secs())]
    Silent { port: u16 },
}

/// Builds and starts the shards and writes the config; veneer itself is not started.
pub async fn build_world(options: &Options) -> Result<World, DemoError> {
    World::build(options).await
}

/// The whole demo: builds the world, has `serve` serve its config, and stays until Ctrl-C or
/// until `options.exit_after` is done. Everything that it started is stopped when it returns.
///
/// `serve` is given the path of the config and should not return before it is dropped.
pub async fn run<F, E>(
    options: Options,
    serve: impl FnOnce(PathBuf) -> F,
) -> Result<ExitCode, DemoError>
where
    F: Future<Output = Result<(), E>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut ends = Ends::listen()?;
    eprintln!("Building three PostgreSQL clusters in {} …", options.dir.display());
    let world = tokio::select! {
        world = build_world(&options) => world?,
        () = ends.come() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    for note in &world.notes {
        eprintln!("note: {note}");
    }
    let outcome = tokio::select! {
        served = serve(world.papers.config.clone()) => match served {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(DemoError::Serve(error.into())),
        },
        attended = attend(&world, options.exit_after.as_deref()) => attended,
        () = ends.come() => Ok(ExitCode::SUCCESS),
    };
    eprintln!("Stopping …");
    world.stop().await;
    outcome
}

/// What happens beside the serving.
async fn attend(world: &World, exit_after: Option<&str>) -> Result<ExitCode, DemoError> {
    let port = world.papers.listen_port;
    timeout(LISTEN_WAIT_MAX, until_heard(port)).await.map_err(|_| DemoError::Silent { port })?;
    match exit_after {
        None => {
            println!("{}", welcome(world));
            std::future::pending().await
        }
        Some(command) => {
            // Standard output is the command's.
            eprintln!("{}", welcome(world));
            let status = run_against(world, command)
                .await
                .map_err(|source| DemoError::Command { command: command.to_owned(), source })?;
            Ok(as_a_shell_would(status))
        }
    }
}

async fn until_heard(port: u16) {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        sleep(POLL_EVERY).await;
    }
}

async fn run_against(world: &World, command: &str) -> io::Result<ExitStatus> {
    let papers = &world.papers;
    Command::new("sh")
        .args(["-c", command])
        .env("VENEER_CONFIG", &papers.config)
        .env("VENEER_URL", papers.url(&papers.app))
        .env("VENEER_ADMIN_URL", papers.url(&papers.admin))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", papers.listen_port.to_string())
        .env("PGUSER", papers.app.user)
        .env("PGPASSWORD", &papers.app.password)
        .env("PGDATABASE", DATABASE)
        .env("PGSERVICEFILE", &papers.services)
        .kill_on_drop(true)
        .status()
        .await
}

fn as_a_shell_would(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn welcome(world: &World) -> String {
    let mut shards = String::new();
    for shard in &world.shards {
        let (name, port) = (shard.name, shard.cluster.port());
        shards.push_str(&format!("  {name}  127.0.0.1:{port}  {}\n", shard.tenants.join(", ")));
    }
    let url = world.papers.url(&world.papers.app);
    let config = world.papers.config.display();
    format!(
        "
veneer serves four tenants on three shards (home is shard1):
{shards}
connection: {url}
config: {config}

Try: psql {url}

  SELECT * FROM bluth_co.authors WHERE first_name = 'Ernest';
  SELECT * FROM initech.authors WHERE first_name = 'Ernest';
  SELECT title, last_name FROM cyberdyne.books b JOIN cyberdyne.authors a ON a.id = b.author_id;
  SET search_path = dunder_mifflin;
  SELECT count(*) FROM books;
  SELECT * FROM cyberdyne.books, initech.books;    -- two shards: refused, with the reason

Ctrl-C stops it all."
    )
}

/// The ways in which we are asked to end.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    fn listen() -> Result<Self, DemoError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(DemoError::Signals)?,
            terminate: signal(SignalKind::terminate()).map_err(DemoError::Signals)?,
        })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

fn files(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError + use<> {
    let path = path.to_owned();
    move |source| DemoError::Files { doing, path, source }
}
