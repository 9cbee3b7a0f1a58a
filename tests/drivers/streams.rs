//! More than fits in memory flows through, in both directions, and veneer does not grow.

use std::fs;

use postgres_protocol::authentication::sasl::ChannelBinding;
use tokio::net::TcpSocket;

use crate::support::message::{execute, message, query, sync};
use crate::support::wire::{Door, Wire};
use crate::support::{direct, world};
use crate::veneer::{Veneer, until_equal};
use veneer::demo::shard::DATABASE;

/// Bytes that flow in each direction; more when this variable says so.
const STREAM_BYTES: u64 = 100 << 20;
const STREAM_VARIABLE: &str = "VENEER_TEST_STREAM_BYTES";

/// What veneer may grow by while it streams: buffers for each direction, not the stream.
const GROWTH_BYTES_MAX: u64 = 4 << 20;

const MEGABYTE: u64 = 1 << 20;

fn stream_bytes() -> u64 {
    let wanted = std::env::var(STREAM_VARIABLE).ok();
    wanted.map_or(STREAM_BYTES, |bytes| bytes.parse().expect("a number"))
}

fn door(veneer: &Veneer) -> Door {
    let login = &world().demo.papers.app;
    Door {
        port: veneer.port,
        user: login.user.to_owned(),
        password: login.password.clone(),
        database: DATABASE.to_owned(),
        settings: Vec::new(),
    }
    .with("search_path", "initech")
}

/// The most that the process has ever had, forgotten first.
struct Peak {
    pid: u32,
    before: u64,
}

impl Peak {
    /// After a conversation, so that what every process needs once is there.
    async fn of(veneer: &Veneer) -> Self {
        let told = door(veneer).open().await.query("SELECT count(*) FROM authors").await;
        assert!(told.contains("DataRow 7"), "{told}");
        let pid = veneer.pid();
        // Sets the mark back to what is there now.
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("it is our own process");
        Self { pid, before: Self::read(pid) }
    }

    fn read(pid: u32) -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("it has a size");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse::<u64>().expect("a number") * 1024
    }

    #[track_caller]
    fn check(&self, what: &str) {
        let grown = Self::read(self.pid).saturating_sub(self.before);
        println!("{what}: {} KiB more than {} KiB", grown / 1024, self.before / 1024);
        assert!(grown < GROWTH_BYTES_MAX, "{what}: {grown} bytes more");
    }
}

