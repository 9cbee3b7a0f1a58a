//! The extended protocol, message by message.

use super::Bench;

#[tokio::test]
async fn statements_and_portals() {
    let bench = Bench::build("oracle_ext").await;
    bench.check_all(&[
        "Parse - - SELECT * FROM authors WHERE id = $1\nDescribe S -\nBind - - 1\nDescribe P -\nExecute - 0\nSync",
        "Parse - 23 SELECT $1 + 1\nBind - - 41\nDescribe P -\nExecute - 0\nSync",
        "Parse s - SELECT name FROM T.authors WHERE id = $1\nSync\n\nBind - s 1\nExecute - 0\nSync\n\n\
         Bind p s 2\nDescribe P p\nExecute p 0\nClose P p\nSync\n\nClose S s\nSync\n\nBind - s 1\nSync",
        "Parse s - SELECT 1\nParse s - SELECT 2\nSync\n\nBind - s\nExecute - 0\nSync",
        "Parse s - SELECT 1\nSync\n\nParse s - SELECT 2\nSync\n\nClose S s\nParse s - SELECT 3\nBind - s\nExecute - 0\nSync",
        "Bind - nothing\nSync", "Bind - -\nSync", "Execute nothing 0\nSync",
        "Describe S nothing\nSync", "Describe P nothing\nSync", "Describe S -\nSync",
        "Close S nothing\nClose P nothing\nSync",
        "Parse - - SELECT id FROM authors ORDER BY id\nBind p -\nExecute p 2\nExecute p 2\nExecute p 2\nSync",
        "Query BEGIN\n\nParse - - SELECT id FROM authors ORDER BY id\nBind p -\nExecute p 1\nSync\n\n\
         Execute p 1\nSync\n\nQuery SELECT 1\n\nExecute p 0\nSync\n\nQuery COMMIT\n\nExecute p 1\nSync",
        "Parse - - SELECT id FROM authors\nBind p -\nBind p -\nSync",
        "Parse - - SELECT generate_series(1, 10)\nBind - -\nExecute - 3\nFlush\n< s\n\nExecute - 3\nFlush\n< s\n\nExecute - 0\nSync",
        "Parse a - SELECT 1\nFlush\n< 1\n\nBind - a\nFlush\n< 2\n\nDescribe P -\nFlush\n< T\n\nExecute - 0\nFlush\n< C\n\nSync",
        "Parse - - SELECT 1 / 0\nBind - -\nExecute - 0\nFlush\n< E\n\nParse - - SELECT 2\nFlush\nSync\n\nQuery SELECT 3",
        "Parse - -  \nBind - -\nDescribe P -\nExecute - 0\nSync",
        "Parse - - -- nothing\nDescribe S -\nBind - -\nExecute - 0\nSync",
        "Parse - - SELECT 1; SELECT 2\nBind - -\nExecute - 0\nSync",
        "Parse - - SELECT FROM WHERE\nBind - -\nExecute - 0\nSync\n\nQuery SELECT 1",
        "Parse - - SELECT * FROM nowhere\nBind - -\nExecute - 0\nSync",
        "Parse - - SELECT $1::int, $2::text\nBind - - NULL NULL\nExecute - 0\nSync",
        "Parse - - SELECT $1::int, $2::text\nBind - - 1\nExecute - 0\nSync",
        "Parse - - SELECT $1::int\nBind - - x\nExecute - 0\nSync",
        "Parse - - SELECT $1::int4, $2::int8, $3::bool, $4::bytea\nBind - - #00000007 #0000000000000007 #01 #00ff =b\nDescribe P -\nExecute - 0\nSync",
        "Parse - - SELECT id, name, mood FROM authors ORDER BY id\nBind - - =b\nExecute - 0\nSync",
        "Parse - - SELECT $1::mood\nDescribe S -\nBind - - happy\nExecute - 0\nSync",
        "Parse - - SELECT nextval($1), nextval($2::regclass)\nBind - - tickets T.tickets\nExecute - 0\nSync",
        "Parse - - INSERT INTO books (author_id, title) VALUES ($1, $2) RETURNING id\nBind - - 3 Delta\nDescribe P -\nExecute - 0\nSync\n\nQuery SELECT count(*) FROM books",
        "Parse - - CREATE TEMP TABLE t AS SELECT 1\nBind - -\nExecute - 0\nSync\n\nQuery SELECT * FROM t",
        "Parse - - SELECT warn()\nBind - -\nExecute - 0\nSync",
    ]).await;
}

