//! Calls, casts and comparisons: where code is run, and where a literal may name an object.

use super::Walk;
use crate::sql::functions::{self, Effect};
use crate::sql::literal;
use crate::sql::tree::{Node, Tree};
use crate::sql::{Access, Change, Frees, Keep, Keeps, Leaves, NameKind, Value};

/// Columns of the catalogue that are compared all day and never hold a schema.
const NOT_SCHEMAS: [&str; 22] = [
    "relkind",
    "relname",
    "contype",
    "typtype",
    "attname",
    "proname",
    "typname",
    "conname",
    "tgname",
    "relpersistence",
    "collname",
    "datname",
    "rolname",
    "extname",
    "amname",
    "spcname",
    "lanname",
    "opcname",
    "table_name",
    "column_name",
    "table_type",
    "data_type",
];

/// Types that look an object up by its name.
const NAME_TYPES: [&str; 11] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

impl<'t> Walk<'t> {
    fn while_naming(&mut self, body: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.naming, true);
        body(self);
        self.naming = before;
    }

    pub(super) fn call(&mut self, node: &'t Node) {
        let words = node.get("funcname").and_then(Tree::words).unwrap_or_default();
        let effect = match words[..] {
            [name] | ["pg_catalog", name] => functions::effect(name),
            ["information_schema", _] => Effect::Catalogue,
            [.., schema, _] => {
                self.name(schema, NameKind::Other);
                Effect::Unknown
            }
            [] => Effect::Unknown,
        };
        match effect {
            Effect::Harmless => {}
            Effect::Reads => self.raise(Access::Read),
            Effect::Catalogue => {
                self.raise(Access::Read);
                self.catalogue = true;
            }
            Effect::Writes => {
                self.raise(Access::Write);
                self.literal_mattered = true;
            }
            Effect::Unlocks { all } => {
                self.raise(Access::Write);
                self.literal_mattered = true;
                let locks = Keeps::of(Keep::AdvisoryLock);
                self.frees |= if all { Frees::all(locks) } else { Frees::SOME };
            }
            Effect::SetConfig => return self.set_config(node, false),
            Effect::Locks => {
                self.raise(Access::Write);
                self.keep(Keep::AdvisoryLock);
                self.literal_mattered = true;
            }
            Effect::Seeds => {
                self.raise(Access::Write);
                self.keep(Keep::Seed);
            }
            Effect::Unknown => {
                self.raise(Access::Write);
                self.leave(Leaves::UNKNOWN);
                self.foreign = true;
            }
        }
        let rest = |walk: &mut Self| {
            for (field, tree) in &node.fields {
                if *field != "funcname" {
                    walk.visit(tree);
                }
            }
        };
        if effect == Effect::Harmless { rest(self) } else { self.while_naming(rest) }
    }

    /// `certain`: it runs exactly once when its statement does.
    pub(super) fn set_config(&mut self, node: &'t Node, certain: bool) {
        self.literal_mattered = true;
        let arguments = node.list("args");
        for argument in arguments {
            self.visit(argument);
        }
        let known = match arguments {
            [setting, value, local] => {
                (setting_of(setting), value_of(value), truth_of(local), parameter_of(local))
            }
            _ => (None, Value::Unknown, None, None),
        };
        let (setting, value, local, local_bound) = known;
        if setting.is_none() {
            self.raise(Access::Write);
        }
        // What might be the search_path counts as it.
        let (setting, value) = match setting {
            Some(setting) => (setting, value),
            None => ("search_path".to_owned(), Value::Unknown),
        };
        let value = if certain && (local.is_some() || local_bound.is_some()) {
            value
        } else {
            Value::Unknown
        };
        if value == Value::Unknown {
            self.leave(Leaves::UNKNOWN);
        }
        let local = local.unwrap_or(false);
        self.set_configs.push(Change { setting, value, local, local_bound });
    }

    pub(super) fn cast(&mut self, node: &'t Node) {
        self.visit_field(node, "type_name");
        let names = node.child("type_name").and_then(|name| name.get("names"));
        let words = names.and_then(Tree::words).unwrap_or_default();
        if matches!(words[..], [name] | ["pg_catalog", name] if NAME_TYPES.contains(&name)) {
            self.raise(Access::Read);
            self.catalogue = true;
            self.while_naming(|walk| walk.visit_field(node, "arg"));
        } else {
            self.visit_field(node, "arg");
        }
    }

    pub(super) fn constant(&mut self, node: &'t Node) {
        if !self.naming {
            return;
        }
        if let Some(text) = node.child("val").filter(|value| value.kind == "String") {
            self.literal_mattered = true;
            for name in literal::names(text.text("sval")) {
                self.name(&name, NameKind::Perhaps);
            }
        }
    }

    pub(super) fn parameter(&mut self, node: &'t Node) {
        if self.naming {
            self.name_parameter(node.number("number"));
        }
    }

    fn name_parameter(&mut self, number: i64) {
        self.parameters.extend(u16::try_from(number));
    }

    pub(super) fn expression(&mut self, node: &'t Node) {
        let (left, right) = (node.get("lexpr"), node.get("rexpr"));
        for (side, other) in [(left, right), (right, left)] {
            if !other.is_some_and(is_never_a_schema) {
                self.note_compared(side);
            }
        }
        self.fields(node);
    }

    /// Notes the literals and parameters that stand at once on one side of a comparison.
    fn note_compared(&mut self, side: Option<&'t Tree>) {
        let Some(side) = side else { return };
        let Tree::Node(node) = side else {
            return side.items().iter().for_each(|item| self.note_compared(Some(item)));
        };
        match node.kind {
            "AConst" => {
                if let Some(text) = text_of(side) {
                    self.compared.push(text.to_owned());
                }
            }
            "ParamRef" => self.compared_parameters.extend(u16::try_from(node.number("number"))),
            "TypeCast" | "CollateClause" => self.note_compared(node.get("arg")),
            "AArrayExpr" => self.note_compared(node.get("elements")),
            "RowExpr" | "FuncCall" => self.note_compared(node.get("args")),
            "List" => self.note_compared(node.get("items")),
            _ => {}
        }
    }

    pub(super) fn count_compared(&mut self) {
        for text in std::mem::take(&mut self.compared) {
            for name in literal::compared(&text) {
                self.name(&name, NameKind::Perhaps);
            }
        }
        for number in std::mem::take(&mut self.compared_parameters) {
            self.name_parameter(number.into());
        }
    }
}

