//! What a query of the catalogue asks: whose schemas, whose objects, and by which numbers.

use pg_query::protobuf::{AExprKind, BoolExprType};

use super::Walk;
use super::calls::text_of;
use crate::sql::bound::{USER_OID_MIN, has_user_oid};
use crate::sql::tree::{Node, Tree};
use crate::sql::{About, Catalogue, NameKind, Parameter, Reading};

/// Relations that say the same on every shard, but for the names: home has all of them.
const OF_SCHEMAS: [&str; 12] = [
    "pg_namespace",
    "schemata",
    "pg_auth_members",
    "pg_database",
    "pg_db_role_setting",
    "pg_group",
    "pg_roles",
    "pg_shdescription",
    "pg_tablespace",
    "pg_user",
    "applicable_roles",
    "enabled_roles",
];

/// Functions of the catalogue that ask about schemas, roles and databases only.
const ABOUT_SCHEMAS: [&str; 13] = [
    "acldefault",
    "aclexplode",
    "has_database_privilege",
    "has_schema_privilege",
    "has_tablespace_privilege",
    "makeaclitem",
    "obj_description",
    "pg_get_userbyid",
    "pg_has_role",
    "pg_is_other_temp_schema",
    "shobj_description",
    "to_regnamespace",
    "to_regrole",
];

/// How the columns of the catalogue begin that hold the name of anything but a schema.
const OF_OTHERS: [&str; 28] = [
    "rel", "att", "typ", "pro", "con", "ind", "tg", "coll", "dat", "rol", "ext", "am", "spc",
    "lan", "opc", "opf", "opr", "cfg", "dict", "prs", "tmpl", "pub", "sub", "evt", "pol", "srv",
    "fdw", "stx",
];

/// What has been seen of the catalogue so far.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// It reads the catalogue.
    pub catalogue: bool,
    /// It reads relations of the catalogue, so that comparisons may be about schemas.
    pub rows: bool,
    /// … others than those about schemas.
    pub objects: bool,
    /// Its rows have numbers, by which later queries may ask.
    hands_out_numbers: bool,
    numbers: bool,
    number_parameters: Vec<u16>,
    /// The literals and parameters that stand in comparisons.
    compared: Vec<Compared>,
    place: Place,
}

/// Where in the statement the walk is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Under a NOT: what holds is not asked for.
    negated: bool,
    /// Under an OR: something else may be asked for, too.
    either: bool,
    /// In the list of a SELECT: what is compared there chooses no rows.
    listed: bool,
    /// Numbers here count or measure something.
    counting: bool,
    /// Inside of another query.
    inner: bool,
}

#[derive(Debug)]
struct Compared {
    value: Compare,
    reading: Reading,
    /// It chooses the rows, by itself.
    decides: bool,
}

#[derive(Debug)]
enum Compare {
    Text(String),
    Parameter(u16),
}

impl<'t> Walk<'t> {
    pub(super) fn catalogue_relation(&mut self, relation: &str) {
        self.asks.catalogue = true;
        self.asks.rows = true;
        self.asks.objects |= !OF_SCHEMAS.contains(&relation);
    }

    pub(super) fn catalogue_function(&mut self, function: &str) {
        self.asks.catalogue = true;
        self.asks.objects |= !ABOUT_SCHEMAS.contains(&function);
    }

    fn at(&mut self, change: impl FnOnce(&mut Place), body: impl FnOnce(&mut Self)) {
        let before = self.asks.place;
        change(&mut self.asks.place);
        body(self);
        self.asks.place = before;
    }

    /// One clause of a SELECT that has a FROM, or has none.
    pub(super) fn clause(&mut self, field: &str, tree: &'t Tree, has_from: bool) {
        match field {
            "target_list" if has_from => {
                self.note_handed_out(tree);
                self.at(|place| place.listed = true, |walk| walk.visit(tree));
            }
            "limit_count" | "limit_offset" => {
                self.at(|place| place.counting = true, |walk| walk.visit(tree));
            }
            _ => self.visit(tree),
        }
    }

