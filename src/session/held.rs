//! A transaction that no shard knows of yet, and other requests that need no shard.

use crate::backend::settings::{Told, write_set};
use crate::protocol::answer::{self};
use crate::session::lost::ends_lost;
use crate::session::refuse::Way;
use crate::session::work::{PREFIX_TEXTS_MAX, Prefix};
use crate::session::{APPLICATION, Place, Session, replies};
use crate::sql::{Act, Statement, Text, Value, first_word};

/// A longer text is a shard's to keep.
const TEXT_BYTES_MAX: usize = 8 * 1024;

impl Session {
    /// Does what a text asks without a shard, if that can be done here and now; gives the tag of
    /// its `CommandComplete`.
    pub(super) fn answer(&mut self, text: &Text, sql: &[u8], way: Way) -> Option<&'static str> {
        let [statement] = text.statements.as_slice() else { return None };
        if !statement.set_configs.is_empty() {
            return None;
        }
        if let Act::Deallocate(name) = &statement.act {
            return self.deallocate(name.as_deref());
        }
        match (&self.place, way) {
            (Place::Idle, Way::Simple) => self.answer_idle(statement, sql),
            (Place::Idle | Place::Piped(_), Way::Extended) => self.answer_piped(statement, sql),
            (Place::Held(_), _) => self.answer_held(statement, sql),
            (Place::Lost(_), _) => self.answer_lost(statement),
            // A Query takes what its pipeline has begun along, and ends it.
            (Place::Piped(_), Way::Simple) | (Place::Working(_), _) => None,
        }
    }

    /// While no shard works, these are answered here, as in the simple protocol.
    pub(super) fn is_ours(&self, text: &Text) -> bool {
        if matches!(self.place, Place::Working(_)) {
            return false;
        }
        let [statement] = text.statements.as_slice() else { return false };
        if matches!(self.place, Place::Lost(_)) {
            return ends_lost(statement);
        }
        statement.set_configs.is_empty()
            && match &statement.act {
                Act::Begin { .. }
                | Act::Commit { .. }
                | Act::Rollback { .. }
                | Act::Savepoint(_)
                | Act::SetTransaction { .. }
                | Act::Deallocate(_) => true,
                Act::Set(change) => change.setting == "search_path",
                _ => false,
            }
    }

    /// BEGIN or SET that opens a round while the one before is not answered: the backend may be
    /// free by then, and what follows may belong to another shard.
    pub(super) fn may_become_ours(&self, text: &Text) -> bool {
        let Place::Working(work) = &self.place else { return false };
        let [statement] = text.statements.as_slice() else { return false };
        let opens_round = !work.segment_open && !work.ledger.is_empty();
        opens_round
            && match &statement.act {
                Act::Begin { .. } => true,
                Act::Set(change) => change.setting == "search_path",
                _ => false,
            }
    }

    fn answer_idle(&mut self, statement: &Statement, sql: &[u8]) -> Option<&'static str> {
        match &statement.act {
            Act::Begin { strict } => self.hold(*strict, Vec::new(), sql),
            Act::Set(change) if change.setting == "search_path" && !change.local => {
                self.answer_set(statement, sql)
            }
            // A value that the client has set can be reset; of others a shard must judge.
            Act::Set(change)
                if change.value == Value::Default
                    && !change.local
                    && self.kept.is_empty()
                    && self.tracked.get(&change.setting).is_some() =>
            {
                self.report_start(Some(&change.setting));
                self.tracked.change(change);
                self.settle_path();
                Some(reset_tag(sql))
            }
            Act::ResetAll if self.kept.is_empty() => {
                self.report_start(None);
                self.tracked.reset_all();
                self.settle_path();
                Some("RESET")
            }
            Act::DiscardAll => {
                // What was kept is this session's own state: it goes.
                self.kept.clear();
                self.report_start(None);
                self.tracked.reset_all();
                self.names.statements.clear();
                self.settle_path();
                Some("DISCARD ALL")
            }
            _ => None,
        }
    }

    /// In a pipeline a SET is part of the implicit transaction, and comes into force at its Sync.
    fn answer_piped(&mut self, statement: &Statement, sql: &[u8]) -> Option<&'static str> {
        let mut texts = match &mut self.place {
            Place::Piped(texts) => std::mem::take(texts),
            _ => Vec::new(),
        };
        let tag = match &statement.act {
            // BEGIN makes a block of what the pipeline has done.
            Act::Begin { strict } => return self.hold(*strict, texts, sql),
            Act::Set(change)
                if change.setting == "search_path"
                    && !change.local
                    && texts.len() < PREFIX_TEXTS_MAX
                    && sql.len() <= TEXT_BYTES_MAX =>
            {
                self.tracked.begin();
                self.answer_set(statement, sql)
            }
            _ => None,
        };
        if tag.is_some() {
            texts.extend(self.reset_text(statement).or_else(|| text_of(sql)));
        }
        if !texts.is_empty() {
            self.place = Place::Piped(texts);
        }
        tag
    }

    /// Answers BEGIN; it waits for a statement that has a shard, and `done` goes behind it.
    fn hold(&mut self, strict: bool, done: Vec<String>, sql: &[u8]) -> Option<&'static str> {
        let strict = strict || self.is_strict_by_default();
        let mut texts = vec![text_of(sql)?];
        texts.extend(done);
        self.tracked.begin();
        self.place = Place::Held(Prefix { texts, strict });
        Some(begin_tag(sql))
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
            _ if self.holds_much() || TEXT_BYTES_MAX < sql.len() => return None,
            Act::Savepoint(name) => {
                self.tracked.savepoint(name);
                "SAVEPOINT"
            }
            // A snapshot may be refused, and only its shard knows.
            Act::SetTransaction { .. } if !names_snapshot(sql) && !self.tracked.has_savepoint() => {
                "SET"
            }
            Act::Set(change) if change.setting == "search_path" => {
                self.answer_set(statement, sql)?
            }
            _ => return None,
        };
        let text = self.reset_text(statement).or_else(|| text_of(sql))?;
        if let Place::Held(prefix) = &mut self.place {
            prefix.strict |= matches!(statement.act, Act::SetTransaction { strict: true });
            prefix.texts.push(text);
        }
        Some(tag)
    }

    fn answer_set(&mut self, statement: &Statement, sql: &[u8]) -> Option<&'static str> {
        let Act::Set(change) = &statement.act else { return None };
        let tag = match change.value {
            Value::Text(_) => "SET",
            Value::Default => reset_tag(sql),
            _ => return None,
        };
        self.tracked.change(change);
        self.settle_path();
        Some(tag)
    }

    /// Forgets a name that only this session knows. A backend at work is asked by its own name.
    fn deallocate(&mut self, name: Option<&str>) -> Option<&'static str> {
        if matches!(self.place, Place::Working(_) | Place::Lost(_)) || !self.knows(name) {
            return None;
        }
        replies::forget(&mut self.names, name);
        Some(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
    }

    /// What goes back to its start value without a shard is reported as a shard would.
    fn report_start(&mut self, only: Option<&str>) {
        let start = self.tracked.start();
        let changed = self.tracked.session().iter().filter(|(setting, told)| {
            only.is_none_or(|only| only == *setting) && start.get(setting) != Some(told)
        });
        for (setting, _) in changed {
            let reported =
                self.reported.iter().find(|(name, _)| name.eq_ignore_ascii_case(setting));
            let Some((name, value)) = reported else { continue };
            // Whoever greets asks for no name of its own.
            let own = start.get(setting).and_then(Told::text);
            let value = own.filter(|_| name == APPLICATION).unwrap_or(value);
            // What the client was told last is the start value, unless it was told otherwise since.
            if self.reported_since.remove(name).is_some_and(|known| known != value) {
                answer::parameter_status(name, value, &mut self.unreported);
            }
        }
    }

    /// RESET as it is said to a shard, whose start value is not the client's.
    fn reset_text(&self, statement: &Statement) -> Option<String> {
        let Act::Set(change) = &statement.act else { return None };
        let is_reset = change.value == Value::Default;
        let start = self.tracked.start().get(&change.setting).and_then(Told::text);
        let start = start.filter(|_| is_reset)?;
        let mut text = String::new();
        write_set(&change.setting, start, change.local, &mut text);
        Some(text)
    }

    fn holds_much(&self) -> bool {
        matches!(&self.place, Place::Held(prefix) if PREFIX_TEXTS_MAX <= prefix.texts.len())
    }

    fn knows(&self, name: Option<&str>) -> bool {
        match name {
            Some(name) => self.names.statements.contains_key(name.as_bytes()),
            // SQL-level statements live on backends that are kept.
            None => self.kept.is_empty() && !self.is_pinned(),
        }
    }

    fn is_pinned(&self) -> bool {
        matches!(&self.place, Place::Working(work) if !work.keeps.is_empty())
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
    match first_word(sql).eq_ignore_ascii_case(b"START") {
        true => "START TRANSACTION",
        false => "BEGIN",
    }
}

fn reset_tag(sql: &[u8]) -> &'static str {
    if first_word(sql).eq_ignore_ascii_case(b"RESET") { "RESET" } else { "SET" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_repeat_the_clients_words() {
        for (sql, begin, reset) in [
            ("start transaction", "START TRANSACTION", "SET"),
            ("/* a /* b */ */ START\tTRANSACTION", "START TRANSACTION", "SET"),
            ("-- start\nBEGIN", "BEGIN", "SET"),
            (";; reset search_path", "BEGIN", "RESET"),
            ("set search_path to default -- reset", "BEGIN", "SET"),
            ("", "BEGIN", "SET"),
            ("/*", "BEGIN", "SET"),
        ] {
            assert_eq!((begin_tag(sql.as_bytes()), reset_tag(sql.as_bytes())), (begin, reset));
        }
    }
}
