//! What only veneer does: which shard is asked what, and what is refused before any is asked.

mod change;
mod counted;
mod prepared;
mod unqualified;
mod sessions;
mod transactions;

use std::sync::atomic::{AtomicUsize, Ordering};

use veneer::demo::shard::APP_ROLE;

use crate::support::asked::{asked_since, mark};
use crate::support::direct;
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Door;
use crate::support::world;

/// Plays a script; tells the replies and then what each shard was asked. Texts that are looked for
/// in the logs hold `@@`, which becomes a number of the case's own: other tests use the shards, too.
async fn told(door: &Door, script: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = format!("<{}>", COUNT.fetch_add(1, Ordering::Relaxed));
    let marks: Vec<_> = world().demo.shards.iter().map(|shard| mark(&shard.cluster)).collect();
    let script = script.replace("@@", &number);
    let transcript = match door.knock().await {
        Ok(mut wire) => wire.play(&script).await,
        Err(said) => said,
    };
    let boring = ["> ", "RowDescription", "ParseComplete", "BindComplete", "ParameterDescription"];
    let lines = transcript.lines().filter(|line| !boring.iter().any(|b| line.starts_with(b)));
    let mut lines: Vec<String> = lines.map(|line| line.replace("S=ERROR V=ERROR ", "")).collect();
    for (shard, mark) in world().demo.shards.iter().zip(marks) {
        let asked = asked_since(&shard.cluster, mark, APP_ROLE);
        let ours = asked.iter().filter(|text| text.contains(&number));
        lines.extend(ours.map(|text| format!("{} < {text}", shard.name)));
    }
    lines.join("\n").replace(&number, "@@")
}

async fn check(door: &Door, script: &str, expected: &str) {
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    let told = told(door, script).await;
    assert_eq!(told, expected.join("\n"), "\n{script}\n{told}\n");
}

/// A schema of the test's own with one row that tells where it is.
async fn make_schema(shard: usize, schema: &str) {
    let admin = direct(&world().shard(shard).admin_config()).await;
    let sql = format!(
        "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO {APP_ROLE};
         CREATE TABLE {schema}.place AS SELECT 'on shard{shard}' AS here;
         GRANT SELECT, INSERT ON {schema}.place TO {APP_ROLE};
         CREATE FUNCTION {schema}.f() RETURNS text LANGUAGE sql AS 'SELECT ''f on shard{shard}''';"
    );
    admin.batch_execute(&sql).await.unwrap();
}

const EACH: [(&str, &str); 4] = [
    ("bluth_co", "shard1"),
    ("cyberdyne", "shard2"),
    ("dunder_mifflin", "shard2"),
    ("initech", "shard3"),
];

#[tokio::test]
async fn each_tenant_on_its_shard_and_once() {
    let veneer = Veneer::start().await;
    let mut ids = Vec::new();
    for (tenant, shard) in EACH {
        let sql = format!("SELECT id FROM {tenant}.authors WHERE first_name = 'Ernest' -- @@");
        let told = told(&veneer.door("proved"), &format!("Query {sql}")).await;
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[1..3], ["CommandComplete SELECT 1", "ReadyForQuery I"], "{told}");
        assert_eq!(lines[3..], [format!("{shard} < {sql}")], "{told}");
        ids.push(lines[0].to_owned());
        let sql = format!("SELECT count(*) FROM {tenant}.authors WHERE last_name <> '@@'");
        check(
            &veneer.door("app"),
            &format!("Parse - - {sql}\nBind - -\nExecute - 0\nSync"),
            &format!("DataRow 7\nCommandComplete SELECT 1\nReadyForQuery I\n{shard} < {sql}"),
        )
        .await;
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn several_shards_are_refused_before_any_is_asked() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app");
    let refused = "ErrorResponse C=0A000 M=the statement needs more than one shard \
        D=tenant \"cyberdyne\" is on shard \"shard2\"; tenant \"initech\" is on shard \"shard3\". \
        H=Ask each shard on its own, and join in the application.\nReadyForQuery I";
    for sql in [
        "SELECT '@@' FROM cyberdyne.authors, initech.authors",
        "SELECT '@@' FROM cyberdyne.authors; DELETE FROM initech.authors",
        "SELECT '@@' FROM cyberdyne.authors WHERE id IN (SELECT id FROM initech.authors)",
        "WITH x AS (DELETE FROM cyberdyne.books RETURNING 1) SELECT '@@' FROM initech.books",
        "SET search_path = cyberdyne; SELECT '@@' FROM authors; SET search_path = initech; SELECT 1 FROM authors",
        "BEGIN; SELECT '@@' FROM cyberdyne.authors; SELECT 1 FROM initech.authors; COMMIT",
        "SELECT 'cyberdyne.authors'::regclass, '@@' FROM initech.authors",
        "INSERT INTO cyberdyne.authors SELECT * FROM initech.authors WHERE first_name = '@@'",
    ] {
        check(&app, &format!("Query {sql}"), refused).await;
        if !sql.contains(';') {
            let script = format!("Parse - - {sql}\nBind - -\nExecute - 0\nSync");
            check(&app, &script, refused).await;
        }
    }
    check(
        &app,
        "Query SELECT count(*) FROM cyberdyne.authors a JOIN dunder_mifflin.authors b USING (last_name) WHERE '@@' <> ''",
        "DataRow 7
         CommandComplete SELECT 1
         ReadyForQuery I
         shard2 < SELECT count(*) FROM cyberdyne.authors a JOIN dunder_mifflin.authors b USING (last_name) WHERE '@@' <> ''",
    )
    .await;
}

