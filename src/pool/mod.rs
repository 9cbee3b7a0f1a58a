//! Backends on loan: bounded for each (shard, role), tenants in turn when they are short.

pub mod line;
mod slot;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bb8::{PooledConnection, QueueStrategy};
use dashmap::DashMap;
use serde::Deserialize;
use tokio::time::timeout;

use crate::auth::users::BackendLogin;
use crate::backend::{Backend, ConnectError};
use crate::directory::{Address, Shard};
use crate::pool::line::{Line, Seat};
use crate::pool::slot::{CHECK_WAIT_MAX, Manager, Slot, longest_life};
use crate::tenant::{RoleName, SchemaName, ShardName};

/// bb8 panics at a limit of 0.
const TIME_MIN: Duration = Duration::from_nanos(1);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Backends of one role on one shard, at most.
    pub size_max: NonZeroUsize,
    /// How long a request waits in line before it is refused.
    pub wait_max: Duration,
    /// How long a new backend may take to connect and log in.
    pub connect_max: Duration,
    /// A backend that nobody used for so long is closed.
    pub idle_max: Duration,
    /// A backend that has lived about so long is closed when it comes home.
    pub life_max: Duration,
    /// A backend that nobody used for so long is asked whether it is there before it is lent.
    pub check_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size_max: NonZeroUsize::new(20).expect("20 is not 0"),
            wait_max: Duration::from_secs(10),
            connect_max: Duration::from_secs(5),
            idle_max: Duration::from_secs(600),
            life_max: Duration::from_secs(3600),
            check_after: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("no free connection to shard \"{shard}\" within {waited_ms} ms")]
    Exhausted { shard: ShardName, waited_ms: u128 },
    #[error("cannot reach shard \"{shard}\"")]
    Unreachable { shard: ShardName, source: ConnectError },
}

/// Where a backend belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: Address,
    role: RoleName,
}

/// Every pool, made when it is first asked.
#[derive(Debug)]
pub struct Pools {
    settings: Settings,
    pools: DashMap<Key, Arc<Pool>, foldhash::fast::RandomState>,
}

/// The backends of one role on one shard.
#[derive(Debug)]
pub struct Pool {
    shard: ShardName,
    wait_max: Duration,
    /// To connect, or to check what was idle for long.
    slot_wait_max: Duration,
    /// bb8 serves its waiters in no order; this line does.
    line: Arc<Line>,
    slots: bb8::Pool<Manager>,
}

impl Pools {
    pub fn new(settings: Settings) -> Self {
        Self { settings, pools: DashMap::default() }
    }

    pub fn pool(&self, shard: &Shard, login: &BackendLogin) -> Arc<Pool> {
        let key = Key { address: shard.address.clone(), role: login.role.clone() };
        if let Some(pool) = self.pools.get(&key) {
            return pool.clone();
        }
        let make = || Arc::new(Pool::new(shard, login, &self.settings));
        self.pools.entry(key).or_insert_with(make).clone()
    }
}

impl Pool {
    fn new(shard: &Shard, login: &BackendLogin, settings: &Settings) -> Self {
        let manager = Manager {
            address: shard.address.clone(),
            login: login.clone(),
            connect_max: settings.connect_max,
            life_max: settings.life_max,
            check_after: settings.check_after,
            lost: Mutex::new(None),
        };
        let size = u32::try_from(settings.size_max.get()).unwrap_or(u32::MAX);
        let slot_wait_max = settings.connect_max + CHECK_WAIT_MAX + Duration::from_secs(1);
        let slots = bb8::Pool::builder()
            .max_size(size)
            .connection_timeout(slot_wait_max)
            .idle_timeout(settings.idle_max.max(TIME_MIN))
            .max_lifetime(longest_life(settings.life_max).max(TIME_MIN))
            .queue_strategy(QueueStrategy::Lifo)
            .test_on_check_out(true)
            .build_unchecked(manager);
        Self {
            shard: shard.name.clone(),
            wait_max: settings.wait_max,
            slot_wait_max,
            line: Arc::new(Line::new(settings.size_max.get())),
            slots,
        }
    }

    /// Waits in line for a backend. Tenants take turns, and all work without one is a tenant's.
    pub async fn lease(&self, tenant: Option<&SchemaName>) -> Result<Lease, PoolError> {
        let exhausted = |waited: Duration| PoolError::Exhausted {
            shard: self.shard.clone(),
            waited_ms: waited.as_millis(),
        };
        let (seat, waited) = match self.line.free_seat() {
            Some(seat) => (seat, Duration::ZERO),
            None => {
                let since = Instant::now();
                match timeout(self.wait_max, self.line.seat(tenant)).await {
                    Ok(seat) => (seat, since.elapsed()),
                    Err(_elapsed) => return Err(exhausted(self.wait_max)),
                }
            }
        };
        let slot = self.slots.get_owned().await;
        let mut slot = slot.map_err(|_| exhausted(waited + self.slot_wait_max))?;
        match &mut *slot {
            Slot::Live(live) => live.clean = false,
            Slot::Dead { error, .. } => {
                let source = error.take().expect("a dead slot is lent once");
                return Err(PoolError::Unreachable { shard: self.shard.clone(), source });
            }
        }
        Ok(Lease { slot, _seat: seat })
    }
}

/// A backend on loan. Dropping it closes the backend; only [`Lease::give_back`] sends it home.
#[derive(Debug)]
pub struct Lease {
    slot: PooledConnection<'static, Manager>,
    /// Frees the seat for the next in line, after the backend is home.
    _seat: Seat,
}

impl Lease {
    pub fn backend(&mut self) -> &mut Backend {
        match &mut *self.slot {
            Slot::Live(live) => &mut live.backend,
            Slot::Dead { .. } => unreachable!("a lease is made of a live slot"),
        }
    }

    /// Sends the backend home. The caller has proof that its session is idle and owes nothing.
    pub fn give_back(mut self) {
        if let Slot::Live(live) = &mut *self.slot {
            live.come_home();
        }
    }
}
