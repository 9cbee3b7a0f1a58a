//! veneer as a process of its own, in front of the world's shards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};
use veneer::demo::cluster::free_port;
use veneer::demo::papers::Login;
use veneer::demo::shard::DATABASE;

use crate::support::{direct, world};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Static values are not dropped, and a killed process drops nothing: veneer goes when the input
/// of this shell closes, which is when the test's process ends at the latest.
const SERVE_WHILE_WATCHED: &str = r#"
"$1" serve --config "$2" </dev/null >/dev/null &
echo $!
read -r _
kill -KILL $!
"#;

pub struct Veneer {
    pub port: u16,
    /// For `PGSERVICEFILE`.
    pub services: PathBuf,
    pid: u32,
    _keeper: Child,
}

/// The one with the shipped pool, for all who do not care.
pub fn shared() -> &'static Veneer {
    static SHARED: OnceLock<Veneer> = OnceLock::new();
    SHARED.get_or_init(|| Veneer::start("shared", 20))
}

impl Veneer {
    /// `name` is used once; at most `size_max` backends for each shard and role.
    pub fn start(name: &str, size_max: usize) -> Self {
        Self::start_encrypted(name, size_max, "off")
    }

    /// `tls` is its mode, and more lines of its section.
    pub fn start_encrypted(name: &str, size_max: usize, tls: &str) -> Self {
        let demo = &world().demo;
        let port = free_port().expect("a port is free");
        let config = Edit::of(&demo.papers.config)
            .replace(&format!("\nlisten: 127.0.0.1:{}\n", demo.papers.listen_port), |_| {
                format!("\nlisten: 127.0.0.1:{port}\n")
            })
            .replace("\n  mode: off\n", |_| format!("\n  mode: {tls}\n"))
            .replace("\n  size_max: 20\n", |_| format!("\n  size_max: {size_max}\n"))
            .replace("\n  wait_max: 10s\n", |_| format!("\n  wait_max: {}s\n", PATIENCE.as_secs()))
            .replace("\n  statements: all\n", |_| "\n  statements: refused\n".to_owned())
            .replace("\n  file: veneer.log\n", |_| format!("\n  file: veneer-{name}.log\n"))
            .write(&demo.dir.join(format!("veneer-{name}.yaml")));
        let services = Edit::of(&demo.papers.services)
            .replace_all(
                &format!("\nport={}\n", demo.papers.listen_port),
                &format!("\nport={port}\n"),
            )
            .write(&demo.dir.join(format!("services-{name}")));
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", SERVE_WHILE_WATCHED, "veneer-keeper", env!("CARGO_BIN_EXE_veneer")])
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("every Unix has /bin/sh");
        let mut said = BufReader::new(keeper.stdout.take().expect("a pipe"));
        let mut pid = String::new();
        said.read_line(&mut pid).expect("the shell says it first");
        let pid = pid.trim().parse().expect("a number");
        eventually("veneer listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Self { port, services, pid, _keeper: keeper }
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The application's login.
    pub fn app(&self) -> Config {
        self.config(&world().demo.papers.app)
    }

    /// The login that owns the tenants' schemas.
    pub fn admin(&self) -> Config {
        self.config(&world().demo.papers.admin)
    }

    fn config(&self, login: &Login) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).dbname(DATABASE);
        config.user(login.user).password(&login.password);
        config
    }

    /// The application with its tenant chosen at the start, as most programs do it.
    pub async fn tenant(&self, tenant: &str) -> Client {
        direct(self.app().options(format!("-c search_path={tenant}"))).await
    }

    /// Runs a client's program against us; it says itself what is wrong.
    #[track_caller]
    pub fn run(&self, program: &mut Command) -> String {
        let output = program
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", world().demo.papers.app.user)
            .env("PGPASSWORD", &world().demo.papers.app.password)
            .env("PGDATABASE", DATABASE)
            .env("PGSERVICEFILE", &self.services)
            .stdin(Stdio::null())
            .output();
        let output = output.unwrap_or_else(|error| {
            panic!("{:?}: {error}\nrun: tests/setup.sh tests", program.get_program())
        });
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?}: {}\n{said}\n{errors}", output.status);
        said
    }
}

/// A client that can be killed: its socket closes, and nobody says goodbye.
pub async fn mortal(config: &Config) -> (Client, JoinHandle<()>) {
    let (client, connection) = config.connect(NoTls).await.expect("veneer lets us in");
    let life = tokio::spawn(async move {
        let _ = connection.await;
    });
    (client, life)
}

/// Waits without a fixed time for what other processes do.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never came about: {what}");
        thread::sleep(POLL_EVERY);
    }
}

/// Waits until `count` backends of the shard are at work on a text that has `marker` in it.
pub async fn until_active(superuser: &Client, marker: &str, count: i64) {
    // While it is only being prepared, a text is active, too, and a cancel would come too early.
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE state = 'active' AND pid <> pg_backend_pid() AND strpos(query, $1) > 0 \
               AND (wait_event = 'PgSleep' OR strpos(query, 'pg_sleep') = 0)";
    until_equal(superuser, sql, marker, count).await;
}

/// Waits until a count that depends on `parameter` is as expected.
pub async fn until_equal(client: &Client, sql: &str, parameter: &str, expected: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let count: i64 = client.query_one(sql, &[&parameter]).await.unwrap().get(0);
        if count == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{count} and never {expected}: {sql} ({parameter})");
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// A file of the demo, changed. What is to be replaced must be there.
struct Edit(String);

impl Edit {
    fn of(file: &PathBuf) -> Self {
        Self(fs::read_to_string(file).expect("the demo has written it"))
    }

    fn replace(self, from: &str, to: impl FnOnce(&str) -> String) -> Self {
        assert_eq!(self.0.matches(from).count(), 1, "{from:?} in {}", self.0);
        Self(self.0.replace(from, &to(from)))
    }

    fn replace_all(self, from: &str, to: &str) -> Self {
        assert!(self.0.contains(from), "{from:?} in {}", self.0);
        Self(self.0.replace(from, to))
    }

    fn write(self, file: &PathBuf) -> PathBuf {
        fs::write(file, self.0).expect("the directory is ours");
        file.clone()
    }
}
