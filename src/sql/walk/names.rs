//! Names of relations, types, functions and whatever else may stand in a schema.

use pg_query::protobuf::ObjectType;

use super::Walk;
use crate::sql::tree::{Node, Tree};
use crate::sql::{Access, Keep, Leaves, Name, NameKind};
use crate::tenant::cut;

/// PostgreSQL's own schemas: they make a statement a catalogue query, and are nobody's.
fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema") || schema.starts_with("pg_toast")
}

fn is_temporary(schema: &str) -> bool {
    schema.starts_with("pg_temp")
}

impl<'t> Walk<'t> {
    /// Writes a schema down, once, unless it is PostgreSQL's own.
    pub(super) fn name(&mut self, schema: &str, kind: NameKind) {
        let schema = cut(schema);
        if schema.is_empty() || is_system(schema) || is_temporary(schema) {
            return;
        }
        if kind != NameKind::Perhaps {
            self.raise(Access::Read);
        }
        let name = Name { schema: schema.to_owned(), kind };
        if self.known_names.insert(name.clone()) {
            self.names.push(name);
        }
    }

    pub(super) fn relation(&mut self, node: &'t Node) {
        self.raise(Access::Read);
        let (schema, relation) = (node.text("schemaname"), node.text("relname"));
        let made_temporary = is_temporary(schema) && Access::Define <= self.access;
        if node.text("relpersistence") == "t" || made_temporary {
            // CREATE TEMP …: it goes to the backend's own schema, whatever the path.
            self.foreign = true;
            self.keep(Keep::TempTable);
        } else if schema.is_empty() {
            self.unqualified_relation(relation);
        } else if is_system(schema) {
            self.catalogue_relation(relation);
        } else {
            self.foreign = true;
            self.name(schema, NameKind::Relation);
        }
        // RangeVar has no other children than its alias.
    }

    fn unqualified_relation(&mut self, relation: &str) {
        if self.ctes.contains(&relation) {
            return;
        }
        if relation.starts_with("pg_") {
            self.catalogue_relation(relation);
            return;
        }
        self.foreign = true;
        self.unqualified = true;
    }

    /// A name of one, two or three parts; of more, what stands before the last is the schema.
    fn qualified(&mut self, parts: &[&str], kind: NameKind) {
        match parts {
            [] | [_] => {}
            [.., schema, _] => self.name(schema, kind),
        }
    }

    /// The same for what a command works on.
    fn target(&mut self, parts: &[&str], kind: NameKind) {
        if parts.len() == 1 {
            self.unqualified = true;
        }
        self.foreign = true;
        if let [.., schema, _] = parts
            && is_temporary(schema)
        {
            self.keep(Keep::TempTable);
        }
        self.qualified(parts, kind);
    }

    /// A field that holds nothing but words: a name in parts, or a list of columns?
    pub(super) fn word_list(&mut self, kind: &str, field: &str, words: &[&str]) {
        const TARGETS: [&str; 10] = [
            "defnames",
            "objname",
            "type_name",
            "domainname",
            "opclassname",
            "opfamilyname",
            "conversion_name",
            "dictname",
            "cfgname",
            "collname",
        ];
        const USED: [&str; 14] = [
            "funcname",
            "collation",
            "opclass",
            "func_name",
            "use_op",
            "oper_name",
            "name",
            "handler_name",
            "plhandler",
            "plinline",
            "plvalidator",
            "method",
            "names",
            "order_family",
        ];
        const COLUMNS: [&str; 21] = [
            "colnames",
            "using_clause",
            "keys",
            "fk_attrs",
            "pk_attrs",
            "including",
            "fk_del_set_cols",
            "attlist",
            "va_cols",
            "col_names",
            "aliascolnames",
            "aliases",
            "columns",
            "search_col_list",
            "cycle_col_list",
            "cols",
            "vals",
            "stat_types",
            "tokentype",
            "publication",
            "args",
        ];
        let target = (TARGETS.contains(&field) && kind != "CollateClause")
            || (kind == "CreateFunctionStmt" && field == "funcname");
        if matches!((kind, words), ("AExpr" | "SubLink" | "SortBy", [schema, _]) if !is_system(schema))
        {
            // Somebody's own operator: a function like any other.
            self.raise(Access::Write);
            self.leave(Leaves::UNKNOWN);
            self.foreign = true;
        }
        if target {
            self.target(words, NameKind::Other);
        } else if USED.contains(&field) || TARGETS.contains(&field) {
            self.qualified(words, NameKind::Other);
        } else if !COLUMNS.contains(&field) {
            // A list that we do not know: whatever stands before another word may be a schema.
            for word in &words[..words.len() - 1] {
                self.name(word, NameKind::Perhaps);
            }
        }
    }

