//! A database of a test's own on every shard, with tenants, an oracle that has all of them, and a
//! veneer in front: what others do to the shared tenants is not seen there.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use veneer::config::Config;
use veneer::demo::cluster::free_port;
use veneer::demo::shard::{ADMIN_ROLE, APP_ROLE};
use veneer::directory::{self, file};
use veneer::lifecycle::placeholders::{self, Mode, Outcome};
use veneer::server;

use super::served::until_heard;
use super::wire::Door;
use super::{direct, temporary_directory, world};

const START_TRIES_MAX: usize = 5;

/// The tenants and the numbers of their shards.
pub const TENANTS: [(&str, usize); 4] = [("acme", 1), ("bolt", 2), ("crane", 2), ("dynamo", 3)];

/// Who may own what, and who may only use it: roles of the shards, and users of veneer.
pub const OWNER: &str = ADMIN_ROLE;
pub const USER: &str = APP_ROLE;

pub struct Own {
    pub database: String,
    pub dir: PathBuf,
    pub port: u16,
    /// The database's owner on each shard, home first.
    pub shards: Vec<Client>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), server::ServeError>>,
    _remover: Child,
}

impl Own {
    /// `kit` is run in each tenant's schema, whose name is `{T}`, by the database's owner. No number means the same on
    /// two shards.
    pub async fn build(name: &str, kit: &str) -> Self {
        let database = format!("own_{name}");
        let mut shards = Vec::new();
        for (index, shard) in world().demo.shards.iter().enumerate() {
            create(index, &database).await;
            let mut config = shard.admin_config();
            let client = direct(config.dbname(&database)).await;
            for filler in 0..index * 7 {
                let sql = format!("CREATE TYPE public.filler_{filler} AS ()");
                client.batch_execute(&sql).await.unwrap();
            }
            shards.push(client);
        }
        for (tenant, shard) in TENANTS {
            furnish(&shards[shard - 1], tenant, kit).await;
        }
        let (dir, _remover) = temporary_directory(&database);
        let stop = CancellationToken::new();
        fs::write(dir.join("tenants.yaml"), papers_of_directory(&database)).unwrap();
        let (port, task) = serve(&dir, &database, &stop).await;
        let own = Self { database, dir, port, shards, stop, task, _remover };
        own.keep_placeholders().await;
        own
    }

    /// A database, on home's cluster, in which all tenants live: what PostgreSQL alone would say.
    pub async fn oracle(&self, kit: &str) -> Door {
        let database = format!("{}_all", self.database);
        create(0, &database).await;
        let client = direct(world().shard(1).admin_config().dbname(&database)).await;
        for (tenant, _) in TENANTS {
            furnish(&client, tenant, kit).await;
        }
        Door { database, ..self.straight(1, USER) }
    }

    async fn keep_placeholders(&self) {
        let snapshot = file::load(&self.dir.join("tenants.yaml")).unwrap();
        let login = |wanted: &directory::Shard| {
            let shard = world().demo.shards.iter().find(|s| s.name == wanted.name.as_str());
            let mut config = shard.unwrap().admin_config();
            config.dbname(&self.database).clone()
        };
        let rows = placeholders::sync(&snapshot, login, Mode::Apply).await.unwrap();
        assert!(rows.iter().all(|row| row.outcome == Outcome::Created), "{rows:?}");
    }

    pub fn through(&self, user: &str) -> Door {
        Door { port: self.port, ..self.straight(1, user) }
    }

    /// Past veneer.
    pub fn straight(&self, shard: usize, role: &str) -> Door {
        let shard = world().shard(shard);
        let password = if role == OWNER { &shard.admin_password } else { &shard.app_password };
        Door {
            port: shard.cluster.port(),
            user: role.to_owned(),
            password: password.clone(),
            database: self.database.clone(),
            settings: Vec::new(),
        }
    }

    #[track_caller]
    pub fn assert_alive(&self) {
        assert!(!self.task.is_finished(), "veneer has ended");
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// A program of PostgreSQL's that connects by this door, and by no file of its user's.
pub fn program(name: &str, door: &Door) -> Command {
    let mut command = Command::new(name);
    command
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", door.port.to_string())
        .env("PGUSER", &door.user)
        .env("PGPASSWORD", &door.password)
        .env("PGDATABASE", &door.database)
        .env("PSQL_HISTORY", "/dev/null")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    for (name, value) in &door.settings {
        assert_eq!(name, "options", "libpq has no variable for {name}");
        command.env("PGOPTIONS", value);
    }
    command
}

async fn create(index: usize, database: &str) {
    let superuser = world().demo.shards[index].cluster.superuser_config();
    let sql = format!("CREATE DATABASE {database} OWNER {OWNER}");
    direct(&superuser).await.batch_execute(&sql).await.unwrap();
}

async fn furnish(client: &Client, tenant: &str, kit: &str) {
    let kit = kit.replace("{T}", tenant);
    let sql = format!(
        "CREATE SCHEMA {tenant}; GRANT USAGE ON SCHEMA {tenant} TO {USER};
         SET search_path = {tenant}; {kit}; RESET search_path;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {tenant} TO {USER};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {tenant} TO {USER};"
    );
    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error:?}"));
}

fn papers_of_directory(database: &str) -> String {
    let mut text = "home: shard1\nshards:\n".to_owned();
    for shard in &world().demo.shards {
        let (name, port) = (shard.name, shard.cluster.port());
        let _ =
            writeln!(text, "  {name}: {{ host: 127.0.0.1, port: {port}, database: {database} }}");
    }
    text.push_str("tenants:\n");
    for (tenant, shard) in TENANTS {
        let _ = writeln!(text, "  {tenant}: {{ shard: shard{shard} }}");
    }
    text
}

async fn serve(
    dir: &std::path::Path,
    database: &str,
    stop: &CancellationToken,
) -> (u16, JoinHandle<Result<(), server::ServeError>>) {
    let secrets = world().demo.dir.join("secrets");
    for _ in 0..START_TRIES_MAX {
        let port = free_port().expect("a port is free");
        let mut text = format!("listen: 127.0.0.1:{port}\ndatabase: {database}\nusers:\n");
        for role in [OWNER, USER] {
            let _ = writeln!(text, "  {role}:\n    method: trust\n    tenants: all\n    as_shard:");
            for shard in ["shard1", "shard2", "shard3"] {
                let file = secrets.join(format!("{shard}_{role}"));
                let file = file.display();
                let _ = writeln!(text, "      {shard}: {{ password: {{ file: {file} }} }}");
            }
        }
        let file = dir.join("veneer.yaml");
        fs::write(&file, text).expect("it is our directory");
        let config = Config::load(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let mut task = tokio::spawn(server::serve(config, stop.clone()));
        if until_heard(port, &mut task).await {
            return (port, task);
        }
    }
    panic!("veneer does not listen");
}
