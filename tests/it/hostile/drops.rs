//! The future of a session, dropped wherever it waits: its backends are closed, not lent on.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use postgres_protocol::authentication::sasl::ChannelBinding;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::sleep;
use veneer::server::House;

use super::ground::Ground;
use crate::support::message::first_packet;
use crate::support::script::segments;
use crate::support::transcript::Transcript;
use crate::support::wire::{Door, Wire};

/// No session of ours waits so often; more means that it never ends.
const POLLS_MAX: usize = 2_000;

/// So little at once comes of a client that dribbles.
const PIECE_BYTES: usize = 16;
const PIECE_EVERY: Duration = Duration::from_millis(1);

const EXTENDED: &str = "\
    Query SET work_mem = '5MB'

    Parse s - INSERT INTO pairs VALUES ($1::int)
    Bind - s 1
    Execute - 0
    Flush
    < C

    Bind p s 2
    Describe P p
    Execute p 0
    Sync
    Bind - s 1
    Execute - 0
    Bind - s 2
    Execute - 0
    Close S s
    Sync

    Function 2078 work_mem 6MB f

    Query SELECT count(*) FROM pairs";

const COPY: &str = "\
    Query COPY pairs FROM STDIN

    CopyData 1\\n2\\n1\\n
    CopyData 2
    CopyData \\n
    CopyDone

    Parse - - COPY pairs FROM STDIN
    Bind - -
    Execute - 0
    Flush
    < G

    CopyData 1\\n2\\n
    CopyDone
    Sync

    Query COPY (SELECT repeat('x', 100) FROM generate_series(1, 3000)) TO STDOUT";

/// Each shard's backend was someone else's in between, and is told what has changed.
const TENANTS: &str = "\
    Query SET work_mem = '5MB'

    Query INSERT INTO pairs VALUES (1), (2)

    Query SET search_path = tenant_b

    Query BEGIN

    Query SELECT 1

    Query INSERT INTO pairs VALUES (1)

    Query INSERT INTO pairs VALUES (2)

    Query COMMIT

    Query RESET work_mem

    Query BEGIN

    Query SET LOCAL work_mem = '6MB'

    Query SELECT 1

    Query INSERT INTO tenant_a.pairs VALUES (1), (2)

    Query COMMIT";

/// What is kept here and there, asked for, freed elsewhere, rolled back behind the scenes, reset.
const PINS: &str = "\
    Query LISTEN drops

    Query SET search_path = tenant_b

    Query LISTEN drops

    Query BEGIN

    Query SELECT 1

    Query INSERT INTO tenant_a.pairs VALUES (1), (2)

    Query COMMIT

    Query NOTIFY drops

    Query UNLISTEN *

    Query CREATE TEMP TABLE scratch AS SELECT 1 AS a

    Query DROP TABLE scratch

    Query SELECT pg_advisory_lock(35)

    Query SELECT pg_advisory_unlock(35)

    Query DO $$BEGIN INSERT INTO tenant_b.pairs VALUES (1), (2); END$$

    Query SELECT count(*) FROM pairs";

/// What the rival asks: with another setting, of each backend, and long enough to be waited for.
const RIVAL: &str = "\
    Query SET work_mem = '7MB'

    Query SELECT count(*) FROM tenant_a.pairs

    Query SELECT pg_sleep(0.001), count(*) FROM tenant_b.pairs";

const CANCEL: u32 = 80_877_102;
const CANCEL_EVERY: Duration = Duration::from_micros(300);
const CANCELLED: &str = "ErrorResponse S=ERROR V=ERROR C=57014";

/// When a future is dropped that has just been polled for the last time.
#[derive(Debug, Clone, Copy)]
enum Drop {
    AtOnce,
    /// With what it waits for already there.
    AsItWakes,
}

/// How a script is played.
struct Scene {
    role: &'static str,
    script: &'static str,
    /// How many pairs of rows it commits.
    pairs: usize,
    drop: Drop,
    dribbles: bool,
    company: Company,
}

/// What else goes on meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    None,
    /// Somebody uses the same backends, so that there is a line to stand in.
    Rival,
    /// Somebody cancels all the time, so that a backend cannot be let go at once.
    Canceller,
}

