//! PostgreSQL's lexical rules, in one linear pass: where each token begins and ends.
//!
//! It holds only for UTF-8 text with `standard_conforming_strings = on`, and it is compared with
//! the parser's own scanner by test.

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Space,
    LineComment,
    /// How deep comments nest in it.
    BlockComment(usize),
    /// A keyword or an unquoted name.
    Word,
    /// `"…"`.
    Name,
    /// `U&'…'` or `U&"…"`.
    Unicode,
    /// `'…'`, `E'…'`, `$$…$$`.
    Text,
    /// `B'…'`, `X'…'`.
    Bits,
    Number,
    /// `$1`.
    Parameter,
    /// A run of operator characters; PostgreSQL may cut it into several.
    Operator,
    /// One other byte: `(`, `,`, `.`, …
    Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// What its end would be is a matter of the server's version, or it has no end at all.
    pub doubtful: bool,
}

pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(sql: &'a [u8]) -> Self {
        Self { sql, at: 0 }
    }

    /// Passes over words, white space and marks among which no literal begins: most of a text. True
    /// when there was any.
    pub fn skip_plain(&mut self) -> bool {
        let start = self.at;
        while let Some(&byte) = self.sql.get(self.at) {
            let class = CLASSES[usize::from(byte)];
            let begun = self.at;
            if class & WORD_START != 0 {
                self.skip_while(is_word);
                if self.at == begun + 1 && matches!(self.peek(0), b'\'' | b'"' | b'&') {
                    // `e'…'`, `U&"…"`: not a word of its own.
                    self.at = begun;
                    break;
                }
                continue;
            }
            let is_dot = byte == b'.' && !matches!(self.peek(1), b'.' | b'0'..=b'9');
            if class & PLAIN == 0 && !is_dot {
                break;
            }
            self.at += 1;
        }
        start < self.at
    }

    fn peek(&self, ahead: usize) -> u8 {
        // NUL stands for the end; the guard refuses texts that hold one.
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let rest = &self.sql[self.at..];
        self.at += rest.iter().position(|byte| !keep(*byte)).unwrap_or(rest.len());
    }

    /// Takes the next piece; true when its end is doubtful.
    fn take(&mut self) -> (Kind, bool) {
        let byte = self.peek(0);
        match byte {
            _ if is_word_start(byte) => self.word(byte),
            _ if is_space(byte) => {
                self.skip_while(is_space);
                (Kind::Space, false)
            }
            b'\'' => (Kind::Text, self.string(Quoting::Plain)),
            b'"' => (Kind::Name, self.quoted_name()),
            b'$' => self.dollar(),
            b'0'..=b'9' => (Kind::Number, self.number()),
            b'.' if self.peek(1).is_ascii_digit() => (Kind::Number, self.number()),
            b'.' if self.peek(1) == b'.' => {
                self.at += 2;
                (Kind::Mark, true)
            }
            b'-' if self.peek(1) == b'-' => {
                self.skip_while(|b| b != b'\n' && b != b'\r');
                (Kind::LineComment, false)
            }
            b'/' if self.peek(1) == b'*' => self.block_comment(),
            _ if is_operator(byte) => {
                self.operator();
                (Kind::Operator, false)
            }
            _ => {
                self.at += 1;
                (Kind::Mark, byte == b'\\')
            }
        }
    }

    fn word(&mut self, first: u8) -> (Kind, bool) {
        match (first, self.peek(1)) {
            (b'e' | b'E', b'\'') => {
                self.at += 1;
                return (Kind::Text, self.string(Quoting::Escaped));
            }
            (b'b' | b'B' | b'x' | b'X', b'\'') => {
                self.at += 1;
                return (Kind::Bits, self.string(Quoting::Bits));
            }
            (b'u' | b'U', b'&') if self.peek(2) == b'\'' => {
                self.at += 2;
                return (Kind::Unicode, self.string(Quoting::Plain));
            }
            (b'u' | b'U', b'&') if self.peek(2) == b'"' => {
                self.at += 2;
                return (Kind::Unicode, self.quoted_name());
            }
            _ => {}
        }
        self.skip_while(is_word);
        (Kind::Word, false)
    }

    /// Takes `'…'` with all its continuations; true when it has some, or no end.
    fn string(&mut self, quoting: Quoting) -> bool {
        let mut continued = false;
        loop {
            self.at += 1;
            if !self.string_body(quoting) {
                return true;
            }
            match self.continuation() {
                Some(next) => self.at = next,
                None => return continued,
            }
            continued = true;
        }
    }

    /// Takes up to and with the closing quote; false when there is none.
    fn string_body(&mut self, quoting: Quoting) -> bool {
        loop {
            match quoting {
                Quoting::Escaped => self.skip_while(|b| b != b'\'' && b != b'\\'),
                Quoting::Plain | Quoting::Bits => self.skip_while(|b| b != b'\''),
            }
            if self.at >= self.sql.len() {
                return false;
            }
            if self.peek(0) == b'\\' {
                self.at = (self.at + 2).min(self.sql.len());
                continue;
            }
            self.at += 1;
            if quoting == Quoting::Bits || self.peek(0) != b'\'' {
                return true;
            }
            self.at += 1;
        }
    }

    /// A quote behind white space that holds a line break goes on with the same string.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut broken = false;
        loop {
            match self.sql.get(at)? {
                b'\n' | b'\r' => broken = true,
                b'\'' => return broken.then_some(at),
                b'-' if self.sql.get(at + 1) == Some(&b'-') => {
                    let rest = &self.sql[at..];
                    // Stop on the line break, so that it counts.
                    at += rest.iter().position(|b| matches!(b, b'\n' | b'\r'))?;
                    continue;
                }
                byte if is_space(*byte) => {}
                _ => return None,
            }
            at += 1;
        }
    }

    fn quoted_name(&mut self) -> bool {
        self.at += 1;
        loop {
            self.skip_while(|b| b != b'"');
            if self.at >= self.sql.len() {
                return true;
            }
            self.at += 1;
            if self.peek(0) != b'"' {
                return false;
            }
            self.at += 1;
        }
    }

    /// `$1`, `$tag$…$tag$`, or a stray `$`.
    fn dollar(&mut self) -> (Kind, bool) {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            self.skip_while(|b| b.is_ascii_digit());
            return (Kind::Parameter, is_word(self.peek(0)));
        }
        if self.peek(0) != b'$' {
            if !is_word_start(self.peek(0)) {
                return (Kind::Mark, true);
            }
            self.skip_while(|b| is_word(b) && b != b'$');
            if self.peek(0) != b'$' {
                self.at = start + 1;
                return (Kind::Mark, true);
            }
        }
        self.at += 1;
        let tag = &self.sql[start..self.at];
        loop {
            self.skip_while(|b| b != b'$');
            if self.at >= self.sql.len() {
                return (Kind::Text, true);
            }
            if self.sql[self.at..].starts_with(tag) {
                self.at += tag.len();
                return (Kind::Text, false);
            }
            self.at += 1;
        }
    }

    /// Takes a decimal number. Other bases, underscores, `1..2` and glued letters are doubtful.
    fn number(&mut self) -> bool {
        self.skip_while(|b| b.is_ascii_digit());
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_while(|b| b.is_ascii_digit());
            }
        }
        is_word(self.peek(0)) || self.peek(0) == b'.'
    }

    fn block_comment(&mut self) -> (Kind, bool) {
        let (mut depth, mut deepest) = (0_usize, 0);
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return (Kind::BlockComment(deepest), false);
                    }
                }
                _ => self.at += 1,
            }
        }
        (Kind::BlockComment(deepest), true)
    }

    fn operator(&mut self) {
        while is_operator(self.peek(0)) {
            if matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*')) {
                return;
            }
            self.at += 1;
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at;
        if start >= self.sql.len() {
            return None;
        }
        let (kind, doubtful) = self.take();
        Some(Piece { kind, start, end: self.at, doubtful })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Plain,
    Escaped,
    Bits,
}

