//! What a text must be before the C parser sees it: its lexer is quadratic and cannot be stopped.

use std::borrow::Cow;

use super::ReadError;
use super::lex::{Kind, Lexer, Piece, is_operator};
use super::shorten::shorten;

/// Nested comments cost the square of their number.
pub const COMMENT_DEPTH_MAX: usize = 32;
/// So do runs of operator characters; PostgreSQL itself ends an operator at 63.
pub const OPERATOR_BYTES_MAX: usize = 32;

/// Steps that the C lexer may take again over bytes that it has seen. Each token that begins in a
/// run of operator characters, comments included, costs it the rest of that run.
const REPEATED_STEPS_MAX: usize = 4 << 20;

/// The text as UTF-8, if the parser may have it; a long one without its data.
pub fn admit(sql: &[u8], bytes_max: usize) -> Result<Cow<'_, str>, ReadError> {
    let text = std::str::from_utf8(sql).map_err(|_| ReadError::NotUtf8)?;
    if sql.contains(&0) {
        return Err(ReadError::NotUtf8);
    }
    let text = shorten(text, bytes_max);
    let sql = text.as_bytes();
    if bytes_max < sql.len() {
        return Err(ReadError::Long { bytes: sql.len(), bytes_max });
    }
    let mut steps = Steps { sql, run_end: 0, taken: 0 };
    for piece in Lexer::new(sql) {
        steps.add(piece);
        if REPEATED_STEPS_MAX < steps.taken {
            let reason = "comments and operators stand too close together".to_owned();
            return Err(ReadError::Complex(reason));
        }
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

/// Counts what the C lexer will do, in one pass.
struct Steps<'a> {
    sql: &'a [u8],
    run_end: usize,
    taken: usize,
}

impl Steps<'_> {
    fn add(&mut self, piece: Piece) {
        match piece.kind {
            // At worst each of its characters becomes a token.
            Kind::Operator => self.count(piece.start, piece.end - piece.start),
            Kind::BlockComment(_) => {
                for at in piece.start..piece.end {
                    if self.sql[at..].starts_with(b"/*") {
                        self.count(at, 1);
                    }
                }
            }
            _ => {}
        }
    }

    fn count(&mut self, at: usize, tokens: usize) {
        if self.run_end <= at {
            let run = self.sql[at..].iter().take_while(|byte| is_operator(**byte)).count();
            self.run_end = at + run;
        }
        self.taken += tokens * (self.run_end - at);
    }
}
