//! Waiting for either side, each at its own pace.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio_util::sync::CancellationToken;

use crate::protocol::answer::Report;
use crate::protocol::wire::OUTBOX_BYTES_MAX;
use crate::session::replies::lost_pins;
use crate::session::report::code;
use crate::session::{End, Place, Session};

/// Requests are taken in up to here while others are under way.
const INBOX_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Writes what can be written and waits until something has come, or a full side has room.
    pub(super) async fn wait(&mut self, shutdown: &CancellationToken) -> Result<(), End> {
        if !matches!(self.place, Place::Idle) {
            return match poll_fn(|cx| self.poll(cx)).await {
                Ok(()) => Ok(()),
                Err(Halt::End(end)) => Err(end),
                Err(Halt::Lost(error)) => self.lost(error).await,
            };
        }
        self.client.give_back_if_empty();
        tokio::select! {
            biased;
            halt = poll_fn(|cx| self.poll(cx)) => match halt {
                Ok(()) => Ok(()),
                Err(Halt::End(end)) => Err(end),
                // No backend is at work here.
                Err(Halt::Lost(_)) => Err(End::Gone),
            },
            () = shutdown.cancelled() => Err(End::told(Report::fatal(
                code::ADMIN_SHUTDOWN,
                "terminating connection due to administrator command",
            ))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>> {
        let mut ready = false;
        let was_full = OUTBOX_BYTES_MAX <= self.client.outbox.len();
        if let Poll::Ready(Err(_)) = self.client.poll_flush(cx) {
            return Poll::Ready(Err(Halt::End(End::Gone)));
        }
        let has_room = self.client.outbox.len() < OUTBOX_BYTES_MAX;
        ready |= was_full && has_room;

        let mut takes_requests = has_room && !self.leaving;
        if let Place::Working(work) = &mut self.place {
            let wire = work.wire();
            let was_full = OUTBOX_BYTES_MAX <= wire.outbox.len();
            if let Poll::Ready(Err(error)) = wire.poll_flush(cx) {
                return Poll::Ready(Err(Halt::Lost(Some(error))));
            }
            let takes_more = wire.outbox.len() < OUTBOX_BYTES_MAX;
            ready |= was_full && takes_more;
            takes_requests &= takes_more;
            // A slow client stops the reads from its own backend, and no other.
            if has_room {
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
        if takes_requests && self.client.inbox.len() < inbox_bytes_max {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Halt::End(End::Gone))),
                Poll::Ready(Ok(_)) => ready = true,
                Poll::Pending => {}
            }
        }
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Kept backends may speak at any time: notifications, or their end.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut ready = false;
        for work in &mut self.kept {
            match work.wire().poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(0) | Err(_)) => return Err(lost_pins(&work.shard)),
                Poll::Ready(Ok(_)) => ready = true,
            }
        }
        Ok(ready)
    }

    /// The backend is gone with work under way.
    async fn lost(&mut self, error: Option<std::io::Error>) -> Result<(), End> {
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
    /// The backend at work has closed, or cannot be reached.
    Lost(Option<std::io::Error>),
}
