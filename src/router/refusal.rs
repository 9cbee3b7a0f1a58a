//! Why a text is not sent anywhere, as facts. `session/report.rs` words them for the client.

use crate::tenant::{SchemaName, ShardName, Standing};

/// Something that a text needs, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub what: String,
    pub shard: ShardName,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("schema \"{schema}\" does not exist")]
    UnknownTenant { schema: String, nearest: Option<SchemaName> },
    #[error("no tenant is selected")]
    NoTenant,
    #[error("the statement needs more than one shard")]
    SeveralShards(Vec<Place>),
    #[error("the transaction runs on shard \"{bound}\" and cannot go on on shard \"{wanted}\"")]
    SecondShard { bound: ShardName, wanted: ShardName, what: Option<SchemaName> },
    #[error("permission denied for schema {tenant}")]
    NotYours { tenant: SchemaName, user: String },
    #[error("tenant \"{0}\" is read-only")]
    ReadOnly(SchemaName),
    #[error("tenant \"{tenant}\" is not accepting queries: it is {standing}")]
    Unavailable { tenant: SchemaName, standing: Standing },
    #[error("CREATE, ALTER and DROP SCHEMA are not supported here")]
    Lifecycle,
    #[error("{0} concerns every shard")]
    SharedByAll(&'static str),
    #[error("two-phase commit is not supported")]
    TwoPhase,
    #[error("cannot change \"{setting}\"")]
    Setting { setting: String, why: &'static str },
}
