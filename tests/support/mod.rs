//! A world of three real clusters for all tests of one binary, gone when the binary ends.

pub mod asked;
pub mod authority;
pub mod counted;
pub mod message;
pub mod own;
pub mod random;
pub mod script;
pub mod transcript;
pub mod scripted;
pub mod served;
pub mod wire;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use tokio_postgres::{Client, Config};
use veneer::demo::shard::{Shard, connect};
use veneer::demo::world;
use veneer::demo::{self, Options};

/// libtest has no last word, and a killed process has none anyway: the clusters' own watchdogs
/// stop them, then this shell removes the directory.
const REMOVE_WHEN_ALONE: &str = r#"
trap '' HUP INT TERM
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    # An initdb that was under way goes on, and fails when its directory is gone.
    [ -n "$(find "$1" -name postmaster.pid)" ] || rm -rf "$1"
    sleep 1
    [ -e "$1" ] || exit 0
done
rm -rf "$1"
"#;

/// The demo's shards, roles and tenants on free ports. Shared by all tests of the binary: a test
/// that changes rows uses its own, or puts them back.
pub struct World {
    pub demo: world::World,
    _remover: Child,
}

/// Built by whoever comes first; the others wait. May be called inside a runtime or outside.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        // A runtime of its own, because the first test's ends with the first test.
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(World::build())
        })
        .join()
        .expect("the world could be built")
    })
}

impl World {
    async fn build() -> Self {
        let (dir, remover) = temporary_directory("world");
        let options = Options { dir, listen_port: 0, shard_ports: [0; 3], exit_after: None };
        let demo = demo::build_world(&options).await.unwrap_or_else(|error| panic!("{error:?}"));
        Self { demo, _remover: remover }
    }

    /// Shard 1 is home.
    #[track_caller]
    pub fn shard(&self, number: usize) -> &Shard {
        &self.demo.shards[number - 1]
    }

    /// The shard that a tenant lives on.
    #[track_caller]
    pub fn home_of(&self, tenant: &str) -> &Shard {
        let shard = self.demo.shards.iter().find(|shard| shard.tenants.contains(&tenant));
        shard.unwrap_or_else(|| panic!("no shard has {tenant}"))
    }
}

/// Straight to a shard, past veneer: the oracle.
#[track_caller]
pub fn direct(config: &Config) -> impl Future<Output = Client> + use<> {
    let config = config.clone();
    async move { connect(&config).await.unwrap_or_else(|error| panic!("{config:?}: {error}")) }
}

/// A new directory that PostgreSQL's account can enter, removed when the returned child's input
/// closes, which is when this process ends at the latest.
pub fn temporary_directory(purpose: &str) -> (PathBuf, Child) {
    let name = format!("veneer-test-{purpose}-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).expect("the name is ours alone");
    fs::set_permissions(&directory, Permissions::from_mode(0o711)).expect("it is our directory");
    let remover = remover(&directory);
    (directory, remover)
}

fn remover(directory: &Path) -> Child {
    Command::new("/bin/sh")
        .args(["-c", REMOVE_WHEN_ALONE, "veneer-remover"])
        .arg(directory)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("every Unix has /bin/sh")
}
