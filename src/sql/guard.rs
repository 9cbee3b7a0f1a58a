//! What a text must be before the C parser sees it: its lexer is quadratic and cannot be stopped.

use super::ReadError;
use super::lex::{Kind, Lexer};

/// Nested comments cost the square of their number.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// So do runs of operator characters; PostgreSQL itself ends an operator at 63.
pub const OPERATOR_BYTES_MAX: usize = 32;

/// The text as UTF-8, if the parser may have it.
pub fn admit(sql: &[u8], bytes_max: usize) -> Result<&str, ReadError> {
    if bytes_max < sql.len() {
        return Err(ReadError::Long { bytes: sql.len(), bytes_max });
    }
    let text = std::str::from_utf8(sql).map_err(|_| ReadError::NotUtf8)?;
    if sql.contains(&0) {
        return Err(ReadError::NotUtf8);
    }
    for piece in Lexer::new(sql) {
        match piece.kind {
            Kind::BlockComment(depth) if COMMENT_DEPTH_MAX < depth => {
                let reason = format!("comments nest deeper than {COMMENT_DEPTH_MAX}");
                return Err(ReadError::Complex(reason));
            }
            Kind::Operator if OPERATOR_BYTES_MAX < piece.end - piece.start => {
                let reason = format!("an operator is longer than {OPERATOR_BYTES_MAX} bytes");
                return Err(ReadError::Complex(reason));
            }
            _ => {}
        }
    }
    Ok(text)
}
