//! Directories as text, and the mistakes told about them.

use std::path::Path;

use super::*;
use crate::yaml::Mistakes;

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

#[test]
fn shards() {
    check(
        "",
        "t.yaml:1:1: no shard is listed; wanted `shards: {NAME: {host: …, port: …, database: …}}`",
    );
    check(
        "home: s3
shards:
  s1: {host: a, database: b, prt: 1}
  s2: {host: a, port: 5432, database: b}
  'shard three': {host: a, database: b}
  s4: {port: 70000}
  s5: {host: c, port: 0, database: b}
tenants:
  acme: {shard: s4}
",
        "t.yaml:1:7: home is `s3`, which is no shard; did you mean `s1`?
t.yaml:3:30: unknown key `prt`; did you mean `port`?
t.yaml:4:3: warning: shard `s2` has the address of shard `s1`
t.yaml:5:3: `shard three` cannot name a shard; wanted letters, digits, `_`, `-` and `.`
t.yaml:6:14: `port` is `70000`; wanted a number up to 65535
t.yaml:7:3: shard `s5` has no address; wanted a host, a port above 0 and a database",
    );
    check(
        "shards:
  s1: {host: a, database: b}
tenants: [acme]
hom: s1
",
        "t.yaml:1:1: `home` is missing; wanted the shard that owns what belongs to no tenant
t.yaml:3:1: `tenants` is a list; wanted `key: value`s
t.yaml:4:1: unknown key `hom`; did you mean `home`?",
    );
}

#[test]
fn names() {
    let long = "x".repeat(64);
    check_tenants(
        &format!("tenants:\n  {long}: {{shard: s1}}\n  '': {{shard: s1}}\n  x: {{shard: ''}}\n"),
        &format!(
            "t.yaml:6:3: `{long}` is longer than 63 bytes
t.yaml:7:3: a name cannot be empty
t.yaml:8:14: `shard` cannot be so: a name cannot be empty"
        ),
    );
}

#[test]
fn a_snapshot_contradicts_itself() {
    let name = |text: &str| ShardName::stored(text).unwrap();
    let shard = |text: &str| Shard {
        name: name(text),
        address: Address { host: "a".to_owned(), port: 1, database: "b".to_owned() },
    };
    let tenant = |text: &str, shard: &str| {
        (SchemaName::stored(text).unwrap(), name(shard), Standing::Active)
    };
    let wrong = Snapshot::new(
        name("s9"),
        [shard("s1"), shard("s1")],
        [tenant("acme", "s1"), tenant("acme", "s1"), tenant("public", "s1"), tenant("b", "s2")],
    );
    let told: Vec<String> = wrong.unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "shard `s1` is listed twice",
            "tenant `acme` is listed twice",
            "`public` cannot be a tenant: PostgreSQL and veneer keep `pg_*`, `public` and \
             `information_schema`",
            "tenant `b` lives on `s2`, which is no shard",
            "home is `s9`, which is no shard",
        ]
    );
}

/// A directory of a test's own, gone with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("veneer-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let folder = Folder::new("pen");
    let text = "tenants:\n  'null': {shard: s1}\n  '123': {shard: s2, standing: moving}\n  no: {shard: s1}\n  'a: b #': {shard: s1}\n";
    let path = folder.file("t.yaml", &format!("{SHARDS}{text}"));
    let before = file::load(&path).unwrap();
    file::Pen::take(&path).unwrap().write(&before).unwrap();
    let after = file::load(&path).unwrap();
    assert_eq!(after.tenants, before.tenants);
    assert_eq!(after.shards, before.shards);
    assert_eq!(after.home, before.home);
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), wait).await.expect("in time");
}