fn is_never_a_schema(tree: &Tree) -> bool {
    let column = tree.node().filter(|node| node.kind == "ColumnRef");
    let last = column.and_then(|node| node.list("fields").last()).and_then(Tree::word);
    last.is_some_and(|name| NOT_SCHEMAS.contains(&name))
}

/// The inside of `'…'::text`.
fn uncast(tree: &Tree) -> Option<&Node> {
    let mut node = tree.node()?;
    while node.kind == "TypeCast" {
        node = node.child("arg")?;
    }
    Some(node)
}

pub(super) fn text_of(tree: &Tree) -> Option<&str> {
    let value = uncast(tree).filter(|node| node.kind == "AConst")?.child("val")?;
    (value.kind == "String").then(|| value.text("sval"))
}

/// The setting's name, or `$1` for one that is bound.
fn setting_of(tree: &Tree) -> Option<String> {
    if let Some(setting) = text_of(tree) {
        return Some(setting.to_ascii_lowercase());
    }
    Some(format!("${}", parameter_of(tree)?))
}

fn parameter_of(tree: &Tree) -> Option<u16> {
    let node = uncast(tree).filter(|node| node.kind == "ParamRef")?;
    u16::try_from(node.number("number")).ok()
}

fn value_of(tree: &Tree) -> Value {
    let Some(node) = uncast(tree) else { return Value::Unknown };
    match node.kind {
        // NULL puts the default back.
        "AConst" if node.flag("isnull") => Value::Default,
        "AConst" => text_of(tree).map_or(Value::Unknown, |text| Value::Text(text.to_owned())),
        "ParamRef" => u16::try_from(node.number("number")).map_or(Value::Unknown, Value::Parameter),
        _ => Value::Unknown,
    }
}

/// A constant that PostgreSQL reads as true or false.
fn truth_of(tree: &Tree) -> Option<bool> {
    let node = uncast(tree).filter(|node| node.kind == "AConst" && !node.flag("isnull"))?;
    let value = node.child("val")?;
    match value.kind {
        "Boolean" => Some(value.flag("boolval")),
        "String" => match value.text("sval").to_ascii_lowercase().as_str() {
            "t" | "true" | "on" | "yes" | "1" => Some(true),
            "f" | "false" | "off" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
