//! Pipelines of any depth, cut anywhere, with errors anywhere.

use super::Bench;
use crate::support::message::{self, sync};
use crate::support::random::Random;
use crate::support::script;
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::{Door, Until};

/// As many pieces as it has bytes is one of the ways to cut a conversation.
const CUTS: usize = 12;

/// Plays bytes on both sides and compares the answers up to the `ReadyForQuery` after an
/// EmptyQueryResponse, with which each script ends.
async fn compare(bench: &Bench, what: &str, bytes: &[u8]) {
    let mut told = Vec::new();
    for door in [bench.straight("app"), bench.veneer.door("app")] {
        bench.reset().await;
        let mut wire = door.with("search_path", &bench.tenants[0]).open().await;
        let mut transcript = Transcript::default();
        let bytes = [bytes, &message::query("")].concat();
        wire.talk(&bytes, Until::ReadyAfter(b'I'), &mut transcript).await;
        transcript.line(&wire.query("SELECT count(*), sum(pages) FROM books").await);
        told.push(unnamed(&super::masked(&transcript.finish())));
    }
    assert!(told[0] == told[1], "{what}:\n{}", super::side_by_side(&told[0], &told[1]));
    bench.veneer.assert_alive();
}

/// An error that quotes a statement's name quotes the one that it has on the backend.
fn unnamed(told: &str) -> String {
    let line = |line: &str| match line.split_once("but prepared statement \"") {
        Some((before, after)) => {
            let after = after.split_once('"').map_or("", |(_, after)| after);
            format!("{before}but prepared statement \"…\"{after}\n")
        }
        None => format!("{line}\n"),
    };
    told.lines().map(line).collect()
}

fn bytes(script: &str) -> Vec<u8> {
    script::segments(script).remove(0).bytes
}

#[tokio::test]
async fn any_depth() {
    let bench = Bench::build("pipes_deep").await;
    let read = "Parse - 23 SELECT name FROM authors WHERE id = $1\nBind - - 2\nDescribe P -\nExecute - 0\n";
    let write = "Parse - - UPDATE books SET pages = coalesce(pages, 0) + 1 WHERE id = 1\nBind - -\nExecute - 0\n";
    let prepared = "Bind - s 3\nExecute - 1\n";
    let fails = "Parse - - SELECT 1 / (SELECT 0)\nBind - -\nExecute - 0\n";
    for depth in [1, 10, 1000] {
        let kinds = [
            ("reads", read.repeat(depth) + "Sync"),
            ("reads, each with its Sync", format!("{read}Sync\n").repeat(depth)),
            ("writes", write.repeat(depth) + "Sync"),
            ("one statement", format!("Parse s 23 SELECT $1 + 1\n{}Sync", prepared.repeat(depth))),
            ("writes, then an error", format!("{}{fails}{}Sync", write.repeat(depth), read.repeat(depth))),
            ("an error each time", format!("{write}{fails}{read}Sync\n").repeat(depth)),
            ("queries", "Query SELECT count(*) FROM authors\n".repeat(depth)),
            ("queries that fail", "Query UPDATE books SET pages = 1; SELECT 1 / 0\n".repeat(depth)),
            (
                "both protocols",
                format!("{read}Query SELECT 1\n{write}Sync\nQuery SELECT 2; SELECT 1 / 0\n{fails}Query SELECT 3\nSync\n").repeat(depth),
            ),
            (
                "transactions",
                format!("Query BEGIN\n{write}Sync\n{fails}Sync\n{read}Sync\nQuery ROLLBACK\n").repeat(depth),
            ),
            ("a SET each time", format!("Query SET search_path = pipes_deep\n{read}Sync\n").repeat(depth)),
            ("a BEGIN each time", format!("Query BEGIN\n{read}Sync\nQuery COMMIT\n").repeat(depth)),
            ("flushes", format!("{read}Flush\n").repeat(depth) + "Sync"),
        ];
        for (what, script) in kinds {
            compare(&bench, &format!("{what}, {depth} deep"), &bytes(&script)).await;
        }
    }
}

