//! The directory in a YAML file: read with every mistake, written whole or not at all.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use serde::{Deserialize, Serialize};

use super::{Address, Contradiction, Shard, Snapshot};
use crate::tenant::{SchemaName, ShardName, Standing};
use crate::yaml::{self, Entry, Mistakes, Node, Place, Section};

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
struct ShardEntry {
    host: String,
    #[serde(default = "postgres_port")]
    port: u16,
    database: String,
}

fn postgres_port() -> u16 {
    5432
}

/// A tenant as it is written down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
    shard: ShardName,
    #[serde(default, skip_serializing_if = "is_active")]
    standing: Standing,
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
    let shards = section.section("shards", mistakes);
    let tenants = section.section("tenants", mistakes);
    section.finish(mistakes);

    let listed = read_shards(shards.entries(), mistakes);
    let Some(first) = listed.first() else {
        let wanted = "wanted `shards: {NAME: {host: …, port: …, database: …}}`";
        mistakes.error(root.place, format!("no shard is listed; {wanted}"));
        return None;
    };
    // With a stand-in the tenants are checked even when home is not known.
    let home = read_home(home, &root, mistakes).unwrap_or_else(|| first.name.clone());
    let residents = read_tenants(tenants.entries(), mistakes);
    match Snapshot::new(home, listed, residents) {
        Ok(snapshot) => {
            (!mistakes.has_errors()).then_some(Snapshot { text: Some(hash(text)), ..snapshot })
        }
        Err(contradictions) => {
            tell(&contradictions, &root, mistakes);
            None
        }
    }
}

/// Steady between runs of one process is enough.
pub(super) fn hash(text: &str) -> u64 {
    foldhash::fast::FixedState::default().hash_one(text)
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
fn read_shards(entries: &[Entry], mistakes: &mut Mistakes) -> Vec<Shard> {
    let mut taken: HashMap<Address, &str> = HashMap::new();
    let mut shards = Vec::new();
    for entry in entries {
        let key = &entry.key;
        let Some(name) = shard_name(&key.text, key.place, mistakes) else { continue };
        let address = match yaml::read::<ShardEntry>(entry, mistakes) {
            Some(ShardEntry { host, port, database }) => {
                if host.is_empty() || port == 0 || database.is_empty() {
                    let wanted = "wanted a host, a port above 0 and a database";
                    mistakes.error(key.place, format!("shard `{name}` has no address; {wanted}"));
                }
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
    entries: &[Entry],
    mistakes: &mut Mistakes,
) -> Vec<(SchemaName, ShardName, Standing)> {
    let mut tenants = Vec::with_capacity(entries.len());
    // Each once, however many tenants it has.
    let mut shards = HashSet::new();
    for entry in entries {
        let name = SchemaName::shared(entry.key.text.clone())
            .map_err(|bad| mistakes.error(entry.key.place, bad.to_string()));
        let entry = yaml::read::<TenantEntry>(entry, mistakes);
        if let (Ok(name), Some(TenantEntry { shard, standing })) = (name, entry) {
            let shard = shards.get(&shard).cloned().unwrap_or(shard);
            shards.insert(shard.clone());
            tenants.push((name, shard, standing));
        }
    }
    tenants
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

/// The right to write a directory file: one holder at a time, also among processes.
/// Read, change and write while holding it, or another's change is lost.
pub struct Pen {
    file: PathBuf,
    _lock: Flock<File>,
}

/// The file as it is written.
#[derive(Serialize)]
struct Page<'s> {
    home: &'s ShardName,
    shards: BTreeMap<&'s ShardName, ShardEntry>,
    tenants: BTreeMap<&'s SchemaName, TenantEntry>,
}

impl Pen {
    /// Waits for whoever writes now.
    pub fn take(file: &Path) -> io::Result<Self> {
        // A link stays a link: what it points at is written.
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        // Not the file itself: a rename would take it away from under the lock.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(&file, "lock"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        Ok(Self { file, _lock: lock })
    }

    /// Puts the snapshot in place of the file, whole or not at all. Comments are not kept.
    pub fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        let page = Page {
            home: &snapshot.home().name,
            shards: snapshot.shards().map(|shard| (&shard.name, shard_entry(shard))).collect(),
            tenants: snapshot
                .tenants()
                .map(|residence| {
                    let shard = residence.shard.name.clone();
                    (&residence.tenant, TenantEntry { shard, standing: residence.standing })
                })
                .collect(),
        };
        let text = serde_yaml::to_string(&page).map_err(io::Error::other)?;
        let draft = beside(&self.file, "new");
        let written = self.replace(&draft, &text);
        if written.is_err() {
            // Left behind it would only puzzle; the first error is the one to tell.
            let _ = std::fs::remove_file(&draft);
        }
        written
    }

    fn replace(&self, draft: &Path, text: &str) -> io::Result<()> {
        let mut file = File::create(draft)?;
        if let Ok(facts) = std::fs::metadata(&self.file) {
            file.set_permissions(facts.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(draft, &self.file)?;
        // The rename itself lasts only once its directory is on the disk.
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn shard_entry(shard: &Shard) -> ShardEntry {
    let Address { host, port, database } = shard.address.clone();
    ShardEntry { host, port, database }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
