//! The router's decisions, a line each.

use std::borrow::Cow;

use super::*;
use crate::directory::{Address, Snapshot};
use crate::sql::Reader;
use crate::tenant::{RoleName, ShardName};

/// `acme` and `bolt` live on one shard, `core` on another, home owns what is nobody's; the rest
/// are not to be had, each in its way.
fn directory() -> Snapshot {
    let shard = |name: &str| {
        let address = Address { host: "h".into(), port: 1, database: "d".into() };
        Shard { name: ShardName::stored(name).unwrap(), address }
    };
    let tenant = |name: &str, shard: &str, standing| {
        (SchemaName::stored(name).unwrap(), ShardName::stored(shard).unwrap(), standing)
    };
    let tenants = [
        tenant("acme", "one", Standing::Active),
        tenant("bolt", "one", Standing::Active),
        tenant("core", "two", Standing::Active),
        tenant("My Tenant", "two", Standing::Active),
        tenant("readonly", "two", Standing::ReadOnly),
        tenant("asleep", "two", Standing::Suspended),
        tenant("attic", "home", Standing::Active),
    ];
    let home = ShardName::stored("home").unwrap();
    Snapshot::new(home, ["home", "one", "two"].map(shard), tenants).unwrap()
}

/// A case is `path | tenants | statement`, and the answer `shard (firmness): reason` or the
/// refusal. The path may be followed by ` @scope`, ` start:path`, ` was:path` (what the end of the
/// transaction may bring back), ` affinity:shard` and ` refuse` (`no_tenant`); tenants are `all` or a list.
#[track_caller]
fn check(case: &str, expected: &str) {
    let [session, tenants, sql] = case.splitn(3, '|').map(str::trim).collect::<Vec<_>>()[..] else {
        panic!("three parts: {case}");
    };
    let role = RoleName::stored("joe").unwrap();
    let (mut path, mut scope, mut start) = (String::new(), None, String::new());
    let mut affinity = None;
    let (mut earlier, mut settings) = (Vec::new(), Settings::default());
    for word in session.split_whitespace() {
        if let Some(tenant) = word.strip_prefix('@') {
            scope = Some(tenant);
        } else if let Some(text) = word.strip_prefix("start:") {
            start = text.to_owned();
        } else if let Some(text) = word.strip_prefix("was:") {
            let path = Cow::Owned(Path::read(text, role.as_str()));
            earlier.push(Sight { path, scope: None });
        } else if let Some(shard) = word.strip_prefix("affinity:") {
            affinity = Some(ShardName::stored(shard).unwrap());
        } else if word == "refuse" {
            settings.no_tenant = NoTenant::Refuse;
        } else {
            path += word;
        }
    }
    let may_use = |tenant: &str| tenants == "all" || tenants.split(' ').any(|t| t == tenant);
    let asker = Asker {
        settings: &settings,
        user: "joe",
        may_use: &may_use,
        role: role.as_str(),
        scope,
        path: &Path::read(&path, role.as_str()),
        start_scope: None,
        start_path: &Path::read(&start, role.as_str()),
        earlier: &earlier,
        affinity: affinity.as_ref(),
    };
    let text = Reader::new(&Default::default()).read_now(sql.as_bytes()).expect(sql);
    let told = match route(&text, &asker, &directory()) {
        Ok(Plan { shard, reason, firmness, also }) => {
            let also = also.map(|also| format!(" or {}", also.name)).unwrap_or_default();
            format!("{}{also} ({firmness:?}): {reason}", shard.name)
        }
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!(told, expected, "{case}");
}

const SEVERAL: &str = "the statement needs more than one shard";
const NOT_BOLT: &str = "permission denied for schema bolt";

#[test]
fn a_qualifier_beats_the_path() {
    check("core | all | SELECT * FROM acme.t", "one (Firm): the statement names \"acme\"");
    check("| all | SELECT * FROM ACME.t", "one (Firm): the statement names \"acme\"");
    check("| all | SELECT * FROM \"My Tenant\".t", "two (Firm): the statement names \"My Tenant\"");
    check("| all | SELECT * FROM U&\"\\0061cme\".t", "one (Firm): the statement names \"acme\"");
    check("| all | SELECT * FROM acme.t, bolt.u", "one (Firm): the statement names \"acme\"");
    check("| all | SELECT * FROM acme.t, core.u", SEVERAL);
    check("core | all | SELECT * FROM acme.t JOIN u USING (id)", SEVERAL);
    check("| all | SELECT acme.f()", "one (Firm): the statement names \"acme\"");
    check("| all | SELECT 'core.t'::regclass", "two (Passing): the statement names \"core\"");
    check("| all | SELECT nextval('core.s')", "two (Firm): the statement names \"core\"");
    check(
        "| all | SELECT 1 FROM pg_namespace WHERE nspname = 'core'",
        "two or home (Passing): the statement names \"core\"",
    );
    check("| all | SELECT * FROM acmee.t", "schema \"acmee\" does not exist");
    check("| all | SELECT acmee.f()", "schema \"acmee\" does not exist");
    check("acme | all | SELECT 'nobody.t'", "one (Soft): search_path selects \"acme\"");
}

#[test]
fn the_path_selects_the_tenant() {
    let acme = "one (Firm): search_path selects \"acme\"";
    check("acme | all | SELECT * FROM t", acme);
    check("acme,public | all | INSERT INTO t VALUES (1)", acme);
    check("public,acme | all | SELECT * FROM t", acme);
    check("\"$user\",acme | all | SELECT * FROM t", acme);
    check("typo,acme | all | SELECT * FROM t", acme);
    check("typo,public | all | SELECT * FROM t", "schema \"typo\" does not exist");
    check("\"$user\",public | all | SELECT * FROM t", "home (Firm): nothing names a tenant");
    check("public refuse | all | SELECT * FROM t", "no tenant is selected");
    check(
        "| all | SELECT * FROM public.plans",
        "home (Firm): shared schema \"public\" lives on home",
    );
    check("acme | all | SELECT * FROM t, public.plans", SEVERAL);
    check(
        "attic | all | SELECT * FROM t, public.plans",
        "home (Firm): shared schema \"public\" lives on home",
    );
    check("acme | all | SELECT public.uuid() FROM t", acme);
}

#[test]
fn the_scope_comes_first() {
    let scope = "two (Firm): veneer.tenant is \"core\"";
    check("@core | all | SELECT * FROM t", scope);
    check("public @core | all | SELECT * FROM t", scope);
    check("core @core | all | SELECT * FROM t", scope);
    check("@core | all | SELECT * FROM acme.t", "one (Firm): the statement names \"acme\"");
    check("@typo | all | SELECT * FROM t", "schema \"typo\" does not exist");
    check("@core | all | SELECT * FROM pg_class", "two (Soft): veneer.tenant is \"core\"");
    // PostgreSQL finds the name by the path, whatever the scope.
    check("acme @core | all | SELECT * FROM t", SEVERAL);
    check("bolt @acme | acme | SELECT * FROM t", NOT_BOLT);
}

#[test]
fn what_names_nothing() {
    check("| all | SELECT 1", "home (Soft): nothing names a tenant");
    check("acme | all | SELECT 1", "one (Soft): search_path selects \"acme\"");
    check("acme | all | SHOW search_path", "one (Soft): search_path selects \"acme\"");
    check("acme | all | SELECT * FROM pg_class", "one (Soft): search_path selects \"acme\"");
    check("acme | all | SELECT f()", "one (Loose): search_path selects \"acme\"");
    check("| all | SELECT f()", "home (Loose): nothing names a tenant");
    check("acme | all | DO 'begin end'", "one (Loose): search_path selects \"acme\"");
    check("acme | all | LISTEN x", "one (Loose): search_path selects \"acme\"");
    check(
        "core | all | SET search_path = acme; LISTEN x",
        "one (Loose): search_path selects \"acme\"",
    );
    check("acme | all | FETCH c", "one (Loose): search_path selects \"acme\"");
    check("acme | all | EXECUTE p", "one (Loose): search_path selects \"acme\"");
    check("| all | DECLARE c CURSOR FOR SELECT 1", "home (Loose): nothing names a tenant");
    check("| all | PREPARE p AS SELECT 1", "home (Soft): nothing names a tenant");
    check("| all |", "home (Soft): nothing names a tenant");
}

#[test]
fn tenants_of_other_users() {
    check("| acme | SELECT * FROM bolt.t", NOT_BOLT);
    check("bolt | acme | SELECT * FROM t", NOT_BOLT);
    check("bolt | acme | SELECT f()", NOT_BOLT);
    check("bolt | acme | DO 'begin end'", NOT_BOLT);
    check("bolt | acme | CREATE TABLE t ()", NOT_BOLT);
    // PostgreSQL goes on to the next schema of the path.
    check("acme,bolt | acme | SELECT * FROM t", NOT_BOLT);
    check("acme,bolt | acme | SELECT f()", NOT_BOLT);
    check("bolt | acme | SELECT f() FROM acme.t", NOT_BOLT);
    // A tenant that the shard does not have cannot be read there.
    check("acme,core | acme | SELECT * FROM t", "one (Firm): search_path selects \"acme\"");
    check("bolt | acme | SELECT 1", "one (Soft): search_path selects \"bolt\"");
    check("| acme | EXPLAIN SELECT * FROM bolt.t", NOT_BOLT);
    check("| acme | PREPARE p AS SELECT * FROM bolt.t", NOT_BOLT);
    check("| acme | DECLARE c CURSOR FOR SELECT * FROM bolt.t", NOT_BOLT);
    check("| acme | COPY (SELECT * FROM bolt.t) TO STDOUT", NOT_BOLT);
    check("| acme | WITH a AS (DELETE FROM bolt.t RETURNING 1) SELECT * FROM a", NOT_BOLT);
    check("| acme | CREATE VIEW acme.v AS SELECT * FROM bolt.t", NOT_BOLT);
    check("| acme | CREATE TABLE acme.t (LIKE bolt.t)", NOT_BOLT);
    check("| acme | ALTER TABLE acme.t SET SCHEMA bolt", NOT_BOLT);
    check("| acme | GRANT USAGE ON SCHEMA bolt TO joe", NOT_BOLT);
    check("| acme | SELECT NULL::bolt.t", NOT_BOLT);
    check("| acme | CALL bolt.p()", NOT_BOLT);
    check("| acme | SELECT 1 OPERATOR(bolt.+) 1", NOT_BOLT);
    check("| acme | SELECT * FROM bolt.f()", NOT_BOLT);
    check("| acme | MERGE INTO acme.t USING bolt.t u ON true WHEN MATCHED THEN DELETE", NOT_BOLT);
    check("| acme | REINDEX SCHEMA bolt", NOT_BOLT);
    check("| acme | TRUNCATE acme.t, bolt.t", NOT_BOLT);
    check("| acme | CREATE RULE r AS ON INSERT TO acme.t DO ALSO DELETE FROM bolt.t", NOT_BOLT);
}

#[test]
fn tenants_that_are_not_to_be_had() {
    let reads = "two (Firm): the statement names \"readonly\"";
    check("| all | SELECT * FROM readonly.t", reads);
    check("| all | INSERT INTO readonly.t VALUES (1)", "tenant \"readonly\" is read-only");
    check("| all | SELECT * FROM readonly.t FOR UPDATE", "tenant \"readonly\" is read-only");
    check("| all | CREATE TABLE readonly.t ()", "tenant \"readonly\" is read-only");
    check("readonly | all | SELECT f()", "tenant \"readonly\" is read-only");
    let asleep = "tenant \"asleep\" is not accepting queries: it is suspended";
    check("| all | SELECT * FROM asleep.t", asleep);
    check("asleep | all | SELECT * FROM t", asleep);
    check("asleep | all | SELECT 1", "two (Soft): search_path selects \"asleep\"");
}

#[test]
fn several_statements_in_one_text() {
    check("acme | all | SELECT * FROM t; DELETE FROM core.t", SEVERAL);
    check("acme | all | SELECT 1; DELETE FROM core.t", "two (Firm): the statement names \"core\"");
    check(
        "acme | all | SET search_path = core; SELECT * FROM t",
        "two (Firm): search_path selects \"core\"",
    );
    check(
        "acme | all | SELECT * FROM t; SET search_path = core",
        "one (Firm): search_path selects \"acme\"",
    );
    check("acme | all | SELECT * FROM t; SET search_path = core; SELECT * FROM t", SEVERAL);
    check(
        "acme | all | SELECT set_config('search_path', 'core', true); SELECT * FROM t",
        "two (Firm): search_path selects \"core\"",
    );
    check("acme | acme core | SET search_path = bolt; SELECT * FROM t", NOT_BOLT);
    check(
        "acme start:core | all | RESET search_path; SELECT * FROM t",
        "two (Firm): search_path selects \"core\"",
    );
    check(
        "acme start:core | all | RESET ALL; SELECT * FROM t",
        "two (Firm): search_path selects \"core\"",
    );
    check("acme | all | SET veneer.tenant = 'core'; SELECT * FROM t", SEVERAL);
    check(
        "| all | SET veneer.tenant = 'core'; SELECT * FROM t",
        "two (Firm): veneer.tenant is \"core\"",
    );
}

#[test]
fn the_end_of_a_transaction_brings_paths_back() {
    let sql = "BEGIN; SET LOCAL search_path = acme; COMMIT; SELECT * FROM t";
    check(&format!("bolt | acme | {sql}"), NOT_BOLT);
    check(&format!("core | all | {sql}"), SEVERAL);
    check(&format!("acme | all | {sql}"), "one (Firm): search_path selects \"acme\"");
    check("acme was:core | all | COMMIT; SELECT * FROM t", SEVERAL);
    check("acme was:bolt | acme | ROLLBACK; SELECT * FROM t", NOT_BOLT);
    check("acme was:bolt | acme | ROLLBACK TO a; SELECT f()", NOT_BOLT);
    check(
        "acme was:core | all | SELECT * FROM t; COMMIT",
        "one (Firm): search_path selects \"acme\"",
    );
    check(
        "acme was:core | all | COMMIT; SET search_path = acme; SELECT * FROM t",
        "one (Firm): search_path selects \"acme\"",
    );
}

#[test]
fn what_is_not_a_tenants_to_do() {
    let schemas = "CREATE, ALTER and DROP SCHEMA are not supported here";
    check("| all | CREATE SCHEMA acme", schemas);
    check("| all | DROP SCHEMA acme CASCADE", schemas);
    check("| all | ALTER SCHEMA acme RENAME TO b", schemas);
    check("| all | SELECT 1; CREATE SCHEMA x", schemas);
    check("| all | CREATE ROLE joe", "CREATE ROLE concerns every shard");
    check(
        "| all | ALTER ROLE CURRENT_USER SET search_path = acme",
        "ALTER ROLE concerns every shard",
    );
    check("| all | ALTER DATABASE d SET search_path = acme", "ALTER DATABASE concerns every shard");
    check("| all | DROP OWNED BY joe", "DROP OWNED concerns every shard");
    check("acme | all | PREPARE TRANSACTION 'x'", "two-phase commit is not supported");
    check("acme | all | SELECT * FROM t; COMMIT PREPARED 'x'", "two-phase commit is not supported");
}

const SCHEMAS: &str = "home (Soft): home knows every schema";

#[test]
fn tenants_that_the_catalogue_is_asked_about() {
    let one = "one (Passing): the statement names \"acme\"";
    let also = "one or home (Passing): the statement names \"acme\"";
    let both = "home (Passing): home knows every schema";
    check("| all | SELECT 1 FROM pg_namespace WHERE nspname = 'acme'", also);
    check("core | all | SELECT to_regnamespace('acme')", also);
    check("@core | all | SELECT 1 FROM pg_namespace WHERE nspname = 'acme'", also);
    check("| all | SELECT 1 FROM pg_tables WHERE schemaname = 'acme'", one);
    check("| all | SELECT oid FROM pg_namespace WHERE nspname = 'acme'", one);
    check("| all | SELECT 1 FROM pg_namespace WHERE nspname IN ('acme', 'bolt')", also);
    check("| all | SELECT 1 FROM pg_namespace WHERE nspname IN ('acme', 'core')", both);
    check("| all | SELECT to_regnamespace('acme'), to_regnamespace('core')", both);
    check("| all | SELECT 1 FROM pg_tables WHERE schemaname IN ('acme', 'core')", SEVERAL);
    check("| all | SELECT 1 FROM pg_tables WHERE schemaname IN ('acme', 'bolt')", one);
    check(
        "| all | SELECT 1 FROM pg_namespace WHERE nspname = 'attic'",
        "home (Passing): the statement names \"attic\"",
    );
    check("| all | SELECT to_regnamespace('acme'); SELECT to_regnamespace('core')", both);
    check("| all | SELECT to_regnamespace('acme'); SELECT nspname FROM pg_namespace", both);
    check("| all | SELECT to_regnamespace('acme'); SELECT 'core.t'::regclass", SEVERAL);
    check(
        "| all | SELECT to_regnamespace('acme'), f()",
        "one (Firm): the statement names \"acme\"",
    );
    // Rows are where they are.
    check("core | all | SELECT * FROM t; SELECT to_regnamespace('acme')", SEVERAL);
    check(
        "attic | all | SELECT * FROM t; SELECT to_regnamespace('acme')",
        "home (Firm): search_path selects \"attic\"",
    );
    check(
        "| all | SELECT to_regnamespace('acme'); SELECT * FROM acme.t",
        "one (Firm): the statement names \"acme\"",
    );
    // That a schema exists is no secret, and no work for its shard.
    check("| acme | SELECT 1 FROM pg_namespace WHERE nspname = 'bolt'", both);
    check("| acme | SELECT 1 FROM pg_tables WHERE schemaname = 'bolt'", NOT_BOLT);
    check("| all | SELECT to_regnamespace('asleep')", both);
    let asleep = "tenant \"asleep\" is not accepting queries: it is suspended";
    check("| all | SELECT 1 FROM pg_tables WHERE schemaname = 'asleep'", asleep);
}

#[test]
fn lists_of_the_catalogue() {
    check("| all | SELECT nspname FROM pg_namespace", SCHEMAS);
    check("core | all | SELECT nspname FROM pg_namespace", SCHEMAS);
    check("core | all | SELECT schema_name FROM information_schema.schemata", SCHEMAS);
    check("core | all | SELECT 1 FROM pg_namespace WHERE nspname = 'nobody'", SCHEMAS);
    check("core | all | SELECT 1 FROM pg_namespace WHERE nspname LIKE 'ac%'", SCHEMAS);
    check("core | all | SELECT 1 FROM pg_namespace WHERE nspname <> 'acme'", SCHEMAS);
    check("core | all | SELECT rolname FROM pg_roles", SCHEMAS);
    check("core | all | SELECT datname FROM pg_database", SCHEMAS);
    check(
        "@core | all | SELECT nspname FROM pg_namespace",
        "two (Soft): veneer.tenant is \"core\"",
    );
    let core = "two (Soft): search_path selects \"core\"";
    check("core | all | SELECT oid, nspname FROM pg_namespace", core);
    check("core | all | SELECT relname FROM pg_class", core);
    check("core | all | SELECT relname FROM pg_class WHERE relname = 'acme'", core);
    check("core | all | SELECT nspname FROM pg_namespace; SELECT relname FROM pg_class", core);
    check("core | all | SELECT 1; SELECT nspname FROM pg_namespace", SCHEMAS);
}

#[test]
fn objects_by_their_numbers() {
    let two = "two (Passing): shard \"two\" has given out the OIDs";
    check("affinity:two | all | SELECT 1 FROM pg_class WHERE oid = '16395'", two);
    check("acme affinity:two | all | SELECT pg_get_indexdef(16395)", two);
    check("@acme affinity:two | all | SELECT pg_get_indexdef(16395)", two);
    check("affinity:two | all | SELECT nspname FROM pg_namespace WHERE oid = 16400", two);
    check(
        "affinity:two | all | SELECT 1 FROM pg_class WHERE oid = 1259",
        "home (Soft): nothing names a tenant",
    );
    check("acme | all | SELECT pg_get_indexdef(16395)", "one (Soft): search_path selects \"acme\"");
    check(
        "acme affinity:gone | all | SELECT pg_get_indexdef(16395)",
        "one (Soft): search_path selects \"acme\"",
    );
    check(
        "affinity:two | all | SELECT 1 FROM pg_class, pg_namespace n WHERE pg_class.oid = 16395 AND nspname = 'acme'",
        "one (Passing): the statement names \"acme\"",
    );
    check("affinity:two | all | SELECT pg_get_indexdef(16395); SELECT * FROM acme.t", SEVERAL);
}

/// What the session holds after each statement: `shard that answers: statement`.
#[test]
fn affinity_follows_what_was_answered() {
    let directory = directory();
    let mut affinity = None;
    for (shard, sql, expected) in [
        ("home", "SELECT 1", None),
        ("two", "SELECT 1 FROM pg_tables WHERE schemaname = 'core'", Some("two")),
        ("home", "SELECT 1", Some("two")),
        ("home", "SHOW search_path", Some("two")),
        ("home", "SET search_path = acme", Some("two")),
        ("two", "SELECT pg_get_indexdef(16395)", Some("two")),
        ("home", "SELECT 1 FROM pg_class WHERE oid = $1", Some("two")),
        ("one", "SELECT * FROM acme.t", Some("one")),
        ("home", "SELECT nspname FROM pg_namespace", Some("one")),
        ("home", "SELECT to_regnamespace('core')", Some("one")),
        ("two", "SELECT to_regnamespace('core')", Some("two")),
        ("home", "SELECT to_regnamespace('core'), to_regnamespace('acme')", Some("two")),
        ("home", "SELECT oid, nspname FROM pg_namespace", Some("home")),
        ("two", "SELECT f()", Some("two")),
        ("two", "SET veneer.tenant = acme", None),
        ("two", "INSERT INTO core.t VALUES (1)", Some("two")),
        ("home", "RESET ALL", None),
    ] {
        let text = Reader::new(&Default::default()).read_now(sql.as_bytes()).expect(sql);
        let nowhere = Path::default();
        let asker = Asker {
            settings: &Settings::default(),
            user: "joe",
            may_use: &|_| true,
            role: "joe",
            scope: None,
            path: &nowhere,
            start_scope: None,
            start_path: &nowhere,
            earlier: &[],
            affinity: affinity.as_ref(),
        };
        let plan = route(&text, &asker, &directory).expect(sql);
        let shard = ShardName::stored(shard).unwrap();
        affinity = super::affinity(affinity.as_ref(), &text, &plan, &shard);
        assert_eq!(affinity.as_ref().map(ShardName::as_str), expected, "{sql}");
    }
}
