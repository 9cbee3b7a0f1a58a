//! A user as the configuration writes it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de;

use super::verifier::Verifier;
use crate::tenant::{RoleName, ShardName};
use crate::yaml::Placed;

/// One user as it is written in the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub method: Method,
    /// What the client proves to know. Needed unless the method is `trust`.
    pub password: Option<Placed<Password>>,
    /// Needed: nobody uses a tenant by accident.
    pub tenants: Option<Tenants>,
    /// The role on every shard; left out: the user's own name and no password.
    pub r#as: Login,
    /// What is different on one shard; what is left out is taken from `as`.
    pub as_shard: BTreeMap<ShardName, Placed<Login>>,
}

impl Settings {
    /// What is missing; the reader only knows what is wrong.
    pub fn flaw(&self) -> Option<&'static str> {
        if self.tenants.is_none() {
            return Some("lacks `tenants`; wanted `all` or a list of names and `*` patterns");
        }
        match (self.method, &self.password) {
            (Method::Scram, None) => Some(
                "lacks `password`; wanted `{file: PATH}`, `{env: NAME}` or `{scram: \"SCRAM-SHA-256$…\"}`",
            ),
            (Method::Trust, Some(_)) => {
                Some("has a `password` that `method: trust` never asks for")
            }
            (Method::Scram, Some(_)) | (Method::Trust, None) => None,
        }
    }
}

/// How a user proves who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    #[default]
    Scram,
    /// No proof. Only where nobody else can connect: on loopback.
    Trust,
}

/// A role on a shard.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    pub user: Option<RoleName>,
    pub password: Option<Placed<Password>>,
    /// The shard may ask for the password as md5, which tells much of it.
    pub md5: Option<bool>,
}

/// Where a password is to be found; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of a file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// What PostgreSQL stores, which proves a password without telling it.
    Scram(Verifier),
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Source;
        impl<'de> de::Visitor<'de> for Source {
            type Value = Password;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`{file: PATH}`, `{env: NAME}` or `{scram: \"SCRAM-SHA-256$…\"}`")
            }

            // The text is not repeated: it is probably a password.
            fn visit_str<E: de::Error>(self, _: &str) -> Result<Password, E> {
                Err(E::invalid_type(
                    de::Unexpected::Other("a text, and secrets stay out of here"),
                    &self,
                ))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Password, A::Error> {
                let Some(kind) = map.next_key::<String>()? else {
                    return Err(de::Error::invalid_type(de::Unexpected::Other("empty"), &self));
                };
                let password = match kind.as_str() {
                    "file" => Password::File(map.next_value()?),
                    "env" => Password::Env(map.next_value()?),
                    "scram" => {
                        let text: String = map.next_value()?;
                        Password::Scram(text.parse().map_err(de::Error::custom)?)
                    }
                    other => {
                        return Err(de::Error::unknown_variant(other, &["file", "env", "scram"]));
                    }
                };
                match map.next_key::<String>()? {
                    None => Ok(password),
                    Some(_) => Err(de::Error::invalid_type(
                        de::Unexpected::Other("several sources"),
                        &self,
                    )),
                }
            }
        }
        deserializer.deserialize_any(Source)
    }
}

/// The tenants a user may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    All,
    Patterns(Vec<Placed<Pattern>>),
}

impl Tenants {
    pub fn may_use(&self, tenant: &str) -> bool {
        match self {
            Self::All => true,
            Self::Patterns(list) => list.iter().any(|pattern| pattern.value.matches(tenant)),
        }
    }
}

impl<'de> Deserialize<'de> for Tenants {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllOrList;
        impl<'de> de::Visitor<'de> for AllOrList {
            type Value = Tenants;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of names and `*` patterns")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Tenants, E> {
                match text {
                    "all" => Ok(Tenants::All),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Tenants, A::Error> {
                let mut patterns = Vec::new();
                while let Some(pattern) = list.next_element()? {
                    patterns.push(pattern);
                }
                Ok(Tenants::Patterns(patterns))
            }
        }
        deserializer.deserialize_any(AllOrList)
    }
}

/// A tenant's name in which `*` stands for any letters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pattern(String);

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(name) = name.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(name) = name.strip_suffix(tail) else { return false };
        // Each piece at its first chance leaves the most for those after it.
        middle
            .split('*')
            .try_fold(name, |left, piece| left.split_once(piece).map(|(_, right)| right))
            .is_some()
    }
}
