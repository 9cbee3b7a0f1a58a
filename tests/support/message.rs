//! Messages as a client sends them, byte for byte, good or bad.

/// A message of any tag and any body.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("tests send no gigabytes");
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A header that claims a length, whatever follows.
pub fn claim(tag: u8, length: u32) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

pub fn query(sql: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'Q', &text(sql))
}

pub fn parse(name: &str, sql: impl AsRef<[u8]>, types: &[u32]) -> Vec<u8> {
    let mut body = [text(name), text(sql)].concat();
    put_count(types.len(), &mut body);
    types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    message(b'P', &body)
}

/// A bound value; `None` is NULL.
pub type Value = Option<Vec<u8>>;

/// `formats` stands for the parameters and `results` for the columns, 0 text and 1 binary.
pub fn bind(
    portal: &str,
    statement: &str,
    formats: &[u16],
    values: &[Value],
    results: &[u16],
) -> Vec<u8> {
    let mut body = [text(portal), text(statement)].concat();
    put_codes(formats, &mut body);
    put_count(values.len(), &mut body);
    for value in values {
        let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    put_codes(results, &mut body);
    message(b'B', &body)
}

/// `S` a statement, `P` a portal.
pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![kind], text(name)].concat())
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    message(b'E', &[text(portal), rows_max.to_be_bytes().to_vec()].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![kind], text(name)].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// A FunctionCall with text arguments and a text result.
pub fn function_call(oid: u32, values: &[&str]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    put_codes(&[], &mut body);
    put_count(values.len(), &mut body);
    for value in values {
        body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    message(b'F', &body)
}

/// A startup packet of version 3.0.
pub fn startup<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend([text(name), text(value)].concat());
    }
    body.push(0);
    first_packet(196_608, &body)
}

/// What opens a connection: a length, a code and more.
pub fn first_packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), rest].concat()
}

pub fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    [text.as_ref(), &[0]].concat()
}

fn put_codes(codes: &[u16], body: &mut Vec<u8>) {
    put_count(codes.len(), body);
    codes.iter().for_each(|code| body.extend_from_slice(&code.to_be_bytes()));
}

fn put_count(count: usize, body: &mut Vec<u8>) {
    body.extend_from_slice(&u16::try_from(count).unwrap().to_be_bytes());
}
