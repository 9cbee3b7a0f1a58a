//! Statements in the simple protocol: results, errors with all their fields, notices, transactions.

use super::Bench;

#[tokio::test]
async fn reads_and_writes() {
    let bench = Bench::build("oracle_rows").await;
    bench
        .check_queries(&[
            "SELECT * FROM authors ORDER BY id",
            "SELECT * FROM T.authors ORDER BY id",
            "SELECT a.name, b.title FROM authors a JOIN books b ON b.author_id = a.id ORDER BY 2",
            "SELECT a.name, b.title FROM T.authors a JOIN T2.books b ON b.author_id = a.id ORDER BY 2",
            "SELECT a.name, b.title FROM authors a LEFT JOIN T2.books b ON b.author_id = a.id ORDER BY 1, 2",
            "WITH a AS (SELECT * FROM authors) SELECT count(*) FROM a",
            "SELECT * FROM titles ORDER BY 1",
            "INSERT INTO books (author_id, title) VALUES (3, 'Delta') RETURNING *
             INSERT INTO T.books (author_id) VALUES (3) RETURNING id, title, added
             SELECT count(*) FROM books",
            "INSERT INTO authors VALUES (1, 'Zoe') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING *
             INSERT INTO authors VALUES (1, 'Zoe') ON CONFLICT DO NOTHING
             SELECT * FROM authors ORDER BY id",
            "INSERT INTO authors DEFAULT VALUES",
            "INSERT INTO books (id, author_id) VALUES (7, 1)
             INSERT INTO books (id, author_id) OVERRIDING SYSTEM VALUE VALUES (7, 1) RETURNING id",
            "SELECT mood, 'sad'::mood < mood FROM authors ORDER BY mood
             SELECT 'glad'::mood
             SELECT enum_range(NULL::T.mood)
             UPDATE authors SET mood = 'happy' WHERE id = 1 RETURNING mood",
            "SELECT currval('tickets')
             SELECT nextval('tickets'), nextval('T.tickets'::regclass)
             SELECT currval('tickets'), lastval()
             SELECT setval('tickets', 40)
             SELECT nextval('tickets')",
            "BEGIN
             SELECT nextval('tickets'), nextval('T.tickets'::regclass)
             SELECT currval('tickets'), lastval()
             COMMIT",
            "SELECT setval(pg_get_serial_sequence('books', 'id'), 99)
             INSERT INTO books (author_id) VALUES (1) RETURNING id",
            "SELECT f(1), T.f(2), T2.f(3)",
            "SELECT * FROM f(41)
             CALL stamp(7)
             SELECT pages FROM books ORDER BY id",
            "MERGE INTO authors a USING (VALUES (1, 'One'), (9, 'Nine')) v (id, name) ON a.id = v.id \
             WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.name)
             SELECT * FROM authors ORDER BY id",
            "DELETE FROM books USING authors a WHERE a.id = author_id AND a.name = 'Ann' RETURNING title",
            "BEGIN
             LOCK TABLE authors IN SHARE MODE
             SELECT * FROM authors ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
             SELECT mode FROM pg_locks WHERE relation = 'authors'::regclass ORDER BY 1
             COMMIT",
            "LOCK TABLE authors",
            "EXPLAIN (COSTS OFF) SELECT * FROM authors WHERE id = 1
             EXPLAIN (COSTS OFF, FORMAT JSON) SELECT count(*) FROM T.authors
             EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF) DELETE FROM books
             SELECT count(*) FROM books",
            "TABLE authors",
            "VALUES (1, 'x'), (2, NULL)",
            "SELECT 1 AS \"Mixed Case\", NULL::int, ''::text, E'tab\\t'",
            "SELECT current_database(), current_schema(), current_user, session_user",
            "SELECT current_schemas(true)",
            "SELECT relname FROM pg_class WHERE oid = 'authors'::regclass",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'T' ORDER BY 1",
        ])
        .await;
}

