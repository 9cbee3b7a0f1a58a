//! Questions to the catalogue as clients put them, with PostgreSQL as the oracle: one database that
//! has all tenants' schemas.

use std::fmt::Write;

use crate::support::own::{OWNER, Own, TENANTS, USER};
use crate::support::wire::Door;

const KIT: &str = "
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE books (id int PRIMARY KEY, author_id int REFERENCES authors, title text);
CREATE SEQUENCE tickets;
CREATE TYPE mood AS ENUM ('sad', 'happy');
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
    let told = [straight.open().await.play(script).await, through.open().await.play(script).await];
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
