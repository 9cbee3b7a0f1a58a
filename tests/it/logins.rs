//! Proofs on either side of veneer: shards that ask for what they should not, clients that cannot
//! prove themselves, and crowds that never say who they are.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tracing::subscriber::set_default;

use crate::support::message::{message, startup};
use crate::support::scripted::{Says, ScriptedShard};
use crate::support::served::{PASSWORD, Veneer, Wanted};
use crate::support::wire::{Door, Wire};

/// What is logged on this thread, where a test's own veneer runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// An authentication request of this kind.
fn asks(kind: u32, data: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], data.as_ref()].concat())
}

fn sasl() -> Vec<u8> {
    asks(10, b"SCRAM-SHA-256\0\0")
}

/// It fails at once, however long a login may take; the log says why, and the client where.
#[tokio::test]
async fn shards_that_ask_for_what_they_should_not() {
    let challenge = |text: &str| asks(11, text);
    let good = challenge("r=NONCEmore,s=c2FsdA==,i=4096");
    let denied = message(b'E', b"SFATAL\0C28P01\0Mpassword authentication failed for role\0\0");
    let rounds = "an unreasonable number of SCRAM rounds";
    for (what, answers, reason) in [
        ("2^31 rounds", vec![sasl(), challenge("r=NONCEx,s=c2FsdA==,i=2147483648")], rounds),
        ("2^32 rounds", vec![sasl(), challenge("r=NONCEx,s=c2FsdA==,i=4294967296")], rounds),
        ("no rounds", vec![sasl(), challenge("r=NONCEx,s=c2FsdA==")], rounds),
        ("0 rounds", vec![sasl(), challenge("r=NONCEx,s=c2FsdA==,i=0")], rounds),
        ("-1 rounds", vec![sasl(), challenge("r=NONCEx,s=c2FsdA==,i=-1")], rounds),
        (
            "a nonce of 2 MiB",
            vec![sasl(), challenge(&format!("r=NONCE{},s=c2FsdA==,i=4096", "x".repeat(2 << 20)))],
            "an overlong message while logging in",
        ),
        (
            "another's nonce",
            vec![sasl(), challenge("r=other,s=c2FsdA==,i=4096")],
            "a SCRAM challenge that does not fit",
        ),
        (
            "a salt that is none",
            vec![sasl(), challenge("r=NONCEx,s=*,i=4096")],
            "a SCRAM challenge that does not fit",
        ),
        ("a challenge out of turn", vec![good.clone()], "SCRAM out of turn"),
        ("a signature out of turn", vec![asks(12, "v=AAAA")], "SCRAM out of turn"),
        (
            "a wrong signature",
            vec![sasl(), good.clone(), asks(12, format!("v={}=", "A".repeat(43)))],
            "a SCRAM signature that is wrong",
        ),
        (
            "no signature",
            vec![sasl(), good.clone(), asks(0, "")],
            "no SCRAM signature from the shard",
        ),
        ("a password in clear text", vec![asks(3, "")], "it asks for a password in clear text"),
        ("md5", vec![asks(5, b"salt")], "it asks for the password as md5"),
        (
            "md5 behind a challenge",
            vec![sasl(), asks(5, b"salt")],
            "it asks for the password as md5",
        ),
        ("Kerberos", vec![asks(7, "")], "an unknown authentication method"),
        (
            "only what we lack",
            vec![asks(10, b"SCRAM-SHA-256-PLUS\0\0")],
            "no SCRAM-SHA-256 on offer",
        ),
        ("nothing on offer", vec![asks(10, b"\0")], "no SCRAM-SHA-256 on offer"),
        ("rows", vec![message(b'D', b"\0\0")], "an unexpected message while logging in"),
        ("half an authentication", vec![message(b'R', b"\0")], "a bad Authentication"),
        (
            "a denial",
            vec![denied],
            "refuses the login: 28P01: password authentication failed for role",
        ),
    ] {
        let log = Log::default();
        let _guard = log.listen();
        let shard = ScriptedShard::start(Says::Login(answers)).await;
        // Longer than the test would wait.
        let wanted = Wanted::default().pool_size(1).connect_max("60s");
        let wanted = wanted.shard("shard9", shard.port).tenant(("odd", "shard9", "active"));
        let veneer = wanted.start().await;
        let mut wire = veneer.door("app").open().await;
        let told = wire.query("SELECT c FROM odd.t").await;
        assert_eq!(
            told,
            "ErrorResponse S=ERROR V=ERROR C=08006 M=cannot reach shard \"shard9\" \
             H=Try again later.\nReadyForQuery I\n",
            "{what}"
        );
        assert!(wire.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7"));
        let text = log.text();
        let line = text.lines().find(|line| line.contains("no backend"));
        let line = line.unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(line.contains("WARN") && line.contains("shard=shard9"), "{what}: {line}");
        assert!(line.contains(&format!("127.0.0.1:{}", shard.port)), "{what}: {line}");
        assert!(line.contains(reason), "{what}: {line}");
        assert!(!text.contains(PASSWORD), "{what}: {text}");
        veneer.assert_alive();
    }
}

/// An old verifier is served by who says so.
#[tokio::test]
async fn md5_where_it_is_allowed() {
    let ok = [
        asks(0, ""),
        message(b'S', b"standard_conforming_strings\0on\0"),
        message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        message(b'Z', b"I"),
    ];
    let shard = ScriptedShard::start(Says::Login(vec![asks(5, b"salt"), ok.concat()])).await;
    let wanted = Wanted::default().pool_size(1).shard("shard9", shard.port).md5();
    let veneer = wanted.tenant(("odd", "shard9", "active")).start().await;
    let mut wire = veneer.door("app").open().await;
    wire.send(&crate::support::message::query("SELECT c FROM odd.t")).await;
    // It lets us in, and says no more.
    for _ in 0..200 {
        if 0 < shard.served() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("it was not let in");
}

/// Everything that is said up to the end, with what is different at each try left out.
async fn refusal(door: &Door, user: &str) -> Vec<(u8, usize, String)> {
    let mut wire = Wire::connect(door.port).await;
    wire.send(&startup([("user", user), ("database", "bookstore")])).await;
    let mut said = Vec::new();
    let first = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let mut answers =
        vec![message(b'p', &[b"SCRAM-SHA-256\0", &length[..], first].concat()), Vec::new()]
            .into_iter();
    while let Some(frame) = wire.next().await {
        let text = String::from_utf8_lossy(&frame.body).into_owned();
        if frame.tag == b'R'
            && let Some(mut answer) = answers.next()
        {
            if answer.is_empty() {
                let nonce = text.split("r=").nth(1).unwrap().split(',').next().unwrap();
                let proof = format!("c=biws,r={nonce},p={}=", "A".repeat(43));
                answer = message(b'p', proof.as_bytes());
            }
            wire.send(&answer).await;
        }
        let text = text.replace(user, "USER");
        // The nonce and the salt are random, and always as long.
        let text = if text.contains("r=rOprNGfwEbeRWgbNEkqO") {
            text.split(",i=").nth(1).unwrap().to_owned()
        } else {
            text
        };
        said.push((
            frame.tag,
            frame.body.len() + 20 - user.len() * usize::from(frame.tag == b'E'),
            text,
        ));
    }
    said
}

#[tokio::test]
async fn whoever_cannot_prove_it_is_told_the_same() {
    let veneer = Veneer::start().await;
    let door = veneer.door("proved");
    // The pool is warm: no proof is taken for granted.
    assert!(
        door.open().await.query("SELECT count(*) FROM initech.authors").await.contains("DataRow 7")
    );
    let wrong = refusal(&door, "proved").await;
    let kinds: Vec<u8> = wrong.iter().map(|(tag, ..)| *tag).collect();
    assert_eq!(kinds, b"RRE", "{wrong:?}");
    assert!(wrong[2].2.contains("C28P01\0Mpassword authentication failed for user \"USER\""));
    for stranger in ["nobody", "postgres", "x", "a name with spaces", "proved "] {
        assert_eq!(refusal(&door, stranger).await, wrong, "{stranger}");
    }
    let door = Door { password: "shut".to_owned(), ..door };
    assert!(door.knock().await.err().unwrap().contains("C=28P01"));
}

/// Silent sockets, and some that say a byte now and then: the others come and go as ever.
#[tokio::test]
async fn a_crowd_at_the_door() {
    let veneer = Wanted::default().config("limits: { clients_max: 20 }").start().await;
    let port = veneer.port;
    let mut silent = Vec::new();
    for _ in 0..2000 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let hello = startup([("user", "proved"), ("database", "bookstore")]);
    let slow = tokio::spawn(async move {
        let mut sockets = Vec::new();
        for _ in 0..200 {
            sockets.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
        for byte in hello.chunks(1) {
            for socket in &mut sockets {
                // It may have been sent away.
                let _ = socket.write_all(byte).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
        sockets
    });
    let door = veneer.door("proved").with("search_path", "initech");
    let mut logins = 0;
    while !slow.is_finished() {
        let mut wire = door.open().await;
        assert!(wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
        logins += 1;
    }
    assert!(5 < logins, "{logins}");
    // None of them has a seat before it has said who it is.
    let mut seated = Vec::new();
    for _ in 0..5 {
        seated.push(veneer.door("app").open().await);
    }
    veneer.assert_alive();
}
