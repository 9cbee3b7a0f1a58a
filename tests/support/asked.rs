//! What a shard was asked: its own log, read back.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use veneer::demo::cluster::Cluster;

/// A place in a shard's log.
#[derive(Debug, Clone, Copy)]
pub struct Mark(u64);

/// The end of the shard's log now.
pub fn mark(cluster: &Cluster) -> Mark {
    Mark(fs::metadata(cluster.log_path()).map_or(0, |file| file.len()))
}

/// The statements that `role` sent since `mark`, in order: simple queries and executions of
/// prepared ones. PostgreSQL writes them down before it answers, so none is still to come.
pub fn asked_since(cluster: &Cluster, mark: Mark, role: &str) -> Vec<String> {
    statements(&log_since(&cluster.log_path(), mark), role)
}

/// Everything in the log since `mark`, errors included.
pub fn log_since(log: &Path, mark: Mark) -> String {
    let mut text = Vec::new();
    let mut file = File::open(log).expect("the cluster has a log");
    file.seek(SeekFrom::Start(mark.0)).expect("the log only grows");
    file.read_to_end(&mut text).expect("the log can be read");
    String::from_utf8_lossy(&text).into_owned()
}

fn statements(log: &str, role: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut continues = false;
    for line in log.lines() {
        // A line of the message after the first begins with a tab that PostgreSQL put there.
        if let Some(more) = line.strip_prefix('\t') {
            if let (true, Some(last)) = (continues, statements.last_mut()) {
                last.push('\n');
                last.push_str(more);
            }
            continue;
        }
        let statement = statement_of(line, role);
        continues = statement.is_some();
        statements.extend(statement.map(str::to_owned));
    }
    statements
}

/// `2025-01-31 12:00:00.000 UTC [42] ROLE@DATABASE LOG:  statement: TEXT`, or `execute NAME: TEXT`.
fn statement_of<'l>(line: &'l str, role: &str) -> Option<&'l str> {
    let (_, line) = line.split_once("] ")?;
    let (_, message) = line.strip_prefix(role)?.strip_prefix('@')?.split_once(" LOG:  ")?;
    if let Some(text) = message.strip_prefix("statement: ") {
        return Some(text);
    }
    message.strip_prefix("execute ")?.split_once(": ").map(|(_, text)| text)
}

#[test]
fn a_log_is_read_as_statements() {
    let log = "\
2025-01-31 12:00:00.000 UTC [42] app@books LOG:  statement: SELECT 1
2025-01-31 12:00:00.001 UTC [43] admin@books LOG:  statement: SELECT 'not ours'
\t, 'nor this'
2025-01-31 12:00:00.002 UTC [42] app@books LOG:  execute <unnamed>: SELECT a: 1
\t, b
2025-01-31 12:00:00.002 UTC [42] app@books DETAIL:  parameters: $1 = '1'
\tand so on
2025-01-31 12:00:00.003 UTC [42] app@books ERROR:  column \"a\" does not exist at character 8
2025-01-31 12:00:00.003 UTC [42] app@books STATEMENT:  SELECT a
2025-01-31 12:00:00.004 UTC [7] LOG:  checkpoint starting
2025-01-31 12:00:00.005 UTC [42] app@books LOG:  execute s1/p1: SELECT 2
";
    assert_eq!(statements(log, "app"), ["SELECT 1", "SELECT a: 1\n, b", "SELECT 2"]);
}
