//! The lexer against the parser's own scanner.

use pg_query::protobuf::Token;

use super::{Kind, Lexer};
use crate::sql::{guard, parse};

/// What stands where, in the words of this lexer; `None` when it is in doubt.
fn ours(sql: &str) -> Option<Vec<(&'static str, usize, usize)>> {
    let mut spans = Vec::new();
    let mut after_bits = false;
    for piece in Lexer::new(sql.as_bytes()) {
        if piece.doubtful || piece.kind == Kind::Unicode {
            return None;
        }
        if after_bits && sql.as_bytes()[piece.start] == b'\'' {
            return None;
        }
        after_bits = piece.kind == Kind::Bits;
        let kind = match piece.kind {
            Kind::Text => "text",
            Kind::Bits => "bits",
            Kind::Number => "number",
            Kind::LineComment | Kind::BlockComment(_) => "comment",
            Kind::Parameter => "parameter",
            Kind::Name => "name",
            _ => continue,
        };
        spans.push((kind, piece.start, piece.end));
    }
    Some(spans)
}

fn theirs(sql: &str) -> Option<Vec<(&'static str, usize, usize)>> {
    let _alone = parse::alone();
    let scanned = pg_query::scan(sql).ok()?;
    let spans = scanned.tokens.iter().filter_map(|token| {
        let span = (token.start as usize, token.end as usize);
        let kind = match Token::try_from(token.token).ok()? {
            Token::Sconst => "text",
            Token::Bconst | Token::Xconst => "bits",
            Token::Iconst | Token::Fconst => "number",
            Token::SqlComment | Token::CComment => "comment",
            Token::Param => "parameter",
            Token::Ident if sql.as_bytes()[span.0] == b'"' => "name",
            _ => return None,
        };
        Some((kind, span.0, span.1))
    });
    Some(spans.collect())
}

/// True when the text could be compared.
#[track_caller]
fn check(sql: &str) -> bool {
    if guard::admit(sql.as_bytes(), usize::MAX).is_err() {
        return false;
    }
    let (Some(ours), Some(theirs)) = (ours(sql), theirs(sql)) else { return false };
    assert_eq!(ours, theirs, "{sql:?}");
    true
}

#[test]
fn nasty_texts() {
    let sure = [
        "SELECT 'it''s', \"a\"\"b\", 1, 1.5, .5, 1., 1e10, 1.5e-3 FROM t",
        "SELECT E'\\'', E'a\\\\', e'''' , 'a\\'",
        "SELECT $$a'b$$, $x$ $$ $y$ $x$, $1, a$1, a$b$c",
        "SELECT b'01', x'1f', B'', n'x', N'y'",
        "/* a /* b */ ' */ SELECT 'x' -- ' \n, 'y'",
        "SELECT 'a' 'b'",
        "SELECT 1+-2, a-- '\n-1, a/*'*/-'b'",
        "SELECT a->>'b', a #>> '{c}', a@>'d', a?'e', 1%2, '1'::int",
        "SELECT é'x', \"é\", 'é', é1",
        "SELECT t.5, t.x, a[1:2], a[1:$1]",
        "select u, u & 'x', u &'x', xu&'x'",
        "SELECT '', $$$$, E''",
        "SELECT 1-1, 1--1\n",
        "SELECT*/**/FROM t",
        "SELECT 'a' /* x */ , 'b'",
        "SELECT \"'\", '\"'",
    ];
    for sql in sure {
        assert!(check(sql), "the lexer is in doubt: {sql}");
    }
    let doubtful = [
        "SELECT 'a'\n'b'",
        "SELECT 'a' -- x\n 'b'",
        "SELECT U&'x', U&\"y\" UESCAPE '!'",
        "SELECT 0x1f, 1_000, 0b1, 0o7, 1a, 1..2, 1.e, $1a",
        "SELECT 'open",
        "SELECT b'0''1'",
        "SELECT \\ ",
        "SELECT /* open",
        "SELECT $a$ open",
        "SELECT \"open",
    ];
    for sql in doubtful {
        assert!(ours(sql).is_none(), "the lexer is sure of: {sql}");
    }
}

/// A small generator of its own, so that every run is the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

#[test]
fn random_texts() {
    const FRAGMENTS: [&str; 72] = [
        "'", "''", "\"", "\"\"", "$", "$$", "$a$", "$1", "$12", "--", "/*", "*/", "\n", "\r", " ",
        "\t", "\\", "\\'", "E'", "e'", "B'", "x'", "X'", "N'", "U&'", "u&\"", "U&", "a", "b1", "é",
        "_", "select", "1", "0", "42", "1.5", ".5", ".", "..", "1.", "e", "e5", "E+3", "1e", "0x",
        "_1", ":", "::", ";", ",", "(", ")", "[", "]", "+", "-", "*", "/", "<", ">", "=", "~", "!",
        "@", "#", "%", "^", "&", "|", "`", "?", "\x0c",
    ];
    let texts = std::env::var("VENEER_FUZZ_TEXTS").ok().and_then(|n| n.parse().ok());
    let mut dice = Dice(0x5eed_1234_abcd_0001);
    let mut compared = 0;
    for _ in 0..texts.unwrap_or(20_000) {
        let count = 1 + dice.roll(14);
        let sql: String = (0..count).map(|_| FRAGMENTS[dice.roll(FRAGMENTS.len())]).collect();
        compared += usize::from(check(&sql));
    }
    assert!(2_000 < compared, "only {compared} texts could be compared");
}
