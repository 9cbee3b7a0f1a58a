//! One client's conversation.
//!
//! ```text
//!            request that has a shard              ReadyForQuery: idle, and the backend is clean
//!   Idle ─────────────────────────────▶ Working ──────────────────────────────────────────▶ Idle
//!     │ BEGIN                             ▲  │ ▲
//!     ▼                                   │  └─┘ ReadyForQuery: in a transaction, or failed
//!   Held ─────────────────────────────────┘
//!     BEGIN is answered and held until a statement says where the transaction belongs.
//! ```
//!
//! One task owns both sockets. It takes requests as far as they have come ([`requests`]), moves
//! replies as far as there is room ([`replies`]), and waits for either side ([`wait`]).

pub mod cancel;
mod engage;
mod extended;
mod held;
mod ledger;
mod lost;
mod pins;
mod plan;
mod prepare;
mod refuse;
mod replies;
pub mod report;
mod requests;
mod run;
mod settings;
mod simple;
mod statements;
mod wait;
mod work;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use serde::Deserialize;

use crate::auth::users::User;
use crate::backend::settings::{SettingMap, Told};
use crate::directory::{Directory, Shard};
use crate::pool::{Pool, Pools};
use crate::protocol::answer::{self, Report, Status};
use crate::protocol::wire::Wire;
use crate::router::{self, Asker, Path, Sight, TENANT_SETTING};
use crate::session::cancel::Listed;
use crate::session::lost::Lost;
use crate::session::plan::LastPlan;
use crate::session::refuse::Way;
use crate::session::settings::{Level, Settings as Tracked};
use crate::session::statements::{Names, Texts};
use crate::session::work::{Prefix, Work};
use crate::sql::{Reader, Text};
use crate::tenant::ShardName;
use crate::tls::Socket;

/// The one reported setting that clients choose freely; every session has its own.
pub const APPLICATION: &str = "application_name";

/// The log shows this much of a text.
const LOGGED_BYTES_MAX: usize = 2 * 1024;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// One message of a client. It is passed on in pieces and never held whole.
    pub message_bytes_max: ByteSize,
    /// A `Query` or `Parse`, which is held whole to be read.
    pub statement_bytes_max: ByteSize,
    /// Prepared statements of one client.
    pub statements_max: NonZeroUsize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            message_bytes_max: ByteSize::gib(1),
            statement_bytes_max: ByteSize::mib(16),
            statements_max: NonZeroUsize::new(1000).expect("1000 is not 0"),
        }
    }
}

/// Which statements are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statements {
    None,
    Refused,
    All,
}

/// What all sessions share.
pub struct Parts {
    pub settings: Settings,
    pub routing: router::Settings,
    pub log: Statements,
    pub reader: Reader,
    pub directory: Directory,
    pub pools: Pools,
    pub texts: Texts,
    /// Numbers for the leases that have written.
    pub writes: AtomicU64,
}

/// What a login settled.
#[derive(Debug)]
pub struct Identity {
    pub user: Arc<User>,
    /// Start values, from the startup message.
    pub start: SettingMap,
    /// What the role's path is when the client says nothing.
    pub role_path: String,
    /// What the greeting reported (`ParameterStatus`).
    pub reported: Arc<BTreeMap<String, String>>,
}

/// Where the conversation stands. What a state needs lives inside it.
#[derive(Debug)]
enum Place {
    Idle,
    /// BEGIN has been answered; no shard knows of it yet.
    Held(Prefix),
    /// SETs of a pipeline have been answered, which are part of its implicit transaction; no shard
    /// knows of it yet.
    Piped(Vec<String>),
    Working(Box<Work>),
    /// The backend broke; the client has not ended its transaction yet.
    Lost(Lost),
}

/// Where the client is in a pipeline of the extended protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipeline {
    Open,
    /// A request failed; all is passed over up to the next Sync.
    SkippingToSync,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// It is done with; the next one may come.
    Next,
    /// It goes to the backend, and so does what has not come of it yet.
    Passed,
    /// It cannot be decided before the shard has answered what came before it.
    Wait,
}

/// The rest of a message that is passed on, or over, in pieces.
#[derive(Debug, Clone, Copy)]
struct Rest {
    bytes_left: usize,
    pass: bool,
}

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the client said goodbye")]
    Goodbye,
    #[error("the client went away")]
    Gone,
    /// A shard has ended the session, in its own words, which the client is told.
    #[error("a shard has ended the session")]
    Relayed(Bytes),
    /// The client is told, and the connection closed.
    #[error("{}", .0.message)]
    Told(Box<Report>),
}

impl End {
    fn told(report: Report) -> Self {
        Self::Told(Box::new(report))
    }
}

