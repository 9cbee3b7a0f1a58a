//! Stands between veneer and a shard, and counts what veneer sends.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// More than veneer writes at once in any of the tests that count.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Gone with the test's runtime.
pub struct CountedShard {
    pub port: u16,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    writes: AtomicUsize,
    turns: AtomicUsize,
}

/// So far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Pieces that came from veneer.
    pub writes: usize,
    /// How often veneer spoke after the shard had spoken.
    pub turns: usize,
}

impl CountedShard {
    pub async fn before(shard_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        tokio::spawn(async move {
            while let Ok((veneer, _)) = listener.accept().await {
                let shard = TcpStream::connect((Ipv4Addr::LOCALHOST, shard_port)).await;
                pass(veneer, shard.expect("the shard listens"), shared.clone());
            }
        });
        Self { port, counts }
    }

    pub fn sent(&self) -> Sent {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        Sent { writes: count(&self.counts.writes), turns: count(&self.counts.turns) }
    }
}

fn pass(veneer: TcpStream, shard: TcpStream, counts: Arc<Counts>) {
    veneer.set_nodelay(true).expect("it is a socket");
    shard.set_nodelay(true).expect("it is a socket");
    let (from_veneer, to_veneer) = veneer.into_split();
    let (from_shard, to_shard) = shard.into_split();
    let shard_spoke = Arc::new(AtomicBool::new(true));
    let spoke = shard_spoke.clone();
    tokio::spawn(pump(from_veneer, to_shard, move || {
        counts.writes.fetch_add(1, Ordering::SeqCst);
        if spoke.swap(false, Ordering::SeqCst) {
            counts.turns.fetch_add(1, Ordering::SeqCst);
        }
    }));
    tokio::spawn(pump(from_shard, to_veneer, move || shard_spoke.store(true, Ordering::SeqCst)));
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn()) {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    while let Ok(bytes @ 1..) = from.read(&mut piece).await {
        note();
        if to.write_all(&piece[..bytes]).await.is_err() {
            break;
        }
    }
}
