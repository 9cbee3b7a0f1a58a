//! One client, several tenants: what it may rely on, and what is refused so that it can go on.

use super::{check, make_schema, told};
use crate::support::direct;
use crate::support::message::first_packet;
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::{Door, Wire};
use crate::support::world;

const LIFECYCLE: &str = "CREATE, ALTER and DROP SCHEMA are not supported here";

fn extended(sql: &str) -> String {
    format!("Parse - - {sql}\nBind - -\nDescribe P -\nExecute - 0\nSync")
}

/// Until veneer can place a tenant, and in every wording of the clients.
#[tokio::test]
async fn lifecycle_statements_are_refused_whole() {
    let veneer = Veneer::start().await;
    let admin = veneer.door("admin").with("search_path", "cyberdyne,public");
    for sql in [
        "CREATE SCHEMA \"t9\"",
        "CREATE SCHEMA IF NOT EXISTS \"acme\"",
        "CREATE SCHEMA acme AUTHORIZATION acme_admin",
        "ALTER SCHEMA \"t1\" RENAME TO \"t2\"",
        "DROP SCHEMA \"t2\" CASCADE",
        "DROP SCHEMA IF EXISTS \"x\" CASCADE",
        "BEGIN; CREATE SCHEMA \"x\"; COMMIT;",
        "INSERT INTO authors (first_name, last_name) VALUES ('Never', 'Seen'); CREATE SCHEMA \"t9\"",
    ] {
        let after = "\n\nQuery SELECT count(*) FROM authors";
        let mut said = vec![format!("Query {sql}{after}")];
        if !sql.contains("; ") {
            said.push(format!("{}{after}", extended(sql)));
        }
        for script in said {
            let told = told(&admin, &script).await;
            let expected = format!("ErrorResponse C=0A000 M={LIFECYCLE}");
            assert!(told.starts_with(&expected), "{script}\n{told}");
            let end = "\nReadyForQuery I\nDataRow 7\nCommandComplete SELECT 1\nReadyForQuery I";
            assert!(told.ends_with(end), "{script}\n{told}");
        }
    }
    // Django's way: the transaction fails as a whole, and the session goes on.
    let told = told(
        &admin,
        "Query BEGIN\n\nQuery INSERT INTO authors (first_name, last_name) VALUES ('Never', 'Seen')\n\n\
         Query CREATE SCHEMA \"t9\"\n\nQuery SET search_path=\"t9\",\"public\"\n\nQuery SAVEPOINT s\n\n\
         Query CREATE TABLE x ()\n\nQuery RELEASE SAVEPOINT s\n\nQuery COMMIT\n\n\
         Query SELECT count(*) FROM authors",
    )
    .await;
    assert!(told.contains(&format!("C=0A000 M={LIFECYCLE}")), "{told}");
    assert_eq!(told.matches("C=25P02").count(), 4, "{told}");
    let end = "CommandComplete ROLLBACK\nReadyForQuery I\nDataRow 7\nCommandComplete SELECT 1\nReadyForQuery I";
    assert!(told.ends_with(end), "{told}");
}

#[tokio::test]
async fn a_tenant_elsewhere_is_not_joined_with_what_all_share() {
    let veneer = Veneer::start().await;
    let refused = "ErrorResponse C=0A000 M=the statement needs more than one shard \
        D=tenant \"cyberdyne\" is on shard \"shard2\"; shared schema \"public\" is on shard \"shard1\". \
        H=Ask each shard on its own, and join in the application.\nReadyForQuery I";
    let sql = "SELECT '@@' FROM cyberdyne.books o JOIN public.plans p ON p.id = o.id";
    check(&veneer.door("app"), &format!("Query {sql}"), refused).await;
    check(&veneer.door("app"), &extended(sql), refused).await;
    // Each on its own, whatever the path says.
    let inside = veneer.door("app").with("search_path", "cyberdyne,public");
    for sql in [
        "INSERT INTO public.no_such_plan VALUES ('@@')",
        "SELECT '@@' FROM \"public\".\"no_such_users\" WHERE id = 1",
    ] {
        for script in [format!("Query {sql}"), extended(sql)] {
            let told = told(&inside, &script).await;
            assert!(told.starts_with("ErrorResponse C=42P01"), "{told}");
            assert!(!told.contains("shard2 <") && !told.contains("shard3 <"), "{told}");
        }
    }
}

