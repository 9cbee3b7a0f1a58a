//! What a backend owes: the replies to come, oldest first, and whom each is for. Pure.
//!
//! Everything sent to a backend is entered here, so that of each frame that comes back it is
//! known whether the client waits for it. The ledger is also the proof that a backend is clean:
//! an idle one owes nothing.

pub mod wreck;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::prepared::{Promised, Rounds};
use crate::protocol::frame::reply;
use crate::sql::Text;

/// Whom a reply is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Client,
    /// Veneer asked on its own account. A failure still concerns the client.
    Nobody,
}

/// What must be undone when a Parse does not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// On the backend.
    pub promised: Option<Promised>,
    /// Among the client's own names: the name, and the number of its statement.
    pub client_name: Option<(Bytes, u64)>,
}

/// One reply that is to come.
#[derive(Debug, Clone)]
pub enum Owed {
    /// All up to `ReadyForQuery`.
    Query {
        to: To,
        text: Option<Arc<Text>>,
        done: usize,
    },
    FunctionCall,
    Parse {
        to: To,
        promise: Promise,
    },
    Bind {
        to: To,
    },
    DescribeStatement,
    DescribePortal,
    Execute {
        to: To,
        text: Option<Arc<Text>>,
    },
    Close {
        to: To,
        /// The number of a statement of ours.
        ours: Option<u64>,
    },
    Sync {
        to: To,
    },
    /// Not a reply: an answer of ours whose turn comes here.
    Ours(Bytes),
    /// The same, for a statement that is done with it.
    Done(Bytes, Arc<Text>),
    /// A request that fails on purpose, so that the shard's transaction fails as the client's
    /// did; our error stands for the shard's.
    Poison(Bytes),
    /// Not a reply: the client has ended its COPY data here.
    CopyEnd,
}

/// What to do with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop,
    Replace(Bytes),
}

/// What a frame means beyond its bytes.
#[derive(Debug, Clone)]
pub enum Event {
    None,
    /// The statement of this text, counted from 0, is done.
    Done(Arc<Text>, usize),
    /// A request failed. What was sent behind it up to the next Sync is skipped; `skips` when
    /// that Sync has not been sent yet.
    Failed {
        ours: bool,
        broken: Vec<Promise>,
        skips: bool,
    },
    /// A round of the client's is over, or one of ours.
    Ready(To),
    Parameter,
}

/// A frame that nothing asked for: the backend cannot be trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard sent a message of type {0:#04x} that nothing asked for")]
pub struct Unasked(pub u8);

#[derive(Debug, Default)]
pub struct Ledger {
    owed: VecDeque<Owed>,
    rounds: Rounds,
    copying_in: bool,
    /// See [`Ledger::runs`].
    runs: bool,
}

/// What one round of the extended protocol owes, with something to spare.
const OWED_USUAL: usize = 8;

