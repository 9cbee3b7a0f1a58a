//! Questions to the catalogue as clients put them, with PostgreSQL as the oracle: one database that
//! has all tenants' schemas.

use std::fmt::Write;

use crate::oracle::masked;
use crate::support::asked::{log_since, mark};
use crate::support::own::{OWNER, Own, TENANTS, USER};
use crate::support::wire::Door;
use crate::support::world;

const KIT: &str = "
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE books (id int PRIMARY KEY, author_id int REFERENCES authors, title text);
CREATE SEQUENCE tickets;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE made ();
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
";

/// The statements of frameworks with the tenant as `T`. What is bound stands behind ` <- `.
const EXISTENCE: &[&str] = &[
    // django-tenants
    "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'T')",
    "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_namespace WHERE LOWER(nspname) = LOWER('T'))",
    "SELECT EXISTS(SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1) <- T",
    // Rails, Apartment
    "SELECT COUNT(*) FROM pg_namespace WHERE nspname = 'T'",
    "SELECT to_regnamespace('T') IS NOT NULL",
    "SELECT to_regnamespace($1) IS NOT NULL <- T",
    // Triplex, Laravel
    "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = $1 <- T",
    "SELECT schema_name FROM information_schema.schemata WHERE schema_name = $1 <- T",
    "SELECT schema_name FROM information_schema.schemata WHERE schema_name = 'T'",
    // Knex, TypeORM
    "select * from information_schema.tables where table_name = $1 and table_schema = $2 <- books T",
    "select table_name from information_schema.tables where table_name = 'books' and table_schema = 'T'",
    // golang-migrate
    "SELECT COUNT(1) FROM information_schema.tables WHERE table_schema = $1 AND table_name = $2 LIMIT 1 <- T books",
    // Others' ways
    "SELECT count(*) FROM pg_tables WHERE schemaname = ANY($1) <- {T}",
    "SELECT to_regclass('T.books') IS NOT NULL, to_regclass($1)::text <- T.books",
    "SELECT 'T'::regnamespace::text, has_schema_privilege('T', 'USAGE')",
    "SELECT has_table_privilege('T.books', 'select'), has_table_privilege($1, $2) <- T.books insert",
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ~ '^(T)$' AND relkind = 'r' ORDER BY 1",
    "SELECT column_name, data_type FROM information_schema.columns WHERE (table_schema, table_name) = ($1, $2) ORDER BY ordinal_position <- T books",
    "SELECT NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'T'), NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'T_not')",
    "SELECT conname FROM pg_constraint WHERE connamespace = 'T'::regnamespace ORDER BY 1",
    "SELECT enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = $1 AND typname = $2 ORDER BY enumsortorder <- T mood",
];

/// Lists, which name no tenant.
const LISTS: &[&str] = &[
    "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
    "SELECT schema_name FROM information_schema.schemata WHERE schema_name <> 'information_schema' AND schema_name != 'public' AND schema_name !~ E'^pg_' ORDER BY 1",
    "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_.*' AND nspname NOT IN ('information_schema') ORDER BY nspname",
    "select nspname as name, nspname = current_schema() as \"default\" from pg_namespace where nspname <> 'information_schema' and nspname not like 'pg\\_%' order by 1",
    "SELECT nspname FROM pg_namespace WHERE nspname IN ('acme', 'bolt', 'dynamo', 'nobody') ORDER BY 1",
    "SELECT nspname FROM pg_namespace WHERE nspname = ANY($1) ORDER BY 1 <- {dynamo,nobody,crane}",
    "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'a%' OR nspname = 'bolt' ORDER BY 1",
    "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'c%'",
    "SELECT nspname, nspname = 'bolt' FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
    "SELECT bool_or(nspname = 'dynamo') FROM pg_namespace",
    "SELECT nspname, pg_get_userbyid(nspowner), has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
    "SELECT to_regnamespace('acme'), to_regnamespace('dynamo'), to_regnamespace('nobody')",
    "SELECT count(*) FROM pg_namespace WHERE nspname = 'nobody'",
    "SELECT rolname FROM pg_roles WHERE rolname LIKE 'bookstore%' ORDER BY 1",
];

