//! `veneer directory …`: what the directory of tenants asks of the shards.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Output, mistaken, run_on};
use crate::auth::users::User;
use crate::config::Config;
use crate::directory::{Shard, file};
use crate::lifecycle::placeholders::{self, Mode, Outcome, Row};
use crate::yaml::{self, Mistakes};

/// What the shell is told beside 0 and 1.
const PARTLY_DONE: u8 = 3;
const NOT_FOUND: u8 = 4;
const CONFLICT: u8 = 5;

#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Keep an empty placeholder schema on home for every tenant that lives elsewhere
    #[command(after_help = "\
Lists of schemas and existence checks are answered by home, and so need to find every tenant there.
Run it after each change of the directory. A schema that veneer did not make, or that is not empty,
is never touched.

Exit status: 0 done, 1 failed, 2 not understood, 3 partly done, 4 no such user, 5 a schema is in
the way.")]
    Sync(SyncArgs),
}

#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The user of the configuration whose role on the shards (`as`) may make schemas on home
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Tell what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl DirectoryCommand {
    pub fn run(self, config_file: PathBuf) -> Result<ExitCode, Failure> {
        match self {
            Self::Sync(args) => args.run(config_file),
        }
    }
}

impl SyncArgs {
    fn run(self, config_file: PathBuf) -> Result<ExitCode, Failure> {
        let config = Config::load(&config_file).map_err(mistaken)?;
        let directory = file::load(&config.directory.file).map_err(mistaken)?;
        let mut mistakes = Mistakes::new(&config_file);
        let users = config.users(&mut mistakes);
        let users = mistakes.unless_errors(users).map_err(mistaken)?;
        let Some(user) = users.get(&self.user) else {
            let near = yaml::did_you_mean(&self.user, users.names());
            eprintln!("error: no user `{}` in {}{near}", self.user, config_file.display());
            return Ok(ExitCode::from(NOT_FOUND));
        };
        let wait_max = config.pool.connect_max;
        let login = |shard: &Shard| login(shard, user, wait_max);
        let mode = if self.dry_run { Mode::DryRun } else { Mode::Apply };
        let rows = run_on(NonZeroUsize::MIN, async {
            Ok(placeholders::sync(&directory, login, mode).await?)
        })?;
        match self.output {
            Output::Table => print!("{}", table(&rows)),
            Output::Json => {
                let home = directory.home().name.as_str();
                let told = json!({ "home": home, "dry_run": self.dry_run, "placeholders": rows });
                println!("{told}");
            }
        }
        eprintln!("{}{}", summary(&rows), if self.dry_run { " (dry run)" } else { "" });
        Ok(exit_code(&rows))
    }
}

fn login(shard: &Shard, user: &User, wait_max: Duration) -> tokio_postgres::Config {
    let login = user.login(&shard.name);
    let mut config = tokio_postgres::Config::new();
    config.host(&shard.address.host).port(shard.address.port).dbname(&shard.address.database);
    config.user(login.role.as_str()).application_name("veneer").connect_timeout(wait_max);
    if let Some(password) = &login.password {
        config.password(password.reveal());
    }
    config
}

fn table(rows: &[Row]) -> String {
    let shard = |row: &Row| row.shard.as_ref().map_or("-", |shard| shard.as_str()).to_owned();
    let width = |text: &dyn Fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let outcomes = width(&|row| row.outcome.to_string().len());
    let tenants = width(&|row| row.tenant.chars().count());
    let shards = width(&|row| shard(row).len());
    let mut table = String::new();
    for row in rows {
        let note = row.note.as_deref().unwrap_or_default();
        let line = format!(
            "{:outcomes$}  {:tenants$}  {:shards$}  {note}",
            row.outcome,
            row.tenant,
            shard(row)
        );
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

/// `2 created, 1 kept`
fn summary(rows: &[Row]) -> String {
    let count = |outcome: Outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let counts = Outcome::ALL.map(|outcome| (count(outcome), outcome));
    let told = counts.iter().filter(|(count, _)| 0 < *count);
    let told: Vec<String> = told.map(|(count, outcome)| format!("{count} {outcome}")).collect();
    if told.is_empty() { "no tenant lives elsewhere".to_owned() } else { told.join(", ") }
}

fn exit_code(rows: &[Row]) -> ExitCode {
    let any = |outcomes: &[Outcome]| rows.iter().any(|row| outcomes.contains(&row.outcome));
    if any(&[Outcome::Skipped, Outcome::Failed]) {
        ExitCode::from(PARTLY_DONE)
    } else if any(&[Outcome::Conflict]) {
        ExitCode::from(CONFLICT)
    } else {
        ExitCode::SUCCESS
    }
}
