//! Placeholders: on home, an empty schema for every tenant that lives elsewhere.
//!
//! With them home knows every tenant, so a list of schemas and an existence check are right there
//! in any shape of SQL. A placeholder is ours by its comment, which names the shard; a schema
//! without it, or with anything inside, is never touched. It is owned and may be used by the roles
//! that own and may use the tenant's schema, but nobody may create anything in it.

mod read;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use postgres_protocol::escape::{escape_identifier, escape_literal};
use serde::Serialize;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use self::read::{Here, Home, There};
use crate::directory::{Residence, Shard, Snapshot};
use crate::tenant::ShardName;

/// How the comment of a placeholder begins; the shard's name follows.
pub const COMMENT: &str = "Placeholder of veneer: this tenant lives on shard ";

/// Our advisory lock on home: "veneer". Migrations lock in the other space, that of two numbers.
const LOCK: i64 = 0x7665_6e65_6572;
/// How long another sync is waited for, in milliseconds.
const LOCK_WAIT_MS_MAX: u32 = 60_000;

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("cannot log in to home, which is shard `{shard}`")]
    Connect { shard: ShardName, source: tokio_postgres::Error },
    #[error("somebody else has been keeping the placeholders for {} s", LOCK_WAIT_MS_MAX / 1000)]
    Busy,
    #[error("cannot {doing} on home")]
    Ask { doing: &'static str, source: tokio_postgres::Error },
}

/// Whether anything may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Apply,
    /// Only tells what would be done.
    DryRun,
}

/// What became of one placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Created,
    /// Its owner, its users or its comment were not those of the tenant.
    Changed,
    Dropped,
    Kept,
    /// A schema is in the way that is not ours, or not empty. It was left alone.
    Conflict,
    /// The tenant's shard could not be asked, or has no such schema. Nothing was done.
    Skipped,
    /// Home refused.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Changed,
        Self::Dropped,
        Self::Kept,
        Self::Conflict,
        Self::Skipped,
        Self::Failed,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Kept => "kept",
            Self::Conflict => "conflict",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub tenant: String,
    /// Where the tenant lives; `None` when the directory has no such tenant.
    pub shard: Option<ShardName>,
    pub outcome: Outcome,
    /// Why, or what else should be known.
    pub note: Option<String>,
}

/// Makes home's placeholders those of the directory. `login` says how to log in to a shard.
/// Repeatable; what cannot be done for one tenant does not hold up the others.
pub async fn sync(
    directory: &Snapshot,
    login: impl Fn(&Shard) -> Config,
    mode: Mode,
) -> Result<Vec<Row>, SyncError> {
    let shard = directory.home();
    let home = connect(&login(shard))
        .await
        .map_err(|source| SyncError::Connect { shard: shard.name.clone(), source })?;
    settle(&home, mode).await?;
    let elsewhere: Vec<&Residence> =
        directory.tenants().filter(|residence| residence.shard.name != shard.name).collect();
    let there = read::shards(directory, &elsewhere, login).await;
    let here = read::home(&home, &elsewhere)
        .await
        .map_err(|source| SyncError::Ask { doing: "read the schemas", source })?;

    let mut plans: BTreeMap<&str, Plan> = BTreeMap::new();
    for residence in elsewhere {
        let name = residence.tenant.as_str();
        plans.insert(name, plan(residence, &there, &here));
    }
    for (name, schema) in &here.schemas {
        if schema.is_ours() && !plans.contains_key(name.as_str()) {
            plans.insert(name, farewell(name, schema));
        }
    }
    let mut rows = Vec::with_capacity(plans.len());
    for (name, plan) in plans {
        let lives_on = directory.residence(name).map(|residence| residence.shard.name.clone());
        rows.push(plan.carry_out(name, lives_on, &home, mode).await);
    }
    Ok(rows)
}

/// What to do about one name, and what it will have been.
struct Plan {
    sql: Option<String>,
    outcome: Outcome,
    note: Option<String>,
}

impl Plan {
    fn leave(outcome: Outcome, note: impl Into<String>) -> Self {
        Self { sql: None, outcome, note: Some(note.into()) }
    }

