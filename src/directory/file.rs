//! The directory in a YAML file: read with every mistake, written whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::yaml::{self, Entry, Mistakes, Node, Place, Section};
use super::{Address, Contradiction, Shard, Snapshot};
use crate::tenant::{SchemaName, ShardName, Standing};

/// Where the directory is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Beside the file that names it, unless absolute.
    pub file: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self { file: "tenants.yaml".into() }
    }
}

/// A shard as it is written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardEntry {
    pub(super) host: String,
    #[serde(default = "postgres_port")]
    pub(super) port: u16,
    pub(super) database: String,
}

fn postgres_port() -> u16 {
    5432
}

/// A tenant as it is written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantEntry {
    pub(super) shard: ShardName,
    #[serde(default, skip_serializing_if = "is_active")]
    pub(super) standing: Standing,
}

fn is_active(standing: &Standing) -> bool {
    *standing == Standing::Active
}

/// Reads a directory, or tells every mistake in it.
pub fn load(file: &Path) -> Result<Snapshot, Mistakes> {
    let mut mistakes = Mistakes::new(file);
    match read(file, &mut mistakes) {
        Some(snapshot) => mistakes.unless_errors(snapshot),
        None => Err(mistakes),
    }
}

/// As [`load`], for a caller that also wants the warnings.
pub fn read(file: &Path, mistakes: &mut Mistakes) -> Option<Snapshot> {
    let text = yaml::text(file, mistakes)?;
    parse(&text, mistakes)
}

/// Makes the snapshot from the file's text; `None` means that there are errors.
pub fn parse(text: &str, mistakes: &mut Mistakes) -> Option<Snapshot> {
    let root = yaml::parse(text, mistakes)?;
    let mut section = Section::new(Some(&root), mistakes);
    let home = section.get("home");
    let shards = section.get("shards").map(|entry| &entry.value);
    let tenants = section.get("tenants").map(|entry| &entry.value);
    section.finish(mistakes);

    let listed = read_shards(shards, mistakes);
    let Some(first) = listed.first() else {
        let wanted = "wanted `shards: {NAME: {host: …, port: …, database: …}}`";
        mistakes.error(root.place, format!("no shard is listed; {wanted}"));
        return None;
    };
    // With a stand-in the tenants are checked even when home is not known.
    let home = read_home(home, &root, mistakes).unwrap_or_else(|| first.name.clone());
    let residents = read_tenants(tenants, mistakes);
    match Snapshot::new(home, listed, residents) {
        Ok(snapshot) => (!mistakes.has_errors()).then_some(snapshot),
        Err(contradictions) => {
            tell(&contradictions, &root, mistakes);
            None
        }
    }
}

fn read_home(entry: Option<&Entry>, root: &Node, mistakes: &mut Mistakes) -> Option<ShardName> {
    match entry {
        Some(entry) => yaml::read(entry, mistakes),
        None => {
            let why = "`home` is missing; wanted the shard that owns what belongs to no tenant";
            mistakes.error(root.place, why);
            None
        }
    }
}

/// Every shard with a good name, so that a tenant of a badly described one is not blamed.
fn read_shards(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<Shard> {
    let mut taken: HashMap<Address, &str> = HashMap::new();
    let mut shards = Vec::new();
    for entry in mapping(node, mistakes) {
        let key = &entry.key;
        let Some(name) = shard_name(&key.text, key.place, mistakes) else { continue };
        let address = match yaml::read::<ShardEntry>(entry, mistakes) {
            Some(ShardEntry { host, port, database }) => {
                let address = Address { host, port, database };
                if let Some(other) = taken.insert(address.clone(), &key.text) {
                    let what = format!("shard `{name}` has the address of shard `{other}`");
                    mistakes.warning(key.place, what);
                }
                address
            }
            None => Address { host: String::new(), port: 0, database: String::new() },
        };
        shards.push(Shard { name, address });
    }
    shards
}

fn read_tenants(
    node: Option<&Node>,
    mistakes: &mut Mistakes,
) -> Vec<(SchemaName, ShardName, Standing)> {
    let entries = mapping(node, mistakes);
    let mut tenants = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = SchemaName::stored(&entry.key.text)
            .map_err(|bad| mistakes.error(entry.key.place, bad.to_string()));
        let entry = yaml::read::<TenantEntry>(entry, mistakes);
        if let (Ok(name), Some(TenantEntry { shard, standing })) = (name, entry) {
            tenants.push((name, shard, standing));
        }
    }
    tenants
}

fn mapping<'n>(node: Option<&'n Node>, mistakes: &mut Mistakes) -> &'n [Entry] {
    let Some(node) = node else { return &[] };
    // Asks for nothing: only the shape is checked.
    Section::new(Some(node), mistakes);
    node.entries()
}

/// Operators type these names, and they name metrics and files.
fn shard_name(text: &str, place: Place, mistakes: &mut Mistakes) -> Option<ShardName> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    let name = match ShardName::stored(text) {
        Ok(name) if text.chars().all(is_plain) => return Some(name),
        Ok(_) => format!("`{text}` cannot name a shard; wanted letters, digits, `_`, `-` and `.`"),
        Err(bad) => bad.to_string(),
    };
    mistakes.error(place, name);
    None
}

/// Finds the lines of what contradicts itself.
fn tell(contradictions: &[Contradiction], root: &Node, mistakes: &mut Mistakes) {
    let entries = |key: &str| root.get(key).map_or(&[][..], |entry| entry.value.entries());
    let shards: Vec<&str> = entries("shards").iter().map(|entry| &*entry.key.text).collect();
    let tenants: HashMap<&str, &Entry> =
        entries("tenants").iter().map(|entry| (&*entry.key.text, entry)).collect();
    for contradiction in contradictions {
        let near = |name: &ShardName| yaml::did_you_mean(name.as_str(), shards.iter().copied());
        let (place, near) = match contradiction {
            Contradiction::HomeUnknown(name) => {
                (root.get("home").map(|entry| entry.value.place), near(name))
            }
            Contradiction::ShardUnknown { tenant, shard } => {
                let entry = tenants.get(tenant.as_str());
                let place = entry.and_then(|entry| entry.value.get("shard"));
                (place.map(|entry| entry.value.place), near(shard))
            }
            Contradiction::TenantTwice(name) | Contradiction::Reserved(name) => {
                (tenants.get(name.as_str()).map(|entry| entry.key.place), String::new())
            }
            Contradiction::ShardTwice(_) => (None, String::new()),
        };
        mistakes.error(place.unwrap_or(root.place), format!("{contradiction}{near}"));
    }
}
