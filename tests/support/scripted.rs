//! A shard that says what a healthy PostgreSQL will not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::message::message;

/// What it answers to a Query.
#[derive(Debug, Clone)]
pub enum Says {
    /// These bytes, and then it goes on.
    Bytes(Vec<u8>),
    /// These bytes, and then the end.
    BytesAndEnd(Vec<u8>),
    /// As asked, and nothing to whatever comes then.
    OnlyThat,
    /// As asked, and these bytes later, while nobody asks.
    LaterBytes(Vec<u8>),
    /// Nothing; and the connection of a cancel is held until there is a permit for it.
    Nothing { cancels: Arc<Semaphore> },
    /// These to the startup and to each message after it, and then nothing more. `NONCE` in them
    /// stands for the client's.
    Login(Vec<Vec<u8>>),
}

/// Every connection obeys `says` on a Query whose text holds `misbehave`, and answers `one` to all
/// others. Gone with the test's runtime.
pub struct ScriptedShard {
    pub port: u16,
    connections: Arc<AtomicUsize>,
    queries: Arc<AtomicUsize>,
}

impl ScriptedShard {
    pub async fn start(says: Says) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let queries = Arc::new(AtomicUsize::new(0));
        let asked = queries.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                // An error ends this connection alone: veneer has closed it.
                tokio::spawn(serve(socket, says.clone(), asked.clone()));
            }
        });
        Self { port, connections, queries }
    }

    /// Messages that came behind a login of the test's own, or Syncs.
    pub fn served(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Cancels are connections, too.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut socket: TcpStream, says: Says, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
    let length = socket.read_u32().await? as usize;
    let mut startup = vec![0; length - 4];
    socket.read_exact(&mut startup).await?;
    if startup.starts_with(&80_877_102_u32.to_be_bytes()) {
        if let Says::Nothing { cancels } = &says {
            cancels.acquire().await.expect("it is never closed").forget();
        }
        return Ok(());
    }
    if let Says::Login(answers) = &says {
        return greet(socket, answers, &asked).await;
    }
    let greeting = [
        message(b'R', &[0; 4]),
        message(b'S', b"standard_conforming_strings\0on\0"),
        message(b'S', b"client_encoding\0UTF8\0"),
        message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]),
        message(b'Z', b"I"),
    ];
    socket.write_all(&greeting.concat()).await?;
    let mut inbox = BytesMut::new();
    let (mut is_open, mut is_silent) = (false, false);
    loop {
        while inbox.len() < 5 || inbox.len() < 1 + (&inbox[1..5]).get_u32() as usize {
            if socket.read_buf(&mut inbox).await? == 0 {
                return Ok(());
            }
        }
        let frame_bytes = 1 + (&inbox[1..5]).get_u32() as usize;
        let frame = inbox.split_to(frame_bytes);
        if frame[0] == b'S' {
            asked.fetch_add(1, Ordering::SeqCst);
            let state: &[u8] = if is_open { b"T" } else { b"I" };
            if !is_silent {
                socket.write_all(&message(b'Z', state)).await?;
            }
        }
        if frame[0] != b'Q' || is_silent {
            continue;
        }
        let says_word = |wanted: &[u8]| frame.windows(wanted.len()).any(|word| word == wanted);
        let misbehaves = says_word(b"misbehave");
        is_open =
            (is_open || says_word(b"BEGIN")) && !says_word(b"COMMIT") && !says_word(b"ROLLBACK");
        match &says {
            Says::Bytes(bytes) if misbehaves => socket.write_all(bytes).await?,
            Says::BytesAndEnd(bytes) if misbehaves => return socket.write_all(bytes).await,
            Says::LaterBytes(bytes) if misbehaves => {
                socket.write_all(&[one(), bytes.clone()].concat()).await?;
            }
            Says::OnlyThat if misbehaves => {
                is_silent = true;
                socket.write_all(&one()).await?;
            }
            Says::Nothing { .. } if misbehaves => {}
            Says::Login(_) => unreachable!("it has its own conversation"),
            _ => socket.write_all(&one_row(if is_open { b"T" } else { b"I" })).await?,
        }
    }
}

/// A login in which the shard says what it likes.
async fn greet(
    mut socket: TcpStream,
    answers: &[Vec<u8>],
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut nonce = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        if 0 < index {
            let header = socket.read_u8().await?;
            assert_eq!(header, b'p');
            let mut body = vec![0; socket.read_u32().await? as usize - 4];
            socket.read_exact(&mut body).await?;
            if let Some(at) = body.windows(3).position(|part| part == b",r=") {
                nonce = body[at + 3..].to_vec();
            }
        }
        let Some(at) = answer.windows(5).position(|part| part == b"NONCE") else {
            socket.write_all(answer).await?;
            continue;
        };
        let body = [&answer[5..at], &nonce, &answer[at + 5..]].concat();
        socket.write_all(&message(answer[0], &body)).await?;
    }
    // The other side has the last word.
    while socket.read_buf(&mut BytesMut::with_capacity(1024)).await? != 0 {
        asked.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// One row, `one`.
pub fn one() -> Vec<u8> {
    one_row(b"I")
}

fn one_row(status: &[u8]) -> Vec<u8> {
    let column = [&b"\0\x01c\0"[..], &[0; 6], &25_u32.to_be_bytes(), &[0xff; 6], &[0; 2]].concat();
    [
        message(b'T', &column),
        message(b'D', b"\0\x01\0\0\0\x03one"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', status),
    ]
    .concat()
}
