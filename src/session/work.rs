//! A backend at work for one client: what it was sent, what it owes, how its transaction stands.

mod bond;
mod pieces;

use std::sync::{Arc, LazyLock};

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::backend::login::parameter;
use crate::backend::{Backend, Target};
use crate::directory::Shard;
use crate::pool::Lease;
use crate::protocol::answer::Status;
use crate::protocol::ask;
use crate::protocol::frame::{self, FrameError, HEADER_BYTES, Header, reply};
use crate::protocol::told;
use crate::protocol::wire::{OUTBOX_BYTES_MAX, Wire};
use crate::session::ledger::{Event, Ledger, Owed, Promise, To, Unasked, Verdict};
use crate::session::report::is_utf8;
use crate::session::statements::Texts;
pub use crate::session::work::bond::{Bond, PREFIX_TEXTS_MAX, Prefix};
use crate::session::work::pieces::Partial;
pub use crate::session::work::pieces::pass;
use crate::sql::{Access, Act, Keep, Keeps, Statement, Text};

/// Longer frames are passed on in pieces.
const WHOLE_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Nobody has a portal of this name, so executing it fails; the shard's log says why.
static REFUSED_PORTAL: LazyLock<String> = LazyLock::new(|| secret("veneer refused a statement"));

/// For what we execute in a client's pipeline.
static PORTAL: LazyLock<String> = LazyLock::new(|| secret("_veneer"));

/// A name that no client can know.
fn secret(name: &str) -> String {
    // Without random numbers no session begins: there would be no cancel key.
    format!("{name} {:016x}", getrandom::u64().unwrap_or_default())
}

/// A backend that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Unasked(#[from] Unasked),
    #[error("the shard sent a malformed message of type {0:#04x}")]
    Malformed(u8),
    #[error("the shard refused what the session had set before: {0}")]
    Settings(String),
    /// An error that ends the backend, byte for byte.
    #[error("the shard has ended the connection")]
    Fatal(Bytes),
    /// Code that we cannot see has changed how texts are read.
    #[error("the setting \"{0}\" of a shard has changed behind our back")]
    Reading(String),
}

/// What a reply means for the session.
#[derive(Debug)]
pub enum Happened {
    Done(Arc<Text>, usize),
    Failed { broken: Vec<Promise>, skips: bool },
    Ready(Status),
}

#[derive(Debug)]
pub struct Work {
    lease: Lease,
    pub shard: Arc<Shard>,
    pub ledger: Ledger,
    /// Rounds at the lease's beginning that are ours, while they are not finished.
    pub ours: Option<u64>,
    pub status: Status,
    pub bond: Bond,
    /// Something of the extended protocol was sent and no Sync yet: an implicit transaction.
    pub segment_open: bool,
    /// Settings or prepared statements may change when what is on its way is done.
    pub unsettled: bool,
    /// An error has come since the transaction began.
    pub failed: bool,
    /// State that only this backend has.
    pub keeps: Keeps,
    /// What the session was last known to have there.
    pub pinned: Keeps,
    /// Such state may have come or gone: the shard knows.
    pub doubtful: bool,
    /// The session asks for `currval`: what it writes may be asked for later.
    pub asks_sequence: bool,
    /// Kinds of it that the transaction has ended on all shards.
    pub freed: Keeps,
    /// Code that we cannot see has run: the backend is reset before anyone else has it.
    pub suspect: bool,
    /// A statement that was prepared before a table changed has failed for that.
    pub outdated: bool,
    /// It has written, and triggers may have run. None of them may leave another tenant's path.
    pub wrote: bool,
    /// The transaction has changed tables: what is parsed from then on is not what it was.
    pub defined: bool,
    /// RESET has run on the backend, whose own start values are not the client's.
    pub reset: bool,
    /// … and the open transaction has not been told the client's since.
    pub amiss: bool,
    /// `ParameterStatus` that the client has got of it.
    pub reported: Vec<(String, String)>,
    partial: Option<Partial>,
}

impl Work {
    pub fn new(mut lease: Lease, shard: Arc<Shard>, bond: Bond) -> Self {
        let backend = lease.backend();
        backend.prepared.begin_lease();
        backend.wire.make_room();
        Self {
            lease,
            shard,
            ledger: Ledger::new(),
            ours: None,
            status: Status::Idle,
            bond,
            segment_open: false,
            unsettled: false,
            failed: false,
            keeps: Keeps::NONE,
            pinned: Keeps::NONE,
            doubtful: false,
            asks_sequence: false,
            freed: Keeps::NONE,
            suspect: false,
            outdated: false,
            wrote: false,
            defined: false,
            reset: false,
            amiss: false,
            reported: Vec::new(),
            partial: None,
        }
    }

