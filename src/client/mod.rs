//! One connection from an application: what a fresh socket is, and who speaks.
//!
//! ```text
//! socket ─greet─▶ Cancel(key)
//!              └▶ Login(Newcomer) ─log_in─▶ Client      (only a Client can send queries)
//! ```

pub mod login;

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::answer::Report;
use crate::protocol::startup::{self, CancelKey, First, Startup, StartupError};

/// A client may ask for encryption once of each kind.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// What a fresh socket turned out to be.
#[derive(Debug)]
pub enum Greeting {
    Login(Newcomer),
    Cancel(CancelKey),
}

/// Has spoken, has not proved who it is. It cannot send queries: no method takes one.
#[derive(Debug)]
pub struct Newcomer {
    socket: TcpStream,
    startup: Startup,
}

#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    #[error("the socket broke before it said what it is")]
    Broke(#[source] io::Error),
    #[error("it sent data behind its request for encryption")]
    Smuggled,
    #[error("it asks for encryption again and again")]
    Tedious,
    #[error("{source}")]
    Startup { socket: TcpStream, source: StartupError },
}

/// Reads first packets, byte for byte, until one says what the socket is.
pub async fn greet(mut socket: TcpStream) -> Result<Greeting, GreetError> {
    let mut requests_left = ENCRYPTION_REQUESTS_MAX;
    loop {
        let first = match read_first(&mut socket).await? {
            Ok(first) => first,
            Err(source) => return Err(GreetError::Startup { socket, source }),
        };
        match first {
            First::Cancel(key) => return Ok(Greeting::Cancel(key)),
            First::Startup(startup) => return Ok(Greeting::Login(Newcomer { socket, startup })),
            First::Ssl | First::Gss => {}
        }
        requests_left = requests_left.checked_sub(1).ok_or(GreetError::Tedious)?;
        // What stands behind the request was sent by someone who did not wait for the answer:
        // it could be passed off as part of what is encrypted (CVE-2021-23214).
        match socket.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Err(GreetError::Broke(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => return Err(GreetError::Smuggled),
            Err(error) => return Err(GreetError::Broke(error)),
        }
        socket.write_all(b"N").await.map_err(GreetError::Broke)?;
    }
}

/// Reads exactly one packet: nothing of what follows is buffered.
async fn read_first(socket: &mut TcpStream) -> Result<Result<First, StartupError>, GreetError> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).await.map_err(GreetError::Broke)?;
    let body_bytes = match startup::body_bytes(length) {
        Ok(body_bytes) => body_bytes,
        Err(error) => return Ok(Err(error)),
    };
    let mut body = vec![0; body_bytes];
    socket.read_exact(&mut body).await.map_err(GreetError::Broke)?;
    Ok(First::read(&body))
}

impl Newcomer {
    /// Says why there is no place for it.
    pub async fn turn_away(mut self, report: &Report) {
        let mut out = BytesMut::new();
        report.write(&mut out);
        // The newcomer may be gone already.
        let _ = self.socket.write_all(&out).await;
    }
}
