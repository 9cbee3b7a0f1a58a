//! One socket, from its first byte to its last.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::auth::users::User;
use crate::backend::CANCEL_WAIT_MAX;
use crate::backend::settings::{SettingMap, Told};
use crate::client::login::{Client, LoginError};
use crate::client::{GreetError, Greeting, Newcomer, greet};
use crate::directory::Shard;
use crate::protocol::answer::{self, Report, Severity, Status};
use crate::protocol::options::{self, OptionError};
use crate::protocol::startup::{CancelKey, StartupError};
use crate::protocol::wire::Wire;
use crate::router::TENANT_SETTING;
use crate::server::House;
use crate::session::report::{self, code};
use crate::session::{APPLICATION, Identity, Session};
use crate::sql::path;
use crate::tls::Socket;

/// Settings that cannot fail, and need no shard's opinion.
const HARMLESS: [&str; 3] = [APPLICATION, "search_path", TENANT_SETTING];

/// Shards beside home that are asked about start values while home is down.
const JUDGES_MAX: usize = 2;

/// Who is let in.
enum Welcomed<'h> {
    Session(Box<Session>, SemaphorePermit<'h>),
    Cancel(CancelKey, Socket),
}

impl House {
    /// Talks to one socket until it has ended. May be dropped at any time.
    pub async fn serve_guest(&self, socket: TcpStream) {
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "a socket that cannot be set up");
            return;
        }
        let Ok(welcomed) = timeout(self.settings.login_max, self.welcome(socket)).await else {
            debug!("a login took too long");
            return;
        };
        match welcomed {
            Some(Welcomed::Session(session, _seat)) => {
                let end = session.run(self.closing.clone()).await;
                debug!(reason = ?end.to_string(), "a session ended");
            }
            // It has its own patience: a login's could end it on its way to the shard.
            Some(Welcomed::Cancel(key, _socket)) => {
                let cancelled = timeout(CANCEL_WAIT_MAX, self.cancels.cancel(key)).await;
                debug!(in_time = cancelled.is_ok(), "a cancel");
            }
            None => {}
        }
    }

    /// All up to the first `ReadyForQuery`; `None` when there is nothing more to do.
    async fn welcome(&self, socket: TcpStream) -> Option<Welcomed<'_>> {
        let newcomer = match greet(socket, &self.tls).await {
            Ok(Greeting::Login(newcomer)) => newcomer,
            Ok(Greeting::Cancel(key, socket)) => return Some(Welcomed::Cancel(key, socket)),
            Err(error) => {
                turn_away_unread(error).await;
                return None;
            }
        };
        if self.tls.is_required() && !newcomer.is_encrypted() {
            let report = plain_text(&newcomer.wish());
            newcomer.turn_away(&report).await;
            return None;
        }
        let mut client = self.log_in(newcomer).await?;
        // Behind the proof: whoever has none must not keep others out by being slow.
        let Ok(seat) = self.seats.try_acquire() else {
            let message = "sorry, too many clients already";
            tell(&mut client.wire, Report::fatal(code::TOO_MANY_CONNECTIONS, message)).await;
            return None;
        };
        match self.begin(&mut client).await {
            Ok((identity, listed)) => {
                if client.wire.flush().await.is_err() {
                    return None;
                }
                let session = Session::new(self.parts.clone(), client.wire, identity, listed);
                Some(Welcomed::Session(Box::new(session), seat))
            }
            Err(report) => {
                info!(user = %client.user.name, code = %report.code, message = ?report.message, "a login failed");
                tell(&mut client.wire, report).await;
                None
            }
        }
    }

    async fn log_in(&self, newcomer: Newcomer) -> Option<Client> {
        let user = newcomer.user().to_owned();
        match newcomer.log_in(&self.users).await {
            Ok(client) => Some(client),
            Err(mut turned) => {
                info!(?user, error = ?turned.error.to_string(), "a login failed");
                let code = match turned.error {
                    LoginError::Broke(_) => return None,
                    LoginError::OutOfTurn | LoginError::Malformed => code::PROTOCOL_VIOLATION,
                    LoginError::Wrong(_) => code::WRONG_PASSWORD,
                };
                let report = Report::fatal(code, turned.error.to_string());
                tell(&mut turned.wire, report).await;
                None
            }
        }
    }

    /// Checks what the client wants to start with, and writes the greeting.
    async fn begin(
        &self,
        client: &mut Client,
    ) -> Result<(Identity, crate::session::cancel::Listed), Report> {
        self.find_database(client)?;
        let mut settings = read_options(&client.options)?;
        settings.extend(std::mem::take(&mut client.settings));
        let start = start_values(settings)?;
        let snapshot = self.parts.directory.snapshot();
        let home = snapshot.home();
        let user: &Arc<User> = &client.user;
        let login = user.login(&home.name);
        let pool = self.parts.pools.pool(home, login);
        let facts = self.roles.facts(&login.role, &pool).await?;
        // Clients of a role who start alike share what they are told.
        let mut parameters = facts.parameters.clone();
        if start.iter().any(|(setting, _)| !HARMLESS.contains(&setting)) {
            let others = snapshot.shards().filter(|shard| shard.name != home.name);
            let pool_of =
                |shard: &Arc<Shard>| self.parts.pools.pool(shard, user.login(&shard.name));
            let others: Vec<_> = others.take(JUDGES_MAX).map(pool_of).collect();
            parameters = self.roles.try_start(&login.role, &pool, &others, &start).await?;
        }
        // A role may have one of its own.
        let application = start.get(APPLICATION).and_then(Told::text);
        let application =
            application.or(parameters.get(APPLICATION).map(String::as_str)).unwrap_or_default();
        let listed = self
            .cancels
            .list(client.key_bytes)
            .map_err(|_| Report::fatal(code::INTERNAL, "no random numbers for a cancel key"))?;
        let out = &mut client.wire.outbox;
        for (name, value) in parameters.iter().filter(|(name, _)| *name != APPLICATION) {
            answer::parameter_status(name, value, out);
        }
        answer::parameter_status(APPLICATION, application, out);
        answer::backend_key_data(&listed.key, out);
        answer::ready(Status::Idle, out);
        let role_path = facts.path.clone();
        let identity = Identity { user: user.clone(), start, role_path, reported: parameters };
        Ok((identity, listed))
    }

    /// `DATABASE`, or `DATABASE@TENANT` for a session that is scoped to a tenant.
    fn find_database(&self, client: &mut Client) -> Result<(), Report> {
        let unknown = |name: &str| {
            Report::fatal(code::UNKNOWN_DATABASE, format!("database \"{name}\" does not exist"))
                .hint(format!("The one database here is \"{}\".", self.database))
        };
        if client.database == self.database {
            return Ok(());
        }
        match client.database.split_once('@') {
            Some((database, tenant)) if database == self.database && !tenant.is_empty() => {
                client.settings.insert(TENANT_SETTING.to_owned(), tenant.to_owned());
                Ok(())
            }
            _ => Err(unknown(&client.database)),
        }
    }
}