#[tokio::test]
async fn pipelines() {
    let bench = Bench::build("oracle_pipe").await;
    let insert = "Parse - - INSERT INTO authors VALUES ($1, $2)";
    let mut long = String::from("Parse s - SELECT $1::int + 1\n");
    for number in 0..100 {
        long.push_str(&format!("Bind - s {number}\nExecute - 0\n"));
        if number % 7 == 0 {
            long.push_str("Sync\n");
        }
        if number % 20 == 3 {
            long.push_str("Bind - s x\nExecute - 0\nBind - s 1\nExecute - 0\nSync\n");
        }
    }
    long.push_str("Sync\nQuery SELECT 'end'");
    let scripts = [
        format!("{insert}\nBind - - 7 a\nExecute - 0\nBind - - 7 b\nExecute - 0\nBind - - 8 c\nExecute - 0\nSync\n\nQuery SELECT count(*) FROM authors"),
        format!("{insert}\nBind - - 7 a\nExecute - 0\nSync\nBind - - 7 b\nExecute - 0\nSync\nBind - - 8 c\nExecute - 0\nSync\n\nQuery SELECT count(*) FROM authors"),
        format!("{insert}\nBind - - 7 a\nExecute - 0\nQuery SELECT count(*) FROM authors\nSync\nQuery SELECT 1 / 0\nQuery SELECT 2\nSync"),
        "Query SELECT 1\nQuery SELECT 1 / 0\nQuery SELECT 3\nQuery\nQuery SELECT 4".to_owned(),
        "Query BEGIN\nQuery SELECT count(*) FROM authors\nQuery SELECT 1 / 0\nQuery SELECT 3\nQuery COMMIT\nQuery SELECT 4".to_owned(),
        "Query BEGIN\nParse - - SELECT 1 / 0\nBind - -\nExecute - 0\nParse - - SELECT 2\nSync\nQuery SELECT 3\nQuery ROLLBACK".to_owned(),
        "Parse b - BEGIN\nBind - b\nExecute - 0\nParse - - SELECT count(*) FROM authors\nBind - -\nExecute - 0\nParse c - COMMIT\nBind - c\nExecute - 0\nSync".to_owned(),
        "Parse b - BEGIN\nBind - b\nExecute - 0\nSync\n\nParse - - SELECT 1\nBind - -\nExecute - 0\nSync\n\nParse - - ROLLBACK\nBind - -\nDescribe P -\nExecute - 0\nSync".to_owned(),
        "Parse - - SET search_path = T2\nBind - -\nExecute - 0\nParse - - SELECT current_schema(), count(*) FROM books\nBind - -\nExecute - 0\nSync\n\nQuery SHOW search_path".to_owned(),
        "Parse - - SELECT count(*) FROM authors\nBind - -\nExecute - 0\nParse - - SET search_path = T2\nBind - -\nExecute - 0\nParse - - SELECT 1 / 0\nBind - -\nExecute - 0\nSync\n\nQuery SHOW search_path".to_owned(),
        "Parse s - SELECT 1\nBind - s\nExecute - 0\nParse - - SELECT FROM WHERE\nSync\n\nBind - s\nExecute - 0\nSync".to_owned(),
        "Parse - - SELECT 1 / 0\nBind - -\nExecute - 0\nParse s - SELECT 1\nSync\n\nBind - s\nExecute - 0\nSync".to_owned(),
        "Parse s - SELECT 1 FROM nowhere\nSync\n\nParse s - SELECT 1\nBind - s\nExecute - 0\nSync".to_owned(),
        // What a later round has prepared stands, whatever an earlier one had to give up.
        "Parse - - SELECT 1 / 0\nBind - -\nExecute - 0\nParse - - SELECT 2\nSync\nParse - - SELECT 3\nSync\n\nBind - -\nExecute - 0\nSync".to_owned(),
        "Parse - - SELECT 1 / 0\nBind - -\nExecute - 0\nParse s - SELECT 9\nSync\nParse t - SELECT 9\nBind - t\nExecute - 0\nSync\n\nBind - t\nExecute - 0\nSync".to_owned(),
        "Parse - - SELECT 1 / 0\nBind - -\nExecute - 0\nParse s - SELECT 9\nSync\nParse s - SELECT 9\nBind - s\nExecute - 0\nSync\n\nBind - s\nExecute - 0\nSync".to_owned(),
        "Sync\nSync\n\nSync".to_owned(),
        "Parse s - SELECT 5\nSync\nSync\nBind - s\nSync\nExecute - 0\nSync".to_owned(),
        "Parse - - DISCARD ALL\nBind - -\nExecute - 0\nSync\n\nQuery SELECT 1".to_owned(),
        "Parse s - SELECT 5\nSync\n\nQuery DEALLOCATE s\n\nBind - s\nSync\n\nParse s - SELECT 6\nBind - s\nExecute - 0\nSync".to_owned(),
        "Parse s - SELECT 5\nSync\n\nQuery DEALLOCATE ALL\n\nBind - s\nSync".to_owned(),
        "Parse s - SELECT 5\nSync\n\nQuery DISCARD ALL\n\nBind - s\nSync".to_owned(),
        "Query BEGIN\n\nQuery DECLARE c CURSOR FOR SELECT id FROM authors ORDER BY id\n\nExecute c 1\nSync\n\nDescribe P c\nClose P c\nSync\n\nQuery FETCH 1 FROM c\n\nQuery COMMIT".to_owned(),
        "Function 1600 7".to_owned(),
        "Function 177 3 4\n\nFunction 99999999\n\nQuery BEGIN\n\nFunction 177 3 x\n\nQuery COMMIT".to_owned(),
        long,
    ];
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// A statement that was prepared before the path moved routes, and resolves, anew.
#[tokio::test]
async fn prepared_statements_follow_the_path() {
    let bench = Bench::build("oracle_prep").await;
    let mut scripts = Vec::new();
    let prepare = "Parse s - SELECT current_schema(), count(*) FROM books\nSync\n\n";
    let run = "Bind - s\nDescribe P -\nExecute - 0\nSync\n\n";
    for way in ["SET search_path = T2", "SELECT set_config('search_path', 'T2', false)"] {
        scripts.push(format!("{prepare}{run}Query DELETE FROM books WHERE id = 1\n\n{run}Query {way}\n\n{run}Query RESET search_path\n\n{run}"));
        scripts.push(format!(
            "{prepare}{run}Query BEGIN\n\nQuery {way}\n\n{run}Query ROLLBACK\n\n{run}"
        ));
    }
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}
