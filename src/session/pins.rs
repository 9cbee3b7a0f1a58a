//! Session state that lives on one backend only: who has it, and when it has ended.
//!
//! PostgreSQL itself is asked, after whatever may have made or ended such state: a lock that was
//! not granted, a table dropped with its transaction or a lock taken inside of a function cannot
//! be told from the text.

use std::fmt::Write;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::time::timeout;
use tracing::info;

use crate::backend::settings::Told;
use crate::protocol::ask;
use crate::protocol::cursor::Cursor;
use crate::protocol::frame::reply;
use crate::router::{Firmness, Plan, Reason};
use crate::session::engage::Engaged;
use crate::session::refuse::Way;
use crate::session::replies::go_home;
use crate::session::work::Work;
use crate::session::{End, Flow, Place, Session};
use crate::sql::{Act, Keep, Keeps, Text};

/// `SHOW veneer.pins` tells which shards this session keeps a backend of, and why.
pub(super) const PINS_SETTING: &str = "veneer.pins";

/// What the question below tells, column by column.
const TOLD: [Keep; 5] =
    [Keep::Listen, Keep::AdvisoryLock, Keep::HoldCursor, Keep::TempTable, Keep::Prepared];

/// No operator or function of a tenant's own may answer in the place of PostgreSQL's.
const QUESTION: &str = "SELECT \
    EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), \
    EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
        AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()), \
    EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable), \
    EXISTS (SELECT FROM pg_catalog.pg_class \
        WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_proc \
        WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
    OR EXISTS (SELECT FROM pg_catalog.pg_type \
        WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
    EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)";

/// A backend that takes longer to answer is closed.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// An answer is a row of letters; a notification that comes first has at most 8,000 bytes.
const FRAME_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Asks what a backend holds for this session; `None` when it does not answer.
    pub(super) async fn ask_pins(&mut self, work: &mut Work) -> Option<Keeps> {
        let before = work.keeps;
        let asked = timeout(WAIT_MAX, run(work, QUESTION, &mut self.client.outbox)).await;
        let found = asked.ok().flatten()?.unwrap_or_default();
        work.keeps = found | before.and(Keeps::UNTOLD);
        work.doubtful = false;
        if work.keeps != work.pinned {
            info!(
                target: "veneer::session",
                shard = %work.shard.name,
                user = %self.user.name,
                pins = %work.keeps,
                "a session keeps its backend for what it has there"
            );
            work.pinned = work.keeps;
        }
        Some(work.keeps)
    }

    /// `UNLISTEN *` and the like were said on one shard; this session's state on others ends, too.
    pub(super) async fn free_elsewhere(&mut self, freed: Keeps) {
        for mut work in std::mem::take(&mut self.kept) {
            let ended = work.keeps.and(freed).without(Keeps::FOR_GOOD);
            if ended.is_empty() {
                self.kept.push(work);
                continue;
            }
            let sql: Vec<_> = ended.iter().filter_map(ending).collect();
            work.keeps = work.keeps.without(ended);
            if ended.contains(Keep::Prepared) {
                work.backend().prepared.clear();
            }
            let sql = sql.join(";");
            self.say_to_kept(work, &sql).await;
        }
    }

    /// Gives up the session's transaction on a backend, but not what else it has there.
    pub(super) async fn roll_back_kept(&mut self, mut work: Box<Work>) {
        work.backend().told = None;
        work.failed = false;
        self.say_to_kept(*work, "ROLLBACK").await;
    }

    async fn say_to_kept(&mut self, mut work: Work, sql: &str) {
        let said = timeout(WAIT_MAX, run(&mut work, sql, &mut self.client.outbox)).await;
        let is_done = said.ok().flatten().is_some();
        if is_done && self.ask_pins(&mut work).await.is_some_and(Keeps::is_empty) {
            return go_home(work);
        }
        // One that does not answer as it should is noticed there, and ends the session.
        self.kept.push(work);
    }

    /// A cursor WITH HOLD is a portal that outlives its transaction, on a backend that is kept.
    pub(super) async fn fetch_holder(&mut self) -> Result<Option<Flow>, End> {
        let has_cursor = |work: &&Work| work.keeps.contains(Keep::HoldCursor);
        let Some(shard) = self.kept.iter().find(has_cursor).map(|work| work.shard.clone()) else {
            return Ok(None);
        };
        if matches!(self.place, Place::Working(_)) {
            return Ok(None);
        }
        let plan = Plan { shard, reason: Reason::Home, firmness: Firmness::Soft, also: None };
        Ok(match self.engage(&plan, &Text::default(), b"").await? {
            Engaged::Ready => None,
            Engaged::Wait => Some(Flow::Wait),
            Engaged::Refused(report) => Some(self.refuse(report, Way::Extended, b"").await?),
        })
    }

    /// Brings the answer to `SHOW veneer.pins` along, for a text that asks for it.
    pub(super) fn tell_pins(&mut self, text: &Text) {
        let asks = |act: &Act| matches!(act, Act::Show(setting) if setting == PINS_SETTING);
        if text.statements.iter().any(|statement| asks(&statement.act)) {
            let mut pins = String::new();
            for work in &self.kept {
                let separator = if pins.is_empty() { "" } else { "; " };
                let _ = write!(pins, "{separator}{}: {}", work.shard.name, work.keeps);
            }
            self.tracked.put(PINS_SETTING, Told::Text(pins.into()));
        }
    }
}

/// What ends all state of a kind.
fn ending(keep: Keep) -> Option<&'static str> {
    match keep {
        Keep::Listen => Some("UNLISTEN *"),
        Keep::TempTable => Some("DISCARD TEMP"),
        Keep::AdvisoryLock => Some("SELECT FROM pg_catalog.pg_advisory_unlock_all() OFFSET 1"),
        Keep::HoldCursor => Some("CLOSE ALL"),
        Keep::Prepared => Some("DEALLOCATE ALL"),
        Keep::Sequence => Some("DISCARD SEQUENCES"),
        Keep::Library | Keep::Seed => None,
    }
}

/// Runs a text of ours between the client's; `None` unless it succeeds and leaves the backend
/// idle. Notifications are the client's.
async fn run(work: &mut Work, sql: &str, out: &mut BytesMut) -> Option<Option<Keeps>> {
    work.backend().prepared.forget_unnamed();
    let wire = work.wire();
    ask::query(sql, &mut wire.outbox).ok()?;
    let mut row = None;
    loop {
        match wire.next_frame(FRAME_BYTES_MAX).await.ok()? {
            (reply::ERROR, _) => return None,
            (reply::DATA_ROW, body) => row = Some(read_row(&body)?),
            (reply::NOTIFICATION, body) => {
                out.put_u8(reply::NOTIFICATION);
                out.put_i32(i32::try_from(body.len() + 4).ok()?);
                out.extend_from_slice(&body);
            }
            (reply::READY_FOR_QUERY, body) => return (*body == *b"I").then_some(row),
            _ => {}
        }
    }
}

fn read_row(body: &[u8]) -> Option<Keeps> {
    let mut cursor = Cursor::new(body);
    if usize::from(cursor.u16().ok()?) != TOLD.len() {
        return None;
    }
    let mut found = Keeps::NONE;
    for keep in TOLD {
        let bytes = usize::try_from(cursor.i32().ok()?).ok()?;
        if cursor.bytes(bytes).ok()? == b"t" {
            found |= Keeps::of(keep);
        }
    }
    Some(found)
}
