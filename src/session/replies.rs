//! What the shard answers, and what it means for the session.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use crate::backend::prepared;
use crate::backend::settings::Told;
use crate::directory::Shard;
use crate::pool::Lease;
use crate::protocol::answer::{Report, Status};
use crate::protocol::ask;
use crate::protocol::frame::reply;
use crate::session::cancel::Aim;
use crate::session::ledger::Promise;
use crate::session::report::code;
use crate::session::work::{Bond, Happened, Prefix, Work, pass};
use crate::session::{End, Pipeline, Place, Session};
use crate::sql::{Act, Keep, Keeps, Text, Value};

/// Undoes everything that code which we could not see may have left. Prepared statements are ours
/// and stay. `DISCARD ALL` would take them, and cannot stand beside other statements.
const RESET: &str = "RESET SESSION AUTHORIZATION;RESET ALL;CLOSE ALL;UNLISTEN *;\
    SELECT FROM pg_catalog.pg_advisory_unlock_all() OFFSET 1;DISCARD SEQUENCES;\
    DISCARD TEMP";

/// A backend that takes longer to become clean is closed.
const RESET_WAIT_MAX: Duration = Duration::from_secs(5);

/// What answers a reset is short. What is left of the client's own work is not read.
const RESET_FRAME_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Moves replies to the client; tells whether any of them meant something, or was the last.
    pub(super) async fn take_replies(&mut self) -> Result<bool, End> {
        if self.kept.is_empty() && !matches!(self.place, Place::Working(_)) {
            return Ok(false);
        }
        self.take_notifications()?;
        let mut any = false;
        let was_owed = matches!(&self.place, Place::Working(work) if !work.ledger.is_empty());
        // All that has come moves on together, mostly in the buffer that it came in.
        let mut passed = 0;
        while let Place::Working(work) = &mut self.place {
            let owed = work.ledger.len();
            let relayed = work.scan(&mut self.client.outbox, &mut passed);
            if work.ours.take_if(|ours| *ours <= work.ledger.rounds().finished).is_some() {
                self.listed.reach.set(Aim::At(work.target())).await;
            }
            // A request may wait for this very reply, even if it means nothing else.
            any |= work.ledger.len() < owed;
            match relayed {
                Ok(Some(happened)) => {
                    any = true;
                    self.follow(happened);
                }
                Ok(None) => break,
                Err(fault) => {
                    pass(&mut work.wire().inbox, &mut self.client.outbox, &mut passed);
                    self.fault(fault).await?;
                    return Ok(true);
                }
            }
        }
        if let Place::Working(work) = &mut self.place {
            pass(&mut work.wire().inbox, &mut self.client.outbox, &mut passed);
            // A request may have waited for the last of these.
            any |= was_owed && work.ledger.is_empty();
            if work.amiss && work.ledger.is_empty() {
                any |= self.amend();
            }
        }
        // Half a message has been sent: to the shard, whatever comes next would be the rest of it.
        let is_half_written = self.rest.is_some_and(|rest| rest.pass);
        if let Place::Working(work) = &mut self.place
            && !is_half_written
            && work.is_clean()
        {
            self.release().await;
            any = true;
        }
        // What had to wait for the end of a message.
        self.take_notifications()?;
        Ok(any)
    }

    /// After RESET in a transaction the shard's own start values are in force; the client's must
    /// be, before its next request. Tells whether anything was sent.
    fn amend(&mut self) -> bool {
        let Place::Working(work) = &mut self.place else { return false };
        let Some(sql) = self.tracked.amendment() else {
            work.amiss = false;
            return false;
        };
        if work.segment_open {
            // What failed is going to be rolled back.
            if self.pipeline == Pipeline::SkippingToSync {
                return false;
            }
            work.ask_in_segment(&sql);
            ask::flush(&mut work.wire().outbox);
        } else if work.status == Status::InTransaction {
            work.ask(&sql);
        } else {
            // Failed: to be said after ROLLBACK TO. Idle: said by whoever takes the backend next.
            return false;
        }
        work.amiss = false;
        true
    }

    /// What kept backends say on their own account.
    fn take_notifications(&mut self) -> Result<(), End> {
        if self.is_amid_frame() {
            return Ok(());
        }
        let out = &mut self.client.outbox;
        for work in &mut self.kept {
            if let Err(error) = work.relay(out) {
                warn!(shard = %work.shard.name, %error, "a kept backend cannot go on");
                return Err(lost_pins(&work.shard));
            }
        }
        Ok(())
    }

    fn follow(&mut self, happened: Happened) {
        match happened {
            Happened::Done(text, index) => self.follow_act(&text, index),
            Happened::Failed { broken, skips } => self.follow_failure(broken, skips),
            Happened::Ready(status) => self.follow_ready(status),
        }
    }

    fn follow_act(&mut self, text: &Text, index: usize) {
        let Place::Working(work) = &mut self.place else { return };
        let Some(statement) = text.statements.get(index) else { return };
        work.note(statement, &self.parts.texts);
        if statement.act == Act::None && statement.set_configs.is_empty() {
            return;
        }
        let tracked = &mut self.tracked;
        match &statement.act {
            Act::Begin { .. } => tracked.begin(),
            Act::Commit { .. } => {
                if work.failed {
                    tracked.roll_back();
                    work.freed = work.freed.without(Keeps::TRANSACTIONAL);
                } else {
                    tracked.commit();
                }
                work.failed = false;
                tracked.begin();
            }
            Act::Rollback { .. } => {
                tracked.roll_back();
                work.freed = work.freed.without(Keeps::TRANSACTIONAL);
                work.failed = false;
                tracked.begin();
            }
            Act::Savepoint(name) => tracked.savepoint(name),
            Act::Release(name) => tracked.release(name),
            Act::RollbackTo(name) => {
                tracked.roll_back_to(name);
                work.freed = work.freed.without(Keeps::TRANSACTIONAL);
                work.failed = false;
            }
            Act::Set(change) => {
                let resets = change.value == Value::Default;
                work.reset |= resets;
                work.amiss |= resets;
                tracked.change(change);
            }
            Act::ResetAll => {
                work.reset = true;
                work.amiss = true;
                tracked.reset_all();
            }
            Act::DiscardAll => {
                work.reset = true;
                work.amiss = true;
                work.backend().prepared.clear();
                work.keeps = work.keeps.and(Keeps::FOR_GOOD);
                tracked.reset_all();
                self.names.statements.clear();
            }
            Act::Deallocate(name) => {
                if name.as_deref().is_none_or(prepared::is_ours) {
                    work.backend().prepared.clear();
                }
                forget(&mut self.names, name.as_deref());
            }
            Act::Hold(name) => self.names.hold(name, &work.shard.name),
            // The rest leaves no trace in the session's own book.
            _ => {}
        }
        for change in &statement.set_configs {
            let resets = change.value == Value::Default;
            work.reset |= resets;
            work.amiss |= resets;
            tracked.change(change);
        }
        self.settle_path();
    }

    fn follow_failure(&mut self, broken: Vec<Promise>, skips: bool) {
        let Place::Working(work) = &mut self.place else { return };
        work.failed = true;
        if std::mem::take(&mut work.outdated) {
            self.parts.texts.renumber();
        }
        for Promise { promised, client_name } in broken {
            if let Some(promised) = promised {
                work.backend().prepared.break_promise(&promised);
            }
            self.names.break_promise(client_name.as_ref());
        }
        if skips {
            // Even a Query, which else ends a pipeline, is passed over: the shard waits for a Sync.
            work.segment_open = true;
            self.pipeline = Pipeline::SkippingToSync;
        }
    }

    fn follow_ready(&mut self, status: Status) {
        let Place::Working(work) = &mut self.place else { return };
        work.unsettled &= !work.ledger.is_empty();
        for (name, value) in work.reported.drain(..) {
            if name == "DateStyle" {
                self.tracked.refine("datestyle", &value);
            }
            self.reported_since.insert(name, value);
        }
        let finished = work.ledger.rounds().finished;
        self.names.fresh.retain(|_, round| finished <= *round);
        if status != Status::Idle {
            return;
        }
        if work.failed {
            work.freed = work.freed.without(Keeps::TRANSACTIONAL);
        }
        let moved = self.tracked.is_in_motion();
        match work.failed {
            true => self.tracked.roll_back(),
            false => self.tracked.commit(),
        }
        work.failed = false;
        if std::mem::take(&mut work.defined) {
            // Others have parsed, since, what only now is the past.
            self.parts.texts.renumber();
        }
        if work.ledger.is_empty() {
            self.names.fresh.clear();
            work.bond = Bond::Soft(Prefix::default());
            self.names.portals.clear();
        } else {
            self.tracked.begin();
        }
        if moved {
            self.settle_path();
        }
    }

    /// Lets the backend go: home if it is clean, onto the shelf if its state is this client's.
    pub(super) async fn release(&mut self) {
        let Place::Working(mut work) = std::mem::replace(&mut self.place, Place::Idle) else {
            return;
        };
        // Waits for a cancel that is under way: it must not hit whoever comes next.
        self.listed.reach.set(Aim::Nothing).await;
        work.suspect |= self.listed.reach.take_cancelled();
        let mut told = (!work.reset).then(|| self.tracked.session().clone());
        if let (true, Some(told)) = (work.wrote, &mut told) {
            told.set("search_path", Some(Told::Unknown));
        }
        work.backend().told = told;
        if work.wrote {
            let number = self.parts.writes.fetch_add(1, Ordering::Relaxed);
            self.last_write = Some(number);
            work.backend().sequences_of = Some(number);
        }
        (work.reset, work.amiss, work.wrote) = (false, false, false);
        let freed = std::mem::take(&mut work.freed);
        work.keeps = work.keeps.without(freed.and(Keeps::of(Keep::Sequence)));
        self.asks_sequence |= work.asks_sequence;
        // One that does not answer is closed; if it held something, the session ends with it.
        let answers = !work.doubtful || self.ask_pins(&mut work).await.is_some();
        // Before this one stands among them: what it has now, it has got since.
        if !freed.is_empty() {
            self.free_elsewhere(freed).await;
        }
        if !work.keeps.is_empty() {
            self.kept.push(*work);
        } else if answers {
            go_home(*work);
        }
    }

    /// Gives up an empty branch of a transaction; the backend is rolled back behind the scenes.
    pub(super) async fn abandon(&mut self, work: Box<Work>) {
        self.listed.reach.set(Aim::Nothing).await;
        self.listed.reach.take_cancelled();
        if !work.keeps.is_empty() {
            // What the session has there survives a rollback, and it may ask for it next.
            return self.roll_back_kept(work).await;
        }
        tokio::spawn(async move {
            let mut lease = work.into_lease();
            lease.backend().told = None;
            clean(lease, "ROLLBACK").await;
        });
    }
}

