//! The first words of a client: versions of the protocol, `options`, and what is told in return.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::message::{first_packet, query, text};
use crate::support::served::Veneer;
use crate::support::transcript::Frame;
use crate::support::wire::Wire;

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
