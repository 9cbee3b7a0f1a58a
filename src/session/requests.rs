//! What the client asks, message by message, as far as it has come.

use bytes::{Buf, BytesMut};

use crate::protocol::answer::Report;
use crate::protocol::ask;
use crate::protocol::cursor::Malformed;
use crate::protocol::frame::{self, FrameError, HEADER_BYTES, Header};
use crate::protocol::request::{self, RequestTag};
use crate::protocol::wire::OUTBOX_BYTES_MAX;
use crate::session::ledger::Owed;
use crate::session::refuse::Way;
use crate::session::report::code;
use crate::session::work::pass;
use crate::session::{End, Flow, Pipeline, Place, Rest, Session};

/// Two names, and nothing longer, must have come before a Bind can be routed.
const NAMES_BYTES_MAX: usize = 32 * 1024;

/// Replies that a client may have under way; with more it is not read on.
const OWED_MAX: usize = 10_000;

/// A Bind up to here is checked whole before anything of it is sent.
const WHOLE_BIND_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Takes all requests that have come whole; tells whether there was any.
    pub(super) async fn take_requests(&mut self) -> Result<bool, End> {
        if self.client.inbox.is_empty() && self.overlong.is_none() {
            self.wanted_bytes = 0;
            return Ok(false);
        }
        // Taken out, so that a request can be read in place while the session acts on it.
        let mut inbox = std::mem::take(&mut self.client.inbox);
        let taken = self.take_all(&mut inbox).await;
        // What has come while the session stood in line stands behind the rest.
        let more = std::mem::replace(&mut self.client.inbox, inbox);
        self.client.inbox.extend_from_slice(&more);
        Ok(taken? || !more.is_empty())
    }

    async fn take_all(&mut self, inbox: &mut BytesMut) -> Result<bool, End> {
        let mut taken = false;
        self.wanted_bytes = 0;
        loop {
            if self.is_full() {
                return Ok(taken);
            }
            if self.rest.is_some() {
                let moved = self.take_rest(inbox);
                taken |= 0 < moved;
                if self.rest.is_some() {
                    return Ok(taken);
                }
            }
            if let Some((report, way)) = self.overlong.take()
                && self.refuse(report.clone(), way, b"").await? == Flow::Wait
            {
                self.overlong = Some((report, way));
                return Ok(taken);
            }
            if self.take_copy_data(inbox)? {
                taken = true;
                continue;
            }
            let Some((tag, header)) = request::peek(inbox).map_err(violation)? else {
                return Ok(taken);
            };
            self.check_size(header)?;
            if self.is_overlong(tag, header) {
                self.pass_over(tag, header, inbox);
                taken = true;
                continue;
            }
            let here = header.frame_bytes().min(inbox.len());
            if here < self.needed(tag, header) {
                self.wanted_bytes = self.needed(tag, header);
                return Ok(taken);
            }
            let body = &inbox[HEADER_BYTES..here];
            let flow = self.request(tag, header, body).await?;
            if flow == Flow::Wait {
                return Ok(taken);
            }
            inbox.advance(here);
            self.awaited = None;
            taken = true;
            let bytes_left = header.frame_bytes() - here;
            if 0 < bytes_left {
                self.rest = Some(Rest { bytes_left, pass: flow == Flow::Passed });
            }
        }
    }

    /// The backend is sent no more before it has taken what it was sent, nor the client answered
    /// before it has taken its answers.
    fn is_full(&mut self) -> bool {
        if OUTBOX_BYTES_MAX <= self.client.outbox.len() {
            return true;
        }
        let Place::Working(work) = &mut self.place else { return false };
        let is_long = OWED_MAX <= work.ledger.len();
        if is_long && work.segment_open && work.wire().outbox.is_empty() {
            // Without a Sync or a Flush the shard would keep its answers to itself.
            ask::flush(&mut work.wire().outbox);
        }
        is_long || OUTBOX_BYTES_MAX <= work.wire().outbox.len()
    }

    fn take_rest(&mut self, inbox: &mut BytesMut) -> usize {
        let Some(rest) = &mut self.rest else { return 0 };
        let bytes = rest.bytes_left.min(inbox.len());
        let piece = inbox.split_to(bytes);
        rest.bytes_left -= bytes;
        if rest.pass
            && let Place::Working(work) = &mut self.place
        {
            work.wire().outbox.extend_from_slice(&piece);
        }
        if rest.bytes_left == 0 {
            self.rest = None;
        }
        bytes
    }

    /// The part of a message that must have come before it can be acted on.
    fn needed(&self, tag: RequestTag, header: Header) -> usize {
        match tag {
            RequestTag::CopyData => HEADER_BYTES,
            RequestTag::FunctionCall => HEADER_BYTES,
            RequestTag::Bind if WHOLE_BIND_BYTES_MAX < header.body_bytes => {
                HEADER_BYTES + NAMES_BYTES_MAX
            }
            _ => header.frame_bytes(),
        }
    }

    /// A message that is passed on in pieces has a limit, too.
    fn check_size(&self, header: Header) -> Result<(), End> {
        let bytes_max = self.parts.settings.message_bytes_max.as_u64();
        if header.body_bytes as u64 <= bytes_max {
            return Ok(());
        }
        let bytes = header.body_bytes;
        Err(End::told(Report::fatal(
            code::LIMIT_EXCEEDED,
            format!("a message of {bytes} bytes is longer than {bytes_max} bytes"),
        )))
    }

    /// A text that would have to be held whole, and is too long for that.
    fn is_overlong(&self, tag: RequestTag, header: Header) -> bool {
        let bytes_max = self.parts.settings.statement_bytes_max.as_u64();
        let is_held = matches!(tag, RequestTag::Query | RequestTag::Parse);
        is_held && bytes_max < header.body_bytes as u64
    }

    /// Passes over a text without reading it. It is refused when it has come whole, as PostgreSQL
    /// would: some drivers do not listen before they have said all.
    fn pass_over(&mut self, tag: RequestTag, header: Header, inbox: &mut BytesMut) {
        if self.pipeline == Pipeline::Open {
            let way = if tag == RequestTag::Query { Way::Simple } else { Way::Extended };
            let bytes_max = self.parts.settings.statement_bytes_max.as_u64();
            let message = format!(
                "a statement of {} bytes is longer than {bytes_max} bytes",
                header.body_bytes
            );
            let report = Report::error(code::LIMIT_EXCEEDED, message)
                .hint("Send data by COPY or as parameters, or raise limits.statement_bytes_max.");
            self.overlong = Some((report, way));
        }
        let here = header.frame_bytes().min(inbox.len());
        inbox.advance(here);
        let bytes_left = header.frame_bytes() - here;
        if 0 < bytes_left {
            self.rest = Some(Rest { bytes_left, pass: false });
        }
    }

    async fn request(&mut self, tag: RequestTag, header: Header, body: &[u8]) -> Result<Flow, End> {
        if self.pipeline == Pipeline::SkippingToSync {
            return match tag {
                RequestTag::Sync => self.sync(),
                RequestTag::Terminate => Err(End::Goodbye),
                _ => Ok(Flow::Next),
            };
        }
        if let Place::Working(work) = &mut self.place
            && work.ledger.is_copying_in()
            && !matches!(tag, RequestTag::Flush | RequestTag::Sync | RequestTag::Terminate)
        {
            // Whatever it is, the shard will not act on it.
            return self.copy(tag, header, body);
        }
        match tag {
            RequestTag::Query => self.query(body).await,
            RequestTag::Parse => self.parse(body).await,
            RequestTag::Bind => self.bind(header, body).await,
            RequestTag::Describe => self.describe(body).await,
            RequestTag::Execute => self.execute(body).await,
            RequestTag::Close => self.close(body),
            RequestTag::Flush => self.flush(),
            RequestTag::Sync => self.sync(),
            RequestTag::CopyData | RequestTag::CopyDone | RequestTag::CopyFail => {
                self.copy(tag, header, body)
            }
            RequestTag::FunctionCall => self.function_call(header, body).await,
            RequestTag::Terminate => Err(End::Goodbye),
            RequestTag::Password => Err(violation(FrameError::Tag(b'p'))),
        }
    }

    /// Passes all whole pieces of COPY data on at once, in the middle of a COPY.
    fn take_copy_data(&mut self, inbox: &mut BytesMut) -> Result<bool, End> {
        let bytes_max = self.parts.settings.message_bytes_max.as_u64();
        let Place::Working(work) = &mut self.place else { return Ok(false) };
        if !work.ledger.is_copying_in() || self.pipeline == Pipeline::SkippingToSync {
            return Ok(false);
        }
        let is_data = |header: Header| {
            header.tag == RequestTag::CopyData.byte() && header.body_bytes as u64 <= bytes_max
        };
        let mut bytes = frame::run(inbox, is_data).map_err(violation)?;
        let any = 0 < bytes;
        pass(inbox, &mut work.wire().outbox, &mut bytes);
        Ok(any)
    }

    /// COPY data outside of COPY is passed over, as PostgreSQL does.
    fn copy(&mut self, tag: RequestTag, header: Header, body: &[u8]) -> Result<Flow, End> {
        if let Place::Working(work) = &mut self.place {
            ask::front(tag.byte(), header.body_bytes, body, &mut work.wire().outbox);
            if tag != RequestTag::CopyData {
                work.ledger.push(Owed::CopyEnd);
            }
            return Ok(Flow::Passed);
        }
        Ok(Flow::Next)
    }
}

/// A stream that has lost its framing cannot be read on.
fn violation(error: FrameError) -> End {
    let message = match error {
        FrameError::Length { .. } => "invalid message length".to_owned(),
        FrameError::Tag(tag) => format!("invalid frontend message type {tag}"),
    };
    End::told(Report::fatal(code::PROTOCOL_VIOLATION, message))
}

/// A message whose frame is whole but whose body makes no sense.
pub(super) fn malformed(_: Malformed) -> Report {
    Report::error(code::PROTOCOL_VIOLATION, "invalid message format")
}
