//! The facts about a statement once its parameters have values.

use std::sync::Arc;

use super::{
    Access, Act, Change, Frees, Leaves, Name, NameKind, Parameter, Statement, Text, Value,
};

/// The smallest number that PostgreSQL gives to an object which a user makes.
pub const USER_OID_MIN: i64 = 16_384;

/// How an array of one dimension begins in its binary form.
const ONE_DIMENSION: [u8; 4] = [0, 0, 0, 1];
const ARRAY_HEAD_BYTES: usize = 20;

/// The value of a parameter as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound<'v> {
    pub bytes: &'v [u8],
    pub is_binary: bool,
}

impl Text {
    /// What must be assumed of a text that was not read.
    pub fn unread() -> Self {
        let statement = Statement {
            access: Access::Write,
            names: Vec::new(),
            unqualified: true,
            catalogue: None,
            act: Act::None,
            set_configs: Vec::new(),
            parameters: Vec::new(),
            leaves: Leaves::UNKNOWN,
            frees: Frees::SOME,
            asks_sequence: false,
            looks_up: true,
        };
        Self { statements: vec![statement] }
    }

    /// Whether the value of a parameter may decide what it does or where it goes.
    pub fn awaits_values(&self) -> bool {
        self.statements.iter().any(|statement| {
            let mut configs = statement.set_configs.iter();
            let numbers = statement.catalogue.as_ref().map(|asks| &asks.number_parameters);
            !statement.parameters.is_empty()
                || numbers.is_some_and(|numbers| !numbers.is_empty())
                || configs.any(|change| {
                    matches!(change.value, Value::Parameter(_))
                        || change.local_bound.is_some()
                        || bound_name(change).is_some()
                })
        })
    }

    /// The facts with the values of parameters (counted from 1) filled in. `None` stands for a
    /// value that is NULL or cannot be read.
    pub fn with_values<'v>(
        self: &Arc<Self>,
        value: impl Fn(u16) -> Option<Bound<'v>>,
    ) -> Arc<Self> {
        if !self.awaits_values() {
            return self.clone();
        }
        let mut text = Self::clone(self);
        text.statements.iter_mut().for_each(|statement| statement.fill(&value));
        Arc::new(text)
    }
}

/// The parameter that names the setting, if it is one: no setting's name begins with `$`.
fn bound_name(change: &Change) -> Option<u16> {
    change.setting.strip_prefix('$')?.parse().ok()
}

/// A bound `bool`: as text, or as the one byte of the binary format.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "t" | "true" | "on" | "yes" | "y" | "1" | "\u{1}" => Some(true),
        "f" | "false" | "off" | "no" | "n" | "0" | "\u{0}" => Some(false),
        _ => None,
    }
}

impl Statement {
    fn fill<'v>(&mut self, bound: &impl Fn(u16) -> Option<Bound<'v>>) {
        // A text's binary form is its bytes.
        let value = |number| bound(number).and_then(|bound| str::from_utf8(bound.bytes).ok());
        for change in &mut self.set_configs {
            if let Some(number) = bound_name(change) {
                match value(number) {
                    Some(setting) => change.setting = setting.to_ascii_lowercase(),
                    // What might be the search_path counts as it.
                    None => {
                        (change.setting, change.value) = ("search_path".to_owned(), Value::Unknown);
                    }
                }
            }
            if let Value::Parameter(number) = change.value {
                let text = value(number).map(|value| Value::Text(value.to_owned()));
                change.value = text.unwrap_or(Value::Unknown);
            }
            if let Some(number) = change.local_bound.take() {
                match value(number).and_then(truth) {
                    Some(local) => change.local = local,
                    None => change.value = Value::Unknown,
                }
            }
            if change.value == Value::Unknown {
                self.leaves |= Leaves::UNKNOWN;
            }
        }
        for Parameter { number, reading } in std::mem::take(&mut self.parameters) {
            let texts = bound(number).map(Bound::texts).unwrap_or_default();
            self.looks_up |= texts.iter().any(|text| reading.looks_up(text));
            self.unqualified |=
                self.looks_up && (self.access == Access::Write || self.asks_sequence);
            for schema in texts.into_iter().flat_map(|text| reading.names(text)) {
                let name = Name { schema, kind: NameKind::Perhaps };
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
        }
        if let Some(catalogue) = &mut self.catalogue {
            let mut numbers = std::mem::take(&mut catalogue.number_parameters).into_iter();
            catalogue.numbers |=
                numbers.any(|number| bound(number).is_some_and(Bound::has_user_oid));
        }
    }
}

