//! Inputs that must be survived: the process lives, others go on, no backend is lost.

mod deaths;
mod drops;
mod ground;
mod leaving;
mod login;
mod races;
mod sql;
mod state;
mod stray;
mod wire;

use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Wire;

/// A veneer with one backend for each shard, and a client that must not notice anything.
struct Victim {
    veneer: Veneer,
    user: &'static str,
    neighbour: Wire,
}

impl Victim {
    async fn new() -> Self {
        Self::of(Wanted::default().pool_size(1)).await
    }

    async fn of(wanted: Wanted) -> Self {
        let user = wanted.user.unwrap_or("app");
        let veneer = wanted.start().await;
        let neighbour = veneer.door(user).with("search_path", "initech").open().await;
        let mut victim = Self { veneer, user, neighbour };
        victim.check_unhurt("at the start").await;
        victim
    }

    /// The one backend of each shard still serves, the neighbour's session and a new one.
    async fn check_unhurt(&mut self, after: &str) {
        self.veneer.assert_alive();
        let told = self.neighbour.query("SELECT current_schema(), count(*) FROM authors").await;
        assert!(told.contains("DataRow initech | 7"), "{after}: {told}");
        let mut fresh = self.veneer.door(self.user).open().await;
        for tenant in ["bluth_co", "cyberdyne", "initech"] {
            let told = fresh.query(&format!("SELECT count(*) FROM {tenant}.authors")).await;
            assert!(told.contains("DataRow 7"), "{after}: {tenant}: {told}");
        }
    }

    /// A logged-in client sends these bytes; all that it is told, up to the end, is this.
    async fn check_ended(&mut self, what: &str, bytes: &[u8], expected: &str) {
        let mut wire = self.veneer.door("app").with("search_path", "cyberdyne").open().await;
        wire.send(bytes).await;
        let told = wire.read_on().await;
        assert_eq!(told, format!("{expected}closed\n"), "{what}");
        self.check_unhurt(what).await;
    }
}
