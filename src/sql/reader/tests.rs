//! What the reader survives, what it remembers, and how fast.

use std::time::{Duration, Instant};

use super::{Reader, Settings};
use crate::sql::{Access, Keep, Keeps, Leaves, Read, ReadError};

fn reader() -> Reader {
    Reader::new(&Settings::default())
}

fn joined(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

/// Legal SQL as people's ORMs write it.
fn legal() -> Vec<(&'static str, String)> {
    let nest = |open: &str, depth: usize, core: &str, close: &str| {
        format!("{}{core}{}", open.repeat(depth), close.repeat(depth))
    };
    let join = |i| format!("JOIN acme.t{i} ON t{i}.id = t0.id");
    vec![
        ("60 joins", format!("SELECT 1 FROM acme.t0 {}", joined(60, " ", join))),
        (
            "200 concatenations",
            format!("SELECT {} FROM acme.t", joined(200, " || ", |_| "a".into())),
        ),
        ("60 scalar sub-selects", nest("SELECT (", 60, "SELECT a FROM acme.t", ")")),
        ("60 sub-selects in FROM", nest("SELECT * FROM (", 60, "SELECT a FROM acme.t", ") x")),
        ("120 unions", joined(120, " UNION ALL ", |_| "SELECT a FROM acme.t".into())),
        (
            "200 ands",
            format!(
                "SELECT 1 FROM acme.t WHERE {}",
                joined(200, " AND ", |i| format!("c{i} = {i}"))
            ),
        ),
        (
            "200 ors",
            format!(
                "SELECT 1 FROM acme.t WHERE {}",
                joined(200, " OR ", |i| format!("c{i} = {i}"))
            ),
        ),
        (
            "60 cases",
            nest(
                "SELECT CASE WHEN a THEN b ELSE ",
                1,
                &nest("CASE WHEN a THEN b ELSE ", 59, "c", " END"),
                " END FROM acme.t",
            ),
        ),
        (
            "1,000 rows",
            format!(
                "INSERT INTO acme.t VALUES {}",
                joined(1000, ", ", |i| format!("({i}, 'name {i}', now())"))
            ),
        ),
        (
            "1,000 in a list",
            format!("SELECT 1 FROM acme.t WHERE id IN ({})", joined(1000, ",", |i| i.to_string())),
        ),
    ]
}

#[test]
fn legal_sql_is_read_exactly() {
    for (what, sql) in legal() {
        let text = reader().read_now(sql.as_bytes()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(text.statements.len(), 1, "{what}");
        let statement = &text.statements[0];
        assert_eq!(statement.names.len(), 1, "{what}");
        assert_eq!(statement.names[0].schema, "acme", "{what}");
        assert!(!statement.unqualified, "{what} was not parsed, only guessed");
    }
}

/// Texts that grow a tree, a stack or a scan with every byte.
fn hostile(bytes: usize) -> Vec<(&'static str, String)> {
    let chain = |start: &str, step: &str| {
        format!("{start}{}", step.repeat(bytes.saturating_sub(start.len()) / step.len()))
    };
    let nest = |start: &str, open: &str, core: &str, close: &str| {
        let room = bytes.saturating_sub(start.len() + core.len());
        let depth = room / (open.len() + close.len());
        format!("{start}{}{core}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        ("sum", chain("SELECT 1", "+1")),
        ("parentheses", nest("SELECT ", "(", "1", ")")),
        ("open parentheses", chain("SELECT ", "(")),
        ("unions", chain("SELECT 1", " UNION SELECT 1")),
        ("right unions", nest("", "SELECT 1 UNION (", "SELECT 1", ")")),
        ("joins", chain("SELECT 1 FROM t", " JOIN t ON a")),
        ("cross joins", chain("SELECT 1 FROM t", " CROSS JOIN t")),
        ("commas", chain("SELECT 1 FROM t", ",t")),
        ("nested comments", nest("SELECT ", "/*", "1", "*/")),
        ("flat comments", chain("SELECT 1", "/**/")),
        ("spaced comments", chain("SELECT 1", "/**/ ")),
        ("banners", chain("SELECT 1", "/******************************/\n")),
        ("operators between comments", chain("SELECT 1", "+-+-+-+-+-+-+/**/")),
        ("open comments", chain("SELECT 1", "/*")),
        ("pluses", chain("SELECT 1", "+")),
        ("spaced minuses", format!("{}1", chain("SELECT ", "- "))),
        ("short operators", format!("{}1", chain("SELECT 1", "+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ "))),
        ("ors", chain("SELECT 1 WHERE a=1", " OR a=1")),
        ("mixed", chain("SELECT 1 WHERE a=1", " OR a=1 AND b=2")),
        ("nots", format!("{}a", chain("SELECT ", "NOT "))),
        ("cases", nest("SELECT ", "CASE WHEN a THEN ", "1", " END")),
        ("calls", nest("SELECT ", "f(", "1", ")")),
        ("arrays", nest("SELECT ARRAY", "[", "1", "]")),
        ("subscripts", chain("SELECT a", "[1]")),
        ("casts", chain("SELECT a", "::b")),
        ("field chain", chain("SELECT (a)", ".b")),
        ("sub-selects", nest("", "SELECT (", "SELECT 1", ")")),
        ("from", nest("", "SELECT * FROM (", "SELECT 1", ")")),
        ("with", nest("", "WITH a AS (", "SELECT 1", ") SELECT 1")),
        ("collates", chain("SELECT a", " COLLATE b")),
        ("is null", chain("SELECT a", " IS NULL")),
        ("betweens", chain("SELECT 1", " BETWEEN 1 AND 1")),
        ("statements", chain("", "SELECT 1;")),
        ("names", chain("SELECT 1 FROM a.b", ",a.b")),
        ("quotes", chain("SELECT ", "'")),
        ("dollars", chain("SELECT ", "$a")),
        ("dollar tags", chain("SELECT $a$", "$b")),
        ("digits", chain("SELECT ", "1")),
        ("letters", chain("SELECT ", "x")),
        ("rows", chain("VALUES (1)", ",(1)")),
        ("semicolons", chain("", ";")),
        ("unary at", format!("{}1", chain("SELECT ", "@ "))),
        ("explain", format!("{}SELECT 1", "EXPLAIN ".repeat(bytes / 8 - 1))),
        ("many ctes", {
            let half = bytes / 2;
            let ctes = joined(half / 24, ", ", |i| format!("a{i} AS (SELECT 1)"));
            format!("WITH {ctes} SELECT 1 FROM t{}", ",t".repeat(half / 2 - 20))
        }),
        ("many parameters", format!("SELECT f({})", joined(bytes / 8, ",", |i| format!("${i}")))),
        ("many names", format!("SELECT 1 FROM {}", joined(bytes / 10, ",", |i| format!("n{i}.t")))),
        ("dotted literal", format!("SELECT f('{}')", "a.\"".repeat(bytes / 3 - 8))),
        ("schema elements", chain("CREATE SCHEMA a", " CREATE TABLE b()")),
    ]
}

fn outcome(read: &Read) -> String {
    match read {
        Ok(text) if text.statements.iter().any(|s| s.unqualified && s.parameters.is_empty()) => {
            format!("read {} (or guessed)", text.statements.len())
        }
        Ok(text) => format!("read {}", text.statements.len()),
        Err(error) => error.to_string().chars().take(60).collect(),
    }
}

/// Bytes of memory that this process has held at once, at most.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn hostile_sql_is_survived() {
    let reader = reader();
    let before = peak_memory();
    for bytes in [2 << 10, 8 << 10, 32 << 10, 128 << 10, 1 << 20] {
        for (what, sql) in hostile(bytes) {
            let began = Instant::now();
            let read = reader.read_now(sql.as_bytes());
            let took = began.elapsed();
            if std::env::var_os("VENEER_SHOW").is_some() {
                let megabytes = peak_memory() >> 20;
                println!(
                    "{bytes:>8} {what:<26} {took:>10.1?} {megabytes:>5} MB  {}",
                    outcome(&read)
                );
            }
            assert!(took < Duration::from_secs(2), "{what} of {bytes} bytes took {took:?}");
        }
    }
    let grown = peak_memory() - before;
    // Debug builds take some 40 kB of stack for each level of a tree, release builds 3 kB.
    let megabytes_max = if cfg!(debug_assertions) { 512 } else { 300 };
    assert!(grown < megabytes_max << 20, "memory grew by {} MB", grown >> 20);
    assert!(matches!(reader.read_now(&vec![b'('; 1 << 20]), Err(ReadError::Long { .. })));
}

#[test]
fn too_deep_to_parse() {
    let deep = |sql: &str| sql.replace("DEEP", &format!("1{}", "+1".repeat(20_000)));
    let check = |sql: &str, names: &[&str], leaves: Leaves| {
        let text = reader().read_now(deep(sql).as_bytes()).unwrap();
        let [statement] = &text.statements[..] else { panic!("{sql}") };
        let found: Vec<_> = statement.names.iter().map(|name| name.schema.as_str()).collect();
        assert_eq!(found, names, "{sql}");
        assert!(statement.unqualified && statement.access == Access::Write, "{sql}");
        assert_eq!(statement.leaves, leaves, "{sql}");
    };
    check(
        "SELECT DEEP, 'core.t'::regclass FROM \"My T\" /* x.y */ .t, ACME . u;",
        &["My T", "acme", "core"],
        Leaves::UNKNOWN,
    );
    check(
        "SELECT pg_advisory_lock(DEEP)",
        &[],
        Leaves { unknown: true, keeps: Keeps::of(Keep::AdvisoryLock) },
    );
    let refused = |sql: &str| {
        let read = reader().read_now(deep(sql).as_bytes());
        assert!(matches!(read, Err(ReadError::Complex(_))), "{sql}: {read:?}");
    };
    refused("SELECT DEEP; SELECT 1");
    refused("CREATE VIEW v AS SELECT DEEP");
    refused("SELECT DEEP, E'\\x61cme.t'::regclass");
    refused("SELECT DEEP FROM U&\"\\0061cme\".t");
}

#[test]
fn literals_share_one_entry() {
    let reader = reader();
    let first = reader.read_now(b"SELECT * FROM acme.t WHERE id = 0 AND name = 'x'").unwrap();
    for id in 1..1_000_000 {
        let sql = format!("SELECT * FROM acme.t WHERE id = {id} AND name = 'name {id}'");
        let read = reader.cached(sql.as_bytes()).expect("remembered").unwrap();
        assert!(std::sync::Arc::ptr_eq(&first, &read));
    }
    assert_eq!(reader.shapes.len(), 1);
    assert_eq!(reader.exact.len(), 0);
}

#[test]
fn literals_that_matter_are_kept_apart() {
    let pairs = [
        ("SELECT 'acme.t'::regclass", "SELECT 'bolt.t'::regclass"),
        ("SELECT nextval('acme.s')", "SELECT nextval('bolt.s')"),
        ("SELECT f('acme.s')", "SELECT f('bolt.s')"),
        ("SELECT f(concat('acme.s'))", "SELECT f(concat('bolt.s'))"),
        (
            "SELECT set_config('search_path', 'acme', false)",
            "SELECT set_config('search_path', 'bolt', false)",
        ),
        (
            "SELECT 1 FROM pg_namespace WHERE nspname = 'acme'",
            "SELECT 1 FROM pg_namespace WHERE nspname = 'bolt'",
        ),
        ("SET search_path = 'acme'", "SET search_path = 'bolt'"),
        ("SELECT * FROM \"1\".t", "SELECT * FROM \"2\".t"),
        ("SELECT 1; SET search_path = 'acme'", "SELECT 1; SET search_path = 'bolt'"),
        ("SELECT E'\\'', acme.t FROM t", "SELECT E'\\'', bolt.t FROM t"),
    ];
    for (one, other) in pairs {
        let shared = reader();
        let _ = shared.read_now(one.as_bytes());
        let read = shared.read_now(other.as_bytes());
        assert_eq!(read, reader().read_now(other.as_bytes()), "{other} after {one}");
        assert!(shared.cached(one.as_bytes()).is_some(), "{one} is not remembered");
    }
}

#[test]
fn memory_is_bounded() {
    let settings = Settings { cache_bytes_max: bytesize::ByteSize::kib(64), ..Default::default() };
    let reader = Reader::new(&settings);
    for i in 0..2_000 {
        reader.read_now(format!("SELECT a{i} FROM t{i}").as_bytes()).unwrap();
        reader.read_now(format!("SET a.b = '{i}'").as_bytes()).unwrap();
    }
    assert!(reader.shapes.weight() + reader.exact.weight() <= 64 << 10);
}

/// A comment or a space changes nothing; a second statement takes no name away.
#[test]
fn what_is_added_never_hides_a_name() {
    let texts = [
        "SELECT * FROM acme.t JOIN bolt.u ON t.id = u.id WHERE a = 'x' AND b IN (1, 2)",
        "INSERT INTO acme.t (a, b) VALUES ('it''s', E'\\'') RETURNING bolt.f(a)",
        "WITH a AS (SELECT 'acme.t'::regclass) SELECT * FROM a, \"My T\".u",
        "SET search_path = 'acme', public",
        "SELECT 1 FROM pg_namespace WHERE nspname ~ '^(acme)$'",
        "ALTER TABLE acme.t SET SCHEMA bolt",
        "COPY acme.t FROM STDIN",
    ];
    for sql in texts {
        let plain = reader().read_now(sql.as_bytes()).unwrap();
        for (at, _) in sql.match_indices(' ') {
            // Inside a literal or a quoted name it would be another text.
            let quotes = sql[..at].matches(['\'', '"']).count();
            if quotes % 2 == 1 {
                continue;
            }
            for extra in [" ", "\n", "/* bolt.x */", "-- '\n", "/* /* ' */ */"] {
                let changed = format!("{}{extra}{}", &sql[..at], &sql[at..]);
                let read = reader().read_now(changed.as_bytes()).unwrap();
                if !sql.starts_with("SET") {
                    assert_eq!(read, plain, "{changed}");
                }
            }
        }
        let longer = format!("{sql}; SELECT * FROM core.z");
        let read = reader().read_now(longer.as_bytes()).unwrap();
        assert_eq!(read.statements[..plain.statements.len()], plain.statements[..], "{longer}");
        assert_eq!(read.statements.len(), plain.statements.len() + 1);
    }
}

#[tokio::test]
async fn waiting_and_blocking_readers_agree() {
    for (_, sql) in legal() {
        assert_eq!(reader().read(sql.as_bytes()).await, reader().read_now(sql.as_bytes()));
    }
}

/// `VENEER_SHOW=1 cargo test --release --lib sql::reader::tests::figures -- --nocapture`
#[test]
fn figures() {
    if std::env::var_os("VENEER_SHOW").is_none() {
        return;
    }
    let reader = reader();
    let time = |what: &str, count: u32, mut body: Box<dyn FnMut(u32) + '_>| {
        let began = Instant::now();
        (0..count).for_each(&mut body);
        println!("{what:<40} {:>10} ns", began.elapsed().as_nanos() / u128::from(count));
    };
    let point = b"SELECT id, name, email FROM users WHERE id = 12345 LIMIT 1";
    let exact = b"SET search_path = 'tenant1', public";
    let long = format!("SELECT {} FROM t WHERE id = 1", joined(200, ", ", |i| format!("c{i}")));
    for sql in [&point[..], exact, long.as_bytes()] {
        reader.read_now(sql).unwrap();
    }
    let mut shape = Vec::new();
    let mut write = |sql: &[u8]| assert!(crate::sql::shape::write(sql, &mut shape));
    time("shape of a point SELECT", 1_000_000, Box::new(|_| write(point)));
    time("shape of 1.2 kB", 200_000, Box::new(|_| write(long.as_bytes())));
    time("cached, by shape", 1_000_000, Box::new(|_| drop(reader.cached(point))));
    time("cached, exact", 1_000_000, Box::new(|_| drop(reader.cached(exact))));
    time("cached, 1.2 kB", 200_000, Box::new(|_| drop(reader.cached(long.as_bytes()))));
    time(
        "miss, point SELECT",
        20_000,
        Box::new(|i| {
            let sql = format!("SELECT id, name, email FROM users{i} WHERE id = 12345 LIMIT 1");
            reader.read_now(sql.as_bytes()).unwrap();
        }),
    );
    let find = |sql: &str| crate::sql::parse::parse_now(sql).unwrap();
    time("parse and walk, 1.2 kB", 5_000, Box::new(|_| drop(find(&long))));
    for (what, sql) in legal() {
        time(what, 20, Box::new(|_| drop(find(&sql))));
    }
}

/// A text that comes again gets a place of its own; one whose literals are new each time does not.
#[test]
fn only_what_returns_is_kept_whole() {
    let reader = reader();
    for number in 0..1000 {
        let sql = format!("SELECT a FROM acme.t WHERE id = {number}");
        assert!(reader.read_now(sql.as_bytes()).is_ok());
    }
    assert_eq!((reader.shapes.len(), reader.exact.len()), (1, 0));
    for _ in 0..3 {
        assert!(reader.read_now(b"SELECT a FROM acme.t WHERE id = 7777").is_ok());
    }
    assert_eq!((reader.shapes.len(), reader.exact.len()), (1, 1));
}
