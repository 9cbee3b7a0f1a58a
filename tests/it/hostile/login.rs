//! Before the login: requests for encryption, startups and proofs that are not what they seem.

use super::Victim;
use crate::support::message::{first_packet, message, startup, text};
use crate::support::served::Wanted;
use crate::support::wire::Wire;

const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// What a socket is told that sends these bytes and then listens.
async fn told(port: u16, bytes: &[u8]) -> String {
    let mut wire = Wire::connect(port).await;
    wire.send(bytes).await;
    wire.read_on().await
}

#[tokio::test]
async fn encryption_requests() {
    let mut victim = Victim::new().await;
    let port = victim.veneer.port;
    let hello = startup([("user", "app"), ("database", "bookstore")]);
    for code in [SSL, GSS] {
        // Refused, and then in plain text.
        let mut wire = Wire::connect(port).await;
        wire.send(&first_packet(code, b"")).await;
        assert_eq!(wire.byte().await, Some(b'N'));
        wire.send(&hello).await;
        assert_eq!(wire.next().await.map(|frame| frame.tag), Some(b'R'));
        // Plain text in the same segment as the request: nothing of it is read.
        let mut wire = Wire::connect(port).await;
        wire.send(&[first_packet(code, b""), hello.clone()].concat()).await;
        assert_eq!(wire.byte().await, None);
        let mut wire = Wire::connect(port).await;
        wire.send(&first_packet(code, b"x")).await;
        assert_eq!(wire.byte().await, None);
    }
    let mut wire = Wire::connect(port).await;
    let mut answers = 0;
    for turn in 0..1000 {
        wire.send(&first_packet(if turn % 2 == 0 { SSL } else { GSS }, b"")).await;
        match wire.byte().await {
            Some(byte) => assert_eq!(byte, b'N'),
            None => break,
        }
        answers += 1;
    }
    assert_eq!(answers, 2);
    victim.check_unhurt("requests for encryption").await;
}

#[tokio::test]
async fn startups() {
    let mut victim = Victim::new().await;
    let port = victim.veneer.port;
    let packet = |parameters: &[u8]| first_packet(196_608, parameters);
    let app = [("user", "app"), ("database", "bookstore")];
    let with =
        |name: &'static str, value: &'static str| startup(app.into_iter().chain([(name, value)]));
    let many: Vec<(String, String)> =
        (0..1000).map(|n| (format!("a.b{n}"), String::new())).collect();
    let many = startup(app.into_iter().chain(many.iter().map(|(n, v)| (n.as_str(), v.as_str()))));
    let long = [text("user"), text("app"), text("x.y"), text("y".repeat(9_990)), vec![0]].concat();
    let spaces = format!("-c search_path=cyberdyne{}", " ".repeat(9_000));
    for (what, bytes, expected) in [
        ("10,001 bytes", packet(&long), ""),
        ("a length of 0", vec![0; 8], ""),
        ("a length of 4 GiB", vec![0xff; 8], ""),
        ("no terminator", packet(b"user\0app\0"), "C=08P01"),
        ("more behind the terminator", packet(b"user\0app\0\0x"), "C=08P01"),
        ("no user", packet(b"database\0bookstore\0\0"), "C=28000"),
        ("an empty user", packet(b"user\0\0\0"), "C=28000"),
        ("two users", packet(b"user\0app\0user\0admin\0\0"), "C=08P01"),
        ("1,000 parameters", many, "C=08P01"),
        ("not UTF-8", packet(b"user\0\xff\xfe\0\0"), "C=22021"),
        ("version 2", first_packet(131_072, b"user\0app\0\0"), "C=0A000"),
        ("version 9", first_packet(0x0009_0000, b"user\0app\0\0"), "C=0A000"),
        ("replication", with("replication", "true"), "C=0A000"),
        ("logical replication", with("replication", "database"), "C=0A000"),
        ("some replication", with("replication", "perhaps"), "C=22023"),
        ("another database", startup([("user", "app"), ("database", "postgres")]), "C=3D000"),
        ("-c=", with("options", "-c="), "C=42704"),
        ("-c", with("options", "-c"), "C=42601"),
        ("a role", with("options", "-c role=bookstore_admin"), "C=0A000"),
        ("a role of its own", with("role", "bookstore_admin"), "C=0A000"),
        ("authorization", with("options", "-c session_authorization=bookstore_admin"), "C=0A000"),
        ("an encoding", with("client_encoding", "SJIS"), "C=0A000"),
        ("an encoding in options", with("options", "-c client_encoding=GBK"), "C=0A000"),
        ("an encoding with dashes", with("options", "--client-encoding=SJIS"), "C=0A000"),
        ("an encoding in capitals", with("CLIENT_ENCODING", "SJIS"), "C=0A000"),
        ("strings", with("options", "-c standard_conforming_strings=off"), "C=0A000"),
        ("strings, half a word", with("standard_conforming_strings", "of"), "C=0A000"),
        ("a bad value", with("statement_timeout", "soon"), "C=22023"),
        ("an unknown setting", with("nothing", "x"), "C=42704"),
        ("a bad path", with("search_path", "\"open"), "C=22023"),
    ] {
        let told = told(port, &bytes).await;
        let one_fatal = expected.is_empty() && told == "closed\n"
            || told.contains(&format!("S=FATAL V=FATAL {expected}")) && told.ends_with("closed\n");
        assert!(one_fatal, "{what}: {told}");
        assert!(!told.contains("ReadyForQuery"), "{what}: {told}");
        victim.check_unhurt(what).await;
    }
    for options in ["-c search_path=cyberdyne\\", &spaces] {
        let door = victim.veneer.door("app").with("options", options);
        let told = door.open().await.query("SELECT count(*) FROM authors").await;
        assert!(told.contains("DataRow 7"), "{told}");
    }
}

