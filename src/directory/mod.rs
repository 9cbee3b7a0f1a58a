//! Who lives where: the tenants' homes, as a snapshot that is replaced whole.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::tenant::{SchemaName, ShardName, Standing};

/// Where a shard listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub database: String,
}

/// A PostgreSQL that holds tenants.
#[derive(Debug, PartialEq, Eq)]
pub struct Shard {
    pub name: ShardName,
    pub address: Address,
}

/// Where one tenant lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residence {
    pub tenant: SchemaName,
    pub shard: Arc<Shard>,
    pub standing: Standing,
}

/// The directory as it was at one instant.
#[derive(Debug)]
pub struct Snapshot {
    home: Arc<Shard>,
    shards: HashMap<ShardName, Arc<Shard>>,
    tenants: HashMap<SchemaName, Residence, foldhash::fast::RandomState>,
}

impl Snapshot {
    /// The shard that owns what belongs to no tenant.
    pub fn home(&self) -> &Arc<Shard> {
        &self.home
    }

    pub fn shard(&self, name: &str) -> Option<&Arc<Shard>> {
        self.shards.get(name)
    }

    pub fn residence(&self, schema: &str) -> Option<&Residence> {
        self.tenants.get(schema)
    }
}

/// Readers take the whole map as it was at one instant; writers swap in a new one.
#[derive(Clone, Debug)]
pub struct Directory {
    current: Arc<ArcSwap<Snapshot>>,
}

impl Directory {
    pub fn new(first: Snapshot) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)) }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub fn replace(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
    }
}
