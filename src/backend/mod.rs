//! One connection to a shard.

pub mod login;
pub mod prepared;
pub mod settings;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::auth::users::BackendLogin;
use crate::backend::prepared::Prepared;
use crate::backend::settings::SettingMap;
use crate::directory::Address;
use crate::protocol::ask;
use crate::protocol::wire::Wire;

/// How long a cancel may take, its own connection included.
pub const CANCEL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Why a backend could not be had. The address is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to {address}")]
    Refused { address: String, source: io::Error },
    #[error("no connection to {address} within {waited_ms} ms")]
    Slow { address: String, waited_ms: u128 },
    #[error("the connection to {address} broke while logging in")]
    Broke { address: String, source: io::Error },
    #[error("{address} refuses the login: {code}: {message}")]
    Denied { address: String, code: String, message: String },
    #[error("{address} answers the login in a way that is not understood: {what}")]
    Garbled { address: String, what: &'static str },
}

/// What a cancel needs to name a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    process: i32,
    secret: i32,
}

/// A connection that has logged in.
#[derive(Debug)]
pub struct Backend {
    pub wire: Wire<TcpStream>,
    pub target: Arc<Target>,
    /// What the shard reported of itself (`ParameterStatus`).
    pub parameters: BTreeMap<String, String>,
    /// What its session has been told to be; `None` when nobody knows any more.
    pub told: Option<SettingMap>,
    pub prepared: Prepared,
    /// The lease, by its number, that may have been given values of sequences here.
    pub sequences_of: Option<u64>,
}

impl Backend {
    /// Connects and logs in, within `wait_max`.
    pub async fn connect(
        address: &Address,
        login: &BackendLogin,
        wait_max: Duration,
    ) -> Result<Self, ConnectError> {
        match timeout(wait_max, Self::open(address, login)).await {
            Ok(opened) => opened,
            Err(_elapsed) => {
                Err(ConnectError::Slow { address: place(address), waited_ms: wait_max.as_millis() })
            }
        }
    }

    async fn open(address: &Address, login: &BackendLogin) -> Result<Self, ConnectError> {
        let refused = |source| ConnectError::Refused { address: place(address), source };
        let socket =
            TcpStream::connect((address.host.as_str(), address.port)).await.map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        let mut wire = Wire::new(socket);
        let greeting = login::log_in(&mut wire, &address.database, login)
            .await
            .map_err(|error| error.at(place(address)))?;
        let (process, secret) = greeting.key;
        Ok(Self {
            wire,
            target: Arc::new(Target { address: address.clone(), process, secret }),
            parameters: greeting.parameters,
            told: Some(SettingMap::default()),
            prepared: Prepared::default(),
            sequences_of: None,
        })
    }

    /// Without a round trip: the other side has neither closed nor said anything.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        self.wire.inbox.is_empty()
            && self.wire.outbox.is_empty()
            && matches!(
                self.wire.socket().try_read(&mut byte),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
    }
}

impl Target {
    /// Asks the shard to stop what the backend runs, and waits until the shard has closed the
    /// connection: only then has the signal been sent.
    pub async fn cancel(&self) -> io::Result<()> {
        let send = async {
            let Address { host, port, .. } = &self.address;
            let mut socket = TcpStream::connect((host.as_str(), *port)).await?;
            let mut request = BytesMut::new();
            ask::cancel(self.process, self.secret, &mut request);
            socket.write_all(&request).await?;
            // PostgreSQL answers nothing; the end is the answer.
            let mut nothing = [0; 16];
            while socket.read(&mut nothing).await? != 0 {}
            Ok(())
        };
        timeout(CANCEL_WAIT_MAX, send).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

fn place(address: &Address) -> String {
    format!("{}:{}", address.host, address.port)
}
