//! A client that dies at any byte of a session: what it left undone is undone, and no more.

use postgres_protocol::authentication::sasl::ChannelBinding;
use tokio::net::TcpStream;

use super::Victim;
use super::ground::Ground;
use crate::support::script::{Segment, segments};
use crate::support::transcript::Transcript;
use crate::support::wire::{Door, Wire};

/// After so many deaths it is looked whether others are served.
const LOOK_EVERY: usize = 16;

/// Nobody keeps a backend for so long that others are refused, least of all the dead.
const NO_BACKEND: &str = " C=53300 ";

/// One bite of a script (see [`script`](crate::support::script)), and how many pairs of rows are
/// committed when all of it has come: none is before.
type Part<'a> = (&'a str, usize);

const SIMPLE: &[Part<'_>] = &[
    ("Query SET work_mem = '5MB'", 0),
    ("Query BEGIN", 0),
    ("Query INSERT INTO pairs VALUES (1)", 0),
    ("Query INSERT INTO pairs VALUES (2)", 0),
    ("Query COMMIT", 1),
    ("Query INSERT INTO pairs VALUES (1); INSERT INTO pairs VALUES (2)", 1),
    ("Query BEGIN; INSERT INTO pairs VALUES (1)", 0),
    ("Query ROLLBACK", 0),
];

const EXTENDED: &[Part<'_>] = &[
    (
        "Parse s - INSERT INTO pairs VALUES ($1::int)\nBind - s 1\nExecute - 0\n\
         Bind p s 2\nDescribe P p\nExecute p 0\nSync",
        1,
    ),
    ("Bind - s 1\nExecute - 0\nBind - s 2\nExecute - 0\nClose S s\nSync", 1),
    ("Parse - - SELECT half FROM pairs\nBind - -\nExecute - 1\nFlush\n< s", 0),
    ("Execute - 1\nSync", 0),
];

const COPY_IN: &[Part<'_>] = &[
    ("Query COPY pairs FROM STDIN", 0),
    ("CopyData 1\\n2\\n\nCopyData 2\nCopyData \\n1\\n\nCopyDone", 2),
    ("Parse - - COPY pairs FROM STDIN\nBind - -\nExecute - 0\nFlush\n< G", 0),
    ("CopyData 1\\n\nCopyData 2\\n\nCopyDone\nSync", 1),
    ("Query COPY pairs FROM STDIN", 0),
    ("CopyData 1\\n\nCopyFail enough", 0),
    ("Query SELECT count(*) FROM pairs", 0),
];

const COPY_OUT: &[Part<'_>] = &[
    ("Query INSERT INTO pairs VALUES (1), (2)", 1),
    ("Query COPY (SELECT repeat('x', 100) FROM generate_series(1, 2000)) TO STDOUT", 0),
    ("Query BEGIN", 0),
    ("Query INSERT INTO pairs VALUES (1), (2)", 0),
    ("Parse - - COPY pairs TO STDOUT\nBind - -\nExecute - 0\nSync", 0),
    ("Query COMMIT", 1),
];

const FUNCTION: &[Part<'_>] = &[
    ("Function 177 2 3", 0),
    ("Query BEGIN; INSERT INTO pairs VALUES (1)", 0),
    ("Function 2078 work_mem 5MB f", 0),
    ("Query INSERT INTO pairs VALUES (2); COMMIT", 1),
    ("Function 177 2 3", 0),
];

const SAVEPOINTS: &[Part<'_>] = &[
    ("Query BEGIN", 0),
    ("Query SAVEPOINT a", 0),
    ("Query INSERT INTO pairs VALUES (1)", 0),
    ("Query SAVEPOINT b", 0),
    ("Query INSERT INTO pairs VALUES (3)", 0),
    ("Query ROLLBACK TO b", 0),
    ("Query INSERT INTO pairs VALUES (2)", 0),
    ("Query RELEASE a", 0),
    ("Query COMMIT", 1),
];

const PINS: &[Part<'_>] = &[
    ("Query PREPARE p AS INSERT INTO pairs VALUES (1), (2)", 0),
    ("Query EXECUTE p", 1),
    ("Query LISTEN deaths", 0),
    ("Query CREATE TEMP TABLE scratch AS SELECT 1 AS a", 0),
    ("Query SELECT pg_advisory_lock(34)", 0),
    ("Query SELECT count(*) FROM tenant_b.pairs", 0),
    ("Query DO $$BEGIN INSERT INTO pairs VALUES (1), (2); END$$", 1),
    ("Query UNLISTEN *", 0),
    ("Query DROP TABLE scratch", 0),
    ("Query DEALLOCATE p", 0),
    ("Query SELECT pg_advisory_unlock(34)", 0),
    ("Query INSERT INTO pairs VALUES (1), (2)", 1),
];

const TWO_TENANTS: &[Part<'_>] = &[
    ("Query INSERT INTO pairs VALUES (1), (2)", 1),
    ("Query SET search_path = tenant_b", 0),
    ("Query SET work_mem = '5MB'", 0),
    ("Query BEGIN", 0),
    ("Query SELECT 1", 0),
    ("Query INSERT INTO pairs VALUES (1)", 0),
    ("Parse - - INSERT INTO tenant_b.pairs VALUES (2)\nBind - -\nExecute - 0\nSync", 0),
    ("Query COMMIT", 1),
    ("Query INSERT INTO tenant_a.pairs VALUES (1), (2)", 1),
    ("Query SELECT count(*) FROM pairs", 0),
];

/// How a client dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// It has read all answers but to what it said last, and closes its socket in order.
    InStep,
    /// It says all at once and closes, whether or not there are answers.
    InHaste,
    /// As that, but with a reset, which may overtake what it has said.
    Reset,
}

