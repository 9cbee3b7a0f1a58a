//! A session's life: step by step, to an end that leaves nothing behind.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::protocol::answer::Report;
use crate::session::cancel::Aim;
use crate::session::report::code;
use crate::session::{End, Place, Session};

/// How long a client that has ended its session may take to read its last answers.
const LAST_WORDS_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// Talks until the client or the server has enough, and cleans up.
    pub async fn run(mut self, shutdown: CancellationToken) -> End {
        let mut end = self.talk(&shutdown).await;
        if matches!(end, End::Goodbye) {
            self.leaving = true;
            end = self.talk(&shutdown).await;
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

    async fn talk(&mut self, shutdown: &CancellationToken) -> End {
        loop {
            if self.leaving && !self.is_amid_round() {
                return End::Goodbye;
            }
            match guarded(self.step(shutdown)).await {
                Some(Ok(())) => {}
                Some(Err(end)) => return end,
                None => {
                    error!(user = %self.user.name, "a session has panicked");
                    return End::told(Report::fatal(code::INTERNAL, "internal error in veneer"));
                }
            }
        }
    }

    async fn step(&mut self, shutdown: &CancellationToken) -> Result<(), End> {
        let asked = !self.leaving && self.take_requests().await?;
        if asked && self.half_closed {
            // It had to wait for its turn, and its client has gone since.
            self.ask_for_the_rest();
        }
        let answered = self.take_replies().await?;
        if asked || answered {
            return Ok(());
        }
        self.wait(shutdown).await
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

/// Runs a step; `None` if it panicked. The session is only told off and dropped after that.
async fn guarded<T>(step: impl Future<Output = T>) -> Option<T> {
    let mut step = pin!(step);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| step.as_mut().poll(cx))) {
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
        assert_eq!(guarded(async { 1 }).await, Some(1));
        let step = async {
            tokio::task::yield_now().await;
            panic!("a panic that belongs to the test");
        };
        assert_eq!(guarded::<()>(step).await, None);
    }
}
