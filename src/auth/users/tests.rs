//! Users from settings.

use super::*;

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
    };
    assert!(!format!("{login:?}").contains("hush"));
}
