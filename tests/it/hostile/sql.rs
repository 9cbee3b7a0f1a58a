//! SQL that is out to be read in two ways, to reach another shard, or to exhaust the parser.

use super::Victim;
use crate::support::message::{parse, query, sync};
use crate::support::served::Wanted;
use crate::support::transcript::Transcript;
use crate::support::wire::Until;

#[tokio::test]
async fn a_write_behind_a_read_on_another_shard() {
    let mut victim = Victim::new().await;
    let mut wire = victim.veneer.door("app").open().await;
    let told = wire.query("SELECT 1 FROM cyberdyne.books; DELETE FROM initech.books").await;
    assert!(told.starts_with("ErrorResponse S=ERROR V=ERROR C=0A000"), "{told}");
    assert!(wire.query("SELECT count(*) FROM initech.books").await.contains("DataRow 8"));
    victim.check_unhurt("two shards").await;
}

/// In these encodings a quote can hide in a character; without standard strings, behind a
/// backslash.
#[tokio::test]
async fn other_ways_to_read_a_text() {
    let mut victim = Victim::new().await;
    let mut values = Vec::new();
    for encoding in ["SJIS", "GBK", "BIG5", "LATIN1", "sql_ascii"] {
        values.push(("client_encoding", encoding));
    }
    for off in ["off", "false", "0", "no", "OFF", "of", "f", "n"] {
        values.push(("standard_conforming_strings", off));
    }
    for (setting, value) in values {
        let mut texts = vec![
            format!("SET {setting} = '{value}'"),
            format!("SET SESSION {setting} TO '{value}'"),
            format!("SET LOCAL {setting} TO '{value}'"),
            format!("SET \"{}\" TO '{value}'", setting.to_uppercase()),
            format!("SELECT set_config('{setting}', '{value}', false)"),
            format!("SELECT pg_catalog.set_config('{}', '{value}', true)", setting.to_uppercase()),
            format!("SELECT 1; SET {setting} = '{value}'; SELECT 2"),
            format!("SELECT upper(set_config('{setting}', lower('{value}'), false))"),
        ];
        if setting == "client_encoding" {
            texts.push(format!("SET NAMES '{value}'"));
        }
        for sql in texts {
            for transaction in [false, true] {
                let mut wire =
                    victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
                if transaction {
                    wire.play("Query BEGIN\n\nQuery SELECT count(*) FROM authors").await;
                }
                let told = wire.query(&sql).await;
                assert!(told.contains(" C=0A000 "), "{sql}: {told}");
                let told =
                    wire.play(&format!("Parse - - {sql}\nBind - -\nExecute - 0\nSync")).await;
                assert!(
                    told.contains(" C=0A000 ") || told.contains(" C=25P02 ") || sql.contains(';'),
                    "{sql}: {told}"
                );
            }
        }
        for call in
            ["SELECT set_config($1, $2, false)", "SELECT pg_catalog.set_config($1::text, $2, true)"]
        {
            let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
            let told = wire.play(&format!("Query BEGIN\n\nParse - - {call}\nBind - - {setting} {value}\nExecute - 0\nSync\n\nQuery SHOW {setting}")).await;
            assert!(
                !told.contains(&format!("DataRow {value}\nCommandComplete SHOW")),
                "{call}: {told}"
            );
            let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
            let call = call.replace("$1::text", "$1").replace("$1", &format!("'{setting}'"));
            let call = call.replace("$2", "$1");
            let told =
                wire.play(&format!("Parse - - {call}\nBind - - {value}\nExecute - 0\nSync")).await;
            assert!(told.contains(" C=0A000 "), "{call}: {told}");
        }
    }
    victim.check_unhurt("settings that change how texts are read").await;
}

/// Set where no parser can see it: the backend says so, and is given up.
#[tokio::test]
async fn other_ways_to_read_a_text_behind_the_parsers_back() {
    let mut victim = Victim::new().await;
    for (setting, value) in [("client_encoding", "SJIS"), ("standard_conforming_strings", "off")] {
        for sql in [
            format!("DO $$BEGIN PERFORM set_config('{setting}', '{value}', false); END$$"),
            format!("DO $$BEGIN EXECUTE 'SET {setting} = ''{value}'''; END$$"),
            format!("UPDATE pg_settings SET setting = '{value}' WHERE name = '{setting}'"),
        ] {
            for begin in ["SELECT 1", "BEGIN"] {
                let mut wire =
                    victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
                let told = wire
                    .play(&format!("Query {begin}\n\nQuery {sql}\n\nQuery SHOW {setting}"))
                    .await;
                assert!(
                    !told.contains(&format!("DataRow {value}\nCommandComplete SHOW")),
                    "{sql}: {told}"
                );
                drop(wire);
                victim.check_unhurt(&sql).await;
            }
        }
    }
}

