//! Paths as PostgreSQL 15 splits and spells them.

use super::{spell, split};

#[track_caller]
fn check(text: &str, expected: &str) {
    let printed = match split(text) {
        Ok(names) => names.join("|"),
        Err(_) => "refused".to_owned(),
    };
    assert_eq!(printed, expected, "{text}");
}

#[test]
fn splitting() {
    check("", "");
    check("  \t\n ", "");
    check("acme", "acme");
    check("Acme, PUBLIC", "acme|public");
    check(" acme ,public ", "acme|public");
    check("\"Acme\",public", "Acme|public");
    check("\"a\"\"b\"", "a\"b");
    check("\"a,b\" , c", "a,b|c");
    check("\"\"", "");
    check("\"$user\", public", "$user|public");
    check("$user", "$user");
    check("a b", "refused");
    check("a,", "refused");
    check(",a", "refused");
    check("a,,b", "refused");
    check("\"a", "refused");
    check("\"a\"b", "refused");
    check("a\"b\"", "a\"b\"");
    check("Ärger", "Ärger");
    check("a\u{a0}b", "a\u{a0}b");
    check(&"x".repeat(70), &"x".repeat(63));
    check(&format!("\"{}é\"", "x".repeat(62)), &"x".repeat(62));
}

#[test]
fn spelling() {
    let spelled =
        |names: &[&str]| spell(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(spelled(&["tenant1", "public"]), "tenant1, public");
    assert_eq!(spelled(&["My Tenant", "$user"]), "\"My Tenant\", \"$user\"");
    assert_eq!(spelled(&["", "a\"b", "1a", "_a1"]), "\"\", \"a\"\"b\", \"1a\", _a1");
    assert_eq!(spelled(&["select", "user", "name", "int"]), "\"select\", \"user\", name, \"int\"");
    assert_eq!(spelled(&["é", "a$b", "a-b"]), "\"é\", \"a$b\", \"a-b\"");
    assert_eq!(spelled(&[]), "");
}
