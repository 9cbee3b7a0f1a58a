//! What a client must be told of each of its rounds when their backend is gone. Pure.

use super::{Ledger, Owed, Promise, To};
use crate::sql::{Access, Act, Statement};

/// What the loss means for a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Whatever it did is rolled back.
    Undone,
    /// It may have been committed.
    Unknown,
}

/// One round of the client's, or the beginning of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// `None`: it has been told of a failure already.
    pub failed: Option<Risk>,
    /// It has an end, where the client waits for `ReadyForQuery`.
    pub ends: bool,
    /// A transaction is open, and failed, behind it.
    pub open: bool,
}

/// What becomes of all that is owed.
#[derive(Debug, Default)]
pub struct Wreck {
    pub rounds: Vec<Round>,
    pub broken: Vec<Promise>,
}

/// How things stood when the backend was lost.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The client is in a transaction block.
    pub open: bool,
    /// An error has been told in the round that is under way.
    pub failed: bool,
    /// What has been done since the last `ReadyForQuery` may be committed with the next.
    pub wrote: bool,
}

/// A round in the making.
struct Draft {
    asked: bool,
    told: bool,
    wrote: bool,
    open: bool,
    /// It begins a transaction itself, so nothing is committed before its COMMIT.
    begins: bool,
    commits: bool,
}

impl Ledger {
    pub fn wreck(&self, standing: Standing) -> Wreck {
        let mut wreck = Wreck::default();
        let begun = |open| Draft {
            asked: false,
            told: false,
            wrote: false,
            open,
            begins: false,
            commits: false,
        };
        let first = Draft { told: standing.failed, wrote: standing.wrote, ..begun(standing.open) };
        let mut draft = first;
        for owed in &self.owed {
            let ends = match owed {
                Owed::Query { to: To::Client, text, done } => {
                    draft.told = false;
                    let statements = text.as_ref().map_or(&[][..], |text| &text.statements);
                    let (ran, rest) = statements.split_at((*done).min(statements.len()));
                    ran.iter().for_each(|statement| draft.run(statement));
                    draft.wrote |= text.is_none();
                    rest.iter().for_each(|statement| draft.ask(statement));
                    true
                }
                Owed::FunctionCall => {
                    (draft.wrote, draft.told) = (true, false);
                    true
                }
                Owed::Sync { to: To::Client } => true,
                Owed::Execute { to: To::Client, text } => {
                    let statements = text.as_ref().map_or(&[][..], |text| &text.statements);
                    statements.iter().for_each(|statement| draft.ask(statement));
                    draft.asked = true;
                    false
                }
                Owed::Parse { to: To::Client, promise } => {
                    wreck.broken.push(promise.clone());
                    draft.asked = true;
                    false
                }
                Owed::Bind { to: To::Client }
                | Owed::Close { to: To::Client, .. }
                | Owed::DescribeStatement
                | Owed::DescribePortal
                | Owed::Poison(_) => {
                    draft.asked = true;
                    false
                }
                Owed::Query { .. }
                | Owed::Sync { .. }
                | Owed::Execute { .. }
                | Owed::Parse { .. }
                | Owed::Bind { .. }
                | Owed::Close { .. }
                | Owed::Ours(_)
                | Owed::Done(..)
                | Owed::CopyEnd => continue,
            };
            if ends {
                let round = draft.end(true);
                draft = begun(round.open);
                wreck.rounds.push(round);
            }
        }
        if draft.asked {
            wreck.rounds.push(draft.end(false));
        }
        wreck
    }
}

impl Draft {
    /// A statement that was done before the loss.
    fn run(&mut self, statement: &Statement) {
        match &statement.act {
            Act::Begin { .. } => self.open = true,
            Act::Commit { chain } | Act::Rollback { chain } => self.open = *chain,
            _ => {}
        }
        self.wrote |= Access::Write <= statement.access;
    }

    /// A statement of which nobody knows whether it was done.
    fn ask(&mut self, statement: &Statement) {
        self.commits |= matches!(statement.act, Act::Commit { .. });
        match &statement.act {
            Act::Begin { .. } => self.begins = true,
            Act::Commit { chain } | Act::Rollback { chain } => {
                (self.open, self.begins) = (*chain, false);
            }
            _ => {}
        }
        self.wrote |= Access::Write <= statement.access && !self.begins;
    }

    fn end(&self, ends: bool) -> Round {
        let is_unknown = self.commits || self.wrote && !self.open;
        let risk = if is_unknown { Risk::Unknown } else { Risk::Undone };
        Round { failed: (!self.told).then_some(risk), ends, open: self.open }
    }
}
