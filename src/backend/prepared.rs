//! Which statements a backend has prepared, and under which of our names.

use std::collections::HashMap;
use std::sync::Arc;

use crate::protocol::told;

/// Statements that one backend keeps; the least recently used one makes room.
const STATEMENTS_MAX: usize = 256;

/// A text and its parameter types, prepared under one search path. Another path is another
/// statement: PostgreSQL would answer `cached plan must not change result type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The text's own number, the same for all clients that sent it.
    pub text: u64,
    pub path: Arc<str>,
}

#[derive(Debug)]
struct Entry {
    name: u64,
    used: u64,
    since: Moment,
}

/// When a statement was sent to be prepared: in which lease, and in which of its rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    lease: u64,
    round: u64,
}

/// How many rounds, each ended by a `ReadyForQuery`, a lease has begun and finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rounds {
    pub begun: u64,
    pub finished: u64,
}

/// The named statements of one backend, and its unnamed one.
#[derive(Debug, Default)]
pub struct Prepared {
    entries: HashMap<Key, Entry, foldhash::fast::RandomState>,
    /// What the backend's unnamed statement is, if we know.
    unnamed: Option<(Key, Moment)>,
    /// Statements that nobody asks for any more, and that are to be closed.
    unwanted: Vec<u64>,
    names_given: u64,
    clock: u64,
    lease: u64,
}

/// What a Parse will have prepared, if it succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promised {
    Named(Key, u64),
    Unnamed(Key),
    /// One less, if its Close is not skipped.
    Closed(u64),
}

impl Moment {
    fn holds(self, lease: u64, rounds: Rounds) -> bool {
        self.lease != lease || self.round == rounds.begun || self.round < rounds.finished
    }
}

/// What our names begin with, and no client's.
pub const PREFIX: &str = "_veneer_";

/// The name under which a backend knows a statement.
pub fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// Whether a backend may know one of our statements by this name.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Prepared {
    /// All that was sent before is settled.
    pub fn begin_lease(&mut self) {
        self.lease += 1;
    }

    /// The name of a statement that will be there when what is sent now is read. In a round that
    /// is still under way a failure may yet undo what that round has prepared.
    pub fn find(&mut self, key: &Key, rounds: Rounds) -> Option<u64> {
        self.clock += 1;
        let lease = self.lease;
        let entry = self.entries.get_mut(key).filter(|entry| entry.since.holds(lease, rounds))?;
        entry.used = self.clock;
        Some(entry.name)
    }

    /// Takes a new statement in, in the place of one that had its key; gives its name.
    pub fn add(&mut self, key: Key, rounds: Rounds) -> u64 {
        self.clock += 1;
        self.names_given += 1;
        let is_full = STATEMENTS_MAX <= self.entries.len() && !self.entries.contains_key(&key);
        let evicted = if is_full { self.evict() } else { None };
        let since = Moment { lease: self.lease, round: rounds.begun };
        let entry = Entry { name: self.names_given, used: self.clock, since };
        let replaced = self.entries.insert(key, entry).map(|entry| entry.name);
        self.unwanted.extend(evicted.or(replaced));
        self.names_given
    }

    /// The names that are to be closed now.
    pub fn take_unwanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unwanted)
    }

    pub fn is_unnamed(&self, key: &Key, rounds: Rounds) -> bool {
        let unnamed = self.unnamed.as_ref();
        unnamed.is_some_and(|(known, since)| known == key && since.holds(self.lease, rounds))
    }

    pub fn set_unnamed(&mut self, key: Key, rounds: Rounds) {
        self.unnamed = Some((key, Moment { lease: self.lease, round: rounds.begun }));
    }

    /// PostgreSQL forgets it at every Query.
    pub fn forget_unnamed(&mut self) {
        self.unnamed = None;
    }

    /// A Parse has failed, or was skipped. What was sent since under the same key stands.
    pub fn break_promise(&mut self, promised: &Promised) {
        match promised {
            Promised::Named(key, name) => {
                if self.entries.get(key).is_some_and(|entry| entry.name == *name) {
                    self.entries.remove(key);
                }
            }
            Promised::Unnamed(key) => {
                self.unnamed.take_if(|(known, _)| known == key);
            }
            Promised::Closed(name) => self.unwanted.push(*name),
        }
    }

    /// The named ones.
    pub fn count(&self) -> usize {
        self.entries.len() + self.unwanted.len()
    }

    pub fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.unwanted.clear();
        self.unnamed = None;
    }

    /// Whether an error says that the backend has not what we think it has: then we know nothing.
    pub fn clear_if_lacking(&mut self, error: &[u8]) -> bool {
        let lacks = told::lacks_statement(error, PREFIX);
        if lacks {
            self.clear();
        }
        lacks
    }

    fn evict(&mut self) -> Option<u64> {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used)?.0.clone();
        self.entries.remove(&oldest).map(|entry| entry.name)
    }
}
