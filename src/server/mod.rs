//! Builds every part once; listens; drains.

mod guest;
pub mod log;
mod role;

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{info, warn};

use crate::auth::users::Users;
use crate::config::{self, Config};
use crate::directory::watch::{self, Follower};
use crate::directory::{Directory, file};
use crate::pool::Pools;
use crate::server::role::Roles;
use crate::session::Parts;
use crate::session::cancel::Cancels;
use crate::sql::Reader;
use crate::tls::Tls;
use crate::yaml::Mistakes;

/// After an accept that failed for want of something that comes back, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0}")]
    Mistakes(Mistakes),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// What every client needs. A door of one's own may stand before it: tests drive one socket at a
/// time, and drop its future wherever it waits.
pub struct House {
    settings: config::Server,
    database: String,
    users: Users,
    tls: Arc<Tls>,
    roles: Roles,
    cancels: Arc<Cancels>,
    parts: Arc<Parts>,
    seats: Semaphore,
    /// Idle clients are sent away when this is cancelled.
    closing: CancellationToken,
}

/// Serves until `stop` is cancelled or a signal ends it, then drains.
pub async fn serve(config: Config, stop: CancellationToken) -> Result<(), ServeError> {
    let mut mistakes = Mistakes::new(&config.file);
    let users = config.users(&mut mistakes);
    let tls = config.tls(&mut mistakes);
    let (users, tls) = mistakes.unless_errors((users, tls)).map_err(ServeError::Mistakes)?;
    // Where it is read again later: what the allocator keeps of one reading serves the next.
    let file = config.directory.file.clone();
    let reading = joined(spawn_blocking(move || file::load(&file)).await);
    let snapshot = reading.map_err(ServeError::Mistakes)?;
    let (shards, tenants) = (snapshot.shards().len(), snapshot.tenants().len());
    let directory = Directory::new(snapshot);

    raise_file_limit();
    let address = config.door.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let follower = watch::follow(config.directory.file.clone(), directory.clone());
    info!(%address, shards, tenants, "listening");
    let house = Arc::new(House::build(config, users, tls, directory));
    // As a task of its own: a newcomer is then served by the thread that has accepted it.
    let opened = tokio::spawn(house.open(listener, follower, stop));
    joined(AbortOnDropHandle::new(opened).await)
}

/// What a task has come to that nobody cancels.
fn joined<T>(result: Result<T, JoinError>) -> T {
    result.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Each connection is an open file, and the usual limit is one for programs that have few.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is");
    }
}

impl House {
    pub fn build(config: Config, users: Users, tls: Tls, directory: Directory) -> Self {
        let parts = Parts {
            settings: config.session,
            routing: config.routing,
            log: config.log.statements,
            reader: Reader::new(&config.sql),
            directory,
            pools: Pools::new(config.pool),
            texts: Default::default(),
            writes: Default::default(),
        };
        Self {
            seats: Semaphore::new(config.server.clients_max.get()),
            settings: config.server,
            database: config.door.database,
            users,
            tls: Arc::new(tls),
            roles: Roles::default(),
            cancels: Arc::default(),
            parts: Arc::new(parts),
            closing: CancellationToken::new(),
        }
    }

    async fn open(
        self: Arc<Self>,
        listener: TcpListener,
        follower: Follower,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let hear = |kind| signal(kind).map_err(ServeError::Signals);
        let mut hangup = hear(SignalKind::hangup())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let mut interrupt = hear(SignalKind::interrupt())?;
        let guests = TaskTracker::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => self.admit(socket, &guests),
                    Err(error) => {
                        warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                // What is wrong with the files is in the log.
                _ = hangup.recv() => {
                    let tls = self.tls.clone();
                    let _ = spawn_blocking(move || tls.reload()).await;
                    let _ = follower.reload().await;
                }
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => break,
                () = stop.cancelled() => break,
            }
        }
        drop(listener);
        info!(clients = guests.len(), "draining");
        self.closing.cancel();
        guests.close();
        tokio::select! {
            () = guests.wait() => {}
            () = sleep(self.settings.drain_max) => {
                warn!(clients = guests.len(), "not all clients were done in time");
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }

    fn admit(self: &Arc<Self>, socket: TcpStream, guests: &TaskTracker) {
        let house = self.clone();
        // Boxed, because a task is moved about until it runs, and this one is large.
        guests.spawn(Box::pin(async move { house.serve_guest(socket).await }));
    }
}
