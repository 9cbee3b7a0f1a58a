//! `veneer directory sync`: home has an empty schema for each tenant elsewhere, and no more.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};
use veneer::demo::shard::{ADMIN_ROLE, APP_ROLE};

use crate::support::{temporary_directory, world};

/// A database of the test's own on each shard, and the files that name it.
struct Bench {
    database: String,
    dir: PathBuf,
    shards: Vec<Client>,
    _remover: Child,
}

impl Bench {
    async fn build(name: &str) -> Self {
        let database = format!("sync_{name}");
        let mut shards = Vec::new();
        for shard in &world().demo.shards {
            let superuser = connect(&shard.cluster.superuser_config()).await;
            let sql = format!("CREATE DATABASE {database} OWNER {ADMIN_ROLE}");
            superuser.batch_execute(&sql).await.unwrap();
            let mut config = shard.admin_config();
            shards.push(connect(config.dbname(&database)).await);
        }
        let (dir, _remover) = temporary_directory(&database);
        let bench = Self { database, dir, shards, _remover };
        fs::write(bench.dir.join("veneer.yaml"), bench.config()).unwrap();
        bench
    }

    fn config(&self) -> String {
        let secrets = world().demo.dir.join("secrets");
        let mut text = format!("database: {}\nusers:\n", self.database);
        for (user, role) in [("keeper", ADMIN_ROLE), ("app", APP_ROLE)] {
            let _ = writeln!(text, "  {user}:\n    method: trust\n    tenants: all");
            let _ = writeln!(text, "    as: {{ user: {role} }}\n    as_shard:");
            for shard in ["shard1", "shard2", "shard3"] {
                let file = secrets.join(format!("{shard}_{role}"));
                let file = file.display();
                let _ = writeln!(text, "      {shard}: {{ password: {{ file: {file} }} }}");
            }
        }
        text
    }

    /// Writes the directory of tenants; each is `name shard`.
    fn directory(&self, tenants: &[&str]) {
        let mut text = "home: shard1\nshards:\n".to_owned();
        for shard in &world().demo.shards {
            let (name, port, database) = (shard.name, shard.cluster.port(), &self.database);
            let _ = writeln!(
                text,
                "  {name}: {{ host: 127.0.0.1, port: {port}, database: {database} }}"
            );
        }
        // Nobody listens there.
        let _ = writeln!(text, "  nowhere: {{ host: 127.0.0.1, port: 1, database: none }}");
        text.push_str("tenants:\n");
        for tenant in tenants {
            let (name, shard) = tenant.rsplit_once(' ').unwrap();
            let _ = writeln!(text, "  {name}: {{ shard: {shard} }}");
        }
        fs::write(self.dir.join("tenants.yaml"), text).unwrap();
    }