    pub fn backend(&mut self) -> &mut Backend {
        self.lease.backend()
    }

    pub fn wire(&mut self) -> &mut Wire<TcpStream> {
        &mut self.lease.backend().wire
    }

    pub fn target(&mut self) -> Arc<Target> {
        self.lease.backend().target.clone()
    }

    pub fn into_lease(self) -> Lease {
        self.lease
    }

    /// Nothing is under way: the next request begins something new.
    pub fn is_between_requests(&self) -> bool {
        self.ledger.is_empty() && !self.segment_open && self.partial.is_none()
    }

    /// The client has got a part of a message, and no more will come of it.
    pub fn is_amid_frame(&self) -> bool {
        self.partial.as_ref().is_some_and(|frame| frame.pass)
    }

    /// The proof without which a backend does not go home.
    pub fn is_clean(&mut self) -> bool {
        let idle = self.status == Status::Idle && self.is_between_requests();
        let wire = self.wire();
        idle && wire.inbox.is_empty() && wire.outbox.is_empty()
    }

    /// Sends a text of ours, whose answer is for nobody.
    pub fn ask(&mut self, sql: &str) {
        // A text with a NUL cannot come from a client's frame or from our own code.
        if ask::query(sql, &mut self.wire().outbox).is_ok() {
            self.backend().prepared.forget_unnamed();
            self.ledger.push(Owed::Query { to: To::Nobody, text: None, done: 0 });
        }
    }

    /// As [`Work::ask`], in the middle of a pipeline, whose implicit transaction a Query would end.
    pub fn ask_in_segment(&mut self, sql: &str) {
        let out = &mut self.wire().outbox;
        ask::parse(b"", sql.as_bytes(), &[0, 0], out);
        // The unnamed portal is the client's; this one goes with the transaction, or here.
        ask::bind_front(PORTAL.as_bytes(), b"", 6, out);
        out.extend_from_slice(&[0; 6]);
        ask::execute(&PORTAL, out);
        ask::close_portal(&PORTAL, out);
        self.backend().prepared.forget_unnamed();
        let promise = Promise { promised: None, client_name: None };
        self.ledger.push(Owed::Parse { to: To::Nobody, promise });
        self.ledger.push(Owed::Bind { to: To::Nobody });
        self.ledger.push(Owed::Execute { to: To::Nobody, text: None });
        self.ledger.push(Owed::Close { to: To::Nobody, ours: None });
    }

    /// Fails the shard's transaction, and puts our error in the place of the shard's.
    pub fn poison(&mut self, report: Bytes) {
        ask::execute(&REFUSED_PORTAL, &mut self.wire().outbox);
        self.ledger.push(Owed::Poison(report));
        self.segment_open = true;
    }

    pub fn sync(&mut self, to: To) {
        ask::sync(&mut self.wire().outbox);
        self.ledger.push(Owed::Sync { to });
        self.segment_open = false;
    }

    /// Takes note of what a text that is about to be sent may do to the session.
    /// `in_motion`: the end of a transaction may change settings back.
    pub fn foresee(&mut self, text: &Text, in_motion: bool) {
        for statement in &text.statements {
            self.unsettled |= match &statement.act {
                Act::Set(_) | Act::ResetAll | Act::DiscardAll | Act::Deallocate(_) => true,
                act if act.ends_transaction() => in_motion,
                _ => !statement.set_configs.is_empty(),
            };
            self.wrote |= matches!(statement.access, Access::Write | Access::Define);
            self.asks_sequence |= statement.asks_sequence;
            if self.asks_sequence && self.wrote && !self.keeps.contains(Keep::Sequence) {
                self.keeps |= Keeps::of(Keep::Sequence);
                self.doubtful = true;
            }
            let leaves = statement.leaves;
            self.suspect |= leaves.unknown;
            self.doubtful |= leaves.unknown
                || !leaves.keeps.is_empty()
                || statement.frees.some && !self.keeps.is_empty();
            self.keeps |= leaves.keeps;
        }
    }

    /// What is parsed after a table has changed is not what it was before. Code that we cannot see
    /// may have changed one.
    pub fn note(&mut self, statement: &Statement, texts: &Texts) {
        self.freed |= statement.frees.all;
        let defines = statement.access == Access::Define && statement.leaves.keeps.is_empty();
        if defines || statement.leaves.unknown {
            self.defined = true;
            texts.renumber();
        }
    }

    /// Moves what the shard has sent to the client: see [`Work::scan`].
    pub fn relay(&mut self, out: &mut BytesMut) -> Result<Option<Happened>, Fault> {
        let mut passed = 0;
        let happened = self.scan(out, &mut passed);
        pass(&mut self.lease.backend().wire.inbox, out, &mut passed);
        happened
    }

