//! pg_dump and pg_restore through veneer: what they write is what they write on the shard itself.

use std::fs::File;
use std::process::{Command, Output};

use crate::support::own::{OWNER, Own, TENANTS, USER, program};
use crate::support::wire::Door;

const KIT: &str = "
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 20);
CREATE TABLE authors (id int PRIMARY KEY, name short NOT NULL UNIQUE, mood mood DEFAULT 'happy');
CREATE TABLE books (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES authors ON DELETE CASCADE,
    title text NOT NULL DEFAULT 'untitled',
    blurb text,
    pages int CHECK (0 < pages)
);
COMMENT ON TABLE books IS 'what is read';
CREATE INDEX books_by_title ON books (lower(title)) WHERE pages IS NOT NULL;
CREATE STATISTICS books_pages ON author_id, pages FROM books;
CREATE SEQUENCE tickets START 10;
CREATE TABLE serials (id serial, n numeric GENERATED ALWAYS AS (1) STORED);
CREATE VIEW titles AS SELECT title, name FROM books JOIN authors a ON a.id = author_id;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM books;
CREATE TABLE logs (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE logs_2025 PARTITION OF logs FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamped BEFORE UPDATE ON books FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON logs USING (true);
ALTER DEFAULT PRIVILEGES IN SCHEMA {T} GRANT SELECT ON TABLES TO bookstore_app;
INSERT INTO authors SELECT n, 'name ' || n FROM generate_series(1, 300) n;
INSERT INTO books (author_id, title, blurb, pages) SELECT 1 + n % 300, E'Tab\\t' || n, repeat('x', n), nullif(n % 7, 0)
    FROM generate_series(1, 1000) n;
INSERT INTO logs VALUES ('2025-05-05', 'much');
REFRESH MATERIALIZED VIEW counted;
";

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it is there"))
        .await
        .expect("no panic")
}

