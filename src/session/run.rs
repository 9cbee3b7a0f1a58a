//! A session's life: step by step, to an end that leaves nothing behind.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::error;

use crate::protocol::answer::Report;
use crate::session::cancel::Aim;
use crate::session::report::code;
use crate::session::{End, Place, Session};

/// How long a client that has ended its session may take to read its last answers.
const LAST_WORDS_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// Talks until the client or the server has enough, and cleans up.
    pub async fn run(mut self: Box<Self>, shutdown: CancellationToken) -> End {
        let mut closing = pin!(shutdown.cancelled());
        let mut end = self.talk_guarded(closing.as_mut()).await;
        if matches!(end, End::Goodbye) {
            self.leaving = true;
            end = self.talk_guarded(closing).await;
        }
        match &end {
            End::Gone => {}
            // Behind a part of a message they would be read as its rest.
            _ if self.is_amid_frame() => {}
            End::Told(report) => report.write(&mut self.client.outbox),
            End::Relayed(words) => self.client.outbox.extend_from_slice(words),
            End::Goodbye => {}
        }
        if !matches!(end, End::Gone) {
            // The client may be gone already.
            let _ = timeout(LAST_WORDS_MAX, self.client.flush()).await;
        }
        self.leave().await;
        end
    }

    /// A session that panics is told off and dropped, and nothing else with it.
    async fn talk_guarded(&mut self, closing: Closing<'_, '_>) -> End {
        let end = guarded(pin!(self.talk(closing))).await;
        if let Some(end) = end {
            return end;
        }
        error!(user = %self.user.name, "a session has panicked");
        End::told(Report::fatal(code::INTERNAL, "internal error in veneer"))
    }

    async fn talk(&mut self, mut closing: Closing<'_, '_>) -> End {
        loop {
            if self.leaving && !self.is_amid_round() {
                return End::Goodbye;
            }
            if let Err(end) = self.step(closing.as_mut()).await {
                return end;
            }
        }
    }

    async fn step(&mut self, closing: Closing<'_, '_>) -> Result<(), End> {
        let asked = !self.leaving && self.take_requests().await?;
        if asked && self.half_closed {
            // It had to wait for its turn, and its client has gone since.
            self.ask_for_the_rest();
        }
        let answered = self.take_replies().await?;
        if asked || answered {
            return Ok(());
        }
        self.wait(closing).await
    }

    /// PostgreSQL finishes what came before Terminate, but a pipeline without its Sync.
    fn is_amid_round(&self) -> bool {
        match &self.place {
            Place::Working(work) => {
                let rounds = work.ledger.rounds();
                rounds.finished < rounds.begun && !work.ledger.is_copying_in()
            }
            Place::Idle | Place::Held(_) | Place::Piped(_) | Place::Lost(_) => false,
        }
    }

    pub(super) fn is_amid_frame(&self) -> bool {
        matches!(&self.place, Place::Working(work) if work.is_amid_frame())
    }

    /// Leaves no query running and no backend in an unknown state.
    async fn leave(&mut self) {
        self.listed.reach.set(Aim::Nothing).await;
        if let Place::Working(work) = &mut self.place
            && !work.ledger.is_empty()
        {
            let target = work.target();
            tokio::spawn(async move { target.cancel().await });
        }
        // Dropped leases close their backends.
        self.place = Place::Idle;
        self.kept.clear();
    }
}

/// The end of the server, as one session awaits it: entered once, not at each wait.
pub(super) type Closing<'c, 'w> = Pin<&'c mut WaitForCancellationFuture<'w>>;

/// Runs a future; `None` if it panicked. It is pinned already: by value it would be moved, all that
/// it may have to hold, and take its place twice.
async fn guarded<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Some(done)),
        Err(_) => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_end_like_others() {
        assert_eq!(guarded(pin!(async { 1 })).await, Some(1));
        let step = async {
            tokio::task::yield_now().await;
            panic!("a panic that belongs to the test");
        };
        assert_eq!(guarded::<()>(pin!(step)).await, None);
    }
}
