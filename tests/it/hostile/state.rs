//! What one client leaves behind, another must not find.

use std::time::{Duration, Instant};

use super::Victim;
use crate::support::message::{first_packet, query};
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::Wire;
use crate::support::{direct, world};

/// What A does, and whatever B must not see of it, with the answer that B must get.
const LEFT: &[(&str, &str, &str)] = &[
    ("Query SET work_mem = '77MB'", "Query SHOW work_mem", "DataRow 4MB"),
    (
        "Query SET my.secret = 'x'",
        "Query SELECT current_setting('my.secret', true) IS NULL OR current_setting('my.secret', true) = ''",
        "DataRow t",
    ),
    ("Query SELECT set_config('work_mem', '77MB', false)", "Query SHOW work_mem", "DataRow 4MB"),
    (
        "Parse - - SELECT set_config($1, $2, false)\nBind - - work_mem 77MB\nExecute - 0\nSync",
        "Query SHOW work_mem",
        "DataRow 4MB",
    ),
    (
        "Query DO $$BEGIN PERFORM set_config('work_mem', '77MB', false); END$$",
        "Query SHOW work_mem",
        "DataRow 4MB",
    ),
    (
        "Query UPDATE pg_settings SET setting = '77777' WHERE name = 'work_mem'",
        "Query SHOW work_mem",
        "DataRow 4MB",
    ),
    ("Query SET TIME ZONE 'Asia/Tokyo'", "Query SHOW timezone", "DataRow UTC"),
    ("Query SET search_path = dunder_mifflin", "Query SHOW search_path", "DataRow cyberdyne"),
    (
        "Query BEGIN\n\nQuery SET search_path = dunder_mifflin\n\nQuery SELECT 1 FROM authors\n\nQuery COMMIT",
        "Query SHOW search_path",
        "DataRow cyberdyne",
    ),
    (
        "Query SET default_transaction_read_only = on",
        "Query SHOW transaction_read_only",
        "DataRow off",
    ),
    (
        "Query SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "Query SHOW transaction_isolation",
        "DataRow read committed",
    ),
    ("Query CREATE TEMP TABLE left_over (a int)", "Query SELECT * FROM left_over", "C=42P01"),
    ("Query SELECT 1 AS a INTO TEMP left_over", "Query SELECT * FROM left_over", "C=42P01"),
    (
        "Query DO $$BEGIN CREATE TEMP TABLE left_over (a int); END$$",
        "Query SELECT * FROM left_over",
        "C=42P01",
    ),
    ("Query CREATE TEMP TABLE authors (a int)", "Query SELECT count(*) FROM authors", "DataRow 7"),
    ("Query LISTEN left_over", "Query SELECT count(*) FROM pg_listening_channels()", "DataRow 0"),
    (
        "Query DO $$BEGIN EXECUTE 'LISTEN left_over'; END$$",
        "Query SELECT count(*) FROM pg_listening_channels()",
        "DataRow 0",
    ),
    (
        "Query SELECT pg_advisory_lock(33)",
        "Query SELECT pg_try_advisory_xact_lock(33)",
        "DataRow t",
    ),
    (
        "Query DO $$BEGIN PERFORM pg_advisory_lock(33); END$$",
        "Query SELECT pg_try_advisory_xact_lock(33)",
        "DataRow t",
    ),
    ("Parse s - SELECT 1\nSync", "Bind - s\nSync", "C=26000"),
    ("Query PREPARE s AS SELECT 1", "Query EXECUTE s", "C=26000"),
    ("Query DECLARE c CURSOR WITH HOLD FOR SELECT 1", "Query FETCH c", "C=34000"),
    ("Query BEGIN\n\nParse - - SELECT 1\nBind p -\nSync", "Execute p 0\nSync", "C=34000"),
    ("Query SELECT setseed(0.5)", "Query SELECT random() = 0.985432509938", "DataRow f"),
    (
        "Query BEGIN\n\nQuery SELECT 1 FROM authors FOR UPDATE",
        "Query SELECT count(*) FROM (SELECT 1 FROM authors FOR UPDATE NOWAIT) x",
        "DataRow 7",
    ),
    ("Query BEGIN\n\nQuery SELECT 1 / 0", "Query SELECT 1", "DataRow 1"),
    ("Query COPY books FROM STDIN", "Query SELECT 1", "DataRow 1"),
    ("Query SELECT currval('nothing')", "Query SELECT lastval()", "C=55000"),
    ("Query SET ROLE bookstore_app", "Query SELECT current_user", "DataRow bookstore_app"),
];

/// On the one backend that there is: A goes, or its state keeps the backend until it goes.
#[tokio::test]
async fn what_a_client_leaves_when_it_goes() {
    let mut victim = Victim::new().await;
    let door = victim.veneer.door("app").with("search_path", "cyberdyne");
    for (does, looks, expected) in LEFT {
        let mut first = door.open().await;
        let did = first.play(does).await;
        drop(first);
        let told = door.open().await.play(looks).await;
        assert!(told.contains(expected), "{does}\n{did}\n{looks}\n{told}");
        victim.check_unhurt(does).await;
    }
}

/// A stays; B works on what A has given back, or on a backend of its own.
#[tokio::test]
async fn what_a_client_shows_while_it_stays() {
    let victim = Victim::of(Wanted::default().pool_size(2)).await;
    let door = victim.veneer.door("app").with("search_path", "cyberdyne");
    for (does, looks, expected) in LEFT {
        // These are meant to be seen by others.
        if does.contains("FOR UPDATE") || does.contains("advisory_lock") {
            continue;
        }
        let mut first = door.open().await;
        let did = first.play(does).await;
        let told = door.open().await.play(looks).await;
        assert!(told.contains(expected), "{does}\n{did}\n{looks}\n{told}");
    }
}