/// Runs a program that must succeed without a word of complaint; gives what it prints.
async fn text(name: &str, door: &Door, arguments: &[&str]) -> String {
    let mut command = program(name, door);
    command.args(arguments);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{name} {arguments:?}: {}\n{said}",
        output.status
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Without the lines that differ each time.
fn plain(dump: &str) -> String {
    let lines = dump
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[track_caller]
fn assert_same(straight: &str, through: &str, what: &str) {
    let (straight, through) = (plain(straight), plain(through));
    if straight != through {
        let differs = straight.lines().zip(through.lines()).find(|(one, two)| one != two);
        panic!("{what}: {differs:?}, {} and {} bytes", straight.len(), through.len());
    }
    assert!(100 < straight.len(), "{what}: {straight}");
}

#[tokio::test]
async fn dumps_are_the_shards_own() {
    let own = Own::build("dump", KIT).await;
    for (tenant, shard) in TENANTS {
        let (straight, through) = (own.straight(shard, OWNER), own.through(OWNER));
        let table = format!("{tenant}.books");
        for arguments in [
            &["-n", tenant][..],
            &["-n", tenant, "-s", "-x", "-O"],
            &["-n", tenant, "-a", "--inserts", "--rows-per-insert=50"],
            &["-n", tenant, "-a", "--disable-triggers", "--column-inserts"],
            &["-n", tenant, "--no-owner", "--if-exists", "--clean"],
            &["-t", &table],
            &["-n", tenant, "-T", &table, "--section=pre-data"],
            &["-n", tenant, "-N", "nobody*", "--serializable-deferrable", "--strict-names"],
        ] {
            let expected = text("pg_dump", &straight, arguments).await;
            let got = text("pg_dump", &through, arguments).await;
            assert_same(&expected, &got, &format!("{tenant} {arguments:?}"));
        }
    }
    // What is nobody's own.
    let client = &own.shards[0];
    client
        .batch_execute("CREATE TABLE public.plans (id int PRIMARY KEY, name text)")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO public.plans VALUES (1, 'free')").await.unwrap();
    for arguments in [&["-s", "-x", "-O", "-n", "public"][..], &["-n", "public"]] {
        let expected = text("pg_dump", &own.straight(1, OWNER), arguments).await;
        assert!(expected.contains("plans"), "{expected}");
        assert_same(&expected, &text("pg_dump", &own.through(OWNER), arguments).await, "public");
    }
    own.assert_alive();
}

/// The tenant as it is when it has just been made.
async fn empty(own: &Own, tenant: &str, shard: usize) {
    let sql = format!(
        "DROP SCHEMA {tenant} CASCADE; CREATE SCHEMA {tenant}; GRANT USAGE ON SCHEMA {tenant} TO {USER}"
    );
    own.shards[shard - 1].batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_dump_is_restored_by_psql() {
    let own = Own::build("restore", KIT).await;
    for (tenant, shard) in TENANTS {
        let straight = own.straight(shard, OWNER);
        let before = text("pg_dump", &straight, &["-n", tenant]).await;
        let file = own.dir.join("dump.sql");
        let dump = text("pg_dump", &own.through(OWNER), &["-n", tenant]).await;
        std::fs::write(&file, dump).unwrap();
        empty(&own, tenant, shard).await;

        let mut psql = program("psql", &own.through(OWNER));
        psql.args(["-X", "-q", "-o", "/dev/null"]).stdin(File::open(&file).unwrap());
        let output = run(psql).await;
        let said = String::from_utf8(output.stderr).unwrap();
        // The schema is there already.
        assert_eq!(said.matches("ERROR:").count(), 1, "{said}");
        assert!(said.contains("CREATE, ALTER and DROP SCHEMA are not supported here"), "{said}");
        assert!(output.status.success(), "{said}");
        let after = text("pg_dump", &straight, &["-n", tenant]).await;
        assert_same(&before, &after, tenant);
    }
    own.assert_alive();
}

#[tokio::test]
async fn an_archive_is_dumped_and_restored_in_parallel() {
    let own = Own::build("parallel", KIT).await;
    for (tenant, shard) in TENANTS {
        let straight = own.straight(shard, OWNER);
        let before = text("pg_dump", &straight, &["-n", tenant]).await;
        let scoped = own.through(OWNER).with("options", &format!("-cveneer.tenant={tenant}"));
        let archive = own.dir.join(tenant);
        let archive = archive.to_str().unwrap();
        text("pg_dump", &scoped, &["-Fd", "-j4", "-n", tenant, "-f", archive]).await;
        empty(&own, tenant, shard).await;
        // With `-n` the schema itself is not made again.
        let restore = ["-j4", "-n", tenant, "-d", &own.database, archive];
        text("pg_restore", &scoped, &restore).await;
        let after = text("pg_dump", &straight, &["-n", tenant]).await;
        assert_same(&before, &after, tenant);

        // The same without a scope, one after the other.
        let archive = own.dir.join(format!("{tenant}.dump"));
        let archive = archive.to_str().unwrap();
        text("pg_dump", &own.through(OWNER), &["-Fc", "-n", tenant, "-f", archive]).await;
        empty(&own, tenant, shard).await;
        for section in ["--section=pre-data", "--section=data", "--section=post-data"] {
            let restore = ["-n", tenant, section, "-d", &own.database, archive];
            text("pg_restore", &own.through(OWNER), &restore).await;
        }
        let after = text("pg_dump", &straight, &["-n", tenant]).await;
        assert_same(&before, &after, tenant);
    }
    own.assert_alive();
}

#[tokio::test]
async fn dumps_of_everything_are_refused() {
    let own = Own::build("everything", "CREATE TABLE books ()").await;
    let mut dump = program("pg_dumpall", &own.through(OWNER));
    let output = run({
        dump.arg("--no-role-passwords");
        dump
    })
    .await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("does not exist"), "{said}");
    own.assert_alive();
}
