//! serde over a tree: what cannot be read is noted, left out, and the rest is read again.

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor, value};

use super::fault::{Fault, list, unknown_key};
use super::settings::PLACED;
use super::tree::{Entry, Node, Value};
use super::{Mistakes, Place};

/// What the attempts so far have found out.
#[derive(Default)]
pub(super) struct Ledger {
    mistakes: RefCell<Vec<(Place, String)>>,
    /// Keys and list members that are left out, by node.
    left_out: RefCell<HashSet<u32>>,
    /// The mapping whose unknown keys are somebody else's, and the keys taken from it.
    shared: Option<u32>,
    pub(super) known: RefCell<Vec<&'static str>>,
}

impl Ledger {
    /// For a mapping whose keys belong to several parts.
    pub(super) fn shared(node: &Node) -> Self {
        Self { shared: Some(node.id), ..Self::default() }
    }

    pub(super) fn read<T: de::DeserializeOwned>(
        &self,
        node: &Node,
        entry: Option<&Entry>,
    ) -> Option<T> {
        let key = entry.map(|entry| &*entry.key.text);
        loop {
            let fault = match T::deserialize(At { node, key, ledger: self }) {
                Ok(value) => return Some(value),
                Err(fault) => fault,
            };
            if !fault.is_consequence {
                let note = match (fault.place, entry) {
                    (Some(place), _) => (place, fault.message),
                    (None, Some(entry)) => entry.note(&fault.message),
                    (None, None) => (node.place, fault.message),
                };
                self.mistakes.borrow_mut().push(note);
            }
            // Each turn leaves out one more node, so there is a last turn.
            let culprit = fault.culprit?;
            if !self.left_out.borrow_mut().insert(culprit) {
                return None;
            }
        }
    }

    pub(super) fn hand_over(self, mistakes: &mut Mistakes) {
        for (place, what) in self.mistakes.into_inner() {
            mistakes.error(place, what);
        }
    }

    fn is_left_out(&self, id: u32) -> bool {
        self.left_out.borrow().contains(&id)
    }

    /// Notes the keys that a struct does not have, once, and leaves them out.
    fn refuse_unknown(&self, node: &Node, fields: &'static [&'static str]) {
        let is_shared = self.shared == Some(node.id);
        if is_shared {
            *self.known.borrow_mut() = fields.to_vec();
        }
        for Entry { key, .. } in node.entries() {
            let is_known = fields.contains(&&*key.text);
            if !is_known && self.left_out.borrow_mut().insert(key.id) && !is_shared {
                self.mistakes.borrow_mut().push((key.place, unknown_key(&key.text, fields)));
            }
        }
    }
}

/// A node to be read.
#[derive(Clone, Copy)]
struct At<'n> {
    node: &'n Node,
    key: Option<&'n str>,
    ledger: &'n Ledger,
}

impl<'n> At<'n> {
    fn scalar(self, wanted: &str) -> Result<&'n str, Fault> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => {
                Err(Fault::new(format!("is {}; wanted {wanted}", self.node.kind())))
            }
        }
    }

    fn parsed<T: std::str::FromStr>(self, wanted: &str) -> Result<T, Fault> {
        let text = self.scalar(wanted)?;
        text.parse().map_err(|_| Fault::new(format!("is `{text}`; wanted {wanted}")))
    }

    fn is_size(self) -> bool {
        self.key.is_some_and(|key| key.split('_').any(|word| word == "bytes"))
    }

    fn unsigned(self) -> Result<u64, Fault> {
        if !self.is_size() {
            return self.parsed("a whole number");
        }
        let wanted = "a size with its unit, such as `128KiB` or `16MiB`";
        let text = self.scalar(wanted)?;
        if !text.ends_with(|last: char| last.is_ascii_alphabetic()) {
            return Err(Fault::new(format!("is `{text}`; wanted {wanted}")));
        }
        self.parsed::<bytesize::ByteSize>(wanted).map(|size| size.as_u64())
    }

    fn duration<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        let wanted = "a time with its unit, such as `500ms`, `10s` or `1h`";
        let text = self.scalar(wanted)?;
        let time = humantime::parse_duration(text)
            .map_err(|_| Fault::new(format!("is `{text}`; wanted {wanted}")))?;
        // What serde's own `Duration` asks for: seconds, then nanoseconds.
        let parts = [time.as_secs(), u64::from(time.subsec_nanos())];
        visitor.visit_seq(value::SeqDeserializer::new(parts.into_iter()))
    }

    fn mapping<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(wrong) = self.node.is_no_mapping() {
            return Err(Fault::new(wrong));
        }
        let entries = self.node.entries();
        let walk = Entries { rest: entries.iter(), current: None, ledger: self.ledger };
        visitor.visit_map(walk).map_err(|mut fault| {
            let is_ours = fault.is_missing_field && fault.place.is_none();
            let mut keys = entries.iter().map(|entry| entry.key.id);
            if is_ours && keys.any(|id| self.ledger.is_left_out(id)) {
                fault.is_consequence = true;
            }
            fault
        })
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $read:expr;)*) => {$(
        fn $method<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($read(self)?)
        }
    )*};
}

