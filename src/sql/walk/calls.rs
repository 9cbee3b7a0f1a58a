//! Calls, casts and comparisons: where code is run, and where a literal may name an object.

use pg_query::protobuf::AExprKind;

use super::Walk;
use crate::sql::functions::{self, Effect};
use crate::sql::tree::{Node, Tree};
use crate::sql::{Access, Change, Frees, Keep, Keeps, Leaves, NameKind, Parameter, Reading, Value};

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

/// Functions that look up what has no name, or the name of no schema.
const NAMELESS: [&str; 7] = [
    "col_description",
    "obj_description",
    "pg_describe_object",
    "pg_has_role",
    "pg_notify",
    "shobj_description",
    "to_regrole",
];

impl<'t> Walk<'t> {
    fn while_naming(&mut self, reading: Option<Reading>, body: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.naming, reading);
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
            Effect::AsksSequence => {
                self.raise(Access::Read);
                self.asks_sequence = true;
            }
            Effect::Catalogue => {
                self.raise(Access::Read);
                self.catalogue_function(words.last().copied().unwrap_or_default());
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
        for (field, tree) in node.fields.iter().filter(|(field, _)| *field != "funcname") {
            if effect == Effect::Harmless || *field != "args" {
                self.visit(tree);
                continue;
            }
            let arguments = tree.items();
            for (index, argument) in arguments.iter().enumerate() {
                let function = words.last().copied().unwrap_or_default();
                let reading = match effect {
                    Effect::Unknown => Some(Reading::Anything),
                    _ => reading(function, index, arguments.len()),
                };
                self.while_naming(reading, |walk| walk.visit(argument));
            }
        }
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

    /// `SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'y'`: how pg_dump sets
    /// what an older server may not know. Said again, it does no harm there either.
    pub(super) fn set_if_known(&self, node: &Node) -> Option<Change> {
        let [from] = node.list("from_clause") else { return None };
        let from = from.node().filter(|from| from.kind == "RangeVar")?;
        let is_settings = from.text("relname") == "pg_settings"
            && matches!(from.text("schemaname"), "" | "pg_catalog");
        let [target] = node.list("target_list") else { return None };
        let call = target.node()?.child("val").filter(|call| is_set_config(call))?;
        let [name, value, local] = call.list("args") else { return None };
        let filter = node.child("where_clause").filter(|filter| filter.kind == "AExpr")?;
        let is_equality = filter.get("name").and_then(Tree::words).is_some_and(|op| op == ["="])
            && filter.number("kind") == AExprKind::AexprOp as i64;
        let known = ["target_list", "from_clause", "where_clause", "limit_option", "op"];
        let is_plain = node.fields.iter().all(|(field, _)| known.contains(field));
        if !is_settings || !is_equality || !is_plain || !is_name(name) {
            return None;
        }
        let setting = filter.get("lexpr").filter(|left| is_name(left)).and(filter.get("rexpr"))?;
        text_of(value)?;
        Some(Change {
            setting: text_of(setting)?.to_ascii_lowercase(),
            value: Value::Statement(self.own_text.to_owned()),
            local: truth_of(local)?,
            local_bound: None,
        })
    }

    pub(super) fn cast(&mut self, node: &'t Node) {
        self.visit_field(node, "type_name");
        let names = node.child("type_name").and_then(|name| name.get("names"));
        let words = names.and_then(Tree::words).unwrap_or_default();
        let kind = match words[..] {
            [name] | ["pg_catalog", name] => NAME_TYPES.iter().find(|known| **known == name),
            _ => None,
        };
        let Some(kind) = kind else { return self.visit_field(node, "arg") };
        self.raise(Access::Read);
        self.asks.catalogue = true;
        let reading = match *kind {
            "regnamespace" => Some(Reading::Schema),
            "regrole" => None,
            _ => Some(Reading::Object),
        };
        self.asks.objects |= reading == Some(Reading::Object);
        self.while_naming(reading, |walk| walk.visit_field(node, "arg"));
    }

    pub(super) fn constant(&mut self, node: &'t Node) {
        let Some(value) = node.child("val") else { return };
        self.note_number(value);
        let Some(reading) = self.naming.filter(|_| value.kind == "String") else { return };
        self.literal_mattered = true;
        let text = value.text("sval");
        self.looks_up |= reading.looks_up(text);
        for name in reading.names(text) {
            self.name(&name, NameKind::Perhaps);
        }
    }

    pub(super) fn parameter(&mut self, node: &'t Node) {
        let number = node.number("number");
        self.note_number_parameter(number);
        if let (Some(reading), Ok(number)) = (self.naming, u16::try_from(number)) {
            self.parameters.push(Parameter { number, reading });
        }
    }
}

/// How a function of PostgreSQL's own reads one of its arguments, if as a name.
fn reading(function: &str, index: usize, count: usize) -> Option<Reading> {
    let object = match function {
        "to_regnamespace" | "has_schema_privilege" => Reading::Schema,
        _ => Reading::Object,
    };
    // The user, perhaps; the object; the privilege.
    let is_privilege = function.starts_with("has_") && function.ends_with("_privilege");
    let asked = match function {
        "has_column_privilege" => index + 3 == count,
        _ if is_privilege => index + 2 == count,
        "pg_get_serial_sequence" => index == 0,
        _ => !NAMELESS.contains(&function),
    };
    asked.then_some(object)
}

pub(super) fn is_set_config(node: &Node) -> bool {
    let words = node.get("funcname").and_then(Tree::words).unwrap_or_default();
    node.kind == "FuncCall" && matches!(words[..], ["set_config"] | ["pg_catalog", "set_config"])
}

/// The column `name`.
fn is_name(tree: &Tree) -> bool {
    let column = tree.node().filter(|node| node.kind == "ColumnRef");
    column.and_then(|node| node.get("fields")).and_then(Tree::words).is_some_and(|w| w == ["name"])
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
