//! Frames that lie about their length, their type or their body.

use super::Victim;
use crate::support::message::{bind, claim, close, message, parse, query, sync, text};
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::Until;

const BAD_LENGTH: &str = "ErrorResponse S=FATAL V=FATAL C=08P01 M=invalid message length\n";
const BAD_FORMAT: &str =
    "ErrorResponse S=ERROR V=ERROR C=08P01 M=invalid message format\nReadyForQuery I\n";

#[tokio::test]
async fn lengths_that_cannot_be() {
    let mut victim = Victim::new().await;
    for tag in *b"QPBESCDdp" {
        for length in [0, 1, 3, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fff0, u32::MAX] {
            let what = format!("{} of {length:#x}", char::from(tag));
            victim.check_ended(&what, &claim(tag, length), BAD_LENGTH).await;
        }
    }
    // What came whole before it counts.
    let bytes = [query("SELECT count(*) FROM authors"), claim(b'Q', 2)].concat();
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    wire.send(&bytes).await;
    let told = wire.read_on().await;
    assert!(told.ends_with(&format!("{BAD_LENGTH}closed\n")), "{told}");
    victim.check_unhurt("a query, then a bad length").await;
}

#[tokio::test]
async fn a_long_message_that_never_comes() {
    let mut victim =
        Victim::of(Wanted::default().pool_size(1).config("limits: { clients_max: 2000 }")).await;
    let before = resident_bytes();
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let tag = [b'B', b'Q', b'P', b'd'][number % 4];
        // Longer SQL than 16 MiB is refused at once, so these stay below.
        let length = if matches!(tag, b'Q' | b'P') { 15 << 20 } else { 100 << 20 };
        wire.send(&[claim(tag, length), b"0123456789".to_vec()].concat()).await;
        silent.push(wire);
    }
    victim.check_unhurt("200 headers of 100 MiB").await;
    let grown = resident_bytes().saturating_sub(before);
    // They claim 13 GB; all tests of this process share what is counted here.
    assert!(grown < 1 << 30, "{grown} bytes more");
    drop(silent);
    victim.check_unhurt("they are gone").await;
    // SQL that is too long to be held is passed over, and the session goes on behind it.
    for (begin, status) in
        [(&[][..], "I"), (&["BEGIN"], "E"), (&["BEGIN", "SELECT FROM authors"], "E")]
    {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        for text in begin {
            wire.query(text).await;
        }
        let mut told = Transcript::default();
        let long = [claim(b'Q', 17 << 20), vec![b'x'; (17 << 20) - 4]].concat();
        wire.talk(&long, Until::Ready(1), &mut told).await;
        let told = told.finish();
        assert!(told.starts_with("ErrorResponse S=ERROR V=ERROR C=54000"), "{begin:?}: {told}");
        assert!(told.ends_with(&format!("ReadyForQuery {status}\n")), "{begin:?}: {told}");
        wire.query("ROLLBACK").await;
        assert!(
            wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"),
            "{begin:?}"
        );
        drop(wire);
        victim.check_unhurt("SQL of 17 MiB").await;
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has a size");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}

#[tokio::test]
async fn bodies_that_make_no_sense() {
    let mut victim = Victim::new().await;
    let many: Vec<_> = (0..65_535).map(|_| Some(Vec::new())).collect();
    let lying = |count: u16, length: i32| {
        let mut body = [text(""), text("s"), vec![0, 0]].concat();
        body.extend(count.to_be_bytes());
        body.extend(length.to_be_bytes());
        message(b'B', &body)
    };
    let prepared = parse("s", "SELECT $1::text FROM authors WHERE last_name = 'Lee'", &[]);
    let cases = [
        ("a NUL in a Query", query(b"SELECT 1\0; DELETE FROM books")),
        ("a Query without a NUL", message(b'Q', b"SELECT 1")),
        ("an empty Query body", message(b'Q', b"")),
        (
            "a Parse without types",
            [message(b'P', &[text("s"), text("SELECT 1")].concat()), sync()].concat(),
        ),
        (
            "a Parse that lies about its types",
            [message(b'P', &[text("x"), text("SELECT 1"), vec![0, 9]].concat()), sync()].concat(),
        ),
        ("a Bind of length -2", [lying(1, -2), sync()].concat()),
        ("a Bind of length -2^31", [lying(1, i32::MIN), sync()].concat()),
        ("a Bind that ends too early", [lying(65_535, 0), sync()].concat()),
        ("a Bind of a value beyond its end", [lying(1, 0x7fff_ffff), sync()].concat()),
        (
            "a Bind with a byte too many",
            [message(b'B', &[text(""), text("s"), vec![0, 0, 0, 0, 0, 0, 7]].concat()), sync()]
                .concat(),
        ),
        ("a Describe of nothing", [message(b'D', b""), sync()].concat()),
        ("an Execute without a count", [message(b'E', b"\0"), sync()].concat()),
    ];
    for (what, bytes) in cases {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let mut told = Transcript::default();
        wire.talk(
            &[prepared.clone(), sync()].concat(),
            Until::Ready(1),
            &mut Transcript::default(),
        )
        .await;
        wire.talk(&bytes, Until::Ready(1), &mut told).await;
        assert_eq!(told.finish(), BAD_FORMAT, "{what}");
        let told = wire.play("Bind - s x\nExecute - 0\nSync").await;
        assert!(told.contains("DataRow x"), "{what}: {told}");
        victim.check_unhurt(what).await;
    }
    // As many as the protocol can count: PostgreSQL's business, and the session goes on.
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    let bytes = [prepared, bind("", "s", &[], &many, &[]), sync()].concat();
    let mut told = Transcript::default();
    wire.talk(&bytes, Until::Ready(1), &mut told).await;
    let told = told.finish();
    assert!(told.contains("C=08P01 M=bind message supplies 65535 parameters"), "{told}");
    assert!(wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
    victim.check_unhurt("65,535 parameters").await;
}

#[tokio::test]
async fn types_that_do_not_exist() {
    let mut victim = Victim::new().await;
    for tag in [0, 1, b'!', b'R', b'Z', b'a', 0x7f, 0x80, 0xff] {
        let fatal = format!(
            "ErrorResponse S=FATAL V=FATAL C=08P01 M=invalid frontend message type {tag}\n"
        );
        victim.check_ended(&format!("type {tag}"), &message(tag, b"x"), &fatal).await;
        victim.check_ended(&format!("only type {tag}"), &[tag], &fatal).await;
    }
    let fatal = "ErrorResponse S=FATAL V=FATAL C=08P01 M=invalid frontend message type 112\n";
    victim.check_ended("a password after the login", &message(b'p', b"x\0"), fatal).await;
    // A transaction that was open is gone with its client.
    let mut wire = victim.veneer.door("app").open().await;
    let lock = "SELECT 1 FROM cyberdyne.authors WHERE last_name = 'Rice' FOR UPDATE";
    wire.play(&format!("Query BEGIN\n\nQuery {lock}")).await;
    wire.send(&message(b'!', b"")).await;
    wire.read_on().await;
    let mut other = victim.veneer.door("app").open().await;
    assert!(other.query(&format!("SET lock_timeout = '5s'; {lock}")).await.contains("DataRow 1"));
    victim.check_unhurt("a bad type in a transaction").await;
}

#[tokio::test]
async fn batches_in_one_segment() {
    let mut victim = Victim::new().await;
    let mut script = String::new();
    for batch in 0..100 {
        script.push_str(match batch % 5 {
            0 => "Parse - - SELECT 1 FROM authors LIMIT 1\nBind - -\nExecute - 0\nSync\n",
            1 => "Query SELECT 1 / 0\n",
            2 => "Parse - - SELECT FROM WHERE\nBind - -\nExecute - 0\nSync\n",
            3 => "Parse - - SELECT $1::int\nBind - - x\nExecute - 0\nQuery SELECT 1\nSync\n",
            _ => "Query SELECT count(*) FROM authors\nSync\n",
        });
    }
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    let segment = crate::support::script::segments(&script).remove(0);
    let mut told = Transcript::default();
    // Of each fifth batch PostgreSQL skips the Query, and answers the rest.
    wire.talk(&segment.bytes, Until::Ready(120), &mut told).await;
    let told = told.finish();
    assert_eq!(told.matches("ReadyForQuery").count(), 120, "{told}");
    assert_eq!(told.matches("ErrorResponse").count(), 60, "{told}");
    assert!(wire.query("SELECT 'after'").await.contains("DataRow after"));
    victim.check_unhurt("100 batches").await;
}

/// Any cut of a conversation gives the same answers.
#[tokio::test]
async fn every_cut_of_a_conversation() {
    let mut victim = Victim::new().await;
    let script = "Parse s - SELECT $1::int FROM authors LIMIT 1\nBind - s 7\nExecute - 0\nSync\n\
                  Query BEGIN\nQuery SELECT count(*) FROM books\nQuery ROLLBACK";
    let bytes = crate::support::script::segments(script).remove(0).bytes;
    let mut expected = None;
    for cut in 0..=bytes.len() {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let mut told = Transcript::default();
        wire.send(&bytes[..cut]).await;
        tokio::task::yield_now().await;
        wire.talk(&bytes[cut..], Until::Ready(4), &mut told).await;
        let told = told.finish();
        let expected = expected.get_or_insert_with(|| told.clone());
        assert_eq!(told, *expected, "cut at {cut}");
    }
    // And a client that goes away at every byte leaves the one backend fit for the next.
    for cut in 0..bytes.len() {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        wire.send(&bytes[..cut]).await;
        drop(wire);
    }
    victim.check_unhurt("clients that die at every byte").await;
}

/// A name is a client's own choice, up to a limit.
#[tokio::test]
async fn names_without_end() {
    let wanted = Wanted::default().pool_size(1).config("limits: { statements_max: 50 }");
    let mut victim = Victim::of(wanted).await;
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    let long = "n".repeat(1 << 20);
    let mut told = Transcript::default();
    wire.talk(&[parse(&long, "SELECT 1", &[]), sync()].concat(), Until::Ready(1), &mut told).await;
    let bytes: Vec<u8> =
        (0..60).flat_map(|n| [parse(&format!("s{n}"), "SELECT 1", &[]), sync()].concat()).collect();
    wire.talk(&bytes, Until::Ready(60), &mut told).await;
    let told = told.finish();
    assert_eq!(told.matches("C=54000").count(), 11, "{told}");
    let mut closed = Transcript::default();
    wire.talk(&[close(b'S', "s1"), sync()].concat(), Until::Ready(1), &mut closed).await;
    assert!(wire.play("Parse again - SELECT 1\nSync").await.contains("ParseComplete"));
    victim.check_unhurt("many statements").await;
}
