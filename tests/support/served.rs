//! A veneer of a test's own, in this process, in front of the world's shards.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use veneer::config::Config;
use veneer::demo::cluster::free_port;
use veneer::demo::shard::{ADMIN_ROLE, APP_ROLE, DATABASE};
use veneer::directory::{Directory, file};
use veneer::server::{self, House};
use veneer::yaml::Mistakes;

use super::wire::Door;
use super::world;

const START_TRIES_MAX: usize = 5;
const DIRECTORY_FILE: &str = "tenants.yaml";
const POLL_EVERY: Duration = Duration::from_millis(5);

/// The password of the user `proved`.
pub const PASSWORD: &str = "open, sesame";

/// Everybody's tenant, and one that each test adds: `(name, shard, standing)`.
pub type Tenant<'a> = (&'a str, &'a str, &'a str);

pub const TENANTS: [Tenant<'_>; 4] = [
    ("bluth_co", "shard1", "active"),
    ("cyberdyne", "shard2", "active"),
    ("dunder_mifflin", "shard2", "active"),
    ("initech", "shard3", "active"),
];

/// What a test wants of its veneer.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub pool_size: usize,
    /// Beside the world's own.
    pub tenants: Vec<(String, String, String)>,
    /// Beside the world's own: name and port.
    pub shards: Vec<(String, u16)>,
    /// How long a login to a shard may take.
    pub connect_max: &'static str,
    /// One more setting of the pool.
    pub pool: &'static str,
    /// How long a client stands in line.
    pub wait_max: &'static str,
    /// Whether shards beside the world's own may ask for md5.
    pub md5: bool,
    /// More of the configuration, from the first column on.
    pub config: String,
    /// One more user, whose role on the shards is called so, and has the application's passwords.
    pub user: Option<&'static str>,
}

/// Stops when it is dropped.
pub struct Veneer {
    pub port: u16,
    pub directory_file: PathBuf,
    shards: Vec<(String, u16)>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), server::ServeError>>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            pool_size: 2,
            tenants: Vec::new(),
            shards: Vec::new(),
            connect_max: "5s",
            pool: "",
            wait_max: "10s",
            md5: false,
            config: String::new(),
            user: None,
        }
    }
}

impl Wanted {
    pub fn pool_size(self, pool_size: usize) -> Self {
        Self { pool_size, ..self }
    }

    pub fn tenant(mut self, tenant: Tenant<'_>) -> Self {
        let (name, shard, standing) = tenant;
        self.tenants.push((name.to_owned(), shard.to_owned(), standing.to_owned()));
        self
    }

    pub fn shard(mut self, name: &str, port: u16) -> Self {
        self.shards.push((name.to_owned(), port));
        self
    }

    pub fn connect_max(self, connect_max: &'static str) -> Self {
        Self { connect_max, ..self }
    }

    pub fn pool(self, pool: &'static str) -> Self {
        Self { pool, ..self }
    }

    pub fn wait_max(self, wait_max: &'static str) -> Self {
        Self { wait_max, ..self }
    }

    pub fn md5(self) -> Self {
        Self { md5: true, ..self }
    }

    pub fn config(self, config: &str) -> Self {
        Self { config: config.to_owned(), ..self }
    }

    pub fn user(self, user: &'static str) -> Self {
        Self { user: Some(user), ..self }
    }

    pub async fn start(self) -> Veneer {
        let dir = self.directory();
        for _ in 0..START_TRIES_MAX {
            let port = free_port().expect("a port is free");
            let config = self.load(&dir, port);
            let stop = CancellationToken::new();
            let mut task = tokio::spawn(server::serve(config, stop.clone()));
            if until_heard(port, &mut task).await {
                let (directory_file, shards) = (dir.join(DIRECTORY_FILE), self.shards);
                return Veneer { port, directory_file, shards, stop, task };
            }
        }
        panic!("veneer does not listen");
    }

    /// All of a veneer but its door.
    #[allow(dead_code, reason = "only tests/it drops what it serves")]
    pub fn house(self) -> House {
        let config = self.load(&self.directory(), 0);
        let mut mistakes = Mistakes::new(&config.file);
        let users = config.users(&mut mistakes);
        let tls = config.tls(&mut mistakes);
        let parts = mistakes.unless_errors((users, tls));
        let (users, tls) = parts.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let tenants = file::load(&config.directory.file);
        let tenants = tenants.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        House::build(config, users, tls, Directory::new(tenants))
    }

