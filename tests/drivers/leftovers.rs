//! What one session leaves in a backend, the next one does not find. The pool has one backend.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{direct, world};
use crate::veneer::Veneer;

/// What becomes of a session's state when its transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The session has it again with its next statement; the backend serves others in between.
    Replayed,
    /// It came about where nobody could see it: the backend is reset, and the state is gone.
    Undone,
    /// The backend is the session's until it ends.
    Pinned,
}
use Fate::{Pinned, Replayed, Undone};

/// The fate of a state, how it comes about, and what tells whether it is there.
const CASES: [(Fate, &str, &str); 21] = [
    (Replayed, "SET work_mem = '7777kB'", "SHOW work_mem"),
    (Replayed, "SET SESSION statement_timeout = '777s'", "SHOW statement_timeout"),
    (Replayed, "SELECT set_config('work_mem', '7777kB', false)", "SHOW work_mem"),
    (
        Replayed,
        "SELECT set_config('app.who', 'a', false)",
        "SELECT current_setting('app.who', true)",
    ),
    (Replayed, "SET application_name = 'leftover'", "SHOW application_name"),
    (Replayed, "SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone"),
    (Replayed, "SET DateStyle = 'German'", "SELECT DATE '2001-02-03'::text"),
    (Replayed, "BEGIN; SET work_mem = '7777kB'; COMMIT", "SHOW work_mem"),
    (
        Replayed,
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SHOW default_transaction_read_only",
    ),
    (Undone, "SELECT leave_setting()", "SHOW work_mem"),
    (Undone, "SELECT count(*) FROM authors WHERE leave_setting() = 'x'", "SHOW work_mem"),
    (Undone, "DO $$ BEGIN SET work_mem = '7777kB'; END $$", "SHOW work_mem"),
    (
        Undone,
        "DO $$ BEGIN EXECUTE 'SET search_path = cyberdyne'; END $$",
        "SELECT current_schema()",
    ),
    (Pinned, "CREATE TEMP TABLE leftover ()", "SELECT to_regclass('pg_temp.leftover')::text"),
    (Pinned, "CREATE TEMP TABLE authors AS SELECT 1", "SELECT count(*) FROM authors"),
    (Pinned, "LISTEN leftover", "SELECT count(*) FROM pg_listening_channels()"),
    (
        Pinned,
        "SELECT pg_advisory_lock(4711)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
    (Pinned, "PREPARE leftover AS SELECT 'mine'", "EXECUTE leftover"),
    (
        Pinned,
        "BEGIN; DECLARE leftover CURSOR WITH HOLD FOR VALUES ('mine'); COMMIT",
        "FETCH ALL FROM leftover",
    ),
    (
        Pinned,
        "BEGIN; DECLARE leftover CURSOR WITH HOLD FOR VALUES ('mine'); COMMIT",
        "SELECT count(*) FROM pg_cursors",
    ),
    (Pinned, "SELECT setseed(0.5)", "SELECT random()"),
];

/// The first value, or the error's code.
async fn answer(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(messages) => {
            let row = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            // A setting that somebody once had is empty from then on, where it was NULL before.
            row.and_then(|row| row.get(0)).unwrap_or_default().to_owned()
        }
        Err(error) => error.code().expect("an answer of PostgreSQL").code().to_owned(),
    }
}

