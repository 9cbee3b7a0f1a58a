//! What a shard's error says, field by field.

use crate::protocol::cursor::Cursor;

/// A field of an `ErrorResponse` by its letter; nothing if it is not there.
pub fn field(body: &[u8], letter: u8) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body);
    loop {
        let found = cursor.byte().ok().filter(|found| *found != 0)?;
        let text = cursor.text().ok()?;
        if found == letter {
            return Some(text);
        }
    }
}

/// The shard ends the connection with it. The letter `V` is never translated.
pub fn is_fatal(body: &[u8]) -> bool {
    matches!(field(body, b'V'), Some(b"FATAL" | b"PANIC"))
}

pub fn message(body: &[u8]) -> String {
    String::from_utf8_lossy(field(body, b'M').unwrap_or_default()).into_owned()
}

/// `cached plan must not change result type` or `cache lookup failed for type …`, by the name of
/// the function or the code: the words depend on the language.
pub fn is_of_outdated_plan(body: &[u8]) -> bool {
    field(body, b'R') == Some(b"RevalidateCachedQuery") || field(body, b'C') == Some(b"XX000")
}

/// A statement that was there is not: what we know of the backend's statements is wrong.
pub fn lacks_statement(body: &[u8], prefix: &str) -> bool {
    let message = field(body, b'M').unwrap_or_default();
    field(body, b'C') == Some(b"26000")
        && message.windows(prefix.len()).any(|part| part == prefix.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_their_letters() {
        let body = b"SFATAL\0VFATAL\0C57P01\0Mgoing\0\0";
        assert!(is_fatal(body) && message(body) == "going");
        assert_eq!(field(body, b'C'), Some(&b"57P01"[..]));
        assert_eq!(field(body, b'D'), None);
        for cut in 0..body.len() {
            // A field that is not whole is not there.
            assert!(field(&body[..cut], b'M').is_none_or(|text| text == b"going"));
        }
    }
}