/// An error in each place of a pipeline, of each kind of message.
#[tokio::test]
async fn an_error_anywhere() {
    let bench = Bench::build("pipes_errors").await;
    let parts = [
        "Parse a 23 SELECT name FROM authors WHERE id = $1",
        "Bind p a 1",
        "Describe P p",
        "Execute p 0",
        "Parse b - INSERT INTO books (author_id, title) VALUES (2, 'New') RETURNING title",
        "Bind - b",
        "Execute - 0",
        "Close S a",
        "Close P p",
        "Flush",
        "Query SELECT 'between'",
        "Bind q b",
        "Sync",
        "Describe S b",
        "Bind - b",
        "Execute - 1",
        "Query SELECT count(*) FROM books",
    ];
    let errors = [
        "Parse - - SELECT FROM WHERE",
        "Parse - - SELECT * FROM nowhere",
        "Parse - - SELECT 1; SELECT 2",
        "Parse b - SELECT 1",
        "Bind - nothing",
        "Bind - a x",
        "Bind - a 1 2",
        "Bind p a 3",
        "Execute nothing 0",
        "Describe S nothing",
        "Describe P nothing",
        "Query SELECT 1 / 0",
        "Query SELECT FROM WHERE",
        "Function 99999999",
    ];
    for (number, error) in errors.iter().enumerate() {
        // In each place there are errors of half of the kinds.
        for place in (number % 2..=parts.len()).step_by(2) {
            let mut script = parts.to_vec();
            script.insert(place, error);
            script.push("Sync");
            compare(&bench, &format!("{error} at {place}"), &bytes(&script.join("\n"))).await;
        }
    }
}

/// The rows of a portal in pieces, among other work.
#[tokio::test]
async fn portals_in_pieces() {
    let bench = Bench::build("pipes_pieces").await;
    let rows = "Parse - - SELECT n, repeat('x', n) FROM generate_series(1, 7) n\nBind p -\n";
    let other = "Parse - - SELECT count(*) FROM authors\nBind - -\nExecute - 0\n";
    bench
        .check_all(&[
            &format!("{rows}Execute p 3\n{other}Execute p 3\nExecute p 3\nExecute p 3\nSync\n\nExecute p 1\nSync"),
            &format!("Query BEGIN\n\n{rows}Execute p 3\nSync\n\n{other}Sync\n\nExecute p 3\nFlush\n< s\n\nExecute p 0\nFlush\n< C\n\nClose P p\nSync\n\nExecute p 1\nSync\n\nQuery ROLLBACK"),
            &format!("Query BEGIN\n\n{rows}Execute p 2\nSync\n\nQuery SAVEPOINT a\n\nQuery SELECT 1 / 0\n\nQuery ROLLBACK TO a\n\nExecute p 2\nSync\n\nQuery COMMIT"),
            &format!("{rows}Execute p 7\nExecute p 1\nSync"),
            &format!("{rows}Execute p 2\nQuery SELECT 1\nExecute p 2\nSync"),
            "Parse - - UPDATE books SET pages = 1 RETURNING id\nBind p -\nExecute p 1\nExecute p 1\nSync\n\nQuery SELECT count(*) FROM books WHERE pages = 1",
            "Parse - - FETCH 2 FROM nothing\nBind p -\nExecute p 1\nSync",
            "Parse - - SHOW ALL\nBind p -\nExecute p 2\nClose P p\nSync",
            "Parse s - SELECT generate_series(1, 5)\nBind p s\nBind q s\nExecute p 2\nExecute q 3\nExecute p 2\nExecute q 3\nClose S s\nExecute p 2\nSync",
            "Query BEGIN\n\nParse s - SELECT generate_series(1, 5)\nBind p s\nExecute p 2\nSync\n\nQuery DEALLOCATE ALL\n\nExecute p 2\nSync\n\nQuery COMMIT",
        ])
        .await;
}

