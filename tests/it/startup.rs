//! The first words of a client: versions of the protocol, `options`, and what is told in return.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use veneer::demo::cluster::Cluster;
use veneer::demo::shard::APP_ROLE;

use crate::support::message::{first_packet, query, text};
use crate::support::served::Veneer;
use crate::support::transcript::Frame;
use crate::support::wire::{Door, Wire};
use crate::support::{direct, temporary_directory, world};

const CANCEL: u32 = 80_877_102;
const VERSION_3: u32 = 196_608;

/// A startup packet of any version.
fn hello(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend([text(name), text(value)].concat());
    }
    body.push(0);
    first_packet(version, &body)
}

/// All up to the first `ReadyForQuery`.
async fn greeted(veneer: &Veneer, version: u32, more: &[(&str, &str)]) -> (Wire, Vec<Frame>) {
    let mut wire = Wire::connect(veneer.port).await;
    let own = [("user", "app"), ("database", "bookstore")];
    wire.send(&hello(version, &[&own[..], more].concat())).await;
    let mut frames = Vec::new();
    loop {
        let frame = wire.next().await.expect("a greeting");
        let is_last = frame.tag == b'Z';
        frames.push(frame);
        if is_last {
            return (wire, frames);
        }
    }
}

fn key(frames: &[Frame]) -> Vec<u8> {
    frames.iter().find(|frame| frame.tag == b'K').expect("a key").body.to_vec()
}

/// PostgreSQL 18's answers: what is too new is spoken as 3.2, and what is unknown is named.
#[tokio::test]
async fn versions() {
    let veneer = Veneer::start().await;
    let unknown = [("_pq_.b", "1"), ("search_path", "cyberdyne"), ("_pq_.a", "")];
    let named = b"\0\0\0\x02_pq_.b\0_pq_.a\0";
    let nothing = b"\0\0\0\0";
    for (minor, more, negotiated, key_bytes) in [
        (0, &[][..], None, 4),
        (1, &[], None, 4),
        (2, &[], None, 32),
        (3, &[], Some((2, &nothing[..])), 32),
        (9999, &[], Some((2, nothing)), 32),
        (0, &unknown, Some((0, named)), 4),
        (2, &unknown, Some((2, named)), 32),
        (9999, &unknown, Some((2, named)), 32),
    ] {
        let (mut wire, frames) = greeted(&veneer, VERSION_3 + minor, more).await;
        let said = (frames[0].tag == b'v').then(|| frames[0].body.to_vec());
        let expected = negotiated
            .map(|(minor, options)| [&(VERSION_3 + minor).to_be_bytes()[..], options].concat());
        assert_eq!(said, expected, "3.{minor} {more:?}");
        assert_eq!(key(&frames).len(), 4 + key_bytes, "3.{minor} {more:?}");
        let path = if more.is_empty() { "\"$user\", public" } else { "cyberdyne" };
        assert!(wire.query("SHOW search_path").await.contains(&format!("DataRow {path}")));
    }
    for version in ["2.0", "4.0", "0.0", "1.2", "1234.5678"] {
        let (major, minor) = version.split_once('.').unwrap();
        let code = major.parse::<u32>().unwrap() << 16 | minor.parse::<u32>().unwrap();
        // This number is a cancel's.
        if code == CANCEL {
            continue;
        }
        let mut wire = Wire::connect(veneer.port).await;
        wire.send(&hello(code, &[("user", "app"), ("database", "bookstore")])).await;
        let words = format!(
            "ErrorResponse S=FATAL V=FATAL C=0A000 \
             M=unsupported frontend protocol {version}: server supports 3.0 to 3.2\nclosed\n"
        );
        assert_eq!(wire.read_on().await, words);
    }
}

