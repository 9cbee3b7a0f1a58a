//! From a client's cancel key to the backend that works for it now.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tracing::debug;

use crate::backend::Target;
use crate::protocol::startup::CancelKey;

/// What a session's cancel key leads to.
#[derive(Debug, Default)]
pub struct Reach {
    state: Mutex<State>,
    /// The aim has changed while somebody waited for that.
    settled: Notify,
    /// No cancel is under way any more.
    ended: Notify,
    /// Heard by a session that stands in line.
    interrupt: Notify,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    aim: Aim,
    /// A cancel is on its way to the shard. The backend is not handed on before its end.
    under_way: bool,
    /// Those who aim anew, once it has ended: no other cancel goes before them.
    aiming: usize,
    /// Cancels that wait: for those, or until what they must not hit has been answered.
    waiting: usize,
}

/// What a cancel may stop.
#[derive(Debug, Default)]
pub enum Aim {
    #[default]
    Nothing,
    /// The session stands in line for a backend.
    InLine,
    /// The backend is told what veneer has to say to it; the client's own request stands behind.
    Soon,
    At(Arc<Target>),
}

impl Reach {
    /// Aims anew, once no cancel is under way. Every lease does this: without a cancel it is one
    /// short lock, and nobody is woken.
    pub async fn set(&self, aim: Aim) {
        let mut turn = None;
        loop {
            let mut ended = pin!(self.ended.notified());
            {
                let mut state = self.lock();
                if !state.under_way {
                    state.aim = aim;
                    if 0 < state.waiting {
                        self.settled.notify_waiters();
                    }
                    return;
                }
                // Heard from here on, so that it is not missed between the two.
                ended.as_mut().enable();
                state.aiming += usize::from(turn.is_none());
            }
            turn.get_or_insert(Turn(self));
            ended.await;
        }
    }

    /// Waits for a cancel, in line.
    pub async fn interrupted(&self) {
        self.interrupt.notified().await;
    }

    /// Stops what the session runs, once that is its client's own.
    async fn cancel(&self) {
        let (target, _under_way) = loop {
            let mut settled = pin!(self.settled.notified());
            match self.begin_cancel(settled.as_mut()) {
                Course::Over => return,
                Course::Wait(_waiting) => settled.await,
                Course::Go(target, under_way) => break (target, under_way),
            }
        };
        self.cancelled.store(true, Ordering::Release);
        if let Err(error) = target.cancel().await {
            debug!(%error, "a cancel did not reach its shard");
        }
    }

    fn begin_cancel(&self, settled: Pin<&mut Notified<'_>>) -> Course<'_> {
        let mut state = self.lock();
        let is_next = !state.under_way && state.aiming == 0;
        match &state.aim {
            Aim::Nothing if is_next => Course::Over,
            Aim::InLine if is_next => {
                self.interrupt.notify_waiters();
                Course::Over
            }
            Aim::At(target) if is_next => {
                let target = target.clone();
                state.under_way = true;
                Course::Go(target, UnderWay(self))
            }
            Aim::Nothing | Aim::InLine | Aim::Soon | Aim::At(_) => {
                // Heard from here on, so that it is not missed between the two.
                settled.enable();
                state.waiting += 1;
                Course::Wait(Waiting(self))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a cancel was sent since the last time that this was asked.
    pub fn take_cancelled(&self) -> bool {
        self.cancelled.swap(false, Ordering::AcqRel)
    }
}

/// What becomes of a cancel.
enum Course<'r> {
    Over,
    Wait(Waiting<'r>),
    Go(Arc<Target>, UnderWay<'r>),
}

/// A cancel on its way, which may be dropped there.
struct UnderWay<'r>(&'r Reach);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way = false;
        self.0.ended.notify_waiters();
        if state.aiming == 0 && 0 < state.waiting {
            self.0.settled.notify_waiters();
        }
    }
}

/// The next to aim. Whoever gives up does not hold the cancels up.
struct Turn<'r>(&'r Reach);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.aiming -= 1;
        if state.aiming == 0 && 0 < state.waiting {
            self.0.settled.notify_waiters();
        }
    }
}

/// A cancel that waits, and may be dropped while it does.
struct Waiting<'r>(&'r Reach);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

struct Entry {
    secret: Box<[u8]>,
    reach: Arc<Reach>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry(***)")
    }
}

/// Every session that can be cancelled, by the process number that it was told.
#[derive(Debug, Default)]
pub struct Cancels {
    sessions: DashMap<u32, Entry, foldhash::fast::RandomState>,
    last: AtomicU32,
}

/// Takes the session off the list when dropped.
#[derive(Debug)]
pub struct Listed {
    cancels: Arc<Cancels>,
    pub key: CancelKey,
    pub reach: Arc<Reach>,
}

impl Cancels {
    /// `key_bytes` is the length of the secret.
    pub fn list(self: &Arc<Self>, key_bytes: usize) -> Result<Listed, getrandom::Error> {
        let mut secret = vec![0; key_bytes].into_boxed_slice();
        getrandom::fill(&mut secret)?;
        let reach = Arc::new(Reach::default());
        loop {
            // Positive as a signed number, for clients that print it.
            let process = self.last.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if process == 0 || self.sessions.contains_key(&process) {
                continue;
            }
            let entry = Entry { secret: secret.clone(), reach: reach.clone() };
            self.sessions.insert(process, entry);
            return Ok(Listed { cancels: self.clone(), key: CancelKey { process, secret }, reach });
        }
    }

    /// Stops what the session of this key runs now. A wrong key is met with silence.
    pub async fn cancel(&self, key: CancelKey) {
        let Some(reach) = self.find(&key) else {
            debug!("a cancel with a wrong key");
            return;
        };
        reach.cancel().await;
    }

    fn find(&self, key: &CancelKey) -> Option<Arc<Reach>> {
        let entry = self.sessions.get(&key.process);
        // An unknown session takes as long as a wrong secret.
        let secret = entry.as_ref().map_or(&key.secret, |entry| &entry.secret);
        let right = bool::from(secret.ct_eq(&key.secret));
        entry.as_ref().filter(|_| right).map(|entry| entry.reach.clone())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.cancels.sessions.remove(&self.key.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole secret, of the right length, for the right process: and nothing else.
    #[test]
    fn keys() {
        let cancels = Arc::new(Cancels::default());
        let listed = [4, 32].map(|bytes| cancels.list(bytes).unwrap());
        for Listed { key, reach, .. } in &listed {
            let found = cancels.find(key).expect("it is listed");
            assert!(Arc::ptr_eq(&found, reach));
            let with = |secret: &[u8]| CancelKey { process: key.process, secret: secret.into() };
            for index in 0..key.secret.len() {
                let mut wrong = key.secret.clone();
                wrong[index] ^= 0x80;
                assert!(cancels.find(&with(&wrong)).is_none());
                assert!(cancels.find(&with(&key.secret[..index])).is_none());
            }
            assert!(cancels.find(&with(&[&key.secret[..], &[0]].concat())).is_none());
            let elsewhere = CancelKey { process: key.process + 100, ..key.clone() };
            assert!(cancels.find(&elsewhere).is_none());
        }
        let [short, long] = listed;
        assert!(
            cancels.find(&CancelKey { process: short.key.process, ..long.key.clone() }).is_none()
        );
        let key = short.key.clone();
        drop(short);
        assert!(cancels.find(&key).is_none());
        assert!(cancels.find(&long.key).is_some());
    }
}
