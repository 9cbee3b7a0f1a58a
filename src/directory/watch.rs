//! Follows the directory file: what is written there counts within a moment.
//!
//! The watch tells at once; a look at the file each second is the net under it, because
//! watches miss what comes over a network or through a link. A bad file changes nothing.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::{Directory, Snapshot, file};
use crate::yaml::{self, Mistakes, Severity};

/// One save makes several events; the last of them is worth reading.
const SETTLE: Duration = Duration::from_millis(50);

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Requests that wait while a file is read; more callers wait to ask.
const REQUESTS_MAX: usize = 8;

type Reply = oneshot::Sender<Result<(), Mistakes>>;

/// Keeps a directory like its file until dropped.
pub struct Follower {
    file: PathBuf,
    requests: mpsc::Sender<Reply>,
    task: JoinHandle<()>,
}

/// Begins to follow; looks at the file once more, in case it changed since it was loaded.
/// Needs a tokio runtime.
pub fn follow(file: PathBuf, directory: Directory) -> Follower {
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    let last = directory.snapshot().text;
    let hand = Hand { file: file.clone(), directory, last, look: None };
    Follower { file, requests, task: tokio::spawn(hand.work(inbox)) }
}

impl Follower {
    /// Reads the file now, changed or not, as for SIGHUP.
    pub async fn reload(&self) -> Result<(), Mistakes> {
        let (reply, answer) = oneshot::channel();
        let gone = || {
            let mut mistakes = Mistakes::new(&self.file);
            mistakes.whole("is no longer followed");
            mistakes
        };
        self.requests.send(reply).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What tells one look at a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    changed: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Look {
    fn of(file: &Path) -> Option<Self> {
        let of = |facts: Metadata| Self {
            changed: facts.modified().ok(),
            bytes: facts.len(),
            inode: facts.ino(),
        };
        std::fs::metadata(file).ok().map(of)
    }
}

struct Hand {
    file: PathBuf,
    directory: Directory,
    /// The hash of the text read last, good or bad.
    last: Option<u64>,
    look: Option<Look>,
}

impl Hand {
    async fn work(mut self, mut inbox: mpsc::Receiver<Reply>) {
        let changed = Arc::new(Notify::new());
        // Held, because dropping it ends the watch.
        let _watch = watch(&self.file, changed.clone())
            .inspect_err(|error| warn!(file = %self.file.display(), %error, "directory file is not watched; looking each second"))
            .ok();
        let mut clock = tokio::time::interval(LOOK_EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = inbox.recv() => {
                    let Some(reply) = request else { return };
                    self.last = None;
                    // Whoever asked may have gone; the reading still counts.
                    let _ = reply.send(self.catch_up().await);
                    continue;
                }
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
                _ = clock.tick() => {
                    if self.look.is_some() && self.look == Look::of(&self.file) {
                        continue;
                    }
                }
            }
            // Already in the log, and nobody else asked.
            let _ = self.catch_up().await;
        }
    }

    /// Reads the file and takes it over if it is new and good.
    async fn catch_up(&mut self) -> Result<(), Mistakes> {
        // Before the reading: a change that comes between is then seen at the next look.
        self.look = Look::of(&self.file);
        let (file, last) = (self.file.clone(), self.last);
        let reading = tokio::task::spawn_blocking(move || Reading::take(&file, last));
        let Ok(reading) = reading.await else {
            let mut mistakes = Mistakes::new(&self.file);
            mistakes.whole("the reading was stopped");
            return Err(mistakes);
        };
        match reading {
            Reading::Same => Ok(()),
            Reading::New { hash, snapshot, mistakes } => {
                self.last = hash;
                self.take_over(snapshot, mistakes)
            }
        }
    }

    fn take_over(&self, snapshot: Option<Snapshot>, mistakes: Mistakes) -> Result<(), Mistakes> {
        for mistake in mistakes.iter() {
            match mistake.severity {
                Severity::Error => error!(%mistake, "directory file refused; the old one stays"),
                Severity::Warning => warn!(%mistake, "directory file"),
            }
        }
        let Some(snapshot) = snapshot else { return Err(mistakes) };
        let (shards, tenants) = (snapshot.shards().len(), snapshot.tenants().len());
        self.directory.replace(snapshot);
        let revision = self.directory.snapshot().revision();
        info!(file = %self.file.display(), shards, tenants, revision, "directory read");
        Ok(())
    }
}

enum Reading {
    /// The text read before.
    Same,
    /// No hash when there was no text.
    New { hash: Option<u64>, snapshot: Option<Snapshot>, mistakes: Mistakes },
}

impl Reading {
    fn take(file: &Path, last: Option<u64>) -> Self {
        let mut mistakes = Mistakes::new(file);
        let Some(text) = yaml::text(file, &mut mistakes) else {
            return Self::New { hash: None, snapshot: None, mistakes };
        };
        let hash = file::hash(&text);
        if last == Some(hash) {
            return Self::Same;
        }
        let snapshot = file::parse(&text, &mut mistakes);
        Self::New { hash: Some(hash), snapshot, mistakes }
    }
}

/// Watches the directory that holds the file: a rename puts another file in its place.
fn watch(file: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let name = file.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // After an error events may be missing; reading once too often is harmless.
        let is_ours = event.map_or(true, |event| {
            let is_write = match event.kind {
                // Our own reading is an access, too.
                EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
                _ => true,
            };
            is_write && event.paths.iter().any(|path| path.file_name() == name.as_deref())
        });
        if is_ours {
            changed.notify_one();
        }
    })?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    watcher.watch(parent.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
