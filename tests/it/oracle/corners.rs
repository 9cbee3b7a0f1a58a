//! Corners of the protocol that random conversations have found.

use super::Bench;

#[tokio::test]
async fn pipelines_that_set_the_path() {
    let bench = Bench::build("oracle_corner").await;
    let run = |sql: &str| format!("Parse - - {sql}\nBind - -\nExecute - 0\n");
    let pipeline = |texts: &[&str]| texts.iter().map(|sql| run(sql)).collect::<String>() + "Sync";
    let mut scripts = Vec::new();
    for texts in [
        &["SET search_path TO DEFAULT", "ROLLBACK"][..],
        &["SET search_path = pg_catalog", "END", "SELECT 1/0"],
        &["SET search_path = pg_catalog", "COMMIT AND CHAIN"],
        &[
            "SET default_transaction_read_only = 'on'",
            "ROLLBACK",
            "DISCARD ALL",
            "SELECT id FROM books",
        ],
        &["RESET ALL", "SET enable_seqscan = 'maybe'"],
        &["RESET ALL", "SELECT count(*) FROM authors"],
        &["SET search_path = pg_catalog", "BEGIN"],
        &["SET search_path = pg_catalog", "BEGIN", "SELECT 1", "ROLLBACK", "SHOW search_path"],
        &["SET search_path = pg_catalog", "SELECT 1/0"],
        &["BEGIN", "SET search_path = pg_catalog", "COMMIT", "SELECT 1/0"],
    ] {
        let pipeline = pipeline(texts);
        scripts.push(format!(
            "Query SET application_name = 'one'\n\n{pipeline}\n\nQuery SHOW search_path\n\n\
             Query ROLLBACK AND CHAIN\n\nQuery ROLLBACK\n\nQuery SHOW search_path\n\nQuery SHOW application_name"
        ));
    }
    scripts.push(
        "Query BEGIN\n\nQuery SAVEPOINT b\n\nQuery SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
            .to_owned(),
    );
    for ours in ["SET search_path = pg_catalog", "BEGIN", "RESET ALL", "DISCARD ALL"] {
        for (last, told) in [("SELECT 2", "T"), ("", "I")] {
            let (failing, ours) = (run("SELECT 1/0"), run(ours));
            scripts.push(format!(
                "{failing}Query SELECT 'in between'\n{ours}Sync\nQuery {last}\n<< {told}"
            ));
        }
    }
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Behind a failure all is passed over to the Sync, also what veneer would have answered or refused
/// itself; and what comes then is answered once.
#[tokio::test]
async fn what_is_passed_over_is_not_answered() {
    let bench = Bench::build("oracle_passed").await;
    let failures =
        ["Parse - - SELECT * FROM nowhere", "Parse - - SELECT 1/0\nBind - -\nExecute - 0"];
    let passed_over = [
        "Query selec 1",
        "Query ",
        "Query SELECT * FROM nobodys.books",
        "Query SET search_path = pg_catalog",
        "Parse s - selec 1",
        "Parse s - SELECT 1\nQuery SELECT 1\nDescribe S s\nClose S s",
        "Bind - nothing\nExecute - 0",
        "Query BEGIN\nQuery COMMIT",
    ];
    let mut scripts = Vec::new();
    for failure in failures {
        for passed in passed_over {
            scripts.push(format!("{failure}\n{passed}\nSync\nQuery SELECT 2\n<< T"));
            scripts.push(format!("Query BEGIN\n\n{failure}\n{passed}\nSync\nQuery ROLLBACK\n<< C"));
        }
    }
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn names_of_statements() {
    let bench = Bench::build("oracle_names").await;
    bench
        .check_all(&[
            "Parse s - SELECT 1\nSync\n\nQuery BEGIN\n\nQuery SELECT 1 / 0\n\nParse s - SELECT 2\nSync",
            "Parse s - SELECT 1\nSync\n\nQuery BEGIN\n\nQuery SELECT 1 / 0\n\nParse t - SELECT 1\nSync",
            "Parse s - begin read only\nSync\n\nQuery BEGIN\n\nQuery SELECT 1 / 0\n\nDescribe S s\nSync",
            "Parse - - SELECT * FROM nowhere\nParse b - SELECT 5\nSync\nBind - b\nExecute - 0\nSync",
            "Parse b - INSERT INTO authors VALUES (7, 'a')\nBind - nothing\nSync\nBind - b\nExecute - 0\nSync\n\n\
             Query SELECT count(*) FROM authors",
            "Parse b - SELECT 5\nSync\nBind - b\nExecute - 0\nSync\nDescribe S b\nSync\nClose S b\nSync\nBind - b\nSync",
            // What a name meant before its table changed is not what it means when it is parsed anew.
            "Query CREATE TYPE m AS ENUM ('sad', 'ok'); CREATE TABLE st (v m)\n\n\
             Parse s - INSERT INTO st VALUES ($1)\nDescribe S s\nBind - s ok\nExecute - 0\nSync\n\n\
             Close S s\nSync\n\nQuery DROP TABLE st\n\nQuery DROP TYPE m\n\n\
             Query CREATE TYPE m AS ENUM ('sad', 'ok', 'fine'); CREATE TABLE st (w int, v m)\n\n\
             Parse s - INSERT INTO st VALUES ($1)\nDescribe S s\nBind - s 3\nExecute - 0\nSync\n\n\
             Query DROP TABLE st; DROP TYPE m",
        ])
        .await;
}

#[tokio::test]
async fn portals_of_cursors_that_are_held() {
    let bench = Bench::build("oracle_held").await;
    let declare = "Query DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM authors ORDER BY id\n\n";
    let scripts = [
        format!(
            "{declare}Describe P c\nSync\n\nQuery FETCH FORWARD 2 FROM c\n\nQuery CLOSE c\n\nDescribe P c\nSync"
        ),
        format!("{declare}Execute c 1\nSync\n\nExecute c 0\nSync\n\nClose P c\nSync"),
        format!(
            "Query BEGIN\n\n{declare}Describe P c\nSync\n\nQuery COMMIT\n\nExecute c 0\nSync\n\nQuery CLOSE ALL"
        ),
        "Describe P c\nSync\n\nExecute c 0\nSync".to_owned(),
    ];
    bench.check_all(&scripts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// More than any buffer holds, each way.
#[tokio::test]
async fn long_texts_and_rows() {
    let bench = Bench::build("oracle_long").await;
    let long = "x".repeat(1 << 20);
    bench
        .check_all(&[
            &format!("Query SELECT '{long}';\n\nQuery SELECT 1"),
            &format!("Parse - - SELECT '{long}', $1\nBind - - {long}\nExecute - 0\nSync\n\nQuery SELECT 1"),
        ])
        .await;
}

/// Found by an attack on the session.
#[tokio::test]
async fn what_an_attack_found() {
    let bench = Bench::build("oracle_attack").await;
    bench
        .check_all(&[
            "Parse s - SELECT count(*) FROM books\nSync\n\nQuery BEGIN\n\nQuery SET LOCAL search_path = pg_catalog\n\n\
             Query SELECT 1\n\nQuery DEALLOCATE s\n\nQuery SELECT 2\n\nQuery COMMIT\n\nBind - s\nSync",
            "Parse s - SELECT count(*) FROM books\nSync\n\nQuery BEGIN\n\nQuery SET LOCAL search_path = pg_catalog\n\n\
             Query SELECT 1\n\nParse d - DEALLOCATE s\nDescribe S d\nBind - d\nDescribe P -\nExecute - 0\nSync\n\n\
             Query COMMIT\n\nBind - s\nSync\n\nBind - d\nExecute - 0\nSync",
            "Parse s - SELECT 1\nParse d - DEALLOCATE s\nParse - - SELECT 1/0\nBind - -\nExecute - 0\nBind - d\nExecute - 0\nSync\n\n\
             Bind - s\nExecute - 0\nSync",
            "Parse s - SELECT 1\nSync\n\nParse d - DEALLOCATE s\nParse - - SELECT 1/0\nBind - -\nExecute - 0\nBind - d\nExecute - 0\nSync\n\n\
             Bind - s\nExecute - 0\nSync",
            "Parse - - SELECT 5\nSync\n\nQuery SET search_path = pg_catalog\n\nBind - -\nExecute - 0\nSync",
            "Parse - - SELECT 5\nBind veneer_refused_a_statement -\nParse - - SELECT FROM WHERE\nSync\n\nQuery SELECT 1",
            "Query CREATE TABLE pg_mine (a int); INSERT INTO pg_mine VALUES (20001)\n\nQuery SELECT * FROM pg_mine WHERE a = 20001\n\n\
             Query DROP TABLE pg_mine",
        ])
        .await;
}