#[tokio::test]
async fn out_with_flat_memory() {
    let veneer = Veneer::start("stream-out", 1);
    let mut wire = door(&veneer).open().await;
    let bytes = stream_bytes();
    let peak = Peak::of(&veneer).await;
    let rows = bytes / 10_000;
    let select = format!("SELECT repeat('x', 10000) FROM generate_series(1, {rows})");
    let copy = format!("COPY ({select}) TO STDOUT");
    let extended = |sql: &str| {
        let parse = crate::support::message::parse("", sql, &[]);
        let bind = crate::support::message::bind("", "", &[], &[], &[]);
        [parse, bind, execute("", 0), sync()].concat()
    };
    for (what, asked) in [
        ("COPY", query(&copy)),
        ("COPY, extended", extended(&copy)),
        ("rows", query(&select)),
        ("rows, extended", extended(&select)),
    ] {
        wire.send(&asked).await;
        let (came, told) = wire.skim().await;
        assert!(rows * 10_000 <= came, "{what}: {came} bytes\n{told}");
        assert!(told.contains(&format!(" {rows}\nReadyForQuery I\n")), "{what}: {told}");
        peak.check(what);
    }
    // One row, far longer than any buffer.
    let longest = (bytes / 2).min(500 * MEGABYTE);
    wire.send(&query(format!("SELECT repeat('x', {longest})"))).await;
    let (came, told) = wire.skim().await;
    assert!(longest <= came && told.ends_with("ReadyForQuery I\n"), "{came} bytes\n{told}");
    peak.check("one row");
    assert!(wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
}

#[tokio::test]
async fn in_with_flat_memory() {
    let shard = direct(&world().home_of("initech").admin_config()).await;
    shard
        .batch_execute(
            "CREATE TABLE initech.streamed (line text); GRANT ALL ON initech.streamed TO PUBLIC",
        )
        .await
        .unwrap();
    let veneer = Veneer::start("stream-in", 1);
    let mut wire = door(&veneer).open().await;
    let bytes = stream_bytes();
    let peak = Peak::of(&veneer).await;
    // The shard reads every row, and keeps the last one.
    let load = "COPY streamed FROM STDIN WHERE line NOT LIKE 'x%'";
    let line = [vec![b'x'; 9_999], vec![b'\n']].concat();
    let piece = message(b'd', &line.repeat(25));
    for (what, asked, end) in [
        ("COPY", query(load), message(b'c', b"")),
        (
            "COPY, extended",
            [
                crate::support::message::parse("", load, &[]),
                crate::support::message::bind("", "", &[], &[], &[]),
                execute("", 0),
                crate::support::message::flush(),
            ]
            .concat(),
            [message(b'c', b""), sync()].concat(),
        ),
    ] {
        wire.send(&asked).await;
        let (_, told) = wire.skim().await;
        assert!(told.contains("CopyInResponse"), "{told}");
        for _ in 0..bytes / 250_000 {
            wire.send(&piece).await;
        }
        wire.send(&message(b'd', b"the last one\n")).await;
        wire.send(&end).await;
        let (_, told) = wire.skim().await;
        assert!(told.ends_with("CommandComplete COPY 1\nReadyForQuery I\n"), "{told}");
        peak.check(what);
    }
    // One bound value, far longer than any buffer.
    let value = vec![b'v'; usize::try_from((bytes / 2).min(200 * MEGABYTE)).unwrap()];
    let bind = crate::support::message::bind("", "", &[], &[Some(value.clone())], &[]);
    wire.send(&crate::support::message::parse("", "SELECT length($1)", &[25])).await;
    wire.send(&[bind, execute("", 0), sync()].concat()).await;
    let (_, told) = wire.skim().await;
    assert!(told.contains("CommandComplete SELECT 1\nReadyForQuery I\n"), "{told}");
    peak.check("one value");
    assert!(wire.query("SELECT count(*) FROM streamed").await.contains("DataRow 2"));
    shard.batch_execute("DROP TABLE initech.streamed").await.unwrap();
}

/// A client that asks for 10 GB and reads nothing: its backend waits, veneer does not grow, others
/// are served, and when it goes the backend is not used again.
#[tokio::test]
async fn a_client_that_does_not_read() {
    let veneer = Veneer::start("stream-slow", 2);
    let superuser = direct(&world().home_of("initech").cluster.superuser_config()).await;
    let peak = Peak::of(&veneer).await;
    for (number, ask) in ["SELECT", "COPY", "pipeline"].into_iter().enumerate() {
        let mark = format!("stalled {number}");
        let rows = format!("SELECT repeat('x', 1000) FROM generate_series(1, 10000000) -- {mark}");
        let bytes = match ask {
            "SELECT" => query(&rows),
            "COPY" => query(
                rows.replace("SELECT repeat", "COPY (SELECT repeat")
                    .replace(" --", ") TO STDOUT --"),
            ),
            _ => query(&rows).repeat(100),
        };
        let mut wire = door(&veneer).open().await;
        wire.send(&bytes).await;
        let stalled = "SELECT count(*) FROM pg_stat_activity \
                       WHERE wait_event = 'ClientWrite' AND strpos(query, $1) > 0";
        until_equal(&superuser, stalled, &mark, 1).await;
        // The other backend of the pool, in the same veneer.
        let mut other = door(&veneer).open().await;
        for _ in 0..20 {
            assert!(other.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
        }
        peak.check(ask);
        // It begins to read: what comes is what it asked for.
        let frames = [wire.next().await, wire.next().await];
        let tags: Vec<u8> = frames.into_iter().flatten().map(|frame| frame.tag).collect();
        assert!(tags == *b"TD" || tags == *b"Hd", "{tags:?}");
        drop(wire);
        let there = "SELECT count(*) FROM pg_stat_activity WHERE strpos(query, $1) > 0 AND pid <> pg_backend_pid()";
        until_equal(&superuser, there, &mark, 0).await;
        let mut next: Vec<Wire> = Vec::new();
        for _ in 0..2 {
            let mut wire = door(&veneer).open().await;
            let told = wire.play("Query BEGIN\n\nQuery SELECT 'next', count(*) FROM authors").await;
            assert!(told.contains("DataRow next | 7\n"), "{told}");
            if next.is_empty() {
                drop(other);
                other = door(&veneer).open().await;
            }
            next.push(wire);
        }
        peak.check(ask);
        drop((next, other));
    }
}

/// A client that reads, but more slowly than the shard writes.
#[tokio::test]
async fn a_client_that_reads_slowly() {
    let veneer = Veneer::start("stream-slowly", 2);
    let socket = TcpSocket::new_v4().expect("a socket");
    // Little at a time, and never all that there is.
    socket.set_recv_buffer_size(8 * 1024).expect("it is a socket");
    let socket = socket.connect(([127, 0, 0, 1], veneer.port).into()).await.expect("it listens");
    let mut wire = door(&veneer)
        .knock_on(Wire::over(socket), "SCRAM-SHA-256", ChannelBinding::unsupported())
        .await
        .expect("a session");
    let peak = Peak::of(&veneer).await;
    wire.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)")).await;
    for row in 0..20_000 {
        assert!(wire.next().await.is_some(), "the end after {row} rows");
        tokio::task::yield_now().await;
    }
    peak.check("read slowly");
    drop(wire);
    let told = door(&veneer).open().await.query("SELECT count(*) FROM authors").await;
    assert!(told.contains("DataRow 7"), "{told}");
}
