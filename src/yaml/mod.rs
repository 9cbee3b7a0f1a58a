//! YAML with positions: a tree, a reader that goes on after a mistake, and the list it makes.
//!
//! serde_yaml stops at the first mistake and forgets lines once a value is read. An operator
//! wants all of them at once, each with its line; so files are read through this tree.

mod fault;
mod read;
mod settings;
mod tree;

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::path::Path;
use std::sync::Arc;

pub use settings::{Placed, Section, read};
pub use tree::{Entry, Key, Node, Value, parse};

/// More is not a file a person or veneer wrote; 100,000 tenants take 4 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Nobody reads more than this at once; a file of another kind would give thousands.
const SHOWN_MAX: usize = 200;

/// Where in a file: both count from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and probably does not mean what it says.
    Warning,
}

/// One thing wrong in a file, and the wanted form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub file: Arc<Path>,
    /// Unknown when the file itself cannot be read.
    pub place: Option<Place>,
    pub severity: Severity,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if self.severity == Severity::Warning {
            f.write_str(" warning:")?;
        }
        f.write_char(' ')?;
        // A mistake is one line, whatever the file holds.
        for letter in self.what.chars() {
            if letter.is_control() {
                write!(f, "{}", letter.escape_default())?;
            } else {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

/// Everything wrong in a file, in the order of its lines once shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    file: Arc<Path>,
    list: Vec<Mistake>,
}

impl Mistakes {
    pub fn new(file: &Path) -> Self {
        Self { file: file.into(), list: Vec::new() }
    }

    pub fn error(&mut self, place: impl Into<Option<Place>>, what: impl Into<String>) {
        self.add(place.into(), Severity::Error, what.into());
    }

    pub fn warning(&mut self, place: impl Into<Option<Place>>, what: impl Into<String>) {
        self.add(place.into(), Severity::Warning, what.into());
    }

    /// A mistake about the file as a whole.
    pub fn whole(&mut self, what: impl Into<String>) {
        self.add(None, Severity::Error, what.into());
    }

    /// Takes over the mistakes of another file.
    pub fn absorb(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    pub fn has_errors(&self) -> bool {
        0 < self.error_count()
    }

    pub fn error_count(&self) -> usize {
        self.list.iter().filter(|mistake| mistake.severity == Severity::Error).count()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.list.iter()
    }

    /// The value when the file can be used, else every mistake.
    pub fn unless_errors<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }

    fn add(&mut self, place: Option<Place>, severity: Severity, what: String) {
        self.list.push(Mistake { file: self.file.clone(), place, severity, what });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut files: Vec<&Path> = Vec::new();
        let mut seen = HashSet::new();
        for mistake in &self.list {
            if seen.insert(&*mistake.file) {
                files.push(&mistake.file);
            }
        }
        let mut sorted: Vec<&Mistake> = self.list.iter().collect();
        // Files in the order they were read, since the second is named by the first.
        sorted.sort_by_key(|mistake| {
            (files.iter().position(|file| *file == &*mistake.file), mistake.place)
        });
        for (index, mistake) in sorted.iter().take(SHOWN_MAX).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        if let Some(rest) = sorted.len().checked_sub(SHOWN_MAX).filter(|rest| 0 < *rest) {
            write!(f, "\n{}: and {rest} more", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Reads a file's text, or notes why it cannot be had.
pub fn text(file: &Path, mistakes: &mut Mistakes) -> Option<String> {
    let size = std::fs::metadata(file).map(|facts| facts.len());
    let text = match size {
        Ok(size) if FILE_BYTES_MAX < size => {
            mistakes.whole(format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20));
            return None;
        }
        Ok(_) => std::fs::read_to_string(file),
        Err(error) => Err(error),
    };
    text.inspect_err(|error| mistakes.whole(format!("cannot be read: {error}"))).ok()
}

/// ``; did you mean `x`?``, or nothing when no name is near.
pub fn did_you_mean<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    // A third of the word may be wrong: enough for a slip, too little for another word.
    let distance_max = (wrong.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (strsim::osa_distance(wrong, name), name))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}
