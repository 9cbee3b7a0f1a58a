//! A raw connection, to a shard or to veneer: what is sent is what the test says.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::message;
use super::script;
use super::transcript::{Frame, Transcript, told};

/// Nothing here takes so long unless it hangs.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Door {
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    pub settings: Vec<(String, String)>,
}

/// Until when replies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// So many `ReadyForQuery`, or a `CopyInResponse` that waits for data.
    Ready(usize),
    /// A reply of this tag, or an error.
    Tag(u8),
    /// The `ReadyForQuery` after a reply of this tag, whatever comes before it.
    ReadyAfter(u8),
}

pub struct Wire {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    inbox: BytesMut,
    /// What came between the startup and the first `ReadyForQuery`.
    pub greeting: Vec<Frame>,
}

impl Door {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A session that can be used.
    #[track_caller]
    pub fn open(&self) -> impl Future<Output = Wire> {
        let knocked = self.knock();
        async move { knocked.await.unwrap_or_else(|said| panic!("no session: {said}")) }
    }

    /// The session, or what was said instead.
    pub async fn knock(&self) -> Result<Wire, String> {
        self.knock_on(
            Wire::connect(self.port).await,
            "SCRAM-SHA-256",
            ChannelBinding::unsupported(),
        )
        .await
    }

    /// As [`Door::knock`], on a socket that is there already, with a proof of this kind.
    pub async fn knock_on(
        &self,
        mut wire: Wire,
        mechanism: &str,
        binding: ChannelBinding,
    ) -> Result<Wire, String> {
        let own = [("user", self.user.as_str()), ("database", self.database.as_str())];
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        wire.send(&message::startup(own.into_iter().chain(settings))).await;
        match wire.greet(self.password.as_bytes(), mechanism, binding).await {
            Ok(()) => Ok(wire),
            Err(said) => Err(said),
        }
    }
}

impl Wire {
    /// A socket on which nothing has been said.
    pub async fn connect(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
        socket.set_nodelay(true).expect("it is a socket");
        let (read, write) = socket.into_split();
        let (read, write) = (Box::new(read), Box::new(write));
        Self { read, write, inbox: BytesMut::new(), greeting: Vec::new() }
    }

