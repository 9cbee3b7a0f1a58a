//! Making sure that a backend has the statement that a client is about to use.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::prepared::{self, Key, Promised};
use crate::protocol::answer::{Report, Status};
use crate::protocol::ask;
use crate::protocol::frame::Header;
use crate::protocol::request::{BindNames, Parse};
use crate::session::ledger::{Owed, Promise, To};
use crate::session::refuse::Way;
use crate::session::report::code;
use crate::session::requests::malformed;
use crate::session::statements::Statement;
use crate::session::work::Work;
use crate::session::{End, Flow, Place, Session};
use crate::sql::{Act, Text, Value};

/// PostgreSQL has no such limit, and no driver comes near it.
const STATEMENT_NAME_BYTES_MAX: usize = 10_000;

impl Session {
    /// A name that is taken, or one too many.
    pub(super) fn refuse_name(&self, parse: &Parse<'_>) -> Option<Report> {
        let name = parse.name;
        let statements = &self.names.statements;
        if name.is_empty() {
            return None;
        }
        if STATEMENT_NAME_BYTES_MAX < name.len() {
            let message = format!(
                "a statement's name of {} bytes is longer than {STATEMENT_NAME_BYTES_MAX} bytes",
                name.len()
            );
            return Some(Report::error(code::LIMIT_EXCEEDED, message));
        }
        if statements.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            let message = format!("prepared statement \"{name}\" already exists");
            return Some(Report::error(code::DUPLICATE_STATEMENT, message));
        }
        let kept: usize = statements.iter().map(|(name, kept)| name.len() + kept.sql.len()).sum();
        let bytes_max = self.parts.settings.statement_bytes_max.as_u64();
        if bytes_max < (kept + name.len() + parse.sql.len()) as u64 && !statements.is_empty() {
            let message = format!("prepared statements of more than {bytes_max} bytes");
            return Some(Report::error(code::LIMIT_EXCEEDED, message).hint("Close some."));
        }
        let statements_max = self.parts.settings.statements_max.get();
        (statements_max <= statements.len()).then(|| {
            let message = format!("more than {statements_max} prepared statements");
            Report::error(code::LIMIT_EXCEEDED, message)
                .hint("Close some, or raise limits.statements_max.")
        })
    }

    /// Waits for the whole of a Bind, whose values choose the shard, and which is held for that.
    pub(super) async fn await_values(&mut self, header: Header) -> Result<Flow, End> {
        let bytes_max = self.parts.settings.statement_bytes_max.as_u64();
        if bytes_max < header.body_bytes as u64 {
            let message =
                format!("a Bind whose values choose the shard is longer than {bytes_max} bytes");
            let report = Report::error(code::LIMIT_EXCEEDED, message);
            return self.refuse(report, Way::Extended, b"").await;
        }
        self.wanted_bytes = header.frame_bytes();
        Ok(Flow::Wait)
    }

    /// DEALLOCATE of a statement that was prepared over the protocol: on the backend at work it
    /// has a name of ours.
    pub(super) fn renamed_deallocate(&mut self, text: &Text) -> Option<String> {
        let [statement] = text.statements.as_slice() else { return None };
        let Act::Deallocate(Some(name)) = &statement.act else { return None };
        let prepared = self.names.statements.get(name.as_bytes())?.clone();
        let key = self.key(&prepared);
        let Place::Working(work) = &mut self.place else { return None };
        if work.status == Status::Failed {
            return None;
        }
        let rounds = work.ledger.rounds();
        let is_new = work.backend().prepared.find(&key, rounds).is_none() && !work.segment_open;
        // What it lacks need not be prepared to be forgotten; the text might fail.
        let ours = ensure_prepared(work, &Statement::empty(), key.clone(), false);
        if is_new {
            // Should the Parse fail, the Query would be passed over, and no Sync come.
            work.sync(To::Nobody);
        }
        work.backend().prepared.remove(&key);
        Some(format!("DEALLOCATE \"{ours}\""))
    }

    /// Whether the statement was parsed in an earlier round of the pipeline, which may yet fail.
    pub(super) fn is_doubtful(&self, name: &[u8]) -> bool {
        let Place::Working(work) = &self.place else { return false };
        let rounds = work.ledger.rounds();
        let since = self.names.fresh.get(name);
        since.is_some_and(|round| *round != rounds.begun && rounds.finished <= *round)
    }

    pub(super) fn key(&self, statement: &Statement) -> Key {
        Key { text: statement.number, path: self.path_text.clone() }
    }
}

