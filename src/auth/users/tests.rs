//! Users from settings.

use super::*;
use crate::yaml;

#[track_caller]
fn check_pattern(pattern: &str, yes: &str, no: &str) {
    let pattern: Pattern = serde_json::from_value(pattern.into()).unwrap();
    for name in yes.split_whitespace() {
        assert!(pattern.matches(name), "{name}");
    }
    for name in no.split_whitespace() {
        assert!(!pattern.matches(name), "{name}");
    }
}

#[test]
fn patterns() {
    check_pattern("acme", "acme", "acme2 ACME acm");
    check_pattern("*", "acme a", "");
    check_pattern("acme_*", "acme_ acme_eu", "acme acm_eu xacme_eu");
    check_pattern("*_eu", "acme_eu _eu", "acme_eux eu");
    check_pattern("a*b*c", "abc axbxc abbc abcc", "ab ac acb abcd");
    check_pattern("ab*ba", "abba abxba", "aba");
    check_pattern("a**c", "ac abc", "a c");
}

#[test]
fn a_verifier_is_printed_as_it_was_read() {
    let text = Verifier::of_password("sesame").unwrap().to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:"), "{text}");
    assert_eq!(text.parse::<Verifier>().unwrap().to_string(), text);
    for cut in 0..text.len() {
        assert_eq!(text[..cut].parse::<Verifier>(), Err(BadVerifier), "{cut}");
    }
}

#[test]
fn decoys_are_steady_and_differ() {
    let users = Users::default();
    assert_eq!(users.decoy("eve"), Users::default().decoy("eve"));
    assert_ne!(users.decoy("eve").salt, users.decoy("eva").salt);
    assert_eq!(users.decoy("eve").to_string().parse(), Ok(users.decoy("eve")));
}

#[test]
fn secrets_are_not_shown() {
    let login = BackendLogin {
        role: RoleName::stored("app").unwrap(),
        password: Some(Secret::new("hush")),
        md5: false,
    };
    assert!(!format!("{login:?}").contains("hush"));
}

/// The logins of a user that is written as `text`: one per shard `s1` and `s2`.
#[track_caller]
fn check_logins(text: &str, expected: [(&str, Option<&str>); 2]) {
    let mut mistakes = Mistakes::new(Path::new("v.yaml"));
    let text = format!("app: {{method: trust, tenants: [acme, eu_*], {text}}}");
    let root = yaml::parse(&text, &mut mistakes).unwrap();
    let settings: Settings = yaml::read(root.get("app").unwrap(), &mut mistakes).unwrap();
    let name = RoleName::stored("app").unwrap();
    let users = Users::resolve([(&name, &settings)], Path::new(DIRECTORY), &mut mistakes);
    assert_eq!(mistakes.to_string(), "");

    let user = users.get("app").unwrap();
    assert!(users.get("App").is_none());
    let logins = ["s1", "s2"].map(|shard| user.login(&ShardName::stored(shard).unwrap()));
    let logins = logins
        .map(|login| (login.role.as_str(), login.password.as_ref().map(|secret| secret.reveal())));
    assert_eq!(logins, expected);
    assert!(user.tenants.may_use("acme") && user.tenants.may_use("eu_1"));
    assert!(!user.tenants.may_use("acme2"));
}

/// Holds a file that every checkout has, and whose first line never changes.
const DIRECTORY: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn roles_on_shards() {
    check_logins("", [("app", None), ("app", None)]);
    check_logins("as: {user: x}", [("x", None), ("x", None)]);
    check_logins("as_shard: {s2: {user: y}}", [("app", None), ("y", None)]);
    check_logins(
        "as: {user: x, password: {file: Cargo.toml}}, as_shard: {s2: {user: y}}",
        [("x", Some("[package]")), ("y", Some("[package]"))],
    );
    check_logins(
        "as: {user: x}, as_shard: {s2: {password: {file: Cargo.toml}}}",
        [("x", None), ("x", Some("[package]"))],
    );
}

#[test]
fn a_password_file_becomes_a_verifier() {
    let mut mistakes = Mistakes::new(Path::new("v.yaml"));
    let text = "app: {tenants: all, password: {file: Cargo.toml}}";
    let root = yaml::parse(text, &mut mistakes).unwrap();
    let settings: Settings = yaml::read(root.get("app").unwrap(), &mut mistakes).unwrap();
    let name = RoleName::stored("app").unwrap();
    let users = Users::resolve([(&name, &settings)], Path::new(DIRECTORY), &mut mistakes);
    assert_eq!(mistakes.to_string(), "");
    let Proof::Scram(verifier) = &users.get("app").unwrap().proof else { panic!("trusted") };
    // Shaped as a decoy is.
    assert_eq!(verifier.to_string().len(), users.decoy("app").to_string().len());
}
