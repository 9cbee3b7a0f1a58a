//! `veneer explain`: where a statement would go, and why. No shard is asked.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{FAILED, Failure, Output, mistaken};
use crate::config::Config;
use crate::directory::file;
use crate::protocol::answer::Report;
use crate::router::{self, Asker, Path, Plan};
use crate::session::report;
use crate::sql::Reader;
use crate::tenant::ShardName;

/// What a role has when nobody says otherwise.
const DEFAULT_PATH: &str = "\"$user\", public";

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The statement, or several with semicolons
    sql: String,
    /// The session's search_path
    #[arg(long, value_name = "PATH", default_value = DEFAULT_PATH)]
    search_path: String,
    /// The tenant that the session is scoped to (the setting `veneer.tenant`)
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// The shard that last answered the session, for statements that name objects by OID
    #[arg(long, value_name = "SHARD", value_parser = ShardName::stored)]
    affinity: Option<ShardName>,
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl ExplainArgs {
    pub fn run(self, config_file: PathBuf) -> Result<ExitCode, Failure> {
        let config = Config::load(&config_file).map_err(mistaken)?;
        let directory = file::load(&config.directory.file).map_err(mistaken)?;
        let path = Path::read(&self.search_path, "");
        let asker = Asker {
            settings: &config.routing,
            user: "",
            may_use: &|_| true,
            role: "",
            scope: self.tenant.as_deref(),
            path: &path,
            start_scope: self.tenant.as_deref(),
            start_path: &path,
            earlier: &[],
            affinity: self.affinity.as_ref(),
        };
        let routed = Reader::new(&config.sql)
            .read_now(self.sql.as_bytes())
            .map_err(|error| report::unreadable(&error))
            .and_then(|text| {
                router::route(&text, &asker, &directory)
                    .map_err(|refusal| report::refusal(&refusal))
            });
        match routed {
            Ok(plan) => {
                print_plan(&plan, self.output);
                Ok(ExitCode::SUCCESS)
            }
            Err(report) => {
                print_refusal(&report, self.output);
                Ok(ExitCode::from(FAILED))
            }
        }
    }
}

fn print_plan(plan: &Plan, output: Output) {
    let tenant = plan.reason.tenant().map(ToString::to_string);
    let (shard, reason) = (plan.shard.name.as_str(), plan.reason.to_string());
    let also = plan.also.as_ref().map(|shard| shard.name.as_str());
    match output {
        Output::Table => {
            println!("shard   {shard}");
            println!("tenant  {}", tenant.as_deref().unwrap_or("-"));
            println!("reason  {reason}");
            also.iter().for_each(|also| println!("also    {also}, in a transaction that is there"));
        }
        Output::Json => println!(
            "{}",
            json!({ "shard": shard, "tenant": tenant, "reason": reason, "also": also })
        ),
    }
}

fn print_refusal(report: &Report, output: Output) {
    let Report { code, message, detail, hint, .. } = report;
    match output {
        Output::Table => {
            println!("refused {code}");
            println!("reason  {message}");
            detail.iter().for_each(|detail| println!("detail  {detail}"));
            hint.iter().for_each(|hint| println!("hint    {hint}"));
        }
        Output::Json => println!(
            "{}",
            json!({ "refused": code, "reason": message, "detail": detail, "hint": hint })
        ),
    }
}
