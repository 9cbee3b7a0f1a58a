//! Logging in to a shard: startup, proof, and what the shard says of itself.

use std::collections::BTreeMap;
use std::io;

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;

use crate::auth::users::BackendLogin;
use crate::backend::ConnectError;
use crate::protocol::ask;
use crate::protocol::cursor::Cursor;
use crate::protocol::frame::reply;
use crate::protocol::told;
use crate::protocol::wire::{NextError, Wire};

/// A shard that logs us in has no reason for a longer message.
const LOGIN_FRAME_BYTES_MAX: usize = 64 * 1024;

/// A shard that reports more than this of itself is not one.
const PARAMETERS_MAX: usize = 200;

/// PostgreSQL makes verifiers of 4,096 rounds; a hostile shard could ask for billions.
const SCRAM_ROUNDS_MAX: u32 = 1_000_000;

/// So many take some milliseconds.
const SCRAM_ROUNDS_IN_PLACE_MAX: u32 = 10_000;

/// What a shard says while it logs us in.
#[derive(Debug)]
pub struct Greeting {
    pub key: (i32, i32),
    pub parameters: BTreeMap<String, String>,
}

/// A login that went wrong; the caller knows where.
#[derive(Debug)]
pub enum LoginError {
    Broke(io::Error),
    Denied { code: String, message: String },
    Garbled(&'static str),
}

impl LoginError {
    pub fn at(self, address: String) -> ConnectError {
        match self {
            Self::Broke(source) => ConnectError::Broke { address, source },
            Self::Denied { code, message } => ConnectError::Denied { address, code, message },
            Self::Garbled(what) => ConnectError::Garbled { address, what },
        }
    }
}

/// Says who we are, proves it, and reads up to the first `ReadyForQuery`.
pub async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    database: &str,
    login: &BackendLogin,
) -> Result<Greeting, LoginError> {
    let parameters =
        [("user", login.role.as_str()), ("database", database), ("client_encoding", "UTF8")];
    ask::startup(parameters, &mut wire.outbox);
    prove(wire, login).await?;

    let mut key = None;
    let mut parameters = BTreeMap::new();
    loop {
        let (tag, body) = next_frame(wire).await?;
        match tag {
            reply::PARAMETER_STATUS => {
                let (name, value) =
                    parameter(&body).ok_or(LoginError::Garbled("a bad ParameterStatus"))?;
                parameters.insert(name, value);
                if PARAMETERS_MAX < parameters.len() {
                    return Err(LoginError::Garbled("too many parameters"));
                }
            }
            reply::BACKEND_KEY_DATA => {
                let mut cursor = Cursor::new(&body);
                let (Ok(process), Ok(secret)) = (cursor.i32(), cursor.i32()) else {
                    return Err(LoginError::Garbled("a bad BackendKeyData"));
                };
                key = Some((process, secret));
            }
            reply::NOTICE => {}
            reply::ERROR => return Err(denied(&body)),
            reply::READY_FOR_QUERY => break,
            _ => return Err(LoginError::Garbled("an unexpected message after the login")),
        }
    }
    // With other rules for quotes the shard would read a text in another way than we do.
    if parameters.get("standard_conforming_strings").is_none_or(|value| value != "on") {
        return Err(LoginError::Garbled("standard_conforming_strings is not on"));
    }
    let key = key.ok_or(LoginError::Garbled("no BackendKeyData"))?;
    Ok(Greeting { key, parameters })
}

