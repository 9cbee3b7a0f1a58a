//! What bb8 keeps: backends, and failures to get one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bb8::ManageConnection;
use tokio::time::timeout;

use crate::auth::users::BackendLogin;
use crate::backend::{Backend, ConnectError};
use crate::directory::Address;
use crate::protocol::ask;
use crate::protocol::frame::reply;

/// How long a failed connection speaks for its shard.
const FAILURE_LIFE_MAX: Duration = Duration::from_secs(1);

/// How long a backend may take to say that it is there.
pub const CHECK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Lives differ by so much, in per mille, both ways.
const JITTER_PER_MILLE: u32 = 100;

/// bb8 tells no caller why a connection could not be made, so a failure is lent like a backend.
#[derive(Debug)]
pub enum Slot {
    Live(Live),
    Dead { error: Option<ConnectError>, since: Instant },
}

#[derive(Debug)]
pub struct Live {
    pub backend: Box<Backend>,
    /// It is at home and owes nothing. bb8 closes one that comes home otherwise.
    pub clean: bool,
    born: Instant,
    /// Its own, so that those who were born together do not go together.
    life: Duration,
    home_since: Instant,
}

impl Live {
    fn new(backend: Backend, life_max: Duration) -> Self {
        // Without randomness there is no harm in the same life for all.
        let random = getrandom::u32().unwrap_or(JITTER_PER_MILLE);
        let (born, life) = (Instant::now(), life(life_max, random));
        Self { backend: Box::new(backend), clean: true, born, life, home_since: born }
    }

    pub fn come_home(&mut self) {
        let wire = &mut self.backend.wire;
        wire.give_back_inbox();
        let owes_nothing = wire.inbox.is_empty() && wire.outbox.is_empty();
        self.home_since = Instant::now();
        self.clean = owes_nothing && self.home_since.duration_since(self.born) < self.life;
    }

    /// A round trip that leaves no trace: also a connection that has gone without a word is found.
    async fn answers(&mut self) -> bool {
        // Whoever asked may leave in the middle.
        self.clean = false;
        let wire = &mut self.backend.wire;
        ask::sync(&mut wire.outbox);
        let answer = timeout(CHECK_WAIT_MAX, wire.next_frame(1)).await;
        self.clean = matches!(answer, Ok(Ok((reply::READY_FOR_QUERY, state))) if *state == *b"I")
            && wire.inbox.is_empty();
        self.clean
    }
}

/// From 90 % to 110 % of the limit.
fn life(life_max: Duration, random: u32) -> Duration {
    let per_mille = 1000 - JITTER_PER_MILLE + random % (2 * JITTER_PER_MILLE + 1);
    (life_max / 1000).saturating_mul(per_mille)
}

/// No life is longer.
pub fn longest_life(life_max: Duration) -> Duration {
    life(life_max, 2 * JITTER_PER_MILLE)
}

#[derive(Debug)]
pub struct Manager {
    pub address: Address,
    pub login: BackendLogin,
    pub connect_max: Duration,
    pub life_max: Duration,
    pub check_after: Duration,
    /// When a backend was last found to have gone without a word.
    pub lost: Mutex<Option<Instant>>,
}

impl Manager {
    /// Whether a backend may be lent; one that was idle for long is asked.
    async fn is_fit(&self, live: &mut Live) -> bool {
        if !live.backend.is_quiet() {
            return false;
        }
        if live.home_since.elapsed() < self.check_after {
            return true;
        }
        // What has cost one its connection has probably cost all their connections: to ask each
        // would take as many times the limit.
        let lost = *self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_some_and(|lost| live.home_since <= lost) {
            return false;
        }
        let answers = live.answers().await;
        if !answers {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            *lost = Some(Instant::now());
            tracing::info!(shard = %self.address.host, port = self.address.port, "an idle backend was lost");
        }
        answers
    }
}

/// The backend has ended, or has spoken while nobody asked.
#[derive(Debug)]
pub struct Stale;

impl ManageConnection for Manager {
    type Connection = Slot;
    type Error = Stale;

    async fn connect(&self) -> Result<Slot, Stale> {
        Ok(match Backend::connect(&self.address, &self.login, self.connect_max).await {
            Ok(backend) => Slot::Live(Live::new(backend, self.life_max)),
            Err(error) => Slot::Dead { error: Some(error), since: Instant::now() },
        })
    }

    async fn is_valid(&self, slot: &mut Slot) -> Result<(), Stale> {
        let is_fit = match slot {
            Slot::Live(live) => self.is_fit(live).await,
            // A connection that failed is handed on once, to whoever waits for it; nobody hears of
            // one that nobody waited for.
            Slot::Dead { error, since } => error.is_some() && since.elapsed() < FAILURE_LIFE_MAX,
        };
        if is_fit { Ok(()) } else { Err(Stale) }
    }

    fn has_broken(&self, slot: &mut Slot) -> bool {
        match slot {
            Slot::Live(live) => !live.clean,
            Slot::Dead { error, .. } => error.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_differ_by_a_tenth() {
        let hour = Duration::from_secs(3600);
        for (random, expected_s) in [(0, 3240), (100, 3600), (200, 3960), (201, 3240)] {
            assert_eq!(life(hour, random), Duration::from_secs(expected_s), "{random}");
        }
        assert_eq!(longest_life(hour), Duration::from_secs(3960));
        assert_eq!(longest_life(Duration::MAX), Duration::MAX);
    }
}
