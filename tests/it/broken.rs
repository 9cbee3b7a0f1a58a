//! A shard that talks nonsense: its backend is closed, its client told, and the next one served.

use crate::support::message::{claim, message};
use crate::support::scripted::{Says, ScriptedShard, one};
use crate::support::served::{Veneer, Wanted};

/// A veneer whose tenant `odd` lives on the scripted shard, on at most one backend.
async fn veneer_before(shard: &ScriptedShard) -> Veneer {
    let wanted = Wanted::default().pool_size(1).shard("shard9", shard.port);
    wanted.tenant(("odd", "shard9", "active")).start().await
}

const BROKE_DOWN: &str = "ErrorResponse S=ERROR V=ERROR C=08006 \
    M=the connection to shard \"shard9\" was lost \
    D=What the shard said makes no sense. \
    H=Nothing of it was committed. Try again.\nReadyForQuery I\n";
const LOST: &str = "ErrorResponse S=ERROR V=ERROR C=08006 \
    M=the connection to shard \"shard9\" was lost \
    H=Nothing of it was committed. Try again.\nReadyForQuery I\n";
const LOST_IN_TRANSACTION: &str = "ErrorResponse S=ERROR V=ERROR C=08006 \
    M=the connection to shard \"shard9\" was lost \
    H=Nothing of it was committed. Try again.\nReadyForQuery E\n";
const UNKNOWN: &str = "ErrorResponse S=ERROR V=ERROR C=08007 \
    M=the connection to shard \"shard9\" was lost \
    H=It may have been committed or not; look before you try again.\nReadyForQuery I\n";

/// The client is told as expected and goes on; a neighbour and the next one notice nothing.
async fn check(what: &str, says: Says, expected: &str) {
    let shard = ScriptedShard::start(says).await;
    let veneer = veneer_before(&shard).await;
    let mut neighbour = veneer.door("app").with("search_path", "initech").open().await;
    let mut wire = veneer.door("app").open().await;
    let told = wire.query("SELECT c FROM odd.t").await;
    assert!(told.contains("DataRow one"), "{what}: {told}");
    let told = wire.query("SELECT misbehave FROM odd.t").await;
    assert!(told.ends_with(expected), "{what}: {told}");
    if expected.ends_with("ReadyForQuery I\n") {
        let told = wire.query("SELECT c FROM odd.t").await;
        assert!(told.contains("DataRow one"), "{what}: {told}");
    }
    assert!(neighbour.query("SELECT count(*) FROM authors").await.contains("DataRow 7"), "{what}");
    // The pool holds one: it was closed, and its seat is free.
    let told = veneer.door("app").open().await.query("SELECT c FROM odd.t").await;
    assert!(told.contains("DataRow one"), "{what}: {told}");
    assert!(2 <= shard.connections(), "{what}: the backend was used again");
    veneer.assert_alive();
}

#[tokio::test]
async fn frames_that_nobody_asked_for() {
    let fields = b"SERROR\0C42601\0Mno\0\0";
    for (what, bytes) in [
        ("a type that does not exist", message(b'!', b"x")),
        ("a length of 0", claim(b'D', 0)),
        ("a length of 3", claim(b'D', 3)),
        ("a length of 4 GiB", claim(b'D', u32::MAX)),
        ("a length of 2 GiB", claim(b'D', 0x8000_0000)),
        ("ParseComplete for a Query", message(b'1', b"")),
        ("an authentication", message(b'R', &[0, 0, 0, 3])),
        ("an empty ReadyForQuery", message(b'Z', b"")),
        ("a ReadyForQuery of no state", message(b'Z', b"X")),
        ("a long ReadyForQuery", message(b'Z', b"II")),
        ("a bad ParameterStatus", message(b'S', b"half")),
        ("another encoding", Vec::new()),
        ("half an answer, then nonsense", [&one()[..40], &[0xff; 64]].concat()),
    ] {
        if bytes.is_empty() {
            let says = Says::Bytes(message(b'S', b"client_encoding\0SJIS\0"));
            check(what, says, "C=0A000 M=cannot change \"client_encoding\"\nclosed\n").await;
        } else {
            check(what, Says::Bytes(bytes), BROKE_DOWN).await;
        }
    }
    let error = [message(b'E', fields), message(b'Z', b"I"), message(b'D', b"\0\0")].concat();
    check_answered_then_replaced("an error, then rows", Says::Bytes(error)).await;
}

#[tokio::test]
async fn an_end_in_the_middle() {
    for cut in [0, 1, 4, 5, 20, one().len() - 6, one().len() - 1] {
        let says = Says::BytesAndEnd(one()[..cut].to_vec());
        check(&format!("the end after {cut} bytes"), says, LOST).await;
    }
}

/// The answer was whole; what came after it must not reach anybody.
async fn check_answered_then_replaced(what: &str, says: Says) {
    let shard = ScriptedShard::start(says).await;
    let veneer = veneer_before(&shard).await;
    let mut wire = veneer.door("app").open().await;
    let told = wire.query("SELECT misbehave FROM odd.t").await;
    assert!(told.contains("ReadyForQuery I") || told.ends_with(BROKE_DOWN), "{what}: {told}");
    for _ in 0..3 {
        let mut next = veneer.door("app").open().await;
        let told = next.query("SELECT c FROM odd.t").await;
        assert_eq!(told.matches("DataRow").count(), 1, "{what}: {told}");
        assert!(
            told.ends_with("DataRow one\nCommandComplete SELECT 1\nReadyForQuery I\n"),
            "{what}: {told}"
        );
    }
    assert!(2 <= shard.connections(), "{what}: the backend was used again");
    veneer.assert_alive();
}

