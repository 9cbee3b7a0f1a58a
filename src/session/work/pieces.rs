//! Frames that come in pieces, and bytes that travel together.

use bytes::{Buf, BytesMut};

/// A frame that is longer than what has come of it.
#[derive(Debug, Clone, Copy)]
pub struct Partial {
    pub bytes_left: usize,
    pub pass: bool,
}

impl Partial {
    /// Deals with what has come of an unfinished frame.
    pub fn take(partial: &mut Option<Self>, inbox: &mut BytesMut, passed: &mut usize) {
        let Some(frame) = partial else { return };
        let bytes = frame.bytes_left.min(inbox.len() - *passed);
        frame.bytes_left -= bytes;
        if frame.pass {
            *passed += bytes;
        } else {
            // A dropped frame's front was dropped with all that stood before it.
            inbox.advance(bytes);
        }
        if frame.bytes_left == 0 {
            *partial = None;
        }
    }
}

/// Moves the first `passed` bytes on: the buffer itself, when nothing else is in either.
pub fn pass(inbox: &mut BytesMut, out: &mut BytesMut, passed: &mut usize) {
    if 0 < *passed && *passed == inbox.len() && out.is_empty() {
        std::mem::swap(inbox, out);
        *passed = 0;
    }
    if 0 < *passed {
        out.extend_from_slice(&inbox[..*passed]);
        inbox.advance(*passed);
        *passed = 0;
    }
}
