//! Configurations as text, and the mistakes told about them.

use super::*;

/// A verifier as PostgreSQL makes them.
const VERIFIER: &str = "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const DIRECTORY: &str = "home: s1
shards:
  s1: {host: 127.0.0.1, port: 6433, database: bookstore}
  s2: {host: 127.0.0.1, port: 6434, database: other}
tenants:
  acme: {shard: s1}
  bolt: {shard: s2}
";

/// Compares what is told about `text`, line by line; nothing means a good file.
#[track_caller]
fn check(text: &str, expected: &str) {
    let mut mistakes = Mistakes::new(Path::new("v.yaml"));
    Config::parse(Path::new("v.yaml"), text, &mut mistakes);
    assert_eq!(mistakes.to_string(), expected);
}

/// The same, with all the parts that only meet when veneer starts.
#[track_caller]
fn check_whole(text: &str, expected: &str) {
    let mut mistakes = Mistakes::new(Path::new("v.yaml"));
    let text = text.replace("VERIFIER", VERIFIER);
    let config = Config::parse(Path::new("v.yaml"), &text, &mut mistakes);
    config.users(&mut mistakes);
    let mut in_directory = Mistakes::new(Path::new("t.yaml"));
    let snapshot = directory::file::parse(DIRECTORY, &mut in_directory).unwrap();
    config.compare(&snapshot, &mut mistakes);
    assert_eq!(mistakes.to_string(), expected);
}

#[test]
fn the_shipped_files_are_good_and_say_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let config = Config::load(&file).unwrap();
    let directory = directory::file::load(&config.directory.file).unwrap();
    let mut mistakes = Mistakes::new(&file);
    config.compare(&directory, &mut mistakes);
    assert_eq!(mistakes.to_string(), "");

    let mut defaults = Config::parse(&file, "", &mut mistakes);
    defaults.users = config.users.clone();
    defaults.places = config.places.clone();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    check("", "");
    check("limits:\npool: ~\nusers:\n", "");
    check(
        "listen: localhost
databse: bookstore
limits:
  login_max: 15
  parse_bytes_max: 131072
  cache_bytes_max: 16 apples
  message_bytes_max: [1GiB]
  clients_max: many
  drain_mx: 1s
  workers: 0
pool:
  wait_max: 10
  size_max: 0
  size_max: 1
  wait_mx: 1s
log: verbose
log2: {}
routing:
  no_tenant: hom
  shared_schemas: [public, '', {}]
",
        "v.yaml:1:9: `listen` is `localhost`; wanted an address and port, such as `127.0.0.1:6432` or `[::1]:6432`
v.yaml:2:1: unknown key `databse`; did you mean `database`?
v.yaml:4:14: `login_max` is `15`; wanted a time with its unit, such as `500ms`, `10s` or `1h`
v.yaml:5:20: `parse_bytes_max` is `131072`; wanted a size with its unit, such as `128KiB` or `16MiB`
v.yaml:6:20: `cache_bytes_max` is `16 apples`; wanted a size with its unit, such as `128KiB` or `16MiB`
v.yaml:7:3: `message_bytes_max` is a list; wanted a size with its unit, such as `128KiB` or `16MiB`
v.yaml:8:16: `clients_max` is `many`; wanted a whole number
v.yaml:9:3: unknown key `drain_mx`; did you mean `drain_max`?
v.yaml:10:12: `workers` is `0`; wanted `auto`, or a whole number above 0
v.yaml:12:13: `wait_max` is `10`; wanted a time with its unit, such as `500ms`, `10s` or `1h`
v.yaml:13:13: `size_max` is `0`; wanted a whole number above 0
v.yaml:14:3: `size_max` is written twice; first on line 13
v.yaml:15:3: unknown key `wait_mx`; did you mean `wait_max`?
v.yaml:16:6: `log` is a single value; wanted `key: value`s
v.yaml:17:1: unknown key `log2`; did you mean `log`?
v.yaml:19:14: `no_tenant` is `hom`; wanted one of `home`, `refuse`; did you mean `home`?
v.yaml:20:28: a member of `shared_schemas` cannot be so: a name cannot be empty
v.yaml:20:32: a member of `shared_schemas` is a mapping; wanted a text",
    );
}

#[test]
fn what_is_not_taken_from_yaml() {
    check("a: [1\nb: 2\n", "v.yaml:2:2: not YAML: illegal placement of ':' indicator");
    check("- a\n", "v.yaml:1:1: the file is a list; wanted `key: value`s");
    check(
        "listen: &here 127.0.0.1:1\ndatabase: *here\n",
        "v.yaml:2:1: `database` is nothing; wanted a text
v.yaml:2:11: aliases (`*name`) are not read; write the value out",
    );
    check("---\n---\nlisten: here\n", "v.yaml:2:1: a second document (`---`); wanted one");
    check(&"[".repeat(100_000), "v.yaml:1:256: not YAML: recursion limit exceeded");
    check(
        &format!("log: {}{}\n", "[".repeat(40), "]".repeat(40)),
        "v.yaml:1:1: `log` is a list; wanted `key: value`s
v.yaml:1:37: nested deeper than 32",
    );
    check("? {a: b}\n: c\n", "v.yaml:1:3: a key cannot be a mapping");
}

