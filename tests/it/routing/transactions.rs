//! A transaction has one shard: bound late, softly at first, and never changed once it counts.

use super::{check, make_schema};
use crate::support::served::{Veneer, Wanted};

const SECOND: &str = "ErrorResponse C=0A000 \
    M=the transaction runs on shard \"shard2\" and cannot go on on shard \"shard3\" \
    D=The transaction has begun on shard \"shard2\"; tenant \"initech\" lives on shard \"shard3\". \
    H=End the transaction first: one transaction stays on one shard.";
const ABORTED: &str = "ErrorResponse C=25P02 M=current transaction is aborted, \
    commands ignored until end of transaction block";

#[tokio::test]
async fn a_second_shard_fails_the_transaction_and_frees_its_locks() {
    let veneer = Veneer::start().await;
    let lock = "SELECT last_name FROM cyberdyne.authors WHERE last_name = 'Lee' FOR UPDATE";
    let free = "DataRow Lee\nCommandComplete SELECT 1\nReadyForQuery I\n";
    for second in [
        "Query SELECT * FROM initech.authors\n\n",
        "Parse - - SELECT * FROM initech.authors\nBind - -\nExecute - 0\nSync\n\n",
    ] {
        let mut wire = veneer.door("app").open().await;
        let mut rival = veneer.door("app").open().await;
        wire.play(&format!("Query BEGIN\n\nQuery {lock}")).await;
        let held = rival.query(&format!("{lock} NOWAIT")).await;
        assert!(held.contains("C=55P03"), "{held}");
        let told = wire.play(second).await;
        let refused = SECOND.replace("C=0A000", "S=ERROR V=ERROR C=0A000");
        assert!(told.ends_with(&format!("{refused}\nReadyForQuery E\n")), "{told}");
        let told = rival.query(&format!("{lock} NOWAIT")).await;
        assert!(told.ends_with(free), "{told}");
        let told = wire
            .play("Query SELECT 1\n\nQuery SELECT 1 FROM initech.authors\n\nQuery COMMIT")
            .await;
        assert_eq!(told.matches("C=25P02").count(), 2, "{told}");
        assert!(told.ends_with("CommandComplete ROLLBACK\nReadyForQuery I\n"), "{told}");
        let told = wire.query("SELECT count(*) FROM initech.authors").await;
        assert!(told.contains("DataRow 7"), "{told}");
    }
}

#[tokio::test]
async fn in_one_pipeline_too() {
    let veneer = Veneer::start().await;
    // An implicit transaction: what came first is rolled back.
    check(
        &veneer.door("app"),
        "Parse - - SELECT 1 FROM cyberdyne.authors WHERE last_name = 'Lee'\nBind - -\nExecute - 0\n\
         Parse - - SELECT '@@' FROM initech.authors\nBind - -\nExecute - 0\nSync\nQuery SELECT 2",
        &format!("DataRow 1\nCommandComplete SELECT 1\n{SECOND}\nReadyForQuery I\nDataRow 2\nCommandComplete SELECT 1\nReadyForQuery I"),
    )
    .await;
    // With a Sync between them they are two transactions.
    check(
        &veneer.door("app"),
        "Parse - - SELECT 1 FROM cyberdyne.authors WHERE last_name = 'Lee'\nBind - -\nExecute - 0\nSync\n\
         Parse - - SELECT 2 FROM initech.authors WHERE last_name = 'Lee'\nBind - -\nExecute - 0\nSync\nQuery SELECT 3 FROM bluth_co.authors LIMIT 1",
        "DataRow 1\nCommandComplete SELECT 1\nReadyForQuery I\nDataRow 2\nCommandComplete SELECT 1\nReadyForQuery I\n\
         DataRow 3\nCommandComplete SELECT 1\nReadyForQuery I",
    )
    .await;
}

#[tokio::test]
async fn begin_waits_for_its_shard() {
    let veneer = Veneer::start().await;
    let app = veneer.door("app");
    check(
        &app,
        "Query BEGIN -- @@\n\nQuery SET LOCAL search_path = initech /*@@*/\n\nQuery SAVEPOINT a /*@@*/\n\n\
         Query SELECT count(*) FROM authors WHERE '@@' <> ''\n\nQuery COMMIT -- @@",
        "CommandComplete BEGIN
         ReadyForQuery T
         CommandComplete SET
         ReadyForQuery T
         CommandComplete SAVEPOINT
         ReadyForQuery T
         DataRow 7
         CommandComplete SELECT 1
         ReadyForQuery T
         CommandComplete COMMIT
         ReadyForQuery I
         shard3 < BEGIN -- @@
         shard3 < SET LOCAL search_path = initech /*@@*/
         shard3 < SAVEPOINT a /*@@*/
         shard3 < SELECT count(*) FROM authors WHERE '@@' <> ''
         shard3 < COMMIT -- @@",
    )
    .await;
    check(
        &app,
        "Parse - - BEGIN -- @@\nBind - -\nExecute - 0\nSync\n\n\
         Parse - - SELECT count(*) FROM initech.authors WHERE '@@' <> ''\nBind - -\nExecute - 0\nSync\n\n\
         Parse - - COMMIT -- @@\nBind - -\nExecute - 0\nSync",
        "CommandComplete BEGIN
         ReadyForQuery T
         DataRow 7
         CommandComplete SELECT 1
         ReadyForQuery T
         CommandComplete COMMIT
         ReadyForQuery I
         shard3 < BEGIN -- @@
         shard3 < SELECT count(*) FROM initech.authors WHERE '@@' <> ''
         shard3 < COMMIT -- @@",
    )
    .await;
    // Nothing was asked, so no shard hears of it.
    check(
        &app,
        "Query BEGIN -- @@\n\nQuery COMMIT -- @@\n\nQuery BEGIN -- @@\n\nQuery ROLLBACK -- @@",
        "CommandComplete BEGIN
         ReadyForQuery T
         CommandComplete COMMIT
         ReadyForQuery I
         CommandComplete BEGIN
         ReadyForQuery T
         CommandComplete ROLLBACK
         ReadyForQuery I",
    )
    .await;
}