/// And A itself finds what it left, whichever backend it gets.
#[tokio::test]
async fn what_a_client_finds_again() {
    let victim = Victim::of(Wanted::default().pool_size(2)).await;
    let door = victim.veneer.door("app").with("search_path", "cyberdyne");
    for (does, looks, expected) in [
        ("Query SET work_mem = '77MB'", "Query SHOW work_mem", "DataRow 77MB"),
        ("Query CREATE TEMP TABLE mine AS SELECT 5", "Query SELECT * FROM mine", "DataRow 5"),
        ("Query PREPARE p AS SELECT 6", "Query EXECUTE p", "DataRow 6"),
        ("Parse s - SELECT 7\nSync", "Bind - s\nExecute - 0\nSync", "DataRow 7"),
        ("Query SELECT pg_advisory_lock(34)", "Query SELECT pg_advisory_unlock(34)", "DataRow t"),
        ("Query DECLARE c CURSOR WITH HOLD FOR SELECT 8", "Query FETCH c", "DataRow 8"),
        (
            "Query LISTEN mine",
            "Query NOTIFY mine, 'x'\n\nQuery SELECT 1",
            "NotificationResponse mine x",
        ),
    ] {
        let mut mine = door.open().await;
        let did = mine.play(does).await;
        let mut other = door.open().await;
        assert!(other.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
        // Work for another shard lies between.
        assert!(mine.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7"));
        let told = mine.play(looks).await;
        assert!(told.contains(expected), "{does}\n{did}\n{looks}\n{told}");
    }
}

/// No parser sees a trigger. Whatever path it leaves, nobody else reads by it.
#[tokio::test]
async fn a_path_that_a_trigger_leaves() {
    let mut victim = Victim::new().await;
    let mut admin = victim.veneer.door("admin").with("search_path", "cyberdyne").open().await;
    let made = admin
        .play(
            "Query CREATE TABLE trap (a int)\n\nQuery GRANT INSERT ON trap TO PUBLIC\n\n\
             Query CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN PERFORM set_config('search_path', 'dunder_mifflin', false); RETURN NEW; END$$\
             \n\nQuery CREATE TRIGGER spring BEFORE INSERT ON trap \
             FOR EACH ROW EXECUTE FUNCTION spring()",
        )
        .await;
    assert!(!made.contains("ErrorResponse"), "{made}");
    drop(admin);
    let mut mine = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    let own = mine.query("SELECT id FROM authors ORDER BY id").await;
    let sprung = mine.query("INSERT INTO trap VALUES (1)").await;
    assert!(sprung.contains("INSERT 0 1"), "{sprung}");
    assert_eq!(mine.query("SELECT id FROM authors ORDER BY id").await, own);
    drop(mine);
    let mut next = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    assert_eq!(next.query("SELECT id FROM authors ORDER BY id").await, own);
    let mut admin = victim.veneer.door("admin").with("search_path", "cyberdyne").open().await;
    admin.play("Query DROP TABLE trap\n\nQuery DROP FUNCTION spring()").await;
    drop((admin, next));
    victim.check_unhurt("a trigger that sets the path").await;
}

/// A cancel stops the query of the session whose key it has, and no other.
#[tokio::test]
async fn cancels() {
    let mut victim = Victim::of(Wanted::default().pool_size(2)).await;
    let sleep = query("SELECT pg_sleep(60), 1 FROM cyberdyne.authors");
    let mut sleepers = Vec::new();
    for _ in 0..2 {
        let mut wire = victim.veneer.door("app").open().await;
        wire.send(&sleep).await;
        sleepers.push(wire);
    }
    until_asleep(2).await;
    let key = |wire: &Wire| {
        let frame = wire.greeting.iter().find(|frame| frame.tag == b'K');
        frame.expect("every session has a key").body.to_vec()
    };
    let port = victim.veneer.port;
    for index in [0, 1] {
        let mut wrong = key(&sleepers[index]);
        wrong[7] ^= 1;
        for bytes in [wrong, key(&sleepers[index])] {
            let mut cancel = Wire::connect(port).await;
            cancel.send(&first_packet(80_877_102, &bytes)).await;
            assert_eq!(cancel.read_on().await, "closed\n");
        }
        let mut told = Transcript::default();
        while let Some(frame) = sleepers[index].next().await {
            told.frame(&frame);
            if frame.tag == b'Z' {
                break;
            }
        }
        let told = told.finish();
        assert!(told.contains("C=57014"), "{told}");
        if index == 0 {
            until_asleep(1).await;
        }
        // A cancel that comes too late hits nobody.
        let mut cancel = Wire::connect(port).await;
        cancel.send(&first_packet(80_877_102, &key(&sleepers[index]))).await;
        cancel.read_on().await;
        let told = sleepers[index].query("SELECT count(*) FROM cyberdyne.authors").await;
        assert!(told.contains("DataRow 7"), "{told}");
    }
    victim.check_unhurt("cancels").await;
}

/// Until so many, and no more, sleep on cyberdyne's shard.
async fn until_asleep(count: i64) {
    let client = direct(&world().home_of("cyberdyne").cluster.superuser_config()).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) != count {
        assert!(Instant::now() < deadline, "never were {count} asleep");
    }
}
