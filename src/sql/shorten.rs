//! Long texts without the insides of their literals: data cost the parser nothing and mean nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

use super::lex::{Kind, Lexer};
use super::literal::words_before_dots;

/// Nothing is gained with shorter literals.
const LITERAL_BYTES_MIN: usize = 256;

/// A text that says the same of schemas, at most `bytes_max` long if that can be had. Of a long
/// literal only the words before dots are left, which might name a schema.
pub fn shorten(sql: &str, bytes_max: usize) -> Cow<'_, str> {
    if sql.len() <= bytes_max {
        return sql.into();
    }
    let mut short = String::with_capacity(bytes_max);
    let mut copied = 0;
    for piece in Lexer::new(sql.as_bytes()) {
        let literal = &sql[piece.start..piece.end];
        if let Some(data) = data_of(piece.kind, literal) {
            short.push_str(&sql[copied..piece.start]);
            let names: BTreeSet<_> = words_before_dots(&data, false).into_iter().collect();
            short.push('\'');
            for name in names {
                let name = name.replace('"', "\"\"").replace('\'', "''");
                let _ = write!(short, "\"{name}\". ");
            }
            short.push('\'');
            copied = piece.end;
        }
        if bytes_max < short.len() {
            break;
        }
    }
    short.push_str(&sql[copied..]);
    short.into()
}

/// What a long plain literal holds. Others (`E'…'`, `$$…$$`, a literal that goes on in the next line)
/// have escapes, or hold code; and a padded word is a word.
fn data_of(kind: Kind, literal: &str) -> Option<String> {
    let inside = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let is_long = LITERAL_BYTES_MIN < inside.trim().len();
    let is_plain = kind == Kind::Text && !inside.replace("''", "").contains('\'');
    (is_long && is_plain).then(|| inside.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        let data = "1, 2.5, x ".repeat(100);
        let (sql, expected) = (sql.replace("DATA", &data), expected.replace("DATA", &data));
        assert_eq!(shorten(&sql, expected.len()), expected);
    }

    #[test]
    fn data_are_left_out_and_names_are_not() {
        check("SELECT 1", "SELECT 1");
        check("INSERT INTO t SELECT 'DATA', 'short'", "INSERT INTO t SELECT '', 'short'");
        check(
            "SELECT f('DATA acme.t \"My T\".u ''x.y''')",
            "SELECT f('\"My T\". \"acme\". \"x\". ')",
        );
        check("SELECT f('DATA \"my''t\".u')", "SELECT f('\"my''t\". ')");
        check("SELECT $$DATA$$, 'DATA'", "SELECT $$DATA$$, ''");
        check("SELECT 'DATA' -- 'DATA'", "SELECT '' -- 'DATA'");
        check("SELECT 'DATA', 'acme'\n'.tDATA'", "SELECT '', 'acme'\n'.tDATA'");
        let word = format!("'{}acme'", " ".repeat(1000));
        check(&format!("SELECT 'DATA', {word}"), &format!("SELECT '', {word}"));
    }
}
