//! Getting a backend to work for the session, made to look like the session's own.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use tracing::info;

use crate::directory::Shard;
use crate::pool::Pool;
use crate::protocol::answer::{Report, Status};
use crate::protocol::ask;
use crate::protocol::wire::Wire;
use crate::router::refusal::Refusal;
use crate::router::{self, Firmness, Plan};
use crate::session::cancel::Aim;
use crate::session::wait::INBOX_BYTES_MAX;
use crate::session::work::{Bond, Prefix, Work};
use crate::session::{End, Place, Session, Statements, loggable, report};
use crate::sql::{Act, Keep, Statement, Text};
use crate::tls::Socket;

/// Pools that a session finds again without asking; each change of the directory makes new shards.
const LAST_POOLS_MAX: usize = 8;

/// How long a client that sends no more may stand in line for a backend.
const HALF_CLOSED_LINE_MAX: Duration = Duration::from_secs(1);

/// Whether a request may be sent now.
#[derive(Debug)]
pub(super) enum Engaged {
    Ready,
    Wait,
    Refused(Report),
}

impl Session {
    /// Gets the shard of the plan to work for us, if the transaction allows it.
    pub(super) async fn engage(
        &mut self,
        plan: &Plan,
        text: &Text,
        sql: &[u8],
    ) -> Result<Engaged, End> {
        let engaged = match &mut self.place {
            Place::Idle | Place::Held(_) | Place::Piped(_) => self.take_up(plan, text).await?,
            Place::Working(_) => self.go_on(plan, text).await?,
            Place::Lost(lost) => Engaged::Refused(lost.refusal()),
        };
        if let (Engaged::Ready, Place::Working(work)) = (&engaged, &self.place) {
            // A backend may still be here from the round before, whose end has ended its book.
            self.tracked.begin();
            self.affinity = router::affinity(self.affinity.as_ref(), text, plan, &work.shard.name);
        }
        if let (Statements::All, Engaged::Ready, Place::Working(work)) =
            (self.parts.log, &engaged, &self.place)
        {
            info!(
                target: "veneer::statement",
                shard = %work.shard.name,
                tenant = plan.reason.tenant().map(tracing::field::display),
                reason = %plan.reason,
                user = %self.user.name,
                sql = ?loggable(sql),
                "routed"
            );
        }
        Ok(engaged)
    }

    /// For what belongs nowhere: the session's tenant's shard, else home.
    pub(super) async fn engage_base(&mut self) -> Result<Engaged, End> {
        let snapshot = self.parts.directory.snapshot();
        let (shard, reason) = self.asking(&[], |asker| {
            let (shard, reason) = router::base(asker, &snapshot);
            (shard.clone(), reason)
        });
        let plan = Plan { shard, reason, firmness: Firmness::Soft, also: None };
        self.engage(&plan, &Text::default(), b"").await
    }

    /// A backend is at work already.
    async fn go_on(&mut self, plan: &Plan, text: &Text) -> Result<Engaged, End> {
        let Place::Working(work) = &mut self.place else { return Ok(Engaged::Wait) };
        // Bound already, the transaction asks where it is whatever can be answered there.
        let also = plan.also.as_ref().filter(|_| matches!(work.bond, Bond::Firm));
        let here = [Some(&plan.shard), also].iter().flatten().any(|s| s.name == work.shard.name);
        if !work.ledger.is_empty() {
            // Before the shard has answered, only what goes there either way may follow.
            let certain = here || plan.firmness == Firmness::Soft;
            if certain && !work.unsettled {
                self.harden(plan);
                return Ok(Engaged::Ready);
            }
            if work.segment_open {
                // Without a Sync or a Flush the shard would keep its answers to itself.
                ask::flush(&mut work.wire().outbox);
            }
            return Ok(Engaged::Wait);
        }
        let is_lost = work.status == Status::Failed && !text.goes_on_after_its_transaction();
        if is_lost || here {
            self.harden(plan);
            return Ok(Engaged::Ready);
        }
        let in_transaction = work.status != Status::Idle || work.segment_open;
        if !in_transaction {
            self.release().await;
            return self.take_up(plan, text).await;
        }
        let runs = work.segment_open && work.ledger.runs();
        // What a tenant's path means (a function, `current_schema()`) is known on its shard only.
        let may_move = matches!(
            &work.bond, Bond::Soft(prefix) if !runs && !prefix.strict
        ) && plan.is_worth_a_move(work.keeps);
        let may_stay = matches!(plan.firmness, Firmness::Soft | Firmness::Loose)
            && !calls_elsewhere(plan, text);
        if may_stay && !may_move {
            self.harden(plan);
            return Ok(Engaged::Ready);
        }
        let bound = work.shard.name.clone();
        match &work.bond {
            Bond::Soft(prefix) if !runs && !prefix.strict && work.status != Status::Failed => {
                self.move_transaction().await;
                self.take_up(plan, text).await
            }
            Bond::Soft(_) | Bond::Firm => {
                let wanted = plan.shard.name.clone();
                let what = plan.reason.tenant().cloned();
                let refusal = Refusal::SecondShard { bound, wanted, what };
                Ok(Engaged::Refused(report::refusal(&refusal)))
            }
        }
    }