/// Answers what the shard asks until it is content.
async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    login: &BackendLogin,
) -> Result<(), LoginError> {
    let mut scram: Option<ScramSha256> = None;
    let mut verified = false;
    loop {
        let (tag, body) = next_frame(wire).await?;
        match tag {
            reply::AUTHENTICATION => {}
            reply::ERROR => return Err(denied(&body)),
            reply::NOTICE | reply::NEGOTIATE_PROTOCOL_VERSION => continue,
            _ => return Err(LoginError::Garbled("an unexpected message while logging in")),
        }
        let mut cursor = Cursor::new(&body);
        let kind = cursor.i32().map_err(|_| LoginError::Garbled("a bad Authentication"))?;
        match kind {
            0 if scram.is_some() && !verified => {
                return Err(LoginError::Garbled("no SCRAM signature from the shard"));
            }
            0 => return Ok(()),
            5 if !login.md5 => {
                return Err(LoginError::Garbled("it asks for the password as md5 (see `as.md5`)"));
            }
            5 => {
                let salt = cursor.rest().first_chunk::<4>();
                let salt = *salt.ok_or(LoginError::Garbled("a bad md5 salt"))?;
                let answer = md5_hash(login.role.as_str().as_bytes(), secret(login)?, salt);
                ask::password(answer.as_bytes(), &mut wire.outbox)
                    .map_err(|_| LoginError::Garbled("a password with a NUL byte"))?;
            }
            10 => {
                if !offers_scram(cursor) {
                    return Err(LoginError::Garbled("no SCRAM-SHA-256 on offer"));
                }
                let exchange = ScramSha256::new(secret(login)?, ChannelBinding::unsupported());
                ask::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut wire.outbox);
                scram = Some(exchange);
            }
            11 => {
                let exchange = scram.take().ok_or(LoginError::Garbled("SCRAM out of turn"))?;
                let exchange = answer_challenge(exchange, cursor.rest()).await?;
                ask::sasl_response(exchange.message(), &mut wire.outbox);
                scram = Some(exchange);
            }
            12 => {
                let exchange = scram.as_mut().ok_or(LoginError::Garbled("SCRAM out of turn"))?;
                exchange
                    .finish(cursor.rest())
                    .map_err(|_| LoginError::Garbled("a SCRAM signature that is wrong"))?;
                verified = true;
            }
            // A password in clear text is never sent: a shard that asks for one is not ours.
            3 => return Err(LoginError::Garbled("it asks for a password in clear text")),
            _ => return Err(LoginError::Garbled("an unknown authentication method")),
        }
    }
}

fn secret(login: &BackendLogin) -> Result<&[u8], LoginError> {
    let password = login.password.as_ref();
    let unset = LoginError::Garbled("it asks for a password and none is set");
    Ok(password.ok_or(unset)?.reveal().as_bytes())
}

fn offers_scram(mut mechanisms: Cursor<'_>) -> bool {
    while let Ok(name) = mechanisms.text() {
        if name == SCRAM_SHA_256.as_bytes() {
            return true;
        }
    }
    false
}

/// Takes the server's first message, whose number of rounds is its own choice, in bounds.
async fn answer_challenge(
    mut exchange: ScramSha256,
    challenge: &[u8],
) -> Result<ScramSha256, LoginError> {
    let rounds = rounds(challenge)?;
    let challenge = challenge.to_vec();
    let answer = move || exchange.update(&challenge).map(|()| exchange);
    let answered = if rounds <= SCRAM_ROUNDS_IN_PLACE_MAX {
        answer()
    } else {
        // They take a while, and others are waiting.
        spawn_blocking(answer).await.map_err(|_| LoginError::Garbled("a SCRAM challenge"))?
    };
    answered.map_err(|_| LoginError::Garbled("a SCRAM challenge that does not fit"))
}

/// Reads `i=…` of the server's first message before it is obeyed.
fn rounds(challenge: &[u8]) -> Result<u32, LoginError> {
    let text = std::str::from_utf8(challenge).map_err(|_| LoginError::Garbled("bad SCRAM"))?;
    let rounds = text.rsplit_once(",i=").and_then(|(_, rounds)| rounds.parse::<u32>().ok());
    rounds
        .filter(|rounds| (1..=SCRAM_ROUNDS_MAX).contains(rounds))
        .ok_or(LoginError::Garbled("an unreasonable number of SCRAM rounds"))
}

async fn next_frame<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
) -> Result<(u8, BytesMut), LoginError> {
    wire.next_frame(LOGIN_FRAME_BYTES_MAX).await.map_err(|error| match error {
        NextError::Broke(source) => LoginError::Broke(source),
        NextError::Frame(_) => LoginError::Garbled("a frame of impossible length"),
        NextError::Long => LoginError::Garbled("an overlong message while logging in"),
    })
}

/// The name and the value of a `ParameterStatus`.
pub fn parameter(body: &[u8]) -> Option<(String, String)> {
    let mut cursor = Cursor::new(body);
    let name = cursor.text().ok()?;
    let value = cursor.text().ok()?;
    Some((String::from_utf8(name.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?))
}

fn denied(body: &[u8]) -> LoginError {
    let code = told::field(body, b'C').unwrap_or_default();
    let code = String::from_utf8_lossy(code).into_owned();
    LoginError::Denied { code, message: told::message(body) }
}
