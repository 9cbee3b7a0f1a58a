//! Replies as text, one line each, so that two conversations can be compared whole.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

/// Rows beyond this many in a run are told as one line.
const ROWS_TOLD_MAX: usize = 20;
/// Longer values are told by their length and hash.
const VALUE_BYTES_MAX: usize = 120;

/// One message from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Bytes,
}

/// What was said, line by line.
#[derive(Debug, Default)]
pub struct Transcript {
    text: String,
    /// Of the objects that users made, in the order of their coming.
    oids: Vec<u32>,
    rows: usize,
    folded: DefaultHasher,
}

impl Transcript {
    pub fn line(&mut self, line: &str) {
        self.end_rows();
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub fn frame(&mut self, frame: &Frame) {
        let is_row = matches!(frame.tag, b'D' | b'd');
        if is_row && ROWS_TOLD_MAX <= self.rows {
            self.rows += 1;
            frame.body.hash(&mut self.folded);
            return;
        }
        let rows = self.rows;
        let told = told(frame, &mut self.oids);
        self.line(&told);
        self.rows = if is_row { rows + 1 } else { 0 };
    }

    pub fn finish(mut self) -> String {
        self.end_rows();
        self.text
    }

    fn end_rows(&mut self) {
        if ROWS_TOLD_MAX < self.rows {
            let hash = std::mem::take(&mut self.folded).finish();
            let _ = writeln!(self.text, "… {} rows in all, hash {hash:016x}", self.rows);
        }
        self.rows = 0;
    }
}

/// The name of a reply's tag.
pub fn name(tag: u8) -> &'static str {
    match tag {
        b'1' => "ParseComplete",
        b'2' => "BindComplete",
        b'3' => "CloseComplete",
        b'A' => "NotificationResponse",
        b'C' => "CommandComplete",
        b'D' => "DataRow",
        b'E' => "ErrorResponse",
        b'G' => "CopyInResponse",
        b'H' => "CopyOutResponse",
        b'I' => "EmptyQueryResponse",
        b'K' => "BackendKeyData",
        b'N' => "NoticeResponse",
        b'R' => "Authentication",
        b'S' => "ParameterStatus",
        b'T' => "RowDescription",
        b'V' => "FunctionCallResponse",
        b'Z' => "ReadyForQuery",
        b'c' => "CopyDone",
        b'd' => "CopyData",
        b'n' => "NoData",
        b's' => "PortalSuspended",
        b't' => "ParameterDescription",
        b'v' => "NegotiateProtocolVersion",
        _ => "?",
    }
}

/// One reply with all that it says. Objects that users made are told by their place in `oids`:
/// made again, they have another number.
pub fn told(frame: &Frame, oids: &mut Vec<u32>) -> String {
    let mut body = Reader(&frame.body);
    let said = match frame.tag {
        b'E' | b'N' => fields(&frame.body),
        b'C' | b'Z' | b'd' => shown(&frame.body),
        b'D' => row(&mut body),
        b'T' => columns(&mut body, oids),
        b'A' => {
            // The process differs; what it says must not.
            let _pid = body.u32();
            format!("{} {}", body.text(), body.text())
        }
        b'S' => format!("{} = {}", body.text(), body.text()),
        b't' => {
            let count = body.u16();
            (0..count).map(|_| object(body.u32(), oids)).collect::<Vec<_>>().join(" ")
        }
        _ => frame.body.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    format!("{} {said}", name(frame.tag)).trim_end().to_owned()
}

/// The fields of an error or a notice: `S=ERROR V=ERROR C=42601 M=…`.
pub fn fields(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let fields = fields.map(|field| format!("{}={}", char::from(field[0]), shown(&field[1..])));
    fields.collect::<Vec<_>>().join(" ")
}

fn row(body: &mut Reader<'_>) -> String {
    let count = body.u16();
    let values = (0..count).map(|_| match body.u32() {
        u32::MAX => "NULL".to_owned(),
        length => shown(body.bytes(length as usize)),
    });
    values.collect::<Vec<_>>().join(" | ")
}

/// Name, table, column, type, length, modifier, format: all that a driver sees.
fn columns(body: &mut Reader<'_>, oids: &mut Vec<u32>) -> String {
    let count = body.u16();
    let columns = (0..count).map(|_| {
        let name = body.text();
        let (table, column, of, length) = (body.u32(), body.u16(), body.u32(), body.u16());
        let (modifier, format) = (body.u32().cast_signed(), body.u16());
        let (table, of, length) = (object(table, oids), object(of, oids), length.cast_signed());
        format!("{name} {table}.{column} {of} {length} {modifier} {format}")
    });
    columns.collect::<Vec<_>>().join(" | ")
}

/// PostgreSQL's own objects have fixed numbers, below `FirstNormalObjectId`.
fn object(oid: u32, oids: &mut Vec<u32>) -> String {
    if oid < 16_384 {
        return oid.to_string();
    }
    let known = oids.iter().position(|known| *known == oid);
    let index = known.unwrap_or_else(|| {
        oids.push(oid);
        oids.len() - 1
    });
    format!("own{index}")
}

fn shown(bytes: &[u8]) -> String {
    if VALUE_BYTES_MAX < bytes.len() && !bytes.is_ascii() || 4 * VALUE_BYTES_MAX < bytes.len() {
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        return format!("… {} bytes, hash {:016x}", bytes.len(), hash.finish());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_end_matches('\0').replace('\n', "\\n").replace('\0', "\\0"),
        Err(_) => format!("{bytes:02x?}"),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).expect("a text ends with a NUL");
        let text = shown(self.bytes(end));
        self.bytes(1);
        text
    }
}
