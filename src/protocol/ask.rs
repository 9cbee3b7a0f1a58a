//! What veneer itself asks of a shard.

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;

use crate::protocol::frame::HEADER_BYTES;
use crate::protocol::wire::READ_BYTES;

/// A text or a name with a NUL inside cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text holds a NUL byte")]
pub struct HoldsNul;

pub fn startup<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut BytesMut) {
    frontend::startup_message(parameters, out).expect("settings are checked for NUL bytes");
}

pub fn password(password: &[u8], out: &mut BytesMut) -> Result<(), HoldsNul> {
    frontend::password_message(password, out).map_err(|_| HoldsNul)
}

pub fn sasl_initial_response(mechanism: &str, data: &[u8], out: &mut BytesMut) {
    frontend::sasl_initial_response(mechanism, data, out).expect("mechanism names hold no NUL");
}

pub fn sasl_response(data: &[u8], out: &mut BytesMut) {
    frontend::sasl_response(data, out).expect("SCRAM messages are short");
}

pub fn query(sql: &str, out: &mut BytesMut) -> Result<(), HoldsNul> {
    frontend::query(sql, out).map_err(|_| HoldsNul)
}

pub fn execute(portal: &str, out: &mut BytesMut) {
    frontend::execute(portal, 0, out).expect("portal names of ours hold no NUL");
}

pub fn close_statement(name: &str, out: &mut BytesMut) {
    frontend::close(b'S', name, out).expect("statement names of ours hold no NUL");
}

pub fn close_portal(name: &str, out: &mut BytesMut) {
    frontend::close(b'P', name, out).expect("portal names of ours hold no NUL");
}

pub fn sync(out: &mut BytesMut) {
    frontend::sync(out);
}

pub fn flush(out: &mut BytesMut) {
    frontend::flush(out);
}

pub fn terminate(out: &mut BytesMut) {
    frontend::terminate(out);
}

pub fn cancel(process: i32, secret: i32, out: &mut BytesMut) {
    frontend::cancel_request(process, secret, out);
}

/// A Parse of bytes that a client sent: its text and types as they came, under our name.
pub fn parse(name: &[u8], sql: &[u8], types: &[u8], out: &mut BytesMut) {
    let body_bytes = name.len() + 1 + sql.len() + 1 + types.len();
    header(b'P', body_bytes, out);
    put_name(name, out);
    put_name(sql, out);
    out.put_slice(types);
}

/// The front of a Bind whose statement goes by another name here; what follows the names is
/// the client's own, `rest_bytes` long in all.
pub fn bind_front(portal: &[u8], statement: &[u8], rest_bytes: usize, out: &mut BytesMut) {
    header(b'B', portal.len() + 1 + statement.len() + 1 + rest_bytes, out);
    put_name(portal, out);
    put_name(statement, out);
}

pub fn describe_statement(name: &[u8], out: &mut BytesMut) {
    header(b'D', 1 + name.len() + 1, out);
    out.put_u8(b'S');
    put_name(name, out);
}

fn header(tag: u8, body_bytes: usize, out: &mut BytesMut) {
    // At once, and no more than the usual: of a long message only a part has come.
    out.reserve(HEADER_BYTES + body_bytes.min(READ_BYTES));
    out.put_u8(tag);
    // Every part came in a frame that was within FRAME_BYTES_MAX, and our names are short.
    out.put_u32(u32::try_from(body_bytes + 4).expect("a frame is below 1 GiB"));
}

fn put_name(name: &[u8], out: &mut BytesMut) {
    out.put_slice(name);
    out.put_u8(0);
}

/// A message as it came, of which `here` is the part that has come.
pub fn front(tag: u8, body_bytes: usize, here: &[u8], out: &mut BytesMut) {
    header(tag, body_bytes, out);
    out.put_slice(here);
}