/// The same statement in both protocols; extended as libpq does it, as JDBC, as asyncpg.
fn scripts(statement: &str) -> Vec<String> {
    let (sql, values) = statement.split_once(" <- ").unwrap_or((statement, ""));
    let run = format!("Bind - s {values}\nDescribe P -\nExecute - 0\nSync");
    let run = run.replace("s \n", "s\n");
    let mut scripts = vec![
        format!("Parse s - {sql}\n{run}"),
        format!("Parse s - {sql}\nDescribe S s\nSync\n\n{run}"),
        format!("Parse s - {sql}\nDescribe S s\nFlush\n< T\n\n{run}"),
    ];
    if values.is_empty() {
        scripts.push(format!("Query {sql}"));
    }
    scripts
}

async fn differences(straight: &Door, through: &Door, script: &str, found: &mut String) {
    // The oracle's database has a name of its own.
    let expected = straight.open().await.play(script).await;
    let told = [expected.replace("_all", ""), through.open().await.play(script).await];
    let told = told.map(|told| masked(&told));
    if told[0] != told[1] {
        let _ = writeln!(found, "{script}\n- {}\n+ {}", told[0], told[1]);
    }
}

#[tokio::test]
async fn existence_checks() {
    let own = Own::build("existence", KIT).await;
    let oracle = own.oracle(KIT).await;
    let mut found = String::new();
    for path in ["", "bolt", "dynamo,public"] {
        let with_path = |door: Door| match path {
            "" => door,
            path => door.with("search_path", path),
        };
        let (straight, through) = (with_path(oracle.clone()), with_path(own.through(USER)));
        let named = TENANTS.iter().map(|(tenant, _)| *tenant).chain(["nobody"]);
        for tenant in named.filter(|tenant| path.is_empty() || *tenant == "crane") {
            for statement in EXISTENCE {
                let statement = statement.replace("'T", &format!("'{tenant}"));
                let statement = statement.replace("(T)", &format!("({tenant})"));
                let (sql, values) = statement.split_once(" <- ").unwrap_or((&statement, ""));
                let values = values.replace('T', tenant);
                let statement =
                    if values.is_empty() { sql.to_owned() } else { format!("{sql} <- {values}") };
                for script in scripts(&statement) {
                    differences(&straight, &through, &script, &mut found).await;
                }
            }
        }
        for script in LISTS.iter().flat_map(|list| scripts(list)) {
            differences(&straight, &through, &script, &mut found).await;
        }
    }
    assert!(found.is_empty(), "- PostgreSQL, + veneer\n{found}");
    own.assert_alive();
}

/// `acme` lives on home, `bolt` and `crane` on one shard, `dynamo` on another.
#[tokio::test]
async fn existence_checks_in_transactions() {
    let own = Own::build("transactions", KIT).await;
    let oracle = own.oracle(KIT).await;
    let mut found = String::new();
    let check = |tenant: &str| {
        [
            format!("Query SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{tenant}')"),
            format!("Parse - - SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = $1\nDescribe S -\nBind - - {tenant}\nExecute - 0\nSync"),
            format!("Parse - - SELECT to_regnamespace($1)\nBind - - {tenant}\nDescribe P -\nExecute - 0\nSync"),
        ]
        .join("\n\n")
    };
    let dynamo = check("dynamo");
    for script in [
        // Nothing binds it yet.
        format!("Query BEGIN\n\n{dynamo}\n\nQuery SELECT count(*) FROM bolt.books\n\nQuery COMMIT"),
        format!("Query BEGIN\n\nQuery SELECT 1\n\n{dynamo}\n\n{}\n\nQuery COMMIT", check("bolt")),
        format!(
            "Query BEGIN\n\nQuery SET LOCAL search_path = crane\n\n{dynamo}\n\nQuery SELECT count(*) FROM books\n\nQuery SHOW search_path\n\nQuery COMMIT"
        ),
        format!(
            "Query BEGIN\n\nQuery SAVEPOINT a\n\n{dynamo}\n\nQuery ROLLBACK TO a\n\nQuery SELECT count(*) FROM bolt.books\n\nQuery COMMIT"
        ),
        // On home, which has a placeholder.
        format!(
            "Query BEGIN\n\nQuery INSERT INTO acme.authors VALUES (1, 'x')\n\n{dynamo}\n\n{}\n\nQuery ROLLBACK",
            check("bolt")
        ),
        format!(
            "Query BEGIN\n\nQuery LOCK TABLE acme.authors\n\n{}\n\nQuery SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1\n\nQuery ROLLBACK",
            check("nobody")
        ),
        // Where the tenant is.
        format!(
            "Query BEGIN\n\nQuery SELECT count(*) FROM dynamo.books\n\n{dynamo}\n\nQuery COMMIT"
        ),
        format!(
            "Query BEGIN\n\nQuery SELECT count(*) FROM bolt.books\n\n{}\n\n{}\n\nQuery COMMIT",
            check("crane"),
            check("nobody")
        ),
        format!(
            "Query BEGIN ISOLATION LEVEL REPEATABLE READ\n\n{dynamo}\n\nQuery SELECT count(*) FROM dynamo.books\n\nQuery COMMIT"
        ),
    ] {
        differences(&oracle, &own.through(OWNER), &script, &mut found).await;
    }
    assert!(found.is_empty(), "- PostgreSQL, + veneer\n{found}");

    // No other shard knows of `dynamo`: a wrong answer is worse than none.
    let script = format!(
        "Query BEGIN\n\nQuery SELECT count(*) FROM bolt.books\n\n{dynamo}\n\nQuery ROLLBACK"
    );
    let told = own.through(USER).open().await.play(&script).await;
    let refused = "ErrorResponse S=ERROR V=ERROR C=0A000 M=the transaction runs on shard \"shard2\" and \
        cannot go on on shard \"shard3\" D=The transaction has begun on shard \"shard2\"; tenant \
        \"dynamo\" lives on shard \"shard3\". H=End the transaction first: one transaction stays on one shard.";
    assert!(told.contains(refused), "{told}");
    own.assert_alive();
}