#[tokio::test]
async fn in_a_pipeline() {
    let script = EXTENDED;
    let (role, drop) = ("drops_extended", Drop::AtOnce);
    Scene { role, script, pairs: 2, drop, dribbles: true, company: Company::None }.play().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipeline_as_it_wakes() {
    let script = EXTENDED;
    let (role, drop) = ("drops_extended_waking", Drop::AsItWakes);
    Scene { role, script, pairs: 2, drop, dribbles: false, company: Company::None }.play().await;
}

#[tokio::test]
async fn in_copy() {
    let (role, drop) = ("drops_copy", Drop::AtOnce);
    Scene { role, script: COPY, pairs: 3, drop, dribbles: true, company: Company::None }
        .play()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_copy_as_it_wakes() {
    let (role, drop) = ("drops_copy_waking", Drop::AsItWakes);
    Scene { role, script: COPY, pairs: 3, drop, dribbles: true, company: Company::None }
        .play()
        .await;
}

#[tokio::test]
async fn between_two_tenants() {
    let (role, drop) = ("drops_tenants", Drop::AtOnce);
    Scene { role, script: TENANTS, pairs: 3, drop, dribbles: false, company: Company::Rival }
        .play()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_two_tenants_as_it_wakes() {
    let (role, drop) = ("drops_tenants_waking", Drop::AsItWakes);
    Scene { role, script: TENANTS, pairs: 3, drop, dribbles: false, company: Company::Rival }
        .play()
        .await;
}

#[tokio::test]
async fn with_kept_backends() {
    let (role, drop) = ("drops_pins", Drop::AtOnce);
    Scene { role, script: PINS, pairs: 2, drop, dribbles: false, company: Company::None }
        .play()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_kept_backends_as_it_wakes() {
    let (role, drop) = ("drops_pins_waking", Drop::AsItWakes);
    Scene { role, script: PINS, pairs: 2, drop, dribbles: false, company: Company::None }
        .play()
        .await;
}

#[tokio::test]
async fn as_cancels_come() {
    let (role, drop, company) = ("drops_cancels", Drop::AtOnce, Company::Canceller);
    Scene { role, script: TENANTS, pairs: 3, drop, dribbles: true, company }.play().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_cancels_come_with_kept_backends() {
    let (role, drop, company) = ("drops_cancels_pins", Drop::AtOnce, Company::Canceller);
    Scene { role, script: PINS, pairs: 2, drop, dribbles: false, company }.play().await;
}

/// In the very first login of a house, which finds out what all others are told.
#[tokio::test]
async fn in_the_first_login() {
    let ground = Ground::make("drops_login").await;
    for drop in [Drop::AtOnce, Drop::AsItWakes] {
        for polls in 1..POLLS_MAX {
            let what = format!("{drop:?} after {polls} polls");
            let hall = Hall::open(&ground).await;
            let door = hall.door.clone().with("work_mem", "5MB");
            let (socket, guest) = hall.enter().await;
            let knocked = tokio::spawn(async move { knock(&door, socket).await.is_ok() });
            let ended = poll_up_to(hall.house.serve_guest(guest), polls, drop).await;
            let welcomed = knocked.await.unwrap();
            hall.check_serves(&ground, &what).await;
            std::mem::drop(hall);
            ground.until_quiet(&what).await;
            if ended {
                assert!(welcomed, "{what}: it ended by itself");
                break;
            }
        }
    }
    ground.check_logs(false);
}

impl Scene {
    /// Again and again, each time with one poll more, until nothing is left to be dropped.
    async fn play(self) {
        let ground = Ground::make(self.role).await;
        let hall = Arc::new(Hall::open(&ground).await);
        let mut rival = hall.guest().await;
        let script = ground.script(self.script);
        let asks = ground.script(RIVAL);
        let mut done = 0;
        for polls in 1..POLLS_MAX {
            let what = format!("{:?} after {polls} polls", self.drop);
            let before = ground.pairs(&what).await;
            let (socket, guest) = hall.enter().await;
            let (tell_key, key) = oneshot::channel();
            let client = tokio::spawn(converse(
                hall.door.clone().with("search_path", &ground.script("tenant_a")),
                socket,
                script.clone(),
                self.dribbles,
                tell_key,
            ));
            let over = Arc::new(AtomicBool::new(false));
            let (asks, stop, there) = (asks.clone(), over.clone(), hall.clone());
            let company = tokio::spawn(async move {
                match self.company {
                    Company::None => {}
                    Company::Rival => compete(&mut rival, &asks, &stop).await,
                    Company::Canceller => cancel(&there, key, &stop).await,
                }
                rival
            });
            let house = hall.house.clone();
            let serves =
                async move { poll_up_to(house.serve_guest(guest), polls, self.drop).await };
            let ended = tokio::spawn(serves).await.unwrap();
            let told = client.await.unwrap();
            over.store(true, Ordering::Relaxed);
            rival = company.await.expect("the others notice nothing");
            hall.check_serves(&ground, &what).await;
            ground.until_quiet(&what).await;
            let made = ground.pairs(&what).await - before;
            assert!(made <= self.pairs, "{what}: {made} pairs: {told}");
            if ended {
                let cancelled = self.company == Company::Canceller && told.contains(CANCELLED);
                let errors = told.replace(CANCELLED, "").contains("ErrorResponse");
                assert!(cancelled || !errors && made == self.pairs, "{what}: {made}: {told}");
                assert!(!told.contains("closed"), "{what}: {told}");
                done = polls;
                break;
            }
        }
        assert!(0 < done, "it never ended");
        ground.check_logs(self.script.contains("CopyData") || self.script.contains("Function"));
        println!("{}: {done} polls", self.role);
    }
}

/// Uses each backend, and not as others do.
async fn compete(rival: &mut Wire, asks: &str, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let told = rival.play(asks).await;
        assert!(!told.contains("ErrorResponse"), "{told}");
    }
}

/// Cancels whatever the session of this key runs.
async fn cancel(hall: &Hall, key: oneshot::Receiver<Vec<u8>>, over: &AtomicBool) {
    let Ok(key) = key.await else { return };
    while !over.load(Ordering::Relaxed) {
        let (socket, guest) = hall.enter().await;
        let mut canceller = Wire::over(socket);
        canceller.send(&first_packet(CANCEL, &key)).await;
        hall.house.serve_guest(guest).await;
        sleep(CANCEL_EVERY).await;
    }
}

/// A house, and a door where we take in one socket at a time.
struct Hall {
    house: Arc<House>,
    listener: TcpListener,
    door: Door,
}

impl Hall {
    async fn open(ground: &Ground) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let door = Door {
            port,
            user: ground.role.to_owned(),
            password: String::new(),
            database: "bookstore".to_owned(),
            settings: Vec::new(),
        };
        Self { house: Arc::new(ground.wanted().house()), listener, door }
    }

    /// The client's end of a socket, and ours.
    async fn enter(&self) -> (TcpStream, TcpStream) {
        let connects = TcpStream::connect((Ipv4Addr::LOCALHOST, self.door.port));
        let (socket, accepted) = tokio::join!(connects, self.listener.accept());
        let socket = socket.expect("we listen");
        socket.set_nodelay(true).expect("it is a socket");
        (socket, accepted.expect("it connects").0)
    }

    /// A session that nobody drops.
    async fn guest(&self) -> Wire {
        let (socket, guest) = self.enter().await;
        let house = self.house.clone();
        tokio::spawn(async move { house.serve_guest(guest).await });
        knock(&self.door, socket).await.unwrap_or_else(|said| panic!("no session: {said}"))
    }

    /// The one backend of each shard is to be had.
    async fn check_serves(&self, ground: &Ground, after: &str) {
        let mut fresh = self.guest().await;
        for (tenant, table) in [("tenant_a", "pairs"), ("tenant_b", "pairs"), ("bluth_co", "books")]
        {
            let sql = ground.script(&format!(
                "SELECT 'even', count(*) % 2, current_setting('work_mem') FROM {tenant}.{table}"
            ));
            let told = fresh.query(&sql).await;
            assert!(told.contains("DataRow even | 0 | 4MB\n"), "{after}: {tenant}: {told}");
        }
    }
}

async fn knock(door: &Door, socket: TcpStream) -> Result<Wire, String> {
    door.knock_on(Wire::over(socket), "SCRAM-SHA-256", ChannelBinding::unsupported()).await
}

/// What a client is told, from its login to its end or ours.
async fn converse(
    door: Door,
    socket: TcpStream,
    script: String,
    dribbles: bool,
    tell_key: oneshot::Sender<Vec<u8>>,
) -> String {
    let mut wire = match knock(&door, socket).await {
        Ok(wire) => wire,
        Err(said) => return said,
    };
    let key = wire.greeting.iter().find(|frame| frame.tag == b'K').expect("a key");
    // Only some want it.
    let _ = tell_key.send(key.body.to_vec());
    if !dribbles {
        return wire.play(&script).await;
    }
    let mut told = Transcript::default();
    for segment in segments(&script) {
        for piece in segment.bytes.chunks(PIECE_BYTES) {
            wire.send(piece).await;
            sleep(PIECE_EVERY).await;
        }
        if !wire.talk(&[], segment.until, &mut told).await {
            told.line("closed");
            break;
        }
    }
    told.finish()
}

/// Whether it has ended within so many polls; if not, it is dropped.
async fn poll_up_to(future: impl Future<Output = ()>, polls_max: usize, drop: Drop) -> bool {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == polls_max {
            return Poll::Ready(false);
        }
        polls += 1;
        match (future.as_mut().poll(cx), drop) {
            (Poll::Ready(()), _) => Poll::Ready(true),
            (Poll::Pending, Drop::AtOnce) if polls == polls_max => Poll::Ready(false),
            (Poll::Pending, _) => Poll::Pending,
        }
    })
    .await
}