impl<'n> de::Deserializer<'n> for At<'n> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        // `ByteSize` asks for anything, and would take a number without its unit.
        if self.is_size() {
            return visitor.visit_u64(self.unsigned()?);
        }
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(text) => visitor.visit_str(text),
            Value::Sequence(list) => {
                visitor.visit_seq(Members { rest: list.iter(), key: self.key, ledger: self.ledger })
            }
            Value::Mapping(_) => self.mapping(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.parsed("`true` or `false`")?)
    }

    numbers! {
        deserialize_u8 visit_u64 At::unsigned;
        deserialize_u16 visit_u64 At::unsigned;
        deserialize_u32 visit_u64 At::unsigned;
        deserialize_u64 visit_u64 At::unsigned;
        deserialize_i8 visit_i64 |at: Self| at.parsed("a whole number");
        deserialize_i16 visit_i64 |at: Self| at.parsed("a whole number");
        deserialize_i32 visit_i64 |at: Self| at.parsed("a whole number");
        deserialize_i64 visit_i64 |at: Self| at.parsed("a whole number");
        deserialize_f32 visit_f64 |at: Self| at.parsed("a number");
        deserialize_f64 visit_f64 |at: Self| at.parsed("a number");
    }

    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_string<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.scalar("a text")?)
    }

    fn deserialize_str<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.mapping(visitor)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match name {
            "Duration" => self.duration(visitor),
            PLACED => visitor.visit_seq(PlacedParts { at: self, given: 0 }),
            _ => {
                self.ledger.refuse_unknown(self.node, fields);
                self.mapping(visitor)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let wanted = list(variants);
        match &self.node.value {
            Value::Scalar(text) if !variants.contains(&&**text) => {
                Err(de::Error::unknown_variant(text, variants))
            }
            Value::Scalar(text) => visitor.visit_enum((**text).into_deserializer()),
            Value::Mapping(entries) => match &entries[..] {
                [entry] => {
                    let walk =
                        Entries { rest: entries.iter(), current: Some(entry), ledger: self.ledger };
                    visitor.visit_enum(value::MapAccessDeserializer::new(walk))
                }
                _ => Err(Fault::new(format!("wants exactly one key of {wanted}"))),
            },
            Value::Null | Value::Sequence(_) => {
                Err(Fault::new(format!("is {}; wanted one of {wanted}", self.node.kind())))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'n>>
        char bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
    }
}

/// The entries of a mapping, without those left out.
struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    current: Option<&'n Entry>,
    ledger: &'n Ledger,
}

impl<'n> de::MapAccess<'n> for Entries<'n> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'n>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let ledger = self.ledger;
        let Some(entry) = self.rest.find(|entry| !ledger.is_left_out(entry.key.id)) else {
            return Ok(None);
        };
        self.current = Some(entry);
        let key: value::StrDeserializer<'_, Fault> = (*entry.key.text).into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.in_entry(entry))
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry =
            self.current.ok_or_else(|| Fault::new("a value was asked for before its key"))?;
        let at = At { node: &entry.value, key: Some(&entry.key.text), ledger: self.ledger };
        seed.deserialize(at).map_err(|fault| fault.in_entry(entry))
    }
}

/// The members of a list, without those left out.
struct Members<'n> {
    rest: std::slice::Iter<'n, Node>,
    /// The key of the list.
    key: Option<&'n str>,
    ledger: &'n Ledger,
}

impl<'n> de::SeqAccess<'n> for Members<'n> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'n>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let ledger = self.ledger;
        let Some(node) = self.rest.find(|node| !ledger.is_left_out(node.id)) else {
            return Ok(None);
        };
        let at = At { node, key: None, ledger };
        let key = self.key;
        seed.deserialize(at).map(Some).map_err(|fault| fault.in_member(node, key))
    }
}

/// Line, column, value: what [`Placed`] asks for.
struct PlacedParts<'n> {
    at: At<'n>,
    given: u8,
}

impl<'n> de::SeqAccess<'n> for PlacedParts<'n> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'n>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.given += 1;
        let place = self.at.node.place;
        match self.given {
            1 => seed.deserialize(place.line.into_deserializer()).map(Some),
            2 => seed.deserialize(place.column.into_deserializer()).map(Some),
            _ => seed.deserialize(self.at).map(Some),
        }
    }
}