/// Numbers mean something on the shard that has given them out only.
#[tokio::test]
async fn numbers_follow_the_last_answer() {
    let own = Own::build("numbers", KIT).await;
    let mut wire = own.through(USER).open().await;
    let row = |told: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix("DataRow "));
        line.unwrap_or_else(|| panic!("no row: {told}")).to_owned()
    };
    for (tenant, _) in TENANTS.iter().cycle().take(9) {
        let by_name = format!("SELECT '{tenant}.books'::regclass::oid::int");
        let oid = row(&wire.query(&by_name).await);
        // One dimension, no NULL, of oid, one item from 1 on, of four bytes.
        let array = "0000000100000000".to_owned() + "0000001a0000000100000001" + "00000004";
        // What names nothing, and gives out nothing, comes between.
        wire.query("SELECT 1").await;
        wire.query("SHOW search_path").await;
        wire.query("SELECT nspname FROM pg_namespace").await;
        let binary: String = oid
            .parse::<u32>()
            .unwrap()
            .to_be_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sql = "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid =";
        for script in [
            format!("Query {sql} '{oid}'"),
            format!("Query {sql} {oid}::oid"),
            format!("Query {sql} ANY ('{{{oid}}}'::oid[])"),
            format!("Parse - - {sql} $1\nBind - - {oid}\nExecute - 0\nSync"),
            format!(
                "Parse - - {sql} $1\nDescribe S -\nFlush\n< T\n\nBind - - #{binary}\nExecute - 0\nSync"
            ),
            format!("Parse - - {sql} ANY ($1)\nBind - - #{array}{binary}\nExecute - 0\nSync"),
        ] {
            assert_eq!(row(&wire.play(&script).await), *tenant, "{script}");
        }
        // Rows give out numbers, too: those of their types and tables.
        wire.query(&format!("SELECT * FROM {tenant}.books")).await;
        assert_eq!(row(&wire.query(&format!("{sql} {oid}")).await), *tenant);
        // In a transaction as well.
        let script = format!("Query BEGIN\n\nQuery SELECT 1\n\nQuery {sql} {oid}\n\nQuery COMMIT");
        assert!(wire.play(&script).await.contains(&format!("\nDataRow {tenant}\n")), "{tenant}");
    }
    own.assert_alive();
}