    /// What is more than a tenantless read binds the transaction to its shard.
    fn harden(&mut self, plan: &Plan) {
        if let Place::Working(work) = &mut self.place
            && !matches!(plan.firmness, Firmness::Soft | Firmness::Passing)
        {
            work.bond = Bond::Firm;
        }
    }

    /// Gives the transaction's empty branch up; what began it is held again.
    async fn move_transaction(&mut self) {
        let Place::Working(work) = std::mem::replace(&mut self.place, Place::Idle) else { return };
        let prefix = match &work.bond {
            Bond::Soft(prefix) => prefix.clone(),
            Bond::Firm => Prefix::default(),
        };
        let is_open = work.status != Status::Idle;
        self.abandon(work).await;
        // A pipeline that has only prepared has no transaction to take along.
        if is_open {
            self.place = Place::Held(prefix);
        }
    }

    /// Takes a backend and brings it to where the session is: settings, then what was held.
    async fn take_up(&mut self, plan: &Plan, text: &Text) -> Result<Engaged, End> {
        self.tell_pins(text);
        let mut work = match self.fetch(plan, text).await? {
            Ok(work) => work,
            Err(report) => return Ok(Engaged::Refused(report)),
        };
        let (mut held, mut piped) = (None, Vec::new());
        match std::mem::replace(&mut self.place, Place::Idle) {
            Place::Held(prefix) => held = Some(prefix),
            Place::Piped(texts) => piped = texts,
            Place::Idle | Place::Working(_) | Place::Lost(_) => {}
        }
        let mut difference = self.tracked.before().difference(work.backend().told.as_ref());
        work.asks_sequence = self.asks_sequence;
        if work.backend().sequences_of.take_if(|last| Some(*last) != self.last_write).is_some() {
            // `lastval` must tell neither what another session was given, nor what ours was long ago.
            difference.add("DISCARD SEQUENCES");
        }
        difference.iter().for_each(|sql| work.ask(sql));
        self.tracked.begin();
        self.names.fresh.clear();
        if let Some(prefix) = &held {
            prefix.texts.iter().for_each(|text| work.ask(text));
            work.status = Status::InTransaction;
        }
        for text in &piped {
            work.ask_in_segment(text);
            work.segment_open = true;
        }
        work.ours = Some(work.ledger.rounds().begun).filter(|rounds| 0 < *rounds);
        // A cancel must not hit what we say: the client's request would run without it.
        let aim = if work.ours.is_some() { Aim::Soon } else { Aim::At(work.target()) };
        self.listed.reach.set(aim).await;
        // A strict transaction's first statement takes its snapshot for good.
        let prefix = held.unwrap_or_default();
        work.bond = match plan.firmness {
            Firmness::Soft | Firmness::Passing if !prefix.strict && piped.is_empty() => {
                Bond::Soft(prefix)
            }
            _ => Bond::Firm,
        };
        self.place = Place::Working(work);
        Ok(Engaged::Ready)
    }

    /// Where a cursor WITH HOLD is that the text names.
    fn cursor_holder(&self, text: &Text) -> Option<usize> {
        let [statement] = text.statements.as_slice() else { return None };
        let Act::Cursor(name) = &statement.act else { return None };
        let shard = self.names.cursors.get(name)?;
        self.kept
            .iter()
            .position(|work| work.shard.name == *shard && work.keeps.contains(Keep::HoldCursor))
    }