#[tokio::test]
async fn a_table_that_would_leave_its_shard() {
    let veneer = Veneer::start().await;
    let refused = "ErrorResponse C=0A000 M=the statement needs more than one shard \
        D=tenant \"cyberdyne\" is on shard \"shard2\"; tenant \"initech\" is on shard \"shard3\". \
        H=Ask each shard on its own, and join in the application.\nReadyForQuery I";
    let sql = "ALTER TABLE cyberdyne.books SET SCHEMA initech";
    check(&veneer.door("admin"), &format!("Query {sql}"), refused).await;
    check(&veneer.door("admin"), &extended(sql), refused).await;
}

/// In turn, on one client, in both protocols: and the settings go along.
#[tokio::test]
async fn two_tenants_on_two_shards_in_turn() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let mut wire = veneer.door("app").with("search_path", "cyberdyne").open().await;
    wire.play("Parse s - SELECT current_schema(), count(*) FROM authors\nSync\n\nQuery SET work_mem = '77MB'").await;
    for turn in 0..20 {
        let tenant = ["initech", "cyberdyne", "bluth_co", "dunder_mifflin"][turn % 4];
        let change = match turn % 3 {
            0 => format!("Query SET search_path = {tenant}"),
            1 => extended(&format!("SET search_path TO \"{tenant}\", public")),
            _ => format!(
                "Parse - - SELECT set_config('search_path', $1, false)\nBind - - {tenant}\nExecute - 0\nSync"
            ),
        };
        let asked = "Bind - s\nExecute - 0\nSync\n\nQuery SHOW work_mem\n\n\
                     Query SELECT current_schema(), count(*) FROM books";
        let told = wire.play(&format!("{change}\n\n{asked}")).await;
        for expected in [
            format!("DataRow {tenant} | 7"),
            "DataRow 77MB".to_owned(),
            format!("DataRow {tenant} | 8"),
        ] {
            assert!(told.contains(&expected), "turn {turn}: {told}");
        }
    }
    // And back, as the transaction's path ends.
    let told = wire
        .play(
            "Query SET search_path = cyberdyne\n\nQuery BEGIN\n\nQuery SET LOCAL search_path TO initech\n\n\
             Query SELECT current_schema(), count(*) FROM authors\n\nQuery COMMIT\n\n\
             Query SELECT current_schema(), count(*) FROM authors\n\n\
             Query BEGIN; SET LOCAL search_path TO bluth_co; SELECT current_schema(), count(*) FROM books; COMMIT\n\n\
             Query SELECT current_schema(), count(*) FROM books",
        )
        .await;
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("DataRow")).collect();
    let expected = [
        "DataRow initech | 7",
        "DataRow cyberdyne | 7",
        "DataRow bluth_co | 8",
        "DataRow cyberdyne | 8",
    ];
    assert_eq!(rows, expected, "{told}");
}

/// A pipeline for two shards is refused, and after its Sync all is well.
#[tokio::test]
async fn a_pipeline_that_spans_shards() {
    let veneer = Wanted::default().pool_size(1).start().await;
    let select = |name: &str, tenant: &str| {
        format!(
            "Parse {name} - SELECT '{tenant}', count(*) FROM {tenant}.authors\nBind - {name}\nExecute - 0\n"
        )
    };
    let write =
        "Parse - - UPDATE cyberdyne.books SET title = title || ' lost'\nBind - -\nExecute - 0\n";
    let read = "Parse - - SELECT count(*) FROM cyberdyne.books WHERE title LIKE '% lost'\nBind - -\nExecute - 0\nSync";
    for first in [select("a", "cyberdyne"), write.to_owned()] {
        let mut wire = veneer.door("app").open().await;
        let told = wire
            .play(&format!("{first}{}{}Sync", select("b", "initech"), select("c", "cyberdyne")))
            .await;
        assert!(
            told.contains(
                "ErrorResponse S=ERROR V=ERROR C=0A000 M=the transaction runs on shard \"shard2\""
            ),
            "{told}"
        );
        assert!(told.contains(" H="), "{told}");
        assert!(told.ends_with("ReadyForQuery I\n"), "{told}");
        assert!(!told.contains("DataRow initech"), "{told}");
        // The statement that was refused and the one behind it were never prepared.
        let told = wire
            .play(&format!(
                "{read}\n\nBind - c\nSync\n\n{}Sync\n\nBind - b\nExecute - 0\nSync",
                select("b", "initech")
            ))
            .await;
        assert!(told.contains("DataRow 0\n"), "{told}");
        assert_eq!(told.matches("DataRow initech | 7").count(), 2, "{told}");
        assert_eq!(told.matches("C=26000").count(), 1, "{told}");
        // Each in its own round: no refusal, in one segment of bytes.
        let told = wire
            .play(&format!(
                "{}Sync\n{}Sync\n{}Sync\nQuery SELECT 'end'",
                select("d", "cyberdyne"),
                select("e", "initech"),
                select("f", "bluth_co")
            ))
            .await;
        let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("DataRow")).collect();
        let expected =
            ["DataRow cyberdyne | 7", "DataRow initech | 7", "DataRow bluth_co | 7", "DataRow end"];
        assert_eq!(rows, expected, "{told}");
    }
    // Prepared in one pipeline, bound for several tenants before one Sync.
    let mut wire = veneer.door("app").with("search_path", "bluth_co").open().await;
    let told = wire
        .play(
            "Parse p - SELECT set_config('search_path', $1, false)\nParse q - SELECT current_schema(), count(*) FROM authors\nSync\n\n\
             Bind - p cyberdyne\nExecute - 0\nBind - q\nExecute - 0\nBind - p initech\nExecute - 0\nBind - q\nExecute - 0\nSync\n\n\
             Query SHOW search_path\n\nBind - p initech\nExecute - 0\nSync\nBind - q\nExecute - 0\nSync",
        )
        .await;
    assert_eq!(told.matches("C=0A000").count(), 1, "{told}");
    assert!(told.contains("DataRow bluth_co\n"), "{told}");
    assert!(
        told.ends_with("DataRow initech | 7\nCommandComplete SELECT 1\nReadyForQuery I\n"),
        "{told}"
    );
}

