//! What a client asks: its message tags, and the parts of them that routing needs.

use crate::protocol::cursor::{Cursor, Malformed};
use crate::protocol::frame::{FrameError, Header, SMALL_FRAME_BYTES_MAX};

/// The messages that a client may send after its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestTag {
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    /// Only while authenticating.
    Password,
    Query,
    Sync,
    Terminate,
}

impl RequestTag {
    pub fn byte(self) -> u8 {
        match self {
            Self::Bind => b'B',
            Self::Close => b'C',
            Self::Describe => b'D',
            Self::Execute => b'E',
            Self::FunctionCall => b'F',
            Self::Flush => b'H',
            Self::Parse => b'P',
            Self::Query => b'Q',
            Self::Sync => b'S',
            Self::Terminate => b'X',
            Self::CopyDone => b'c',
            Self::CopyData => b'd',
            Self::CopyFail => b'f',
            Self::Password => b'p',
        }
    }

    /// Messages to which PostgreSQL gives no more than `PQ_SMALL_MESSAGE_LIMIT`.
    pub fn is_small(self) -> bool {
        match self {
            Self::Close
            | Self::CopyDone
            | Self::CopyFail
            | Self::Describe
            | Self::Execute
            | Self::Flush
            | Self::Sync
            | Self::Terminate => true,
            Self::Bind
            | Self::CopyData
            | Self::FunctionCall
            | Self::Parse
            | Self::Password
            | Self::Query => false,
        }
    }
}

/// As [`Header::peek`], for what a client sends: an unknown tag is refused as soon as it is seen, and
/// a message that needs no room gets none.
pub fn peek(buffer: &[u8]) -> Result<Option<(RequestTag, Header)>, FrameError> {
    let Some(&tag) = buffer.first() else { return Ok(None) };
    let request = RequestTag::try_from(tag)?;
    let Some(header) = Header::peek(buffer)? else { return Ok(None) };
    if request.is_small() && SMALL_FRAME_BYTES_MAX < header.body_bytes {
        let claimed = u32::try_from(header.body_bytes + 4).unwrap_or(u32::MAX);
        return Err(FrameError::Length { tag, claimed });
    }
    Ok(Some((request, header)))
}

impl TryFrom<u8> for RequestTag {
    type Error = FrameError;

    fn try_from(tag: u8) -> Result<Self, FrameError> {
        Ok(match tag {
            b'B' => Self::Bind,
            b'C' => Self::Close,
            b'D' => Self::Describe,
            b'E' => Self::Execute,
            b'F' => Self::FunctionCall,
            b'H' => Self::Flush,
            b'P' => Self::Parse,
            b'Q' => Self::Query,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'c' => Self::CopyDone,
            b'd' => Self::CopyData,
            b'f' => Self::CopyFail,
            b'p' => Self::Password,
            other => return Err(FrameError::Tag(other)),
        })
    }
}

/// The text of a Query: all of the body but the NUL that ends it.
pub fn query(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(body);
    let sql = cursor.text()?;
    cursor.end()?;
    Ok(sql)
}

/// A Parse message.
#[derive(Debug, Clone, Copy)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub sql: &'a [u8],
    /// The count and the OIDs, as they came.
    pub types: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let name = cursor.text()?;
        let sql = cursor.text()?;
        let types = cursor.rest();
        let count = cursor.u16()?;
        cursor.bytes(usize::from(count) * 4)?;
        cursor.end()?;
        Ok(Self { name, sql, types })
    }
}

/// The front of a Bind message: enough to know its statement.
#[derive(Debug, Clone, Copy)]
pub struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// What follows the names, as far as it has come.
    pub rest: &'a [u8],
}

