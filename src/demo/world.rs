//! The demo's world: its shards, and the config that veneer runs on.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tokio::task::JoinSet;

use super::account::RunAs;
use super::cluster::{free_port, is_free};
use super::papers::{self, Papers};
use super::shard::{SHARDS, Shard};
use super::{DemoError, Options, files, secret};
use crate::directory::{self, file};
use crate::lifecycle::placeholders::{self, Mode};

/// Three shards that run, and the papers that veneer needs to serve them.
#[derive(Debug)]
pub struct World {
    pub dir: PathBuf,
    pub papers: Papers,
    /// Home first.
    pub shards: Vec<Shard>,
    /// What turned out differently from what was asked for.
    pub notes: Vec<String>,
    /// Keeps a second demo out of the directory.
    _lock: Flock<File>,
}

impl World {
    pub(super) async fn build(options: &Options) -> Result<Self, DemoError> {
        let mut notes = Vec::new();
        fs::create_dir_all(&options.dir).map_err(files("make", &options.dir))?;
        let dir = options.dir.canonicalize().map_err(files("find", &options.dir))?;
        let lock = lock(&dir)?;
        let clusters = clusters_directory(&dir, &mut notes)?;
        let secrets = dir.join(papers::SECRETS);
        fs::create_dir_all(&secrets).map_err(files("make", &secrets))?;
        fs::set_permissions(&secrets, Permissions::from_mode(0o700))
            .map_err(files("close", &secrets))?;

        let shards = build_shards(&clusters, &secrets, options.shard_ports).await?;
        for (shard, wanted) in shards.iter().zip(options.shard_ports) {
            notes.extend(note_of_port(shard.name, wanted, shard.cluster.port()));
        }
        let listen_port = match options.listen_port {
            wanted if wanted != 0 && is_free(wanted) => wanted,
            _ => free_port().map_err(|source| DemoError::Listen { source: Box::new(source) })?,
        };
        notes.extend(note_of_port("veneer", options.listen_port, listen_port));
        let papers = Papers::write(&dir, listen_port, &shards)?;
        notes.extend(keep_placeholders(&dir, &shards).await?);
        shards.iter().try_for_each(Shard::forget_log)?;
        // It tells of one run, as the shards' logs do; there is none before the first.
        let _ = fs::remove_file(&papers.log);
        Ok(Self { dir, papers, shards, notes, _lock: lock })
    }

    /// Stops the shards; dropping the world does so too, less politely.
    pub async fn stop(self) {
        let mut stopping = JoinSet::new();
        for mut shard in self.shards {
            stopping.spawn(async move { shard.cluster.stop().await });
        }
        stopping.join_all().await;
    }
}

/// All at once: most of the time goes into `initdb`, which uses one core.
async fn build_shards(
    clusters: &Path,
    secrets: &Path,
    ports: [u16; 3],
) -> Result<Vec<Shard>, DemoError> {
    let mut building = JoinSet::new();
    for (blueprint, port) in SHARDS.into_iter().zip(ports) {
        let (clusters, secrets) = (clusters.to_owned(), secrets.to_owned());
        building.spawn(async move { blueprint.build(&clusters, &secrets, port).await });
    }
    let mut shards = Vec::new();
    while let Some(outcome) = building.join_next().await {
        shards.push(outcome.map_err(DemoError::Panicked)??);
    }
    shards.sort_by_key(|shard| shard.name);
    Ok(shards)
}

/// As `veneer directory sync` does it; tells what is in the way.
async fn keep_placeholders(dir: &Path, shards: &[Shard]) -> Result<Vec<String>, DemoError> {
    let snapshot = file::load(&dir.join(papers::DIRECTORY)).map_err(DemoError::Directory)?;
    let login = |wanted: &directory::Shard| {
        let shard = shards.iter().find(|shard| shard.name == wanted.name.as_str());
        shard.map(Shard::admin_config).unwrap_or_default()
    };
    let rows = placeholders::sync(&snapshot, login, Mode::Apply).await?;
    let told = rows.into_iter().filter_map(|row| {
        let note = row.note?;
        Some(format!("placeholder of `{}` ({}): {note}", row.tenant, row.outcome))
    });
    Ok(told.collect())
}

fn note_of_port(who: &str, wanted: u16, got: u16) -> Option<String> {
    (wanted != 0 && wanted != got)
        .then(|| format!("port {wanted} is taken: {who} listens on {got} instead"))
}

/// The kernel lets go of it when the process ends, however it ends.
fn lock(dir: &Path) -> Result<Flock<File>, DemoError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(files("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, source)| DemoError::Locked { dir: dir.to_owned(), source })
}

/// Where the clusters live: `DIR/clusters`, or a link of that name to a place that PostgreSQL's
/// account can enter. Root's own directories are often closed to everybody else.
fn clusters_directory(dir: &Path, notes: &mut Vec<String>) -> Result<PathBuf, DemoError> {
    let clusters = dir.join("clusters");
    if let Ok(existing) = clusters.canonicalize() {
        return Ok(existing);
    }
    // A link that leads nowhere: the system has emptied its temporary directory.
    let _ = fs::remove_file(&clusters);
    let run_as = RunAs::choose()?;
    if run_as.reaches(dir) {
        fs::create_dir(&clusters).map_err(files("make", &clusters))?;
        fs::set_permissions(&clusters, Permissions::from_mode(0o711))
            .map_err(files("open", &clusters))?;
        return Ok(clusters);
    }
    // A random name, and an error when it exists: in a shared directory somebody may lay a link.
    let elsewhere = secret::random().map_err(files("name a directory for", dir))?;
    let elsewhere = std::env::temp_dir().join(format!("veneer-demo-{elsewhere}"));
    fs::create_dir(&elsewhere).map_err(files("make", &elsewhere))?;
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o711))
        .map_err(files("open", &elsewhere))?;
    symlink(&elsewhere, &clusters).map_err(files("link", &clusters))?;
    notes.push(format!(
        "PostgreSQL must run as `{}`, who cannot enter `{}`: its data is in `{}`",
        run_as.name(),
        dir.display(),
        elsewhere.display()
    ));
    Ok(elsewhere)
}
