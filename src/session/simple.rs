//! The simple protocol: one Query, any number of statements, one `ReadyForQuery`.

use std::sync::Arc;

use crate::protocol::answer::{self, Report};
use crate::protocol::ask;
use crate::protocol::frame::Header;
use crate::protocol::request;
use crate::session::engage::Engaged;
use crate::session::ledger::{Owed, Promise, To};
use crate::session::refuse::Way;
use crate::session::requests::malformed;
use crate::session::{End, Flow, Place, Session, bytes, report};
use crate::sql::{Act, Change, ReadError, Statement, Text, Value};

impl Session {
    pub(super) async fn query(&mut self, body: &[u8]) -> Result<Flow, End> {
        let sql = match request::query(body) {
            Ok(sql) => sql,
            Err(error) => return self.refuse(malformed(error), Way::Simple, b"").await,
        };
        let text = match self.read(sql).await {
            Ok(text) => text,
            Err(error) => return self.unreadable(&error, Way::Simple, sql).await,
        };
        if let Some(tag) = self.answer(&text, sql, Way::Simple) {
            self.names.statements.remove(&b""[..]);
            answer::command_complete(tag, &mut self.client.outbox);
            self.write_ready();
            return Ok(Flow::Next);
        }
        let planned = self.check_order(&text).and_then(|()| self.plan_for(&text));
        let plan = match planned {
            Ok(plan) => plan,
            Err(report) if self.must_wait() => {
                drop(report);
                return Ok(Flow::Wait);
            }
            Err(report) => return self.refuse(report, Way::Simple, sql).await,
        };
        match self.engage(&plan, &text, sql).await? {
            Engaged::Ready => {}
            Engaged::Wait => return Ok(Flow::Wait),
            Engaged::Refused(report) => return self.refuse(report, Way::Simple, sql).await,
        }
        // PostgreSQL forgets the unnamed statement at every Query.
        self.names.statements.remove(&b""[..]);
        let renamed = self.renamed_deallocate(&text);
        let in_motion = self.tracked.is_in_motion();
        if let Place::Working(work) = &mut self.place {
            work.foresee(&text, in_motion);
            work.bond.remember(&text, || String::from_utf8_lossy(sql).into_owned());
            let out = &mut work.wire().outbox;
            match renamed {
                Some(sql) => {
                    ask::front(b'Q', sql.len() + 1, &[sql.as_bytes(), b"\0"].concat(), out)
                }
                None => ask::front(b'Q', body.len(), body, out),
            }
            work.backend().prepared.forget_unnamed();
            work.ledger.push(Owed::Query { to: To::Client, text: Some(text), done: 0 });
            // It ends what a pipeline has begun, as a Sync would.
            work.segment_open = false;
        }
        Ok(Flow::Next)
    }

    /// What a text says, from memory if it was read before.
    pub(super) async fn read(&mut self, sql: &[u8]) -> Result<Arc<Text>, ReadError> {
        if let Some(text) = &self.awaited {
            return Ok(text.clone());
        }
        match self.parts.reader.cached(sql) {
            Some(read) => read,
            None => match self.parts.reader.read(sql).await {
                Ok(text) => {
                    self.awaited = Some(text.clone());
                    Ok(text)
                }
                // A bulk INSERT of a scoped session can only be its tenant's.
                Err(ReadError::Long { .. } | ReadError::Complex(_)) if self.is_scoped() => {
                    Ok(Arc::new(Text::unread()))
                }
                read => read,
            },
        }
    }

    /// A refusal may rest on settings, or on a transaction, that are still on their way.
    pub(super) fn must_wait(&mut self) -> bool {
        let Place::Working(work) = &mut self.place else { return false };
        if work.ledger.is_empty() {
            return false;
        }
        if work.segment_open {
            ask::flush(&mut work.wire().outbox);
        }
        true
    }

    /// RESET gives a backend its own start value, and the client's only afterwards: nothing in the
    /// same text may rely on it.
    fn check_order(&self, text: &Text) -> Result<(), Report> {
        if self.tracked.start().get("search_path").is_none() {
            return Ok(());
        }
        let is_reset =
            |change: &Change| change.setting == "search_path" && change.value == Value::Default;
        let resets = |statement: &Statement| match &statement.act {
            Act::ResetAll | Act::DiscardAll => true,
            Act::Set(change) => is_reset(change),
            _ => statement.set_configs.iter().any(is_reset),
        };
        let reset = text.statements.iter().position(resets);
        let relies = |index: usize| text.statements[index + 1..].iter().any(|s| s.unqualified);
        match reset {
            Some(index) if relies(index) => Err(Report::error(
                report::code::FEATURE_NOT_SUPPORTED,
                "RESET of search_path cannot be followed by its use in the same message",
            )
            .hint("Send the statements one by one.")),
            _ => Ok(()),
        }
    }

    /// A text that we cannot read. If it is only its grammar, PostgreSQL shall word the error: the
    /// text is prepared there and never executed.
    pub(super) async fn unreadable(
        &mut self,
        error: &ReadError,
        way: Way,
        sql: &[u8],
    ) -> Result<Flow, End> {
        let report = report::unreadable(error);
        if !matches!(error, ReadError::Syntax(_)) {
            return self.refuse(report, way, sql).await;
        }
        self.prepare_only(report, way, sql).await
    }

    /// Has the shard word the error of a text, without ever executing it.
    async fn prepare_only(&mut self, report: Report, way: Way, sql: &[u8]) -> Result<Flow, End> {
        if way == Way::Simple && self.is_amid_segment() && self.must_wait() {
            return Ok(Flow::Wait);
        }
        match self.engage_base().await? {
            Engaged::Ready => {}
            Engaged::Wait => return Ok(Flow::Wait),
            Engaged::Refused(_) => return self.refuse(report, way, sql).await,
        }
        if let Place::Working(work) = &mut self.place {
            ask::parse(b"", sql, &[0, 0], &mut work.wire().outbox);
            work.backend().prepared.forget_unnamed();
            let promise = Promise { promised: None, client_name: None };
            work.ledger.push(Owed::Parse { to: To::Nobody, promise });
            // Should the shard know more grammar than we do, it fails here.
            work.poison(bytes(&report));
            if way == Way::Simple {
                work.sync(To::Client);
            }
        }
        if way == Way::Extended {
            self.pipeline = super::Pipeline::SkippingToSync;
        }
        Ok(Flow::Next)
    }

    /// FunctionCall names a function by its number: it runs where the session is.
    pub(super) async fn function_call(&mut self, header: Header, body: &[u8]) -> Result<Flow, End> {
        match self.engage_base().await? {
            Engaged::Ready => {}
            Engaged::Wait => return Ok(Flow::Wait),
            Engaged::Refused(report) => return self.refuse(report, Way::Simple, b"").await,
        }
        if let Place::Working(work) = &mut self.place {
            (work.suspect, work.doubtful, work.wrote) = (true, true, true);
            work.bond = super::work::Bond::Firm;
            ask::front(b'F', header.body_bytes, body, &mut work.wire().outbox);
            work.ledger.push(Owed::FunctionCall);
        }
        Ok(Flow::Passed)
    }
}