impl Ledger {
    pub fn new() -> Self {
        Self { owed: VecDeque::with_capacity(OWED_USUAL), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.owed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// The shard reads everything as COPY data; what is not ends the COPY with an error.
    pub fn is_copying_in(&self) -> bool {
        self.copying_in
    }

    /// Whether anything since the last Sync was bound or executed: statements that were only
    /// prepared and described can be so on another shard.
    pub fn runs(&self) -> bool {
        self.runs
    }

    pub fn rounds(&self) -> Rounds {
        self.rounds
    }

    pub fn push(&mut self, owed: Owed) {
        match owed {
            // In COPY mode a backend passes over Sync (`CopyGetData`).
            Owed::Sync { .. } if self.copying_in => {}
            Owed::CopyEnd => {
                // Only a COPY that has not begun yet needs to know where its data end.
                if !self.copying_in && !self.owed.is_empty() {
                    self.owed.push_back(Owed::CopyEnd);
                }
                self.copying_in = false;
            }
            owed => {
                let ends_round =
                    matches!(owed, Owed::Query { .. } | Owed::Sync { .. } | Owed::FunctionCall);
                self.rounds.begun += u64::from(ends_round);
                self.runs = !ends_round
                    && match owed {
                        Owed::Bind { .. } | Owed::Execute { .. } | Owed::Poison(_) => true,
                        _ => self.runs,
                    };
                self.owed.push_back(owed);
            }
        }
    }

    /// Whether rows and COPY data, which mean nothing beyond their bytes, are the client's now.
    pub fn streams(&self) -> bool {
        let to = match self.owed.front() {
            Some(Owed::Query { to, .. } | Owed::Execute { to, .. }) => *to,
            _ => To::Nobody,
        };
        to == To::Client
    }

    /// The next answer of ours, when its turn has come.
    pub fn ours(&mut self) -> Option<(Bytes, Option<Arc<Text>>)> {
        while let Some(Owed::CopyEnd) = self.owed.front() {
            self.owed.pop_front();
        }
        match self.owed.front() {
            Some(Owed::Ours(_) | Owed::Done(..)) => match self.owed.pop_front() {
                Some(Owed::Ours(bytes)) => Some((bytes, None)),
                Some(Owed::Done(bytes, text)) => Some((bytes, Some(text))),
                _ => None,
            },
            _ => None,
        }
    }

    /// Enters one frame from the backend.
    pub fn reply(&mut self, tag: u8) -> Result<(Verdict, Event), Unasked> {
        match tag {
            reply::NOTICE | reply::NOTIFICATION => Ok((self.verdict(), Event::None)),
            reply::PARAMETER_STATUS => Ok((self.verdict(), Event::Parameter)),
            reply::ERROR => self.error(),
            reply::READY_FOR_QUERY => self.ready(),
            _ => self.expected(tag),
        }
    }

    /// For what may come at any time.
    fn verdict(&self) -> Verdict {
        match self.owed.front() {
            Some(
                Owed::Query { to: To::Nobody, .. }
                | Owed::Parse { to: To::Nobody, .. }
                | Owed::Bind { to: To::Nobody }
                | Owed::Close { to: To::Nobody, .. }
                | Owed::Execute { to: To::Nobody, .. }
                | Owed::Sync { to: To::Nobody }
                | Owed::Poison(_),
            ) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }

    fn error(&mut self) -> Result<(Verdict, Event), Unasked> {
        let (verdict, ours) = match self.owed.front() {
            None => return Err(Unasked(reply::ERROR)),
            Some(Owed::Query { to: To::Nobody, .. }) => (Verdict::Drop, true),
            Some(Owed::Poison(report)) => (Verdict::Replace(report.clone()), false),
            Some(_) => (Verdict::Pass, false),
        };
        self.copying_in = false;
        // A failed Query is ended by its own `ReadyForQuery`.
        let is_query = matches!(self.owed.front(), Some(Owed::Query { .. } | Owed::FunctionCall));
        let broken = if is_query { Vec::new() } else { self.skip_to_sync() };
        let skips = !is_query && self.owed.is_empty();
        Ok((verdict, Event::Failed { ours, broken, skips }))
    }

    /// Of a failed pipeline a backend skips all, even a Query, up to the Sync.
    fn skip_to_sync(&mut self) -> Vec<Promise> {
        let mut broken = Vec::new();
        while let Some(owed) = self.owed.front() {
            match owed {
                Owed::Sync { .. } => break,
                Owed::Parse { promise, .. } => broken.push(promise.clone()),
                Owed::Close { ours: Some(number), .. } => {
                    let promised = Some(Promised::Closed(*number));
                    broken.push(Promise { promised, client_name: None });
                }
                // No `ReadyForQuery` will come of these.
                Owed::Query { .. } | Owed::FunctionCall => self.rounds.finished += 1,
                _ => {}
            }
            self.owed.pop_front();
        }
        broken
    }

    fn ready(&mut self) -> Result<(Verdict, Event), Unasked> {
        self.rounds.finished += 1;
        match self.owed.pop_front() {
            Some(Owed::Query { to, .. } | Owed::Sync { to }) => {
                let verdict = if to == To::Client { Verdict::Pass } else { Verdict::Drop };
                Ok((verdict, Event::Ready(to)))
            }
            Some(Owed::FunctionCall) => Ok((Verdict::Pass, Event::Ready(To::Client))),
            _ => Err(Unasked(reply::READY_FOR_QUERY)),
        }
    }

    fn expected(&mut self, tag: u8) -> Result<(Verdict, Event), Unasked> {
        let front = self.owed.front_mut().ok_or(Unasked(tag))?;
        let (to, ends) = match (front, tag) {
            (Owed::Query { to, text, done }, _) if is_query_reply(tag) => {
                let to = *to;
                let ended = matches!(tag, reply::COMMAND_COMPLETE | reply::EMPTY_QUERY);
                let event = match text {
                    Some(text) if ended => {
                        *done += 1;
                        Event::Done(text.clone(), *done - 1)
                    }
                    _ => Event::None,
                };
                if tag == reply::COPY_IN {
                    self.begin_copy_in();
                }
                return Ok((if to == To::Client { Verdict::Pass } else { Verdict::Drop }, event));
            }
            (Owed::Execute { .. }, _) => return self.execute(tag),
            (Owed::FunctionCall, reply::FUNCTION_CALL) => (To::Client, false),
            (Owed::Parse { to, .. }, reply::PARSE_COMPLETE) => (*to, true),
            (Owed::Bind { to }, reply::BIND_COMPLETE) => (*to, true),
            (Owed::DescribeStatement, reply::PARAMETER_DESCRIPTION) => (To::Client, false),
            (
                Owed::DescribeStatement | Owed::DescribePortal,
                reply::ROW_DESCRIPTION | reply::NO_DATA,
            ) => (To::Client, true),
            (Owed::Close { to, .. }, reply::CLOSE_COMPLETE) => (*to, true),
            _ => return Err(Unasked(tag)),
        };
        if ends {
            self.owed.pop_front();
        }
        Ok((if to == To::Client { Verdict::Pass } else { Verdict::Drop }, Event::None))
    }

    fn execute(&mut self, tag: u8) -> Result<(Verdict, Event), Unasked> {
        let Some(Owed::Execute { to, text }) = self.owed.front_mut() else {
            return Err(Unasked(tag));
        };
        let verdict = if *to == To::Client { Verdict::Pass } else { Verdict::Drop };
        let event = match tag {
            reply::DATA_ROW | reply::COPY_DATA | reply::COPY_DONE | reply::COPY_OUT => {
                return Ok((verdict, Event::None));
            }
            reply::COPY_IN => {
                self.begin_copy_in();
                return Ok((verdict, Event::None));
            }
            // A suspended portal has run, too: what it does to the session it does in its first row.
            reply::COMMAND_COMPLETE | reply::EMPTY_QUERY | reply::PORTAL_SUSPENDED => {
                text.take().map_or(Event::None, |text| Event::Done(text, 0))
            }
            _ => return Err(Unasked(tag)),
        };
        self.owed.pop_front();
        Ok((verdict, event))
    }

    /// What was sent before the client could know of the COPY is read as its data: a Sync is passed
    /// over, and the first other message ends it, as CopyDone or as a mistake.
    fn begin_copy_in(&mut self) {
        let mut index = 1;
        while let Some(owed) = self.owed.get(index) {
            match owed {
                Owed::Ours(_) | Owed::Done(..) => index += 1,
                Owed::Sync { .. } => drop(self.owed.remove(index)),
                _ => {
                    self.owed.remove(index);
                    return;
                }
            }
        }
        self.copying_in = true;
    }
}

fn is_query_reply(tag: u8) -> bool {
    matches!(
        tag,
        reply::COMMAND_COMPLETE
            | reply::COPY_DATA
            | reply::COPY_DONE
            | reply::COPY_IN
            | reply::COPY_OUT
            | reply::DATA_ROW
            | reply::EMPTY_QUERY
            | reply::ROW_DESCRIPTION
    )
}

#[cfg(test)]
mod tests;