    async fn on(&self, shard: usize, sql: &str) {
        self.shards[shard - 1].batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// The command's exit status and its table, a space between the columns.
    async fn sync(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = sync(&self.dir, arguments).await;
        let table = String::from_utf8(output.stdout).unwrap();
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        (output.status.code(), lines.collect::<Vec<_>>().join("\n"))
    }

    #[track_caller]
    fn check(told: (Option<i32>, String), status: i32, table: &str) {
        let table: Vec<&str> = table.trim().lines().map(str::trim).collect();
        assert_eq!(told, (Some(status), table.join("\n")));
    }

    /// The schemas of home, with owner, rights and comment.
    async fn home(&self) -> String {
        let sql = "SELECT format('%s %s %s %s', nspname, pg_get_userbyid(nspowner), \
                   array_to_string(nspacl, ','), obj_description(oid, 'pg_namespace')) \
                   FROM pg_namespace WHERE nspname !~ '^pg_' \
                   AND nspname NOT IN ('information_schema', 'public') ORDER BY nspname";
        let rows = self.shards[0].query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
    }
}

async fn connect(config: &tokio_postgres::Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn sync(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_veneer"));
    command.arg("--config").arg(dir.join("veneer.yaml")).args(["directory", "sync"]);
    command.args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn placeholder(name: &str, shard: &str) -> String {
    format!(
        "{name} {ADMIN_ROLE} {ADMIN_ROLE}=U/{ADMIN_ROLE},{APP_ROLE}=U/{ADMIN_ROLE} \
         Placeholder of veneer: this tenant lives on shard {shard}"
    )
}

fn schema(name: &str) -> String {
    format!("CREATE SCHEMA {name}; GRANT USAGE ON SCHEMA {name} TO {APP_ROLE};")
}

#[tokio::test]
async fn placeholders_follow_the_directory() {
    let bench = Bench::build("follow").await;
    bench.on(1, &schema("here")).await;
    bench.on(2, &schema("acme")).await;
    bench.on(3, &schema("\"My Tenant\"")).await;
    bench.directory(&["here shard1", "acme shard2", "My Tenant shard3"]);

    let created = "created My Tenant shard3\ncreated acme shard2";
    let before = bench.home().await;
    Bench::check(bench.sync(&["--user", "keeper", "--dry-run"]).await, 0, created);
    assert_eq!(bench.home().await, before);
    Bench::check(bench.sync(&["--user", "keeper"]).await, 0, created);
    let made = format!(
        "{}\n{}\n{before}",
        placeholder("My Tenant", "shard3"),
        placeholder("acme", "shard2")
    );
    assert_eq!(bench.home().await, made);
    Bench::check(
        bench.sync(&["--user", "keeper"]).await,
        0,
        "kept My Tenant shard3\nkept acme shard2",
    );
    assert_eq!(bench.home().await, made);

    // Moved to another shard, with other rights; gone; moved home.
    bench.on(3, &format!("{}; GRANT USAGE ON SCHEMA acme TO PUBLIC", schema("acme"))).await;
    bench.directory(&["here shard1", "acme shard3"]);
    Bench::check(
        bench.sync(&["--user", "keeper"]).await,
        0,
        "dropped My Tenant -\nchanged acme shard3",
    );
    let moved = format!("{APP_ROLE}=U/{ADMIN_ROLE} ");
    let open = format!("=U/{ADMIN_ROLE},{ADMIN_ROLE}=U/{ADMIN_ROLE},{APP_ROLE}=U/{ADMIN_ROLE} ");
    let expected = placeholder("acme", "shard3");
    let expected = expected.replace(&format!("{ADMIN_ROLE}=U/{ADMIN_ROLE},{moved}"), &open);
    assert!(bench.home().await.starts_with(&expected), "{}\n{expected}", bench.home().await);
    bench.directory(&["here shard1", "acme shard1"]);
    Bench::check(bench.sync(&["--user", "keeper"]).await, 0, "dropped acme shard1");
    assert_eq!(bench.home().await, before);
    Bench::check(bench.sync(&["--user", "keeper"]).await, 0, "");
}

#[tokio::test]
async fn what_is_not_ours_is_never_touched() {
    let bench = Bench::build("conflicts").await;
    for name in ["theirs", "filled", "good"] {
        bench.on(2, &schema(name)).await;
    }
    let comment = "IS 'Placeholder of veneer: this tenant lives on shard shard2'";
    bench.on(1, &format!("CREATE SCHEMA theirs; CREATE SCHEMA filled; COMMENT ON SCHEMA filled {comment}; CREATE TYPE filled.t AS (); CREATE SCHEMA left_over; COMMENT ON SCHEMA left_over {comment}; CREATE FUNCTION left_over.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")).await;
    bench.directory(&[
        "theirs shard2",
        "filled shard2",
        "good shard2",
        "unborn shard2",
        "lost nowhere",
    ]);
    let (status, table) = bench.sync(&["--user", "keeper"]).await;
    assert_eq!(status, Some(3), "{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "conflict filled shard2 the placeholder is not empty",
            "created good shard2",
            "conflict left_over - the placeholder is not empty",
        ]
    );
    let refused =
        "skipped lost nowhere shard `nowhere` cannot be asked: error connecting to server: ";
    assert!(lines[3].starts_with(refused), "{table}");
    assert_eq!(
        lines[4..],
        [
            "conflict theirs shard2 home has a schema of this name that is no placeholder",
            "skipped unborn shard2 shard `shard2` has no such schema",
        ]
    );
    let home = bench.home().await;
    for name in ["theirs", "filled", "left_over"] {
        let rest = format!("{name} {ADMIN_ROLE}  ");
        assert!(home.lines().any(|line| line.starts_with(&rest)), "{home}");
    }
    // Only what is in the way: another status.
    bench.directory(&["theirs shard2"]);
    let (status, table) = bench.sync(&["--user", "keeper", "-o", "json"]).await;
    assert_eq!(status, Some(5), "{table}");
    let told: serde_json::Value = serde_json::from_str(&table).unwrap();
    assert_eq!(told["home"], "shard1");
    assert_eq!(told["dry_run"], false);
    let rows = told["placeholders"].as_array().unwrap();
    let row = rows.iter().find(|row| row["tenant"] == "theirs").unwrap();
    assert_eq!((&row["outcome"], &row["shard"]), (&"conflict".into(), &"shard2".into()));
    assert!(rows.iter().any(|row| row["tenant"] == "good"
        && row["outcome"] == "dropped"
        && row["shard"].is_null()));
}

#[tokio::test]
async fn nobody_can_fill_a_placeholder() {
    let bench = Bench::build("fill").await;
    bench.on(2, &format!("{} GRANT CREATE ON SCHEMA acme TO {APP_ROLE}", schema("acme"))).await;
    bench.directory(&["acme shard2"]);
    Bench::check(bench.sync(&["--user", "keeper"]).await, 0, "created acme shard2");
    assert_eq!(bench.home().await, placeholder("acme", "shard2"));
    let refused = bench.shards[0].batch_execute("CREATE TABLE acme.t ()").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "42501");
    // Whoever opens one finds it closed after the next sync.
    bench.on(1, "GRANT CREATE ON SCHEMA acme TO PUBLIC; COMMENT ON SCHEMA acme IS 'Placeholder of veneer: this tenant lives on shard x'").await;
    Bench::check(bench.sync(&["--user", "keeper"]).await, 0, "changed acme shard2");
    assert_eq!(bench.home().await, placeholder("acme", "shard2"));
}

#[tokio::test]
async fn roles_that_home_lacks_are_told() {
    let bench = Bench::build("roles").await;
    let superuser = world().shard(2).cluster.superuser_config();
    let superuser = connect(&superuser).await;
    superuser.batch_execute("CREATE ROLE only_here").await.unwrap();
    superuser.batch_execute(&format!("GRANT only_here TO {ADMIN_ROLE}")).await.unwrap();
    bench
        .on(2, "CREATE SCHEMA acme; GRANT USAGE ON SCHEMA acme TO only_here; CREATE SCHEMA bolt")
        .await;
    bench
        .on(
            2,
            &format!(
                "GRANT CREATE ON DATABASE {} TO only_here; ALTER SCHEMA bolt OWNER TO only_here",
                bench.database
            ),
        )
        .await;
    bench.directory(&["acme shard2", "bolt shard2"]);
    Bench::check(
        bench.sync(&["--user", "keeper"]).await,
        0,
        "created acme shard2 home has no role `only_here`
         created bolt shard2 owned by `bookstore_admin`: home has no role `only_here`",
    );
    let (status, table) = bench.sync(&["--user", "keeper"]).await;
    assert_eq!((status, table.matches("kept").count()), (Some(0), 2), "{table}");
}

#[tokio::test]
async fn who_may_not_is_told() {
    let bench = Bench::build("denied").await;
    bench.on(2, &schema("acme")).await;
    bench.directory(&["acme shard2"]);
    let output = sync(&bench.dir, &["--user", "nobody"]).await;
    assert_eq!(output.status.code(), Some(4));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("error: no user `nobody` in "), "{told}");
    let (status, table) = bench.sync(&["--user", "app"]).await;
    assert_eq!(status, Some(3));
    assert!(table.starts_with("failed acme shard2 permission denied for database"), "{table}");
    assert_eq!(bench.home().await, "");
}

