//! The extended protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync.
//!
//! A client's statement names are its own. A backend prepares what it lacks just before use, in
//! the same write, and that answer is nobody's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::answer::{self, Report, Status};
use crate::protocol::ask;
use crate::protocol::frame::{Header, reply};
use crate::protocol::request::{self, Parse, Subject};
use crate::session::engage::Engaged;
use crate::session::ledger::{Owed, To};
use crate::session::prepare::{ensure_prepared, read_bind, replay_text, send_parse};
use crate::session::refuse::Way;
use crate::session::report::{aborted, code, no_portal, no_statement};
use crate::session::requests::malformed;
use crate::session::statements::{Portal, Statement};
use crate::session::{End, Flow, Pipeline, Place, Session};
use crate::sql::{Bound, Text};

/// Portals of one client that are open at once.
const PORTALS_MAX: usize = 10_000;

impl Session {
    pub(super) async fn parse(&mut self, body: &[u8]) -> Result<Flow, End> {
        let parse = match Parse::read(body) {
            Ok(parse) => parse,
            Err(error) => return self.refuse(malformed(error), Way::Extended, b"").await,
        };
        let text = match self.read(parse.sql).await {
            Ok(text) => text,
            Err(error) => return self.unreadable(&error, Way::Extended, parse.sql).await,
        };
        if let Some(report) = self.refuse_name(&parse) {
            // What gave the name away may still fail.
            if self.must_wait() {
                return Ok(Flow::Wait);
            }
            let is_aborted = self.status() == Status::Failed && !text.ends_transaction();
            let report = if is_aborted { aborted() } else { report };
            return self.refuse(report, Way::Extended, parse.sql).await;
        }
        if self.may_become_ours(&text) {
            return Ok(Flow::Wait);
        }
        // What hangs on values is prepared when they come.
        let ours = self.is_ours(&text)
            || (text.awaits_values() && !matches!(self.place, Place::Working(_)));
        if !ours {
            match self.prepare_for(&text, parse.sql).await? {
                Flow::Next => {}
                other => return Ok(if other == Flow::Wait { other } else { Flow::Next }),
            }
        }
        let statement = self.intern(&parse, text);
        let name = Bytes::copy_from_slice(parse.name);
        self.names.statements.insert(name.clone(), statement.clone());
        if ours {
            self.answer_in_turn(|out| answer::bare(reply::PARSE_COMPLETE, out));
            return Ok(Flow::Next);
        }
        let key = self.key(&statement);
        if let Place::Working(work) = &mut self.place {
            self.names.fresh.insert(name, work.ledger.rounds().begun);
            send_parse(work, &parse, key);
        }
        Ok(Flow::Next)
    }

    fn intern(&self, parse: &Parse<'_>, text: Arc<Text>) -> Arc<Statement> {
        let texts = &self.parts.texts;
        if parse.name.is_empty() {
            let (sql, types) = (parse.sql, parse.types);
            texts.unnamed(Bytes::copy_from_slice(sql), Bytes::copy_from_slice(types), text)
        } else {
            texts.named(parse.sql, parse.types, &text)
        }
    }

    /// Gets the right shard to work; `Next` when it does, `Passed` when the request was refused.
    async fn prepare_for(&mut self, text: &Arc<Text>, sql: &[u8]) -> Result<Flow, End> {
        let plan = match self.plan_for(text) {
            Ok(plan) => plan,
            Err(_) if self.must_wait() => return Ok(Flow::Wait),
            Err(report) => {
                let flow = self.refuse(report, Way::Extended, sql).await?;
                return Ok(if flow == Flow::Wait { flow } else { Flow::Passed });
            }
        };
        match self.engage(&plan, text, sql).await? {
            Engaged::Ready => Ok(Flow::Next),
            Engaged::Wait => Ok(Flow::Wait),
            Engaged::Refused(report) => {
                let flow = self.refuse(report, Way::Extended, sql).await?;
                Ok(if flow == Flow::Wait { flow } else { Flow::Passed })
            }
        }
    }