pub struct Session {
    parts: Arc<Parts>,
    client: Wire<Socket>,
    /// The client sends no more. It may still read.
    half_closed: bool,
    user: Arc<User>,
    listed: Listed,
    place: Place,
    /// Backends whose session state is this client's own.
    kept: Vec<Work>,
    tracked: Tracked,
    path: Path,
    /// The text that `path` was read from, for the keys of prepared statements.
    path_text: Arc<str>,
    start_path: Path,
    role_path: Arc<str>,
    /// What the client was told at its start.
    reported: Arc<BTreeMap<String, String>>,
    /// … and what it has been told since, where that is something else.
    reported_since: BTreeMap<String, String>,
    /// `ParameterStatus` that is due before the next `ReadyForQuery`.
    unreported: BytesMut,
    names: Names,
    /// Where it took its last backend.
    last_pool: Option<(Arc<Shard>, Arc<Pool>)>,
    last_plan: Option<LastPlan>,
    /// The shard whose OIDs the client holds.
    affinity: Option<ShardName>,
    pipeline: Pipeline,
    rest: Option<Rest>,
    /// What the text that is passed over is answered with.
    overlong: Option<(Report, Way)>,
    /// What the message at the front of the inbox says, while it waits for its turn.
    awaited: Option<Arc<Text>>,
    /// The last of its leases that has written.
    last_write: Option<u64>,
    /// It has asked for `currval` or `lastval`.
    asks_sequence: bool,
    /// The size of the message that is awaited whole.
    wanted_bytes: usize,
    /// The client has said goodbye: what it asked before is finished, and nothing more is read.
    leaving: bool,
}

impl Session {
    pub fn new(
        parts: Arc<Parts>,
        client: Wire<Socket>,
        identity: Identity,
        listed: Listed,
    ) -> Self {
        let Identity { user, start, role_path, reported } = identity;
        let mut session = Self {
            parts,
            client,
            half_closed: false,
            user,
            listed,
            place: Place::Idle,
            kept: Vec::new(),
            tracked: Tracked::new(start),
            path: Path::default(),
            path_text: "".into(),
            start_path: Path::default(),
            role_path: role_path.into(),
            reported,
            reported_since: BTreeMap::new(),
            unreported: BytesMut::new(),
            names: Names::default(),
            last_pool: None,
            last_plan: None,
            affinity: None,
            pipeline: Pipeline::Open,
            rest: None,
            overlong: None,
            awaited: None,
            last_write: None,
            asks_sequence: false,
            wanted_bytes: 0,
            leaving: false,
        };
        let start = session.tracked.start().get("search_path").and_then(Told::text);
        let start = start.unwrap_or(&session.role_path).to_owned();
        session.start_path = Path::read(&start, session.role());
        session.settle_path();
        session
    }

    fn status(&self) -> Status {
        match &self.place {
            Place::Idle | Place::Piped(_) => Status::Idle,
            Place::Held(_) => Status::InTransaction,
            Place::Working(work) => work.status,
            Place::Lost(lost) => lost.status(),
        }
    }

    /// Ends an answer that no shard had a part in.
    fn write_ready(&mut self) {
        let status = self.status();
        self.client.outbox.unsplit(self.unreported.split());
        answer::ready(status, &mut self.client.outbox);
    }

    /// The role in force on the shards, for `"$user"`.
    fn role(&self) -> &str {
        let snapshot = self.parts.directory.snapshot();
        self.user.login(&snapshot.home().name).role.as_str()
    }

    /// The path changed, perhaps.
    fn settle_path(&mut self) {
        let told = self.tracked.get("search_path").and_then(Told::text);
        let text = told.unwrap_or(&self.role_path);
        if *text != *self.path_text {
            self.path_text = text.into();
            self.path = Path::read(&self.path_text, self.role());
        }
    }

    /// `veneer.tenant` is set: whatever is asked is the tenant's.
    fn is_scoped(&self) -> bool {
        self.tracked.get(TENANT_SETTING).and_then(Told::text).is_some_and(|scope| !scope.is_empty())
    }

    /// What unqualified names may mean once the open transaction, or a part of it, has ended.
    fn earlier_sights(&self) -> Vec<Sight<'static>> {
        let at = |level: &Level, setting| {
            self.tracked.at(level, setting).and_then(Told::text).map(str::to_owned)
        };
        let sight = |level: &Level| {
            let path = at(level, "search_path");
            let path = Path::read(path.as_deref().unwrap_or(&self.role_path), self.role());
            let scope = at(level, TENANT_SETTING).filter(|scope| !scope.is_empty());
            Sight { path: Cow::Owned(path), scope: scope.map(Cow::Owned) }
        };
        self.tracked.earlier().iter().map(sight).collect()
    }

    /// Runs `decide` with what the router may know of this session.
    fn asking<T>(&self, earlier: &[Sight<'_>], decide: impl FnOnce(&Asker<'_>) -> T) -> T {
        let scope = self.tracked.get(TENANT_SETTING).and_then(Told::text);
        let start_scope = self.tracked.start().get(TENANT_SETTING).and_then(Told::text);
        let asker = Asker {
            settings: &self.parts.routing,
            user: self.user.name.as_str(),
            may_use: &|tenant| self.user.tenants.may_use(tenant),
            role: self.role(),
            scope: scope.filter(|scope| !scope.is_empty()),
            path: &self.path,
            start_scope: start_scope.filter(|scope| !scope.is_empty()),
            start_path: &self.start_path,
            earlier,
            affinity: self.affinity.as_ref(),
        };
        decide(&asker)
    }
}

/// A client's text as the log may show it: in bounds, and without passwords.
fn loggable(sql: &[u8]) -> Cow<'_, str> {
    let secret = b"password";
    if sql.windows(secret.len()).any(|word| word.eq_ignore_ascii_case(secret)) {
        return "(it speaks of a password)".into();
    }
    String::from_utf8_lossy(&sql[..sql.len().min(LOGGED_BYTES_MAX)])
}

/// Makes an error ready to stand among replies.
fn bytes(report: &Report) -> Bytes {
    let mut out = BytesMut::new();
    report.write(&mut out);
    out.freeze()
}
