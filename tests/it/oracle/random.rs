//! Random conversations of two clients that share one backend, each as on a PostgreSQL of its own.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Bench, masked, side_by_side};
use crate::support::random::Random;
use crate::support::served::Wanted;
use crate::support::wire::{Door, Wire};

const CONVERSATIONS: u64 = 120;
const STEPS: usize = 45;

/// One more conversation begins with the number in this variable.
const SEED: &str = "VENEER_TEST_SEED";

/// There all that belongs to no tenant is, too, and one PostgreSQL is like the other.
const HOME: usize = 1;

const FAILURES_TOLD_MAX: usize = 3;

/// What one of the two says up to an answer.
#[derive(Debug, Clone)]
struct Step {
    client: usize,
    script: String,
    /// The backend is the client's own from here on.
    pins: bool,
}

/// SQL and the values of its parameters.
struct Said {
    sql: String,
    values: Vec<String>,
}

const SETTINGS: &[(&str, &[&str])] = &[
    ("search_path", &["@own", "@other", "@other, @own", "", "pg_catalog", "\"$user\", @own"]),
    ("search_path", &["@own", "@other"]),
    ("work_mem", &["1MB", "2MB", "7000", "64kB", "soon"]),
    ("timezone", &["UTC", "Asia/Tokyo", "Europe/Paris", "Nowhere/Land"]),
    ("datestyle", &["ISO, MDY", "German", "SQL, DMY", "ISO", "Never"]),
    ("intervalstyle", &["postgres", "iso_8601", "sql_standard"]),
    ("application_name", &["one", "zwei", ""]),
    ("client_encoding", &["UTF8", "utf-8"]),
    ("statement_timeout", &["0", "50s", "1min"]),
    ("lock_timeout", &["0", "5s"]),
    ("extra_float_digits", &["0", "1", "-3", "9"]),
    ("bytea_output", &["hex", "escape"]),
    ("client_min_messages", &["notice", "warning", "error"]),
    ("default_transaction_isolation", &["read committed", "serializable", "repeatable read"]),
    ("default_transaction_read_only", &["on", "off"]),
    ("enable_seqscan", &["on", "off", "maybe"]),
    ("my.N", &["x", "y", "it''s"]),
    ("log_statement", &["all"]),
    ("server_version", &["1"]),
    ("nothing", &["1"]),
];

const READS: &[&str] = &[
    "SELECT 1",
    "SELECT 'x', NULL",
    "SELECT current_schema()",
    "SELECT current_schemas(false)",
    "SELECT count(*) FROM authors",
    "SELECT name FROM authors ORDER BY id",
    "SELECT id, title FROM books ORDER BY id",
    "SELECT count(*) FROM @own.books",
    "SELECT count(*) FROM @other.authors",
    "SELECT a.name, b.title FROM @own.authors a JOIN @other.books b ON a.id = b.author_id ORDER BY 2",
    "SELECT '2025-06-01 12:00+00'::timestamptz",
    "SELECT '2025-06-01'::date, '26 hours 3 days'::interval",
    "SELECT 0.1::float8 + 0.2, '\\x00ff'::bytea",
    "SELECT current_user, session_user",
    "SELECT f(1)",
    "SELECT @other.f(2)",
    "SELECT warn()",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "SELECT n FROM generate_series(1, 5) n",
    "VALUES (1), (2)",
    "SELECT 'authors'::regclass::text",
    "SELECT nextval('tickets')",
    "EXPLAIN (COSTS OFF) SELECT * FROM authors WHERE id = 1",
    "TABLE titles",
];

const WRITES: &[&str] = &[
    "INSERT INTO books (author_id, title) VALUES (3, 'Delta') RETURNING id",
    "INSERT INTO @own.books (author_id, title) VALUES (2, 'Eta')",
    "UPDATE books SET pages = 5 WHERE id = 1",
    "DELETE FROM books WHERE id = 2",
    "UPDATE @other.books SET pages = pages + 1",
    "CALL stamp(7)",
    "SELECT setval('tickets', 40)",
    "SELECT id FROM authors WHERE id = 1 FOR UPDATE",
];

const FAILURES: &[&str] = &[
    "SELECT 1 / 0",
    "SELECT FROM WHERE",
    "SELECT * FROM @own.nowhere",
    "SELECT complain('x')",
    "INSERT INTO authors VALUES (1, 'again')",
    "SELECT 'x'::int",
    "SET",
    "SELECT 'open",
];

const TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "begin read only",
    "COMMIT",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT a",
    "SAVEPOINT a",
    "SAVEPOINT b",
    "ROLLBACK TO a",
    "ROLLBACK TO SAVEPOINT b",
    "RELEASE a",
    "RELEASE SAVEPOINT b",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET TRANSACTION READ ONLY",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
];

