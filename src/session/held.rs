//! A transaction that no shard knows of yet, and other requests that need no shard.

use crate::protocol::answer::Status;
use crate::session::work::Prefix;
use crate::session::{Place, Session, replies};
use crate::sql::{Act, Statement, Text, Value};

impl Session {
    /// Does what a text asks without a shard, if that can be done here and now; gives the tag of
    /// its `CommandComplete`.
    pub(super) fn answer(&mut self, text: &Text, sql: &[u8]) -> Option<&'static str> {
        let [statement] = text.statements.as_slice() else { return None };
        if !statement.set_configs.is_empty() {
            return None;
        }
        if let Act::Deallocate(name) = &statement.act {
            return self.deallocate(name.as_deref());
        }
        match &self.place {
            Place::Idle => self.answer_idle(statement, sql),
            Place::Held(_) => self.answer_held(statement, sql),
            Place::Working(_) => None,
        }
    }

    fn answer_idle(&mut self, statement: &Statement, sql: &[u8]) -> Option<&'static str> {
        match &statement.act {
            Act::Begin { strict } => {
                let strict = *strict || self.is_strict_by_default();
                let texts = vec![text_of(sql)?];
                self.tracked.begin();
                self.place = Place::Held(Prefix { texts, strict });
                Some(begin_tag(sql))
            }
            Act::Set(change) if change.setting == "search_path" && !change.local => {
                self.answer_set(statement)
            }
            Act::ResetAll if self.kept.is_empty() => {
                self.tracked.reset_all();
                self.settle_path();
                Some("RESET")
            }
            Act::DiscardAll => {
                // What was kept is this session's own state: it goes.
                self.kept.clear();
                self.tracked.reset_all();
                self.names.statements.clear();
                self.settle_path();
                Some("DISCARD ALL")
            }
            _ => None,
        }
    }

    fn answer_held(&mut self, statement: &Statement, sql: &[u8]) -> Option<&'static str> {
        let tag = match &statement.act {
            Act::Commit { chain: false } => {
                self.tracked.commit();
                self.place = Place::Idle;
                self.settle_path();
                return Some("COMMIT");
            }
            Act::Rollback { chain: false } => {
                self.tracked.roll_back();
                self.place = Place::Idle;
                self.settle_path();
                return Some("ROLLBACK");
            }
            Act::Savepoint(name) => {
                self.tracked.savepoint(name);
                "SAVEPOINT"
            }
            // A snapshot may be refused, and only its shard knows.
            Act::SetTransaction { .. } if !names_snapshot(sql) => "SET",
            Act::Set(change) if change.setting == "search_path" => self.answer_set(statement)?,
            _ => return None,
        };
        let text = text_of(sql)?;
        if let Place::Held(prefix) = &mut self.place {
            prefix.strict |= matches!(statement.act, Act::SetTransaction { strict: true });
            prefix.texts.push(text);
        }
        Some(tag)
    }

    fn answer_set(&mut self, statement: &Statement) -> Option<&'static str> {
        let Act::Set(change) = &statement.act else { return None };
        let tag = match change.value {
            Value::Text(_) => "SET",
            // RESET in a held transaction would be said again to a shard whose start value is
            // not the client's.
            Value::Default if self.status() == Status::Idle => "SET",
            _ => return None,
        };
        self.tracked.change(change);
        self.settle_path();
        Some(tag)
    }

    /// Whether a text only forgets a name that the shards do not know.
    pub(super) fn is_ours_to_forget(&self, text: &Text) -> bool {
        match text.statements.as_slice() {
            [Statement { act: Act::Deallocate(name), .. }] => self.knows(name.as_deref()),
            _ => false,
        }
    }

    fn deallocate(&mut self, name: Option<&str>) -> Option<&'static str> {
        let may_answer = match &self.place {
            Place::Idle | Place::Held(_) => true,
            // In a failed transaction the shard says no.
            Place::Working(work) => {
                work.is_between_requests() && work.status == Status::InTransaction
            }
        };
        if !may_answer || !self.knows(name) {
            return None;
        }
        replies::forget(&mut self.names, name);
        Some(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
    }

    fn knows(&self, name: Option<&str>) -> bool {
        match name {
            Some(name) => self.names.statements.contains_key(name.as_bytes()),
            // SQL-level statements live on backends that are kept.
            None => self.kept.is_empty() && !self.is_pinned(),
        }
    }

    fn is_pinned(&self) -> bool {
        matches!(&self.place, Place::Working(work) if work.keep.is_some())
    }

    fn is_strict_by_default(&self) -> bool {
        let level = self.tracked.get("default_transaction_isolation").and_then(|told| told.text());
        level.is_some_and(|level| level.starts_with("repeatable") || level == "serializable")
    }
}

fn text_of(sql: &[u8]) -> Option<String> {
    String::from_utf8(sql.to_vec()).ok()
}

/// `SET TRANSACTION SNAPSHOT …`
fn names_snapshot(sql: &[u8]) -> bool {
    sql.split(|byte| !byte.is_ascii_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case(b"snapshot"))
}

/// PostgreSQL repeats the words of the client.
fn begin_tag(sql: &[u8]) -> &'static str {
    let start = b"START";
    match sql.trim_ascii_start() {
        sql if sql.len() < start.len() => "BEGIN",
        sql if sql[..start.len()].eq_ignore_ascii_case(start) => "START TRANSACTION",
        _ => "BEGIN",
    }
}
