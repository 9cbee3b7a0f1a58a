//! The one door to rustls: a client's socket, in plain text or encrypted.

mod identity;

pub use identity::{Identity, Mode, Settings, Tls};

use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tls::identity::ALPN;

/// What a client speaks through.
#[derive(Debug)]
pub enum Socket {
    Plain(TcpStream),
    /// Boxed, because it is a thousand bytes, and most are plain.
    Tls(Box<Encrypted>),
}

/// A socket behind its handshake.
#[derive(Debug)]
pub struct Encrypted {
    stream: TlsStream<TcpStream>,
    identity: Arc<Identity>,
}

impl Socket {
    /// The certificate that the client has seen.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(socket) => Some(&socket.identity),
        }
    }

    /// Whether the client has asked for PostgreSQL by name.
    pub fn is_named(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(socket) => socket.stream.get_ref().1.alpn_protocol() == Some(ALPN),
        }
    }

    /// Where the client is.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.peer_addr(),
            Self::Tls(socket) => socket.stream.get_ref().0.peer_addr(),
        }
    }
}

/// Says TLS's own goodbye, without which a client takes the end for a cut. It is tried, not waited
/// for: whoever drops a socket has no more time for its client.
impl Drop for Encrypted {
    fn drop(&mut self) {
        struct Try<'s>(&'s TcpStream);
        impl Write for Try<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.try_write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (socket, session) = self.stream.get_mut();
        session.send_close_notify();
        while session.wants_write() {
            if session.write_tls(&mut Try(socket)).is_err() {
                break;
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(socket) => Pin::new(&mut socket.stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(&mut socket.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(&mut socket.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(&mut socket.stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
