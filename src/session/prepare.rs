//! Making sure that a backend has the statement that a client is about to use.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::backend::prepared::{self, Key, Promised};
use crate::protocol::answer::{self, Status};
use crate::protocol::ask;
use crate::protocol::frame::reply;
use crate::protocol::request::Parse;
use crate::session::ledger::{Owed, Promise, To};
use crate::session::refuse::Way;
use crate::session::statements::Statement;
use crate::session::work::Work;
use crate::session::{Place, Session};
use crate::sql::{Act, Text, Value};

impl Session {
    /// DEALLOCATE of a statement that was prepared over the protocol: on the backend at work it
    /// has a name of ours.
    pub(super) fn renamed_deallocate(&mut self, text: &Text, way: Way) -> Option<String> {
        let [statement] = text.statements.as_slice() else { return None };
        let Act::Deallocate(Some(name)) = &statement.act else { return None };
        let prepared = self.names.statements.get(name.as_bytes())?.clone();
        let key = self.key(&prepared);
        let Place::Working(work) = &mut self.place else { return None };
        if work.status == Status::Failed {
            return None;
        }
        let rounds = work.ledger.rounds();
        let is_new = work.backend().prepared.find(&key, rounds).is_none();
        let ours = ensure_prepared(work, &prepared, key.clone(), false);
        if is_new && way == Way::Simple {
            // A Query must not stand behind a Parse without its Sync.
            work.sync(To::Nobody);
        }
        work.backend().prepared.remove(&key);
        Some(format!("DEALLOCATE \"{ours}\""))
    }

    pub(super) fn key(&self, statement: &Statement) -> Key {
        Key { text: statement.number, path: self.path_text.clone() }
    }
}

/// Sends a client's Parse under our name, unless the backend has the statement.
pub(super) fn send_parse(work: &mut Work, parse: &Parse<'_>, key: Key) {
    let client_name = Some((Bytes::copy_from_slice(parse.name), key.text));
    let rounds = work.ledger.rounds();
    work.segment_open = true;
    if !parse.name.is_empty() && work.backend().prepared.find(&key, rounds).is_some() {
        let mut complete = BytesMut::new();
        answer::bare(reply::PARSE_COMPLETE, &mut complete);
        work.ledger.push(Owed::Ours(complete.freeze()));
        return;
    }
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
    let (number, evicted) = prepared.add(key.clone(), rounds);
    if let Some(evicted) = evicted {
        ask::close_statement(&prepared::name(evicted), &mut work.wire().outbox);
        work.ledger.push(Owed::Close { to: To::Nobody });
    }
    (prepared::name(number), Promised::Named(key, number))
}

/// What a soft transaction would say again on another shard.
pub(super) fn replay_text(text: &Text, statement: &Arc<Statement>) -> Bytes {
    let is_as_it_came = *text == *statement.text;
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
