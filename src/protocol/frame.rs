//! A frame's header: one tag byte and a length that counts itself.

/// The tag and the length.
pub const HEADER_BYTES: usize = 5;

/// PostgreSQL's `PQ_LARGE_MESSAGE_LIMIT` (`MaxAllocSize - 1`): a longer frame is a mistake or an
/// attack.
pub const FRAME_BYTES_MAX: usize = 0x3fff_fffe;

/// PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`, for messages that carry a name or nothing.
pub const SMALL_FRAME_BYTES_MAX: usize = 10_000;

/// Tags of what a shard sends.
pub mod reply {
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN: u8 = b'G';
    pub const COPY_OUT: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY: u8 = b'I';
    pub const ERROR: u8 = b'E';
    pub const FUNCTION_CALL: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE: u8 = b'N';
    pub const NOTIFICATION: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// A frame that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of type {tag:#04x} claims {claimed} bytes")]
    Length { tag: u8, claimed: u32 },
    #[error("a frame of unknown type {0:#04x}")]
    Tag(u8),
}

/// What stands in front of a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    pub body_bytes: usize,
}

impl Header {
    pub fn frame_bytes(self) -> usize {
        HEADER_BYTES + self.body_bytes
    }

    /// Reads the header at the front of `buffer`; `None` until all of it is there.
    pub fn peek(buffer: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some((&tag, rest)) = buffer.split_first() else { return Ok(None) };
        let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
        let claimed = u32::from_be_bytes(*length);

        // The length counts itself but not the tag.
        let Some(body_bytes) = (claimed as usize).checked_sub(4) else {
            return Err(FrameError::Length { tag, claimed });
        };
        if FRAME_BYTES_MAX < claimed as usize {
            return Err(FrameError::Length { tag, claimed });
        }
        Ok(Some(Self { tag, body_bytes }))
    }
}

/// The bytes of the whole frames at the front that are wanted.
pub fn run(buffer: &[u8], is_wanted: impl Fn(Header) -> bool) -> Result<usize, FrameError> {
    let mut bytes = 0;
    while let Some(header) = Header::peek(&buffer[bytes..])?
        && is_wanted(header)
        && header.frame_bytes() <= buffer.len() - bytes
    {
        bytes += header.frame_bytes();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_a_header_is_not_yet() {
        let wire = b"Q\0\0\0\x0dSELECT 1\0";
        for cut in 0..HEADER_BYTES {
            assert_eq!(Header::peek(&wire[..cut]), Ok(None));
        }
        for cut in HEADER_BYTES..wire.len() {
            assert_eq!(Header::peek(&wire[..cut]), Ok(Some(Header { tag: b'Q', body_bytes: 9 })));
        }
    }

    #[test]
    fn a_run_ends_at_another_tag_or_a_piece() {
        let wire = b"d\0\0\0\x05ad\0\0\0\x04c\0\0\0\x04d\0\0\0\x05b";
        let run = |cut: usize| run(&wire[..cut], |header| header.tag == b'd');
        let expected = [(0, 0), (5, 0), (6, 6), (10, 6), (11, 11), (wire.len(), 11)];
        for (cut, bytes) in expected {
            assert_eq!(run(cut), Ok(bytes), "{cut}");
        }
        let broken = b"d\0\0\0\x05ad\0\0\0\x03";
        let error = FrameError::Length { tag: b'd', claimed: 3 };
        assert_eq!(super::run(broken, |_| true), Err(error));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for claimed in [0, 1, 3, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0001, 0xffff_fff0, u32::MAX] {
            let mut wire = vec![b'Q'];
            wire.extend_from_slice(&claimed.to_be_bytes());
            assert_eq!(Header::peek(&wire), Err(FrameError::Length { tag: b'Q', claimed }));
        }
    }
}
