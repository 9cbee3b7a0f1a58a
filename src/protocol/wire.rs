//! A socket with a buffer on either side.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::protocol::frame::{FrameError, HEADER_BYTES, Header};

/// One read asks for this much; PostgreSQL itself sends in chunks of 8 KiB.
pub const READ_BYTES: usize = 8 * 1024;

/// Above this a side that waits to be written is not added to.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024;

/// Empty buffers that a thread keeps for the next connection that has something to read.
const SPARE_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum NextError {
    #[error("the connection broke")]
    Broke(#[source] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("an overlong message")]
    Long,
}

/// A socket, what has come from it and is not read, and what is to go to it and is not written.
#[derive(Debug)]
pub struct Wire<S> {
    socket: S,
    pub inbox: BytesMut,
    pub outbox: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(socket: S) -> Self {
        Self { socket, inbox: BytesMut::new(), outbox: BytesMut::new() }
    }

    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Reads once into the inbox; 0 bytes mean that the other side has closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inbox.capacity() == 0 {
            self.inbox = take_spare();
        }
        self.inbox.reserve(READ_BYTES);
        let read = poll_read_buf(Pin::new(&mut self.socket), cx, &mut self.inbox);
        if read.is_pending() && self.inbox.is_empty() {
            // Whoever only waits holds no buffer.
            keep_spare(std::mem::take(&mut self.inbox));
        }
        read
    }

    /// Writes the outbox until it is empty or the socket is full.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outbox.has_remaining() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outbox))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.advance(written);
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    /// Reads until something has come; an end is an error.
    pub async fn fill(&mut self) -> io::Result<()> {
        match poll_fn(|cx| self.poll_fill(cx)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Writes what waits, then takes the next frame, whole: for conversations of our own.
    pub async fn next_frame(&mut self, body_bytes_max: usize) -> Result<(u8, BytesMut), NextError> {
        self.flush().await.map_err(NextError::Broke)?;
        loop {
            if let Some(header) = Header::peek(&self.inbox)? {
                if body_bytes_max < header.body_bytes {
                    return Err(NextError::Long);
                }
                if header.frame_bytes() <= self.inbox.len() {
                    let mut frame = self.inbox.split_to(header.frame_bytes());
                    frame.advance(HEADER_BYTES);
                    return Ok((header.tag, frame));
                }
            }
            self.fill().await.map_err(NextError::Broke)?;
        }
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits until the other side has closed: in order, or with an error. What it sends meanwhile is
    /// taken in, up to `inbox_bytes_max`, because the end comes behind it.
    pub async fn closed(&mut self, inbox_bytes_max: usize) -> io::Result<()> {
        while self.inbox.len() < inbox_bytes_max {
            if poll_fn(|cx| self.poll_fill(cx)).await? == 0 {
                return Ok(());
            }
        }
        pending().await
    }

    /// Gets a buffer for what is going to be written.
    pub fn make_room(&mut self) {
        if self.outbox.capacity() == 0 {
            self.outbox = take_spare();
        }
    }

    /// Gives empty buffers back, so that an idle connection costs little.
    pub fn give_back_if_empty(&mut self) {
        for buffer in [&mut self.inbox, &mut self.outbox] {
            if buffer.is_empty() && 0 < buffer.capacity() {
                keep_spare(std::mem::take(buffer));
            }
        }
    }
}

fn take_spare() -> BytesMut {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
}

/// A buffer of the usual size is used again: to allocate and to free one for each request would
/// cost more than to fill it.
fn keep_spare(mut buffer: BytesMut) {
    // Room in front of what was read counts again.
    if buffer.try_reclaim(READ_BYTES) && buffer.capacity() <= 2 * READ_BYTES {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(buffer);
            }
        });
    }
}