#[tokio::test]
async fn a_change_is_followed_and_a_mistake_changes_nothing() {
    let folder = Folder::new("watch");
    let path = folder.file("t.yaml", SHARDS);
    let directory = Directory::new(file::load(&path).unwrap());
    let follower = watch::follow(path.clone(), directory.clone());
    let lives = |tenant: &str| directory.snapshot().residence(tenant).is_some();

    // Renamed into place.
    let draft = folder.file("draft", &format!("{SHARDS}tenants:\n  acme: {{shard: s1}}\n"));
    std::fs::rename(draft, &path).unwrap();
    until(|| lives("acme")).await;

    // Bad, and therefore nothing.
    folder.file("t.yaml", &format!("{SHARDS}tenants:\n  bolt: {{shard: s9}}\n"));
    let mistakes = follower.reload().await.unwrap_err();
    let revision = directory.snapshot().revision();
    assert!(mistakes.to_string().contains("t.yaml:6:17: tenant `bolt`"), "{mistakes}");
    assert!(lives("acme"));

    // Written in place.
    folder.file("t.yaml", &format!("{SHARDS}tenants:\n  bolt: {{shard: s2}}\n"));
    until(|| lives("bolt")).await;
    assert!(!lives("acme"));
    assert!(revision < directory.snapshot().revision());

    // The same again is read only when asked for.
    follower.reload().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let mistakes = follower.reload().await.unwrap_err();
    assert!(mistakes.to_string().contains("cannot be read"), "{mistakes}");
    assert!(lives("bolt"));
}

#[tokio::test]
async fn a_file_behind_a_link_is_followed() {
    let folder = Folder::new("link");
    let path = folder.0.join("t.yaml");
    std::fs::create_dir_all(folder.0.join("elsewhere")).unwrap();
    let target = folder.file("elsewhere/data", SHARDS);
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let directory = Directory::new(file::load(&path).unwrap());
    let follower = watch::follow(path, directory.clone());
    // It has begun, then.
    follower.reload().await.unwrap();

    // Nothing happens in the watched directory itself.
    folder.file("elsewhere/data", &format!("{SHARDS}tenants:\n  acme: {{shard: s1}}\n"));
    until(|| directory.snapshot().residence("acme").is_some()).await;
}

#[track_caller]
fn check_nearest(name: &str, expected: Option<&str>) {
    let text = "tenants:\n  bluth_co: {shard: s1}\n  cyberdyne: {shard: s1}\n  dunder_mifflin: {shard: s1}\n  ab: {shard: s1}\n  Ölmühle: {shard: s2}\n";
    let mut mistakes = Mistakes::new(Path::new("t.yaml"));
    let snapshot = file::parse(&format!("{SHARDS}{text}"), &mut mistakes).unwrap();
    assert_eq!(snapshot.nearest(name).map(SchemaName::as_str), expected, "{name}");
}

#[test]
fn nearest() {
    check_nearest("bluth_co", Some("bluth_co"));
    check_nearest("bluthco", Some("bluth_co"));
    check_nearest("Bluth_Co", Some("bluth_co"));
    check_nearest("cyberdine", Some("cyberdyne"));
    check_nearest("dunder_miflin", Some("dunder_mifflin"));
    check_nearest("olmuhle", Some("Ölmühle"));
    check_nearest("ax", None);
    check_nearest("", None);
    check_nearest("initech", None);
}

/// With `--nocapture` it tells how long it takes; how fast the machine is decides no test.
#[test]
fn ten_thousand_tenants() {
    let mut text = format!("{SHARDS}tenants:\n");
    for number in 0..10_000 {
        text += &format!("  tenant_{number:06}:\n    shard: s{}\n", number % 2 + 1);
    }
    let folder = Folder::new("many");
    let path = folder.file("t.yaml", &text);
    let start = std::time::Instant::now();
    let snapshot = file::load(&path).unwrap();
    let loaded = start.elapsed();
    assert_eq!(snapshot.tenants().len(), 10_000);
    assert!(snapshot.nearest("tenant_0012x4").is_some());
    file::Pen::take(&path).unwrap().write(&snapshot).unwrap();
    let again = file::load(&path).unwrap();
    let residence = again.residence("tenant_009999").unwrap();
    assert_eq!(residence.shard.name.as_str(), "s2");
    println!("10,000 tenants read in {loaded:?}");
}
