//! Saying no: the client's transaction fails as it would on PostgreSQL, and nothing else does.

use crate::protocol::answer::{self, Report, Status};
use crate::session::engage::Engaged;
use crate::session::ledger::To;
use crate::session::{End, Flow, Pipeline, Place, Session, Statements, bytes, loggable};

/// In which protocol the refused request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Simple,
    Extended,
}

impl Session {
    /// A Query in a pipeline that may yet fail, and then passes over it: a Sync of ours would end
    /// the passing over too soon.
    pub(super) fn is_amid_segment(&self) -> bool {
        matches!(&self.place, Place::Working(work) if work.segment_open)
    }

    /// Answers a request with an error, before anything of it is sent to a shard.
    pub(super) async fn refuse(
        &mut self,
        report: Report,
        way: Way,
        sql: &[u8],
    ) -> Result<Flow, End> {
        if way == Way::Simple && self.is_amid_segment() && self.must_wait() {
            return Ok(Flow::Wait);
        }
        if self.parts.log != Statements::None {
            tracing::info!(
                target: "veneer::statement",
                user = %self.user.name,
                code = %report.code,
                message = ?report.message,
                sql = ?loggable(sql),
                "refused"
            );
        }
        if let Place::Held(_) = self.place {
            // The transaction must fail, and only a shard can say how a failed one behaves.
            match self.engage_base().await? {
                Engaged::Ready => {}
                Engaged::Wait => return Ok(Flow::Wait),
                Engaged::Refused(_) => {
                    return Err(End::told(Report { severity: answer::Severity::Fatal, ..report }));
                }
            }
        }
        match &mut self.place {
            Place::Idle | Place::Held(_) | Place::Piped(_) | Place::Lost(_) => {
                if let Place::Piped(_) = self.place {
                    self.tracked.roll_back();
                    self.settle_path();
                    self.place = Place::Idle;
                }
                report.write(&mut self.client.outbox);
                if matches!(self.status(), Status::Idle) {
                    self.place = Place::Idle;
                }
                if way == Way::Simple {
                    self.write_ready();
                }
            }
            Place::Working(work) => {
                work.poison(bytes(&report));
                if way == Way::Simple {
                    work.sync(To::Client);
                }
            }
        }
        if way == Way::Extended {
            self.pipeline = Pipeline::SkippingToSync;
        }
        Ok(Flow::Next)
    }
}
