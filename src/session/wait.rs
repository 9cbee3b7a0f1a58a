//! Waiting for either side, each at its own pace.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use crate::protocol::answer::Report;
use crate::protocol::ask;
use crate::protocol::wire::OUTBOX_BYTES_MAX;
use crate::session::replies::lost_pins;
use crate::session::report::code;
use crate::session::run::Closing;
use crate::session::{End, Place, Session};

/// Requests are taken in up to here while others are under way.
pub(super) const INBOX_BYTES_MAX: usize = 64 * 1024;

/// PostgreSQL answers a client that has closed its own side only, and so do we; but one that has
/// died looks the same until something is written to it. After a silence so long it is taken for
/// dead, and what it runs is stopped.
const HALF_CLOSED_SILENCE_MAX: Duration = Duration::from_secs(5);

impl Session {
    /// Writes what can be written and waits until something has come, or a full side has room.
    pub(super) async fn wait(&mut self, mut closing: Closing<'_, '_>) -> Result<(), End> {
        if self.half_closed {
            let heard = timeout(HALF_CLOSED_SILENCE_MAX, poll_fn(|cx| self.poll(cx))).await;
            return self.go_on_after(heard.unwrap_or(Err(Halt::End(End::Gone)))).await;
        }
        let is_idle = matches!(self.place, Place::Idle);
        let heard = poll_fn(|cx| match self.poll(cx) {
            Poll::Pending if is_idle => {
                self.client.give_back_if_empty();
                closing.as_mut().poll(cx).map(|()| Err(Halt::Closing))
            }
            heard => heard,
        });
        let heard = heard.await;
        self.go_on_after(heard).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        let mut ready = false;
        let was_full = OUTBOX_BYTES_MAX <= self.client.outbox.len();
        if let Poll::Ready(Err(_)) = self.client.poll_flush(cx) {
            return Poll::Ready(Err(Halt::End(End::Gone)));
        }
        let has_room = self.client.outbox.len() < OUTBOX_BYTES_MAX;
        ready |= was_full && has_room;

        let mut takes_requests = has_room && !self.half_closed && !self.leaving;
        if let Place::Working(work) = &mut self.place {
            let is_owed_nothing = work.ledger.is_empty();
            let wire = work.wire();
            let (was_full, was_empty) =
                (OUTBOX_BYTES_MAX <= wire.outbox.len(), wire.outbox.is_empty());
            if let Poll::Ready(Err(error)) = wire.poll_flush(cx) {
                return Poll::Ready(Err(Halt::Lost(Some(error))));
            }
            let takes_more = wire.outbox.len() < OUTBOX_BYTES_MAX;
            ready |= was_full && takes_more;
            // Nothing is owed for what has gone now: the backend may be free.
            ready |= !was_empty && wire.outbox.is_empty() && is_owed_nothing;
            takes_requests &= takes_more;
            // A slow client stops the reads from its own backend, and no other.
            if has_room && wire.inbox.len() < INBOX_BYTES_MAX {
                match wire.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(Halt::Lost(None))),
                    Poll::Ready(Ok(_)) => ready = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Halt::Lost(Some(error)))),
                    Poll::Pending => {}
                }
            }
        }
        match self.poll_kept(cx) {
            Ok(heard) => ready |= heard,
            Err(end) => return Poll::Ready(Err(Halt::End(end))),
        }
        let inbox_bytes_max = INBOX_BYTES_MAX.max(self.wanted_bytes);
        // What has just come is dealt with first; the client is asked again at the next wait.
        takes_requests &= !ready;
        if takes_requests && self.client.inbox.len() < inbox_bytes_max {
            match self.client.poll_fill(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Halt::End(End::Gone))),
                Poll::Ready(Ok(0)) => {
                    self.half_closed = true;
                    self.ask_for_the_rest();
                    // From now on it is waited in another way.
                    ready |= self.has_answers_due();
                }
                Poll::Ready(Ok(_)) => ready = true,
                Poll::Pending => {}
            }
        }
        if self.half_closed && !ready && !self.has_answers_due() {
            return Poll::Ready(Err(Halt::End(End::Gone)));
        }
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Nothing more comes from the client: no Sync, and no Flush, without which the shard would keep
    /// its answers to itself.
    pub(super) fn ask_for_the_rest(&mut self) {
        if let Place::Working(work) = &mut self.place
            && work.segment_open
            && !work.ledger.is_copying_in()
        {
            ask::flush(&mut work.wire().outbox);
        }
    }

    /// Whether a client that sends no more still has something to read.
    fn has_answers_due(&self) -> bool {
        let is_working = match &self.place {
            // In the middle of a COPY, or of a message, the shard waits for the client.
            Place::Working(work) => {
                !work.ledger.is_empty() && !work.ledger.is_copying_in() && self.rest.is_none()
            }
            Place::Idle | Place::Held(_) | Place::Piped(_) | Place::Lost(_) => false,
        };
        is_working || !self.client.outbox.is_empty()
    }

    /// Kept backends may speak at any time: notifications, or their end.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut ready = false;
        if self.is_amid_frame() {
            return Ok(false);
        }
        for work in &mut self.kept {
            // A client that does not read holds up its own backends only.
            if INBOX_BYTES_MAX <= work.wire().inbox.len() {
                continue;
            }
            match work.wire().poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(0) | Err(_)) => return Err(lost_pins(&work.shard)),
                Poll::Ready(Ok(_)) => ready = true,
            }
        }
        Ok(ready)
    }

    async fn go_on_after(&mut self, heard: Result<(), Halt>) -> Result<(), End> {
        let error = match heard {
            Ok(()) => return Ok(()),
            Err(Halt::End(end)) => return Err(end),
            Err(Halt::Closing) => {
                return Err(End::told(Report::fatal(
                    code::ADMIN_SHUTDOWN,
                    "terminating connection due to administrator command",
                )));
            }
            Err(Halt::Lost(error)) => error,
        };
        if let Place::Working(work) = &self.place {
            let (shard, error) = (&work.shard.name, error.map(tracing::field::display));
            tracing::warn!(%shard, error, "a backend was lost");
        }
        self.lose(None).await
    }
}

/// Why there is nothing to wait for any more.
enum Halt {
    End(End),
    /// The server closes, and the client is between transactions.
    Closing,
    /// The backend at work has closed, or cannot be reached.
    Lost(Option<std::io::Error>),
}
