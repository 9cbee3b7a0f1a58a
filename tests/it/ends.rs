//! How conversations end, and what they leave done.

use crate::support::message::{bind, execute, message, parse, query, sync};
use crate::support::served::{Veneer, Wanted};
use crate::support::{direct, world};

/// A table of initech's for one test, and an eye on it.
async fn table(name: &str) -> tokio_postgres::Client {
    let shard = direct(&world().shard(3).admin_config()).await;
    shard.batch_execute(&format!("CREATE TABLE initech.{name} (a int)")).await.unwrap();
    shard
}

async fn count(shard: &tokio_postgres::Client, name: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM initech.{name}");
    shard.query_one(&sql, &[]).await.unwrap().get(0)
}

/// PostgreSQL does what came before Terminate, and so do we.
#[tokio::test]
async fn what_was_asked_before_the_goodbye_is_done() {
    let shard = table("farewell").await;
    let veneer = Wanted::default().pool_size(1).start().await;
    let goodbye = message(b'X', b"");
    let insert = "INSERT INTO initech.farewell SELECT 1 FROM pg_sleep(0.05)";
    let simple = [query(insert), goodbye.clone()].concat();
    let done = |status| format!("CommandComplete INSERT 0 1\nReadyForQuery {status}\nclosed\n");
    let unsynced = [parse("", insert, &[]), bind("", "", &[], &[], &[]), execute("", 0)].concat();
    let cases = [
        (simple, done("I"), 1),
        (
            [unsynced.clone(), sync(), query(insert), goodbye.clone()].concat(),
            format!(
                "ParseComplete\nBindComplete\nCommandComplete INSERT 0 1\nReadyForQuery I\n{}",
                done("I")
            ),
            2,
        ),
        // Without its Sync a pipeline commits nothing, and without COMMIT a transaction does not.
        ([unsynced, goodbye.clone()].concat(), "closed\n".to_owned(), 0),
        (
            [query("BEGIN"), query(insert), goodbye].concat(),
            format!("CommandComplete BEGIN\nReadyForQuery T\n{}", done("T")),
            0,
        ),
    ];
    let mut expected = 0;
    for (bytes, told, rows) in cases {
        let mut wire = veneer.door("app").open().await;
        wire.send(&bytes).await;
        assert_eq!(wire.read_on().await, told);
        expected += rows;
        // The pool holds one backend, so this one comes after it.
        let told =
            veneer.door("app").open().await.query("SELECT count(*) FROM initech.farewell").await;
        assert!(told.contains(&format!("DataRow {expected}\n")), "{told}");
    }
    let mut wire = veneer.door("app").open().await;
    wire.send(&[query(insert), message(b'X', b"")].concat()).await;
    drop(wire);
    let told = veneer.door("app").open().await.query("SELECT count(*) FROM initech.farewell").await;
    assert!(told.contains(&format!("DataRow {}\n", expected + 1)), "nobody reads: {told}");
    assert_eq!(count(&shard, "farewell").await, expected + 1);
}

/// What ends a backend ends its client's session, in PostgreSQL's own words.
#[tokio::test]
async fn a_shards_last_words() {
    let veneer = Veneer::start().await;
    let mut wire = veneer.door("app").with("search_path", "initech").open().await;
    wire.query("SET idle_in_transaction_session_timeout = '20ms'").await;
    wire.query("BEGIN").await;
    wire.send(&query("SELECT 1 FROM authors LIMIT 0")).await;
    let told = wire.read_on().await;
    let words =
        "S=FATAL V=FATAL C=25P03 M=terminating connection due to idle-in-transaction timeout";
    assert!(told.contains(words) && told.ends_with("closed\n"), "{told}");

    let superuser = direct(&world().shard(3).cluster.superuser_config()).await;
    // The marks differ: the backend killed first may be seen for a while.
    for (begin, mark) in [("", "first words"), ("BEGIN", "last words")] {
        let mut wire = veneer.door("app").with("search_path", "initech").open().await;
        if !begin.is_empty() {
            wire.query(begin).await;
        }
        wire.send(&query(format!("SELECT pg_sleep(60) FROM authors /* {mark} */"))).await;
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE query LIKE '%pg_sleep(60)%{mark}%' AND pid <> pg_backend_pid()"
        );
        while superuser.query(&kill, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let told = wire.read_on().await;
        let words = "S=FATAL V=FATAL C=57P01 M=terminating connection due to administrator command";
        assert!(told.contains(words) && told.ends_with("closed\n"), "{begin}: {told}");
    }
}

/// State that cannot be said again is lost with its backend, and the session must not go on as if
/// it were there.
#[tokio::test]
async fn the_loss_of_a_pin() {
    let veneer = Veneer::start().await;
    let superuser = direct(&world().shard(3).cluster.superuser_config()).await;
    let mut wire = veneer.door("app").with("search_path", "initech").open().await;
    let told = wire.query("LISTEN pin_lost").await;
    assert!(told.ends_with("ReadyForQuery I\n"), "{told}");
    // The question that PostgreSQL is asked then is the last that the backend has run.
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE query LIKE '%pg_listening_channels()%' AND pid <> pg_backend_pid()";
    assert!(!superuser.query(kill, &[]).await.unwrap().is_empty());
    let told = wire.read_on().await;
    let words = "S=FATAL V=FATAL C=08006 M=the connection to shard \"shard3\", which held state of \
                 this session, was lost\nclosed\n";
    assert!(told.ends_with(words), "{told}");
    veneer.assert_alive();
}
