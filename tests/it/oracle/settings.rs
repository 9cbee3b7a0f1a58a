//! SET, SHOW, RESET and `set_config`, above all of `search_path`, which chooses the tenant.

use super::Bench;
use crate::support::served::Wanted;
use crate::support::wire::Door;
use crate::support::{direct, world};

/// After each spelling: what SHOW says, what the shard sees, and what a bare name means.
const LOOK: &str = "
Query SHOW search_path

Query SELECT current_setting('search_path'), current_schema()

Query SELECT count(*), current_schemas(false) FROM authors

";

#[tokio::test]
async fn every_spelling_of_the_path() {
    let bench = Bench::build("oracle_path").await;
    let spellings = [
        "SET search_path = 'T','public'",
        "SET search_path = \"{T}\",\"public\"",
        "SET search_path = {T}, public",
        "SET search_path TO \"{T}\", \"shared_extensions\"",
        "set search_path to \"{T}\"",
        "SET SESSION search_path TO 'T'",
        "SET SESSION search_path='T'",
        "SET SCHEMA 'T'",
        "SELECT set_config('search_path', 'T', false)",
        "SELECT set_config('search_path', '{T}, public', false)",
        "SELECT pg_catalog.set_config('search_path', '{T}', false)",
        "SET search_path = ORACLE_PATH",
        "SET search_path = T2, {T}",
        "SET search_path = '$user', {T}",
        "SET search_path = \"My Tenant\", {T}",
        "SET search_path = 'a,b', {T}",
        "SET search_path = {T}, pg_temp",
        "SET search_path = {T}, pg_catalog",
    ];
    let mut scripts = Vec::new();
    for spelling in spellings {
        scripts.push(format!("Query {spelling}\n\n{LOOK}"));
        scripts.push(format!("Query {spelling};SELECT count(*) FROM authors\n\n{LOOK}"));
        scripts.push(format!(
            "Query BEGIN\n\nQuery SET LOCAL search_path = T2\n\nQuery SAVEPOINT a\n\n\
             Query {spelling}\n\n{LOOK}Query ROLLBACK TO a\n\n{LOOK}Query {spelling}\n\n\
             Query COMMIT\n\n{LOOK}"
        ));
        scripts.push(format!(
            "Query BEGIN\n\nQuery SELECT 1\n\nQuery {spelling}\n\n{LOOK}Query ROLLBACK\n\n\
             Query SHOW search_path\n\nQuery SELECT current_setting('search_path')\n\n"
        ));
        let extended = "Bind - -\nDescribe P -\nExecute - 0\nSync";
        scripts.push(format!("Parse - - {spelling}\n{extended}\n\n{LOOK}"));
        scripts
            .push(format!("Parse s - {spelling}\nSync\n\nBind - s\nExecute - 0\nSync\n\n{LOOK}"));
    }
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    bench.check_as("app", "", &scripts).await;
}

#[tokio::test]
async fn the_path_goes_back() {
    let bench = Bench::build("oracle_back").await;
    let ways = [
        "RESET search_path",
        "SET search_path TO DEFAULT",
        "SET SESSION search_path TO DEFAULT",
        "SET LOCAL search_path TO DEFAULT",
        "RESET ALL",
        "DISCARD ALL",
    ];
    let mut scripts = Vec::new();
    for way in ways {
        scripts.push(format!("Query SET search_path = T2\n\nQuery {way}\n\n{LOOK}"));
        scripts.push(format!(
            "Query SET search_path = T2\n\nQuery SELECT count(*) FROM books\n\nQuery {way}\n\n{LOOK}"
        ));
        scripts.push(format!(
            "Query BEGIN\n\nQuery SET search_path = T2\n\nQuery {way}\n\nQuery SHOW search_path\n\n\
             Query COMMIT\n\nQuery ROLLBACK\n\n{LOOK}"
        ));
        scripts.push(format!(
            "Query BEGIN\n\nQuery SELECT count(*) FROM T2.books\n\nQuery SET search_path = T2\n\n\
             Query {way}\n\n{LOOK}Query ROLLBACK\n\n{LOOK}"
        ));
        scripts.push(format!(
            "Query SET search_path = T2\n\nParse - - {way}\nBind - -\nExecute - 0\nSync\n\n{LOOK}"
        ));
    }
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    bench.check_all(&scripts).await;
    bench.check_as("app", "oracle_back,public", &scripts).await;
}