/// State that cannot be said again is gone, and the session must not go on as if it were there.
pub(super) fn lost_pins(shard: &Shard) -> End {
    let shard = &shard.name;
    End::told(Report::fatal(
        code::CONNECTION_FAILURE,
        format!("the connection to shard \"{shard}\", which held state of this session, was lost"),
    ))
}

/// Sends an idle backend home, by way of a reset if it has run what we could not see.
pub(super) fn go_home(work: Work) {
    if work.suspect {
        tokio::spawn(clean(work.into_lease(), RESET));
    } else {
        work.into_lease().give_back();
    }
}

/// DEALLOCATE of a name that was prepared over the protocol.
pub(super) fn forget(names: &mut super::Names, name: Option<&str>) {
    match name {
        Some(name) => {
            names.statements.remove(name.as_bytes());
        }
        None => names.statements.clear(),
    }
}

/// Makes a backend fit for anyone and sends it home; one that cannot be made so is closed.
async fn clean(mut lease: Lease, sql: &str) {
    let is_reset = sql == RESET;
    let sql = if is_reset { sql.to_owned() + &check(&mut lease) } else { sql.to_owned() };
    match timeout(RESET_WAIT_MAX, run(&mut lease, &sql)).await {
        Ok(Some(())) => {
            if is_reset {
                lease.backend().told = Some(Default::default());
                lease.backend().sequences_of = None;
            }
            lease.give_back();
        }
        Ok(None) | Err(_) => debug!("a backend could not be reset and is closed"),
    }
}

/// A row, and so a failure, when the prepared statements are not those that we know of: code
/// that we cannot see may have said PREPARE or DEALLOCATE.
fn check(lease: &mut Lease) -> String {
    let known = lease.backend().prepared.count();
    format!(
        ";SELECT FROM pg_catalog.pg_prepared_statements \
         HAVING count(*) <> {known} OR count(*) FILTER (WHERE from_sql) <> 0"
    )
}

/// Runs a text of ours; `Some` when all of it succeeded without a row and the backend is idle.
async fn run(lease: &mut Lease, sql: &str) -> Option<()> {
    lease.backend().prepared.forget_unnamed();
    let wire = &mut lease.backend().wire;
    ask::query(sql, &mut wire.outbox).ok()?;
    loop {
        match wire.next_frame(RESET_FRAME_BYTES_MAX).await.ok()? {
            (reply::ERROR | reply::DATA_ROW, _) => return None,
            (reply::READY_FOR_QUERY, body) => return (*body == *b"I").then_some(()),
            _ => {}
        }
    }
}
