//! Which schemas the text of a literal may name.

use super::path::fold;
use super::relations;
use crate::tenant::{NAME_BYTES_MAX, cut};

/// One identifier of a text, as PostgreSQL reads it, and whether a dot follows.
struct Word {
    name: String,
    dotted: bool,
}

/// How PostgreSQL reads a text that may name a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reading {
    /// As the argument of a function that we do not know: an object, or a schema.
    Anything,
    /// As `'acme.t'::regclass`: what stands before a dot.
    Object,
    /// As `'acme'::regnamespace`.
    Schema,
    /// As `nspname = 'acme'`, `= ANY ('{acme,bolt}')`: exactly, without folding.
    Equal,
    /// As `nspname LIKE 'acme'`. An underscore stands in many names, and is taken for itself.
    Like,
    /// As psql writes it: `nspname ~ '^(acme)$'`.
    Regex,
}

impl Reading {
    /// Whether PostgreSQL would look such a text up along the path.
    pub fn looks_up(self, text: &str) -> bool {
        let is_object = self == Self::Object;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_object && !is_number && !text.contains('.') && !relations::is_catalogue(text)
    }

    /// The names that a text may stand for. What only begins like a name is none.
    pub fn names(self, text: &str) -> Vec<String> {
        let mut names = match self {
            Self::Schema | Self::Regex => Vec::new(),
            _ => words_before_dots(text, false),
        };
        match self {
            Self::Object => {}
            Self::Anything | Self::Schema => names.extend(whole(text.trim())),
            Self::Equal => names.extend(items(text)),
            Self::Like => names.extend(unescaped(text)),
            Self::Regex => names.extend(alternatives(text)),
        }
        names.sort();
        names.dedup();
        names.retain(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
        names
    }
}

/// The text itself, and the items of an array.
fn items(text: &str) -> Vec<String> {
    let array = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let items = array.into_iter().flat_map(|array| array.split(','));
    let items = items.map(|item| item.trim_matches('"').to_owned());
    items.chain([text.to_owned()]).collect()
}

fn unescaped(pattern: &str) -> Option<String> {
    let mut name = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => return None,
            '\\' => name.extend(letters.next()),
            _ => name.push(letter),
        }
    }
    Some(name)
}

/// The plain words among the alternatives of a regular expression that is anchored on both sides.
fn alternatives(pattern: &str) -> Vec<String> {
    let Some(inner) = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else {
        return Vec::new();
    };
    let group = inner.strip_prefix("(?:").or_else(|| inner.strip_prefix('('));
    let group = group.and_then(|rest| rest.strip_suffix(')'));
    // Without a group the anchors would hold for the first and the last only.
    let mut words = vec![Some(String::new())];
    let mut letters = group.unwrap_or(inner).chars();
    while let Some(letter) = letters.next() {
        let plain = match letter {
            '|' if group.is_some() => {
                words.push(Some(String::new()));
                continue;
            }
            // A class of characters, or a back reference.
            '\\' => letters.next().filter(|escaped| !escaped.is_alphanumeric()),
            '|' | '.' | '*' | '+' | '?' | '[' | ']' | '{' | '}' | '(' | ')' | '^' | '$' => None,
            _ => Some(letter),
        };
        if let Some(last) = words.last_mut() {
            match (plain, &mut *last) {
                (Some(plain), Some(word)) => word.push(plain),
                _ => *last = None,
            }
        }
    }
    words.into_iter().flatten().collect()
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

#[cfg(test)]
mod tests {
    use super::Reading as R;

    #[track_caller]
    fn check(reading: R, text: &str, expected: &str) {
        assert_eq!(reading.names(text).join(" "), expected, "{reading:?} {text}");
    }

    #[test]
    fn texts_that_name() {
        check(R::Object, "acme.t", "acme");
        check(R::Object, "acme", "");
        check(R::Schema, "Acme", "acme");
        check(R::Schema, "\"My T\"", "My T");
        check(R::Anything, "acme", "acme");
        check(R::Equal, "Acme", "Acme");
        check(R::Equal, "{acme,\"b c\"}", "acme b c {acme,\"b c\"}");
        check(R::Like, "my\\_tenant", "my_tenant");
        check(R::Like, "my_tenant", "my_tenant");
        check(R::Like, "ac%", "");
        check(R::Regex, "^(acme)$", "acme");
        check(R::Regex, "^acme$", "acme");
        check(R::Regex, "^(?:acme|bolt)$", "acme bolt");
        check(R::Regex, "^(a\\$b)$", "a$b");
        check(R::Regex, "^(acme|b.*)$", "acme");
        check(R::Regex, "^(a\\d)$", "");
        check(R::Regex, "^acme", "");
        check(R::Regex, "acme", "");
        check(R::Regex, "^acme|bolt$", "");
        check(R::Regex, "^pg_", "");
    }
}