#[tokio::test]
async fn names_that_are_no_tenants() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app");
    let near = "ErrorResponse C=3F000 M=schema \"cyberdine\" does not exist \
        H=Perhaps you meant \"cyberdyne\".\nReadyForQuery I";
    check(&app, "Query SELECT '@@' FROM cyberdine.authors", near).await;
    check(&app, "Parse - - SELECT '@@' FROM cyberdine.authors\nSync", near).await;
    check(&app.clone().with("search_path", "cyberdine"), "Query SELECT '@@' FROM authors", near)
        .await;
    check(
        &app,
        "Query SET search_path = cyberdine, public\n\nQuery SHOW search_path\n\nQuery SELECT '@@' FROM authors",
        &format!(
            "CommandComplete SET\nReadyForQuery I\nDataRow cyberdine, public\n\
             CommandComplete SHOW\nReadyForQuery I\n{near}"
        ),
    )
    .await;
    check(
        &app,
        "Query SELECT '@@' FROM zzz.authors",
        "ErrorResponse C=3F000 M=schema \"zzz\" does not exist H=No tenant has such a name; check search_path and qualifiers.
         ReadyForQuery I",
    )
    .await;
    // Folded, quoted, in Unicode: as PostgreSQL reads names.
    for name in ["CyberDyne", "\"cyberdyne\"", "U&\"cyber\\0064yne\""] {
        let sql = format!("SELECT count(*) FROM {name}.authors WHERE '@@' <> ''");
        let expected =
            format!("DataRow 7\nCommandComplete SELECT 1\nReadyForQuery I\nshard2 < {sql}");
        check(&app, &format!("Query {sql}"), &expected).await;
    }
    check(
        &app,
        "Query SELECT '@@' FROM \"Cyberdyne\".authors",
        "ErrorResponse C=3F000 M=schema \"Cyberdyne\" does not exist H=Perhaps you meant \"cyberdyne\".
         ReadyForQuery I",
    )
    .await;
}

#[tokio::test]
async fn the_path_at_startup() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app");
    let scoped = Door { database: "bookstore@initech".to_owned(), ..app.clone() };
    for (door, tenant, shard) in [
        (app.clone().with("search_path", "cyberdyne,public"), "cyberdyne", "shard2"),
        (app.clone().with("search_path", "\"initech\""), "initech", "shard3"),
        (app.clone().with("options", "-c search_path=initech"), "initech", "shard3"),
        (app.clone().with("options", "-csearch_path=initech,public"), "initech", "shard3"),
        (app.clone().with("options", "--search_path=cyberdyne"), "cyberdyne", "shard2"),
        (app.clone().with("options", "--search-path=cyberdyne"), "cyberdyne", "shard2"),
        (
            app.clone().with("options", "-c search_path=initech").with("search_path", "cyberdyne"),
            "cyberdyne",
            "shard2",
        ),
    ] {
        let sql = "SELECT current_schema(), count(*) FROM authors WHERE '@@' <> ''";
        let expected = format!(
            "DataRow {tenant} | 7\nCommandComplete SELECT 1\nReadyForQuery I\n{shard} < {sql}"
        );
        check(&door, &format!("Query {sql}"), &expected).await;
        check(&door, &format!("Parse - - {sql}\nBind - -\nExecute - 0\nSync"), &expected).await;
    }
    for door in [scoped, app.clone().with("options", "-c veneer.tenant=initech")] {
        let sql = "SELECT count(*) FROM pg_class WHERE '@@' = ''";
        let expected =
            format!("DataRow 0\nCommandComplete SELECT 1\nReadyForQuery I\nshard3 < {sql}");
        check(&door, &format!("Query {sql}"), &expected).await;
    }
}

#[tokio::test]
async fn statements_of_one_message_are_decided_together() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app");
    for (sql, rows, shard) in [
        (
            "SELECT 1; SELECT count(*) FROM initech.authors WHERE '@@' <> ''",
            &["1", "7"][..],
            "shard3",
        ),
        (
            "SELECT count(*) FROM cyberdyne.authors; SELECT count(*) FROM dunder_mifflin.authors WHERE '@@' <> ''",
            &["7", "7"],
            "shard2",
        ),
        (
            "SET search_path TO initech;SELECT count(*) FROM \"authors\" WHERE '@@' <> ''",
            &["7"],
            "shard3",
        ),
        ("SELECT '@@'; SELECT 2", &["@@", "2"], "shard1"),
    ] {
        let mut expected: Vec<String> = Vec::new();
        if sql.starts_with("SET") {
            expected.push("CommandComplete SET".to_owned());
        }
        for row in rows {
            expected.push(format!("DataRow {row}"));
            expected.push("CommandComplete SELECT 1".to_owned());
        }
        expected.push(format!("ReadyForQuery I\n{shard} < {sql}"));
        check(&app, &format!("Query {sql}"), &expected.join("\n")).await;
    }
}

