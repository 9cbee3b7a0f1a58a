//! What a session has set, and the texts that make one backend's session like another's.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use postgres_protocol::escape::escape_literal;

/// A setting's value, in a form that a shard can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// For `set_config`.
    Text(Arc<str>),
    /// A statement that sets it.
    Statement(Arc<str>),
    /// Nobody knows, so it is said again.
    Unknown,
}

/// Settings that differ from the role's own, by lower-case name. Cheap to clone and to compare
/// with itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingMap(Arc<BTreeMap<String, Told>>);

impl SettingMap {
    pub fn new(values: BTreeMap<String, Told>) -> Self {
        Self(Arc::new(values))
    }

    pub fn get(&self, setting: &str) -> Option<&Told> {
        self.0.get(setting)
    }

    pub fn set(&mut self, setting: &str, told: Option<Told>) {
        if self.get(setting) == told.as_ref() {
            return;
        }
        let values = Arc::make_mut(&mut self.0);
        match told {
            Some(told) => values.insert(setting.to_owned(), told),
            None => values.remove(setting),
        };
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Told)> {
        self.0.iter().map(|(setting, told)| (setting.as_str(), told))
    }

    /// Texts that turn a session with `told` into one with these settings, each for a Query of its
    /// own. Without knowledge of the session all of it is reset first. The path comes first: should
    /// a shard refuse another setting, what follows must not run in another tenant.
    pub fn difference(&self, told: Option<&Self>) -> Difference {
        if told.is_some_and(|told| Arc::ptr_eq(&self.0, &told.0)) {
            return Difference::default();
        }
        // A statement may have set more than what it is filed under.
        let vague = |told: &&Self| {
            told.iter().any(|(setting, value)| {
                matches!(value, Told::Statement(_)) && self.get(setting) != Some(value)
            })
        };
        let mut difference = Difference::default();
        let Some(told) = told.filter(|told| !vague(told)) else {
            difference.path.push_str("RESET ALL");
            self.iter().for_each(|(setting, value)| value.write(setting, &mut difference));
            return difference;
        };
        for (setting, _) in told.iter().filter(|(setting, _)| self.get(setting).is_none()) {
            write_reset(setting, difference.part(setting));
        }
        for (setting, value) in
            self.iter().filter(|(setting, value)| told.get(setting) != Some(value))
        {
            value.write(setting, &mut difference);
        }
        difference
    }
}

/// What a backend must be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    path: String,
    rest: String,
}

impl Difference {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        [&self.path, &self.rest].into_iter().filter(|sql| !sql.is_empty()).map(String::as_str)
    }

    /// Something beside the settings.
    pub fn add(&mut self, sql: &str) {
        separate(&mut self.path);
        self.path.push_str(sql);
    }

    fn part(&mut self, setting: &str) -> &mut String {
        if setting == "search_path" { &mut self.path } else { &mut self.rest }
    }
}

impl Told {
    /// The value as `SHOW` would print it, when that is known.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Statement(_) | Self::Unknown => None,
        }
    }

    fn write(&self, setting: &str, difference: &mut Difference) {
        let sql = difference.part(setting);
        separate(sql);
        match self {
            Self::Text(text) => write_set(setting, text, false, sql),
            Self::Statement(statement) => sql.push_str(statement),
            Self::Unknown => {}
        }
    }
}

pub fn write_set(setting: &str, text: &str, local: bool, sql: &mut String) {
    let (setting, text) = (escape_literal(setting), escape_literal(text));
    let _ = write!(sql, "SELECT pg_catalog.set_config({setting},{text},{local})");
}

fn write_reset(setting: &str, sql: &mut String) {
    separate(sql);
    // `set_config` with NULL resets, and takes any name as a literal.
    let setting = escape_literal(setting);
    let _ = write!(sql, "SELECT pg_catalog.set_config({setting},NULL,false)");
}

fn separate(sql: &mut String) {
    if !sql.is_empty() {
        sql.push(';');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(values: &[(&str, &str)]) -> SettingMap {
        let told = |value: &str| Told::Text(value.into());
        SettingMap::new(values.iter().map(|(k, v)| ((*k).to_owned(), told(v))).collect())
    }

    fn print(difference: &Difference) -> String {
        difference.iter().collect::<Vec<_>>().join(" | ")
    }

    #[track_caller]
    fn check(from: Option<&[(&str, &str)]>, to: &[(&str, &str)], expected: &str) {
        let from = from.map(map);
        assert_eq!(print(&map(to).difference(from.as_ref())), expected);
    }

    #[test]
    fn differences() {
        check(Some(&[]), &[], "");
        check(Some(&[("a", "1")]), &[("a", "1")], "");
        check(Some(&[]), &[("a", "o'x")], "SELECT pg_catalog.set_config('a','o''x',false)");
        check(Some(&[("a", "1")]), &[], "SELECT pg_catalog.set_config('a',NULL,false)");
        check(
            Some(&[("a", "1"), ("b", "1")]),
            &[("b", "2")],
            "SELECT pg_catalog.set_config('a',NULL,false);\
             SELECT pg_catalog.set_config('b','2',false)",
        );
        let mut doubtful = map(&[("a", "1")]);
        doubtful.set("a", Some(Told::Unknown));
        let again = "SELECT pg_catalog.set_config('a','1',false)";
        assert_eq!(print(&map(&[("a", "1")]).difference(Some(&doubtful))), again);
        let vague = SettingMap::new([("a".to_owned(), Told::Statement("SET …".into()))].into());
        assert_eq!(print(&map(&[]).difference(Some(&vague))), "RESET ALL");
        check(None, &[("a", "1")], "RESET ALL | SELECT pg_catalog.set_config('a','1',false)");
        check(
            None,
            &[("a", "1"), ("search_path", "x")],
            "RESET ALL;SELECT pg_catalog.set_config('search_path','x',false) | \
             SELECT pg_catalog.set_config('a','1',false)",
        );
    }
}