    fn note_handed_out(&mut self, targets: &Tree) {
        if self.asks.place.inner {
            return;
        }
        let values = targets.items().iter().filter_map(Tree::node);
        let mut columns = values
            .filter_map(|target| target.child("val"))
            .filter(|value| value.kind == "ColumnRef")
            .filter_map(|column| column.list("fields").last());
        let is_number = |field: &Tree| {
            field.word().is_some_and(|name| name == "oid" || name == "tableoid")
                || field.node().is_some_and(|node| node.kind == "AStar")
        };
        self.asks.hands_out_numbers |= columns.any(is_number);
    }

    pub(super) fn subquery(&mut self, node: &'t Node) {
        if node.kind == "SubLink" {
            // `'acme' IN (SELECT nspname …)`
            self.note_compared(node.get("testexpr"), Reading::Equal);
        }
        let inside = |place: &mut Place| {
            *place = Place { inner: true, counting: place.counting, ..Place::default() };
        };
        self.at(inside, |walk| walk.fields(node));
    }

    pub(super) fn logic(&mut self, node: &'t Node) {
        let kind = node.number("boolop");
        let change = |place: &mut Place| {
            place.negated ^= kind == BoolExprType::NotExpr as i64;
            place.either |= kind == BoolExprType::OrExpr as i64;
        };
        self.at(change, |walk| walk.fields(node));
    }

    pub(super) fn expression(&mut self, node: &'t Node) {
        let operator = node.get("name").and_then(Tree::words).unwrap_or_default();
        let operator = operator.last().copied().unwrap_or_default();
        let (negative, reading) = reading(node.number("kind"), operator);
        if let Some(reading) = reading.filter(|_| negative == self.asks.place.negated) {
            let (left, right) = (node.get("lexpr"), node.get("rexpr"));
            for (side, other) in [(left, right), (right, left)] {
                if other.is_some_and(may_be_schema) {
                    self.note_compared(side, reading);
                }
            }
        }
        // What is compared with a name, or by its size, is no object's number.
        let counts = matches!(operator, "<" | ">" | "<=" | ">=")
            || [node.get("lexpr"), node.get("rexpr")].into_iter().flatten().any(is_word);
        self.at(|place| place.counting |= counts, |walk| walk.fields(node));
    }

    /// Notes the literals and parameters that stand at once on one side of a comparison.
    fn note_compared(&mut self, side: Option<&'t Tree>, reading: Reading) {
        let Some(side) = side else { return };
        let Tree::Node(node) = side else {
            return side.items().iter().for_each(|item| self.note_compared(Some(item), reading));
        };
        let value = match node.kind {
            "AConst" => text_of(side).map(|text| Compare::Text(text.to_owned())),
            "ParamRef" => u16::try_from(node.number("number")).ok().map(Compare::Parameter),
            inner => {
                let inner = match inner {
                    "TypeCast" | "CollateClause" => node.get("arg"),
                    "AArrayExpr" => node.get("elements"),
                    "RowExpr" | "FuncCall" => node.get("args"),
                    "List" => node.get("items"),
                    _ => None,
                };
                return self.note_compared(inner, reading);
            }
        };
        let place = self.asks.place;
        let decides = !place.either && !place.listed;
        self.asks.compared.extend(value.map(|value| Compared { value, reading, decides }));
    }

    /// A literal that may be the number of an object.
    pub(super) fn note_number(&mut self, literal: &Node) {
        if self.asks.place.counting {
            return;
        }
        self.asks.numbers |= match literal.kind {
            "Integer" => USER_OID_MIN <= literal.number("ival"),
            "Float" => has_user_oid(literal.text("fval")),
            "String" => has_user_oid(literal.text("sval")),
            _ => false,
        };
    }