/// `"$user"` is the role on the shards; another one is not to be had.
#[tokio::test]
async fn the_role_is_the_users_own() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app").with("search_path", "\"$user\", cyberdyne");
    for role in ["bookstore_admin", "postgres", "\"nobody\"", "'initech'"] {
        for sql in [
            format!("SET ROLE {role}"),
            format!("SET LOCAL ROLE {role}"),
            format!("SET SESSION ROLE {role}"),
        ] {
            for script in [format!("Query {sql}"), extended(&sql)] {
                let look = "Query SELECT current_user, current_schema(), count(*) FROM authors";
                let told = told(&app, &format!("{script}\n\n{look}")).await;
                assert!(
                    told.starts_with("ErrorResponse C=0A000 M=cannot change \"role\""),
                    "{told}"
                );
                assert!(told.contains("DataRow bookstore_app | cyberdyne | 7\n"), "{told}");
            }
        }
    }
    for sql in [
        "SET ROLE NONE",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET SESSION AUTHORIZATION",
    ] {
        let told =
            told(&app, &format!("Query {sql}\n\nQuery SELECT current_user, session_user")).await;
        assert!(told.contains("DataRow bookstore_app | bookstore_app\n"), "{sql}: {told}");
    }
}

/// Tenants whose tables differ in their columns.
#[tokio::test]
async fn all_columns_of_another_tenant() {
    for (schema, shard, columns) in [
        ("cols_a", 2, "1 AS a"),
        ("cols_b", 2, "'x'::text AS b, 2 AS c"),
        ("cols_c", 3, "now() IS NULL AS d"),
    ] {
        let admin = direct(&world().shard(shard).admin_config()).await;
        let sql = format!(
            "CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO bookstore_app;
             CREATE TABLE {schema}.wide AS SELECT {columns}; GRANT SELECT ON {schema}.wide TO bookstore_app"
        );
        admin.batch_execute(&sql).await.unwrap();
    }
    let wanted = Wanted::default()
        .pool_size(1)
        .tenant(("cols_a", "shard2", "active"))
        .tenant(("cols_b", "shard2", "active"))
        .tenant(("cols_c", "shard3", "active"));
    let veneer = wanted.start().await;
    let mut wire = veneer.door("app").with("search_path", "cols_a").open().await;
    let mut other = veneer.door("app").with("search_path", "cols_b").open().await;
    wire.play("Parse s - SELECT * FROM wide\nSync").await;
    other.play("Parse s - SELECT * FROM wide\nSync").await;
    let run = "Describe S s\nBind - s\nDescribe P -\nExecute - 0\nSync";
    for _ in 0..3 {
        for (path, names, row) in [
            ("cols_a", &["a "][..], "DataRow 1"),
            ("cols_b", &["b ", "c "], "DataRow x | 2"),
            ("cols_c", &["d "], "DataRow f"),
            ("cols_b, cols_a", &["b ", "c "], "DataRow x | 2"),
        ] {
            let told = wire.play(&format!("Query SET search_path = {path}\n\n{run}")).await;
            assert!(told.contains(&format!("{row}\n")), "{path}: {told}");
            let described: Vec<&str> =
                told.lines().filter(|line| line.starts_with("RowDescription")).collect();
            assert_eq!(described.len(), 2, "{told}");
            assert_eq!(described[0], described[1]);
            for name in names {
                assert!(described[0].contains(name), "{told}");
            }
            let told = other.play(run).await;
            assert!(told.contains("DataRow x | 2\n"), "{told}");
        }
    }
    // In a transaction on the one shard, too.
    let told = wire
        .play(&format!(
            "Query SET search_path = cols_a\n\nQuery BEGIN\n\n{run}\n\nQuery SET LOCAL search_path = cols_b\n\n{run}\n\nQuery COMMIT\n\n{run}"
        ))
        .await;
    let rows: Vec<&str> = told.lines().filter(|line| line.starts_with("DataRow")).collect();
    assert_eq!(rows, ["DataRow 1", "DataRow x | 2", "DataRow 1"], "{told}");
}