    pub(super) async fn bind(&mut self, header: Header, body: &[u8]) -> Result<Flow, End> {
        let is_whole = body.len() == header.body_bytes;
        let bind = match read_bind(body, is_whole) {
            Ok(bind) => bind,
            Err(report) => return self.refuse(report, Way::Extended, b"").await,
        };
        if self.is_doubtful(bind.statement) && self.must_wait() {
            return Ok(Flow::Wait);
        }
        let Some(statement) = self.names.statements.get(bind.statement).cloned() else {
            let report = no_statement(bind.statement);
            return self.refuse(report, Way::Extended, b"").await;
        };
        if !is_whole && statement.text.awaits_values() {
            // A value that names a schema may stand at its end.
            return self.await_values(header).await;
        }
        let portal = Bytes::copy_from_slice(bind.portal);
        let portals = &self.names.portals;
        if PORTALS_MAX <= portals.len() && !portals.contains_key(&portal) {
            let message = format!("more than {PORTALS_MAX} portals");
            let report = Report::error(code::LIMIT_EXCEEDED, message);
            return self.refuse(report, Way::Extended, b"").await;
        }
        if self.may_become_ours(&statement.text) {
            return Ok(Flow::Wait);
        }
        if self.is_ours(&statement.text) {
            if bind.parameter_count() != Some(0) {
                let report = Report::error(
                    code::PROTOCOL_VIOLATION,
                    "bind message supplies parameters, but the statement requires 0",
                );
                return self.refuse(report, Way::Extended, &statement.sql).await;
            }
            self.names.portals.insert(portal, Portal::Ours(statement));
            self.answer_in_turn(|out| answer::bare(reply::BIND_COMPLETE, out));
            return Ok(Flow::Next);
        }
        let value = |number| {
            let (bytes, is_binary) = bind.parameter(number)?;
            Some(Bound { bytes, is_binary })
        };
        let text = statement.text.with_values(value);
        match self.prepare_for(&text, &statement.sql).await? {
            Flow::Next => {}
            other => return Ok(if other == Flow::Wait { other } else { Flow::Next }),
        }
        let is_unnamed = bind.statement.is_empty();
        let key = self.key(&statement);
        if let Place::Working(work) = &mut self.place {
            let name = ensure_prepared(work, &statement, key, is_unnamed);
            let rest_bytes = header.body_bytes - bind.portal.len() - bind.statement.len() - 2;
            let out = &mut work.wire().outbox;
            ask::bind_front(bind.portal, name.as_bytes(), rest_bytes, out);
            out.extend_from_slice(bind.rest);
            work.ledger.push(Owed::Bind { to: To::Client });
            work.segment_open = true;
        }
        let sql = replay_text(&text, &statement);
        self.names.portals.insert(portal, Portal::Bound(text, sql));
        Ok(Flow::Passed)
    }

    pub(super) async fn describe(&mut self, body: &[u8]) -> Result<Flow, End> {
        let (subject, name) = match Subject::read(body) {
            Ok(read) => read,
            Err(error) => return self.refuse(malformed(error), Way::Extended, b"").await,
        };
        match subject {
            Subject::Statement => self.describe_statement(name).await,
            Subject::Portal => self.describe_portal(name, body).await,
        }
    }