async fn leave(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn oracle(tenant: &str) -> Client {
    direct(world().shard(2).app_config().options(format!("-c search_path={tenant}"))).await
}

#[tokio::test]
async fn what_a_session_leaves_is_not_found_by_the_next() {
    let shard = direct(&world().shard(2).admin_config()).await;
    let function = "CREATE FUNCTION cyberdyne.leave_setting() RETURNS text LANGUAGE sql AS
                    $$ SELECT set_config('work_mem', '7777kB', false) $$";
    shard.batch_execute(function).await.unwrap();
    let veneer = Veneer::start("leftovers", 1);
    let mut wrong = Vec::new();
    for (fate, left, asked) in CASES {
        let untouched = answer(&oracle("dunder_mifflin").await, asked).await;
        let alone = oracle("cyberdyne").await;
        leave(&alone, left).await;
        let own = answer(&alone, asked).await;
        // It may hold a lock that the next one wants.
        drop(alone);
        let mut expect = |who: &str, seen: String, expected: &String| {
            // No two answers of random() are alike; that one is not the other is all there is.
            let is_right = if asked.contains("random()") && who != "A" {
                seen != own
            } else {
                seen == *expected
            };
            if !is_right {
                wrong.push(format!("{left}; {asked}: {who} has {seen:?}, not {expected:?}"));
            }
        };

        let first = veneer.tenant("cyberdyne").await;
        leave(&first, left).await;
        if fate == Pinned {
            expect("A", answer(&first, asked).await, &own);
            drop(first);
            let second = veneer.tenant("dunder_mifflin").await;
            expect("B", answer(&second, asked).await, &untouched);
            continue;
        }
        let second = veneer.tenant("dunder_mifflin").await;
        expect("B", answer(&second, asked).await, &untouched);
        if fate == Replayed {
            expect("A", answer(&first, asked).await, &own);
            expect("B, again", answer(&second, asked).await, &untouched);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn names_of_statements_are_their_clients_own() {
    let veneer = Veneer::start("leftover-names", 1);
    let first = veneer.tenant("cyberdyne").await;
    let second = veneer.tenant("dunder_mifflin").await;
    // Both drivers count from the same number: the names are equal, the texts are not.
    let mine = first.prepare("SELECT 'mine' FROM authors LIMIT 1").await.unwrap();
    let theirs = second.prepare("SELECT 'theirs' FROM authors LIMIT 1").await.unwrap();
    for _ in 0..3 {
        let row = first.query_one(&mine, &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "mine");
        let row = second.query_one(&theirs, &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "theirs");
    }
}

/// What pins a backend, what `SHOW veneer.pins` calls it, and what ends it.
const ENDS: [(&str, &str, &str); 17] = [
    ("LISTEN leftover", "LISTEN", "UNLISTEN leftover"),
    ("LISTEN leftover", "LISTEN", "UNLISTEN *"),
    ("CREATE TEMP TABLE leftover ()", "temporary object", "DROP TABLE leftover"),
    ("CREATE TEMP TABLE leftover ()", "temporary object", "DISCARD TEMP"),
    ("CREATE TEMP VIEW leftover AS SELECT 1", "temporary object", "DROP VIEW leftover"),
    ("SELECT pg_advisory_lock(4712)", "advisory lock", "SELECT pg_advisory_unlock(4712)"),
    ("SELECT pg_advisory_lock_shared(1, 2)", "advisory lock", "SELECT pg_advisory_unlock_all()"),
    (
        "DO $$ BEGIN PERFORM pg_advisory_lock(4713); END $$",
        "advisory lock",
        "SELECT pg_advisory_unlock(4713)",
    ),
    (
        "BEGIN; DECLARE leftover CURSOR WITH HOLD FOR VALUES (1); COMMIT",
        "cursor WITH HOLD",
        "CLOSE leftover",
    ),
    ("PREPARE leftover AS SELECT 1", "PREPARE", "DEALLOCATE leftover"),
    ("PREPARE leftover AS SELECT 1", "PREPARE", "DEALLOCATE ALL"),
    (
        "LISTEN leftover; CREATE TEMP TABLE leftover (); SELECT pg_advisory_lock(4714)",
        "LISTEN, temporary object, advisory lock",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; DROP TABLE leftover",
    ),
    ("CREATE TEMP TABLE leftover (); LISTEN leftover", "LISTEN, temporary object", "DISCARD ALL"),
    // None of these leave anything, so there is nothing to end.
    ("BEGIN; CREATE TEMP TABLE leftover () ON COMMIT DROP; COMMIT", "", "SELECT 1"),
    ("BEGIN; LISTEN leftover; CREATE TEMP TABLE leftover (); ROLLBACK", "", "SELECT 1"),
    (
        "BEGIN; SELECT pg_advisory_lock(4715); SELECT pg_advisory_unlock_all(); COMMIT",
        "",
        "SELECT 1",
    ),
    ("DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE leftover () ON COMMIT DROP'; END $$", "", "SELECT 1"),
];

#[tokio::test]
async fn a_pin_ends_with_its_cause() {
    let veneer = Veneer::start("pins", 1);
    let first = veneer.tenant("cyberdyne").await;
    let second = veneer.tenant("dunder_mifflin").await;
    for (left, pins, end) in ENDS {
        leave(&first, left).await;
        let shown = answer(&first, "SHOW veneer.pins").await;
        let expected = if pins.is_empty() { String::new() } else { format!("shard2: {pins}") };
        assert_eq!(shown, expected, "{left}");
        leave(&first, end).await;
        // The pool has no other backend: it answers if, and only if, the pin has ended.
        assert_eq!(answer(&second, "SELECT count(*) > 0 FROM authors").await, "t", "{left}; {end}");
        assert_eq!(answer(&first, "SHOW veneer.pins").await, "", "{left}; {end}");
    }
}

/// `UNLISTEN *` and the like mean the whole session, however many shards it has state on.
#[tokio::test]
async fn what_ends_all_ends_it_on_every_shard() {
    let veneer = Veneer::start("pins-all", 1);
    let client = veneer.tenant("cyberdyne").await;
    for end in [
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
        "BEGIN; SELECT pg_advisory_unlock_all(); UNLISTEN *; COMMIT",
        "DISCARD ALL",
    ] {
        leave(&client, "SET search_path = cyberdyne; LISTEN leftover").await;
        leave(&client, "SET search_path = initech").await;
        leave(&client, "SELECT pg_advisory_lock(4716) FROM initech.authors").await;
        let shown = answer(&client, "SHOW veneer.pins").await;
        let mut pins: Vec<_> = shown.split("; ").collect();
        pins.sort_unstable();
        assert_eq!(pins, ["shard2: LISTEN", "shard3: advisory lock"]);
        leave(&client, "BEGIN; UNLISTEN *; ROLLBACK").await;
        assert_eq!(answer(&client, "SHOW veneer.pins").await.len(), shown.len());
        leave(&client, end).await;
        assert_eq!(answer(&client, "SHOW veneer.pins").await, "", "{end}");
    }
}

/// What comes behind the end of all, in the same message, stays.
#[tokio::test]
async fn what_begins_behind_an_end_stays() {
    let veneer = Veneer::start("pins-anew", 1);
    let client = veneer.tenant("cyberdyne").await;
    for (left, asked, expected) in [
        ("LISTEN a; UNLISTEN *; LISTEN b", "SELECT * FROM pg_listening_channels()", "b"),
        ("PREPARE p AS SELECT 1; DEALLOCATE ALL; PREPARE p AS SELECT 2", "EXECUTE p", "2"),
        (
            "SELECT pg_advisory_unlock_all(); SELECT pg_advisory_lock(4717)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "1",
        ),
    ] {
        leave(&client, left).await;
        assert_eq!(answer(&client, asked).await, expected, "{left}");
    }
}

/// A value of a sequence is its own session's, whoever has the backend in between.
#[tokio::test]
async fn lastval_is_ones_own() {
    let shard = direct(&world().shard(2).admin_config()).await;
    shard
        .batch_execute(
            "CREATE TABLE cyberdyne.numbered (id serial); GRANT ALL ON cyberdyne.numbered TO PUBLIC;
             GRANT ALL ON SEQUENCE cyberdyne.numbered_id_seq TO PUBLIC",
        )
        .await
        .unwrap();
    let insert = "INSERT INTO cyberdyne.numbered DEFAULT VALUES";
    let veneer = Veneer::start("lastval", 1);
    let first = veneer.tenant("cyberdyne").await;
    let second = veneer.tenant("dunder_mifflin").await;
    leave(&first, insert).await;
    assert_eq!(answer(&second, "SELECT lastval()").await, "55000");
    // The other has had the only backend since: rather none than a wrong one.
    assert_eq!(answer(&first, "SELECT lastval()").await, "55000");
    leave(&first, "BEGIN").await;
    leave(&first, insert).await;
    assert_eq!(answer(&first, "SELECT lastval()").await, "2");
    leave(&first, "COMMIT; DISCARD SEQUENCES").await;
    drop((first, second));

    let veneer = Veneer::start("lastval-pinned", 2);
    let first = veneer.tenant("cyberdyne").await;
    let second = veneer.tenant("cyberdyne").await;
    // From the first question on its backend is kept for the next.
    assert_eq!(answer(&first, "SELECT lastval()").await, "55000");
    for number in [3, 5] {
        leave(&first, insert).await;
        assert_eq!(answer(&first, "SHOW veneer.pins").await, "shard2: currval");
        leave(&second, insert).await;
        assert_eq!(answer(&first, "SELECT lastval()").await, number.to_string());
        let current = "SELECT currval('cyberdyne.numbered_id_seq')";
        assert_eq!(answer(&first, current).await, number.to_string());
    }
    leave(&first, "DISCARD SEQUENCES").await;
    assert_eq!(answer(&first, "SHOW veneer.pins").await, "");
}