#[test]
fn a_mistake_is_one_line() {
    check(
        "\"a\\nb\\e[31m\": 1\n",
        "v.yaml:1:1: unknown key `a\\nb\\u{1b}[31m`; known: `limits`, `listen`, `database`, \
         `directory`, `routing`, `pool`, `tls`, `log`, `users`",
    );
}

#[test]
fn half_a_file_is_read_without_harm() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = std::fs::read_to_string(file).unwrap();
    // From the sections on: the comments before them are all alike.
    let text = &text[text.find("listen:").unwrap()..];
    for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
        for text in [&text[..cut], &text[cut..]] {
            let mut mistakes = Mistakes::new(Path::new("v.yaml"));
            Config::parse(Path::new("v.yaml"), text, &mut mistakes);
        }
    }
}

const OTHER_DATABASE: &str = "v.yaml:1:1: warning: shard `s2` calls its database `other`, \
     and clients know it as `bookstore`: some drivers compare the two\n";

const USER_MISTAKES: &str = r#"v.yaml:3:3: `a` lacks `tenants`; wanted `all` or a list of names and `*` patterns
v.yaml:4:3: `b` lacks `password`; wanted `{file: PATH}`, `{env: NAME}` or `{scram: "SCRAM-SHA-256$…"}`
v.yaml:5:16: `tenants` is `al`; wanted `all` or a list of names and `*` patterns
v.yaml:5:20: `password` cannot be so: not a verifier; wanted `SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY` as in pg_authid
v.yaml:6:17: warning: `acm` matches no tenant; did you mean `acme`?
v.yaml:6:29: warning: `zzz` matches no tenant
v.yaml:6:45: `password` is a text, and secrets stay out of here; wanted `{file: PATH}`, `{env: NAME}` or `{scram: "SCRAM-SHA-256$…"}`
v.yaml:6:67: unknown key `pasword`; did you mean `password`?
v.yaml:7:31: secret of the environment variable `VENEER_NO_SUCH`: environment variable not found
v.yaml:7:69: a verifier cannot log in to a shard; wanted `{file: PATH}` or `{env: NAME}`
v.yaml:8:31: secret file `no/such/file`: No such file or directory (os error 2)
v.yaml:8:68: `s9` is no shard; did you mean `s1`?
v.yaml:9:3: user `g` needs no proof, and `listen: 0.0.0.0:1` is open to other machines; wanted `method: scram`, or a loopback address
v.yaml:10:3: `h` has a `password` that `method: trust` never asks for
v.yaml:10:3: user `h` needs no proof, and `listen: 0.0.0.0:1` is open to other machines; wanted `method: scram`, or a loopback address
v.yaml:11:21: `password` is several sources; wanted `{file: PATH}`, `{env: NAME}` or `{scram: "SCRAM-SHA-256$…"}`
v.yaml:12:29: `method` is `md5`; wanted one of `scram`, `trust`
v.yaml:13:3: `k` lacks `tenants`; wanted `all` or a list of names and `*` patterns
v.yaml:14:1: shared schema `acme` is also a tenant"#;

#[test]
fn users() {
    check_whole(
        "database: bookstore
users:
  app: {password: {scram: VERIFIER}, tenants: [acme, b*], as_shard: {s2: {user: x}}}
",
        OTHER_DATABASE.trim_end(),
    );
    check_whole(
        "database: bookstore
users:
  a: {}
  b: {tenants: all}
  c: {tenants: al, password: {scram: abc}}
  d: {tenants: [acm, 'bo*', zzz], password: sesame, as: {user: x, pasword: y}}
  e: {tenants: all, password: {env: VENEER_NO_SUCH}, as: {password: {scram: VERIFIER}}}
  f: {tenants: all, password: {file: no/such/file}, as_shard: {s9: {}, s2: {user: x}}}
  g: {tenants: all, method: trust}
  h: {tenants: all, method: trust, password: {env: X}}
  i: {tenants: all, password: {file: x, env: y}}
  j: {tenants: all, method: md5}
  k:
routing: {shared_schemas: [acme]}
listen: 0.0.0.0:1
",
        &format!("{OTHER_DATABASE}{USER_MISTAKES}"),
    );
}

#[test]
fn workers() {
    let count = |text: &str| {
        let mut mistakes = Mistakes::new(Path::new("v.yaml"));
        let config = Config::parse(Path::new("v.yaml"), text, &mut mistakes);
        mistakes.unless_errors(config.server.workers.count().get()).expect("no mistakes")
    };
    assert_eq!(count("limits: { workers: 3 }"), 3);
    assert_eq!(count("limits: { workers: auto }"), count(""));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(count(""), (processors / 2).max(1));
}
