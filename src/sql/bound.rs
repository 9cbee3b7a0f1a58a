//! The facts about a statement once its parameters have values.

use std::sync::Arc;

use super::{Access, Act, Leaves, Name, NameKind, Statement, Text, Value, literal};

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
            leaves: Leaves::Unknown,
        };
        Self { statements: vec![statement] }
    }

    /// Whether the value of a parameter may decide what it does or where it goes.
    pub fn awaits_values(&self) -> bool {
        self.statements.iter().any(|statement| {
            let mut configs = statement.set_configs.iter();
            !statement.parameters.is_empty()
                || configs.any(|change| matches!(change.value, Value::Parameter(_)))
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

impl Statement {
    fn fill<'v>(&mut self, value: &impl Fn(u16) -> Option<&'v str>) {
        for change in &mut self.set_configs {
            if let Value::Parameter(number) = change.value {
                let text = value(number).map(|value| Value::Text(value.to_owned()));
                change.value = text.unwrap_or(Value::Unknown);
                if change.value == Value::Unknown {
                    self.leaves = self.leaves.max(Leaves::Unknown);
                }
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
