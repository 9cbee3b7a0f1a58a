//! The users: their proof, their tenants, their roles on the shards.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState as FastHasher;

use crate::tenant::{RoleName, ShardName};
use crate::yaml::{Mistakes, Placed};

mod settings;
mod verifier;

pub use settings::{Login, Method, Password, Pattern, Settings, Tenants};
pub use verifier::{BadVerifier, Verifier};

/// A secret is a line, not a book.
const SECRET_BYTES_MAX: u64 = 4096;

/// Who may connect.
#[derive(Debug, Default)]
pub struct Users {
    by_name: HashMap<RoleName, Arc<User>>,
}

#[derive(Debug)]
pub struct User {
    pub name: RoleName,
    pub proof: Proof,
    pub tenants: Tenants,
    login: BackendLogin,
    /// Asked for each statement.
    shard_logins: HashMap<ShardName, BackendLogin, FastHasher>,
}

/// What a client must show to be this user.
#[derive(Debug)]
pub enum Proof {
    Trust,
    Scram(Verifier),
}

/// The role that stands for a user on a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendLogin {
    pub role: RoleName,
    /// None when the shard asks for none.
    pub password: Option<Secret>,
    /// Whether a shard may ask for it as md5; else only a shard that knows it learns anything.
    pub md5: bool,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the one who sends it to a shard.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl User {
    /// The role to use on a shard.
    pub fn login(&self, shard: &ShardName) -> &BackendLogin {
        self.shard_logins.get(shard).unwrap_or(&self.login)
    }

    fn resolve(
        name: &RoleName,
        settings: &Settings,
        beside: &Path,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let proof = match (settings.method, &settings.password) {
            (Method::Trust, _) => Some(Proof::Trust),
            (Method::Scram, None) => None,
            (Method::Scram, Some(password)) => {
                verifier(password, beside, mistakes).map(Proof::Scram)
            }
        };
        let own = BackendLogin { role: name.clone(), password: None, md5: false };
        let login = login(&settings.r#as, &own, beside, mistakes);
        // All of them before the first `?`: every unreadable secret is told.
        let base = login.as_ref().unwrap_or(&own);
        let shard_logins: Vec<_> = settings
            .as_shard
            .iter()
            .map(|(shard, other)| (shard, self::login(&other.value, base, beside, mistakes)))
            .collect();
        let shard_logins = shard_logins
            .into_iter()
            .map(|(shard, login)| Some((shard.clone(), login?)))
            .collect::<Option<_>>()?;
        let tenants = settings.tenants.clone()?;
        Some(Self { name: name.clone(), proof: proof?, tenants, login: login?, shard_logins })
    }
}

impl Users {
    /// Reads the secrets that the configuration points at, `beside` its file.
    /// A user with a mistake is left out, and the mistake is told.
    pub fn resolve<'s>(
        settings: impl IntoIterator<Item = (&'s RoleName, &'s Settings)>,
        beside: &Path,
        mistakes: &mut Mistakes,
    ) -> Self {
        let by_name = settings
            .into_iter()
            .filter_map(|(name, user)| {
                let user = User::resolve(name, user, beside, mistakes)?;
                Some((name.clone(), Arc::new(user)))
            })
            .collect();
        Self { by_name }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(RoleName::as_str)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// For a user that does not exist: the same salt at every try, as a real user has,
    /// so that asking does not tell who exists.
    pub fn decoy(&self, name: &str) -> Verifier {
        // One key for the life of the process, also when users are read again.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Verifier::decoy(|number| KEY.hash_one((name, number)))
    }
}

fn verifier(
    password: &Placed<Password>,
    beside: &Path,
    mistakes: &mut Mistakes,
) -> Option<Verifier> {
    if let Password::Scram(verifier) = &password.value {
        return Some(verifier.clone());
    }
    let secret = secret(password, beside, mistakes)?;
    Verifier::of_password(secret.reveal())
        .map_err(|error| mistakes.error(password.place, error.to_string()))
        .ok()
}

fn login(
    login: &Login,
    base: &BackendLogin,
    beside: &Path,
    mistakes: &mut Mistakes,
) -> Option<BackendLogin> {
    let password = match &login.password {
        None => base.password.clone(),
        Some(password) => Some(secret(password, beside, mistakes)?),
    };
    let role = login.user.as_ref().unwrap_or(&base.role).clone();
    Some(BackendLogin { role, password, md5: login.md5.unwrap_or(base.md5) })
}

/// Fetches a password that has to be sent on.
fn secret(
    Placed { place, value }: &Placed<Password>,
    beside: &Path,
    mistakes: &mut Mistakes,
) -> Option<Secret> {
    let found = match value {
        Password::File(path) => {
            let path = beside.join(path);
            first_line(&path).map_err(|error| format!("secret file `{}`: {error}", path.display()))
        }
        Password::Env(name) => std::env::var(name)
            .map_err(|error| format!("secret of the environment variable `{name}`: {error}")),
        Password::Scram(_) => Err("a verifier cannot log in to a shard; \
            wanted `{file: PATH}` or `{env: NAME}`"
            .to_owned()),
    };
    match found {
        Ok(text) if text.is_empty() => {
            mistakes.error(*place, "the secret is empty");
            None
        }
        Ok(text) => Some(Secret(text)),
        Err(why) => {
            mistakes.error(*place, why);
            None
        }
    }
}

/// Editors end a file with a newline, and no password holds one.
fn first_line(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