#[tokio::test]
async fn errors_with_all_their_fields() {
    let bench = Bench::build("oracle_errors").await;
    bench
        .check_queries(&[
            "SELECT FROM WHERE",
            "SELEC 1",
            "SELECT * FROM T.authors WHERE (",
            "SELECT 'open",
            "SELECT 1 1 1",
            "SELECT /* open",
            "SELECT \"\"",
            "SELECT $1",
            "SELECT * FROM nowhere",
            "SELECT * FROM T.nowhere",
            "SELECT nothing FROM authors",
            "SELECT authors.nothing FROM T.authors",
            "SELECT nofunction(1)
             SELECT T.nofunction(1)",
            "SELECT 1 / 0",
            "SELECT id / 0 FROM authors",
            "INSERT INTO authors VALUES (1, 'x')",
            "INSERT INTO authors VALUES (4, 'Ann')",
            "INSERT INTO books (author_id) VALUES (99)",
            "DELETE FROM authors WHERE id = 1",
            "INSERT INTO books (author_id, pages) VALUES (1, 0)",
            "INSERT INTO authors VALUES (5, NULL)",
            "INSERT INTO authors VALUES (5, 'x', 'glad')",
            "SELECT complain('of me')",
            "SELECT T.complain('of me')",
            "SELECT warn()",
            "DO $$BEGIN RAISE NOTICE 'n'; RAISE EXCEPTION 'e' USING DETAIL = 'd', HINT = 'h'; END$$",
            "SELECT 'x'::int",
            "SELECT '2025-02-30'::date",
            "CREATE TABLE mine ()",
            "DROP TABLE authors",
            "SELECT * FROM pg_authid",
            "SELECT 1 WHERE 1 = 'a'",
            "SELECT sum(id) FROM authors GROUP BY nothing",
            "SELECT * FROM authors a, authors a",
            "SET nothing = 1",
            "SET statement_timeout = 'soon'",
            "SHOW nothing",
            "COPY nowhere TO STDOUT",
            "FETCH 1 FROM nowhere",
            "EXECUTE nothing",
            "DEALLOCATE nothing",
            "VACUUM authors",
            "SELECT chr(0)",
            "CALL nothing()",
            "RAISE",
        ])
        .await;
}

#[tokio::test]
async fn many_statements_in_one_message() {
    let bench = Bench::build("oracle_many").await;
    bench
        .check_queries(&[
            "",
            ";",
            " ;; -- nothing",
            "/* only a comment */",
            "SELECT 1; SELECT 2",
            "SELECT 1;; SELECT 2;",
            "SELECT count(*) FROM authors; SELECT 1 / 0; SELECT 3",
            "INSERT INTO authors VALUES (7, 'Seven'); INSERT INTO authors VALUES (7, 'Again')
             SELECT count(*) FROM authors",
            "INSERT INTO authors VALUES (7, 'Seven'); SELECT syntax error
             SELECT count(*) FROM authors",
            "BEGIN; INSERT INTO authors VALUES (7, 'Seven'); COMMIT; SELECT 1 / 0
             SELECT count(*) FROM authors",
            "INSERT INTO authors VALUES (7, 'Seven'); COMMIT; SELECT 1 / 0
             SELECT count(*) FROM authors",
            "INSERT INTO authors VALUES (7, 'Seven'); BEGIN; INSERT INTO authors VALUES (8, 'Eight')
             ROLLBACK
             SELECT count(*) FROM authors",
            "BEGIN; SELECT 1 / 0; COMMIT
             SELECT 1
             ROLLBACK; SELECT 2",
            "BEGIN; SELECT 1; ROLLBACK; SELECT 2",
            "BEGIN; SAVEPOINT a; SELECT 1 / 0
             ROLLBACK TO a; SELECT count(*) FROM authors; COMMIT",
            "SET search_path = 'T'; SELECT count(*) FROM authors; SHOW search_path",
            "SET search_path = T2; SELECT current_schema(); SELECT 1 / 0
             SHOW search_path",
            "SET LOCAL search_path = T2; SELECT current_schema()
             SHOW search_path",
            "SELECT count(*) FROM authors; SELECT count(*) FROM T2.books",
        ])
        .await;
}

