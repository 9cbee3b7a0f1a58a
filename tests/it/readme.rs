//! The README's psql session and commands, line by line: what is printed there is what is seen.

use std::io::Write;
use std::process::{Command, Stdio};

/// Printed by psql between two statements.
const MARK: &str = "--8<--";

/// The statements of the README's session, each with what it prints.
fn session() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("README.md");
    let (_, rest) = readme.split_once("```psql\n").expect("a psql session in the README");
    let (session, _) = rest.split_once("\n```").expect("an end of the psql session");
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in session.lines() {
        match line.strip_prefix("bookstore=").and_then(|line| line.split_once("> ")) {
            Some((_, statement)) => steps.push((statement.to_owned(), String::new())),
            None => {
                let (_, printed) = steps.last_mut().expect("a prompt before any output");
                printed.push_str(line);
                printed.push('\n');
            }
        }
    }
    steps
}

/// The commands of the README's console blocks, each with what it prints.
fn commands() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("README.md");
    let blocks = readme.split("```console\n").skip(1);
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()) {
        match line.strip_prefix("$ ") {
            // What is set up there is set up here by the demo.
            Some(command) if command.starts_with("export ") => {}
            Some(command) => steps.push((command.to_owned(), String::new())),
            None => {
                let (_, printed) = steps.last_mut().expect("a prompt before any output");
                printed.push_str(line);
                printed.push('\n');
            }
        }
    }
    steps
}

#[test]
fn every_command_of_the_readme_prints_what_is_shown() {
    let steps = commands();
    assert!(3 < steps.len(), "the commands have become few");
    let script: String =
        steps.iter().map(|(command, _)| format!("{command}; echo '{MARK}'\n")).collect();
    let (dir, _remover) = crate::support::temporary_directory("commands");
    let veneer = std::path::Path::new(env!("CARGO_BIN_EXE_veneer"));
    let path = format!(
        "{}:{}",
        veneer.parent().expect("a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(veneer)
        .args(["demo", "--port", "0", "--shard-ports", "0,0,0", "--dir"])
        .arg(&dir)
        .args(["--exit-after", &script])
        .env("PATH", path)
        .output()
        .expect("the demo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dir = dir.canonicalize().expect("it is there");
    let printed = String::from_utf8(output.stdout).expect("text");
    let printed = printed.replace(&dir.display().to_string(), "target/demo");
    let answers: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    assert_eq!(answers.len(), steps.len() + 1, "{printed}");
    for ((command, expected), answer) in steps.iter().zip(answers) {
        assert_eq!(answer.trim_end(), expected.trim_end(), "{command}");
    }
}

#[test]
fn every_line_of_the_readme_answers_as_printed() {
    let steps = session();
    assert!(10 < steps.len(), "the session has become short");
    let script: String =
        steps.iter().map(|(statement, _)| format!("{statement}\n\\echo {MARK}\n")).collect();
    let (dir, _remover) = crate::support::temporary_directory("readme");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_veneer"))
        .args(["demo", "--port", "0", "--shard-ports", "0,0,0", "--dir"])
        .arg(&dir)
        .args(["--exit-after", "psql -X 2>&1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let mut stdin = demo.stdin.take().expect("a pipe");
    stdin.write_all(script.as_bytes()).expect("psql reads");
    drop(stdin);
    let output = demo.wait_with_output().expect("the demo ends");
    assert!(output.status.success(), "the demo failed");
    let printed = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    assert_eq!(answers.len(), steps.len() + 1, "{printed}");
    for ((statement, expected), answer) in steps.iter().zip(answers) {
        assert_eq!(answer.trim_end(), expected.trim_end(), "{statement}");
    }
}
