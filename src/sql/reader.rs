//! Reads texts, and remembers what they said.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytesize::ByteSize;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;

use super::walk::Findings;
use super::{Act, Read, ReadError, Text, guard, parse, shape};

/// A longer text is parsed again each time: the bulk inserts of one client would push out
/// everybody's statements.
const ENTRY_BYTES_MAX: usize = 64 << 10;
/// The cache reckons with entries of about this size.
const ENTRY_BYTES_USUAL: u64 = 1 << 10;
/// Texts whose return would be noticed.
const SEEN_MAX: usize = 4096;
/// What an entry costs besides its key and its facts.
const ENTRY_BYTES_EXTRA: u64 = 128;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Texts are parsed up to this size, not counting the insides of long literals.
    pub parse_bytes_max: ByteSize,
    /// Memory for what was read, at most.
    pub cache_bytes_max: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { parse_bytes_max: ByteSize::kib(256), cache_bytes_max: ByteSize::mib(16) }
    }
}

type Memory = Cache<Box<[u8]>, Arc<Text>, Weight, foldhash::fast::RandomState>;

/// The door to the parser. Cheap to share.
pub struct Reader {
    parse_bytes_max: usize,
    /// By the whole text.
    exact: Memory,
    /// By the text without its literals; only what hangs on none.
    shapes: Memory,
    seen: Seen,
}

/// Hashes of texts that were found by their shapes. One that comes again is worth a place of its
/// own, where it is found without its shape, which takes twenty times as long; a text whose literals
/// never come again would only push out others.
struct Seen {
    hasher: foldhash::fast::RandomState,
    last: Box<[AtomicU64]>,
}

impl Seen {
    fn new() -> Self {
        let last = (0..SEEN_MAX).map(|_| AtomicU64::new(0)).collect();
        Self { hasher: Default::default(), last }
    }

    /// Whether the text was the last one in its place, which it now is.
    fn again(&self, sql: &[u8]) -> bool {
        let hash = self.hasher.hash_one(sql);
        let place = &self.last[hash as usize % self.last.len()];
        // Two that meet in one place only come a little later to their own.
        place.swap(hash, Ordering::Relaxed) == hash
    }
}

thread_local! {
    /// Where shapes are written before they are looked up.
    static SHAPE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Reader {
    pub fn new(settings: &Settings) -> Self {
        let half = settings.cache_bytes_max.as_u64() / 2;
        let memory = || {
            let entries = usize::try_from(half / ENTRY_BYTES_USUAL).unwrap_or(usize::MAX);
            Cache::with(entries, half, Weight, Default::default(), Default::default())
        };
        Self {
            parse_bytes_max: usize::try_from(settings.parse_bytes_max.as_u64())
                .unwrap_or(usize::MAX),
            exact: memory(),
            shapes: memory(),
            seen: Seen::new(),
        }
    }

    /// What is known of this text already. Never parses, never waits.
    pub fn cached(&self, sql: &[u8]) -> Option<Read> {
        if ENTRY_BYTES_MAX < sql.len() {
            return None;
        }
        if let Some(text) = self.exact.get(sql) {
            return Some(Ok(text));
        }
        let text = with_shape(sql, |shape| self.shapes.get(shape)).flatten()?;
        if self.seen.again(sql) {
            self.exact.insert(sql.into(), text.clone());
        }
        Some(Ok(text))
    }

    /// Says what a text says, parsing it if it is new.
    pub async fn read(&self, sql: &[u8]) -> Read {
        if let Some(read) = self.cached(sql) {
            return read;
        }
        let text = guard::admit(sql, self.parse_bytes_max)?;
        let findings = parse::parse(&text).await?;
        self.check_whole(sql, &text, &findings)?;
        Ok(self.remember(sql, findings))
    }

    /// The same, for callers without a runtime.
    pub fn read_now(&self, sql: &[u8]) -> Read {
        if let Some(read) = self.cached(sql) {
            return read;
        }
        let text = guard::admit(sql, self.parse_bytes_max)?;
        let findings = parse::parse_now(&text)?;
        self.check_whole(sql, &text, &findings)?;
        Ok(self.remember(sql, findings))
    }

    /// What is more than data must have been read as it stands.
    fn check_whole(&self, sql: &[u8], read: &str, findings: &Findings) -> Result<(), ReadError> {
        let mut statements = findings.text.statements.iter();
        let is_data = statements.all(|s| s.act == Act::None && s.set_configs.is_empty());
        if sql.len() == read.len() || is_data {
            return Ok(());
        }
        Err(ReadError::Long { bytes: sql.len(), bytes_max: self.parse_bytes_max })
    }

    fn remember(&self, sql: &[u8], findings: Findings) -> Arc<Text> {
        let text = Arc::new(findings.text);
        if ENTRY_BYTES_MAX < sql.len() {
            return text;
        }
        let kept = findings.literal_free
            && with_shape(sql, |shape| self.shapes.insert(shape.into(), text.clone())).is_some();
        if !kept {
            self.exact.insert(sql.into(), text.clone());
        }
        text
    }
}

/// Runs `body` with the shape of a text, if it has one.
fn with_shape<T>(sql: &[u8], body: impl FnOnce(&[u8]) -> T) -> Option<T> {
    SHAPE.with_borrow_mut(|buffer| shape::write(sql, buffer).then(|| body(buffer)))
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Arc<Text>> for Weight {
    fn weight(&self, key: &Box<[u8]>, text: &Arc<Text>) -> u64 {
        let facts: usize = text
            .statements
            .iter()
            .map(|statement| {
                let names: usize = statement.names.iter().map(|name| 48 + name.schema.len()).sum();
                size_of_val(statement) + names + 128 * statement.set_configs.len()
            })
            .sum();
        (key.len() + facts) as u64 + ENTRY_BYTES_EXTRA
    }
}

#[cfg(test)]
mod tests;
