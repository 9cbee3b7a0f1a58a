//! What a shard says of itself to a role: learned once, told to every client at its login.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::backend::settings::SettingMap;
use crate::pool::{Lease, Pool, PoolError};
use crate::protocol::answer::Report;
use crate::protocol::ask;
use crate::protocol::cursor::Cursor;
use crate::protocol::frame::reply;
use crate::session::report::{code, no_backend};
use crate::tenant::RoleName;

const ASK_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a shard answers here is short.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Start values that were tried on home; beyond this many they are tried each time.
const TRIED_MAX: usize = 1000;

/// What clients of a role are told.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `ParameterStatus`, by name.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// The role's own `search_path`.
    pub path: String,
}

/// Facts by role, and start values that home has accepted, with what it reported then.
#[derive(Debug, Default)]
pub struct Roles {
    facts: DashMap<RoleName, Arc<Facts>>,
    tried: DashMap<(RoleName, String), Arc<BTreeMap<String, String>>>,
}

impl Roles {
    /// What home says of itself to this role. With home down, the last known serves.
    pub async fn facts(&self, role: &RoleName, pool: &Pool) -> Result<Arc<Facts>, Report> {
        if let Some(facts) = self.facts.get(role) {
            return Ok(facts.clone());
        }
        let mut lease = take(pool).await?;
        let question = "RESET ALL;SELECT pg_catalog.current_setting('search_path')";
        let path = ask_backend(lease.backend(), question).await?.unwrap_or_default();
        let facts = Facts { parameters: Arc::new(lease.backend().parameters.clone()), path };
        lease.backend().told = Some(SettingMap::default());
        lease.give_back();
        let facts = Arc::new(facts);
        self.facts.insert(role.clone(), facts.clone());
        Ok(facts)
    }

    /// Has home judge a client's start values; gives what it reports with them. With home down, one
    /// of the `other` shards judges, this once.
    pub async fn try_start(
        &self,
        role: &RoleName,
        home: &Pool,
        others: &[Arc<Pool>],
        start: &SettingMap,
    ) -> Result<Arc<BTreeMap<String, String>>, Report> {
        let difference = start.difference(Some(&SettingMap::default()));
        let sql = difference.iter().collect::<Vec<_>>().join(";");
        if sql.is_empty() {
            return Ok(Arc::default());
        }
        let key = (role.clone(), sql);
        if let Some(tried) = self.tried.get(&key) {
            return Ok(tried.clone());
        }
        let mut judged = judge(home, &key.1, start).await;
        if judged.as_ref().is_err_and(is_down) {
            for pool in others {
                judged = judge(pool, &key.1, start).await;
                if !judged.as_ref().is_err_and(is_down) {
                    return judged;
                }
            }
        }
        let reported = judged?;
        if self.tried.len() < TRIED_MAX {
            self.tried.insert(key, reported.clone());
        }
        Ok(reported)
    }
}

async fn judge(
    pool: &Pool,
    sql: &str,
    start: &SettingMap,
) -> Result<Arc<BTreeMap<String, String>>, Report> {
    let mut lease = take(pool).await?;
    ask_backend(lease.backend(), &format!("RESET ALL;{sql}")).await?;
    lease.backend().told = Some(start.clone());
    let reported = Arc::new(lease.backend().parameters.clone());
    lease.give_back();
    Ok(reported)
}

fn is_down(report: &Report) -> bool {
    report.code == code::CANNOT_CONNECT
}

async fn take(pool: &Pool) -> Result<Lease, Report> {
    pool.lease(None).await.map_err(|error| {
        tracing::warn!(%error, source = ?std::error::Error::source(&error).map(ToString::to_string), "a shard cannot greet");
        let code = match error {
            PoolError::Unreachable { .. } => code::CANNOT_CONNECT,
            PoolError::Exhausted { .. } => code::TOO_MANY_CONNECTIONS,
        };
        Report { code: code.into(), ..no_backend(&error) }
    })
}

/// Runs a text of ours and gives the first column of its last row.
async fn ask_backend(backend: &mut Backend, sql: &str) -> Result<Option<String>, Report> {
    let lost = || Report::error(code::CANNOT_CONNECT, "a shard does not answer");
    match timeout(ASK_WAIT_MAX, converse(backend, sql)).await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => Err(lost()),
    }
}

async fn converse(backend: &mut Backend, sql: &str) -> Option<Result<Option<String>, Report>> {
    ask::query(sql, &mut backend.wire.outbox).ok()?;
    let (mut row, mut failure) = (None, None);
    loop {
        let (tag, body) = backend.wire.next_frame(FRAME_BYTES_MAX).await.ok()?;
        match tag {
            reply::DATA_ROW => row = first_column(&body),
            reply::ERROR => failure = Some(read_error(&body)),
            reply::PARAMETER_STATUS => {
                let (name, value) = crate::backend::login::parameter(&body)?;
                backend.parameters.insert(name, value);
            }
            reply::READY_FOR_QUERY => {
                return Some(failure.map_or(Ok(row), Err));
            }
            _ => {}
        }
    }
}

fn first_column(body: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(body);
    cursor.u16().ok()?;
    let length = usize::try_from(cursor.i32().ok()?).ok()?;
    String::from_utf8(cursor.bytes(length).ok()?.to_vec()).ok()
}

/// A shard's error about a start value ends the login, as on PostgreSQL.
fn read_error(body: &[u8]) -> Report {
    let mut report = Report::fatal(code::PROTOCOL_VIOLATION, "a shard refuses");
    let mut cursor = Cursor::new(body);
    while let (Ok(field), Ok(text)) = (cursor.byte(), cursor.text()) {
        let text = String::from_utf8_lossy(text).into_owned();
        match field {
            b'C' => report.code = text.into(),
            b'M' => report.message = text,
            b'D' => report.detail = Some(text),
            b'H' => report.hint = Some(text),
            _ => {}
        }
    }
    report
}
