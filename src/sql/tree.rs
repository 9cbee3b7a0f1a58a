//! A parse tree in one uniform shape: every node, every field, by construction.
//!
//! The parser's own tree has some 270 struct types. Serde visits all of them, so a walk over this
//! shape cannot forget one; what a struct leaves at its default is left out.

use std::fmt;

use serde::ser::{self, Impossible, Serialize, SerializeSeq, SerializeStruct};

#[derive(Debug)]
pub enum Tree {
    Node(Node),
    List(Vec<Tree>),
    Text(String),
    Number(i64),
    Flag(bool),
}

#[derive(Debug)]
pub struct Node {
    /// The parser's name for it: `SelectStmt`, `RangeVar`, …
    pub kind: &'static str,
    pub fields: Vec<(&'static str, Tree)>,
}

impl Tree {
    pub fn of(value: &impl Serialize) -> Result<Self, BadTree> {
        Ok(value.serialize(Builder)?.unwrap_or(Self::List(Vec::new())))
    }

    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::Node(node) => Some(node),
            Self::List(_) | Self::Text(_) | Self::Number(_) | Self::Flag(_) => None,
        }
    }

    pub fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            Self::Node(node) if node.kind == "List" => node.list("items"),
            Self::Node(_) | Self::Text(_) | Self::Number(_) | Self::Flag(_) => &[],
        }
    }

    /// The text of a `String` node: a part of a name.
    pub fn word(&self) -> Option<&str> {
        self.node().filter(|node| node.kind == "String").map(|node| node.text("sval"))
    }

    /// The parts of a name, when this is a list of nothing else.
    pub fn words(&self) -> Option<Vec<&str>> {
        let items = self.items();
        if items.is_empty() {
            return None;
        }
        items.iter().map(Self::word).collect()
    }
}

impl Node {
    pub fn get(&self, field: &str) -> Option<&Tree> {
        self.fields.iter().find(|(name, _)| *name == field).map(|(_, tree)| tree)
    }

    pub fn child(&self, field: &str) -> Option<&Node> {
        self.get(field).and_then(Tree::node)
    }

    pub fn list(&self, field: &str) -> &[Tree] {
        self.get(field).map_or(&[], Tree::items)
    }

    pub fn text(&self, field: &str) -> &str {
        match self.get(field) {
            Some(Tree::Text(text)) => text,
            _ => "",
        }
    }

    pub fn number(&self, field: &str) -> i64 {
        match self.get(field) {
            Some(Tree::Number(number)) => *number,
            _ => 0,
        }
    }

    pub fn flag(&self, field: &str) -> bool {
        matches!(self.get(field), Some(Tree::Flag(true)))
    }
}

/// The parser's types hold something that this shape has no place for.
#[derive(Debug)]
pub struct BadTree(String);

impl fmt::Display for BadTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadTree {}

impl ser::Error for BadTree {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unexpected<T>(what: &str) -> Result<T, BadTree> {
    Err(BadTree(format!("a parse tree holds no {what}")))
}

struct Builder;

type Built = Result<Option<Tree>, BadTree>;

macro_rules! numbers {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, value: $type) -> Built {
            // Only object identifiers and bit sets are wide, and no fact hangs on them.
            Ok((value != 0).then_some(Tree::Number(value as i64)))
        }
    )*};
}

impl ser::Serializer for Builder {
    type Ok = Option<Tree>;
    type Error = BadTree;
    type SerializeSeq = List;
    type SerializeTuple = Impossible<Option<Tree>, BadTree>;
    type SerializeTupleStruct = Impossible<Option<Tree>, BadTree>;
    type SerializeTupleVariant = Impossible<Option<Tree>, BadTree>;
    type SerializeMap = Impossible<Option<Tree>, BadTree>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<Option<Tree>, BadTree>;

    numbers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    numbers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_bool(self, value: bool) -> Built {
        Ok(value.then_some(Tree::Flag(true)))
    }

    // Planner costs: never in a raw tree.
    fn serialize_f32(self, _value: f32) -> Built {
        Ok(None)
    }

    fn serialize_f64(self, _value: f64) -> Built {
        Ok(None)
    }

    fn serialize_char(self, value: char) -> Built {
        Ok(Some(Tree::Text(value.to_string())))
    }

    fn serialize_str(self, value: &str) -> Built {
        Ok((!value.is_empty()).then(|| Tree::Text(value.to_owned())))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Built {
        unexpected("bytes")
    }

    fn serialize_none(self) -> Built {
        Ok(None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Built {
        Ok(None)
    }

    fn serialize_unit_struct(self, kind: &'static str) -> Built {
        Ok(Some(Tree::Node(Node { kind, fields: Vec::new() })))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Built {
        unexpected("bare variant")
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Built {
        value.serialize(self)
    }

    // The variant only repeats the name of the struct inside it.
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Built {
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, BadTree> {
        Ok(List(Vec::with_capacity(length.unwrap_or(0))))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, BadTree> {
        unexpected("tuple")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, BadTree> {
        unexpected("tuple struct")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, BadTree> {
        unexpected("tuple variant")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, BadTree> {
        unexpected("map")
    }

    fn serialize_struct(self, kind: &'static str, _: usize) -> Result<Fields, BadTree> {
        Ok(Fields(Node { kind, fields: Vec::new() }))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, BadTree> {
        unexpected("struct variant")
    }
}

struct List(Vec<Tree>);

impl SerializeSeq for List {
    type Ok = Option<Tree>;
    type Error = BadTree;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BadTree> {
        // An empty node keeps its place: `(1, NULL, 2)` has three items.
        self.0.push(value.serialize(Builder)?.unwrap_or(Tree::List(Vec::new())));
        Ok(())
    }

    fn end(self) -> Built {
        Ok((!self.0.is_empty()).then_some(Tree::List(self.0)))
    }
}

struct Fields(Node);

impl SerializeStruct for Fields {
    type Ok = Option<Tree>;
    type Error = BadTree;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), BadTree> {
        // Where a node stood in the text is no fact, and nearly every node says it.
        if name == "location" {
            return Ok(());
        }
        if let Some(tree) = value.serialize(Builder)? {
            self.0.fields.push((name, tree));
        }
        Ok(())
    }

    fn end(mut self) -> Built {
        // `Node` is a wrapper around "any node"; an empty one stands for nothing.
        if self.0.kind == "Node" {
            return Ok(self.0.fields.pop().map(|(_, inner)| inner));
        }
        Ok(Some(Tree::Node(self.0)))
    }
}
