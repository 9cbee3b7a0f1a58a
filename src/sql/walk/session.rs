//! SET in all its forms, SHOW, and what begins and ends transactions.

use pg_query::protobuf::{TransactionStmtKind as T, VariableSetKind as V};

use super::Walk;
use super::calls::text_of;
use crate::sql::tree::{Node, Tree};
use crate::sql::{Act, Change, Value, path};

/// Settings of the transaction itself: setting one is SET TRANSACTION.
const OF_TRANSACTION: [&str; 3] =
    ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];

impl<'t> Walk<'t> {
    pub(super) fn set(&mut self, node: &'t Node) {
        let kind = node.number("kind");
        if kind == V::VarResetAll as i64 {
            self.act = Act::ResetAll;
            return;
        }
        if kind == V::VarSetMulti as i64 {
            self.act = self.set_several(node);
            return;
        }
        let setting = node.text("name").to_ascii_lowercase();
        if OF_TRANSACTION.contains(&setting.as_str()) {
            let strict = node.list("args").first().and_then(text_of).is_some_and(is_strict);
            self.act = Act::SetTransaction { strict };
            return;
        }
        let value = match kind {
            k if k == V::VarSetValue as i64 => self.value(&setting, node.list("args")),
            _ => Value::Default,
        };
        self.act =
            Act::Set(Change { setting, value, local: node.flag("is_local"), local_bound: None });
    }

    /// The new value, as `set_config` would take it.
    fn value(&self, setting: &str, arguments: &[Tree]) -> Value {
        let words: Option<Vec<String>> = arguments.iter().map(scalar).collect();
        match words {
            Some(words) if setting == "search_path" => {
                // PostgreSQL quotes names, but never numbers.
                let quote = |(argument, word): (&Tree, &String)| {
                    if is_number(argument) { word.clone() } else { path::quote(word) }
                };
                let items: Vec<_> = arguments.iter().zip(&words).map(quote).collect();
                Value::Text(items.join(", "))
            }
            Some(mut words) if words.len() == 1 && !is_quoted_list(setting) => {
                words.pop().map_or(Value::Unknown, Value::Text)
            }
            Some(_) | None => Value::Statement(self.own_text.to_owned()),
        }
    }

    /// SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION ….
    fn set_several(&self, node: &Node) -> Act {
        let modes = node.list("args");
        if node.text("name") != "SESSION CHARACTERISTICS" {
            // A snapshot is only taken over by strict transactions.
            let strict = node.text("name") == "TRANSACTION SNAPSHOT" || strict(modes);
            return Act::SetTransaction { strict };
        }
        let first = modes.first().and_then(Tree::node);
        let setting = first.map_or("", |mode| mode.text("defname"));
        let value = match (modes, first.and_then(|mode| mode.get("arg"))) {
            ([_], Some(argument)) => match scalar(argument) {
                Some(word) if setting == "transaction_isolation" => Value::Text(word),
                Some(word) => Value::Text(if word == "0" { "off" } else { "on" }.to_owned()),
                None => Value::Unknown,
            },
            _ => Value::Statement(self.own_text.to_owned()),
        };
        Act::Set(Change {
            setting: format!("default_{setting}"),
            value,
            local: false,
            local_bound: None,
        })
    }

    pub(super) fn transaction(&mut self, node: &'t Node) {
        let chain = node.flag("chain");
        let savepoint = || node.text("savepoint_name").to_owned();
        self.act = match T::try_from(i32::try_from(node.number("kind")).unwrap_or(0)) {
            Ok(T::TransStmtBegin | T::TransStmtStart) => {
                Act::Begin { strict: strict(node.list("options")) }
            }
            Ok(T::TransStmtCommit) => Act::Commit { chain },
            Ok(T::TransStmtRollback) => Act::Rollback { chain },
            Ok(T::TransStmtSavepoint) => Act::Savepoint(savepoint()),
            Ok(T::TransStmtRelease) => Act::Release(savepoint()),
            Ok(T::TransStmtRollbackTo) => Act::RollbackTo(savepoint()),
            Ok(T::TransStmtPrepare | T::TransStmtCommitPrepared | T::TransStmtRollbackPrepared) => {
                Act::TwoPhase
            }
            Ok(T::Undefined) | Err(_) => Act::None,
        };
    }
}

fn is_strict(level: &str) -> bool {
    level.eq_ignore_ascii_case("repeatable read") || level.eq_ignore_ascii_case("serializable")
}

fn strict(modes: &[Tree]) -> bool {
    modes.iter().filter_map(Tree::node).any(|mode| {
        mode.text("defname") == "transaction_isolation"
            && mode.get("arg").and_then(text_of).is_some_and(is_strict)
    })
}

/// A constant in the words that SET would store.
fn scalar(tree: &Tree) -> Option<String> {
    // An interval is a cast, and has no plain spelling.
    let node = tree.node().filter(|node| node.kind == "AConst")?;
    let value = node.child("val")?;
    Some(match value.kind {
        "Integer" => value.number("ival").to_string(),
        "Float" => value.text("fval").to_owned(),
        "Boolean" => if value.flag("boolval") { "true" } else { "false" }.to_owned(),
        "String" => value.text("sval").to_owned(),
        _ => return None,
    })
}

fn is_number(tree: &Tree) -> bool {
    let value = tree.node().and_then(|node| node.child("val"));
    value.is_some_and(|value| matches!(value.kind, "Integer" | "Float"))
}

/// Lists whose items are quoted one by one, as in `search_path`.
fn is_quoted_list(setting: &str) -> bool {
    matches!(
        setting,
        "temp_tablespaces"
            | "local_preload_libraries"
            | "session_preload_libraries"
            | "shared_preload_libraries"
            | "unix_socket_directories"
    )
}
