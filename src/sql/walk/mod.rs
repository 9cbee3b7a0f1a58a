//! From parse trees to facts: every node is visited, and what it names is written down.

mod asks;
mod calls;
mod command;
mod names;
mod session;

use std::collections::HashSet;

use super::tree::{Node, Tree};
use super::{
    Access, Act, Change, Frees, Keep, Leaves, Name, Parameter, Reading, Statement, Text, Value,
    relations,
};
use asks::Asks;

/// What one text says, and whether its literals had a part in that.
#[derive(Debug)]
pub struct Findings {
    pub text: Text,
    /// One data statement whose facts hang on no literal: its shape may stand for it.
    pub literal_free: bool,
}

pub fn walk(sql: &str, statements: &[Tree]) -> Findings {
    let mut text = Text::default();
    let mut literal_free = statements.len() == 1;
    for raw in statements.iter().filter_map(Tree::node) {
        let Some(tree) = raw.get("stmt") else { continue };
        let mut walk = Walk::new(own_text(sql, raw));
        walk.command(tree);
        literal_free &= walk.is_literal_free(tree);
        text.statements.push(walk.finish());
    }
    Findings { text, literal_free }
}

/// The part of the text that is this statement; a length of 0 means "to the end".
fn own_text<'s>(sql: &'s str, raw: &Node) -> &'s str {
    let start = usize::try_from(raw.number("stmt_location")).unwrap_or(0);
    let bytes = usize::try_from(raw.number("stmt_len")).unwrap_or(0);
    let rest = sql.get(start..).unwrap_or(sql);
    let own = if bytes == 0 { rest } else { rest.get(..bytes).unwrap_or(rest) };
    own.trim()
}

/// One statement's facts in the making.
struct Walk<'t> {
    own_text: &'t str,
    access: Access,
    leaves: Leaves,
    frees: Frees,
    asks_sequence: bool,
    looks_up: bool,
    act: Act,
    names: Vec<Name>,
    known_names: HashSet<Name>,
    parameters: Vec<Parameter>,
    set_configs: Vec<Change>,
    unqualified: bool,
    asks: Asks,
    /// It touches what is not the catalogue's.
    foreign: bool,
    /// Common table expressions in sight.
    ctes: Vec<&'t str>,
    /// How literals here are read as names, if they are.
    naming: Option<Reading>,
    literal_mattered: bool,
}

impl<'t> Walk<'t> {
    fn new(own_text: &'t str) -> Self {
        Self {
            own_text,
            access: Access::Nothing,
            leaves: Leaves::default(),
            frees: Frees::default(),
            asks_sequence: false,
            looks_up: false,
            act: Act::None,
            names: Vec::new(),
            known_names: HashSet::new(),
            parameters: Vec::new(),
            set_configs: Vec::new(),
            unqualified: false,
            asks: Asks::default(),
            foreign: false,
            ctes: Vec::new(),
            naming: None,
            literal_mattered: false,
        }
    }

    fn raise(&mut self, access: Access) {
        self.access = self.access.max(access);
    }

    fn leave(&mut self, leaves: Leaves) {
        self.leaves |= leaves;
    }

    fn visit(&mut self, tree: &'t Tree) {
        match tree {
            Tree::Node(node) => self.node(node),
            Tree::List(items) => self.visit_all(items),
            Tree::Text(_) | Tree::Number(_) | Tree::Flag(_) => {}
        }
    }

    fn visit_all(&mut self, trees: &'t [Tree]) {
        for tree in trees {
            self.visit(tree);
        }
    }

    fn visit_field(&mut self, node: &'t Node, field: &str) {
        if let Some(tree) = node.get(field) {
            self.visit(tree);
        }
    }