/// Reads a Bind as far as it has come.
pub(super) fn read_bind(body: &[u8], is_whole: bool) -> Result<BindNames<'_>, Report> {
    match BindNames::read(body) {
        Ok(bind) if is_whole => bind.check_rest().map(|()| bind).map_err(malformed),
        Ok(bind) => Ok(bind),
        Err(error) if is_whole => Err(malformed(error)),
        Err(_) => Err(Report::error(code::LIMIT_EXCEEDED, "the names in a Bind are too long")),
    }
}

/// Sends a client's Parse under our name. It is analysed anew, as on PostgreSQL, even if the backend
/// has the statement: its tables may have changed since.
pub(super) fn send_parse(work: &mut Work, parse: &Parse<'_>, key: Key) {
    let client_name = Some((Bytes::copy_from_slice(parse.name), key.text));
    work.segment_open = true;
    let (name, promised) = enter(work, key, parse.name.is_empty());
    ask::parse(name.as_bytes(), parse.sql, parse.types, &mut work.wire().outbox);
    let promise = Promise { promised: Some(promised), client_name };
    work.ledger.push(Owed::Parse { to: To::Client, promise });
}

/// Makes sure that the backend has a statement; gives its name there.
pub(super) fn ensure_prepared(
    work: &mut Work,
    statement: &Statement,
    key: Key,
    is_unnamed: bool,
) -> String {
    let rounds = work.ledger.rounds();
    let backend = work.backend();
    if is_unnamed && backend.prepared.is_unnamed(&key, rounds) {
        return String::new();
    }
    if !is_unnamed && let Some(number) = backend.prepared.find(&key, rounds) {
        return prepared::name(number);
    }
    let (name, promised) = enter(work, key, is_unnamed);
    ask::parse(name.as_bytes(), &statement.sql, &statement.types, &mut work.wire().outbox);
    let promise = Promise { promised: Some(promised), client_name: None };
    work.ledger.push(Owed::Parse { to: To::Nobody, promise });
    name
}

/// Takes a statement in that is about to be prepared, and makes room for it.
fn enter(work: &mut Work, key: Key, is_unnamed: bool) -> (String, Promised) {
    let rounds = work.ledger.rounds();
    let prepared = &mut work.backend().prepared;
    if is_unnamed {
        prepared.set_unnamed(key.clone(), rounds);
        return (String::new(), Promised::Unnamed(key));
    }
    let number = prepared.add(key.clone(), rounds);
    for unwanted in prepared.take_unwanted() {
        ask::close_statement(&prepared::name(unwanted), &mut work.wire().outbox);
        work.ledger.push(Owed::Close { to: To::Nobody, ours: Some(unwanted) });
    }
    (prepared::name(number), Promised::Named(key, number))
}

/// What a soft transaction would say again on another shard.
pub(super) fn replay_text(text: &Text, statement: &Arc<Statement>) -> Bytes {
    let is_as_it_came = std::ptr::eq(text, &*statement.text) || *text == *statement.text;
    if is_as_it_came {
        return statement.sql.clone();
    }
    let quote = postgres_protocol::escape::escape_literal;
    let calls = text.statements.iter().flat_map(|statement| &statement.set_configs);
    let calls = calls.filter_map(|change| match &change.value {
        Value::Text(value) => {
            let (setting, value) = (quote(&change.setting), quote(value));
            Some(format!("pg_catalog.set_config({setting},{value},{})", change.local))
        }
        _ => None,
    });
    format!("SELECT {}", calls.collect::<Vec<_>>().join(",")).into()
}