    async fn describe_statement(&mut self, name: &[u8]) -> Result<Flow, End> {
        if self.is_doubtful(name) && self.must_wait() {
            return Ok(Flow::Wait);
        }
        let Some(statement) = self.names.statements.get(name).cloned() else {
            return self.refuse(no_statement(name), Way::Extended, b"").await;
        };
        if self.is_ours(&statement.text) {
            self.answer_in_turn(|out| {
                answer::no_parameters(out);
                answer::bare(reply::NO_DATA, out);
            });
            return Ok(Flow::Next);
        }
        if let Place::Working(work) = &mut self.place
            && work.status == Status::Failed
            && statement.text.is_rowless()
        {
            // The shard would not prepare it now, but neither does it have anything to tell.
            let mut told = BytesMut::new();
            answer::no_parameters(&mut told);
            answer::bare(reply::NO_DATA, &mut told);
            work.ledger.push(Owed::Ours(told.freeze()));
            return Ok(Flow::Next);
        }
        match self.prepare_for(&statement.text, &statement.sql).await? {
            Flow::Next => {}
            other => return Ok(if other == Flow::Wait { other } else { Flow::Next }),
        }
        let key = self.key(&statement);
        if let Place::Working(work) = &mut self.place {
            let name = ensure_prepared(work, &statement, key, name.is_empty());
            ask::describe_statement(name.as_bytes(), &mut work.wire().outbox);
            work.ledger.push(Owed::DescribeStatement);
            work.segment_open = true;
        }
        Ok(Flow::Next)
    }

    async fn describe_portal(&mut self, name: &[u8], body: &[u8]) -> Result<Flow, End> {
        if !self.names.portals.contains_key(name)
            && let Some(flow) = self.fetch_holder().await?
        {
            return Ok(flow);
        }
        let is_ours = matches!(self.names.portals.get(name), Some(Portal::Ours(_)));
        match &mut self.place {
            // What we answer here returns no rows, wherever it will run.
            Place::Working(work) if is_ours => {
                let mut no_data = BytesMut::new();
                answer::bare(reply::NO_DATA, &mut no_data);
                work.ledger.push(Owed::Ours(no_data.freeze()));
            }
            Place::Working(work) => {
                ask::front(b'D', body.len(), body, &mut work.wire().outbox);
                work.ledger.push(Owed::DescribePortal);
                work.segment_open = true;
            }
            _ if is_ours => answer::bare(reply::NO_DATA, &mut self.client.outbox),
            _ => return self.refuse(no_portal(name), Way::Extended, b"").await,
        }
        Ok(Flow::Next)
    }

    pub(super) async fn execute(&mut self, body: &[u8]) -> Result<Flow, End> {
        let name = match request::execute(body) {
            Ok(name) => name,
            Err(error) => return self.refuse(malformed(error), Way::Extended, b"").await,
        };
        let portal = self.names.portals.get(name).cloned();
        let (text, sql) = match portal {
            Some(Portal::Ours(statement)) => {
                return self.execute_ours(&statement, name, body).await;
            }
            Some(Portal::Bound(text, sql)) => (Some(text), sql),
            // A cursor that SQL declared is a portal, too.
            None => {
                if let Some(flow) = self.fetch_holder().await? {
                    return Ok(flow);
                }
                (None, Bytes::new())
            }
        };
        let Place::Working(work) = &mut self.place else {
            return self.refuse(no_portal(name), Way::Extended, b"").await;
        };
        if let Some(text) = &text {
            work.foresee(text, self.tracked.is_in_motion());
            work.bond.remember(text, || String::from_utf8_lossy(&sql).into_owned());
            if text.statements.iter().any(|statement| !statement.set_configs.is_empty()) {
                // Fetching the rest of its rows sets nothing again.
                let rest = Portal::Bound(Arc::default(), Bytes::new());
                self.names.portals.insert(Bytes::copy_from_slice(name), rest);
            }
        }
        ask::front(b'E', body.len(), body, &mut work.wire().outbox);
        work.ledger.push(Owed::Execute { to: To::Client, text });
        work.segment_open = true;
        Ok(Flow::Next)
    }