    async fn carry_out(
        self,
        name: &str,
        shard: Option<ShardName>,
        home: &Client,
        mode: Mode,
    ) -> Row {
        let Self { sql, outcome, note } = self;
        let row = Row { tenant: name.to_owned(), shard, outcome, note };
        let Some(sql) = sql.filter(|_| mode == Mode::Apply) else { return row };
        // One text, and so one transaction: a placeholder without its comment would not be ours.
        match home.batch_execute(&sql).await {
            Ok(()) => row,
            Err(error) => Row { outcome: Outcome::Failed, note: Some(said(&error)), ..row },
        }
    }
}

/// What PostgreSQL said, or what kept it from saying anything.
fn said(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// For a tenant that lives elsewhere.
fn plan(residence: &Residence, there: &There, home: &Home) -> Plan {
    let Residence { tenant, shard, .. } = residence;
    let here = home.schemas.get(tenant.as_str());
    if let Some(conflict) = here.and_then(Here::conflict) {
        return Plan::leave(Outcome::Conflict, conflict);
    }
    let source = match there.get(shard.name.as_str()) {
        Some(Ok(schemas)) => schemas.get(tenant.as_str()),
        Some(Err(why)) => return Plan::leave(Outcome::Skipped, why.clone()),
        None => None,
    };
    let Some(source) = source else {
        let why = format!("shard `{}` has no such schema", shard.name);
        return Plan::leave(Outcome::Skipped, why);
    };
    let (wanted, note) = home.welcome(source);
    let comment = format!("{COMMENT}{}", shard.name);
    let name = escape_identifier(tenant.as_str());
    let owner = escape_identifier(&wanted.owner);
    let (sql, outcome) = match here {
        None => (format!("CREATE SCHEMA {name} AUTHORIZATION {owner};"), Outcome::Created),
        Some(here) if here.rights == wanted && here.comment == comment && !here.is_open => {
            return Plan { sql: None, outcome: Outcome::Kept, note };
        }
        Some(here) => {
            let mut sql = format!("ALTER SCHEMA {name} OWNER TO {owner};");
            for user in &here.rights.users {
                sql += &format!("REVOKE ALL ON SCHEMA {name} FROM {} CASCADE;", grantee(user));
            }
            (sql, Outcome::Changed)
        }
    };
    let users: Vec<String> = wanted.users.iter().map(|user| grantee(user)).collect();
    let sql = format!(
        "{sql}COMMENT ON SCHEMA {name} IS {};REVOKE ALL ON SCHEMA {name} FROM PUBLIC, {owner};\
         GRANT USAGE ON SCHEMA {name} TO {};",
        escape_literal(&comment),
        users.join(", "),
    );
    Plan { sql: Some(sql), outcome, note }
}

/// For a placeholder whose tenant is gone, or has moved home.
fn farewell(name: &str, here: &Here) -> Plan {
    match here.conflict() {
        Some(conflict) => Plan::leave(Outcome::Conflict, conflict),
        None => {
            // Should it have been filled meanwhile, it stays: no CASCADE.
            let sql = format!("DROP SCHEMA {};", escape_identifier(name));
            Plan { sql: Some(sql), outcome: Outcome::Dropped, note: None }
        }
    }
}

fn grantee(role: &str) -> String {
    if role == read::PUBLIC { "PUBLIC".to_owned() } else { escape_identifier(role) }
}

/// Names mean what we think, and nobody else is at it. The end of the connection unlocks.
async fn settle(home: &Client, mode: Mode) -> Result<(), SyncError> {
    let failed = |source: tokio_postgres::Error| match source.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE) => SyncError::Busy,
        _ => SyncError::Ask { doing: "begin", source },
    };
    let sql = match mode {
        Mode::DryRun => "SET default_transaction_read_only = on".to_owned(),
        Mode::Apply => format!(
            "SET lock_timeout = {LOCK_WAIT_MS_MAX};SELECT pg_catalog.pg_advisory_lock({LOCK})"
        ),
    };
    home.batch_execute(&sql).await.map_err(failed)
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // What ends the connection is told to the client's next caller.
    tokio::spawn(connection);
    // The role's own path may hold functions of the same names.
    client.batch_execute("SET search_path = pg_catalog").await?;
    Ok(client)
}
