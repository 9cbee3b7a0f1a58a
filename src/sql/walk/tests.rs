//! Statements and the facts they must give.

use std::fmt::Write as _;

use crate::sql::{
    About, Access, Act, Change, Frees, Keep, NameKind, Reader, Settings, Statement, Text, Value,
};

fn read(sql: &str) -> Text {
    match Reader::new(&Settings::default()).read_now(sql.as_bytes()) {
        Ok(text) => text.as_ref().clone(),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// `read acme:r bolt:o ?core path cat unknown`: names with their kinds, then what is true.
fn print(statement: &Statement) -> String {
    let mut out = match statement.access {
        Access::Nothing => "nothing".to_owned(),
        Access::Read => "read".to_owned(),
        Access::Write => "write".to_owned(),
        Access::Define => "define".to_owned(),
        Access::Lifecycle => "lifecycle".to_owned(),
        Access::Shared(command) => format!("shared({command})"),
    };
    for name in &statement.names {
        let _ = match name.kind {
            NameKind::Relation => write!(out, " {}", name.schema),
            NameKind::Other => write!(out, " {}:other", name.schema),
            NameKind::Perhaps => write!(out, " {}?", name.schema),
        };
    }
    for parameter in &statement.parameters {
        let _ = write!(out, " ${}", parameter.number);
    }
    let catalogue = statement.catalogue.as_ref();
    let about = |about| catalogue.is_some_and(|asks| asks.about == about);
    let marks = [
        (statement.unqualified, "path"),
        (about(About::Objects), "catalogue"),
        (about(About::Schemas), "schemas"),
        (catalogue.is_some_and(|asks| asks.numbers), "numbers"),
        (catalogue.is_some_and(|asks| !asks.number_parameters.is_empty()), "$numbers"),
    ];
    for (_, mark) in marks.iter().filter(|(on, _)| *on) {
        let _ = write!(out, " +{mark}");
    }
    for change in &statement.set_configs {
        let _ = write!(out, " {}", print_change(change));
    }
    if statement.leaves.unknown {
        out.push_str(" !unknown");
    }
    for keep in statement.leaves.keeps.iter() {
        let _ = write!(out, " !{keep:?}");
    }
    match &statement.act {
        Act::None => {}
        Act::Set(change) => {
            let _ = write!(out, " {}", print_change(change));
        }
        act => {
            let _ = write!(out, " {act:?}");
        }
    }
    out
}

fn print_change(change: &Change) -> String {
    let local = if change.local { "local " } else { "" };
    let value = match &change.value {
        Value::Text(text) => format!("<{text}>"),
        Value::Parameter(number) => format!("${number}"),
        other => format!("{other:?}"),
    };
    let bound = change.local_bound.map(|number| format!(" local=${number}")).unwrap_or_default();
    format!("{local}{}={value}{bound}", change.setting)
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    let printed: Vec<_> = read(sql).statements.iter().map(print).collect();
    assert_eq!(printed.join(" | "), expected, "{sql}");
}

#[test]
fn plain_statements() {
    check("", "");
    check(" ; -- nothing", "");
    check("SELECT 1", "nothing");
    check("VALUES (1, 'a.b')", "nothing");
    check("SELECT version(), now(), current_database(), $1::int", "nothing");
    check("SELECT count(*) FROM t", "read +path");
    check("SELECT * FROM acme.t", "read acme");
    check("SELECT * FROM \"My Tenant\".t JOIN public.plans USING (id)", "read My Tenant public");
    check("SELECT * FROM db.acme.t", "read acme");
    check("TABLE acme.t", "read acme");
    check("SELECT acme.t.c, acme.t.* FROM acme.t", "read acme? acme");
    check("SELECT t.c FROM acme.t", "read acme");
    check("SELECT * FROM acme.t, bolt.t", "read acme bolt");
    check("SELECT * FROM t WHERE x IN (SELECT y FROM acme.u)", "read acme +path");
    check("SELECT * FROM acme.t FOR UPDATE OF t", "write acme");
    check("INSERT INTO acme.t VALUES (1, 'bolt.t')", "write acme");
    check(
        "INSERT INTO t SELECT * FROM acme.u RETURNING bolt.f(id)",
        "write acme bolt:other +path !unknown",
    );
    check("UPDATE pg_settings SET setting = 'x'", "write +catalogue search_path=Unknown !unknown");
    check("UPDATE acme.t SET a = 1 FROM bolt.u WHERE u.id = t.id", "write acme bolt");
    check("DELETE FROM acme.t USING bolt.u", "write acme bolt");
    check(
        "MERGE INTO acme.t USING bolt.u ON t.id = u.id WHEN MATCHED THEN DELETE",
        "write acme bolt",
    );
    check("SELECT 1; DELETE FROM bolt.t", "nothing | write bolt");
    check("TRUNCATE acme.t, u", "write acme +path");
    check("LOCK TABLE acme.t", "write acme");
    check("SELECT * FROM U&\"\\0061cme\".t", "read acme");
    check("SELECT * FROM ACME.t", "read acme");
}

#[test]
fn common_table_expressions() {
    check("WITH a AS (SELECT 1) SELECT * FROM a", "read");
    check("WITH a AS (SELECT * FROM a) SELECT * FROM a", "read +path");
    check("WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) SELECT * FROM a", "read");
    check("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", "read");
    check("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "read +path");
    check("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", "read +path");
    check("WITH a AS (SELECT 1) INSERT INTO a SELECT * FROM a", "write +path");
    check("WITH a AS (DELETE FROM acme.t RETURNING *) SELECT * FROM a", "write acme");
    check("WITH a AS (SELECT 1) SELECT * FROM acme.a", "read acme");
}

#[test]
fn names_in_expressions() {
    check("SELECT CAST('acme.t' AS regclass), regclass 'bolt.t'", "read acme? bolt? +catalogue");
    check("SELECT 'Acme.T'::regclass, '\"Acme\".t'::regclass", "read acme? Acme? +catalogue");
    check("SELECT 'acme.t'::region", "nothing");
    check("SELECT a.b.c.d FROM t", "read b? a? +path");
    check("SELECT * FROM json_table(j, '$' COLUMNS (a acme.t PATH '$.a')) x", "read acme:other");
    check(
        "SELECT * FROM XMLTABLE('/a' PASSING acme.f() COLUMNS a int PATH 'b') x",
        "write acme:other !unknown",
    );
    check(
        "SELECT * FROM ROWS FROM (acme.f(1), generate_series(1, 2)) AS t",
        "write acme:other !unknown",
    );
    check(
        "SELECT sum(x) FILTER (WHERE acme.f(x)) OVER (PARTITION BY bolt.g(x)) FROM t",
        "write acme:other bolt:other +path !unknown",
    );
    check(
        "UPDATE t SET (a, b) = (SELECT acme.f(1), 2) WHERE CURRENT OF c",
        "write acme:other +path !unknown",
    );
    check(
        "INSERT INTO acme.t VALUES (1) ON CONFLICT (id) DO UPDATE SET a = bolt.f() WHERE core.g()",
        "write acme bolt:other core:other !unknown",
    );
    check("SELECT 'x'::acme.mood", "read acme:other");
    check("SELECT 'acme.t'::regclass", "read acme? +catalogue");
    check("SELECT '\"My T\".t'::regclass", "read My T? +catalogue");
    check("SELECT 'Acme'::regnamespace", "read acme? +schemas");
    check("SELECT $1::regclass", "read $1 +catalogue +$numbers");
    check("SELECT nextval('acme.s')", "write acme?");
    check("SELECT nextval($2)", "write $2");
    check("SELECT currval('acme.s')", "read acme?");
    check(
        "SELECT setval(pg_get_serial_sequence('\"acme\".\"t\"', 'id'), 1)",
        "write acme? +catalogue",
    );
    check("SELECT to_regclass('acme.t')", "read acme? +catalogue");
    check("SELECT lower('acme.t')", "nothing");
    check("SELECT pg_notify('acme.t', 'bolt.u')", "write");
    check("SELECT acme.f(1)", "write acme:other !unknown");
    check("SELECT f('acme')", "write acme? !unknown");
    check("SELECT query_to_xml('select * from acme.t', true, true, '')", "write acme? !unknown");
    check("SELECT 1 OPERATOR(acme.+) 2", "write acme:other !unknown");
    check("SELECT a COLLATE acme.c FROM bolt.t", "read acme:other bolt");
    check("SELECT * FROM t ORDER BY a USING OPERATOR(acme.<)", "write acme:other +path !unknown");
    check("SELECT * FROM acme.f(1) x", "write acme:other !unknown");
    check("SELECT * FROM t TABLESAMPLE acme.m (1)", "read acme:other +path");
    check("SELECT pg_advisory_lock(1)", "write !AdvisoryLock");
    check("SELECT pg_advisory_xact_lock(1)", "write");
    check("SELECT setseed(0.5)", "write !Seed");
    check("SELECT dblink('dbname=x', 'select 1 from acme.t')", "write acme? !unknown");
}

#[test]
fn catalogue_queries() {
    check(
        "SELECT * FROM pg_tables WHERE (schemaname, tablename) IN (('acme', 't'))",
        "read acme? t? +catalogue",
    );
    check("SELECT oid FROM pg_type WHERE typname = 'acme'", "read +catalogue");
    check("SELECT * FROM pg_class", "read +catalogue");
    check("SELECT * FROM pg_catalog.pg_class c, acme.t", "read acme");
    check(
        "SELECT * FROM information_schema.tables WHERE table_schema = 'acme'",
        "read acme? +catalogue",
    );
    check("SELECT 1 FROM t WHERE a = 'acme' AND tableoid = 'bolt.t'::regclass", "read bolt? +path");
    check("SELECT pg_table_is_visible(1)", "read +catalogue");
    check("SELECT has_table_privilege('acme.t', 'select')", "read acme? +catalogue");
    check("SELECT has_table_privilege('joe', 'acme.t', 'select')", "read acme? +catalogue");
    check("SELECT has_column_privilege('acme.t', 'c', 'select')", "read acme? +catalogue");
    check("SELECT has_schema_privilege('acme', 'usage')", "read acme? +schemas");
    check("SELECT obj_description(1, 'acme')", "read +schemas");
    check("SELECT * FROM users WHERE name = 'acme'", "read +path");
    // What only looks like a tenant.
    for column in ["relname", "lower(c.relname)", "typname::text", "table_name", "description"] {
        let catalogue = "SELECT 1 FROM pg_catalog.pg_class c, pg_description d WHERE";
        let expected =
            if column == "description" { "read acme? +catalogue" } else { "read +catalogue" };
        check(&format!("{catalogue} {column} = 'acme'"), expected);
    }
    check("SELECT 'acme'::regrole", "read +schemas");
    check("SELECT 'acme'::regclass", "read +catalogue");
    check("SELECT 1 FROM pg_class WHERE 'acme' = current_schema()", "read +catalogue");
    check("SELECT 1 FROM pg_class, pg_namespace n WHERE n.nspname <> 'acme'", "read +catalogue");
    check(
        "SELECT 1 FROM pg_class, pg_namespace n WHERE NOT (n.nspname = 'acme' OR nspname = 'b')",
        "read +catalogue",
    );
    check("SELECT 1 FROM pg_tables WHERE NOT schemaname <> 'acme'", "read acme? +catalogue");
    check("SELECT 1 FROM pg_tables WHERE NOT schemaname = ANY ('{acme}')", "read +catalogue");
    check("SELECT 1 FROM pg_tables WHERE schemaname IS DISTINCT FROM 'acme'", "read +catalogue");
    check(
        "SELECT 1 FROM pg_statistic_ext WHERE stxnamespace::regnamespace::text ~ '^(acme)$'",
        "read acme? +catalogue",
    );
    check(
        "SELECT NOT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'acme')",
        "read acme? +catalogue",
    );
    check(
        "SELECT 1 FROM pg_tables WHERE schemaname || '.' || tablename = 'acme.t'",
        "read acme? acme.t? +catalogue",
    );
}

#[test]
fn queries_about_schemas() {
    check(
        "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'my\\_schema'",
        "read my_schema? +schemas",
    );
    check("SELECT 1 FROM pg_namespace WHERE nspname = $1", "read $1 +schemas");
    check("SELECT 1 FROM pg_namespace WHERE nspname IN ('a1', 'Big')", "read a1? Big? +schemas");
    check("SELECT 1 FROM pg_namespace WHERE nspname NOT IN ('a1', 'Big')", "read +schemas");
    check(
        "SELECT 1 FROM pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.~) '^(acme)$' COLLATE pg_catalog.default",
        "read acme? +schemas",
    );
    check("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'ac%'", "read +schemas");
    check(
        "SELECT 1 FROM pg_namespace WHERE nspname = ANY('{acme,bolt}')",
        "read acme? bolt? {acme,bolt}? +schemas",
    );
    check("SELECT 1 FROM pg_namespace WHERE LOWER(nspname) = LOWER('t2')", "read t2? +schemas");
    check("SELECT to_regnamespace('acme') IS NOT NULL", "read acme? +schemas");
    check("SELECT 'acme' IN (SELECT nspname FROM pg_namespace)", "read acme? +schemas");
    check(
        "SELECT 1 FROM information_schema.schemata WHERE schema_name = 'acme'",
        "read acme? +schemas",
    );
    check(
        "SELECT nspname, nspname = current_schema() AS \"default\" FROM pg_namespace",
        "read +schemas",
    );
    // Home answers for all of them at once.
    check("SELECT nspname = 'acme'::name FROM pg_namespace", "read +schemas");
    check("SELECT 1 FROM pg_namespace WHERE nspname = 'acme' OR nspname > 'b'", "read +schemas");
    check("SELECT relname, schemaname = 'acme' FROM pg_stat_all_tables", "read acme? +catalogue");
    // A number that is handed out is good on its shard only.
    check("SELECT oid, nspname FROM pg_namespace", "read +catalogue");
    check("SELECT * FROM pg_namespace WHERE nspname = 'acme'", "read acme? +catalogue");
    check("SELECT * FROM (SELECT nspname FROM pg_namespace) n", "read +catalogue");
    check("SELECT count(*) FROM pg_namespace", "read +schemas");
    check(
        "SELECT nspname FROM pg_namespace WHERE nspowner = (SELECT oid FROM pg_roles LIMIT 1)",
        "read +schemas",
    );
    check("SELECT rolname FROM pg_roles", "read +schemas");
    check("SELECT nspname, (SELECT count(*) FROM pg_class) FROM pg_namespace", "read +catalogue");
    check(
        "SELECT pg_get_userbyid(nspowner), obj_description(oid) FROM pg_namespace",
        "read +schemas",
    );
}

#[test]
fn numbers_of_objects() {
    check(
        "SELECT 1 FROM pg_class WHERE relkind = 'r' AND oid = '16395'",
        "read +catalogue +numbers",
    );
    check("SELECT 1 FROM pg_class WHERE oid = 16395", "read +catalogue +numbers");
    check("SELECT 1 FROM pg_class WHERE oid = 4000000000", "read +catalogue +numbers");
    check("SELECT 1 FROM pg_class WHERE oid = 1259", "read +catalogue");
    check("SELECT pg_get_indexdef(16395)", "read +catalogue +numbers");
    check("SELECT '16395'::pg_catalog.regclass", "read +catalogue +numbers");
    check(
        "SELECT 1 FROM pg_attribute WHERE attrelid = ANY ('{16395,1}'::oid[])",
        "read +catalogue +numbers",
    );
    check("SELECT 1 FROM pg_class LIMIT 20000 OFFSET 50000", "read +catalogue");
    check("SELECT 1 FROM pg_class WHERE 100000 < reltuples", "read +catalogue");
    check("SELECT 1 FROM pg_class WHERE oid = $1 LIMIT $2", "read +catalogue +$numbers");
    check(
        "SELECT 1 FROM pg_class WHERE relname = '16395' OR lower(relname) = $1",
        "read +catalogue",
    );
    check("SELECT 16395", "nothing");
}

#[test]
fn definitions() {
    check("GRANT USAGE ON SEQUENCE acme.s TO joe", "define acme");
    check(
        "ALTER TABLE acme.t ALTER COLUMN a TYPE bolt.x USING core.f(a)",
        "define acme bolt:other core:other !unknown",
    );
    check("CREATE TABLE acme.t OF bolt.ty", "define acme bolt:other");
    check(
        "CREATE OPERATOR CLASS acme.o FOR TYPE bolt.t USING btree AS OPERATOR 1 core.<, FUNCTION 1 zed.f(int)",
        "define acme:other bolt:other core:other zed:other",
    );
    check(
        "ALTER TEXT SEARCH CONFIGURATION acme.c ADD MAPPING FOR w WITH bolt.d",
        "define acme:other bolt?",
    );
    check(
        "ALTER TABLE acme.t ADD CONSTRAINT c EXCLUDE USING gist (a WITH bolt.=)",
        "define acme bolt?",
    );
    check(
        "CREATE TABLE acme.t (a int DEFAULT nextval('bolt.s'), b int GENERATED BY DEFAULT AS IDENTITY (SEQUENCE NAME core.s))",
        "define acme bolt? core",
    );
    check("CREATE INDEX ON acme.t (a COLLATE bolt.c)", "define acme bolt:other");
    check("ALTER INDEX acme.i ATTACH PARTITION bolt.j", "define acme bolt");
    check("COMMENT ON OPERATOR acme.+ (int, int) IS ''", "define acme:other");
    check("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS ''", "define !TempTable");
    check(
        "CREATE TABLE acme.t (id int REFERENCES bolt.u, m core.mood)",
        "define acme bolt core:other",
    );
    check("CREATE TABLE t (id int)", "define +path");
    check("CREATE TABLE acme.t (LIKE bolt.u)", "define acme bolt");
    check("CREATE TABLE acme.t () INHERITS (bolt.u)", "define acme bolt");
    check("CREATE TABLE acme.t PARTITION OF bolt.u FOR VALUES IN (1)", "define acme bolt");
    check(
        "CREATE TABLE acme.t (PRIMARY KEY (a, b), FOREIGN KEY (x, y) REFERENCES u (z, w))",
        "define acme +path",
    );
    check("CREATE TABLE acme.t AS SELECT * FROM bolt.u", "define bolt acme");
    check("SELECT * INTO acme.t FROM bolt.u", "define acme bolt");
    check("CREATE TEMP TABLE x (a int)", "define !TempTable");
    check("SELECT * INTO TEMP x FROM acme.t", "define acme !TempTable");
    check("CREATE TABLE pg_temp.x (a int)", "define !TempTable");
    check("CREATE TEMP VIEW x AS SELECT * FROM t", "define +path !TempTable");
    check("CREATE INDEX i ON acme.t (lower(a) bolt.ops)", "define acme bolt:other");
    check("CREATE VIEW acme.v AS SELECT * FROM bolt.t", "define acme bolt");
    check("CREATE SEQUENCE acme.s OWNED BY bolt.t.c", "define acme bolt");
    check("CREATE TYPE acme.m AS ENUM ('a', 'b')", "define acme:other");
    check("CREATE TYPE m AS ENUM ('a')", "define +path");
    check("CREATE TYPE acme.c AS (x bolt.y)", "define acme bolt:other");
    check("CREATE DOMAIN acme.d AS bolt.e", "define acme:other bolt:other");
    check(
        "CREATE FUNCTION acme.f(a bolt.x) RETURNS core.y LANGUAGE sql AS 'select 1'",
        "define acme:other bolt:other core:other",
    );
    check(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 FROM acme.t; END",
        "define acme +path",
    );
    check(
        "CREATE TRIGGER x AFTER INSERT ON acme.t EXECUTE FUNCTION bolt.f()",
        "define acme bolt:other",
    );
    check("CREATE RULE r AS ON INSERT TO acme.t DO ALSO DELETE FROM bolt.u", "define acme bolt");
    check("CREATE POLICY p ON acme.t USING (true)", "define acme");
    check("CREATE STATISTICS acme.s ON a, b FROM bolt.t", "define acme:other bolt");
    check("ALTER TABLE acme.t ADD COLUMN x bolt.y", "define acme bolt:other");
    check("ALTER TABLE acme.t SET SCHEMA bolt", "define acme bolt:other");
    check("ALTER TYPE acme.m SET SCHEMA bolt", "define acme:other bolt:other");
    check("ALTER FUNCTION acme.f(int) SET SCHEMA bolt", "define acme:other bolt:other");
    check("ALTER TABLE acme.t RENAME TO u", "define acme");
    check("ALTER SCHEMA acme OWNER TO joe", "define acme:other");
    check("ALTER SEQUENCE acme.s RESTART", "define acme");
    check("ALTER TYPE acme.m ADD VALUE 'c'", "define acme:other");
    check("ALTER TABLE ONLY acme.t ATTACH PARTITION bolt.p DEFAULT", "define acme bolt");
    check("DROP TABLE acme.t, u", "define acme +path");
    check("DROP TABLE db.acme.t", "define acme");
    check("DROP TYPE acme.m, n", "define acme:other +path");
    check("DROP FUNCTION acme.f(bolt.x), g(int)", "define acme:other bolt:other +path");
    check("DROP INDEX acme.i", "define acme");
    check("DROP TRIGGER x ON acme.t", "define acme");
    check("DROP OPERATOR acme.+ (int, bolt.x)", "define acme:other bolt:other");
    check("DROP OPERATOR CLASS acme.o USING btree", "define acme:other");
    check("COMMENT ON TABLE acme.t IS 'bolt.u'", "define acme");
    check("COMMENT ON COLUMN acme.t.c IS ''", "define acme");
    check("COMMENT ON SCHEMA acme IS ''", "define acme:other");
    check("COMMENT ON CONSTRAINT c ON acme.t IS ''", "define acme");
    check("COMMENT ON CONSTRAINT c ON DOMAIN acme.d IS ''", "define acme:other");
    check("GRANT SELECT ON acme.t TO joe", "define acme");
    check("GRANT USAGE ON SCHEMA acme, bolt TO joe", "define acme:other bolt:other");
    check("GRANT SELECT ON ALL TABLES IN SCHEMA acme TO joe", "define acme:other");
    check("GRANT EXECUTE ON FUNCTION acme.f(int) TO joe", "define acme:other");
    check("GRANT USAGE ON TYPE acme.m TO joe", "define acme:other");
    check(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA acme GRANT SELECT ON TABLES TO joe",
        "define acme:other",
    );
    check("IMPORT FOREIGN SCHEMA x FROM SERVER s INTO acme", "define acme:other");
    check("REINDEX SCHEMA acme", "write acme:other");
    check("REINDEX TABLE acme.t", "write acme");
    check("CLUSTER acme.t USING i", "write acme");
    check("VACUUM ANALYZE acme.t (a, b)", "write acme");
    check("REFRESH MATERIALIZED VIEW acme.v", "write acme");
    check(
        "CREATE AGGREGATE acme.a (int) (sfunc = bolt.f, stype = int)",
        "define acme:other bolt:other",
    );
    check(
        "CREATE OPERATOR acme.+ (procedure = bolt.f, leftarg = int)",
        "define acme:other bolt:other",
    );
    check("CREATE COLLATION acme.c FROM bolt.d", "define acme:other bolt:other");
    check(
        "CREATE TEXT SEARCH CONFIGURATION acme.c (COPY = pg_catalog.english)",
        "define acme:other",
    );
    check(
        "CREATE CAST (acme.a AS text) WITH FUNCTION bolt.f(acme.a)",
        "define acme:other bolt:other",
    );
    check("CREATE FUNCTION f(x acme.t.c%TYPE) RETURNS int LANGUAGE sql AS ''", "define acme +path");
    check("CREATE FOREIGN TABLE acme.t (a int) SERVER s", "define acme");
    check("SECURITY LABEL ON TABLE acme.t IS 'x'", "define acme");
}

#[test]
fn lives_of_schemas() {
    check("CREATE SCHEMA acme", "lifecycle acme:other");
    check("CREATE SCHEMA IF NOT EXISTS \"Acme\" AUTHORIZATION joe", "lifecycle Acme:other");
    check("CREATE SCHEMA AUTHORIZATION joe", "lifecycle joe:other");
    check("CREATE SCHEMA acme CREATE TABLE t (a int)", "lifecycle acme:other");
    check("DROP SCHEMA IF EXISTS acme, bolt CASCADE", "lifecycle acme:other bolt:other");
    check("ALTER SCHEMA acme RENAME TO bolt", "lifecycle acme:other bolt:other");
}

#[test]
fn shared_things() {
    check("CREATE ROLE joe", "shared(CREATE ROLE)");
    check("CREATE USER joe PASSWORD 'x'", "shared(CREATE ROLE)");
    check("ALTER ROLE CURRENT_USER SET search_path = acme", "shared(ALTER ROLE)");
    check("ALTER ROLE a RENAME TO b", "shared(ALTER … RENAME)");
    check("DROP ROLE joe", "shared(DROP ROLE)");
    check("GRANT admin TO joe", "shared(GRANT)");
    check("CREATE DATABASE x", "shared(CREATE DATABASE)");
    check("ALTER DATABASE x SET search_path = acme", "shared(ALTER DATABASE)");
    check("CREATE EXTENSION hstore SCHEMA acme", "shared(CREATE EXTENSION) acme:other");
    check("DROP EXTENSION hstore", "shared(DROP)");
    check("COMMENT ON EXTENSION hstore IS ''", "shared(COMMENT)");
    check("ALTER EXTENSION hstore SET SCHEMA acme", "shared(ALTER EXTENSION)");
    check("ALTER SYSTEM SET work_mem = '1GB'", "shared(ALTER SYSTEM)");
    check("CREATE PUBLICATION p FOR TABLE acme.t", "shared(CREATE PUBLICATION) acme");
    check("CREATE SERVER s FOREIGN DATA WRAPPER w", "shared(CREATE SERVER)");
    check("CREATE LANGUAGE plperl", "shared(CREATE EXTENSION)");
    check("GRANT ALL ON SCHEMA public TO joe", "shared(GRANT ON SCHEMA) public:other");
    check("REVOKE ALL ON SCHEMA public FROM joe", "shared(REVOKE ON SCHEMA) public:other");
    check("GRANT CONNECT ON DATABASE x TO joe", "shared(GRANT)");
    check("DROP OWNED BY joe", "shared(DROP OWNED)");
    check("REASSIGN OWNED BY joe TO ann", "shared(REASSIGN OWNED)");
    check(
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO joe",
        "shared(ALTER DEFAULT PRIVILEGES)",
    );
    check("CHECKPOINT", "shared(CHECKPOINT)");
    check("CREATE TABLESPACE x LOCATION '/x'", "shared(CREATE TABLESPACE)");
    check(
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION acme.f()",
        "shared(CREATE EVENT TRIGGER) acme:other",
    );
}

#[test]
fn settings() {
    check("SET search_path = 'tenant1','public';", "nothing search_path=<tenant1, public>");
    check("SET search_path = \"t1\",\"public\";", "nothing search_path=<t1, public>");
    check("SET search_path = t1, public;", "nothing search_path=<t1, public>");
    check(
        "SET search_path TO \"acme\", \"shared_extensions\"",
        "nothing search_path=<acme, shared_extensions>",
    );
    check("set search_path to \"acme\"", "nothing search_path=<acme>");
    check("SET SESSION search_path TO 'acme';", "nothing search_path=<acme>");
    check("SET SESSION search_path='acme'", "nothing search_path=<acme>");
    check("SET SESSION search_path TO DEFAULT;", "nothing search_path=Default");
    check("SET SCHEMA 'acme';", "nothing search_path=<acme>");
    check("SET LOCAL search_path TO \"acme\";", "nothing local search_path=<acme>");
    check("RESET search_path", "nothing search_path=Default");
    check("RESET ALL", "nothing ResetAll");
    check("DISCARD ALL", "nothing DiscardAll");
    check("DISCARD PLANS", "nothing");
    check("SET search_path = \"My Tenant\", public", "nothing search_path=<\"My Tenant\", public>");
    check("SET search_path = 'a,b'", "nothing search_path=<\"a,b\">");
    check("SET search_path = ''", "nothing search_path=<\"\">");
    check("SET search_path = \"$user\", 'select'", "nothing search_path=<\"$user\", \"select\">");
    check("SET search_path = true", "nothing search_path=<\"true\">");
    check("SET search_path = 1, 2.5", "nothing search_path=<1, 2.5>");
    check("SET Search_Path TO acme", "nothing search_path=<acme>");
    check("SET \"Search_Path\" TO acme", "nothing search_path=<acme>");
    check(
        "SET search_path to acme;SELECT id FROM authors",
        "nothing search_path=<acme> | read +path",
    );
    check("SET TIME ZONE 'UTC'", "nothing timezone=<UTC>");
    check("SET TIME ZONE LOCAL", "nothing timezone=Default");
    check("SET TIME ZONE 5", "nothing timezone=<5>");
    check(
        "SELECT 1; SET TIME ZONE INTERVAL '1' HOUR TO MINUTE ;",
        "nothing | nothing timezone=Statement(\"SET TIME ZONE INTERVAL '1' HOUR TO MINUTE\")",
    );
    check("SET NAMES 'SJIS'", "nothing client_encoding=<SJIS>");
    check("SET ROLE joe", "nothing role=<joe>");
    check("RESET ROLE", "nothing role=Default");
    check("SET SESSION AUTHORIZATION joe", "nothing session_authorization=<joe>");
    check("SET veneer.tenant = 'acme'", "nothing veneer.tenant=<acme>");
    check("SET statement_timeout = 100", "nothing statement_timeout=<100>");
    check("SET enable_seqscan TO off", "nothing enable_seqscan=<off>");
    check("SET enable_seqscan TO true", "nothing enable_seqscan=<true>");
    check(
        "SET datestyle TO iso, dmy",
        "nothing datestyle=Statement(\"SET datestyle TO iso, dmy\")",
    );
    check("SET datestyle TO 'ISO, DMY'", "nothing datestyle=<ISO, DMY>");
    check("SHOW search_path", "nothing Show(\"search_path\")");
    check("SHOW TIME ZONE", "nothing Show(\"timezone\")");
    check("SET transaction_isolation = 'serializable'", "nothing SetTransaction { strict: true }");
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "nothing default_transaction_isolation=<serializable>",
    );
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "nothing default_transaction_read_only=<on>",
    );
    check(
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "nothing default_transaction_read_only=<off>",
    );
}

#[test]
fn set_config() {
    check("SELECT set_config('search_path', 'x', false), 1, $1", "nothing search_path=<x>");
    check(
        "SELECT set_config('search_path', 'x', false), generate_series(1, 0)",
        "nothing search_path=Unknown !unknown",
    );
    check(
        "SELECT set_config('search_path', 'acme, public', false);",
        "nothing search_path=<acme, public>",
    );
    check("SELECT pg_catalog.set_config('search_path', '', false);", "nothing search_path=<>");
    check("SELECT set_config('search_path', $1, true)", "nothing local search_path=$1");
    check("SELECT set_config('search_path', $1::text, 'on')", "nothing local search_path=$1");
    check(
        "SELECT set_config('Role', 'joe', false), set_config('a.b', NULL, false)",
        "nothing role=<joe> a.b=Default",
    );
    check(
        "SELECT set_config('search_path', name, false) FROM acme.t",
        "read acme search_path=Unknown !unknown",
    );
    check(
        "SELECT set_config('search_path', 'x', false) WHERE false",
        "nothing search_path=Unknown !unknown",
    );
    check("SELECT set_config('a.b', 'x' || 'y', false)", "nothing a.b=Unknown !unknown");
    check("SELECT set_config('a.b', 'x', false) FROM acme.t", "read acme a.b=Unknown !unknown");
    check(
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'a.b'",
        "write +catalogue search_path=Unknown !unknown",
    );
    // asyncpg's.
    check(
        "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
        "nothing jit=<off>",
    );
    check(
        "SELECT current_setting(f()), set_config('jit', 'off', false)",
        "write jit=Unknown !unknown",
    );
    // pg_dump's.
    check(
        "SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'a.b'",
        "read +catalogue a.b=Statement(\"SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'a.b'\")",
    );
    for other in [
        "set_config(name, 'view', false) FROM pg_settings WHERE name <> 'a.b'",
        "set_config(name, 'view', false) FROM pg_settings WHERE name = ANY ('{a.b}')",
        "set_config(name, 'view', false) FROM pg_settings WHERE tablename = 'a.b'",
        "set_config(name, 'view', false) FROM pg_settings WHERE name = 'a.b' OR true",
        "set_config(name, setting, false) FROM pg_settings WHERE name = 'a.b'",
        "set_config(name, 'view', false) FROM pg_settings, pg_class WHERE name = 'a.b'",
        "set_config(setting, 'view', false) FROM pg_settings WHERE name = 'a.b'",
        "set_config(name, 'view', false) FROM pg_settings WHERE name = 'a.b' ORDER BY 1",
    ] {
        check(&format!("SELECT {other}"), "write +catalogue search_path=Unknown !unknown");
    }
    check("SELECT set_config($1, $2, false)", "nothing $1=$2");
    check("SELECT set_config('a' || 'b', 'x', false)", "write search_path=Unknown !unknown");
    check("SELECT set_config('a.b', 'x', $1)", "nothing a.b=<x> local=$1");
    check(
        "SELECT upper(set_config('search_path', 'x', false))",
        "nothing search_path=Unknown !unknown",
    );
}

#[test]
fn transactions_and_the_rest() {
    check("BEGIN; COMMIT", "nothing Begin { strict: false } | nothing Commit { chain: false }");
    check("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "nothing Begin { strict: true }");
    check("BEGIN READ ONLY", "nothing Begin { strict: false }");
    check("END AND CHAIN", "nothing Commit { chain: true }");
    check("ABORT", "nothing Rollback { chain: false }");
    check("ROLLBACK TO a", "nothing RollbackTo(\"a\")");
    check("SAVEPOINT a; RELEASE a", "nothing Savepoint(\"a\") | nothing Release(\"a\")");
    check("PREPARE TRANSACTION 'x'", "nothing TwoPhase");
    check("COMMIT PREPARED 'x'", "nothing TwoPhase");
    check(
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "nothing SetTransaction { strict: true }",
    );
    check("SET TRANSACTION READ ONLY", "nothing SetTransaction { strict: false }");
    check("SET TRANSACTION SNAPSHOT 'x'", "nothing SetTransaction { strict: true }");
    check("SET CONSTRAINTS ALL DEFERRED", "nothing");
    check("PREPARE p AS SELECT * FROM acme.t", "read acme !Prepared Prepare(\"p\")");
    check("EXECUTE p(1)", "write !unknown Execute(\"p\")");
    check("DEALLOCATE p", "nothing Deallocate(Some(\"p\"))");
    check("DEALLOCATE ALL", "nothing Deallocate(None)");
    check("COPY acme.t (a, b) FROM STDIN", "write acme Copy");
    check("COPY acme.t TO STDOUT WITH (FORMAT csv, FORCE_QUOTE (a, b))", "read acme Copy");
    check("COPY (SELECT * FROM acme.t) TO STDOUT", "read acme Copy");
    check("COPY t FROM '/etc/passwd'", "write +path");
    check("EXPLAIN ANALYZE DELETE FROM acme.t", "write acme");
    check("EXPLAIN SELECT * FROM acme.t", "read acme");
    check("DECLARE c CURSOR FOR SELECT * FROM acme.t", "read acme");
    check(
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM acme.t",
        "read acme !HoldCursor Hold(\"c\")",
    );
    check("FETCH 10 FROM c", "read Cursor(\"c\")");
    check("LISTEN x", "read !Listen");
    check("NOTIFY x, 'acme.t'", "write");
    check("DO 'begin end'", "write !unknown");
    check("CALL acme.p('bolt.t')", "write acme:other bolt? !unknown");
    check("CALL p()", "write !unknown");
    check("LOAD 'x'", "write !Library");
    check("CREATE TABLE acme.t AS EXECUTE p", "define acme !unknown Execute(\"p\")");
    check("EXPLAIN ANALYZE EXECUTE p", "write !unknown Execute(\"p\")");
}

#[test]
fn unreadable() {
    let error = |sql: &[u8]| {
        let read = Reader::new(&Settings::default()).read_now(sql);
        read.map_or_else(|error| error.to_string(), |text| format!("{text:?}"))
    };
    assert_eq!(error(b"SELEC 1"), "syntax error at or near \"SELEC\"");
    assert_eq!(error(b"SELECT '\xff'"), "invalid byte sequence for encoding \"UTF8\"");
    assert_eq!(error(b"SELECT 1\0"), "invalid byte sequence for encoding \"UTF8\"");
    assert_eq!(
        error(&vec![b' '; (256 << 10) + 1]),
        "the text has 262145 bytes, and at most 262144 are parsed"
    );
}

#[test]
fn what_ends_session_state() {
    let check = |sql: &str, some: bool, all: &[Keep]| {
        let text = read(sql);
        let frees = text.statements.iter().fold(Frees::default(), |mut frees, statement| {
            frees |= statement.frees;
            frees
        });
        assert_eq!(frees, Frees { some, all: all.iter().copied().collect() }, "{sql}");
    };
    check("SELECT 1; LISTEN x; CREATE TEMP TABLE t ()", false, &[]);
    check("UNLISTEN x", true, &[]);
    check("UNLISTEN *", true, &[Keep::Listen]);
    check("CLOSE c", true, &[]);
    check("CLOSE ALL", true, &[Keep::HoldCursor]);
    check("DROP TABLE t", true, &[]);
    check("SELECT pg_advisory_unlock(1)", true, &[]);
    check("SELECT pg_advisory_unlock_all()", true, &[Keep::AdvisoryLock]);
    check("DEALLOCATE p", true, &[]);
    check("DEALLOCATE ALL", true, &[Keep::Prepared]);
    check("DISCARD TEMP", true, &[Keep::TempTable]);
    check("DISCARD ALL", true, &Keep::ALL);
    check("DISCARD SEQUENCES", true, &[Keep::Sequence]);
    check("DISCARD PLANS", false, &[]);
}

#[test]
fn tables_that_only_look_like_the_catalogue() {
    check("SELECT * FROM pg_search_documents WHERE searchable_id = 20001", "read +path");
    check("SELECT * FROM acme.pg_search_documents", "read acme");
    check("SELECT * FROM pg_stat_statements", "read +path");
}
