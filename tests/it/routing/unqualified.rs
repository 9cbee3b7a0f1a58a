//! Names without a qualifier where no table shows them: they are the path's, too.

use crate::support::served::Veneer;

/// Each text on a session of its own, whose path selects a tenant on another shard than home; and
/// what it must be answered.
#[tokio::test]
async fn names_in_literals_are_the_paths() {
    let veneer = Veneer::start().await;
    let elsewhere = "C=0A000";
    for (texts, last) in [
        // The transaction is bound to home, and the path leads to shard 2.
        (
            &[
                "BEGIN",
                "SELECT count(*) FROM bluth_co.authors",
                "SET LOCAL search_path = cyberdyne",
            ][..],
            "SELECT nextval('tickets')",
        ),
        (
            &[
                "BEGIN",
                "SELECT count(*) FROM bluth_co.authors",
                "SET LOCAL search_path = cyberdyne",
            ],
            "SELECT 'authors'::regclass",
        ),
        (
            &["SET search_path = cyberdyne"],
            "INSERT INTO bluth_co.authors SELECT FROM nextval('tickets')",
        ),
        (&["SET search_path = cyberdyne"], "SELECT setval('initech.x', nextval('tickets'))"),
        (
            &[
                "SET search_path = bluth_co",
                "PREPARE q AS SELECT count(*) FROM authors",
                "EXECUTE q",
                "SET search_path = cyberdyne",
            ],
            "EXECUTE q",
        ),
    ] {
        let mut wire = veneer.door("app").open().await;
        for text in texts {
            let told = wire.query(text).await;
            assert!(!told.contains("ErrorResponse"), "{text}: {told}");
        }
        let told = wire.query(last).await;
        assert!(told.contains(elsewhere), "{texts:?}: {last}: {told}");
    }
    // The catalogue's own relations are everywhere.
    let mut wire = veneer.door("app").open().await;
    for text in
        ["BEGIN", "SELECT count(*) FROM bluth_co.authors", "SET LOCAL search_path = cyberdyne"]
    {
        wire.query(text).await;
    }
    let told = wire.query("SELECT 'pg_class'::regclass").await;
    assert!(told.contains("DataRow pg_class"), "{told}");
}

/// What a client calls by number is its own as much as what it says in SQL.
#[tokio::test]
async fn a_lock_by_function_call_is_kept() {
    let veneer = Veneer::start().await;
    let mut one = veneer.door("app").with("search_path", "initech").open().await;
    let mut two = veneer.door("app").with("search_path", "initech").open().await;
    // pg_advisory_lock(bigint)
    let told = one.play("Function 2880 7788").await;
    assert!(told.contains("FunctionCallResponse"), "{told}");
    assert!(one.query("SHOW veneer.pins").await.contains("shard3: advisory lock"));
    let told = two.query("SELECT pg_try_advisory_xact_lock(7788) FROM authors LIMIT 1").await;
    assert!(told.contains("DataRow f"), "{told}");
    drop(one);
}

/// What lives on one backend is not said again on another when a transaction moves.
#[tokio::test]
async fn names_of_a_backend_stay_with_it() {
    let veneer = crate::support::served::Wanted::default().pool_size(1).start().await;
    let mut victim = veneer.door("app").with("search_path", "initech").open().await;
    victim.play("Parse v - SELECT count(*) FROM authors\nBind - v\nExecute - 0\nSync").await;
    let mut wire = veneer.door("app").open().await;
    for script in ["BEGIN; PREPARE leak AS SELECT 'of c'", "BEGIN; SELECT 1; DEALLOCATE ALL"] {
        for text in script.split("; ").chain(["SELECT count(*) FROM initech.books", "ROLLBACK"]) {
            wire.query(text).await;
        }
        wire.query("DISCARD ALL").await;
        let told = victim.play("Bind - v\nExecute - 0\nSync").await;
        assert!(told.contains("DataRow 7"), "{script}: {told}");
        let told = victim.query("EXECUTE leak").await;
        assert!(told.contains("C=26000"), "{script}: {told}");
    }
}

/// A cursor WITH HOLD is found by its name, wherever the path has gone since.
#[tokio::test]
async fn cursors_are_found_where_they_are() {
    let veneer = Veneer::start().await;
    let mut wire = veneer.door("app").open().await;
    let declare = "CURSOR WITH HOLD FOR SELECT current_schema() FROM authors";
    for text in [
        "SET search_path = cyberdyne".to_owned(),
        format!("DECLARE a {declare}"),
        "SET search_path = initech".to_owned(),
        format!("DECLARE b {declare}"),
        "SET search_path = bluth_co".to_owned(),
    ] {
        wire.query(&text).await;
    }
    for (text, expected) in [
        ("FETCH 1 FROM a", "DataRow cyberdyne"),
        ("FETCH 1 FROM b", "DataRow initech"),
        ("CLOSE a", "CommandComplete CLOSE CURSOR"),
        ("FETCH 1 FROM a", "C=34000"),
        ("FETCH 1 FROM b", "DataRow initech"),
        ("CLOSE b", "CommandComplete CLOSE CURSOR"),
    ] {
        let told = wire.query(text).await;
        assert!(told.contains(expected), "{text}: {told}");
    }
    assert!(!wire.query("SHOW veneer.pins").await.contains("shard"));
}
