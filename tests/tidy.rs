//! The law of floors and other house rules, read from the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 400;

fn sources(under: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn shown(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// The modules of `src/lib.rs`, top floor first.
fn floors() -> Vec<String> {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
        .expect("src/lib.rs");
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect()
}

/// The first part of a path below `src/`: the room that a file belongs to.
fn room(file: &Path) -> String {
    let shown = shown(file);
    let inside = shown.strip_prefix("src/").unwrap_or(&shown);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned()
}

/// Every room that a line names as `crate::room`, in lists of imports too.
fn rooms_named(text: &str, floors: &[String]) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let list = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let names = list.map_or(rest, |(names, _)| names);
        let parts = if list.is_some() { names.split(',').collect() } else { vec![names] };
        for part in parts {
            let word = part.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next();
            rooms.extend(word.filter(|word| floors.iter().any(|f| f == word)).map(str::to_owned));
        }
    }
    rooms
}

fn is_test(file: &Path) -> bool {
    let shown = shown(file);
    shown.ends_with("/tests.rs") || shown.contains("/tests/")
}

#[test]
fn no_arrow_points_upward() {
    let floors = floors();
    assert!(10 < floors.len(), "src/lib.rs lists its modules");
    let floor = |room: &str| floors.iter().position(|name| name == room);
    let mut broken = Vec::new();
    for file in sources("src") {
        let here = room(&file);
        let Some(mine) = floor(&here) else { continue };
        let text = fs::read_to_string(&file).expect("a source file");
        for used in rooms_named(&text, &floors) {
            if floor(&used).is_some_and(|used| used < mine) {
                broken
                    .push(format!("`{}` uses `{used}`, which is on a higher floor", shown(&file)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_room_is_on_the_list() {
    let floors = floors();
    for file in sources("src") {
        let room = room(&file);
        assert!(
            matches!(room.as_str(), "lib" | "main") || floors.contains(&room),
            "`{}` belongs to no room of src/lib.rs",
            shown(&file)
        );
    }
}

#[test]
fn every_file_says_what_it_is() {
    for file in sources("src").into_iter().chain(sources("tests")) {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(text.starts_with("//! "), "`{}` does not open with a `//!` line", shown(&file));
    }
}

#[test]
fn no_file_outgrows_a_reader() {
    for file in sources("src").into_iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(&file).expect("a source file");
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(
            lines <= FILE_LINES_MAX,
            "`{}` has {lines} lines; at most {FILE_LINES_MAX} before its tests",
            shown(&file)
        );
    }
}