#[tokio::test]
async fn transactions() {
    let bench = Bench::build("oracle_xacts").await;
    bench
        .check_queries(&[
            "BEGIN
             COMMIT",
            "START TRANSACTION
             ROLLBACK",
            "begin transaction isolation level serializable, read only, deferrable
             SHOW transaction_isolation
             SHOW transaction_read_only
             SELECT count(*) FROM authors
             INSERT INTO authors VALUES (7, 'x')
             END",
            "BEGIN
             BEGIN
             SELECT 1
             BEGIN
             COMMIT
             COMMIT
             ROLLBACK",
            "BEGIN
             SELECT 1 / 0
             SELECT 1
             INSERT INTO authors VALUES (7, 'x')
             BEGIN
             COMMIT
             SELECT count(*) FROM authors",
            "BEGIN
             SELECT * FROM nowhere
             ROLLBACK AND CHAIN
             SELECT 2
             ROLLBACK",
            "BEGIN
             INSERT INTO authors VALUES (7, 'x')
             COMMIT AND CHAIN
             INSERT INTO authors VALUES (8, 'y')
             ROLLBACK
             SELECT id FROM authors ORDER BY id",
            "COMMIT
             ROLLBACK
             COMMIT AND CHAIN
             SAVEPOINT a
             ROLLBACK TO a
             RELEASE a
             END",
            "BEGIN
             SAVEPOINT a
             INSERT INTO authors VALUES (7, 'x')
             SAVEPOINT b
             SELECT 1 / 0
             SELECT 1
             ROLLBACK TO b
             SELECT count(*) FROM authors
             RELEASE a
             ROLLBACK TO b
             ROLLBACK
             SELECT count(*) FROM authors",
            "BEGIN
             SAVEPOINT a
             ROLLBACK TO a
             RELEASE SAVEPOINT a
             RELEASE a
             COMMIT",
            "BEGIN
             ROLLBACK TO SAVEPOINT nothing
             COMMIT",
            "BEGIN
             SET TRANSACTION ISOLATION LEVEL REPEATABLE READ
             SHOW transaction_isolation
             SET TRANSACTION ISOLATION LEVEL READ COMMITTED
             COMMIT
             SHOW transaction_isolation",
            "SET TRANSACTION READ ONLY
             SELECT count(*) FROM authors",
            "BEGIN
             SELECT FROM WHERE
             SELECT 1
             ROLLBACK",
            "BEGIN READ ONLY
             UPDATE books SET pages = 1
             COMMIT",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
             INSERT INTO authors VALUES (7, 'x')
             SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE
             INSERT INTO authors VALUES (7, 'x')",
            "BEGIN
             DECLARE c CURSOR FOR SELECT id FROM authors ORDER BY id
             FETCH 2 FROM c
             MOVE 1 FROM c
             FETCH ALL FROM c
             CLOSE c
             FETCH 1 FROM c
             COMMIT",
            "DECLARE c CURSOR FOR SELECT 1",
            "DECLARE h CURSOR WITH HOLD FOR SELECT id FROM authors ORDER BY id
             FETCH 1 FROM h
             FETCH 5 FROM h
             CLOSE h",
            "PREPARE p (int) AS SELECT name FROM authors WHERE id = $1
             EXECUTE p(1)
             EXECUTE p(1, 2)
             EXECUTE p('x')
             PREPARE p AS SELECT 1
             DEALLOCATE p
             EXECUTE p(1)",
            "PREPARE p AS SELECT count(*) FROM authors
             BEGIN
             EXECUTE p
             COMMIT
             DEALLOCATE ALL
             EXECUTE p",
            "CREATE TEMP TABLE t (a int) ON COMMIT PRESERVE ROWS
             INSERT INTO t VALUES (1)
             SELECT * FROM t
             DROP TABLE t
             SELECT * FROM t",
            "SELECT pg_advisory_lock(7001), pg_try_advisory_lock(7001)
             SELECT pg_advisory_unlock(7001)
             SELECT pg_advisory_unlock(7001)
             SELECT pg_advisory_unlock(7001)",
            "LISTEN oracle
             NOTIFY oracle, 'hello'
             UNLISTEN oracle",
        ])
        .await;
}

/// As the owner of the schemas.
#[tokio::test]
async fn definitions() {
    let bench = Bench::build("oracle_ddl").await;
    let scripts = [
        "CREATE TABLE made (id int PRIMARY KEY)
         CREATE TABLE made (id int)
         CREATE TABLE IF NOT EXISTS made (id int)
         ALTER TABLE made ADD COLUMN note text DEFAULT 'x'
         INSERT INTO made VALUES (1) RETURNING *
         CREATE INDEX ON T.made (note)
         COMMENT ON TABLE made IS 'made here'
         GRANT SELECT ON T.made TO PUBLIC
         TRUNCATE made
         DROP TABLE made
         DROP TABLE IF EXISTS made",
        "BEGIN
         CREATE TABLE T.made (id int)
         INSERT INTO T.made VALUES (1)
         ROLLBACK
         SELECT * FROM made",
        "CREATE TYPE T.kind AS ENUM ('a')
         ALTER TYPE kind ADD VALUE 'b'
         SELECT 'b'::kind::text
         DROP TYPE kind",
        "ANALYZE authors
         VACUUM authors
         REINDEX TABLE T.authors",
    ];
    let scripts: Vec<String> = scripts.iter().map(|script| super::as_queries(script)).collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    bench.check_as("admin", "oracle_ddl", &scripts).await;
    bench.check_as("admin", "oracle_ddl, public", &scripts).await;
}