#[tokio::test]
async fn two_at_once_take_turns() {
    let bench = Bench::build("turns").await;
    bench.on(2, &schema("acme")).await;
    bench.directory(&["acme shard2"]);
    let lock = 0x7665_6e65_6572_i64;
    bench.on(1, &format!("SELECT pg_advisory_lock({lock})")).await;
    let waits = async {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                   WHERE locktype = 'advisory' AND NOT granted AND datname = current_database())";
        while !bench.shards[0].query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(bench.home().await, "");
        bench.on(1, &format!("SELECT pg_advisory_unlock({lock})")).await;
    };
    let arguments = ["--user", "keeper"];
    let (first, second, ()) = tokio::join!(bench.sync(&arguments), bench.sync(&arguments), waits);
    let mut told = [first.1, second.1];
    told.sort();
    assert_eq!(told, ["created acme shard2", "kept acme shard2"]);
}

#[tokio::test]
async fn the_demo_has_them() {
    let home = connect(&world().shard(1).app_config()).await;
    let sql = "SELECT schema_name::text FROM information_schema.schemata \
               WHERE schema_name IN ('bluth_co', 'cyberdyne', 'dunder_mifflin', 'initech') ORDER BY 1";
    let rows = home.query(sql, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["bluth_co", "cyberdyne", "dunder_mifflin", "initech"]);
}
