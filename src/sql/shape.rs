//! A statement without its literals: the key under which all that differ only in them meet.

use super::guard::{COMMENT_DEPTH_MAX, OPERATOR_BYTES_MAX};
use super::lex::{Kind, Lexer, is_word};

/// Writes the shape of `sql` over `shape`; false when in doubt, and the exact text must serve.
///
/// A literal becomes `''` or `0`, a comment becomes a space: tracing comments differ each time.
pub fn write(sql: &[u8], shape: &mut Vec<u8>) -> bool {
    shape.clear();
    let mut after_bits = false;
    for piece in Lexer::new(sql) {
        let body = &sql[piece.start..piece.end];
        if piece.doubtful || (after_bits && body.starts_with(b"'")) {
            return false;
        }
        after_bits = piece.kind == Kind::Bits;
        match piece.kind {
            Kind::Unicode => return false,
            Kind::BlockComment(depth) if COMMENT_DEPTH_MAX < depth => return false,
            Kind::Operator if OPERATOR_BYTES_MAX < body.len() => return false,
            Kind::LineComment | Kind::BlockComment(_) => shape.push(b' '),
            Kind::Text => shape.extend_from_slice(b"''"),
            Kind::Bits => shape.extend_from_slice(b"b''"),
            Kind::Number => {
                // `a.1` and `$1.5`: what the dot belongs to is not ours to say.
                if body.starts_with(b".") && shape.last().is_some_and(|b| glued(*b)) {
                    return false;
                }
                shape.push(b'0');
            }
            Kind::Mark if body == b"\0" => return false,
            Kind::Space
            | Kind::Word
            | Kind::Name
            | Kind::Parameter
            | Kind::Operator
            | Kind::Mark => shape.extend_from_slice(body),
        }
    }
    true
}

fn glued(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'"' | b'\'' | b'.' | b')' | b']')
}
