//! Prepared statements as a client names them, and the texts behind the names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use dashmap::DashMap;

use crate::sql::Text;
use crate::tenant::ShardName;

/// A text with its parameter types, as it came in a Parse.
#[derive(Debug)]
pub struct Statement {
    /// Equal for all clients that sent the same text and types.
    pub number: u64,
    pub sql: Bytes,
    /// The count and the OIDs, as they came.
    pub types: Bytes,
    pub text: Arc<Text>,
}

impl Statement {
    /// A text that can be prepared anywhere.
    pub fn empty() -> Self {
        let types = Bytes::from_static(&[0, 0]);
        Self { number: 0, sql: Bytes::new(), types, text: Arc::default() }
    }
}

/// Numbers for texts, shared by all sessions, so that a backend prepares each text once.
#[derive(Debug, Default)]
pub struct Texts {
    known: DashMap<Box<[u8]>, Weak<Statement>, foldhash::fast::RandomState>,
    numbers: AtomicU64,
    /// How many there were after the last sweep.
    swept: AtomicUsize,
}

impl Texts {
    /// A statement of its own: what is not named is not shared.
    pub fn unnamed(&self, sql: Bytes, types: Bytes, text: Arc<Text>) -> Arc<Statement> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Statement { number, sql, types, text })
    }

    pub fn named(&self, sql: &[u8], types: &[u8], text: &Arc<Text>) -> Arc<Statement> {
        let key: Box<[u8]> = [sql, &[0], types].concat().into();
        if let Some(known) = self.known.get(&key).and_then(|weak| weak.upgrade()) {
            return known;
        }
        let statement =
            self.unnamed(Bytes::copy_from_slice(sql), Bytes::copy_from_slice(types), text.clone());
        self.known.insert(key, Arc::downgrade(&statement));
        self.sweep();
        statement
    }

    /// A table has changed under its statements: whoever prepares again gets a new one, not what a
    /// backend has from before. Texts are cheap to learn again.
    pub fn renumber(&self) {
        self.known.clear();
        self.swept.store(0, Ordering::Relaxed);
    }

    /// Forgets texts that nobody holds, whenever the map has doubled.
    fn sweep(&self) {
        let count = self.known.len();
        if count < 64.max(self.swept.load(Ordering::Relaxed).saturating_mul(2)) {
            return;
        }
        self.known.retain(|_, weak| 0 < weak.strong_count());
        self.swept.store(self.known.len(), Ordering::Relaxed);
    }
}

/// Where a portal is.
#[derive(Debug, Clone)]
pub enum Portal {
    /// On the backend; the facts say what its completion does to the session, and the SQL says
    /// it again elsewhere.
    Bound(Arc<Text>, Bytes),
    /// Answered by us so far: nothing has been sent.
    Ours(Arc<Statement>),
}

/// Its keys are one client's own: whoever would make them collide has himself to wait.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One client's names.
#[derive(Debug, Default)]
pub struct Names {
    pub statements: Map<Bytes, Arc<Statement>>,
    pub portals: Map<Bytes, Portal>,
    /// On which shard a cursor WITH HOLD was declared.
    pub cursors: Map<String, ShardName>,
    /// In which round of the backend at work a name was parsed, while that may still fail.
    pub fresh: Map<Bytes, u64>,
}

/// Cursors WITH HOLD that are found again by name, wherever the path has gone since.
const CURSORS_MAX: usize = 1000;

impl Names {
    /// A Parse has not succeeded; the client may have given its name to another statement since.
    pub fn break_promise(&mut self, promised: Option<&(Bytes, u64)>) {
        if let Some((name, number)) = promised
            && self.statements.get(name).is_some_and(|known| known.number == *number)
        {
            self.statements.remove(name);
        }
    }

    pub fn hold(&mut self, cursor: &str, shard: &ShardName) {
        if self.cursors.len() < CURSORS_MAX {
            self.cursors.insert(cursor.to_owned(), shard.clone());
        }
    }
}