    pub(super) fn note_number_parameter(&mut self, number: i64) {
        if !self.asks.place.counting {
            self.asks.number_parameters.extend(u16::try_from(number));
        }
    }

    /// Settles what the statement asks; names that were compared become names.
    pub(super) fn conclude(&mut self) -> Option<Catalogue> {
        let about = match self.asks.objects || self.asks.hands_out_numbers || self.foreign {
            false => About::Schemas,
            true => About::Objects,
        };
        let rows = self.asks.rows;
        let compared = std::mem::take(&mut self.asks.compared);
        for Compared { value, reading, decides } in compared.into_iter().filter(|_| rows) {
            // Home answers for all schemas at once.
            if about == About::Schemas && !decides {
                continue;
            }
            match value {
                Compare::Text(text) => {
                    for name in reading.names(&text) {
                        self.name(&name, NameKind::Perhaps);
                    }
                }
                Compare::Parameter(number) => self.parameters.push(Parameter { number, reading }),
            }
        }
        if !self.asks.catalogue || self.foreign {
            return None;
        }
        let mut number_parameters = std::mem::take(&mut self.asks.number_parameters);
        number_parameters.sort_unstable();
        number_parameters.dedup();
        Some(Catalogue { about, numbers: self.asks.numbers, number_parameters })
    }
}

/// Whether a comparison says what is not wanted, and how it reads a text; `None` when it says
/// nothing about names.
fn reading(kind: i64, operator: &str) -> (bool, Option<Reading>) {
    use AExprKind as K;
    let is = |kinds: &[K]| kinds.iter().any(|known| *known as i64 == kind);
    if is(&[K::AexprDistinct]) {
        return (true, Some(Reading::Equal));
    }
    let known = [K::AexprOp, K::AexprOpAny, K::AexprOpAll, K::AexprIn, K::AexprNotDistinct];
    if !is(&known) && !is(&[K::AexprLike, K::AexprIlike]) {
        return (false, None);
    }
    match operator {
        "=" => (false, Some(Reading::Equal)),
        "~" | "~*" => (false, Some(Reading::Regex)),
        "~~" | "~~*" => (false, Some(Reading::Like)),
        "<>" => (true, Some(Reading::Equal)),
        "!~" | "!~*" => (true, Some(Reading::Regex)),
        "!~~" | "!~~*" => (true, Some(Reading::Like)),
        _ => (false, None),
    }
}

/// Whether one side of a comparison is a column that holds words.
fn is_word(tree: &Tree) -> bool {
    let Some(node) = tree.node() else { return tree.items().iter().any(is_word) };
    match node.kind {
        "ColumnRef" => {
            let column = node.list("fields").last().and_then(Tree::word).unwrap_or_default();
            ["name", "_schema", "_type", "kind"].iter().any(|end| column.ends_with(end))
        }
        "TypeCast" | "CollateClause" => node.get("arg").is_some_and(is_word),
        "FuncCall" | "RowExpr" => node.get("args").is_some_and(is_word),
        _ => false,
    }
}

/// Whether one side of a comparison has a column that may hold the name of a schema.
fn may_be_schema(tree: &Tree) -> bool {
    let Some(node) = tree.node() else { return tree.items().iter().any(may_be_schema) };
    if node.kind != "ColumnRef" {
        return node.fields.iter().any(|(_, field)| may_be_schema(field));
    }
    let column = node.list("fields").last().and_then(Tree::word).unwrap_or_default();
    let named = matches!(column, "nspname" | "schema_name" | "schemaname");
    // psql writes `stxnamespace::regnamespace::text`.
    if named || column.ends_with("_schema") || column.ends_with("namespace") {
        return true;
    }
    // Whatever else a query calls its own columns may hold one.
    let of_others = OF_OTHERS.iter().any(|front| column.starts_with(front));
    let is_kind = column.ends_with("_type") || column.ends_with("kind");
    !of_others && !is_kind && !column.ends_with("name") && !column.ends_with("oid")
}
