//! The nouns: tenant, schema, shard, role, standing.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// PostgreSQL cuts longer names (`NAMEDATALEN - 1`).
pub const NAME_BYTES_MAX: usize = 63;

/// A name that PostgreSQL could not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name cannot hold a NUL byte")]
    Nul,
    #[error("`{0}` is longer than {NAME_BYTES_MAX} bytes")]
    Long(String),
}

/// Cuts a name where PostgreSQL does: at 63 bytes, on a character boundary.
pub fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name as it is stored: already folded and unquoted.
            pub fn stored(name: &str) -> Result<Self, BadName> {
                Self::shared(name.into())
            }

            /// As [`Self::stored`], for a text that others hold, too.
            pub fn shared(name: Arc<str>) -> Result<Self, BadName> {
                if name.is_empty() {
                    return Err(BadName::Empty);
                }
                if name.contains('\0') {
                    return Err(BadName::Nul);
                }
                if NAME_BYTES_MAX < name.len() {
                    return Err(BadName::Long((*name).to_owned()));
                }
                Ok(Self(name))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(name: String) -> Result<Self, BadName> {
                Self::stored(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name_type! {
    /// A schema as PostgreSQL stores it: folded unless quoted, at most 63 bytes.
    /// A tenant is called by the name of its schema.
    SchemaName
}

name_type! {
    /// A PostgreSQL that holds tenants, as operators call it.
    ShardName
}

name_type! {
    /// A role: of a client towards veneer, or of a backend towards its shard.
    RoleName
}

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Being made; not routable yet.
    Provisioning,
    #[default]
    Active,
    ReadOnly,
    Suspended,
    Moving,
    /// An operation stopped half-way and can be repeated.
    Failed,
    Archived,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::ReadOnly => "read_only",
            Self::Suspended => "suspended",
            Self::Moving => "moving",
            Self::Failed => "failed",
            Self::Archived => "archived",
        })
    }
}
