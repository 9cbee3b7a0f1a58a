//! The one file that words our errors for clients: SQLSTATE, message, detail, hint.

use crate::directory::Shard;
use crate::pool::PoolError;
use crate::protocol::answer::Report;
use crate::router::refusal::{Place, Refusal};
use crate::router::{Plan, TENANT_SETTING};
use crate::sql::ReadError;
use crate::tenant::Standing;

pub mod code {
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const CANNOT_CONNECT: &str = "08001";
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    pub const CONNECTION_FAILURE: &str = "08006";
    pub const DUPLICATE_STATEMENT: &str = "42P05";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const INTERNAL: &str = "XX000";
    pub const INVALID_BYTES: &str = "22021";
    pub const INVALID_CURSOR: &str = "34000";
    pub const INVALID_PARAMETER: &str = "22023";
    pub const INVALID_SCHEMA: &str = "3F000";
    pub const INVALID_STATEMENT: &str = "26000";
    pub const LIMIT_EXCEEDED: &str = "54000";
    pub const NO_USER: &str = "28000";
    pub const IN_FAILED_TRANSACTION: &str = "25P02";
    pub const OUTCOME_UNKNOWN: &str = "08007";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const QUERY_CANCELED: &str = "57014";
    pub const READ_ONLY: &str = "25006";
    pub const SYNTAX: &str = "42601";
    pub const TOO_COMPLEX: &str = "54001";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const UNKNOWN_DATABASE: &str = "3D000";
    pub const WRONG_PASSWORD: &str = "28P01";
}

/// Words a refusal of the router.
pub fn refusal(refusal: &Refusal) -> Report {
    let message = refusal.to_string();
    match refusal {
        Refusal::UnknownTenant { nearest, .. } => {
            let report = Report::error(code::INVALID_SCHEMA, message);
            match nearest {
                Some(nearest) => report.hint(format!("Perhaps you meant \"{nearest}\".")),
                None => report.hint("No tenant has such a name; check search_path and qualifiers."),
            }
        }
        Refusal::NoTenant => Report::error(code::INVALID_SCHEMA, message)
            .hint("Select a tenant with SET search_path, or qualify the name: tenant.table."),
        Refusal::SeveralShards(places) => Report::error(code::FEATURE_NOT_SUPPORTED, message)
            .detail(tell(places))
            .hint("Ask each shard on its own, and join in the application."),
        Refusal::SecondShard { bound, wanted, what } => {
            let report = Report::error(code::FEATURE_NOT_SUPPORTED, message);
            let report = match what {
                Some(tenant) => report.detail(format!(
                    "The transaction has begun on shard \"{bound}\"; tenant \"{tenant}\" lives on \
                     shard \"{wanted}\"."
                )),
                None => report.detail(format!("What it asks for lives on shard \"{wanted}\".")),
            };
            report.hint("End the transaction first: one transaction stays on one shard.")
        }
        Refusal::NotYours { user, .. } => Report::error(code::INSUFFICIENT_PRIVILEGE, message)
            .detail(format!("User \"{user}\" may not use this tenant.")),
        Refusal::ReadOnly(_) => Report::error(code::READ_ONLY, message),
        Refusal::Unavailable { standing, .. } => unavailable(*standing, message),
        Refusal::Lifecycle => Report::error(code::FEATURE_NOT_SUPPORTED, message)
            .hint("Create the schema on its shard, then enter it in the tenant directory."),
        Refusal::SharedByAll(_) => Report::error(code::FEATURE_NOT_SUPPORTED, message)
            .hint("Run it on each shard, not through veneer."),
        Refusal::TwoPhase => Report::error(code::FEATURE_NOT_SUPPORTED, message),
        Refusal::Setting { why, .. } => {
            Report::error(code::FEATURE_NOT_SUPPORTED, message).detail(*why)
        }
    }
}

fn unavailable(standing: Standing, message: String) -> Report {
    match standing {
        Standing::Provisioning => Report::error(code::INVALID_SCHEMA, message)
            .hint("Try again when the tenant is active."),
        _ => Report::error(code::CANNOT_CONNECT_NOW, message).hint("Try again later."),
    }
}

fn tell(places: &[Place]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for Place { what, shard } in places {
        lines.push(format!("{what} is on shard \"{shard}\""));
    }
    lines.join("; ") + "."
}

/// Words a text that could not be read.
pub fn unreadable(error: &ReadError) -> Report {
    let message = error.to_string();
    match error {
        ReadError::Long { .. } | ReadError::Complex(_) => Report::error(code::TOO_COMPLEX, message)
            .hint("Scope the session with SET veneer.tenant, and its texts need no parsing."),
        ReadError::NotUtf8 => Report::error(code::INVALID_BYTES, message),
        ReadError::Syntax(_) => Report::error(code::SYNTAX, message),
    }
}

/// Words a backend that could not be had. The address is ours to know, not the client's.
pub fn no_backend(error: &PoolError) -> Report {
    match error {
        PoolError::Exhausted { .. } => Report::error(code::TOO_MANY_CONNECTIONS, error.to_string())
            .hint("Try again, or raise pool.size_max."),
        PoolError::Unreachable { .. } => {
            Report::error(code::CONNECTION_FAILURE, error.to_string()).hint("Try again later.")
        }
    }
}

/// In PostgreSQL's own words.
pub fn aborted() -> Report {
    Report::error(
        code::IN_FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

pub fn no_statement(name: &[u8]) -> Report {
    let report = |message| Report::error(code::INVALID_STATEMENT, message);
    if name.is_empty() {
        return report("unnamed prepared statement does not exist".to_owned());
    }
    report(format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)))
}

/// EXECUTE where the path has moved to another shard.
pub fn prepared_elsewhere(shard: &Shard, plan: &Plan) -> Report {
    let message = format!("the statement was prepared on shard \"{}\"", shard.name);
    Report::error(code::FEATURE_NOT_SUPPORTED, message)
        .detail(format!("Now {}, on shard \"{}\".", plan.reason, plan.shard.name))
        .hint("PREPARE it again, or go back to the path under which it was prepared.")
}

/// In PostgreSQL's own words.
pub fn cancelled() -> Report {
    Report::error(code::QUERY_CANCELED, "canceling statement due to user request")
}

pub fn no_portal(name: &[u8]) -> Report {
    let message = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
    Report::error(code::INVALID_CURSOR, message)
}

/// Why a setting may not have a value; an unknown value is taken for the worst.
pub fn refuse_setting(setting: &str, value: Option<&str>) -> Option<&'static str> {
    let is = |allowed: &[&str]| {
        value.is_some_and(|value| allowed.contains(&value.to_ascii_lowercase().as_str()))
    };
    match setting {
        "client_encoding" if !value.is_some_and(is_utf8) => {
            Some("Only UTF8 is supported: in other encodings a text could be read in two ways.")
        }
        "standard_conforming_strings"
            if !is(&["on", "true", "yes", "1", "t", "y", "tr", "tru", "ye"]) =>
        {
            Some("It must be on: with other rules for quotes a text could be read in two ways.")
        }
        "session_authorization" => Some("Sessions share backends; connect as another user."),
        "role" if !is(&["none"]) => Some("Sessions share backends; connect as another user."),
        "search_path" | TENANT_SETTING if value.is_none() => {
            Some("It chooses the shard, so its value must be a literal or a bound parameter.")
        }
        _ => None,
    }
}

/// PostgreSQL sees only the letters and digits of an encoding's name; asyncpg sends `'utf-8'`.
pub fn is_utf8(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    ["utf8", "unicode"].contains(&name.as_str())
}