#[tokio::test]
async fn words_while_nobody_asks() {
    for (what, bytes) in [
        ("rows", message(b'D', b"\0\x01\0\0\0\x05wrong")),
        ("an answer", one()),
        ("half a message", one()[..30].to_vec()),
        ("a ReadyForQuery", message(b'Z', b"I")),
        ("an error", message(b'E', b"SFATAL\0C57P01\0Mgoing\0\0")),
        ("nonsense", vec![0xff; 100]),
    ] {
        check_answered_then_replaced(what, Says::LaterBytes(bytes)).await;
    }
}

/// Connections may go without a word. What was idle for long is asked first: one that does not
/// answer speaks for all that were idle as long, and the client notices nothing.
#[tokio::test]
async fn silence_while_nobody_asks() {
    const BACKENDS: usize = 3;
    let shard = ScriptedShard::start(Says::OnlyThat).await;
    let wanted = Wanted::default().pool_size(BACKENDS).pool("check_after: 0s");
    let veneer =
        wanted.shard("shard9", shard.port).tenant(("odd", "shard9", "active")).start().await;
    let mut clients = Vec::new();
    for _ in 0..BACKENDS {
        let mut client = veneer.door("app").open().await;
        for text in ["BEGIN", "SELECT c FROM odd.t"] {
            let told = client.query(text).await;
            assert!(told.ends_with("ReadyForQuery T\n"), "{told}");
        }
        clients.push(client);
    }
    let mut answered = clients[0].query("COMMIT").await;
    for _ in 0..5 {
        answered = clients[0].query("SELECT c FROM odd.t").await;
    }
    assert!(answered.contains("DataRow one"), "{answered}");
    assert_eq!(shard.connections(), BACKENDS, "one that answers was not used again");
    for (client, text) in clients.iter_mut().zip([
        "SELECT misbehave FROM odd.t",
        "COMMIT /* misbehave */",
        "COMMIT /* misbehave */",
    ]) {
        let told = client.query(text).await;
        assert!(told.ends_with("ReadyForQuery I\n"), "{told}");
    }
    let served = shard.served();
    let told = clients[0].query("SELECT c FROM odd.t").await;
    assert!(told.contains("DataRow one"), "{told}");
    assert_eq!(shard.connections(), BACKENDS + 1);
    assert_eq!(shard.served(), served + 2, "one did not answer, and the new one did");
    veneer.assert_alive();
}

/// Each text in turn, and how its answer ends. The shard hangs up on `misbehave`.
async fn talk(conversation: &[(&str, &str)]) {
    let shard = ScriptedShard::start(Says::BytesAndEnd(Vec::new())).await;
    let veneer = veneer_before(&shard).await;
    let mut wire = veneer.door("app").open().await;
    for (text, expected) in conversation {
        let told = wire.query(text).await;
        assert!(told.ends_with(expected), "{conversation:?}: {text}: {told}");
    }
    let told = veneer.door("app").open().await.query("SELECT c FROM odd.t").await;
    assert!(told.contains("DataRow one"), "{conversation:?}: {told}");
    veneer.assert_alive();
}

#[tokio::test]
async fn a_backend_lost_in_a_transaction() {
    const ABORTED: &str = "C=25P02 M=current transaction is aborted, commands ignored until end of \
        transaction block\nReadyForQuery E\n";
    const ROLLED_BACK: &str = "CommandComplete ROLLBACK\nReadyForQuery I\n";
    const SERVED: &str = "DataRow one\nCommandComplete SELECT 1\nReadyForQuery I\n";
    let read = "SELECT c FROM odd.t";
    for (end, told) in [("ROLLBACK", ROLLED_BACK), ("COMMIT", ROLLED_BACK), ("END", ROLLED_BACK)] {
        talk(&[
            ("BEGIN", "CommandComplete BEGIN\nReadyForQuery T\n"),
            (read, "ReadyForQuery T\n"),
            ("SET search_path = odd", "ReadyForQuery T\n"),
            ("UPDATE odd.t SET c = 'misbehave'", LOST_IN_TRANSACTION),
            (read, ABORTED),
            ("SAVEPOINT a", ABORTED),
            ("ROLLBACK TO a", ABORTED),
            ("SELECT c FROM initech.authors", ABORTED),
            (end, told),
            (
                "SHOW search_path",
                "DataRow \"$user\", public\nCommandComplete SHOW\nReadyForQuery I\n",
            ),
            (read, SERVED),
        ])
        .await;
    }
    talk(&[
        ("BEGIN", "ReadyForQuery T\n"),
        (read, "ReadyForQuery T\n"),
        ("COMMIT /* misbehave */", UNKNOWN),
        (read, SERVED),
    ])
    .await;
    talk(&[
        ("BEGIN", "ReadyForQuery T\n"),
        ("INSERT INTO odd.t VALUES ('misbehave'); COMMIT", UNKNOWN),
        (read, SERVED),
    ])
    .await;
    talk(&[("INSERT INTO odd.t VALUES ('misbehave')", UNKNOWN), (read, SERVED)]).await;
    talk(&[("BEGIN; INSERT INTO odd.t VALUES ('misbehave')", LOST), (read, SERVED)]).await;
}

/// Half a message and then nothing: who waits can go, and takes the backend along.
#[tokio::test]
async fn silence_in_the_middle() {
    for cut in [0, 3, 20] {
        let shard = ScriptedShard::start(Says::Bytes(one()[..cut].to_vec())).await;
        let veneer = veneer_before(&shard).await;
        let mut wire = veneer.door("app").open().await;
        let asked = crate::support::message::query("SELECT misbehave FROM odd.t");
        wire.send(&asked).await;
        drop(wire);
        let told = veneer.door("app").open().await.query("SELECT c FROM odd.t").await;
        assert!(told.contains("DataRow one"), "cut {cut}: {told}");
        veneer.assert_alive();
    }
}
