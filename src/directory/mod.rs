//! Who lives where: the tenants' homes, as a snapshot that is replaced whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::tenant::{SchemaName, ShardName, Standing};

pub mod file;
mod nearest;
pub mod watch;

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

/// What contradicts itself in a directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("home is `{0}`, which is no shard")]
    HomeUnknown(ShardName),
    #[error("shard `{0}` is listed twice")]
    ShardTwice(ShardName),
    #[error("tenant `{0}` is listed twice")]
    TenantTwice(SchemaName),
    #[error("tenant `{tenant}` lives on `{shard}`, which is no shard")]
    ShardUnknown { tenant: SchemaName, shard: ShardName },
    #[error(
        "`{0}` cannot be a tenant: PostgreSQL and veneer keep `pg_*`, `public` and `information_schema`"
    )]
    Reserved(SchemaName),
}

/// Whether a schema's name is PostgreSQL's or everybody's, and so nobody's tenant.
pub fn is_reserved(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "public" || schema == "information_schema"
}

/// The directory as it was at one instant.
#[derive(Debug)]
pub struct Snapshot {
    revision: u64,
    /// The hash of the text that it was read from: the same text says the same.
    text: Option<u64>,
    home: Arc<Shard>,
    shards: BTreeMap<ShardName, Arc<Shard>>,
    tenants: HashMap<SchemaName, Residence, foldhash::fast::RandomState>,
}

impl Snapshot {
    /// Checks the whole; every contradiction is told, not the first.
    pub fn new(
        home: ShardName,
        shards: impl IntoIterator<Item = Shard>,
        tenants: impl IntoIterator<Item = (SchemaName, ShardName, Standing)>,
    ) -> Result<Self, Vec<Contradiction>> {
        let mut wrong = Vec::new();
        let mut by_name = BTreeMap::new();
        for shard in shards {
            let name = shard.name.clone();
            if by_name.insert(name.clone(), Arc::new(shard)).is_some() {
                wrong.push(Contradiction::ShardTwice(name));
            }
        }
        let tenants = tenants.into_iter();
        let mut residences =
            HashMap::with_capacity_and_hasher(tenants.size_hint().0, Default::default());
        for (tenant, shard, standing) in tenants {
            if is_reserved(tenant.as_str()) {
                wrong.push(Contradiction::Reserved(tenant));
                continue;
            }
            let Some(shard) = by_name.get(&shard).cloned() else {
                wrong.push(Contradiction::ShardUnknown { tenant, shard });
                continue;
            };
            let residence = Residence { tenant: tenant.clone(), shard, standing };
            if residences.insert(tenant.clone(), residence).is_some() {
                wrong.push(Contradiction::TenantTwice(tenant));
            }
        }
        match by_name.get(&home).cloned() {
            None => {
                wrong.push(Contradiction::HomeUnknown(home));
                Err(wrong)
            }
            Some(_) if !wrong.is_empty() => Err(wrong),
            Some(home) => {
                Ok(Self { revision: 0, text: None, home, shards: by_name, tenants: residences })
            }
        }
    }

    /// Rises with every replacement; 0 for a snapshot that no directory has held.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The shard that owns what belongs to no tenant.
    pub fn home(&self) -> &Arc<Shard> {
        &self.home
    }

    pub fn shard(&self, name: &str) -> Option<&Arc<Shard>> {
        self.shards.get(name)
    }

    /// The shards, by name.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &Arc<Shard>> {
        self.shards.values()
    }

    pub fn residence(&self, schema: &str) -> Option<&Residence> {
        self.tenants.get(schema)
    }

    /// The tenants, in no order.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = &Residence> {
        self.tenants.values()
    }

    /// The tenant that a mistyped name most likely means.
    pub fn nearest(&self, name: &str) -> Option<&SchemaName> {
        nearest::nearest(name, self.tenants.keys())
    }
}

/// Readers take the whole map as it was at one instant; writers swap in a new one.
#[derive(Clone, Debug)]
pub struct Directory {
    current: Arc<ArcSwap<Snapshot>>,
    revisions: Arc<AtomicU64>,
}

impl Directory {
    pub fn new(mut first: Snapshot) -> Self {
        first.revision = 1;
        let revisions = Arc::new(AtomicU64::new(first.revision));
        Self { current: Arc::new(ArcSwap::from_pointee(first)), revisions }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    pub fn replace(&self, mut next: Snapshot) {
        next.revision = self.revisions.fetch_add(1, Ordering::Relaxed) + 1;
        self.current.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests;