const SPACE: u8 = 1;
const WORD_START: u8 = 2;
const WORD: u8 = 4;
const OPERATOR: u8 = 8;
/// Is a token, or none, whatever stands beside it.
const PLAIN: u8 = 16;

/// What each byte may be; one look-up instead of a chain of comparisons, as this is run for every
/// byte of every statement.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        classes[at] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE | PLAIN,
            b',' | b';' | b'(' | b')' | b'[' | b']' => PLAIN,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => WORD_START | WORD,
            b'0'..=b'9' | b'$' => WORD,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*'
            | b'/' | b'%' | b'<' | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        at += 1;
    }
    classes
};

/// The word that a text begins with, past comments, empty statements and white space.
pub fn first_word(sql: &[u8]) -> &[u8] {
    let idle = |piece: &Piece| match piece.kind {
        Kind::Space | Kind::LineComment | Kind::BlockComment(_) => true,
        Kind::Mark => sql[piece.start..piece.end] == *b";",
        _ => false,
    };
    let first = Lexer::new(sql).find(|piece| !idle(piece));
    first.filter(|piece| piece.kind == Kind::Word).map_or(b"", |piece| &sql[piece.start..piece.end])
}

pub fn is_space(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & SPACE != 0
}

pub fn is_word_start(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & WORD_START != 0
}

pub fn is_word(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & WORD != 0
}

pub fn is_operator(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & OPERATOR != 0
}

#[cfg(test)]
mod tests;
