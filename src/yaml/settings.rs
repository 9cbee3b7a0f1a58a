//! A tree to settings, through serde: every mistake is noted and the reading goes on.
//!
//! serde gives up at the first error. So a value that cannot be read is noted, left out, and
//! its settings are read again without it, until what is left can be read. Conventions:
//!
//! - a [`Duration`](std::time::Duration) is written `2s` or `10min`;
//! - a number whose key speaks of `bytes` is a size and is written `16MiB`;
//! - a struct takes only its own fields.

use serde::Deserialize;
use serde::de::{self, Visitor};

use super::fault::unknown_key;
use super::read::Ledger;
use super::tree::{Entry, Node, Value};
use super::{Mistakes, Place};

/// Reads one value; `None` when too little of it can be read, and then there is a mistake.
pub fn read<T: de::DeserializeOwned>(entry: &Entry, mistakes: &mut Mistakes) -> Option<T> {
    let ledger = Ledger::default();
    let value = ledger.read(&entry.value, Some(entry));
    ledger.hand_over(mistakes);
    value
}

/// A mapping whose keys belong to several parts.
pub struct Section<'n> {
    node: Option<&'n Node>,
    known: Vec<&'static str>,
}

impl<'n> Section<'n> {
    /// A missing mapping is an empty one: what is needed is asked for later.
    pub fn new(root: Option<&'n Node>, mistakes: &mut Mistakes) -> Self {
        let node = root.filter(|node| {
            let wrong = node.is_no_mapping();
            wrong.iter().for_each(|wrong| mistakes.error(node.place, format!("the file {wrong}")));
            matches!(node.value, Value::Mapping(_))
        });
        Self { node, known: Vec::new() }
    }

    /// A mapping inside another.
    pub fn inside(entry: Option<&'n Entry>, mistakes: &mut Mistakes) -> Self {
        let entry = entry.filter(|entry| {
            let wrong = entry.value.is_no_mapping().map(|wrong| entry.note(&wrong));
            wrong.iter().for_each(|(place, wrong)| mistakes.error(*place, wrong));
            matches!(entry.value.value, Value::Mapping(_))
        });
        Self { node: entry.map(|entry| &entry.value), known: Vec::new() }
    }

    /// All the entries, for a mapping whose keys are names.
    pub fn entries(&self) -> &'n [Entry] {
        self.node.map_or(&[], Node::entries)
    }

    /// The keys that `T` declares; the other keys are somebody else's.
    pub fn take<T: Default + de::DeserializeOwned>(&mut self, mistakes: &mut Mistakes) -> T {
        let Some(node) = self.node else { return T::default() };
        let ledger = Ledger::shared(node);
        let value = ledger.read(node, None).unwrap_or_default();
        self.known.extend(ledger.known.take());
        ledger.hand_over(mistakes);
        value
    }

    /// The value of a key that the caller reads.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Entry> {
        self.known.push(key);
        self.node.and_then(|node| node.get(key))
    }

    /// Where a key stands, for checks that come later.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.node.and_then(|node| node.get(key)).map(|entry| entry.key.place)
    }

    /// A mapping inside this one that belongs to one part.
    pub fn part<T: Default + de::DeserializeOwned>(
        &mut self,
        key: &'static str,
        mistakes: &mut Mistakes,
    ) -> T {
        let mut section = self.section(key, mistakes);
        let value = section.take(mistakes);
        section.finish(mistakes);
        value
    }

    /// A mapping inside this one.
    pub fn section(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Self {
        Self::inside(self.get(key), mistakes)
    }

    /// Whatever nobody took is unknown.
    pub fn finish(self, mistakes: &mut Mistakes) {
        for Entry { key, .. } in self.entries() {
            if !self.known.contains(&&*key.text) {
                mistakes.error(key.place, unknown_key(&key.text, &self.known));
            }
        }
    }
}

/// A value that remembers where it was written, for checks that come later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Placed<T> {
    pub place: Place,
    pub value: T,
}

/// The name by which the reader knows a [`Placed`].
pub(super) const PLACED: &str = "directory::yaml::Placed";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Placed<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value and its place")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut parts: A,
            ) -> Result<Self::Value, A::Error> {
                let missing = || de::Error::custom("the place of a value is missing");
                let line = parts.next_element()?.ok_or_else(missing)?;
                let column = parts.next_element()?.ok_or_else(missing)?;
                let value = parts.next_element()?.ok_or_else(missing)?;
                Ok(Placed { place: Place { line, column }, value })
            }
        }
        deserializer.deserialize_struct(PLACED, &[], Parts(std::marker::PhantomData))
    }
}