/// In one pipeline the shard's report comes after the second text was sent. PostgreSQL prepares no
/// two statements at once, and after a Query the session ends with its backend.
#[tokio::test]
async fn a_pipeline_that_changes_how_it_is_read() {
    let mut victim = Victim::new().await;
    let hidden = "DO $$BEGIN PERFORM set_config('client_encoding', 'SJIS', false); END$$";
    let run = "Bind - -\nExecute - 0\n";
    for text in ["SELECT E'Á\\'', E'; SELECT 2 --'", "SELECT '\\'; SELECT 2 --'"] {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let told =
            wire.play(&format!("Parse - - {hidden}\n{run}Parse - - {text}\n{run}Sync")).await;
        assert!(!told.contains("DataRow 2"), "{told}");
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let told = wire.play(&format!("Query {hidden}\nQuery {text}")).await;
        assert!(told.ends_with("C=0A000 M=cannot change \"client_encoding\"\nclosed\n"), "{told}");
        victim.check_unhurt(text).await;
    }
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    let plain = "DO $$BEGIN NULL; END$$";
    let told = wire.play(&format!("Query {plain}\nQuery SELECT 'Á'\nParse - - {plain}\n{run}Parse - - SELECT 'Á'\n{run}Sync")).await;
    assert_eq!(told.matches("DataRow Á").count(), 2, "{told}");
    victim.check_unhurt("a call and a text in one pipeline").await;
}

#[tokio::test]
async fn texts_that_are_no_utf8() {
    let mut victim = Victim::new().await;
    for bytes in [
        &b"SELECT '\xff'"[..],
        b"\xc0\xaf",
        b"SELECT 1 -- \xed\xa0\x80",
        b"SELECT '\x83\x5c'; DELETE FROM books --'",
    ] {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        for bytes in [query(bytes), [parse("", bytes, &[]), sync()].concat()] {
            let mut told = Transcript::default();
            wire.talk(&bytes, Until::Ready(1), &mut told).await;
            let told = told.finish();
            assert!(
                told.contains("C=22021 M=invalid byte sequence for encoding \"UTF8\""),
                "{told}"
            );
        }
        assert!(wire.query("SELECT count(*) FROM authors").await.contains("DataRow 7"));
    }
    victim.check_unhurt("texts that are no UTF-8").await;
}