#[tokio::test]
async fn a_tenantless_read_binds_softly() {
    make_schema(3, "softly").await;
    let veneer = Wanted::default().tenant(("softly", "shard3", "active")).start().await;
    let app = veneer.door("app");
    check(
        &app,
        "Query BEGIN -- @@\n\nQuery SELECT '@@'\n\nQuery SELECT count(*) FROM initech.authors WHERE '@@' <> ''\n\n\
         Query SELECT 1 FROM cyberdyne.authors\n\nQuery COMMIT -- @@",
        &format!(
            "CommandComplete BEGIN
             ReadyForQuery T
             DataRow @@
             CommandComplete SELECT 1
             ReadyForQuery T
             DataRow 7
             CommandComplete SELECT 1
             ReadyForQuery T
             {}
             ReadyForQuery E
             CommandComplete ROLLBACK
             ReadyForQuery I
             shard1 < BEGIN -- @@
             shard1 < SELECT '@@'
             shard3 < BEGIN -- @@
             shard3 < SELECT count(*) FROM initech.authors WHERE '@@' <> ''
             shard3 < COMMIT -- @@",
            SECOND
                .replace("shard3", "x")
                .replace("shard2", "shard3")
                .replace("\"x\"", "\"shard2\"")
                .replace("initech", "cyberdyne")
        ),
    )
    .await;
    // A function of the tenant's own is looked up where the tenant is.
    check(
        &app,
        "Query BEGIN\n\nQuery SELECT 1\n\nQuery SET LOCAL search_path = softly\n\nQuery SELECT f(), current_schema(), '@@'\n\nQuery COMMIT",
        "CommandComplete BEGIN
         ReadyForQuery T
         DataRow 1
         CommandComplete SELECT 1
         ReadyForQuery T
         CommandComplete SET
         ReadyForQuery T
         DataRow f on shard3 | softly | @@
         CommandComplete SELECT 1
         ReadyForQuery T
         CommandComplete COMMIT
         ReadyForQuery I
         shard3 < SELECT f(), current_schema(), '@@'",
    )
    .await;
    // A snapshot that has been taken cannot be taken elsewhere.
    check(
        &app,
        "Query BEGIN ISOLATION LEVEL REPEATABLE READ\n\nQuery SELECT 1\n\nQuery SELECT '@@' FROM initech.authors\n\nQuery SELECT 1\n\nQuery ROLLBACK",
        &format!(
            "CommandComplete BEGIN\nReadyForQuery T\nDataRow 1\nCommandComplete SELECT 1\nReadyForQuery T\n\
             {}\nReadyForQuery E\n{ABORTED} F=postgres.c L=1081 R=exec_simple_query\nReadyForQuery E\n\
             CommandComplete ROLLBACK\nReadyForQuery I",
            SECOND.replace("shard2", "shard1")
        ),
    )
    .await;
}

/// What was pipelined behind a tenantless read is not lost when the transaction would move.
#[tokio::test]
async fn a_write_behind_a_soft_read_binds_firmly() {
    let veneer = Veneer::start().await;
    let mut wire = veneer.door("app").open().await;
    let told = wire
        .play(
            "Query BEGIN\nQuery SELECT 1\nQuery UPDATE bluth_co.books SET title = title\n\n\
             Query SELECT count(*) FROM initech.books\n\nQuery ROLLBACK",
        )
        .await;
    assert!(told.contains("UPDATE 8"), "{told}");
    assert!(told.contains("M=the transaction runs on shard \"shard1\" and cannot go on"), "{told}");
    // A function of the path's tenant is not looked for on another shard.
    let told = wire
        .play(
            "Query SET search_path = initech\n\nQuery BEGIN\n\nQuery SELECT 1 FROM cyberdyne.books\n\n\
             Query SELECT nobody_knows_it()\n\nQuery ROLLBACK",
        )
        .await;
    assert!(told.contains(" C=0A000 "), "{told}");
}
