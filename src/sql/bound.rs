//! The facts about a statement once its parameters have values.

use std::sync::Arc;

use super::{Access, Act, Change, Frees, Leaves, Name, NameKind, Statement, Text, Value, literal};

impl Text {
    /// What must be assumed of a text that was not read.
    pub fn unread() -> Self {
        let statement = Statement {
            access: Access::Write,
            names: Vec::new(),
            unqualified: true,
            catalogue: false,
            act: Act::None,
            set_configs: Vec::new(),
            parameters: Vec::new(),
            leaves: Leaves::UNKNOWN,
            frees: Frees::SOME,
        };
        Self { statements: vec![statement] }
    }

    /// Whether the value of a parameter may decide what it does or where it goes.
    pub fn awaits_values(&self) -> bool {
        self.statements.iter().any(|statement| {
            let mut configs = statement.set_configs.iter();
            !statement.parameters.is_empty()
                || configs.any(|change| {
                    matches!(change.value, Value::Parameter(_))
                        || change.local_bound.is_some()
                        || bound_name(change).is_some()
                })
        })
    }

    /// The facts with the values of parameters (counted from 1) filled in. `None` stands for a
    /// value that is NULL or cannot be read.
    pub fn with_values<'v>(self: &Arc<Self>, value: impl Fn(u16) -> Option<&'v str>) -> Arc<Self> {
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
    fn fill<'v>(&mut self, value: &impl Fn(u16) -> Option<&'v str>) {
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
        for text in std::mem::take(&mut self.parameters).into_iter().filter_map(value) {
            let schemas =
                if self.catalogue { literal::compared(text) } else { literal::names(text) };
            for schema in schemas {
                let name = Name { schema, kind: NameKind::Perhaps };
                if !self.names.contains(&name) {
                    self.names.push(name);
                }
            }
        }
    }
}
