//! Files and environment to checked settings.
//!
//! Each part owns its settings; this module only finds the file, deals its sections out and
//! checks what no part can see alone.

mod door;

pub use door::{Door, Level, Log, Server, Workers};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::auth::users::{self, Method, Tenants, Users};
use crate::directory::{self, Snapshot};
use crate::tenant::{BadName, RoleName};
use crate::tls::Tls;
use crate::yaml::{self, Entry, Mistakes, Place, Placed, Section};
use crate::{pool, router, session, sql, tls};

/// Where the file is looked for when nobody says.
const FILE: &str = "config/veneer.yaml";

/// Names the file when no flag does.
const FILE_VARIABLE: &str = "VENEER_CONFIG";

/// Everything an operator decides.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file all this was read from.
    pub file: PathBuf,
    pub door: Door,
    pub server: Server,
    pub session: session::Settings,
    pub sql: sql::Settings,
    pub directory: directory::file::Settings,
    pub routing: router::Settings,
    pub pool: pool::Settings,
    tls: tls::Settings,
    pub log: Log,
    /// Their secrets are not read yet: see [`Config::users`].
    users: BTreeMap<RoleName, Placed<users::Settings>>,
    places: Places,
}

/// Where checks that come later find what they complain of.
#[derive(Debug, Clone, Default)]
struct Places {
    database: Option<Place>,
    shared_schemas: Option<Place>,
    tls: Option<Place>,
}

/// The file to read: the flag, else the environment, else the usual one.
pub fn locate(flag: Option<PathBuf>) -> PathBuf {
    let named = || std::env::var_os(FILE_VARIABLE).filter(|name| !name.is_empty());
    flag.or_else(|| named().map(PathBuf::from)).unwrap_or_else(|| FILE.into())
}

impl Config {
    /// Reads the file, or tells every mistake in it. Touches no other file.
    pub fn load(file: &Path) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::new(file);
        let config = Self::read(file, &mut mistakes);
        mistakes.unless_errors(config)
    }

    /// As [`Config::load`], for a caller that goes on after mistakes: what is wrong has its
    /// default.
    pub fn read(file: &Path, mistakes: &mut Mistakes) -> Self {
        let text = yaml::text(file, mistakes).unwrap_or_default();
        Self::parse(file, &text, mistakes)
    }

    fn parse(file: &Path, text: &str, mistakes: &mut Mistakes) -> Self {
        let root = yaml::parse(text, mistakes);
        let mut top = Section::new(root.as_ref(), mistakes);
        let mut limits = top.section("limits", mistakes);
        let mut config = Self {
            file: file.to_owned(),
            door: top.take(mistakes),
            server: limits.take(mistakes),
            session: limits.take(mistakes),
            sql: limits.take(mistakes),
            directory: top.part("directory", mistakes),
            routing: top.part("routing", mistakes),
            pool: top.part("pool", mistakes),
            tls: top.part("tls", mistakes),
            log: top.part("log", mistakes),
            users: BTreeMap::new(),
            places: Places::default(),
        };
        limits.finish(mistakes);
        config.users = read_users(top.section("users", mistakes).entries(), mistakes);
        config.places.database = top.place("database");
        config.places.shared_schemas = top.place("routing");
        config.places.tls = top.place("tls");
        top.finish(mistakes);
        config.settle(mistakes);
        config
    }

    /// Paths begin beside the file; what only the whole shows is checked.
    fn settle(&mut self, mistakes: &mut Mistakes) {
        let beside = self.beside().to_owned();
        self.directory.file = beside.join(&self.directory.file);
        self.log.file = self.log.file.take().map(|file| beside.join(file));
        if self.door.listen.ip().is_loopback() {
            return;
        }
        for (name, Placed { place, value }) in &self.users {
            if value.method == Method::Trust {
                let what = format!(
                    "user `{name}` needs no proof, and `listen: {}` is open to other machines; \
                     wanted `method: scram`, or a loopback address",
                    self.door.listen
                );
                mistakes.error(*place, what);
            }
        }
    }

    fn beside(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Reads the users' secrets; a user whose secret cannot be read is left out and told.
    pub fn users(&self, mistakes: &mut Mistakes) -> Users {
        let users = self.users.iter().map(|(name, user)| (name, &user.value));
        Users::resolve(users, self.beside(), mistakes)
    }

    /// Reads the certificate and its key.
    pub fn tls(&self, mistakes: &mut Mistakes) -> Tls {
        Tls::load(&self.tls, self.beside(), self.places.tls, mistakes)
    }

    /// What contradicts the directory.
    pub fn compare(&self, directory: &Snapshot, mistakes: &mut Mistakes) {
        let database = &self.door.database;
        for shard in directory.shards() {
            if shard.address.database != *database {
                let what = format!(
                    "shard `{}` calls its database `{}`, and clients know it as `{database}`: \
                     some drivers compare the two",
                    shard.name, shard.address.database
                );
                mistakes.warning(self.places.database, what);
            }
        }
        for schema in &self.routing.shared_schemas {
            if directory.residence(schema.as_str()).is_some() {
                let what = format!("shared schema `{schema}` is also a tenant");
                mistakes.error(self.places.shared_schemas, what);
            }
        }
        for user in self.users.values() {
            compare_user(&user.value, directory, mistakes);
        }
    }
}

fn read_users(
    entries: &[Entry],
    mistakes: &mut Mistakes,
) -> BTreeMap<RoleName, Placed<users::Settings>> {
    let mut users = BTreeMap::new();
    for entry in entries {
        let place = entry.key.place;
        let name = RoleName::stored(&entry.key.text)
            .map_err(|bad: BadName| mistakes.error(place, bad.to_string()));
        let had_errors = mistakes.error_count();
        let user: Option<users::Settings> = yaml::read(entry, mistakes);
        let (Ok(name), Some(user)) = (name, user) else { continue };
        // A key that was wrong is not missing.
        if had_errors == mistakes.error_count()
            && let Some(flaw) = user.flaw()
        {
            mistakes.error(place, format!("`{name}` {flaw}"));
        }
        users.insert(name, Placed { place, value: user });
    }
    users
}

fn compare_user(user: &users::Settings, directory: &Snapshot, mistakes: &mut Mistakes) {
    for (shard, login) in &user.as_shard {
        if directory.shard(shard.as_str()).is_none() {
            let names = directory.shards().map(|shard| shard.name.as_str());
            let near = yaml::did_you_mean(shard.as_str(), names);
            mistakes.error(login.place, format!("`{shard}` is no shard{near}"));
        }
    }
    let Some(Tenants::Patterns(patterns)) = &user.tenants else { return };
    for Placed { place, value: pattern } in patterns {
        if !directory.tenants().any(|residence| pattern.matches(residence.tenant.as_str())) {
            let near = directory.nearest(pattern.as_str());
            let near = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            mistakes.warning(*place, format!("`{}` matches no tenant{near}", pattern.as_str()));
        }
    }
}

#[cfg(test)]
mod tests;
