//! Migrations run once into each tenant's schema, whole or not at all.

use std::fs;
use std::path::Path;

use tokio_postgres::Client;
use veneer::demo::shard::{APP_ROLE, Shard};
use veneer::migrate::{self, MigrateError, Migrations, access};
use veneer::tenant::{RoleName, SchemaName};

use crate::support::{direct, temporary_directory, world};

/// A schema of the test's own on shard 1, opened to the application.
async fn new_tenant(name: &str) -> (Client, SchemaName) {
    let client = direct(&world().shard(1).admin_config()).await;
    let schema = SchemaName::stored(name).unwrap();
    access::make_schema(&client, &schema, &RoleName::stored(APP_ROLE).unwrap()).await.unwrap();
    (client, schema)
}

fn files(directory: &Path, files: &[(&str, &str)]) -> Migrations {
    for (name, sql) in files {
        fs::write(directory.join(name), sql).unwrap();
    }
    Migrations::from_directory(directory).unwrap()
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {sql}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn tenants_have_seven_authors_and_eight_books() {
    let tenants = world().demo.shards.iter().flat_map(|shard| shard.tenants);
    for tenant in tenants {
        let client = direct(&world().home_of(tenant).app_config()).await;
        assert_eq!(count(&client, &format!("{tenant}.authors")).await, 7);
        assert_eq!(count(&client, &format!("{tenant}.books")).await, 8);
        let books_of = |name: &str| {
            format!(
                "{tenant}.books b JOIN {tenant}.authors a ON a.id = author_id WHERE last_name = '{name}'"
            )
        };
        assert_eq!(count(&client, &books_of("Rice")).await, 3);
        assert_eq!(count(&client, &books_of("Hemingway")).await, 0);
        assert_eq!(count(&client, &books_of("Vonnegut")).await, 0);
    }
}

#[tokio::test]
async fn a_second_run_does_nothing_and_two_at_once_do_it_once() {
    let (mut client, schema) = new_tenant("run_twice").await;
    let mut rival = direct(&world().shard(1).admin_config()).await;
    let migrations = Migrations::embedded().unwrap();
    let (mine, theirs) = tokio::join!(
        migrate::up(&mut client, &schema, &migrations),
        migrate::up(&mut rival, &schema, &migrations),
    );
    assert_eq!(mine.unwrap().len() + theirs.unwrap().len(), migrations.len());
    assert!(migrate::up(&mut client, &schema, &migrations).await.unwrap().is_empty());
    assert_eq!(count(&client, "run_twice.books").await, 8);
}

#[tokio::test]
async fn a_broken_file_leaves_nothing_of_itself() {
    let (mut client, schema) = new_tenant("broken").await;
    let (directory, _remover) = temporary_directory("broken");
    let migrations = files(
        &directory,
        &[
            ("V1__good.sql", "CREATE TABLE a ()"),
            ("V2__bad.sql", "CREATE TABLE b (); SELECT 1 / 0"),
        ],
    );
    let failed = migrate::up(&mut client, &schema, &migrations).await;
    assert!(matches!(failed, Err(MigrateError::Run { .. })), "{failed:?}");
    let tables = "pg_tables WHERE schemaname = 'broken' AND tablename IN ('a', 'b')";
    assert_eq!(count(&client, tables).await, 1);
    // Mended, it goes on where it stopped, on the same connection.
    let migrations = files(&directory, &[("V2__bad.sql", "CREATE TABLE b ()")]);
    assert_eq!(migrate::up(&mut client, &schema, &migrations).await.unwrap(), ["V2__bad"]);
}

#[tokio::test]
async fn a_file_that_changed_after_it_ran_is_refused() {
    let (mut client, schema) = new_tenant("changed").await;
    let (directory, _remover) = temporary_directory("changed");
    let migrations = files(&directory, &[("V1__a.sql", "CREATE TABLE a ()")]);
    migrate::up(&mut client, &schema, &migrations).await.unwrap();
    let migrations = files(&directory, &[("V1__a.sql", "CREATE TABLE a (id int)")]);
    assert!(migrate::up(&mut client, &schema, &migrations).await.is_err());
}

#[tokio::test]
async fn a_file_cannot_lead_the_next_one_astray() {
    let (mut client, schema) = new_tenant("astray").await;
    let (directory, _remover) = temporary_directory("astray");
    let migrations = files(
        &directory,
        &[("V1__a.sql", "SET search_path = public"), ("V2__b.sql", "CREATE TABLE b ()")],
    );
    migrate::up(&mut client, &schema, &migrations).await.unwrap();
    assert_eq!(count(&client, "astray.b").await, 0);
}

#[tokio::test]
async fn the_application_reads_and_writes_rows_and_nothing_else() {
    let shard: &Shard = world().shard(1);
    let (mut client, schema) = new_tenant("opened").await;
    migrate::up(&mut client, &schema, &Migrations::embedded().unwrap()).await.unwrap();
    access::grant_all(&client, &schema, &RoleName::stored(APP_ROLE).unwrap()).await.unwrap();
    // Made afterwards: default privileges must cover it.
    client.batch_execute("CREATE TABLE opened.later (id serial)").await.unwrap();
    let application = direct(&shard.app_config()).await;
    for allowed in [
        "INSERT INTO opened.later DEFAULT VALUES",
        "UPDATE opened.authors SET last_name = last_name",
        "DELETE FROM opened.books",
        "SELECT setval('opened.later_id_seq', 7)",
    ] {
        assert!(application.batch_execute(allowed).await.is_ok(), "{allowed}");
    }
    for refused in [
        "TRUNCATE opened.books",
        "CREATE TABLE opened.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "SELECT FROM opened.refinery_schema_history",
        "DELETE FROM opened.refinery_schema_history",
        "ALTER TABLE opened.books ADD column x int",
    ] {
        let error = application.batch_execute(refused).await.err();
        let code = error.and_then(|error| error.code().map(|code| code.code().to_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{refused}");
    }
}
