//! Configurations as text, and the mistakes told about them.

use super::*;

/// Compares what is told about `text`, line by line; nothing means a good file.
#[track_caller]
fn check(text: &str, expected: &str) {
    let mut mistakes = Mistakes::new(Path::new("v.yaml"));
    Config::parse(Path::new("v.yaml"), text, &mut mistakes);
    assert_eq!(mistakes.to_string(), expected);
}

#[test]
fn the_shipped_files_are_good_and_say_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let config = Config::load(&file).unwrap();
    let directory = directory::file::load(&config.directory.file).unwrap();
    let mut mistakes = Mistakes::new(&file);
    config.compare(&directory, &mut mistakes);
    assert_eq!(mistakes.to_string(), "");

    let mut defaults = Config::parse(&file, "", &mut mistakes);
    defaults.users = config.users.clone();
    defaults.places = config.places.clone();
    assert_eq!(format!("{config:?}"), format!("{defaults:?}"));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    check("", "");
    check(
        "pool:
  wait_max: 10
  size_max: 0
  wait_mx: 1s
",
        "v.yaml:2:13: `wait_max` is `10`; wanted a time with its unit, such as `500ms`, `10s` or `1h`
v.yaml:3:13: `size_max` is `0`; wanted a whole number above 0
v.yaml:4:3: unknown key `wait_mx`; did you mean `wait_max`?",
    );
}