fn read_options(options: &str) -> Result<BTreeMap<String, String>, Report> {
    let settings = options::read(options).map_err(|error| {
        let report = Report::fatal(code::SYNTAX, error.to_string());
        match error {
            OptionError::Argument(_) => {
                report.hint("Try \"postgres --help\" for more information.")
            }
            OptionError::Value(_) => report,
        }
    })?;
    Ok(settings.into_iter().collect())
}

/// A client's start values, or the reason why they cannot be had.
fn start_values(settings: BTreeMap<String, String>) -> Result<SettingMap, Report> {
    let mut values = BTreeMap::new();
    for (setting, value) in settings {
        if let Some(why) = report::refuse_setting(&setting, Some(&value)) {
            let message = format!("cannot set \"{setting}\" to \"{value}\"");
            return Err(Report::fatal(code::FEATURE_NOT_SUPPORTED, message).detail(why));
        }
        if setting == "search_path" && path::split(&value).is_err() {
            let message = format!("invalid value for parameter \"search_path\": \"{value}\"");
            let report = Report::fatal(code::INVALID_PARAMETER, message);
            return Err(report.detail("List syntax is invalid."));
        }
        // Every backend has these already.
        if matches!(setting.as_str(), "client_encoding" | "standard_conforming_strings") {
            continue;
        }
        let value = match setting.as_str() {
            APPLICATION => clean_ascii(&value),
            _ => value,
        };
        values.insert(setting, Told::Text(value.into()));
    }
    Ok(SettingMap::new(values))
}

/// PostgreSQL's `pg_clean_ascii`: what is not printable ASCII becomes a question mark.
fn clean_ascii(text: &str) -> String {
    let clean = text.bytes().map(|byte| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    });
    clean.take(crate::tenant::NAME_BYTES_MAX).collect()
}

async fn tell(wire: &mut Wire<Socket>, report: Report) {
    Report { severity: Severity::Fatal, ..report }.write(&mut wire.outbox);
    // The client may be gone already.
    let _ = wire.flush().await;
}

/// In the words of a `pg_hba.conf` that knows `hostssl` only.
fn plain_text(wish: &str) -> Report {
    let message = format!("no pg_hba.conf entry for {wish}, no encryption");
    Report::fatal(code::NO_USER, message)
        .hint("Encrypted connections only are taken here; connect with sslmode=require.")
}

async fn turn_away_unread(error: GreetError) {
    debug!(error = ?error.to_string(), "a socket that did not become a session");
    let GreetError::Startup { mut socket, source } = error else { return };
    let code = match source {
        StartupError::Length => return,
        StartupError::Version(..) | StartupError::Replication => code::FEATURE_NOT_SUPPORTED,
        StartupError::NoUser => code::NO_USER,
        StartupError::ReplicationKind(_) => code::INVALID_PARAMETER,
        StartupError::NotUtf8 => code::INVALID_BYTES,
        StartupError::Layout | StartupError::Many | StartupError::Twice(_) => {
            code::PROTOCOL_VIOLATION
        }
    };
    let mut out = BytesMut::new();
    let report = Report::fatal(code, source.to_string());
    let report = match source {
        StartupError::ReplicationKind(_) => {
            report.hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
        }
        _ => report,
    };
    report.write(&mut out);
    let _ = socket.write_all(&out).await;
    let _ = socket.flush().await;
}