    /// Makes one for the files of one veneer.
    fn directory(&self) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = world().demo.dir.join(format!("veneer-{number}"));
        fs::create_dir(&dir).expect("the number is ours alone");
        let listed = self
            .tenants
            .iter()
            .map(|(name, shard, standing)| (name.as_str(), shard.as_str(), standing.as_str()));
        let tenants: Vec<Tenant<'_>> = TENANTS.into_iter().chain(listed).collect();
        let text = directory(&self.shards, &tenants);
        fs::write(dir.join(DIRECTORY_FILE), text).expect("it is our directory");
        fs::write(dir.join("proved"), PASSWORD).expect("it is our directory");
        dir
    }

    fn load(&self, dir: &Path, port: u16) -> Config {
        let file = dir.join("veneer.yaml");
        fs::write(&file, self.text(port)).expect("it is our directory");
        Config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn text(&self, port: u16) -> String {
        let Self { pool_size, connect_max, wait_max, pool, md5, config, .. } = self;
        let mut text = format!(
            "listen: 127.0.0.1:{port}\ndatabase: {DATABASE}\n\
             pool: {{ size_max: {pool_size}, connect_max: {connect_max}, wait_max: {wait_max}, \
             {pool} }}\n\
             {config}\nusers:\n"
        );
        let users = [
            ("app", "method: trust", "all", APP_ROLE),
            ("admin", "method: trust", "all", ADMIN_ROLE),
            ("limited", "method: trust", "[bluth_co, cyberdyne]", APP_ROLE),
            ("proved", "password: { file: proved }", "all", APP_ROLE),
        ];
        let named = users.map(|(user, proof, tenants, role)| (user, proof, tenants, role, role));
        let one_more = self.user.map(|user| (user, "method: trust", "all", user, APP_ROLE));
        for (user, proof, tenants, login, role) in named.into_iter().chain(one_more) {
            let _ = writeln!(text, "  {user}:\n    {proof}\n    tenants: {tenants}");
            let _ = writeln!(text, "    as: {{ user: {login} }}\n    as_shard:");
            for shard in ["shard1", "shard2", "shard3"] {
                let file = format!("../secrets/{shard}_{role}");
                let _ = writeln!(text, "      {shard}: {{ password: {{ file: {file} }} }}");
            }
            for (shard, _) in &self.shards {
                // Behind this name stands one of ours; the others take any password.
                let file = match shard.as_str() {
                    "counted" => format!("../secrets/shard2_{role}"),
                    _ => "proved".to_owned(),
                };
                let _ =
                    writeln!(text, "      {shard}: {{ password: {{ file: {file} }}, md5: {md5} }}");
            }
        }
        text
    }
}

impl Veneer {
    pub async fn start() -> Self {
        Wanted::default().start().await
    }

    pub fn door(&self, user: &str) -> Door {
        Door {
            port: self.port,
            user: user.to_owned(),
            password: PASSWORD.to_owned(),
            database: DATABASE.to_owned(),
            settings: Vec::new(),
        }
    }

    /// Writes the directory anew, as an operator does: by a rename.
    pub fn write_directory(&self, tenants: &[Tenant<'_>]) {
        self.write_directory_text(&directory(&self.shards, tenants));
    }

    pub fn write_directory_text(&self, text: &str) {
        let draft = self.directory_file.with_extension("draft");
        fs::write(&draft, text).expect("it is our directory");
        fs::rename(&draft, &self.directory_file).expect("it is our directory");
    }

    /// Whether it still serves.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert!(!self.task.is_finished(), "veneer has ended");
    }
}

impl Drop for Veneer {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

fn directory(shards: &[(String, u16)], tenants: &[Tenant<'_>]) -> String {
    let mut text = "home: shard1\nshards:\n".to_owned();
    let ours = world().demo.shards.iter().map(|shard| (shard.name, shard.cluster.port()));
    let others = shards.iter().map(|(name, port)| (name.as_str(), *port));
    for (name, port) in ours.chain(others) {
        let _ =
            writeln!(text, "  {name}: {{ host: 127.0.0.1, port: {port}, database: {DATABASE} }}");
    }
    text.push_str("tenants:\n");
    for (name, shard, standing) in tenants {
        let _ = writeln!(text, "  {name}: {{ shard: {shard}, standing: {standing} }}");
    }
    text
}

pub async fn until_heard(port: u16, task: &mut JoinHandle<Result<(), server::ServeError>>) -> bool {
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        // Somebody else may have taken the port before us.
        if task.is_finished() {
            return false;
        }
        sleep(POLL_EVERY).await;
    }
    true
}
