//! A session's settings with PostgreSQL's transactions and savepoints. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::settings::{SettingMap, Told};
use crate::sql::{Change, Value};

#[derive(Debug, Clone, Default)]
pub struct Level {
    session: SettingMap,
    /// SET LOCAL; `None` stands for the start value.
    local: Arc<BTreeMap<String, Option<Told>>>,
}

/// What the client has set, as it would be on a PostgreSQL of its own.
#[derive(Debug, Default)]
pub struct Settings {
    start: SettingMap,
    now: Level,
    /// As it was at the transaction's begin, then at each open savepoint.
    saved: Vec<(Option<String>, Level)>,
    /// A setting has been changed since the transaction's begin.
    in_motion: bool,
}

impl Settings {
    pub fn new(start: SettingMap) -> Self {
        let now = Level { session: start.clone(), local: Arc::default() };
        Self { start, now, saved: Vec::new(), in_motion: false }
    }

    pub fn start(&self) -> &SettingMap {
        &self.start
    }

    /// The values that outlive the transaction.
    pub fn session(&self) -> &SettingMap {
        &self.now.session
    }

    /// The values as they were before the open transaction, if there is one.
    pub fn before(&self) -> &SettingMap {
        self.saved.first().map_or(&self.now.session, |(_, level)| &level.session)
    }

    /// What is in force.
    pub fn get(&self, setting: &str) -> Option<&Told> {
        self.at(&self.now, setting)
    }

    /// What was in force on a level.
    pub fn at<'s>(&'s self, level: &'s Level, setting: &str) -> Option<&'s Told> {
        match level.local.get(setting) {
            Some(Some(told)) => Some(told),
            Some(None) => self.start.get(setting),
            None => level.session.get(setting),
        }
    }

    /// All that COMMIT, ROLLBACK or ROLLBACK TO may put in force again.
    pub fn earlier(&self) -> Vec<Level> {
        let committed = Level { session: self.now.session.clone(), local: Arc::default() };
        let saved = self.saved.iter().map(|(_, level)| level.clone());
        saved.chain([committed]).collect()
    }

    /// Whether the end of the transaction, or of a part of it, may bring other values back.
    pub fn is_in_motion(&self) -> bool {
        self.in_motion
    }

    pub fn has_savepoint(&self) -> bool {
        self.saved.iter().any(|(name, _)| name.is_some())
    }

    pub fn begin(&mut self) {
        if self.saved.is_empty() {
            self.saved.push((None, self.now.clone()));
        }
    }

    pub fn commit(&mut self) {
        self.saved.clear();
        self.end();
    }

    pub fn roll_back(&mut self) {
        if let Some((_, first)) = self.saved.drain(..).next() {
            self.now = first;
        }
        self.end();
    }

    fn end(&mut self) {
        self.in_motion = false;
        if !self.now.local.is_empty() {
            self.now.local = Arc::default();
        }
    }

    pub fn savepoint(&mut self, name: &str) {
        self.saved.push((Some(name.to_owned()), self.now.clone()));
    }