/// Each key stops its own session, and only whole.
#[tokio::test]
async fn cancels_of_both_lengths() {
    let veneer = Veneer::start().await;
    for minor in [0, 2] {
        let (mut wire, frames) = greeted(&veneer, VERSION_3 + minor, &[]).await;
        let key = key(&frames);
        wire.send(&query("SELECT pg_sleep(60), 1 FROM initech.authors")).await;
        let cancel = async |key: &[u8]| {
            let mut socket = Wire::connect(veneer.port).await;
            socket.send(&first_packet(CANCEL, key)).await;
            assert_eq!(socket.read_on().await, "closed\n");
        };
        let mut wrong = key.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let long = [&key[..], &[0]].concat();
        let far = [&key[..4], &[0; 252]].concat();
        let too_far = [&key[..4], &[0; 300]].concat();
        for key in [&wrong, &key[..5], &key[..key.len() - 1], &long, &far, &too_far, &key[..4], b""]
        {
            cancel(key).await;
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let right = async {
            loop {
                cancel(&key).await;
                assert!(Instant::now() < deadline, "it was never cancelled");
                sleep(Duration::from_millis(20)).await;
            }
        };
        let said = tokio::select! {
            () = right => unreachable!(),
            said = until_ready(&mut wire) => said,
        };
        assert!(said.contains("57014"), "{said}");
    }
}

async fn until_ready(wire: &mut Wire) -> String {
    let mut said = String::new();
    while let Some(frame) = wire.next().await {
        said.push_str(&String::from_utf8_lossy(&frame.body));
        if frame.tag == b'Z' {
            break;
        }
    }
    said
}

/// What comes of start values: an error's fields, or what the named settings are then.
async fn outcome(door: &Door, parameters: &[(&str, &str)], shown: &str) -> String {
    let door = parameters.iter().fold(door.clone(), |door, (name, value)| door.with(name, value));
    let mut wire = match door.knock().await {
        Ok(wire) => wire,
        // Where in PostgreSQL's sources it was said is nobody's business.
        Err(said) => return said.split(" F=").next().unwrap_or_default().to_owned(),
    };
    let mut told = String::new();
    for setting in shown.split_whitespace() {
        told += &wire.query(&format!("SHOW {setting}")).await;
    }
    told
}

/// The same start values, on the shard and through veneer.
#[tokio::test]
async fn options_are_read_as_postgresql_reads_them() {
    let veneer = Veneer::start().await;
    let shard = world().shard(1);
    let password = shard.app_password.clone();
    let theirs = Door { port: shard.cluster.port(), password, ..veneer.door(APP_ROLE) };
    let ours = veneer.door("app");
    let shown = "work_mem datestyle search_path enable_seqscan enable_hashjoin statement_timeout";
    let mut failed = Vec::new();
    for options in [
        // Read.
        "-c work_mem=8MB",
        "-cwork_mem=8MB -c  search_path=a,b",
        "--work-mem=9MB --Statement_Timeout=7",
        r"-c search_path=a\,\ b\\c",
        "-c work_mem=8MB -c work_mem=9MB",
        "-S 5000 -e",
        "-eS5001 -fs -fh",
        "-fs -S 64 --",
        "-D /nowhere -n -E -r file -v 3 -C x",
        "  -c\u{b}work_mem=8MB\t\n",
        "-c search_path=",
        "-c DateStyle=German",
        // Not read.
        "-c",
        "-e -c",
        "-c work_mem",
        "--work_mem",
        "-c=",
        "-c =x",
        "-x",
        "-e -xe",
        "-xe",
        "foo",
        "-e foo bar",
        "-e -- -c work_mem=8MB",
        "-",
        "-fq",
        "-f q",
        "-t x",
        // Read, and refused.
        "-c work_mem=lots",
        "-c work_mem=1",
        "-c nothing=1",
        "-c _pq_=1",
        "-c _x=1",
        "-c a.b-c=1",
        "-c a.1=1",
        "-c a..b=1",
        "-c search_path=\"open",
        "-c statement_timeout=-5",
        "-B 100",
        "-F",
        "-O",
        "-N 10",
        "-p 5432",
        "-l",
        "-s",
        "-tpa",
        "-d 2",
        "-c log_min_messages=debug1",
        "-c session_preload_libraries=x",
        "-c server_version=1",
        "-c fsync=off",
        "-c shared_buffers=1MB",
        "-c is_superuser=on",
        "-c default_transaction_isolation=none",
    ] {
        let parameters = [("options", options)];
        let expected = outcome(&theirs, &parameters, shown).await;
        let told = outcome(&ours, &parameters, shown).await;
        if told != expected {
            failed.push(format!("{options:?}\nPostgreSQL: {expected}\nveneer: {told}"));
        }
    }
    for parameters in [
        &[("options", "-c work_mem=8MB"), ("Work_Mem", "9MB")][..],
        &[("work_mem", "9MB"), ("options", "-c work_mem=8MB")],
        &[("work_mem", "8MB"), ("WORK_MEM", "9MB")],
        &[("nothing", "1")],
        &[("_x", "1")],
        &[("_pq_.x", "1"), ("work_mem", "8MB")],
        &[("a.b", "1"), ("work_mem", "8MB")],
        &[("a-b", "1")],
        &[("work-mem", "8MB")],
        &[("replication", "maybe")],
        &[("replication", "o")],
        &[("replication", "of"), ("work_mem", "8MB")],
        &[("replication", "0"), ("work_mem", "8MB")],
        &[("datestyle", "ISO, DMY")],
        &[("statement_timeout", "soon")],
        &[("log_min_messages", "debug1")],
    ] {
        let expected = outcome(&theirs, parameters, shown).await;
        let told = outcome(&ours, parameters, shown).await;
        if told != expected {
            failed.push(format!("{parameters:?}\nPostgreSQL: {expected}\nveneer: {told}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    // A backend has begun long before its client, and serves others.
    for (options, setting) in [("-P", "ignore_system_indexes"), ("-W 0", "post_auth_delay")] {
        let told = outcome(&ours, &[("options", options)], shown).await;
        let words =
            format!("C=55P02 M=parameter \"{setting}\" cannot be set after connection start");
        assert!(told.contains(&words), "{told}");
    }
}

/// As with PostgreSQL, nobody learns anything before its proof.
#[tokio::test]
async fn options_are_read_behind_the_proof() {
    let veneer = Veneer::start().await;
    let door = Door { password: "wrong".to_owned(), ..veneer.door("proved") };
    let said = door.with("options", "-x").knock().await.err().unwrap();
    assert!(said.contains("C=28P01"), "{said}");
    let door = veneer.door("proved").with("options", "-x");
    let said = door.knock().await.err().unwrap();
    assert!(said.contains("C=42601 M=invalid command-line argument"), "{said}");
}

/// A home of the test's own, which it can stop.
async fn found_home(veneer: &Veneer, cluster: &Cluster) {
    let admin = direct(&cluster.superuser_config()).await;
    let password = &world().shard(1).app_password;
    let role = format!("CREATE ROLE {APP_ROLE} LOGIN PASSWORD '{password}'");
    admin.batch_execute(&role).await.unwrap();
    admin.batch_execute("CREATE DATABASE bookstore").await.unwrap();
    let text = fs::read_to_string(&veneer.directory_file).unwrap();
    let old = format!("port: {},", world().shard(1).cluster.port());
    assert_eq!(text.matches(&old).count(), 1);
    veneer.write_directory_text(&text.replace(&old, &format!("port: {},", cluster.port())));
}

/// The reported settings, as text.
fn reported(frames: &[Frame]) -> Vec<String> {
    let reports = frames.iter().filter(|frame| frame.tag == b'S');
    reports.map(|frame| String::from_utf8_lossy(&frame.body).replace('\0', " ")).collect()
}

#[tokio::test]
async fn home_is_down_at_the_login() {
    let (directory, _remover) = temporary_directory("home");
    let mut cluster = Cluster::create(&directory.join("home"), None).await.unwrap();
    let veneer = Veneer::start().await;
    found_home(&veneer, &cluster).await;
    let admin = direct(cluster.superuser_config().dbname("bookstore")).await;
    admin.batch_execute("CREATE TABLE own (); GRANT SELECT ON own TO PUBLIC").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let door = veneer.door("app");
    while !door.open().await.query("SELECT count(*) FROM own").await.contains("DataRow 0") {
        assert!(Instant::now() < deadline, "the directory is never read");
        sleep(Duration::from_millis(20)).await;
    }
    let known = [("timezone", "Asia/Tokyo"), ("statement_timeout", "7s")];
    let before = reported(&greeted(&veneer, VERSION_3, &[]).await.1);
    let before_known = reported(&greeted(&veneer, VERSION_3, &known).await.1);
    assert!(before_known.contains(&"TimeZone Asia/Tokyo ".to_owned()), "{before_known:?}");

    cluster.stop().await;
    let (mut wire, frames) = greeted(&veneer, VERSION_3, &[("application_name", "x")]).await;
    let now = reported(&frames);
    assert!(now.contains(&"application_name x ".to_owned()), "{now:?}");
    let others = |reports: &[String]| -> Vec<String> {
        reports.iter().filter(|text| !text.starts_with("application_name")).cloned().collect()
    };
    assert_eq!(others(&now), others(&before));
    // The other shards serve; what belongs to nobody does not.
    assert!(wire.query("SELECT count(*) FROM cyberdyne.authors").await.contains("DataRow 7"));
    let said = wire.query("SELECT count(*) FROM own").await;
    assert!(said.contains("C=08006") && said.contains("\"shard1\""), "{said}");
    assert!(wire.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7"));
    // Start values: those that home has accepted before, and new ones, which another shard judges.
    let (mut wire, frames) = greeted(&veneer, VERSION_3, &known).await;
    assert_eq!(reported(&frames), before_known);
    let told =
        wire.query("SELECT current_setting('statement_timeout'), 1 FROM initech.authors").await;
    assert!(told.contains("DataRow 7s | 1"), "{told}");
    let new = [("timezone", "Asia/Seoul"), ("search_path", "initech")];
    let (mut wire, frames) = greeted(&veneer, VERSION_3, &new).await;
    let now = reported(&frames);
    assert!(now.contains(&"TimeZone Asia/Seoul ".to_owned()), "{now:?}");
    let told = wire.query("SELECT current_setting('timezone'), count(*) FROM authors").await;
    assert!(told.contains("DataRow Asia/Seoul | 7"), "{told}");
    let said = door.clone().with("statement_timeout", "soon").knock().await.err().unwrap();
    assert!(said.contains("C=22023") && said.contains("\"soon\""), "{said}");
    // Nobody knows what is told to a role that has never been here.
    let said = veneer.door("admin").knock().await.err().unwrap();
    assert!(said.contains("S=FATAL V=FATAL C=08001"), "{said}");

    cluster.start().await.unwrap();
    assert!(door.open().await.query("SELECT count(*) FROM own").await.contains("DataRow 0"));
}