#[tokio::test]
async fn bound_values_and_odd_texts() {
    let bench = Bench::build("oracle_bound").await;
    let mut scripts = Vec::new();
    for local in ["false", "true"] {
        let sql = format!("SELECT set_config('search_path', $1, {local})");
        scripts.push(format!("Parse - - {sql}\nBind - - T2\nExecute - 0\nSync\n\n{LOOK}"));
        scripts.push(format!(
            "Query BEGIN\n\nParse s - {sql}\nBind - s T2\nExecute - 0\nSync\n\n{LOOK}\
             Query COMMIT\n\n{LOOK}"
        ));
    }
    for odd in [
        "SET search_path = ''",
        "SELECT set_config('search_path', '', false)",
        "SET search_path = 'one, two'",
        "SET search_path = \"One\", two, 'Three'",
        "SET search_path = \"say \"\"x\"\"\"",
        "SET search_path = 1",
        "SET search_path = a b",
        "SET search_path = 'a'x",
        "SELECT set_config('search_path', 'a b', false)",
        "SELECT set_config('search_path', '\"', false)",
        "SET LOCAL search_path = T2",
        "SET search_path = T2;SELECT set_config('search_path', NULL, false)",
    ] {
        scripts.push(format!(
            "Query {odd}\n\nQuery SHOW search_path\n\nQuery SELECT current_setting('search_path')\n\n"
        ));
    }
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    // With a path from the startup, `set_config(…, NULL, …)` would return the shard's own.
    bench.check_as("app", "", &scripts).await;
}

#[tokio::test]
async fn other_settings() {
    let bench = Bench::build("oracle_guc").await;
    bench
        .check_queries(&[
            "SET statement_timeout = '5s'
             SHOW statement_timeout
             SELECT count(*) FROM authors
             RESET statement_timeout
             SHOW statement_timeout",
            "SET TIME ZONE 'Asia/Tokyo'
             SELECT '2025-01-01 00:00+00'::timestamptz
             SET LOCAL timezone = 'UTC'
             SHOW timezone
             SET TIME ZONE DEFAULT
             SHOW timezone",
            "SET timezone = 'Asia/Tokyo'
             RESET ALL
             SHOW timezone",
            "SET timezone = 'Asia/Tokyo'
             DISCARD ALL
             SHOW timezone",
            "SET timezone = 'Asia/Tokyo'
             BEGIN
             SET timezone = 'Europe/Paris'
             SELECT '2025-01-01 00:00+00'::timestamptz
             ROLLBACK
             SELECT '2025-01-01 00:00+00'::timestamptz",
            "BEGIN
             SET timezone = 'Europe/Paris'
             ROLLBACK
             SHOW timezone",
            "SET application_name = 'one'
             SHOW application_name
             SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()
             RESET application_name",
            "BEGIN
             SET LOCAL work_mem = '8MB'
             SHOW work_mem
             SAVEPOINT a
             SET LOCAL work_mem = '9MB'
             SHOW work_mem
             ROLLBACK TO a
             SHOW work_mem
             COMMIT
             SHOW work_mem",
            "SET DateStyle = 'German'
             SELECT DATE '2025-01-31'
             SET DateStyle TO 'ISO', 'DMY'
             SHOW DateStyle
             SELECT '01/02/2025'::date",
            "SET my.own = 'x'
             SHOW my.own
             SELECT current_setting('my.own')
             SELECT current_setting('my.other', true)
             SELECT set_config('my.own', 'y', true), current_setting('my.own')
             SHOW my.own",
            "SET work_mem = '1MB'; SET statement_timeout = 0; SHOW work_mem
             SHOW statement_timeout
             SHOW work_mem",
            "SET client_encoding = 'UTF8'
             SET NAMES 'UTF8'
             SHOW client_encoding
             SET standard_conforming_strings = on
             SHOW standard_conforming_strings",
            "SET default_transaction_read_only = on
             BEGIN
             INSERT INTO authors VALUES (7, 'x')
             ROLLBACK
             SHOW default_transaction_read_only",
            "SET default_transaction_isolation = 'serializable'
             BEGIN
             SHOW transaction_isolation
             COMMIT",
            "SHOW ALL; SELECT 1 / 0",
            "SET work_mem = '1MB'
             SELECT 1 / 0
             SHOW work_mem",
            "SET work_mem = '1MB'; SELECT 1 / 0
             SHOW work_mem",
            "SET SESSION work_mem TO '3MB'
             BEGIN
             RESET work_mem
             SHOW work_mem
             ROLLBACK
             SHOW work_mem",
            "SET ROLE NONE
             SHOW role",
            "SET SEED TO 0.5
             SELECT 1",
        ])
        .await;
}

