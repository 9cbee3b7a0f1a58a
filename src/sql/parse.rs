//! The one thread that runs the parser, and the stack it needs.
//!
//! One, and for the whole process, because pg_query swaps the process's standard error for a pipe
//! while it parses: two at once would leave it swapped. Every thread that ever parses also keeps
//! one of the 1,024 thread-specific keys for good, so none may come and go. And a tree is built,
//! walked and dropped by recursion: here the stack is known, and large.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::tree::Tree;
use super::walk::{self, Findings};
use super::{ReadError, fallback};

/// Address space; memory is committed as deep as a tree really goes.
const STACK_BYTES: usize = 512 << 20;
/// Texts in line before senders wait.
const QUEUE_TEXTS_MAX: usize = 64;
/// How often a blocking reader looks whether the line has moved.
const QUEUE_POLL: Duration = Duration::from_millis(1);

type Answer = Result<Findings, ReadError>;

struct Job {
    sql: String,
    answer: Box<dyn FnOnce(Answer) + Send>,
}

static LINE: LazyLock<Option<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (line, jobs) = mpsc::channel(QUEUE_TEXTS_MAX);
    let parser = thread::Builder::new().name("sql-parser".into()).stack_size(STACK_BYTES);
    parser.spawn(move || serve(jobs)).ok().map(|_| line)
});

/// Held around every call into pg_query; the tests call it from threads of their own.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> ReadError {
    ReadError::Complex("the parser is not available".into())
}

/// Parses admitted text; waits in line without holding up the runtime.
pub async fn parse(sql: &str) -> Answer {
    let (answer, answered) = oneshot::channel();
    let line = LINE.as_ref().ok_or_else(gone)?;
    // The asker may have left; then nobody wants the answer.
    let answer = Box::new(move |found| drop(answer.send(found)));
    line.send(Job { sql: sql.to_owned(), answer }).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

/// The same for callers without a runtime.
pub fn parse_now(sql: &str) -> Answer {
    let (answer, answered) = std::sync::mpsc::channel();
    let line = LINE.as_ref().ok_or_else(gone)?;
    let mut job =
        Job { sql: sql.to_owned(), answer: Box::new(move |found| drop(answer.send(found))) };
    loop {
        match line.try_send(job) {
            Ok(()) => break,
            Err(TrySendError::Full(back)) => job = back,
            Err(TrySendError::Closed(_)) => return Err(gone()),
        }
        thread::sleep(QUEUE_POLL);
    }
    answered.recv().map_err(|_| gone())?
}

fn serve(mut jobs: mpsc::Receiver<Job>) {
    while let Some(Job { sql, answer }) = jobs.blocking_recv() {
        // A panic is this text's misfortune, not the next one's.
        let found = catch_unwind(AssertUnwindSafe(|| find(&sql)));
        answer(found.unwrap_or_else(|_| Err(ReadError::Complex("the parser failed".into()))));
    }
}

fn find(sql: &str) -> Answer {
    let parsed = {
        let _alone = alone();
        pg_query::parse(sql, 0)
    };
    match parsed {
        Ok(parsed) => match statements(parsed.protobuf.stmts) {
            Some(statements) => Ok(walk::walk(sql, &statements)),
            None => Err(ReadError::Complex("the parse tree cannot be walked".into())),
        },
        Err(pg_query::Error::Parse(message)) if !is_limit(&message) => {
            Err(ReadError::Syntax(message))
        }
        // Legal, perhaps, but deeper than the parser can say.
        Err(_) => fallback::find(sql),
    }
}

/// Takes the parser's trees one by one, so that few exist twice.
fn statements(parsed: Vec<pg_query::protobuf::RawStmt>) -> Option<Vec<Tree>> {
    parsed.into_iter().map(|statement| Tree::of(&statement).ok()).collect()
}

/// The parser's own words for a limit of its own.
fn is_limit(message: &str) -> bool {
    const LIMITS: [&str; 5] = [
        "stack depth limit exceeded",
        "memory exhausted",
        "parse tree is nested too deeply",
        "Failed to open pipe",
        "out of memory",
    ];
    LIMITS.iter().any(|limit| message.starts_with(limit))
}