    /// A portal that no shard has seen.
    async fn execute_ours(
        &mut self,
        statement: &Arc<Statement>,
        portal: &[u8],
        body: &[u8],
    ) -> Result<Flow, End> {
        if let Some(tag) = self.answer(&statement.text, &statement.sql, Way::Extended) {
            answer::command_complete(tag, &mut self.client.outbox);
            return Ok(Flow::Next);
        }
        if self.is_ours(&statement.text)
            && let Place::Working(work) = &mut self.place
        {
            let mut done = BytesMut::new();
            answer::command_complete("DEALLOCATE", &mut done);
            work.ledger.push(Owed::Done(done.freeze(), statement.text.clone()));
            return Ok(Flow::Next);
        }
        match self.prepare_for(&statement.text, &statement.sql).await? {
            Flow::Next => {}
            other => return Ok(if other == Flow::Wait { other } else { Flow::Next }),
        }
        let key = self.key(statement);
        let in_motion = self.tracked.is_in_motion();
        if let Place::Working(work) = &mut self.place {
            work.foresee(&statement.text, in_motion);
            let name = ensure_prepared(work, statement, key, false);
            // No parameters, no formats.
            let nothing = [0; 6];
            let out = &mut work.wire().outbox;
            ask::bind_front(portal, name.as_bytes(), nothing.len(), out);
            out.extend_from_slice(&nothing);
            ask::front(b'E', body.len(), body, out);
            work.ledger.push(Owed::Bind { to: To::Nobody });
            let text = Some(statement.text.clone());
            work.ledger.push(Owed::Execute { to: To::Client, text });
            work.segment_open = true;
            work.bond
                .remember(&statement.text, || String::from_utf8_lossy(&statement.sql).into_owned());
        }
        Ok(Flow::Next)
    }

    pub(super) fn close(&mut self, body: &[u8]) -> Result<Flow, End> {
        let Ok((subject, name)) = Subject::read(body) else {
            return Err(End::told(Report::fatal(
                code::PROTOCOL_VIOLATION,
                "invalid CLOSE message subtype or name",
            )));
        };
        let forwarded = match subject {
            Subject::Statement => {
                self.names.statements.remove(name);
                self.names.fresh.remove(name);
                false
            }
            Subject::Portal => !matches!(self.names.portals.remove(name), Some(Portal::Ours(_))),
        };
        match &mut self.place {
            Place::Working(work) if forwarded => {
                ask::front(b'C', body.len(), body, &mut work.wire().outbox);
                work.ledger.push(Owed::Close { to: To::Client, ours: None });
                work.segment_open = true;
            }
            Place::Working(work) if !work.ledger.is_empty() => {
                let mut closed = BytesMut::new();
                answer::bare(reply::CLOSE_COMPLETE, &mut closed);
                work.ledger.push(Owed::Ours(closed.freeze()));
            }
            _ => answer::bare(reply::CLOSE_COMPLETE, &mut self.client.outbox),
        }
        Ok(Flow::Next)
    }

    pub(super) fn flush(&mut self) -> Result<Flow, End> {
        if let Place::Working(work) = &mut self.place {
            ask::flush(&mut work.wire().outbox);
        }
        Ok(Flow::Next)
    }

    pub(super) fn sync(&mut self) -> Result<Flow, End> {
        self.pipeline = Pipeline::Open;
        match &mut self.place {
            Place::Working(work) => {
                if !self.unreported.is_empty() {
                    work.ledger.push(Owed::Ours(self.unreported.split().freeze()));
                }
                work.sync(To::Client);
            }
            Place::Idle | Place::Held(_) | Place::Piped(_) | Place::Lost(_) => {
                if let Place::Lost(lost) = &mut self.place
                    && lost.status() == Status::Idle
                {
                    // Its commit is what is lost.
                    lost.refusal().write(&mut self.client.outbox);
                    self.place = Place::Idle;
                }
                if let Place::Piped(_) = self.place {
                    self.tracked.commit();
                    self.place = Place::Idle;
                }
                self.names.portals.clear();
                self.write_ready();
            }
        }
        Ok(Flow::Next)
    }
}
