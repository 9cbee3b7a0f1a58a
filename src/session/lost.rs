//! A backend that breaks under its client: what the client is told, and how the session goes on.
//!
//! Nothing that may have run is ever sent again. The session stays: a transaction counts as failed
//! until the client ends it, as any failed transaction does.

use tracing::warn;

use crate::protocol::answer::{self, Report, Status};
use crate::session::cancel::Aim;
use crate::session::ledger::wreck::{Risk, Standing, Wreck};
use crate::session::replies::lost_pins;
use crate::session::report::{self, code};
use crate::session::work::{Fault, Work};
use crate::session::{End, Pipeline, Place, Session};
use crate::sql::{Act, Statement};
use crate::tenant::ShardName;

/// A transaction whose backend is gone.
#[derive(Debug)]
pub struct Lost {
    /// What the client has not been told yet.
    unsaid: Option<Report>,
    /// It was begun by BEGIN; else it ends with the next Sync.
    open: bool,
}

impl Lost {
    pub fn status(&self) -> Status {
        if self.open { Status::Failed } else { Status::Idle }
    }

    /// What a request is answered with.
    pub(super) fn refusal(&mut self) -> Report {
        self.unsaid.take().unwrap_or_else(report::aborted)
    }
}

impl Session {
    /// A backend has said what it must not say, or an error of its own that ends it.
    pub(super) async fn fault(&mut self, fault: Fault) -> Result<(), End> {
        let Place::Working(work) = &self.place else { return Ok(()) };
        let shard = work.shard.name.clone();
        warn!(%shard, error = %fault, "a backend cannot go on");
        match fault {
            Fault::Reading(setting) => Err(End::told(Report::fatal(
                code::FEATURE_NOT_SUPPORTED,
                format!("cannot change \"{setting}\""),
            ))),
            // The client's driver knows what to make of PostgreSQL's own words.
            Fault::Fatal(words) => Err(End::Relayed(words)),
            Fault::Settings(why) => {
                let why = format!("The shard refused what the session had set before: {why}");
                self.lose(Some(why)).await
            }
            Fault::Frame(_) | Fault::Unasked(_) | Fault::Malformed(_) => {
                self.lose(Some("What the shard said makes no sense.".to_owned())).await
            }
        }
    }

    /// The backend at work is gone; so is all that it had not finished.
    pub(super) async fn lose(&mut self, why: Option<String>) -> Result<(), End> {
        let Place::Working(work) = std::mem::replace(&mut self.place, Place::Idle) else {
            return Ok(());
        };
        self.listed.reach.set(Aim::Nothing).await;
        self.listed.reach.take_cancelled();
        if !work.keeps.is_empty() {
            return Err(lost_pins(&work.shard));
        }
        if work.is_amid_frame() {
            // What the client has got of a message cannot be taken back.
            return Err(End::Gone);
        }
        if let Some(rest) = &mut self.rest {
            rest.pass = false;
        }
        let open = work.status != Status::Idle;
        let standing =
            Standing { open, failed: work.failed && !open, wrote: work.wrote && work.segment_open };
        let wreck = work.ledger.wreck(standing);
        self.names.portals.clear();
        for promise in &wreck.broken {
            self.names.break_promise(promise.client_name.as_ref());
        }
        self.tell_loss(&work, &wreck, why.as_deref());
        if !matches!(self.place, Place::Lost(Lost { open: true, .. })) {
            self.tracked.roll_back();
        }
        self.settle_path();
        Ok(())
    }

    /// Ends every round that the client waits for, and takes the place that is left.
    fn tell_loss(&mut self, work: &Work, wreck: &Wreck, why: Option<&str>) {
        let shard = &work.shard.name;
        let mut open = work.status != Status::Idle;
        for round in &wreck.rounds {
            open = round.open;
            if let Some(risk) = round.failed {
                let report = loss(shard, risk, why);
                report.write(&mut self.client.outbox);
            }
            if round.ends {
                let status = if open { Status::Failed } else { Status::Idle };
                self.client.outbox.unsplit(self.unreported.split());
                answer::ready(status, &mut self.client.outbox);
            } else {
                self.pipeline = Pipeline::SkippingToSync;
            }
        }
        let in_pipeline = work.segment_open && self.pipeline == Pipeline::Open;
        let risk = if work.wrote && !open { Risk::Unknown } else { Risk::Undone };
        let is_told = !wreck.rounds.is_empty();
        let unsaid = (!is_told).then(|| loss(shard, risk, why));
        if open || in_pipeline && !is_told {
            self.place = Place::Lost(Lost { unsaid, open });
        }
    }

    /// Ends a lost transaction without a shard; gives the tag of the answer.
    pub(super) fn answer_lost(&mut self, statement: &Statement) -> Option<&'static str> {
        if !ends_lost(statement) || !matches!(self.place, Place::Lost(Lost { open: true, .. })) {
            return None;
        }
        self.tracked.roll_back();
        self.place = Place::Idle;
        self.settle_path();
        Some("ROLLBACK")
    }
}

/// COMMIT or ROLLBACK: either way the transaction is rolled back.
pub(super) fn ends_lost(statement: &Statement) -> bool {
    matches!(statement.act, Act::Commit { chain: false } | Act::Rollback { chain: false })
}

fn loss(shard: &ShardName, risk: Risk, why: Option<&str>) -> Report {
    let message = format!("the connection to shard \"{shard}\" was lost");
    let report = match risk {
        Risk::Undone => Report::error(code::CONNECTION_FAILURE, message)
            .hint("Nothing of it was committed. Try again."),
        Risk::Unknown => Report::error(code::OUTCOME_UNKNOWN, message)
            .hint("It may have been committed or not; look before you try again."),
    };
    match why {
        Some(why) => report.detail(why),
        None => report,
    }
}
