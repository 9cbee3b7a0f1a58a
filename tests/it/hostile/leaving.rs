//! A client that closes its own side of the socket: still reading, or gone.

use std::time::{Duration, Instant};

use super::Victim;
use veneer::demo::shard::APP_ROLE;

use crate::support::message::query;
use crate::support::script;
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Door;
use crate::support::world;

/// The script, our end of the socket closed, and everything that is said until the other end is.
async fn last_words(door: &Door, words: &str) -> String {
    let mut wire = door.open().await;
    wire.send(&script::segments(words).remove(0).bytes).await;
    wire.stop_sending().await;
    wire.read_on().await
}

/// As PostgreSQL, whose backend reads the end of its input only after it has answered.
#[tokio::test]
async fn last_words_are_answered() {
    // The first one finds no backend made.
    let veneer = Veneer::start().await;
    let shard = world().home_of("cyberdyne");
    let password = shard.app_password.clone();
    let shard = Door { port: shard.cluster.port(), password, ..veneer.door(APP_ROLE) };
    let ours = veneer.door("app").with("search_path", "cyberdyne");
    let theirs = shard.with("search_path", "cyberdyne");
    for words in [
        "Query SELECT count(*) FROM authors",
        "Query SELECT 1\nQuery SELECT pg_sleep(0.2), count(*) FROM authors\nQuery SELECT 1 / 0",
        "Parse - - SELECT count(*) FROM authors\nBind - -\nDescribe P -\nExecute - 0\nSync",
        "Parse - - SELECT count(*) FROM authors\nBind - -\nExecute - 0\nFlush",
        "Query BEGIN\nQuery DELETE FROM books WHERE false\nQuery SELECT 1",
        "Query COPY (SELECT repeat('x', 1000) FROM generate_series(1, 3000)) TO STDOUT",
    ] {
        assert_eq!(last_words(&ours, words).await, last_words(&theirs, words).await, "{words}");
    }
}

/// Nothing goes on for which the shard waits for the client.
#[tokio::test]
async fn half_a_conversation_is_over_with_the_last_word() {
    let mut victim = Victim::new().await;
    let door = victim.veneer.door("app").with("search_path", "cyberdyne");
    for words in [
        "Query COPY books FROM STDIN",
        "Query COPY books FROM STDIN\nCopyData half a line",
        "Parse - - SELECT count(*) FROM authors\nBind - -",
        "Query BEGIN\nQuery LOCK TABLE books",
    ] {
        let told = last_words(&door, words).await;
        assert!(told.ends_with("closed\n"), "{words}: {told}");
        victim.check_unhurt(words).await;
    }
}

/// Its place is free again, also when its end stands behind more that it has said.
#[tokio::test]
async fn a_talker_leaves_the_line() {
    let wanted = Wanted::default().pool_size(1).config("limits: { clients_max: 2 }");
    let veneer = wanted.start().await;
    let door = veneer.door("app").with("search_path", "cyberdyne");
    let mut holder = door.open().await;
    assert!(holder.play("Query BEGIN\n\nQuery LOCK TABLE books").await.contains("LOCK TABLE"));
    for more in [&b""[..], &query("SELECT 2"), &query("SELECT 2")[..9]] {
        let mut waiter = door.open().await;
        waiter.send(&query("SELECT 1 FROM authors")).await;
        // So that it stands in line before the rest of it comes.
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiter.send(more).await;
        drop(waiter);
        // Much less than the line's own patience, and the holder goes on.
        let deadline = Instant::now() + Duration::from_secs(8);
        while let Err(said) = door.knock().await {
            assert!(said.contains("C=53300"), "{said}");
            assert!(Instant::now() < deadline, "it still stands in line");
        }
    }
    assert!(holder.query("COMMIT").await.contains("COMMIT"));
}