    pub(super) fn type_name(&mut self, node: &'t Node) {
        if let Some(words) = node.get("names").and_then(Tree::words) {
            // `acme.t.c%TYPE` ends with a column.
            let own = if node.flag("pct_type") { &words[..words.len() - 1] } else { &words[..] };
            let kind = if node.flag("pct_type") { NameKind::Relation } else { NameKind::Other };
            if node.flag("pct_type") && own.len() == 1 {
                self.unqualified = true;
            }
            self.qualified(own, kind);
        }
        self.visit_field(node, "typmods");
    }

    /// `acme.t.c` names a schema, or a column's field.
    pub(super) fn column(&mut self, node: &'t Node) {
        let fields = node.list("fields");
        // The last is a column or `*`; the one before it a relation.
        for field in fields.iter().rev().skip(2) {
            if let Some(word) = field.word() {
                self.name(word, NameKind::Perhaps);
            }
        }
    }

    /// An object as DROP, COMMENT and ALTER name it.
    pub(super) fn object(&mut self, object_type: i64, tree: &'t Tree) {
        use ObjectType as O;
        let is = |kinds: &[O]| kinds.iter().any(|kind| *kind as i64 == object_type);
        if let Some(schema) = tree.word().filter(|_| is(&[O::ObjectSchema])) {
            self.name(schema, NameKind::Other);
            return;
        }
        let Some(node) = tree.node() else { return };
        if node.kind == "TypeName" {
            let words = node.get("names").and_then(Tree::words).unwrap_or_default();
            self.target(&words, NameKind::Other);
            return;
        }
        if node.kind != "List" {
            self.visit(tree);
            return;
        }
        let Some(words) = tree.words() else {
            for item in tree.items() {
                self.object(object_type, item);
            }
            return;
        };
        let parts_of_relations = [
            O::ObjectColumn,
            O::ObjectTabconstraint,
            O::ObjectTrigger,
            O::ObjectRule,
            O::ObjectPolicy,
        ];
        let relations = [
            O::ObjectTable,
            O::ObjectView,
            O::ObjectMatview,
            O::ObjectSequence,
            O::ObjectIndex,
            O::ObjectForeignTable,
        ];
        if is(&parts_of_relations) {
            self.target(&words[..words.len() - 1], NameKind::Relation);
        } else if is(&relations) {
            self.target(&words, NameKind::Relation);
        } else if is(&[O::ObjectOpclass, O::ObjectOpfamily]) {
            // The access method stands first.
            self.target(&words[1..], NameKind::Other);
        } else {
            self.target(&words, NameKind::Other);
        }
    }

    /// An option of a command: some name schemas or relations, most name nothing.
    pub(super) fn option(&mut self, node: &'t Node) {
        let Some(value) = node.get("arg") else { return };
        let words = value.words().unwrap_or_default();
        match node.text("defname") {
            "schemas" => {
                for schema in words {
                    self.name(schema, NameKind::Other);
                }
            }
            "schema" => {
                if let Some(schema) = value.word() {
                    self.name(schema, NameKind::Other);
                }
            }
            "owned_by" => {
                if let [table @ .., _column] = &words[..] {
                    self.target(table, NameKind::Relation);
                }
            }
            "sequence_name" => self.target(&words, NameKind::Relation),
            // A function's body, columns of COPY: nothing that can be read as a name.
            "as" | "force_quote" | "force_not_null" | "force_null" => {}
            _ if words.is_empty() => self.visit(value),
            _ => self.qualified(&words, NameKind::Other),
        }
    }
}
