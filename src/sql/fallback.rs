//! Facts without a tree, for a statement too deep for the parser: more than it says, never less.

use super::functions::{self, Effect};
use super::lex::{Kind, Lexer};
use super::walk::Findings;
use super::{Access, Act, Frees, Keep, Leaves, Name, NameKind, ReadError, Statement, Text};
use super::{literal, path};

const DATA_STATEMENTS: [&str; 7] =
    ["select", "insert", "update", "delete", "merge", "with", "values"];

fn too_deep() -> ReadError {
    ReadError::Complex("it nests too deeply to be parsed".into())
}

/// What a function of this name would leave behind.
fn left_by(word: &str) -> Leaves {
    let name = path::fold(word.trim_matches('"'));
    match functions::effect(&name) {
        Effect::Locks => Leaves::state(Keep::AdvisoryLock),
        Effect::Seeds => Leaves::state(Keep::Seed),
        _ if matches!(name.as_str(), "temp" | "temporary") => Leaves::state(Keep::TempTable),
        _ => Leaves::UNKNOWN,
    }
}

/// Every word that stands before a dot may be a schema.
pub fn find(sql: &str) -> Result<Findings, ReadError> {
    let pieces: Vec<_> = Lexer::new(sql.as_bytes())
        .filter(|piece| {
            !matches!(piece.kind, Kind::Space | Kind::LineComment | Kind::BlockComment(_))
        })
        .collect();
    let body = |at: usize| pieces.get(at).map_or("", |piece| &sql[piece.start..piece.end]);
    let first = (0..pieces.len()).find(|at| body(*at) != "(").map_or("", body);
    let known = DATA_STATEMENTS.iter().any(|word| first.eq_ignore_ascii_case(word));
    let end = (0..pieces.len()).rfind(|at| body(*at) != ";").map_or(0, |at| at + 1);
    let single = (0..end).all(|at| body(at) != ";");
    if !known || !single {
        return Err(too_deep());
    }

    let mut names = Vec::new();
    let mut leaves = Leaves::UNKNOWN;
    for (at, piece) in pieces.iter().enumerate() {
        match piece.kind {
            Kind::Word | Kind::Name => leaves |= left_by(body(at)),
            // An escape can hide a name.
            Kind::Unicode => return Err(too_deep()),
            Kind::Text if body(at).contains('\\') => return Err(too_deep()),
            Kind::Text => {}
            _ => continue,
        }
        let quoted = matches!(piece.kind, Kind::Name | Kind::Word);
        if !quoted || body(at + 1).starts_with('.') {
            names.extend(literal::words_before_dots(body(at), quoted));
        }
    }
    names.sort();
    names.dedup();
    let names = names.into_iter().map(|schema| Name { schema, kind: NameKind::Perhaps }).collect();
    let statement = Statement {
        access: Access::Write,
        names,
        unqualified: true,
        catalogue: None,
        act: Act::None,
        set_configs: Vec::new(),
        leaves,
        frees: Frees::SOME,
        asks_sequence: false,
        looks_up: true,
        parameters: Vec::new(),
    };
    Ok(Findings { text: Text { statements: vec![statement] }, literal_free: false })
}