/// However a conversation is cut on its way, byte by byte or at random, the answers are the same.
#[tokio::test]
async fn any_cut() {
    let bench = Bench::build_with("pipes_cut", super::SHARD, Wanted::default().pool_size(1)).await;
    let script = "Parse s 23 SELECT name FROM authors WHERE id = $1\nBind - s 1\nDescribe P -\nExecute - 0\nSync\n\
        Query SET search_path = pipes_cut_b\nBind - s 2\nExecute - 0\nSync\nQuery BEGIN\n\
        Query UPDATE books SET pages = 3; SELECT count(*) FROM books WHERE pages = 3\nBind - s x\nExecute - 0\nSync\n\
        Query SELECT 1\nQuery ROLLBACK\nParse - - SELECT generate_series(1, 9)\nBind p -\nExecute p 4\nFlush\nExecute p 9\nSync\n\
        Query COPY authors TO STDOUT\nQuery COPY authors (id, name) FROM STDIN\nCopyData 7\\tSeven\\n\nCopyDone\n\
        Query SELECT 1 / 0\nFunction 1600 7\nClose S s\nSync";
    let bytes = [bytes(script), message::query("")].concat();
    let mut random = Random::new(9);
    let mut expected: Option<String> = None;
    for cut in 0..CUTS {
        let pieces: Vec<&[u8]> = match cut {
            0 => vec![&bytes],
            1 => bytes.chunks(1).collect(),
            2 => bytes.chunks(5).collect(),
            _ => {
                let mut ends: Vec<usize> = (0..20).map(|_| random.below(bytes.len())).collect();
                ends.extend([0, bytes.len()]);
                ends.sort_unstable();
                ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
            }
        };
        let doors: &[Door] = &[bench.straight("app"), bench.veneer.door("app")];
        for door in &doors[usize::from(cut != 0)..] {
            bench.reset().await;
            let mut wire = door.clone().with("search_path", "pipes_cut").open().await;
            let mut told = Transcript::default();
            for piece in &pieces[..pieces.len() - 1] {
                wire.send(piece).await;
                tokio::task::yield_now().await;
            }
            let last = pieces[pieces.len() - 1];
            wire.talk(last, Until::ReadyAfter(b'I'), &mut told).await;
            let told = super::masked(&told.finish());
            let expected = expected.get_or_insert_with(|| told.clone());
            assert!(*expected == told, "cut {cut}:\n{}", super::side_by_side(expected, &told));
        }
    }
}

/// 100 batches in one segment, errors and both protocols among them, as PostgreSQL answers them.
#[tokio::test]
async fn batches_in_one_segment() {
    let bench = Bench::build("pipes_batches").await;
    let mut random = Random::new(10);
    for round in 0..10 {
        let mut script = String::new();
        for _ in 0..100 {
            script.push_str(random.pick(&[
                "Parse - - SELECT 1 FROM authors LIMIT 1\nBind - -\nExecute - 0\nSync\n",
                "Query SELECT 1 / 0\n",
                "Parse - - SELECT FROM WHERE\nBind - -\nExecute - 0\nSync\n",
                "Parse - - SELECT $1::int\nBind - - x\nExecute - 0\nQuery SELECT 1\nSync\n",
                "Query SELECT count(*) FROM authors\nSync\n",
                "Query BEGIN\nQuery SELECT 1 / 0\nQuery SELECT 2\nQuery COMMIT\n",
                "Parse s - SELECT 5\nBind - s\nExecute - 0\nClose S s\nSync\n",
                "Parse - - SELECT 6\nBind - -\nFlush\nExecute - 0\nFlush\n",
                "Query SELECT 7\n",
                "Query SET search_path = pipes_batches\n",
                "CopyData stray\nCopyDone\n",
            ]));
        }
        compare(&bench, &format!("round {round}"), &[bytes(&script), sync()].concat()).await;
    }
}