    pub fn release(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.saved.truncate(index);
        }
    }

    pub fn roll_back_to(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.saved.truncate(index + 1);
            self.now = self.saved[index].1.clone();
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.saved.iter().rposition(|(saved, _)| saved.as_deref() == Some(name))
    }

    pub fn change(&mut self, change: &Change) {
        let Change { setting, value, local, local_bound: _ } = change;
        let told = match value {
            Value::Default => self.start.get(setting).cloned(),
            Value::Text(text) => Some(Told::Text(text.as_str().into())),
            Value::Statement(sql) => Some(Told::Statement(sql.as_str().into())),
            // Settled when it is bound, or unknowable: then the backend is not used again.
            Value::Parameter(_) | Value::Unknown => return,
        };
        self.in_motion |= !self.saved.is_empty();
        if *local {
            let told = if *value == Value::Default { None } else { told };
            Arc::make_mut(&mut self.now.local).insert(setting.clone(), told);
        } else {
            Arc::make_mut(&mut self.now.local).remove(setting);
            self.now.session.set(setting, told);
        }
    }

    /// Says the client's start values, or what came after them, again: RESET on a shard gives the
    /// shard's own.
    pub fn amendment(&self) -> Option<String> {
        let mut sql = Vec::new();
        for (setting, start) in self.start.iter() {
            let quote = postgres_protocol::escape::escape_literal;
            let mut say = |told: Option<&Told>, local: bool| {
                if let Some(text) = told.and_then(Told::text) {
                    let (setting, text) = (quote(setting), quote(text));
                    sql.push(format!("pg_catalog.set_config({setting},{text},{local})"));
                }
            };
            say(self.now.session.get(setting), false);
            if let Some(local) = self.now.local.get(setting) {
                say(local.as_ref().or(Some(start)), true);
            }
        }
        (!sql.is_empty()).then(|| format!("SELECT {}", sql.join(",")))
    }

    /// Sets what is ours to say: no transaction takes it back.
    pub fn put(&mut self, setting: &str, told: Told) {
        self.saved.iter_mut().for_each(|(_, level)| level.session.set(setting, Some(told.clone())));
        self.now.session.set(setting, Some(told));
    }

    /// What a value has become: a DateStyle that is said in part keeps the rest of the one before.
    pub fn refine(&mut self, setting: &str, text: &str) {
        let told = Told::Text(text.into());
        if self.now.local.contains_key(setting) {
            Arc::make_mut(&mut self.now.local).insert(setting.to_owned(), Some(told));
        } else if self.now.session.get(setting).is_some() {
            self.now.session.set(setting, Some(told));
        }
    }

    pub fn reset_all(&mut self) {
        self.in_motion |= !self.saved.is_empty();
        self.now = Level { session: self.start.clone(), local: Arc::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script of words; `x=1` sets, `x:1` sets locally, `-x` resets, `?` shows `x`.
    #[track_caller]
    fn check(script: &str, expected: &str) {
        let mut settings =
            Settings::new(SettingMap::new([("x".to_owned(), Told::Text("start".into()))].into()));
        let mut shown = Vec::new();
        for word in script.split_whitespace() {
            let change = |value: &str, local| Change {
                setting: "x".to_owned(),
                value: Value::Text(value.to_owned()),
                local,
                local_bound: None,
            };
            match word {
                "begin" => settings.begin(),
                "commit" => settings.commit(),
                "rollback" => settings.roll_back(),
                "resetall" => settings.reset_all(),
                "?" => shown.push(settings.get("x").and_then(Told::text).unwrap_or("-").to_owned()),
                "-x" => settings.change(&Change {
                    setting: "x".to_owned(),
                    value: Value::Default,
                    local: false,
                    local_bound: None,
                }),
                _ => match word.split_at(1) {
                    ("s", name) => settings.savepoint(name),
                    ("r", name) => settings.release(name),
                    ("t", name) => settings.roll_back_to(name),
                    _ => match word.split_once('=') {
                        Some((_, value)) => settings.change(&change(value, false)),
                        None => settings.change(&change(&word[2..], true)),
                    },
                },
            }
        }
        assert_eq!(shown.join(" "), expected, "{script}");
    }

    #[test]
    fn transactions_and_savepoints() {
        check("? x=1 ? -x ?", "start 1 start");
        check("begin x=1 ? rollback ?", "1 start");
        check("begin x=1 commit ?", "1");
        check("begin x:1 ? commit ?", "1 start");
        check("begin x=1 x:2 ? commit ?", "2 1");
        check("begin x:2 x=1 ? commit ?", "1 1");
        check("begin x=1 sa x=2 ta ? commit ?", "1 1");
        check("begin sa x=2 ra ? rollback ?", "2 start");
        check("begin x=1 sa x=2 sa x=3 ta ? ra ta ? commit ?", "2 1 1");
        check("begin x=1 sa x:2 ra ? commit ?", "2 1");
        check("x=1 begin resetall ? rollback ?", "start 1");
        check("x=1 begin x=2 tnone ? rollback ?", "2 1");
    }
}
