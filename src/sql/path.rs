//! The text of a `search_path`: split and spelled as PostgreSQL does.

use super::keywords;
use crate::tenant::cut;

/// A text that PostgreSQL does not take as a list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of schema names")]
pub struct BadPath(pub String);

/// PostgreSQL's `SplitIdentifierString`: names folded unless quoted, cut at 63 bytes.
pub fn split(text: &str) -> Result<Vec<String>, BadPath> {
    let bad = || BadPath(text.to_owned());
    let mut names = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    if rest.is_empty() {
        return Ok(names);
    }
    loop {
        let (name, after) = take_name(rest).ok_or_else(bad)?;
        names.push(name);
        rest = after.trim_start_matches(is_space);
        if rest.is_empty() {
            return Ok(names);
        }
        rest = rest.strip_prefix(',').ok_or_else(bad)?.trim_start_matches(is_space);
    }
}

fn take_name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c| c == ',' || is_space(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.is_empty()).then(|| (fold(name), rest));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((cut(&name).to_owned(), after)),
        }
    }
}

/// As PostgreSQL folds an identifier in a UTF-8 database: ASCII only, then the cut.
pub fn fold(name: &str) -> String {
    cut(name).to_ascii_lowercase()
}

/// `scanner_isspace`; not what Unicode calls a space.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// The list as `SHOW search_path` prints it after a SET of these names.
pub fn spell(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// PostgreSQL's `quote_identifier`.
pub fn quote(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !keywords::needs_quotes(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests;
