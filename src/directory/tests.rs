//! Directories as text, and the mistakes told about them.

use std::path::Path;

use super::yaml::Mistakes;
use super::*;

const SHARDS: &str = "home: s1
shards:
  s1: {host: 127.0.0.1, port: 6433, database: bookstore}
  s2: {host: 127.0.0.1, port: 6434, database: bookstore}
";

/// Compares what is told about `text`, line by line; nothing means a good file.
#[track_caller]
fn check(text: &str, expected: &str) {
    let mut mistakes = Mistakes::new(Path::new("t.yaml"));
    let snapshot = file::parse(text, &mut mistakes);
    assert_eq!(mistakes.to_string(), expected);
    assert_eq!(snapshot.is_some(), !mistakes.has_errors());
}

#[track_caller]
fn check_tenants(text: &str, expected: &str) {
    check(&format!("{SHARDS}{text}"), expected);
}

#[test]
fn tenants() {
    check_tenants("", "");
    check_tenants("tenants:\n", "");
    check_tenants(
        "tenants:\n  acme: {shard: s1}\n  Ölmühle: {shard: s2, standing: read_only}\n",
        "",
    );
    check_tenants(
        "tenants:
  acme: {shard: s11}
  acme: {shard: s1}
  bolt: {}
  core: {shard: s1, standing: read-only, port: 1}
  dusk: s1
  pg_evil: {shard: s1}
",
        "t.yaml:6:17: tenant `acme` lives on `s11`, which is no shard; did you mean `s1`?
t.yaml:7:3: `acme` is written twice; first on line 6
t.yaml:8:3: `bolt` lacks `shard`
t.yaml:9:31: `standing` is `read-only`; wanted one of `provisioning`, `active`, `read_only`, \
            `suspended`, `moving`, `failed`, `archived`; did you mean `read_only`?
t.yaml:9:42: unknown key `port`; known: `shard`, `standing`
t.yaml:10:9: `dusk` is a single value; wanted `key: value`s
t.yaml:11:3: `pg_evil` cannot be a tenant: PostgreSQL and veneer keep `pg_*`, `public` and \
            `information_schema`",
    );
}
