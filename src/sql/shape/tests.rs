//! Which texts share a shape.

fn shape(sql: &str) -> String {
    let mut shape = Vec::new();
    match super::write(sql.as_bytes(), &mut shape) {
        true => String::from_utf8(shape).unwrap(),
        false => "in doubt".to_owned(),
    }
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(shape(sql), expected, "{sql}");
}

#[test]
fn shapes() {
    check("SELECT * FROM t WHERE id = 42", "SELECT * FROM t WHERE id = 0");
    check("SELECT 'it''s', E'\\'', $a$x$a$, x'1f'", "SELECT '', '', '', b''");
    check("SELECT \"1\", a1, $1, -1.5e3", "SELECT \"1\", a1, $1, -0");
    check("SELECT /* trace 17 */ 1 -- 18", "SELECT   0  ");
    check("SELECT a/**/b", "SELECT a b");
    check("SELECT 'a'\n'b'", "in doubt");
    check("SELECT 'a' -- x\n'b'", "in doubt");
    check("SELECT U&'a'", "in doubt");
    check("SELECT 0x1f", "in doubt");
    check("SELECT 1..2", "in doubt");
    check("SELECT b'0''1'", "in doubt");
    check("SELECT t.5", "in doubt");
    check("SELECT 'open", "in doubt");
    check(&format!("SELECT 1 {} 2", "+".repeat(33)), "in doubt");
}
