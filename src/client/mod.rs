//! One connection from an application: what a fresh socket is, and who speaks.
//!
//! ```text
//! socket ─greet─▶ Cancel(key)
//!              └▶ Login(Newcomer) ─log_in─▶ Client      (only a Client can send queries)
//! ```

pub mod login;

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::answer::Report;
use crate::protocol::startup::{self, CancelKey, First, Startup, StartupError};
use crate::tls::{Socket, Tls};

/// A client may ask for encryption once of each kind.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// The type of TLS's first record. As the first byte of a length it would be too long a packet.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a fresh socket turned out to be.
#[derive(Debug)]
pub enum Greeting {
    Login(Newcomer),
    /// Its socket is closed when the cancel has reached the shard: a client waits for that.
    Cancel(CancelKey, Socket),
}

/// Has spoken, has not proved who it is. It cannot send queries: no method takes one.
#[derive(Debug)]
pub struct Newcomer {
    socket: Socket,
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
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    #[error("it began with TLS, which is off")]
    NoTls,
    #[error("it began with TLS, and did not ask for PostgreSQL (ALPN)")]
    Unnamed,
    #[error("{source}")]
    Startup { socket: Socket, source: StartupError },
}

/// Reads first packets, byte for byte, until one says what the socket is.
pub async fn greet(socket: TcpStream, tls: &Tls) -> Result<Greeting, GreetError> {
    let (mut socket, first) = encrypt(socket, tls).await?;
    let first = match first {
        Some(first) => first,
        None => read_first(&mut socket).await?,
    };
    match first {
        Ok(First::Cancel(key)) => Ok(Greeting::Cancel(key, socket)),
        Ok(First::Startup(startup)) => Ok(Greeting::Login(Newcomer { socket, startup })),
        Ok(First::Ssl) => Err(GreetError::Startup { socket, source: StartupError::ENCRYPTED }),
        Ok(First::Gss) => Err(GreetError::Startup { socket, source: StartupError::ENCRYPTED_GSS }),
        Err(source) => Err(GreetError::Startup { socket, source }),
    }
}

/// Settles whether the socket is encrypted; gives what it said in plain text beside that.
async fn encrypt(
    mut socket: TcpStream,
    tls: &Tls,
) -> Result<(Socket, Option<Result<First, StartupError>>), GreetError> {
    let mut byte = [0];
    socket.peek(&mut byte).await.map_err(GreetError::Broke)?;
    if byte == [TLS_HANDSHAKE] {
        let identity = tls.identity().ok_or(GreetError::NoTls)?;
        let socket = identity.accept(socket).await.map_err(GreetError::Handshake)?;
        // Another protocol's client could be made to say something that we would obey.
        return if socket.is_named() { Ok((socket, None)) } else { Err(GreetError::Unnamed) };
    }
    let mut requests_left = ENCRYPTION_REQUESTS_MAX;
    loop {
        let first = read_first(&mut socket).await?;
        if !matches!(first, Ok(First::Ssl | First::Gss)) {
            return Ok((Socket::Plain(socket), Some(first)));
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
        if let (Ok(First::Ssl), Some(identity)) = (first, tls.identity()) {
            socket.write_all(b"S").await.map_err(GreetError::Broke)?;
            let socket = identity.accept(socket).await.map_err(GreetError::Handshake)?;
            return Ok((socket, None));
        }
        socket.write_all(b"N").await.map_err(GreetError::Broke)?;
    }
}

/// Reads exactly one packet: nothing of what follows is buffered.
async fn read_first<S: AsyncRead + Unpin>(
    socket: &mut S,
) -> Result<Result<First, StartupError>, GreetError> {
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
        let _ = self.socket.flush().await;
    }

    pub fn is_encrypted(&self) -> bool {
        self.socket.identity().is_some()
    }

    /// What it asks for, as PostgreSQL's log would say it: its host, its user and its database.
    pub fn wish(&self) -> String {
        let host = self.socket.peer().map_or_else(|_| "?".to_owned(), |peer| peer.ip().to_string());
        let Startup { user, database, .. } = &self.startup;
        format!("host \"{host}\", user \"{user}\", database \"{database}\"")
    }
}
