//! The line for seats: tenants take turns; inside a tenant first come is first served.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::tenant::SchemaName;

/// Behind everybody, newcomers included.
const LAST: u64 = u64::MAX;

/// Who has a turn: a tenant, or all together who ask for none.
type Party = Option<SchemaName>;

/// So many seats, and who waits for one.
#[derive(Debug)]
pub struct Line {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// 0 while anybody waits.
    free: usize,
    turns: Turns<oneshot::Sender<()>>,
}

/// The right to a backend. Dropping it gives it to the next in line.
#[derive(Debug)]
pub struct Seat {
    line: Arc<Line>,
}

/// Somebody in line.
struct Waiter<'a> {
    line: &'a Arc<Line>,
    party: Party,
    ticket: u64,
    is_seated: bool,
}

impl Line {
    pub fn new(seats: usize) -> Self {
        Self { state: Mutex::new(State { free: seats, turns: Turns::default() }) }
    }

    /// A seat that nobody waits for.
    pub fn free_seat(self: &Arc<Self>) -> Option<Seat> {
        let mut state = self.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Seat { line: Arc::clone(self) })
    }

    /// Waits for a turn. Dropping the future leaves the line.
    pub async fn seat(self: &Arc<Self>, tenant: Option<&SchemaName>) -> Seat {
        let (call, called) = oneshot::channel();
        let party = tenant.cloned();
        let mut waiter = {
            let mut state = self.lock();
            if let Some(free) = state.free.checked_sub(1) {
                state.free = free;
                return Seat { line: Arc::clone(self) };
            }
            let ticket = state.turns.join(party.clone(), call);
            Waiter { line: self, party, ticket, is_seated: false }
        };
        called.await.expect("nobody leaves the turns without a call, but the waiter itself");
        waiter.is_seated = true;
        Seat { line: Arc::clone(self) }
    }

    /// Somebody has no use for a seat any more.
    fn give(&self) {
        let mut state = self.lock();
        match state.turns.next() {
            Some(call) => {
                drop(state);
                // A waiter that has just left gives the seat on itself.
                let _ = call.send(());
            }
            None => state.free += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.line.give();
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.is_seated {
            return;
        }
        let left = self.line.lock().turns.leave(&self.party, self.ticket);
        if left.is_none() {
            // It was called, and did not hear it.
            self.line.give();
        }
    }
}

/// Whose turn is next. A newcomer goes behind all who wait, but for the party that has had the
/// last turn: between two turns of one, every other that waits has its own.
#[derive(Debug)]
struct Turns<W> {
    parties: HashMap<Party, Queue<W>, foldhash::fast::RandomState>,
    /// The parties by their places.
    order: BTreeMap<u64, Party>,
    /// Counts places and tickets.
    count: u64,
}

/// The waiters of one party, by ticket. Never empty.
#[derive(Debug)]
struct Queue<W> {
    place: u64,
    waiters: BTreeMap<u64, W>,
}

impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { parties: HashMap::default(), order: BTreeMap::new(), count: 0 }
    }
}

impl<W> Turns<W> {
    /// Goes to the end of the party's queue.
    fn join(&mut self, party: Party, waiter: W) -> u64 {
        self.count += 1;
        let queue = self.parties.entry(party).or_insert_with_key(|party| {
            self.order.insert(self.count, party.clone());
            Queue { place: self.count, waiters: BTreeMap::new() }
        });
        queue.waiters.insert(self.count, waiter);
        self.count
    }

    /// `None` when the ticket is not in line any more.
    fn leave(&mut self, party: &Party, ticket: u64) -> Option<W> {
        let queue = self.parties.get_mut(party)?;
        let waiter = queue.waiters.remove(&ticket)?;
        if queue.waiters.is_empty() {
            self.order.remove(&queue.place);
            self.parties.remove(party);
        }
        Some(waiter)
    }

    /// Takes the one whose turn it is.
    fn next(&mut self) -> Option<W> {
        let (_, party) = self.order.pop_first()?;
        if let Some(last) = self.order.remove(&LAST) {
            // Another has the last turn now.
            self.count += 1;
            self.parties.get_mut(&last)?.place = self.count;
            self.order.insert(self.count, last);
        }
        let queue = self.parties.get_mut(&party)?;
        let (_, waiter) = queue.waiters.pop_first()?;
        if queue.waiters.is_empty() {
            self.parties.remove(&party);
        } else {
            queue.place = LAST;
            self.order.insert(LAST, party);
        }
        Some(waiter)
    }
}