fn initial(mechanism: &str, length: u32, first: &str) -> Vec<u8> {
    let body = [text(mechanism), length.to_be_bytes().to_vec(), first.as_bytes().to_vec()].concat();
    message(b'p', &body)
}

#[tokio::test]
async fn proofs() {
    let mut victim = Victim::new().await;
    let port = victim.veneer.port;
    let hello = startup([("user", "proved"), ("database", "bookstore")]);
    let first = "n,,n=,r=rOprNGfwEbeRWgbNEkqO";
    let good = initial("SCRAM-SHA-256", u32::try_from(first.len()).unwrap(), first);
    let short = |first: &str| initial("SCRAM-SHA-256", u32::try_from(first.len()).unwrap(), first);
    for (what, bytes) in [
        ("a length of 0xFFFFFFFF", initial("SCRAM-SHA-256", u32::MAX, first)),
        ("a length beyond the end", initial("SCRAM-SHA-256", 1000, first)),
        ("a length that stops short", initial("SCRAM-SHA-256", 3, first)),
        ("another mechanism", initial("SCRAM-SHA-1", 28, first)),
        ("a plain password", message(b'p', b"open, sesame\0")),
        ("no nonce", short("n,,n=")),
        ("an extra m=", short("n,,m=x,n=,r=abc")),
        ("nothing", message(b'p', b"")),
        ("a header of 1 GiB", crate::support::message::claim(b'p', 1 << 30)),
        ("a query instead", crate::support::message::query("SELECT 1")),
        ("a startup instead", hello.clone()),
        ("another user's startup instead", startup([("user", "app"), ("database", "bookstore")])),
        (
            "a final without p=",
            [good.clone(), message(b'p', b"c=biws,r=rOprNGfwEbeRWgbNEkqO")].concat(),
        ),
        ("a final without r=", [good.clone(), message(b'p', b"c=biws,p=AAAA")].concat()),
        ("a wrong nonce", [good.clone(), message(b'p', b"c=biws,r=wrong,p=AAAA")].concat()),
        ("an empty final", [good.clone(), message(b'p', b"")].concat()),
        ("a startup in the middle", [good.clone(), startup([("user", "app")])].concat()),
    ] {
        let told = told(port, &[hello.clone(), bytes].concat()).await;
        assert!(
            told.contains("S=FATAL V=FATAL C=28P01") || told.contains("S=FATAL V=FATAL C=08P01"),
            "{what}: {told}"
        );
        assert!(!told.contains("ReadyForQuery") && told.ends_with("closed\n"), "{what}: {told}");
        victim.check_unhurt(what).await;
    }
    let wrong =
        crate::support::wire::Door { password: "shut".to_owned(), ..victim.veneer.door("proved") };
    let stranger = victim.veneer.door("nobody");
    for (door, user) in [(wrong, "proved"), (stranger, "nobody")] {
        let said = door.knock().await.err().unwrap();
        let expected = format!("C=28P01 M=password authentication failed for user \"{user}\"");
        assert!(said.contains(&expected), "{said}");
    }
    victim.check_unhurt("wrong passwords").await;
}

/// Who says nothing, or stops in the middle, is sent away.
#[tokio::test]
async fn silence_before_the_login() {
    let wanted = Wanted::default().pool_size(1).config("limits: { login_max: 300ms }");
    let mut victim = Victim::of(wanted).await;
    let hello = startup([("user", "proved"), ("database", "bookstore")]);
    for said in [&b""[..], &hello[..3], &hello[..20], &hello, &first_packet(SSL, b"")] {
        let mut wire = Wire::connect(victim.veneer.port).await;
        wire.send(said).await;
        // Nothing but the request for a proof, or the `N`, and then the end.
        while wire.byte().await.is_some() {}
    }
    victim.check_unhurt("silence").await;
}
