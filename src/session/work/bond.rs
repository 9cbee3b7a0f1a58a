//! What holds a transaction to its shard, and what would be said again on another.

use crate::sql::{Act, Statement, Text, Value};

/// What a transaction that may still move can have said; after that it stays.
pub const PREFIX_TEXTS_MAX: usize = 100;

/// Whether the transaction may still move to another shard.
#[derive(Debug)]
pub enum Bond {
    /// It has run tenantless reads only, and can be begun again elsewhere.
    Soft(Prefix),
    Firm,
}

/// What began a transaction and can be said again on another shard: BEGIN, SET LOCAL, SAVEPOINT.
#[derive(Debug, Clone, Default)]
pub struct Prefix {
    pub texts: Vec<String>,
    /// REPEATABLE READ or stricter: its first statement takes the snapshot for good.
    pub strict: bool,
}

impl Bond {
    /// Keeps what a soft transaction would have to say again on another shard.
    pub fn remember(&mut self, text: &Text, sql: impl FnOnce() -> String) {
        if let Self::Soft(prefix) = self
            && text.statements.iter().any(|s| s.act != Act::None || !s.set_configs.is_empty())
        {
            // A RESET would be said again where the client's start values are not in force.
            let stays = |statement: &Statement| resets(statement) || is_of_its_backend(statement);
            if PREFIX_TEXTS_MAX <= prefix.texts.len() || text.statements.iter().any(stays) {
                *self = Self::Firm;
                return;
            }
            prefix.strict |= text.statements.iter().any(|statement| {
                matches!(
                    statement.act,
                    Act::Begin { strict: true } | Act::SetTransaction { strict: true }
                )
            });
            prefix.texts.push(sql());
        }
    }
}

/// What it leaves, or asks for, is on one backend: it cannot be said again on another.
fn is_of_its_backend(statement: &Statement) -> bool {
    let by_name = matches!(
        statement.act,
        Act::Prepare(_)
            | Act::Execute(_)
            | Act::Deallocate(_)
            | Act::DiscardAll
            | Act::Hold(_)
            | Act::Cursor(_)
    );
    by_name || !statement.leaves.keeps.is_empty() || statement.frees.some
}

fn resets(statement: &Statement) -> bool {
    let mut configs = statement.set_configs.iter();
    match &statement.act {
        Act::Set(change) => change.value == Value::Default,
        Act::ResetAll => true,
        _ => configs.any(|change| change.value == Value::Default),
    }
}