#[tokio::test]
async fn users_and_standings() {
    make_schema(2, "reading").await;
    let wanted = Wanted::default()
        .tenant(("reading", "shard2", "read_only"))
        .tenant(("paused", "shard2", "suspended"))
        .tenant(("moving_on", "shard2", "moving"))
        .tenant(("unborn", "shard2", "provisioning"));
    let veneer = wanted.start().await;
    let limited = veneer.door("limited");
    let denied = "ErrorResponse C=42501 M=permission denied for schema initech \
        D=User \"limited\" may not use this tenant.\nReadyForQuery I";
    for sql in [
        "SELECT '@@' FROM initech.authors",
        "SELECT '@@' FROM bluth_co.authors; SELECT 1 FROM initech.authors",
        "SELECT '@@', 'initech.authors'::regclass",
        "SET search_path = initech; SELECT '@@' FROM authors",
        "COPY initech.authors TO STDOUT -- @@",
        "EXPLAIN SELECT '@@' FROM initech.authors",
        "SELECT initech.f('@@')",
    ] {
        check(&limited, &format!("Query {sql}"), denied).await;
    }
    let inside = limited.clone().with("search_path", "initech");
    check(&inside, "Query SELECT '@@' FROM authors", denied).await;
    check(
        &limited,
        "Query SELECT '@@' FROM initexh.authors",
        "ErrorResponse C=3F000 M=schema \"initexh\" does not exist H=No tenant has such a name; check search_path and qualifiers.
         ReadyForQuery I",
    )
    .await;
    let app = veneer.door("app");
    for (sql, error) in [
        ("INSERT INTO reading.place VALUES ('@@')", "25006 M=tenant \"reading\" is read-only"),
        ("CREATE TABLE reading.t (a int)", "25006 M=tenant \"reading\" is read-only"),
        (
            "SELECT here, '@@' FROM reading.place FOR UPDATE",
            "25006 M=tenant \"reading\" is read-only",
        ),
        (
            "SELECT '@@' FROM paused.t",
            "57P03 M=tenant \"paused\" is not accepting queries: it is suspended H=Try again later.",
        ),
        (
            "SELECT '@@' FROM moving_on.t",
            "57P03 M=tenant \"moving_on\" is not accepting queries: it is moving H=Try again later.",
        ),
        (
            "SELECT '@@' FROM unborn.t",
            "3F000 M=tenant \"unborn\" is not accepting queries: it is provisioning H=Try again when the tenant is active.",
        ),
    ] {
        let expected = format!("ErrorResponse C={error}\nReadyForQuery I");
        check(&app, &format!("Query {sql}"), &expected).await;
    }
    check(
        &app,
        "Query SELECT here, '@@' FROM reading.place",
        "DataRow on shard2 | @@
         CommandComplete SELECT 1
         ReadyForQuery I
         shard2 < SELECT here, '@@' FROM reading.place",
    )
    .await;
}

#[tokio::test]
async fn what_concerns_every_shard_is_refused() {
    let veneer = Veneer::start().await;
    let admin = veneer.door("admin");
    for (sql, message) in [
        ("CREATE SCHEMA new_one", "CREATE, ALTER and DROP SCHEMA are not supported here"),
        ("DROP SCHEMA initech CASCADE", "CREATE, ALTER and DROP SCHEMA are not supported here"),
        (
            "ALTER SCHEMA initech RENAME TO x",
            "CREATE, ALTER and DROP SCHEMA are not supported here",
        ),
        ("CREATE ROLE joe", "CREATE ROLE concerns every shard"),
        ("ALTER ROLE CURRENT_USER SET search_path = x", "ALTER ROLE concerns every shard"),
        ("CREATE EXTENSION hstore", "CREATE EXTENSION concerns every shard"),
        ("PREPARE TRANSACTION 'x'", "two-phase commit is not supported"),
        ("COMMIT PREPARED 'x'", "two-phase commit is not supported"),
        ("ROLLBACK PREPARED 'x'", "two-phase commit is not supported"),
    ] {
        for script in
            [format!("Query {sql}"), format!("Parse - - {sql}\nBind - -\nExecute - 0\nSync")]
        {
            let told = told(&admin, &script).await;
            let expected = format!("ErrorResponse C=0A000 M={message}");
            assert!(
                told.starts_with(&expected) && told.ends_with("ReadyForQuery I"),
                "{script}: {told}"
            );
        }
    }
}