/// `ALTER ROLE … SET`: what a role has from the start, under what the client says at its own.
#[tokio::test]
async fn what_a_role_has_from_the_start() {
    let role = "oracle_settled";
    let bench =
        Bench::build_with("oracle_role", super::SHARD, Wanted::default().pool_size(1).user(role))
            .await;
    for number in 1..=3 {
        let shard = world().shard(number);
        let superuser = direct(shard.cluster.superuser_config().dbname("bookstore")).await;
        let sql = format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{}' IN ROLE bookstore_app;
             ALTER ROLE {role} SET search_path = oracle_role, public;
             ALTER ROLE {role} SET timezone = 'Asia/Tokyo';
             ALTER ROLE {role} IN DATABASE bookstore SET work_mem = '2MB';
             ALTER ROLE {role} SET application_name = 'settled';
             ALTER ROLE {role} SET my.own = 'of the role'",
            shard.app_password
        );
        superuser.batch_execute(&sql).await.unwrap();
    }
    let shown = "Query SHOW search_path\n\nQuery SHOW timezone\n\nQuery SHOW work_mem\n\n\
                 Query SHOW application_name\n\nQuery SELECT current_setting('my.own')\n\n\
                 Query SELECT current_schema(), count(*) FROM authors\n\n";
    let changes = "Query SET search_path = T2\n\nQuery SET timezone = 'UTC'\n\nQuery SET work_mem = '1MB'\n\n\
                   Query SET application_name = 'other'\n\nQuery SET my.own = 'mine'\n\n";
    let ends = ["RESET ALL", "DISCARD ALL", "RESET search_path", "SET search_path TO DEFAULT"];
    let mut scripts = vec![shown.to_owned(), format!("{changes}{shown}")];
    scripts.extend(ends.map(|end| format!("{changes}{shown}Query {end}\n\n{shown}")));
    scripts.push(format!("Query BEGIN\n\n{changes}{shown}Query ROLLBACK\n\n{shown}"));
    let [one, two] = &bench.tenants;
    for script in &scripts {
        let script = script.replace("T2", two).replace("'T'", one);
        for start in [&[][..], &[("search_path", two.as_str()), ("timezone", "UTC")]] {
            let mut told = Vec::new();
            let straight = Door { user: role.to_owned(), ..bench.straight("app") };
            for door in [straight, bench.veneer.door(role)] {
                let door = start.iter().fold(door, |door, (name, value)| door.with(name, value));
                let mut wire = door.open().await;
                let greeting = super::parameters(&wire).join("\n");
                told.push(format!("{greeting}\n{}", wire.play(&script).await));
            }
            assert!(told[0] == told[1], "{start:?}\n{}", super::side_by_side(&told[0], &told[1]));
        }
    }
}