/// A backend that is kept for its state on one shard does not stand in the way of another.
#[tokio::test]
async fn kept_backends_on_two_shards() {
    make_schema(3, "kept_there").await;
    let wanted = Wanted::default().pool_size(1).tenant(("kept_there", "shard3", "active"));
    let veneer = wanted.start().await;
    let mut wire = veneer.door("app").with("search_path", "cyberdyne").open().await;
    let told = wire
        .play(
            "Query CREATE TEMP TABLE mine AS SELECT 'two' AS at\n\n\
             Query SET search_path = kept_there\n\nQuery CREATE TEMP TABLE mine AS SELECT 'three' AS at\n\n\
             Query SELECT mine.at, place.here FROM mine, place\n\nQuery SET search_path = cyberdyne\n\n\
             Query SELECT mine.at, count(*) FROM mine, authors GROUP BY 1\n\n\
             Query SET search_path = bluth_co\n\nQuery SELECT count(*) FROM authors",
        )
        .await;
    for row in ["DataRow three | on shard3\n", "DataRow two | 7\n", "DataRow 7\n"] {
        assert!(told.contains(row), "{told}");
    }
}

/// A cancel finds the shard where the session works.
#[tokio::test]
async fn a_cancel_while_on_another_shard() {
    let veneer = Veneer::start().await;
    let mut wire = veneer.door("app").with("search_path", "bluth_co").open().await;
    let key = wire.greeting.iter().find(|frame| frame.tag == b'K').expect("a key").body.to_vec();
    for tenant in ["cyberdyne", "initech", "bluth_co"] {
        wire.query(&format!("SET search_path = {tenant}")).await;
        let sql = format!("SELECT count(*), pg_sleep(60) FROM authors -- of {tenant}");
        wire.send(&crate::support::message::query(&sql)).await;
        until_asleep(tenant, &sql).await;
        let mut cancel = Wire::connect(veneer.port).await;
        cancel.send(&first_packet(80_877_102, &key)).await;
        assert_eq!(cancel.read_on().await, "closed\n");
        let mut told = String::new();
        while let Some(frame) = wire.next().await {
            told.push_str(&crate::support::transcript::told(&frame, &mut Vec::new()));
            if frame.tag == b'Z' {
                break;
            }
        }
        assert!(told.contains("C=57014"), "{told}");
        assert!(wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
    }
}

async fn until_asleep(tenant: &str, sql: &str) {
    let client = direct(&world().home_of(tenant).cluster.superuser_config()).await;
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = $1";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while client.query_one(asked, &[&sql]).await.unwrap().get::<_, i64>(0) != 1 {
        assert!(std::time::Instant::now() < deadline, "it never slept: {sql}");
    }
}

/// `COPY` of a query, and then of another tenant's on another shard.
#[tokio::test]
async fn copies_from_two_shards() {
    let veneer = Veneer::start().await;
    let app = Door { ..veneer.door("app") };
    let copy = |tenant: &str| format!("COPY (SELECT count(*) FROM {tenant}.authors) TO STDOUT");
    for say in [|sql: &str| format!("Query {sql}"), extended] {
        let script = format!(
            "{}\n\n{}\n\n{}",
            say(&copy("cyberdyne")),
            say(&copy("initech")),
            say("COPY (SELECT a.id FROM cyberdyne.authors a, initech.authors) TO STDOUT")
        );
        let told = told(&app, &script).await;
        assert_eq!(
            told.matches("CopyData 7\\n\nCopyDone\nCommandComplete COPY 1\n").count(),
            2,
            "{told}"
        );
        assert!(
            told.contains("ErrorResponse C=0A000 M=the statement needs more than one shard"),
            "{told}"
        );
    }
}
