//! A statement without its literals: the key under which all that differ only in them meet.

use super::guard::{COMMENT_DEPTH_MAX, OPERATOR_BYTES_MAX};
use super::lex::{Kind, Lexer, is_word};

/// Writes the shape of `sql` over `shape`; false when in doubt, and the exact text must serve.
///
/// A literal becomes `''` or `0`, a comment becomes a space: tracing comments differ each time.
pub fn write(sql: &[u8], shape: &mut Vec<u8>) -> bool {
    shape.clear();
    // What stands between two literals is copied at one go.
    let mut copied = 0;
    let mut after_bits = false;
    let mut lexer = Lexer::new(sql);
    loop {
        after_bits &= !lexer.skip_plain();
        let Some(piece) = lexer.next() else { break };
        let body = &sql[piece.start..piece.end];
        if piece.doubtful || (after_bits && body.starts_with(b"'")) {
            return false;
        }
        after_bits = piece.kind == Kind::Bits;
        let mark: &[u8] = match piece.kind {
            Kind::Space | Kind::Word | Kind::Name | Kind::Parameter => continue,
            Kind::Mark if body == b"\0" => return false,
            Kind::Operator if OPERATOR_BYTES_MAX < body.len() => return false,
            Kind::Mark | Kind::Operator => continue,
            Kind::Unicode => return false,
            Kind::BlockComment(depth) if COMMENT_DEPTH_MAX < depth => return false,
            // `a.1` and `$1.5`: what the dot belongs to is not ours to say.
            Kind::Number if body[0] == b'.' && sql[..piece.start].last().is_some_and(glued) => {
                return false;
            }
            Kind::LineComment | Kind::BlockComment(_) => b" ",
            Kind::Text => b"''",
            Kind::Bits => b"b''",
            Kind::Number => b"0",
        };
        shape.extend_from_slice(&sql[copied..piece.start]);
        shape.extend_from_slice(mark);
        copied = piece.end;
    }
    shape.extend_from_slice(&sql[copied..]);
    true
}

fn glued(byte: &u8) -> bool {
    is_word(*byte) || matches!(byte, b'"' | b'\'' | b'.' | b')' | b']')
}

#[cfg(test)]
mod tests;
