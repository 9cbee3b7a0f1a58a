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