impl<'a> BindNames<'a> {
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let portal = cursor.text()?;
        let statement = cursor.text()?;
        Ok(Self { portal, statement, rest: cursor.rest() })
    }

    /// Checks the whole of a Bind that has come whole: PostgreSQL would refuse it, and so do we
    /// before anything is sent.
    pub fn check_rest(&self) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(self.rest);
        let formats = cursor.u16()?;
        cursor.bytes(usize::from(formats) * 2)?;
        let parameters = cursor.u16()?;
        for _ in 0..parameters {
            // -1 stands for NULL; any other negative length is a mistake.
            match cursor.i32()? {
                -1 => {}
                length => {
                    cursor.bytes(usize::try_from(length).map_err(|_| Malformed)?)?;
                }
            }
        }
        let results = cursor.u16()?;
        cursor.bytes(usize::from(results) * 2)?;
        cursor.end()
    }

    /// How many values are bound, as far as they have come.
    pub fn parameter_count(&self) -> Option<u16> {
        let mut cursor = Cursor::new(self.rest);
        let formats = cursor.u16().ok()?;
        cursor.bytes(usize::from(formats) * 2).ok()?;
        cursor.u16().ok()
    }

    /// The value bound to the `number`th parameter (from 1), and whether it came in binary; `None`
    /// when it is NULL or not there.
    pub fn parameter(&self, number: u16) -> Option<(&'a [u8], bool)> {
        let mut cursor = Cursor::new(self.rest);
        let count = usize::from(cursor.u16().ok()?);
        let formats = cursor.bytes(count * 2).ok()?;
        let parameters = cursor.u16().ok()?;
        if number == 0 || parameters < number {
            return None;
        }
        let index = usize::from(number - 1);
        let format = match count {
            0 => 0,
            1 => formats.get(1).copied()?,
            _ => formats.get(index * 2 + 1).copied()?,
        };
        for _ in 0..index {
            let length = cursor.i32().ok()?;
            if 0 <= length {
                cursor.bytes(usize::try_from(length).ok()?).ok()?;
            }
        }
        let length = usize::try_from(cursor.i32().ok()?).ok()?;
        match format {
            0 | 1 => cursor.bytes(length).ok().map(|bytes| (bytes, format == 1)),
            _ => None,
        }
    }
}

/// What Describe and Close are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Statement,
    Portal,
}

impl Subject {
    /// Reads the body of a Describe or a Close.
    pub fn read(body: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut cursor = Cursor::new(body);
        let subject = match cursor.byte()? {
            b'S' => Self::Statement,
            b'P' => Self::Portal,
            _ => return Err(Malformed),
        };
        let name = cursor.text()?;
        cursor.end()?;
        Ok((subject, name))
    }
}

/// Reads the body of an Execute: the portal (the row limit stays in the frame).
pub fn execute(body: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(body);
    let portal = cursor.text()?;
    cursor.i32()?;
    cursor.end()?;
    Ok(portal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_tags_are_refused_at_the_first_byte() {
        assert_eq!(peek(b"!"), Err(FrameError::Tag(b'!')));
        assert_eq!(peek(b"Q"), Ok(None));
        let long_sync = [b'S', 0, 0, 0x40, 0];
        assert!(peek(&long_sync).is_err());
    }

    #[test]
    fn a_query_ends_at_its_one_nul() {
        assert_eq!(query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        assert_eq!(query(b"SELECT 1"), Err(Malformed));
        assert_eq!(query(b"SELECT\0 1\0"), Err(Malformed));
        assert_eq!(query(b""), Err(Malformed));
    }

    #[test]
    fn a_bind_is_checked_to_its_last_byte() {
        let good = b"p\0s\0\0\x01\0\0\0\x02\0\0\0\x03abc\xff\xff\xff\xff\0\0";
        let bind = BindNames::read(good).expect("names");
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.check_rest(), Ok(()));
        assert_eq!(bind.parameter(1), Some((&b"abc"[..], false)));
        assert_eq!(bind.parameter(2), None);
        assert_eq!(bind.parameter(3), None);
        for cut in 4..good.len() {
            let bind = BindNames::read(&good[..cut]).expect("names");
            assert_eq!(bind.check_rest(), Err(Malformed), "cut at {cut}");
        }
        let negative = b"\0\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0";
        assert_eq!(BindNames::read(negative).expect("names").check_rest(), Err(Malformed));
    }

    #[test]
    fn a_parse_counts_its_types() {
        let good = b"s\0SELECT $1\0\0\x01\0\0\0\x17";
        assert!(Parse::read(good).is_ok());
        for cut in 0..good.len() {
            assert!(Parse::read(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}