#[tokio::test]
async fn at_every_byte_of_a_transaction() {
    die("deaths_simple", SIMPLE, 1).await;
}

#[tokio::test]
async fn at_every_byte_of_a_pipeline() {
    die("deaths_extended", EXTENDED, 1).await;
}

#[tokio::test]
async fn at_every_byte_of_copy_in() {
    die("deaths_copy_in", COPY_IN, 1).await;
}

#[tokio::test]
async fn at_bytes_of_copy_out() {
    die("deaths_copy_out", COPY_OUT, 5).await;
}

#[tokio::test]
async fn at_every_byte_of_function_calls() {
    die("deaths_function", FUNCTION, 1).await;
}

#[tokio::test]
async fn at_bytes_of_savepoints() {
    die("deaths_savepoints", SAVEPOINTS, 3).await;
}

#[tokio::test]
async fn at_bytes_of_what_pins() {
    die("deaths_pins", PINS, 5).await;
}

#[tokio::test]
async fn at_bytes_of_two_tenants() {
    die("deaths_tenants", TWO_TENANTS, 3).await;
}

/// A message so long that its beginning is passed on before its end has come.
#[tokio::test]
async fn at_bytes_of_a_long_bind() {
    let bind = format!("Bind - s {}\nExecute - 0\nSync", "x".repeat(300_000));
    let parts = [
        (
            "Parse s - INSERT INTO pairs SELECT half FROM generate_series(1, 2) half WHERE $1 <> ''\nSync",
            0,
        ),
        (bind.as_str(), 1),
    ];
    die("deaths_long", &parts, 10_007).await;
}

/// Plays the recording once, and then again and again with a death every so many bytes.
async fn die(role: &'static str, parts: &[Part<'_>], every: usize) {
    let ground = Ground::make(role).await;
    let mut victim = Victim::of(ground.wanted()).await;
    let parts: Vec<(Segment, usize)> = parts
        .iter()
        .map(|(script, pairs)| (segments(&ground.script(script)).remove(0), *pairs))
        .collect();
    let door = victim.veneer.door(role).with("search_path", &ground.script("tenant_a"));
    let bytes: Vec<u8> = parts.iter().flat_map(|(part, _)| part.bytes.clone()).collect();
    let mut least = play(&mut door.open().await, &parts).await;
    assert_eq!(ground.pairs("a life").await, least);
    let (mut most, mut deaths) = (least, 0);
    let neighbours = ground.script("SELECT 'even', count(*) % 2 FROM tenant_a.pairs");
    for cut in (0..bytes.len()).step_by(every) {
        // The other two differ from the first by what has been answered, and that by whole parts.
        let more = [Death::InHaste, Death::Reset][cut / every % 2];
        let deaths_here = [Death::InStep, more];
        let sampled = (cut / every).is_multiple_of(3);
        for death in &deaths_here[..1 + usize::from(sampled)] {
            let what = format!("{death:?} at byte {cut}");
            let mut dying = open(&door, *death).await;
            let (mut answered, mut begun) = (0, 0);
            for (part, pairs) in &parts {
                let rest = cut - begun;
                if rest < part.bytes.len() {
                    dying.send(&part.bytes[..rest]).await;
                    break;
                }
                match death {
                    Death::InStep => talk(&mut dying, part, &what).await,
                    Death::InHaste | Death::Reset => dying.send(&part.bytes).await,
                }
                begun += part.bytes.len();
                answered += pairs;
            }
            most += answered;
            if *death == Death::InStep {
                least += answered;
            }
            // The neighbour asks while the backend is in the hands of the dying.
            let told = tokio::join!(victim.neighbour.query(&neighbours), async { drop(dying) }).0;
            assert!(told.contains("DataRow even | 0\n"), "{what}: {told}");
            let pairs = ground.pairs(&what).await;
            assert!((least..=most).contains(&pairs), "{what}: {least} <= {pairs} <= {most}");
            deaths += 1;
            if usize::is_multiple_of(deaths, LOOK_EVERY) {
                victim.check_unhurt(&what).await;
                ground.until_quiet(&what).await;
            }
        }
    }
    victim.check_unhurt("the last death").await;
    ground.until_quiet("the last death").await;
    let streams = |line: &String| {
        line.starts_with("CopyData") || line.starts_with("Function") || 64 * 1024 < line.len()
    };
    ground.check_logs(parts.iter().any(|(part, _)| part.lines.iter().any(streams)));
    println!("{role}: {deaths} deaths in {} bytes", bytes.len());
}

async fn open(door: &Door, death: Death) -> Wire {
    if death != Death::Reset {
        return door.open().await;
    }
    let socket = TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_zero_linger().unwrap();
    let knocked =
        door.knock_on(Wire::over(socket), "SCRAM-SHA-256", ChannelBinding::unsupported()).await;
    knocked.unwrap_or_else(|said| panic!("no session: {said}"))
}

async fn talk(wire: &mut Wire, part: &Segment, what: &str) {
    let mut told = Transcript::default();
    let goes_on = wire.talk(&part.bytes, part.until, &mut told).await;
    let told = told.finish();
    assert!(goes_on && !told.contains(NO_BACKEND), "{what}: {:?}: {told}", part.lines);
}

/// What the recording does when nobody dies: so many pairs, and no error but those it asks for.
async fn play(wire: &mut Wire, parts: &[(Segment, usize)]) -> usize {
    let mut expected = 0;
    for (part, pairs) in parts {
        let mut told = Transcript::default();
        let goes_on = wire.talk(&part.bytes, part.until, &mut told).await;
        let told = told.finish();
        let fails = part.lines.iter().any(|line| line.starts_with("CopyFail"));
        assert!(goes_on && told.contains("ErrorResponse") == fails, "{:?}: {told}", part.lines);
        expected += pairs;
    }
    expected
}
