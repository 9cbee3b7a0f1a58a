//! What a client says, as text: one message a line, a blank line where it waits for answers.
//!
//! ```text
//! Query SQL            Parse NAME TYPES SQL      Bind PORTAL STATEMENT VALUES… [=b]
//! Describe S|P NAME    Execute PORTAL ROWS       Close S|P NAME
//! Sync   Flush         CopyData TEXT             CopyDone   CopyFail WHY
//! < TAG                reads up to a reply of this tag, or an error, instead of ReadyForQuery
//! << TAG               reads up to a reply of this tag and the next ReadyForQuery
//! ```
//!
//! `-` is an empty name, or no types. Values are words: `NULL`, `#0102` in binary, else text; `=b`
//! asks for a binary result. `\n`, `\t` and `\_` (a space) are read in values and COPY data.

use super::message::{self, Value};
use super::wire::Until;

/// What is sent at once, and what is awaited then.
#[derive(Debug)]
pub struct Segment {
    pub lines: Vec<String>,
    pub bytes: Vec<u8>,
    pub until: Until,
}

#[track_caller]
pub fn segments(script: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut lines = Vec::new();
    for line in script.lines().map(str::trim_start).chain([""]) {
        if !line.is_empty() {
            lines.push(line.to_owned());
        } else if !lines.is_empty() {
            segments.push(segment(std::mem::take(&mut lines)));
        }
    }
    segments
}

#[track_caller]
fn segment(lines: Vec<String>) -> Segment {
    let mut bytes = Vec::new();
    let mut ready = 0;
    let mut until = None;
    for line in &lines {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "<" => {
                until = Some(Until::Tag(rest.as_bytes()[0]));
                continue;
            }
            "<<" => {
                until = Some(Until::ReadyAfter(rest.as_bytes()[0]));
                continue;
            }
            "Query" | "Sync" | "Function" => ready += 1,
            _ => {}
        }
        bytes.extend(message(verb, rest));
    }
    // Simple COPY data has its end, and its ReadyForQuery, without a Sync.
    let ends_copy =
        lines.iter().any(|line| line.starts_with("CopyDone") || line.starts_with("CopyFail"));
    if ready == 0 && ends_copy {
        ready = 1;
    }
    let until = until.unwrap_or(Until::Ready(ready));
    Segment { lines, bytes, until }
}

#[track_caller]
fn message(verb: &str, rest: &str) -> Vec<u8> {
    let words: Vec<&str> = rest.split(' ').collect();
    let word = |index: usize| name(words.get(index).copied().unwrap_or("-"));
    match verb {
        "Query" => message::query(rest),
        "Parse" => {
            let [name, types, sql] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("Parse NAME TYPES SQL: {rest}")
            };
            let types = types.split(',').filter(|oid| *oid != "-").map(|oid| oid.parse().unwrap());
            message::parse(self::name(name), sql, &types.collect::<Vec<_>>())
        }
        "Bind" => bind(word(0), word(1), &words[2..]),
        "Describe" => message::describe(words[0].as_bytes()[0], word(1)),
        "Close" => message::close(words[0].as_bytes()[0], word(1)),
        "Execute" => {
            message::execute(word(0), words.get(1).map_or(0, |rows| rows.parse().unwrap()))
        }
        "Sync" => message::sync(),
        "Flush" => message::flush(),
        "CopyData" => message::message(b'd', unescaped(rest).as_bytes()),
        "CopyDone" => message::message(b'c', b""),
        "CopyFail" => message::message(b'f', &message::text(rest)),
        "Function" => message::function_call(words[0].parse().unwrap(), &words[1..]),
        "Terminate" => message::message(b'X', b""),
        _ => panic!("no such message: {verb} {rest}"),
    }
}

fn bind(portal: &str, statement: &str, words: &[&str]) -> Vec<u8> {
    let results: &[u16] = if words.contains(&"=b") { &[1] } else { &[] };
    let words: Vec<&str> = words.iter().copied().filter(|word| *word != "=b").collect();
    let formats: Vec<u16> = words.iter().map(|word| u16::from(word.starts_with('#'))).collect();
    let values: Vec<Value> = words.iter().map(|word| value(word)).collect();
    message::bind(portal, statement, &formats, &values, results)
}

fn value(word: &str) -> Value {
    if word == "NULL" {
        return None;
    }
    let Some(hex) = word.strip_prefix('#') else { return Some(unescaped(word).into_bytes()) };
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    Some((0..hex.len()).step_by(2).map(digits).collect())
}

fn name(word: &str) -> &str {
    if word == "-" { "" } else { word }
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t").replace("\\_", " ")
}
