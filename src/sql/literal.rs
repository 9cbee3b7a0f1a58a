//! Which schemas the text of a literal may name.

use super::path::fold;
use crate::tenant::cut;

/// One identifier of a text, as PostgreSQL reads it, and whether a dot follows.
struct Word {
    name: String,
    dotted: bool,
}

/// As `'acme.t'::regclass` reads it: what stands before a dot, and the whole when it is a name.
pub fn names(text: &str) -> Vec<String> {
    let mut names = words_before_dots(text, false);
    if let Some(name) = whole(text.trim()) {
        names.push(name);
    }
    names
}

/// As `nspname = 'acme'` and psql's `~ '^(acme)$'` read it: exactly, without folding.
pub fn compared(text: &str) -> Vec<String> {
    if text.contains('%') {
        return Vec::new();
    }
    let bare = text.trim_start_matches("^(").trim_end_matches(")$");
    // LIKE and regular expressions both escape with a backslash.
    let plain = bare.replace('\\', "");
    let mut names: Vec<String> = match plain.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        Some(array) => array.split(',').map(|item| item.trim_matches('"').to_owned()).collect(),
        None => plain.split('|').map(str::to_owned).collect(),
    };
    names.push(text.to_owned());
    names.extend(words_before_dots(text, false));
    names.sort();
    names.dedup();
    names.retain(|name| !name.is_empty() && name.len() <= crate::tenant::NAME_BYTES_MAX);
    names
}

/// Every identifier before a dot; with `whole`, the first one without a dot as well.
pub fn words_before_dots(text: &str, whole: bool) -> Vec<String> {
    words(text).into_iter().filter(|word| whole || word.dotted).map(|word| word.name).collect()
}

fn whole(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, after) = take_quoted(quoted)?;
        return after.is_empty().then_some(name);
    }
    let plain = text.starts_with(is_start) && text.chars().all(is_part);
    plain.then(|| fold(text))
}

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (name, after) = if first == '"' {
            match take_quoted(&rest[1..]) {
                Some((name, after)) => (name, after),
                // A stray quote: what follows may still hold names.
                None => {
                    rest = &rest[1..];
                    continue;
                }
            }
        } else if is_start(first) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (fold(&rest[..end]), &rest[end..])
        } else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let dotted = after.trim_start().starts_with('.');
        words.push(Word { name, dotted });
        rest = after;
    }
    words
}

/// The name up to the closing quote, and what follows it.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
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

fn is_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_part(c: char) -> bool {
    is_start(c) || c.is_ascii_digit() || c == '$'
}