const CLEANINGS: &[&str] =
    &["RESET ALL", "DISCARD ALL", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP"];

/// In texts that bring the path from the start back.
const RESETS: &[&str] = &["RESET ", "DEFAULT", "DISCARD ALL"];

/// Kept by the backend until the session ends, as far as veneer knows.
const PINS: &[&str] = &[
    "PREPARE q AS SELECT count(*) FROM authors",
    "EXECUTE q",
    "DEALLOCATE q",
    "DEALLOCATE ALL",
    "CREATE TEMP TABLE t AS SELECT 5 AS a",
    "SELECT a FROM t",
    "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM authors ORDER BY id",
    "FETCH 1 FROM c",
    "CLOSE c",
];

fn set(random: &mut Random) -> Said {
    let (name, values) = random.pick(SETTINGS);
    let value = (random.pick(values)).to_owned();
    let local = if random.one_in(3) { "true" } else { "false" };
    // A path is a list; other values are one text.
    let is_list = name == "search_path" && !value.is_empty();
    let literal = if is_list { value.clone() } else { format!("'{value}'") };
    let bound = value.replace("''", "'");
    let (sql, values) = match random.below(14) {
        0..=3 => (format!("SET {name} = {literal}"), vec![]),
        4 | 5 => (format!("SET LOCAL {name} TO {literal}"), vec![]),
        6 => (format!("SET SESSION {name} TO {literal}"), vec![]),
        7 => (format!("SET {name} TO DEFAULT"), vec![]),
        8 => (format!("RESET {name}"), vec![]),
        9 => (format!("SET LOCAL {name} TO DEFAULT"), vec![]),
        10 => (format!("SELECT set_config('{name}', '{value}', {local})"), vec![]),
        11 => (format!("SELECT set_config('{name}', $1, {local})"), vec![bound]),
        12 => (format!("SELECT set_config('{name}', $1, $2)"), vec![bound, local.to_owned()]),
        _ => {
            let sql = "SELECT pg_catalog.set_config($1, $2, $3)".to_owned();
            (sql, vec![name.to_owned(), bound, local.to_owned()])
        }
    };
    Said { sql, values }
}

fn said(random: &mut Random) -> Said {
    let plain = |sql: &str| Said { sql: sql.to_owned(), values: Vec::new() };
    match random.below(100) {
        0..30 => set(random),
        30..36 => plain(&format!("SHOW {}", random.pick(SETTINGS).0)),
        36..48 => plain(&format!("SELECT current_setting('{}', true)", random.pick(SETTINGS).0)),
        48..72 => plain(random.pick(TRANSACTIONS)),
        72..86 => plain(random.pick(READS)),
        86..90 => plain(random.pick(WRITES)),
        90..95 => plain(random.pick(FAILURES)),
        95..98 => plain(random.pick(CLEANINGS)),
        _ => plain(random.pick(PINS)),
    }
}

fn bound(values: &[String]) -> String {
    let words = values.iter().map(|value| match value.as_str() {
        "" => " #".to_owned(),
        value => format!(" {}", value.replace(' ', "\\_")),
    });
    words.collect()
}

fn execution(random: &mut Random, said: &Said) -> String {
    let Said { sql, values } = said;
    let describe = if random.one_in(2) { "Describe P -\n" } else { "" };
    let flush = if random.one_in(6) { "Flush\n" } else { "" };
    let rows = if random.one_in(8) { 1 } else { 0 };
    format!("Parse - - {sql}\nBind - -{}\n{describe}Execute - {rows}\n{flush}", bound(values))
}

fn script(random: &mut Random, has_path: bool) -> String {
    loop {
        let script = any_script(random);
        if !is_known(&script, has_path) {
            return script;
        }
    }
}

fn is_known(_script: &str, _has_path: bool) -> bool {
    false
}

fn any_script(random: &mut Random) -> String {
    let mut text = String::new();
    match random.below(100) {
        0..40 => {
            let said = said(random);
            if said.values.is_empty() {
                return format!("Query {}", said.sql);
            }
            text = execution(random, &said);
        }
        40..50 => {
            let count = 2 + random.below(3);
            let mut texts: Vec<String> = std::iter::repeat_with(|| said(random))
                .filter(|said| said.values.is_empty())
                .map(|said| said.sql)
                .take(count)
                .collect();
            // Refused when a use of the path follows in the same text.
            let resets = |sql: &String| RESETS.iter().any(|word| sql.contains(word));
            if let Some(index) = texts.iter().position(resets) {
                texts.truncate(index + 1);
            }
            return format!("Query {}", texts.join("; "));
        }
        50..65 => {
            let said = said(random);
            text = execution(random, &said);
        }
        65..80 => {
            for _ in 0..2 + random.below(4) {
                let said = said(random);
                text.push_str(&execution(random, &said));
                match random.below(12) {
                    0 => text.push_str("Sync\n"),
                    1 => text.push_str("Query SELECT 'in between'\n"),
                    _ => {}
                }
            }
            // After an error a Query is passed over, so nobody can count its answers.
            return text + "Sync\nQuery\n<< I";
        }
        _ => {
            // Executed later, by a name, or never.
            let name = random.pick(&["s", "t"]);
            text = match random.below(6) {
                0 | 1 => {
                    let sql = loop {
                        let said = said(random);
                        if said.values.is_empty() {
                            break said.sql;
                        }
                    };
                    format!("Close S {name}\nParse {name} - {sql}\n")
                }
                // The name may be taken. Were the text wrong, too, each side would say the other.
                5 => {
                    format!("Parse {name} - {}\n", random.pick(&["SELECT 1", "BEGIN", "ROLLBACK"]))
                }
                2 => format!("Describe S {name}\nBind - {name}\nDescribe P -\n"),
                3 => format!("Bind - {name}\nExecute - 0\n"),
                _ => format!("Close S {name}\nClose P nothing\n"),
            };
        }
    }
    text + "Sync"
}

/// Each has a path from its start, or none.
fn has_path(seed: u64, client: usize) -> bool {
    seed >> client & 1 == 1
}

fn conversation(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut client = 0;
    let step = |_| {
        if random.one_in(3) {
            client = 1 - client;
        }
        let script = script(&mut random, has_path(seed, client));
        let pins = ["PREPARE", "TEMP TABLE", "WITH HOLD"].iter().any(|word| script.contains(word));
        Step { client, script, pins }
    };
    (0..STEPS).map(step).collect()
}

impl Step {
    /// `run` makes names of settings that nobody has heard of yet.
    fn script(&self, tenants: &[String; 2], run: usize) -> String {
        let (own, other) = (&tenants[self.client], &tenants[1 - self.client]);
        let setting = format!("my.n{run}_{}", self.client);
        self.script.replace("@own", own).replace("@other", other).replace("my.N", &setting)
    }
}

/// One of the two, with its session.
struct Talker {
    wire: Wire,
    told: String,
    pinned: bool,
}

/// Plays the steps in their order; gives what each of the two was told. While one needs the
/// backend, the other says nothing.
async fn play(bench: &Bench, doors: &[Door; 2], steps: &[Step], run: usize) -> [String; 2] {
    bench.reset().await;
    let (one, two) = (doors[0].open(), doors[1].open());
    let talker = |wire: Wire| Talker { wire, told: String::new(), pinned: false };
    let mut talkers = [talker(one.await), talker(two.await)];
    let mut busy = None;
    for step in steps {
        if busy.is_some_and(|busy| busy != step.client) {
            continue;
        }
        let talker = &mut talkers[step.client];
        let told = talker.wire.play(&step.script(&bench.tenants, run)).await;
        talker.told.push_str(&masked(&told));
        talker.pinned |= step.pins;
        if told.ends_with("closed\n") {
            break;
        }
        let is_free = told.ends_with("ReadyForQuery I\n") && !talker.pinned;
        busy = (!is_free).then_some(step.client);
    }
    talkers.map(|talker| talker.told)
}

/// How the two sides differ, if they do.
async fn difference(bench: &Bench, steps: &[Step], seed: u64) -> Option<String> {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let with_path = |door: Door| {
        [0, 1].map(|client| match has_path(seed, client) {
            false => door.clone(),
            true => door.clone().with("search_path", &bench.tenants[client]),
        })
    };
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let straight = play(bench, &with_path(bench.straight("app")), steps, run).await;
    let through = play(bench, &with_path(bench.veneer.door("app")), steps, run).await;
    let pairs = straight.iter().zip(&through);
    let told = pairs.enumerate().filter(|(_, (straight, through))| straight != through);
    let told = told.map(|(client, (straight, through))| {
        format!("client {client}:\n{}", side_by_side(straight, through))
    });
    let told: String = told.collect();
    (!told.is_empty()).then_some(told)
}

/// The failure with all steps left out that it does not need.
async fn shrunk(bench: &Bench, steps: &[Step], seed: u64, told: String) -> String {
    let (mut steps, mut told) = (steps.to_vec(), told);
    let mut at = steps.len();
    while let Some(index) = at.checked_sub(1) {
        at = index;
        let mut fewer = steps.clone();
        fewer.remove(index);
        if let Some(still) = difference(bench, &fewer, seed).await {
            (steps, told) = (fewer, still);
        }
    }
    let mut text = format!("── conversation {seed}, paths at the start {:02b}\n", seed & 3);
    for Step { client, script, .. } in &steps {
        let _ = writeln!(text, "{client}: {}", script.replace('\n', "\n   "));
    }
    text + &told
}

#[tokio::test]
async fn conversations() {
    let bench = Bench::build_with("oracle_random", HOME, Wanted::default().pool_size(1)).await;
    let more = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a number"));
    let mut failures = Vec::new();
    for seed in (0..CONVERSATIONS).chain(more) {
        let steps = conversation(seed);
        if let Some(told) = difference(&bench, &steps, seed).await {
            failures.push(shrunk(&bench, &steps, seed, told).await);
        }
        if FAILURES_TOLD_MAX <= failures.len() {
            break;
        }
    }
    assert!(failures.is_empty(), "- PostgreSQL, + veneer\n{}", failures.join("\n"));
}
