//! Where a text goes, why, and what that means for the transaction.

use std::fmt;
use std::sync::Arc;

use crate::directory::Shard;
use crate::router::TENANT_SETTING;
use crate::sql::Keeps;
use crate::tenant::{SchemaName, ShardName};

/// What to do with a text, and why.
#[derive(Debug, Clone)]
pub struct Plan {
    pub shard: Arc<Shard>,
    pub reason: Reason,
    pub firmness: Firmness,
    /// Where else it would be answered as well.
    pub also: Option<Arc<Shard>>,
}

impl Plan {
    /// Whether a transaction that may still move should do so for this; `keeps` is what it would
    /// lose.
    pub fn is_worth_a_move(&self, keeps: Keeps) -> bool {
        self.reason.tenant().is_some() || (self.reason == Reason::Schemas && keeps.is_empty())
    }
}

/// Whether another shard would have done as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmness {
    /// Tenantless reads only: a transaction that has run nothing else may still move.
    Soft,
    /// Names no home, but is more than a read (a function, FETCH, LISTEN): it stays where the
    /// transaction is.
    Loose,
    /// Reads of the catalogue that must be asked there: the transaction may move on afterwards.
    Passing,
    Firm,
}

/// The rule that chose the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A qualifier, or a literal that names an object.
    Named(SchemaName),
    /// `veneer.tenant`.
    Scope(SchemaName),
    /// The first tenant of `search_path`.
    Path(SchemaName),
    /// A shared schema, which lives on home.
    Shared(SchemaName),
    /// Nothing names a tenant.
    Home,
    /// It asks which schemas there are, and home knows all of them.
    Schemas,
    /// It names objects by their numbers, and the shard last answered.
    Affinity(ShardName),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(tenant) => write!(f, "the statement names \"{tenant}\""),
            Self::Scope(tenant) => write!(f, "{TENANT_SETTING} is \"{tenant}\""),
            Self::Path(tenant) => write!(f, "search_path selects \"{tenant}\""),
            Self::Shared(schema) => write!(f, "shared schema \"{schema}\" lives on home"),
            Self::Home => f.write_str("nothing names a tenant"),
            Self::Schemas => f.write_str("home knows every schema"),
            Self::Affinity(shard) => write!(f, "shard \"{shard}\" has given out the OIDs"),
        }
    }
}

impl Reason {
    pub fn tenant(&self) -> Option<&SchemaName> {
        match self {
            Self::Named(tenant) | Self::Scope(tenant) | Self::Path(tenant) => Some(tenant),
            Self::Shared(_) | Self::Home | Self::Schemas | Self::Affinity(_) => None,
        }
    }
}