#[tokio::test]
async fn a_scope_is_for_the_catalogue_too() {
    let own = Own::build("scope", KIT).await;
    for (tenant, shard) in TENANTS {
        let by_database =
            Door { database: format!("{}@{tenant}", own.database), ..own.through(USER) };
        let by_options = own.through(USER).with("options", &format!("-cveneer.tenant={tenant}"));
        let own_sql = "SELECT current_database(), (SELECT count(*) FROM pg_class c WHERE relname = 'books'), (SELECT count(*) FROM pg_namespace WHERE nspname IN (SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'))";
        let straight = own.straight(shard, USER).open().await.query(own_sql).await;
        for door in [by_database, by_options] {
            assert_eq!(door.open().await.query(own_sql).await, straight, "{tenant}");
        }
        let mut wire = own.through(USER).open().await;
        wire.query(&format!("SET veneer.tenant = '{tenant}'")).await;
        assert_eq!(wire.query(own_sql).await, straight, "{tenant}");
        // A scope is for numbers, whoever answered before.
        let oid = "SELECT 'crane.books'::regclass::oid::int";
        wire.query(oid).await;
        wire.query(&format!("SET veneer.tenant = '{tenant}'")).await;
        let log = |number: usize| mark(&world().shard(number).cluster);
        let before = log(shard);
        wire.query("SELECT relname /* of the scope */ FROM pg_class WHERE oid = 99999").await;
        let asked = log_since(&world().shard(shard).cluster.log_path(), before);
        assert!(
            asked.lines().any(|line| line.contains("of the scope") && line.contains(&own.database)),
            "{asked}"
        );
    }
    own.assert_alive();
}

/// Whatever is said about a tenant's rows, home's placeholder never hears of it.
#[tokio::test]
async fn placeholders_are_never_asked_for_rows() {
    let own = Own::build("rows", KIT).await;
    let home = world().shard(1);
    let before = mark(&home.cluster);
    for statement in [
        "SELECT * FROM T.books",
        "SELECT * FROM T.books, pg_namespace WHERE nspname = 'T'",
        "INSERT INTO T.authors VALUES (7, 'seven')",
        "UPDATE T.authors SET name = 'x'",
        "DELETE FROM T.authors",
        "CREATE TABLE T.new ()",
        "CREATE VIEW T.seen AS SELECT 1 AS one",
        "CREATE FUNCTION T.g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT T.f()",
        "ALTER TABLE T.made ADD COLUMN a int",
        "COMMENT ON TABLE T.made IS 'x'",
        "GRANT SELECT ON T.made TO PUBLIC",
        "GRANT USAGE ON SCHEMA T TO PUBLIC",
        "LOCK TABLE T.made",
        "TRUNCATE T.made",
        "ANALYZE T.made",
        "DROP TABLE T.made",
        "SELECT nextval('T.tickets'), currval('T.tickets')",
        "COPY T.books TO STDOUT",
        "COPY (SELECT * FROM T.books) TO STDOUT",
        "EXPLAIN SELECT * FROM T.books",
        "SELECT NULL::T.mood",
        "DO 'BEGIN PERFORM 1; END'",
    ] {
        for (tenant, _) in TENANTS.iter().filter(|(_, shard)| *shard != 1) {
            let named = statement.replace("T.", &format!("{tenant}."));
            let named =
                named.replace("'T'", &format!("'{tenant}'")).replace(" T ", &format!(" {tenant} "));
            let by_path = statement.replace("T.", "").replace("'T'", &format!("'{tenant}'"));
            let by_path = by_path.replace(" T ", &format!(" {tenant} "));
            let door = own.through(OWNER);
            for (door, sql) in [
                (door.clone(), named.clone()),
                (door.clone().with("search_path", tenant), by_path),
                (door.with("options", &format!("-cveneer.tenant={tenant}")), named),
            ] {
                let marked = format!("{sql} /* about rows */");
                let script =
                    format!("Query BEGIN\n\nQuery SELECT 1\n\nQuery {marked}\n\nQuery ROLLBACK");
                if statement.starts_with("DO") && door.settings.is_empty() {
                    continue;
                }
                let told = door.open().await.play(&script).await;
                for bad in ["C=3F000", "C=42P01", "C=0A000", "C=42501"] {
                    assert!(!told.contains(bad), "{marked}: {told}");
                }
            }
        }
    }
    let asked = log_since(&home.cluster.log_path(), before);
    let asked: Vec<&str> = asked
        .lines()
        .filter(|line| line.contains(&own.database) && line.contains("about rows"))
        .collect();
    assert!(asked.is_empty(), "{asked:#?}");
    own.assert_alive();
}
