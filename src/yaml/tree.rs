//! Text to a tree whose every node knows its place.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{Mistakes, Place};

/// Settings nest five deep; a bomb nests a million.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Tells nodes apart that begin at one place.
    pub(super) id: u32,
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    /// `~`, `null`, or nothing at all.
    Null,
    Scalar(Arc<str>),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Key,
    pub value: Node,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub(super) id: u32,
    pub place: Place,
    pub text: Arc<str>,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::Sequence(_) => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| *entry.key.text == *key)
    }

    /// What to tell if this is to be a mapping and is something else.
    pub(super) fn is_no_mapping(&self) -> Option<String> {
        match self.value {
            Value::Mapping(_) | Value::Null => None,
            Value::Scalar(_) | Value::Sequence(_) => {
                Some(format!("is {}; wanted `key: value`s", self.kind()))
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Reads one document. Duplicate keys and what we do not take from YAML are mistakes;
/// a syntax error ends the reading, because what follows it cannot be trusted.
pub fn parse(text: &str, mistakes: &mut Mistakes) -> Option<Node> {
    let mut builder = Builder {
        open: Vec::new(),
        root: None,
        nodes: 0,
        documents: 0,
        too_deep: 0,
        texts: HashSet::default(),
        mistakes,
    };
    // Event by event: the parser's own `load` recurses as deep as the text says.
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, place(&span.start)),
            Err(error) => {
                let what = format!("not YAML: {}", error.info());
                builder.mistakes.error(place(error.marker()), what);
                return None;
            }
        }
    }
    let empty = Node { id: 0, place: Place { line: 1, column: 1 }, value: Value::Null };
    Some(builder.root.unwrap_or(empty))
}

fn place(marker: &Marker) -> Place {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: count(marker.line()), column: count(marker.col()).saturating_add(1) }
}

/// A collection whose end has not come yet.
enum Open {
    Sequence(Node, Vec<Node>),
    Mapping {
        node: Node,
        entries: Vec<Entry>,
        seen: HashMap<Arc<str>, u32, RandomState>,
        key: Option<Node>,
    },
}

struct Builder<'m> {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: u32,
    documents: u32,
    /// Collections skipped below the depth limit that are still open.
    too_deep: usize,
    /// Each text once: a hundred thousand tenants share a few words.
    texts: HashSet<Arc<str>, RandomState>,
    mistakes: &'m mut Mistakes,
}

impl Builder<'_> {
    fn node(&mut self, place: Place, value: Value) -> Node {
        self.nodes += 1;
        Node { id: self.nodes, place, value }
    }

    fn text(&mut self, text: Cow<'_, str>) -> Arc<str> {
        if let Some(known) = self.texts.get(&*text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }

    fn begin(&mut self, place: Place, is_mapping: bool) {
        if DEPTH_MAX <= self.open.len() {
            if self.too_deep == 0 {
                self.mistakes.error(place, format!("nested deeper than {DEPTH_MAX}"));
            }
            self.too_deep += 1;
            return;
        }
        let node = self.node(place, Value::Null);
        self.open.push(if is_mapping {
            // Most have one, and there may be a hundred thousand of them.
            let entries = Vec::with_capacity(1);
            Open::Mapping { node, entries, seen: HashMap::default(), key: None }
        } else {
            Open::Sequence(node, Vec::new())
        });
    }

    fn end(&mut self) {
        if 0 < self.too_deep {
            self.too_deep -= 1;
            if 0 < self.too_deep {
                return;
            }
            let stand_in = self.node(Place::default(), Value::Null);
            return self.add(stand_in);
        }
        let node = match self.open.pop() {
            Some(Open::Sequence(node, list)) => Node { value: Value::Sequence(list), ..node },
            Some(Open::Mapping { node, mut entries, .. }) => {
                entries.shrink_to_fit();
                Node { value: Value::Mapping(entries), ..node }
            }
            None => return,
        };
        self.add(node);
    }

    fn add(&mut self, node: Node) {
        let mistakes = &mut *self.mistakes;
        match self.open.last_mut() {
            None => self.root = self.root.take().or(Some(node)),
            Some(Open::Sequence(_, list)) => list.push(node),
            Some(Open::Mapping { entries, seen, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(Node { id, place, value: Value::Scalar(text) }) => {
                    if let Some(first) = seen.get(&text) {
                        mistakes.error(
                            place,
                            format!("`{text}` is written twice; first on line {first}"),
                        );
                        return;
                    }
                    seen.insert(text.clone(), place.line);
                    entries.push(Entry { key: Key { id, place, text }, value: node });
                }
                Some(key) => {
                    mistakes.error(key.place, format!("a key cannot be {}", key.kind()));
                }
            },
        }
    }

    fn take(&mut self, event: Event<'_>, place: Place) {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.mistakes.error(place, "a second document (`---`); wanted one");
                }
            }
            Event::Scalar(..) | Event::Alias(_) if 0 < self.too_deep => {}
            Event::Scalar(text, style, _, _) => {
                let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let value = if is_null { Value::Null } else { Value::Scalar(self.text(text)) };
                let node = self.node(place, value);
                self.add(node);
            }
            Event::Alias(_) => {
                // Nine lines of aliases make a billion nodes; no setting needs one.
                self.mistakes.error(place, "aliases (`*name`) are not read; write the value out");
                let node = self.node(place, Value::Null);
                self.add(node);
            }
            Event::SequenceStart(..) => self.begin(place, false),
            Event::MappingStart(..) => self.begin(place, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
}