    /// A backend that this session has kept, or one from the pool.
    async fn fetch(&mut self, plan: &Plan, text: &Text) -> Result<Result<Box<Work>, Report>, End> {
        let by_name = plan.firmness != Firmness::Firm && names_prepared(text);
        let holder = self.kept.iter().position(|work| by_name && holds_prepared(work));
        let holder = holder.or_else(|| self.cursor_holder(text));
        let here = || self.kept.iter().position(|work| work.shard.name == plan.shard.name);
        if let Some(index) = holder.or_else(here) {
            if executes_elsewhere(&self.kept[index], plan, text) {
                let report = report::prepared_elsewhere(&self.kept[index].shard, plan);
                return Ok(Err(report));
            }
            return Ok(Ok(Box::new(self.kept.swap_remove(index))));
        }
        let shard = Arc::clone(&plan.shard);
        let pool = self.pool(&shard);
        let mut leasing = pin!(pool.lease(plan.reason.tenant()));
        // Mostly one is free at once, and then there is nothing to interrupt.
        let lease = match poll_fn(|cx| Poll::Ready(leasing.as_mut().poll(cx))).await {
            Poll::Ready(lease) => lease,
            Poll::Pending => {
                self.listed.reach.set(Aim::InLine).await;
                let lease = tokio::select! {
                    biased;
                    lease = leasing => lease,
                    () = self.listed.reach.interrupted() => {
                        self.listed.reach.set(Aim::Nothing).await;
                        return Ok(Err(report::cancelled()));
                    }
                    // Nobody stands in line for a client that has left.
                    () = gone(&mut self.client) => return Err(End::Gone),
                };
                if lease.is_err() {
                    self.listed.reach.set(Aim::Nothing).await;
                }
                lease
            }
        };
        Ok(match lease {
            Ok(lease) => Ok(Box::new(Work::new(lease, shard, Bond::Firm))),
            Err(error) => {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(shard = %shard.name, %error, source, "no backend");
                Err(report::no_backend(&error))
            }
        })
    }

    /// The shard's backends in the session's role; mostly some that it has asked for before.
    fn pool(&mut self, shard: &Arc<Shard>) -> Arc<Pool> {
        let mut last = self.last_pools.iter();
        if let Some((_, pool)) = last.find(|(last, _)| Arc::ptr_eq(last, shard)) {
            return pool.clone();
        }
        let pool = self.parts.pools.pool(shard, self.user.login(&shard.name));
        if LAST_POOLS_MAX <= self.last_pools.len() {
            self.last_pools.clear();
        }
        self.last_pools.push((shard.clone(), pool.clone()));
        pool
    }
}

/// Waits until the client has left. One that has closed its own side only, which looks the same,
/// has some time in line.
async fn gone(client: &mut Wire<Socket>) {
    if client.closed(INBOX_BYTES_MAX).await.is_ok() {
        sleep(HALF_CLOSED_LINE_MAX).await;
    }
}

/// A function without a qualifier is the tenant's, and its shard is another.
fn calls_elsewhere(plan: &Plan, text: &Text) -> bool {
    plan.reason.tenant().is_some()
        && text.statements.iter().any(|statement| statement.leaves.unknown || statement.looks_up)
}

/// SQL-level names live where they were made.
fn names_prepared(text: &Text) -> bool {
    let by_name = |act: &Act| matches!(act, Act::Execute(_) | Act::Deallocate(_));
    text.statements.iter().any(|statement| by_name(&statement.act))
}

fn holds_prepared(work: &Work) -> bool {
    work.keeps.contains(Keep::Prepared)
}

/// PostgreSQL reads a prepared text anew under the path in force: it must not run where that leads
/// to another tenant's shard.
fn executes_elsewhere(work: &Work, plan: &Plan, text: &Text) -> bool {
    let executes = |statement: &Statement| matches!(statement.act, Act::Execute(_));
    work.shard.name != plan.shard.name
        && plan.reason.tenant().is_some()
        && text.statements.iter().any(executes)
}
