//! Why a value could not be read, in an operator's words.

use serde::de;

use super::tree::{Entry, Node, Value};
use super::{Place, did_you_mean};

/// Why a value could not be read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) place: Option<Place>,
    /// The key or list member to leave out.
    pub(super) culprit: Option<u32>,
    pub(super) is_missing_field: bool,
    /// Something inside was noted already.
    pub(super) is_consequence: bool,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: None,
            culprit: None,
            is_missing_field: false,
            is_consequence: false,
        }
    }

    pub(super) fn in_entry(mut self, entry: &Entry) -> Self {
        if self.place.is_none() {
            let (place, message) = entry.note(&self.message);
            (self.place, self.message) = (Some(place), message);
        }
        self.culprit = self.culprit.or(Some(entry.key.id));
        self
    }

    pub(super) fn in_member(mut self, node: &Node, list: Option<&str>) -> Self {
        if self.place.is_none() {
            self.place = Some(node.place);
            if let Some(list) = list {
                self.message = format!("a member of `{list}` {}", self.message);
            }
        }
        self.culprit = self.culprit.or(Some(node.id));
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(format!("cannot be so: {message}"))
    }

    fn invalid_type(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        let wanted = wanted.to_string();
        // serde names Rust's types, and operators do not write Rust.
        let wanted = match wanted.as_str() {
            "u8" => "a number up to 255",
            "u16" => "a number up to 65535",
            rust if rust.starts_with("a nonzero") => "a whole number above 0",
            other => other,
        };
        let found = match found {
            de::Unexpected::Unsigned(number) => format!("`{number}`"),
            de::Unexpected::Str(text) => format!("`{text}`"),
            other => other.to_string(),
        };
        Self::new(format!("is {found}; wanted {wanted}"))
    }

    fn invalid_value(found: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let near = did_you_mean(variant, expected.iter().copied());
        Self::new(format!("is `{variant}`; wanted one of {}{near}", list(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { is_missing_field: true, ..Self::new(format!("lacks `{field}`")) }
    }
}

impl Entry {
    /// A value on its own line is where to look; of a larger thing, its key.
    pub(super) fn note(&self, message: &str) -> (Place, String) {
        let is_single = matches!(self.value.value, Value::Scalar(_));
        let place = if is_single { self.value.place } else { self.key.place };
        (place, format!("`{}` {message}", self.key.text))
    }
}

pub(super) fn unknown_key(key: &str, known: &[&'static str]) -> String {
    let near = did_you_mean(key, known.iter().copied());
    if near.is_empty() {
        format!("unknown key `{key}`; known: {}", list(known))
    } else {
        format!("unknown key `{key}`{near}")
    }
}

pub(super) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
