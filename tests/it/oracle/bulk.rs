//! COPY, and messages larger than any buffer.

use super::Bench;
use crate::support::message::{bind, execute, parse, query, sync};
use crate::support::transcript::Transcript;
use crate::support::wire::Until;

#[tokio::test]
async fn copies() {
    let bench = Bench::build("oracle_copy").await;
    let load = "COPY authors (id, name) FROM STDIN";
    let count = "Query SELECT count(*) FROM authors";
    let extended = format!("Parse - - {load}\nBind - -\nDescribe P -\nExecute - 0\n");
    let good = "CopyData 7\\tSeven\\n8\\tEi\nCopyData ght\\n";
    let scripts = [
        "Query COPY authors TO STDOUT\n\nQuery COPY (SELECT name FROM T.authors ORDER BY 1) TO STDOUT (FORMAT csv, HEADER)".to_owned(),
        "Query COPY T.authors (id) TO STDOUT (FORMAT binary); SELECT 1".to_owned(),
        format!("Query {load}\n\n{good}\nCopyDone\n\n{count}"),
        format!("Query {load}\n{good}\nCopyDone\n{count}"),
        format!("Query {load}\n\nCopyData 7\\tSeven\\nCopyData x\\n\nCopyDone\n\n{count}"),
        format!("Query {load}\n\nCopyData 7\\tSeven\\nx\\ty\\n\nCopyData 8\\tEight\\n\nCopyDone\n\n{count}"),
        format!("Query {load}\n\nCopyData 7\\tSeven\\n\nCopyFail changed my mind\n\n{count}"),
        format!("Query {load}\n\nCopyData 1\\tAgain\\n\nCopyDone\n\n{count}"),
        format!("Query {load}\n\nCopyDone\n\n{count}"),
        format!("Query BEGIN\n\nQuery {load}\n\n{good}\nCopyFail no\n\nQuery SELECT 1\n\nQuery COMMIT\n\n{count}"),
        format!("Query BEGIN\n\nQuery {load}\n\n{good}\nCopyDone\n\nQuery ROLLBACK\n\n{count}"),
        format!("Query SELECT 1; {load}; SELECT 2\n\n{good}\nCopyDone\n\n{count}"),
        format!("Query COPY T.authors (id, name) FROM STDIN (FORMAT csv)\n\nCopyData 7,Seven\\n\nCopyDone\n\n{count}"),
        format!("{extended}Sync\n\n{good}\nCopyDone\nSync\n\n{count}"),
        format!("{extended}Flush\n< G\n\n{good}\nCopyDone\nSync\n\n{count}"),
        format!("{extended}Sync\n\nCopyData bad\\n\nCopyDone\nSync\n\n{count}"),
        format!("{extended}Sync\n\n{good}\nCopyFail no\nSync\n\n{count}"),
        "Parse - - COPY authors TO STDOUT\nBind - -\nDescribe P -\nExecute - 0\nSync".to_owned(),
        format!("CopyData stray\nCopyDone\nCopyFail stray\n{count}\n\n{count}"),
        format!("Query {load}\n\nCopyData 7\\tSeven\\n\nCopyFail no\nCopyData 8\\tEight\\n\nCopyDone\n{count}"),
        "Query COPY authors FROM '/etc/passwd'\n\nQuery COPY authors TO PROGRAM 'true'".to_owned(),
        "Query COPY nowhere FROM STDIN".to_owned(),
    ];
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn large_messages() {
    let bench = Bench::build("oracle_bulk").await;
    let five_mb = vec![b'v'; 5 << 20];
    let long_text = format!("SELECT '{}'", "x".repeat(100_000));
    let echo = [
        parse("", "SELECT length($1), md5($1), $1", &[25]),
        bind("", "", &[], &[Some(five_mb)], &[]),
        execute("", 0),
        sync(),
    ]
    .concat();
    let asked = [
        ("a row of 3 MB", query("SELECT repeat('x', 3 << 20), count(*) FROM authors")),
        (
            "200,000 rows",
            query("SELECT n, md5(n::text) FROM generate_series(1, 200000) n, authors WHERE id = 1"),
        ),
        ("a bound value of 5 MB", echo),
        ("a text of 100 kB", query(&long_text)),
        ("rows, then an error", query("SELECT 1 / (50000 - n) FROM generate_series(1, 60000) n")),
        ("COPY TO of 200,000 rows", query("COPY (SELECT generate_series(1, 200000)) TO STDOUT")),
    ];
    for (what, bytes) in asked {
        let mut told = Vec::new();
        for door in [bench.straight("app"), bench.veneer.door("app")] {
            let mut wire = door.with("search_path", "oracle_bulk").open().await;
            let mut transcript = Transcript::default();
            wire.talk(&bytes, Until::Ready(1), &mut transcript).await;
            told.push(transcript.finish());
        }
        assert!(told[0] == told[1], "{what}:\n{}", super::side_by_side(&told[0], &told[1]));
    }
}

/// COPY IN of 20 MB in pieces of odd sizes.
#[tokio::test]
async fn a_large_copy_in() {
    let bench = Bench::build("oracle_load").await;
    let rows: Vec<u8> =
        (0..400_000).flat_map(|n| format!("{}\tauthor {n}\n", n + 100).into_bytes()).collect();
    let mut told = Vec::new();
    for door in [bench.straight("app"), bench.veneer.door("app")] {
        bench.reset().await;
        let mut wire = door.with("search_path", "oracle_load").open().await;
        let mut transcript = Transcript::default();
        let load = query("COPY authors (id, name) FROM STDIN");
        wire.talk(&load, Until::Ready(1), &mut transcript).await;
        let mut data: Vec<u8> = rows
            .chunks(70_001)
            .flat_map(|chunk| crate::support::message::message(b'd', chunk))
            .collect();
        data.extend(crate::support::message::message(b'c', b""));
        wire.talk(&data, Until::Ready(1), &mut transcript).await;
        transcript.line(&wire.query("SELECT count(*), sum(id) FROM authors").await);
        told.push(transcript.finish());
    }
    assert_eq!(told[0], told[1]);
    bench.reset().await;
}