impl<'v> Bound<'v> {
    /// The text, or the texts of an array in its binary form.
    fn texts(self) -> Vec<&'v str> {
        let items = self.items().unwrap_or_else(|| vec![self.bytes]);
        items.into_iter().filter_map(|item| str::from_utf8(item).ok()).collect()
    }

    fn has_user_oid(self) -> bool {
        if !self.is_binary {
            return str::from_utf8(self.bytes).is_ok_and(has_user_oid);
        }
        let items = self.items().unwrap_or_else(|| vec![self.bytes]);
        items.into_iter().any(|item| match *item {
            // Four letters are a text, not the number of one in half a billion objects.
            [a, b, c, d] if item.iter().any(|byte| *byte < b' ') => {
                USER_OID_MIN <= i64::from(u32::from_be_bytes([a, b, c, d]))
            }
            [0, 0, 0, 0, a, b, c, d] => USER_OID_MIN <= i64::from(u32::from_be_bytes([a, b, c, d])),
            _ => false,
        })
    }

    /// The items of an array of one dimension in its binary form. No text has a zero byte.
    fn items(self) -> Option<Vec<&'v [u8]>> {
        if !self.is_binary || !self.bytes.starts_with(&ONE_DIMENSION) {
            return None;
        }
        let mut rest = self.bytes.get(ARRAY_HEAD_BYTES..)?;
        let mut items = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            rest = after;
            // -1 stands for NULL.
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { continue };
            let (item, after) = rest.split_at_checked(length)?;
            items.push(item);
            rest = after;
        }
        Some(items)
    }
}

/// Whether a text is nothing but numbers, one of which a user's object may have: `16395`,
/// `{16395,16401}`.
pub fn has_user_oid(text: &str) -> bool {
    let is_oid = |number: &str| number.parse().is_ok_and(|number: i64| USER_OID_MIN <= number);
    text.chars().all(|letter| letter.is_ascii_digit() || "{}, ".contains(letter))
        && text.split(|letter: char| !letter.is_ascii_digit()).any(is_oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(bytes: &[u8]) -> Bound<'_> {
        Bound { bytes, is_binary: true }
    }

    fn array(items: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [ONE_DIMENSION, [0; 4], [0, 0, 0, 26], [0, 0, 0, 2], [0, 0, 0, 1]].concat();
        for item in items {
            bytes.extend(i32::try_from(item.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(item);
        }
        bytes
    }

    #[test]
    fn numbers_of_objects() {
        for text in ["16384", "{1,16395}", "{16395, 16396}"] {
            assert!(has_user_oid(text), "{text}");
        }
        for text in ["16383", "1259", "", "{}", "16395x", "acme", "r", "-16395"] {
            assert!(!has_user_oid(text), "{text}");
        }
        assert!(binary(&[0, 0, 0x40, 0]).has_user_oid());
        assert!(binary(&[0, 0, 0, 0, 0, 0, 0x40, 0]).has_user_oid());
        assert!(binary(&array(&[&[0, 0, 0, 1], &[0, 0, 0x40, 0]])).has_user_oid());
        assert!(!binary(&[0, 0, 4, 0]).has_user_oid());
        assert!(!binary(b"acme").has_user_oid());
        assert!(!binary(b"16395").has_user_oid());
        assert!(!binary(&array(&[b"acme"])).has_user_oid());
    }

    #[test]
    fn texts_of_arrays() {
        assert_eq!(binary(b"acme").texts(), ["acme"]);
        assert_eq!(binary(&array(&[b"acme", b"b c"])).texts(), ["acme", "b c"]);
        let mut with_null = array(&[b"acme"]);
        with_null.extend([0xff; 4]);
        assert_eq!(binary(&with_null).texts(), ["acme"]);
        for cut in 0..with_null.len() {
            binary(&with_null[..cut]).texts();
            binary(&with_null[..cut]).has_user_oid();
        }
    }
}