    /// A stream of another kind on which nothing has been said.
    pub fn over<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> Self {
        let (read, write) = tokio::io::split(stream);
        let (read, write) = (Box::new(read), Box::new(write));
        Self { read, write, inbox: BytesMut::new(), greeting: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed: then the test wants to know what it said before.
        let _ = self.write.write_all(bytes).await;
    }

    /// Closes our side alone: what was asked may still be answered.
    pub async fn stop_sending(&mut self) {
        self.write.shutdown().await.expect("it is still open");
    }

    /// The next reply; `None` when the other side has closed.
    pub async fn next(&mut self) -> Option<Frame> {
        let next = next(&mut self.read, &mut self.inbox);
        timeout(ANSWER_WAIT_MAX, next).await.expect("an answer in time")
    }

    /// One byte outside of any frame, as for an SSLRequest.
    pub async fn byte(&mut self) -> Option<u8> {
        let read = timeout(ANSWER_WAIT_MAX, self.read.read_u8()).await;
        read.expect("an answer in time").ok()
    }

    /// Everything up to the end of the connection, as text.
    pub async fn read_on(&mut self) -> String {
        let mut transcript = Transcript::default();
        while let Some(frame) = self.next().await {
            transcript.frame(&frame);
        }
        transcript.line("closed");
        transcript.finish()
    }

    /// Sends a script (see [`script`]) and tells the whole conversation.
    pub async fn play(&mut self, script: &str) -> String {
        let mut transcript = Transcript::default();
        for segment in script::segments(script) {
            segment.lines.iter().for_each(|line| transcript.line(&format!("> {line}")));
            if !self.talk(&segment.bytes, segment.until, &mut transcript).await {
                transcript.line("closed");
                break;
            }
        }
        transcript.finish()
    }

    /// One simple Query; the replies as text.
    pub async fn query(&mut self, sql: &str) -> String {
        let mut transcript = Transcript::default();
        if !self.talk(&message::query(sql), Until::Ready(1), &mut transcript).await {
            transcript.line("closed");
        }
        transcript.finish()
    }

    /// Writes and reads at once; `false` when the other side has closed.
    pub async fn talk(&mut self, bytes: &[u8], until: Until, told: &mut Transcript) -> bool {
        let Self { read, write, inbox, .. } = self;
        let writes = write.write_all(bytes);
        let reads = async {
            let mut ready = 0;
            let mut seen = false;
            while until != Until::Ready(ready) {
                let Ok(frame) = timeout(ANSWER_WAIT_MAX, next(read, inbox)).await else {
                    told.line("silence");
                    return false;
                };
                let Some(frame) = frame else { return false };
                told.frame(&frame);
                match (frame.tag, until) {
                    (b'Z', Until::ReadyAfter(_)) if seen => break,
                    (b'Z', _) => ready += 1,
                    (tag, Until::ReadyAfter(wanted)) => seen |= tag == wanted,
                    (b'G', Until::Ready(_)) if !sends_copy_end(bytes) => break,
                    (b'E', Until::Tag(_)) => break,
                    (tag, Until::Tag(wanted)) if tag == wanted => break,
                    _ => {}
                }
            }
            true
        };
        tokio::join!(writes, reads).1
    }

    /// Proves who we are, up to the first `ReadyForQuery`.
    async fn greet(
        &mut self,
        password: &[u8],
        mechanism: &str,
        binding: ChannelBinding,
    ) -> Result<(), String> {
        let mut scram = ScramSha256::new(password, binding);
        loop {
            let Some(frame) = self.next().await else { return Err("closed".to_owned()) };
            let kind = frame.body.first_chunk::<4>().map_or(0, |kind| u32::from_be_bytes(*kind));
            match (frame.tag, kind) {
                (b'R', 10) => {
                    let first = scram.message();
                    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
                    let body = [mechanism.as_bytes(), b"\0", &length, first].concat();
                    self.send(&message::message(b'p', &body)).await;
                }
                (b'R', 11) => {
                    scram.update(&frame.body[4..]).map_err(|error| error.to_string())?;
                    let proof = message::message(b'p', scram.message());
                    self.send(&proof).await;
                }
                (b'R', 12) => scram.finish(&frame.body[4..]).map_err(|error| error.to_string())?,
                (b'E', _) => return Err(told(&frame, &mut Vec::new())),
                (b'Z', _) => return Ok(()),
                _ => {}
            }
            self.greeting.push(frame);
        }
    }
}

#[allow(dead_code, reason = "only tests/drivers streams")]
impl Wire {
    /// Reads up to a `ReadyForQuery`, or a `CopyInResponse`, without keeping rows: tells how many
    /// bytes of them there were, and everything else as text.
    pub async fn skim(&mut self) -> (u64, String) {
        let mut told = Transcript::default();
        let mut bytes = 0;
        loop {
            while self.inbox.len() < 5 {
                self.fill().await;
            }
            let length = (&self.inbox[1..5]).get_u32() as usize + 1;
            let tag = self.inbox[0];
            if !matches!(tag, b'D' | b'd') {
                let frame = self.next().await.expect("the rest of it");
                told.frame(&frame);
                if matches!(tag, b'Z' | b'G') {
                    return (bytes, told.finish());
                }
                continue;
            }
            let mut left = length;
            bytes += length as u64 - 5;
            while self.inbox.len() < left {
                left -= self.inbox.len();
                self.inbox.clear();
                self.fill().await;
            }
            self.inbox.advance(left);
        }
    }

    async fn fill(&mut self) {
        self.inbox.reserve(256 * 1024);
        let read = timeout(ANSWER_WAIT_MAX, self.read.read_buf(&mut self.inbox)).await;
        assert!(0 < read.expect("an answer in time").expect("a socket"), "the end in the middle");
    }
}

/// Whether a segment answers its own COPY.
fn sends_copy_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [tag, a, b, c, d, ..] = *rest {
        if matches!(tag, b'c' | b'f') {
            return true;
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}

async fn next<R: AsyncRead + Unpin>(read: &mut R, inbox: &mut BytesMut) -> Option<Frame> {
    loop {
        if let Some(length) = inbox.get(1..5) {
            let bytes = 1 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if bytes <= inbox.len() {
                let mut frame = inbox.split_to(bytes);
                let tag = frame.get_u8();
                frame.advance(4);
                return Some(Frame { tag, body: frame.freeze() });
            }
        }
        inbox.reserve(64 * 1024);
        // A reset is an end, too.
        if read.read_buf(inbox).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}
