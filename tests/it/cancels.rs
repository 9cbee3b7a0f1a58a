//! Cancels on their way: patient with a slow shard, and no burden when they are wrong.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::support::message::{first_packet, query};
use crate::support::scripted::{Says, ScriptedShard};
use crate::support::served::{Veneer, Wanted};
use crate::support::wire::Wire;

const CANCEL: u32 = 80_877_102;

fn key(wire: &Wire) -> Vec<u8> {
    let frame = wire.greeting.iter().find(|frame| frame.tag == b'K');
    frame.expect("every session has a key").body.to_vec()
}

async fn cancel(veneer: &Veneer, key: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(("127.0.0.1", veneer.port)).await.unwrap();
    socket.write_all(&first_packet(CANCEL, key)).await.unwrap();
    socket
}

/// The client's socket is closed when the shard has closed its own: then the query was stopped. A
/// login may take less time than that.
#[tokio::test]
async fn a_cancel_outlives_the_patience_for_a_login() {
    let cancels = Arc::new(Semaphore::new(0));
    let shard = ScriptedShard::start(Says::Nothing { cancels: cancels.clone() }).await;
    let wanted = Wanted::default().pool_size(1).config("limits: { login_max: 200ms }");
    let wanted = wanted.shard("shard9", shard.port).tenant(("odd", "shard9", "active"));
    let veneer = wanted.start().await;
    let mut wire = veneer.door("app").open().await;
    assert!(wire.query("SELECT c FROM odd.t").await.contains("DataRow one"));
    wire.send(&query("SELECT misbehave FROM odd.t")).await;
    // Until the backend works for the session, a cancel has nowhere to go.
    let deadline = Instant::now() + Duration::from_secs(8);
    let mut socket = cancel(&veneer, &key(&wire)).await;
    while shard.connections() < 2 {
        assert!(Instant::now() < deadline, "no cancel gets there");
        sleep(Duration::from_millis(20)).await;
        if shard.connections() < 2
            && timeout(Duration::from_millis(50), socket.read_u8()).await.is_ok()
        {
            socket = cancel(&veneer, &key(&wire)).await;
        }
    }
    let held = timeout(Duration::from_millis(600), socket.read_u8()).await;
    assert!(held.is_err(), "closed before the shard has heard of it");
    cancels.add_permits(1);
    let closed = timeout(Duration::from_secs(8), socket.read_u8()).await.expect("it is closed");
    assert!(closed.is_err());
    veneer.assert_alive();
}

/// Sockets and memory of it are gone, whatever the other side does with its own end.
#[tokio::test]
async fn wrong_keys_without_end() {
    let wanted = Wanted::default().pool_size(1).config("limits: { clients_max: 2 }");
    let veneer = wanted.start().await;
    let mut mine = veneer.door("app").with("search_path", "cyberdyne").open().await;
    mine.send(&query("SELECT pg_sleep(1.5), count(*) FROM authors")).await;
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let mut wrong = key(&mine);
    *wrong.last_mut().unwrap() ^= 1;
    for round in 0..30 {
        let mut sockets = Vec::new();
        for number in 0..100_u32 {
            wrong[4..6].copy_from_slice(&(number as u16 ^ 0x55aa).to_be_bytes());
            sockets.push(cancel(&veneer, &wrong).await);
        }
        // Each is closed by veneer, although nobody has closed it here.
        for socket in &mut sockets {
            let said = timeout(Duration::from_secs(8), socket.read_u8()).await.expect("an end");
            assert!(said.is_err(), "round {round}");
        }
    }
    // Nobody was cancelled, and there is still a seat for another.
    let mut said = Vec::new();
    while let Some(frame) = mine.next().await {
        said.push(frame.tag);
        if frame.tag == b'Z' {
            break;
        }
    }
    assert_eq!(said, b"TDCZ");
    let mut other = veneer.door("app").open().await;
    assert!(other.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7"));
    drop(other);
    // Other tests of this process open some, too.
    let deadline = Instant::now() + Duration::from_secs(8);
    while before + 500 < open_files() {
        assert!(Instant::now() < deadline, "{before} open files have become {}", open_files());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Who waits for the shard to take a cancel holds nobody else up.
#[tokio::test]
async fn cancels_that_a_shard_never_takes() {
    let cancels = Arc::new(Semaphore::new(0));
    let shard = ScriptedShard::start(Says::Nothing { cancels }).await;
    let wanted = Wanted::default().pool_size(1).shard("shard9", shard.port);
    let veneer = wanted.tenant(("odd", "shard9", "active")).start().await;
    let mut wire = veneer.door("app").open().await;
    assert!(wire.query("SELECT c FROM odd.t").await.contains("DataRow one"));
    wire.send(&query("SELECT misbehave FROM odd.t")).await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(cancel(&veneer, &key(&wire)).await);
    }
    let mut other = veneer.door("app").open().await;
    assert!(other.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7"));
    // All are given up together, and not one after the other.
    for socket in &mut sockets {
        let said = timeout(Duration::from_secs(9), socket.read_u8()).await.expect("an end");
        assert!(said.is_err());
    }
    veneer.assert_alive();
}

/// Those of one session go to the shard one after the other: together they would keep it from its
/// next query, and load the shard with as many connections.
#[tokio::test]
async fn one_cancel_at_a_time() {
    let cancels = Arc::new(Semaphore::new(0));
    let shard = ScriptedShard::start(Says::Nothing { cancels: cancels.clone() }).await;
    let wanted = Wanted::default().pool_size(1);
    let wanted = wanted.shard("shard9", shard.port).tenant(("odd", "shard9", "active"));
    let veneer = wanted.start().await;
    let mut wire = veneer.door("app").open().await;
    assert!(wire.query("SELECT c FROM odd.t").await.contains("DataRow one"));
    wire.send(&query("SELECT misbehave FROM odd.t")).await;
    let deadline = Instant::now() + Duration::from_secs(8);
    let mut sockets = Vec::new();
    while shard.connections() < 2 {
        assert!(Instant::now() < deadline, "no cancel gets there");
        sockets.push(cancel(&veneer, &key(&wire)).await);
        sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..3 {
        sockets.push(cancel(&veneer, &key(&wire)).await);
    }
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shard.connections(), 2, "the session's own, and one cancel");
    cancels.add_permits(sockets.len());
    for mut socket in sockets {
        let closed = timeout(Duration::from_secs(8), socket.read_u8()).await.expect("it is closed");
        assert!(closed.is_err());
    }
    veneer.assert_alive();
}