#[tokio::test]
async fn texts_that_exhaust_a_parser() {
    let wanted = Wanted::default().pool_size(1).config("limits: { parse_bytes_max: 4MiB }");
    let mut victim = Victim::of(wanted).await;
    let megabyte = 1 << 20;
    for (what, sql) in [
        ("1+1+…", format!("SELECT {}1", "1+".repeat(megabyte / 2))),
        ("(((…", format!("SELECT {}", "(".repeat(megabyte))),
        ("balanced", format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        ("[[[…", format!("SELECT ARRAY{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("NOT NOT…", format!("SELECT {}true", "NOT ".repeat(200_000))),
        ("- - -", format!("SELECT {}1", "- ".repeat(200_000))),
        ("UNION", format!("SELECT 1{}", " UNION SELECT 1".repeat(60_000))),
        ("comments", format!("{}SELECT 1", "/*".repeat(megabyte / 2))),
        ("comments that end", format!("{}{} SELECT 1", "/*".repeat(1000), "*/".repeat(1000))),
        ("operators", format!("SELECT 1 {} 1", "+".repeat(megabyte))),
        (
            "CASE",
            format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(20_000), " END".repeat(20_000)),
        ),
        ("subqueries", format!("SELECT {}1{}", "(SELECT ".repeat(50_000), ")".repeat(50_000))),
        ("casts", format!("SELECT 1{}", "::int".repeat(200_000))),
        ("||", format!("SELECT ''{}", "||''".repeat(250_000))),
        ("AND", format!("SELECT true{}", " AND (true OR false)".repeat(50_000))),
        ("5 MB", format!("SELECT '{}'", "x".repeat(5 << 20))),
    ] {
        let mut wire = victim.veneer.door("app").open().await;
        let told = wire.query(&sql).await;
        let accepted = ["C=54001", "C=42601", "C=53200", "CommandComplete"];
        assert!(accepted.iter().any(|code| told.contains(code)), "{what}: {told}");
        assert!(told.ends_with("ReadyForQuery I\n"), "{what}: {told}");
        victim.check_unhurt(what).await;
    }
}

#[tokio::test]
async fn texts_that_only_look_deep() {
    let mut victim = Victim::new().await;
    let joins: String = (1..60).map(|n| format!(" JOIN authors a{n} USING (id)")).collect();
    for (what, sql) in [
        (
            "60 joins",
            format!("SET join_collapse_limit = 1; SELECT count(*) FROM authors a0{joins}"),
        ),
        ("200 terms", format!("SELECT length(''{}) FROM authors LIMIT 1", "||'x'".repeat(200))),
        (
            "60 subqueries",
            format!("SELECT {}1{} FROM authors LIMIT 1", "(SELECT ".repeat(60), ")".repeat(60)),
        ),
        (
            "a long list",
            format!("SELECT count(*) FROM authors WHERE '1' IN ('0'{})", ",'2'".repeat(5_000)),
        ),
    ] {
        let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
        let told = wire.query(&sql).await;
        assert!(told.contains("CommandComplete SELECT 1"), "{what}: {told}");
        victim.check_unhurt(what).await;
    }
    // Beyond what is parsed, a scoped session goes by its tenant; another is refused.
    let long = format!("SELECT {} count(*) FROM authors", "1,".repeat(150_000));
    let mut wire = victim.veneer.door("app").open().await;
    assert!(wire.query(&long).await.contains("C=54001"));
    // The insides of literals do not count.
    let data = format!("SELECT length('{}'), count(*) FROM authors", "x".repeat(1_000_000));
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    assert!(wire.query(&data).await.contains("DataRow 1000000 | 7"));
    let hidden = format!("SELECT f('{} initech.authors') FROM authors", "x ".repeat(150_000));
    let told = wire.query(&hidden).await;
    assert!(told.contains("C=0A000") && told.contains("initech"), "{told}");
}

#[tokio::test]
async fn hints_in_comments() {
    let mut victim = Victim::new().await;
    let mut wire = victim.veneer.door("app").with("search_path", "cyberdyne").open().await;
    for hint in [
        "/* shard: shard3 */",
        "/* veneer.tenant = initech */",
        "/*+ shard(shard3) */",
        "-- search_path: initech\n",
        "/* pgdog_shard: 2 */",
        "/* sharding_key: initech */",
    ] {
        for sql in [
            format!("{hint} SELECT current_schema(), id FROM authors WHERE last_name = 'Lee'"),
            format!(
                "SELECT current_schema(), id FROM authors WHERE last_name = 'Lee' {}",
                hint.replace('\n', "")
            ),
        ] {
            let told = wire.query(&sql).await;
            assert!(told.contains("DataRow cyberdyne | "), "{sql}: {told}");
        }
    }
    victim.check_unhurt("hints").await;
}

#[tokio::test]
async fn names_as_postgresql_reads_them() {
    let long = "long_".repeat(13);
    let cut = &long[..63];
    let mut victim =
        Victim::of(Wanted::default().pool_size(1).tenant((cut, "shard3", "suspended"))).await;
    let mut wire = victim.veneer.door("app").open().await;
    for (name, code) in [
        (long.clone(), "57P03"),
        (format!("\"{long}\""), "57P03"),
        (long.to_uppercase(), "57P03"),
        (format!("\"{}\"", long.to_uppercase()), "3F000"),
        ("\"initech \"".to_owned(), "3F000"),
        ("U&\"initec\\0069\"".to_owned(), "3F000"),
        ("bookstore.initech".to_owned(), "DataRow 7"),
        ("other_database.initech".to_owned(), "0A000"),
    ] {
        let told = wire.query(&format!("SELECT count(*) FROM {name}.authors")).await;
        assert!(told.contains(code), "{name}: {told}");
    }
    victim.check_unhurt("names").await;
}