    /// Looks through what the shard has sent, as far as it has come and there is room, up to the
    /// first reply that means something to the session. `passed` counts the bytes at the front of
    /// the inbox that are the client's and not moved yet: neighbouring frames travel together.
    pub fn scan(
        &mut self,
        out: &mut BytesMut,
        passed: &mut usize,
    ) -> Result<Option<Happened>, Fault> {
        loop {
            while let Some((ours, text)) = self.ledger.ours() {
                pass(&mut self.lease.backend().wire.inbox, out, passed);
                out.extend_from_slice(&ours);
                if let Some(text) = text {
                    return Ok(Some(Happened::Done(text, 0)));
                }
            }
            if OUTBOX_BYTES_MAX <= out.len() + *passed {
                return Ok(None);
            }
            let backend = self.lease.backend();
            let inbox = &mut backend.wire.inbox;
            if self.partial.is_some() {
                if inbox.len() == *passed {
                    return Ok(None);
                }
                Partial::take(&mut self.partial, inbox, passed);
                continue;
            }
            *passed += data(&self.ledger, &inbox[*passed..])?;
            let rest = &inbox[*passed..];
            let Some(header) = Header::peek(rest)? else { return Ok(None) };
            let frame_bytes = header.frame_bytes();
            if rest.len() < frame_bytes && frame_bytes <= WHOLE_FRAME_BYTES_MAX {
                return Ok(None);
            }
            let here = frame_bytes.min(rest.len());
            let body = &rest[HEADER_BYTES..here];
            let (mut error, mut reported) = (String::new(), None);
            match header.tag {
                reply::READY_FOR_QUERY => self.status = status(body)?,
                reply::ERROR if told::is_fatal(body) => {
                    return Err(Fault::Fatal(Bytes::copy_from_slice(&rest[..here])));
                }
                reply::ERROR => {
                    self.outdated |= told::is_of_outdated_plan(body);
                    error = told::message(body);
                    self.suspect |= backend.prepared.clear_if_lacking(body);
                }
                reply::PARAMETER_STATUS => {
                    let (name, value) = parameter(body).ok_or(Fault::Malformed(header.tag))?;
                    if reads_otherwise(&name, &value) {
                        return Err(Fault::Reading(name));
                    }
                    reported = Some((name.clone(), value.clone()));
                    backend.parameters.insert(name, value);
                }
                _ => {}
            }
            let (verdict, event) = self.ledger.reply(header.tag)?;
            if here < frame_bytes {
                let pass = verdict == Verdict::Pass;
                self.partial = Some(Partial { bytes_left: frame_bytes - here, pass });
            }
            if verdict == Verdict::Pass {
                self.reported.extend(reported);
                *passed += here;
            } else {
                pass(inbox, out, passed);
                inbox.advance(here);
            }
            if let Verdict::Replace(report) = verdict {
                out.extend_from_slice(&report);
            }
            if let Some(happened) = self.judge(event, error)? {
                return Ok(Some(happened));
            }
        }
    }

    fn judge(&self, event: Event, error: String) -> Result<Option<Happened>, Fault> {
        Ok(match event {
            Event::None | Event::Parameter => None,
            Event::Done(text, index) => Some(Happened::Done(text, index)),
            Event::Failed { ours: true, .. } => return Err(Fault::Settings(error)),
            Event::Failed { ours: false, broken, skips } => {
                Some(Happened::Failed { broken, skips })
            }
            Event::Ready(To::Client) => Some(Happened::Ready(self.status)),
            // What we say between the client's rounds is no end of its transaction.
            Event::Ready(To::Nobody) => None,
        })
    }
}

/// The bytes of whole rows, or pieces of COPY data, at the front, if they are the client's.
fn data(ledger: &Ledger, rest: &[u8]) -> Result<usize, FrameError> {
    match ledger.streams() {
        true => frame::run(rest, |header| matches!(header.tag, reply::DATA_ROW | reply::COPY_DATA)),
        false => Ok(0),
    }
}

/// By whatever path a client has reached such a value (a function, a text that was not parsed):
/// from then on a text could hide names from us.
fn reads_otherwise(parameter: &str, value: &str) -> bool {
    match parameter {
        "client_encoding" => !is_utf8(value),
        "standard_conforming_strings" => value != "on",
        _ => false,
    }
}

fn status(body: &[u8]) -> Result<Status, Fault> {
    let malformed = Fault::Malformed(reply::READY_FOR_QUERY);
    match body {
        [byte] => Status::from_byte(*byte).ok_or(malformed),
        _ => Err(malformed),
    }
}
