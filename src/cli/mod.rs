//! What an operator can type.

pub mod check;
mod directory;
mod explain;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::demo::{self, migrations};
use crate::server::{self, ServeError};
use crate::yaml::Mistakes;

/// What the shell is told: not understood (clap's own), not done.
const FAILED: u8 = 1;

/// Stack of the threads that serve: SQL that is short enough is parsed where it arrives.
const WORKER_STACK_BYTES: usize = 8 << 20;

#[derive(Debug, Parser)]
#[command(name = "veneer", version, about, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 not understood.")]
pub struct Cli {
    /// The configuration [default: $VENEER_CONFIG, else config/veneer.yaml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients until SIGTERM (drains first) or SIGINT (at once)
    Serve,
    /// Three PostgreSQL shards, four tenants and veneer in front, on this machine
    Demo(DemoArgs),
    /// Every mistake in the configuration, the directory and the secrets; starts nothing
    Check,
    /// Where a statement would go, and why; asks no shard
    Explain(explain::ExplainArgs),
    /// What the directory of tenants asks of the shards
    #[command(subcommand)]
    Directory(directory::DirectoryCommand),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Where the clusters, the configuration and the logs are kept
    #[arg(long, value_name = "DIR", default_value = demo::DIRECTORY)]
    dir: PathBuf,
    /// Where veneer listens; 0 for any free port
    #[arg(long, value_name = "PORT", default_value_t = demo::LISTEN_PORT)]
    port: u16,
    /// Where the shards listen; 0 for any free port
    #[arg(long, value_name = "A,B,C", value_parser = three_ports, default_value = "6433,6434,6435")]
    shard_ports: ThreePorts,
    /// Run CMD by `sh -c` against the demo and exit with its status
    #[arg(long, value_name = "CMD")]
    exit_after: Option<String>,
    /// Only run the SQL files of DIR into every tenant of the demo
    #[arg(long, value_name = "DIR", conflicts_with = "exit_after")]
    migrate: Option<PathBuf>,
}

impl Cli {
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve => serve(config::locate(self.config)),
            Command::Demo(args) => args.run(),
            Command::Check => Ok(check(config::locate(self.config))),
            Command::Explain(args) => args.run(config::locate(self.config)),
            Command::Directory(command) => command.run(config::locate(self.config)),
        };
        done.unwrap_or_else(|error| {
            eprintln!("error: {}", chain(error.as_ref()));
            ExitCode::from(FAILED)
        })
    }
}

type Failure = Box<dyn Error + Send + Sync>;

fn check(file: PathBuf) -> ExitCode {
    let verdict = check::check(&file);
    println!("{}", verdict.report);
    if verdict.is_good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn serve(file: PathBuf) -> Result<ExitCode, Failure> {
    let config = Config::load(&file).map_err(mistaken)?;
    run_on(config.server.workers.count(), serve_config(config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_file(file: PathBuf) -> Result<(), Failure> {
    serve_config(Config::load(&file).map_err(mistaken)?).await
}

async fn serve_config(config: Config) -> Result<(), Failure> {
    server::log::start(&config.log)?;
    match server::serve(config, CancellationToken::new()).await {
        Err(ServeError::Mistakes(mistakes)) => Err(mistaken(mistakes)),
        other => Ok(other?),
    }
}

/// One port for each shard.
#[derive(Debug, Clone, Copy)]
struct ThreePorts([u16; 3]);

fn three_ports(text: &str) -> Result<ThreePorts, String> {
    let ports: Result<Vec<u16>, _> = text.split(',').map(|port| port.trim().parse()).collect();
    let ports = ports.ok().and_then(|ports| ports.try_into().ok());
    ports.map(ThreePorts).ok_or_else(|| "wanted three ports, such as 6433,6434,6435".to_owned())
}

impl DemoArgs {
    fn run(self) -> Result<ExitCode, Failure> {
        let options = demo::Options {
            dir: self.dir,
            listen_port: self.port,
            shard_ports: self.shard_ports.0,
            exit_after: self.exit_after,
        };
        run_on(config::Server::default().workers.count(), async {
            let Some(directory) = self.migrate else {
                return Ok(demo::run(options, serve_file).await?);
            };
            for done in migrations::run(&options, &directory).await? {
                let files = if done.files.is_empty() {
                    "nothing to do".to_owned()
                } else {
                    done.files.join(", ")
                };
                println!("{}: {files}", done.tenant);
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Runs to the end on so many threads. One thread needs no hand-over between threads, which costs
/// more than what it carries over: a tenth of a relayed transaction.
fn run_on<T: Send>(
    workers: NonZeroUsize,
    work: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    let mut builder = match workers.get() {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder
        .enable_all()
        .worker_threads(workers.get())
        .thread_stack_size(WORKER_STACK_BYTES)
        .build()?;
    // The main thread's stack is as large as a shell says.
    let main = std::thread::Builder::new().stack_size(WORKER_STACK_BYTES);
    std::thread::scope(|scope| {
        let thread = main.spawn_scoped(scope, || runtime.block_on(work))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn mistaken(mistakes: Mistakes) -> Failure {
    format!("the configuration has mistakes\n{mistakes}").into()
}

/// The error and what caused it, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        // Some wrappers repeat what they wrap.
        if !told.ends_with(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = source.source();
    }
    told
}
