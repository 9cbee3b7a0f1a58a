//! Which statements a backend has prepared, and under which of our names.

use std::collections::HashMap;
use std::sync::Arc;

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
}

/// The named statements of one backend, and its unnamed one.
#[derive(Debug, Default)]
pub struct Prepared {
    entries: HashMap<Key, Entry, foldhash::fast::RandomState>,
    /// What the backend's unnamed statement is, if we know.
    pub unnamed: Option<Key>,
    names_given: u64,
    clock: u64,
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
    pub fn find(&mut self, key: &Key) -> Option<u64> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.name)
    }

    /// Takes a new statement in; gives its name, and the name of one to close for it.
    pub fn add(&mut self, key: Key) -> (u64, Option<u64>) {
        self.clock += 1;
        self.names_given += 1;
        let evicted = if self.entries.len() < STATEMENTS_MAX { None } else { self.evict() };
        self.entries.insert(key, Entry { name: self.names_given, used: self.clock });
        (self.names_given, evicted)
    }

    /// The named ones.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub fn remove(&mut self, key: &Key) {
        self.entries.remove(key);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.unnamed = None;
    }

    fn evict(&mut self) -> Option<u64> {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used)?.0.clone();
        self.entries.remove(&oldest).map(|entry| entry.name)
    }
}