    fn node(&mut self, node: &'t Node) {
        match node.kind {
            "RangeVar" => self.relation(node),
            "SelectStmt" => self.select(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.change(node),
            "IntoClause" => self.new_table(node),
            "LockingClause" => self.raise(Access::Write),
            "FuncCall" => self.call(node),
            "TypeName" => self.type_name(node),
            "TypeCast" => self.cast(node),
            "AExpr" => self.expression(node),
            "BoolExpr" => self.logic(node),
            "SubLink" | "RangeSubselect" => self.subquery(node),
            "ColumnRef" => self.column(node),
            "AConst" => self.constant(node),
            "ParamRef" => self.parameter(node),
            "DefElem" => self.option(node),
            "ExecuteStmt" => {
                // Inside EXPLAIN and CREATE TABLE AS, too.
                self.act = Act::Execute(node.text("name").to_owned());
                self.raise(Access::Write);
                self.leave(Leaves::UNKNOWN);
                self.fields(node);
            }
            // Names of columns and of the result; never of a schema.
            "Alias" => {}
            _ => self.fields(node),
        }
    }

    /// What is done with a node of no special meaning.
    fn fields(&mut self, node: &'t Node) {
        for (field, tree) in &node.fields {
            match tree.words() {
                Some(words) => self.word_list(node.kind, field, &words),
                None => self.visit(tree),
            }
        }
    }

    fn select(&mut self, node: &'t Node) {
        let has_from = node.get("from_clause").is_some();
        self.in_scope(node, |walk| {
            for (field, tree) in node.fields.iter().filter(|(field, _)| *field != "with_clause") {
                walk.clause(field, tree, has_from);
            }
        });
    }

    fn change(&mut self, node: &'t Node) {
        self.raise(Access::Write);
        if node.child("relation").is_some_and(|target| target.text("relname") == "pg_settings") {
            // An UPDATE of this view sets whatever its rows say, search_path too.
            let (setting, value) = ("search_path".to_owned(), Value::Unknown);
            self.set_configs.push(Change { setting, value, local: false, local_bound: None });
            self.leave(Leaves::UNKNOWN);
        }
        self.in_scope(node, |walk| {
            for (field, tree) in &node.fields {
                match *field {
                    "with_clause" => {}
                    // The target is a table even where a WITH has the same name.
                    "relation" => {
                        walk.without_ctes(tree);
                        // A rule of `pg_settings` makes UPDATE a SET.
                        if tree.node().is_some_and(is_catalogue) {
                            walk.leave(Leaves::UNKNOWN);
                        }
                    }
                    _ => walk.visit(tree),
                }
            }
        });
    }

    /// Runs `body` with the statement's own WITH in sight.
    fn in_scope(&mut self, node: &'t Node, body: impl FnOnce(&mut Self)) {
        let outer = self.ctes.len();
        if let Some(with) = node.child("with_clause") {
            let ctes = with.list("ctes");
            let recursive = with.flag("recursive");
            let name = |tree: &'t Tree| tree.node().map(|cte| cte.text("ctename"));
            if recursive {
                self.ctes.extend(ctes.iter().filter_map(name));
            }
            for cte in ctes {
                self.visit(cte);
                // One sees those before it, and not itself.
                if !recursive {
                    self.ctes.extend(name(cte));
                }
            }
        }
        body(self);
        self.ctes.truncate(outer);
    }

    fn without_ctes(&mut self, tree: &'t Tree) {
        let ctes = std::mem::take(&mut self.ctes);
        self.visit(tree);
        self.ctes = ctes;
    }

    /// SELECT INTO, CREATE TABLE AS: it makes a table.
    fn new_table(&mut self, node: &'t Node) {
        self.raise(Access::Define);
        let ctes = std::mem::take(&mut self.ctes);
        self.fields(node);
        self.ctes = ctes;
    }

    fn keep(&mut self, keep: Keep) {
        self.leave(Leaves::state(keep));
    }

    fn is_literal_free(&self, tree: &Tree) -> bool {
        let data = ["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"];
        let known = tree.node().is_some_and(|node| match node.kind {
            // Its options are literals that decide what it does.
            "CopyStmt" => node.get("query").is_some(),
            kind => data.contains(&kind),
        });
        known && !self.literal_mattered && !self.asks.catalogue && self.access <= Access::Write
    }

    fn finish(mut self) -> Statement {
        let catalogue = self.conclude();
        self.parameters.sort_unstable();
        self.parameters.dedup();
        Statement {
            access: self.access,
            names: self.names,
            // A sequence, mostly: it is as much as a table.
            unqualified: self.unqualified
                || self.looks_up && (self.access == Access::Write || self.asks_sequence),
            catalogue,
            act: self.act,
            set_configs: self.set_configs,
            leaves: self.leaves,
            frees: self.frees,
            asks_sequence: self.asks_sequence,
            looks_up: self.looks_up,
            parameters: self.parameters,
        }
    }
}

fn is_catalogue(relation: &Node) -> bool {
    match relation.text("schemaname") {
        "" => relations::is_catalogue(relation.text("relname")),
        schema => schema == "pg_catalog",
    }
}

#[cfg(test)]
mod tests;
