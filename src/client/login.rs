//! A newcomer proves who it is.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::auth::scram::{self, ScramError};
use crate::auth::users::{Proof, User, Users};
use crate::client::Newcomer;
use crate::protocol::answer;
use crate::protocol::frame::SMALL_FRAME_BYTES_MAX;
use crate::protocol::request::{self, RequestTag};
use crate::protocol::startup::Startup;
use crate::protocol::wire::Wire;
use crate::tls::{Identity, Socket};

/// Logged in. Its session begins when the greeting has been sent.
#[derive(Debug)]
pub struct Client {
    pub wire: Wire<Socket>,
    pub user: Arc<User>,
    pub database: String,
    /// Switches of PostgreSQL's command line, and settings beside them, which count more.
    pub options: String,
    pub settings: BTreeMap<String, String>,
    /// The length of the cancel key that it can take.
    pub key_bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("the client went away while logging in")]
    Broke(#[source] io::Error),
    #[error("expected SASL response")]
    OutOfTurn,
    #[error("malformed SASL message")]
    Malformed,
    #[error("password authentication failed for user \"{0}\"")]
    Wrong(String),
}

/// A login that failed, and the wire to say so on.
#[derive(Debug)]
pub struct Turned {
    pub wire: Wire<Socket>,
    pub error: LoginError,
}

impl Newcomer {
    pub fn user(&self) -> &str {
        &self.startup.user
    }

    /// Settles the protocol's version, then asks for the proof that the user's entry wants.
    pub async fn log_in(self, users: &Users) -> Result<Client, Box<Turned>> {
        let Self { socket, startup } = self;
        let mut wire = Wire::new(socket);
        if let Some(negotiation) = startup.negotiation() {
            answer::negotiate_protocol_version(negotiation, &mut wire.outbox);
        }
        match prove(&mut wire, users, &startup.user).await {
            Ok(user) => {
                let key_bytes = startup.key_bytes();
                let Startup { database, options, settings, .. } = startup;
                Ok(Client { wire, user, database, options, settings, key_bytes })
            }
            Err(error) => Err(Box::new(Turned { wire, error })),
        }
    }
}

async fn prove(
    wire: &mut Wire<Socket>,
    users: &Users,
    name: &str,
) -> Result<Arc<User>, LoginError> {
    let known = users.get(name);
    let verifier = match known.map(|user| &user.proof) {
        Some(Proof::Trust) => {
            answer::authentication_ok(&mut wire.outbox);
            return known.cloned().ok_or(LoginError::OutOfTurn);
        }
        Some(Proof::Scram(verifier)) => verifier.clone(),
        // Nobody learns from the answers, or from their pace, which users there are.
        None => users.decoy(name),
    };
    let wrong = |error: ScramError| match error {
        ScramError::Wrong => LoginError::Wrong(name.to_owned()),
        ScramError::Malformed | ScramError::Mechanism => LoginError::Malformed,
    };
    let offer = scram::Offer::new(wire.socket().identity().map(Identity::certificate));
    answer::authentication_sasl(offer.mechanisms(), &mut wire.outbox);
    let first = next_response(wire).await?;
    let (challenge, exchange) = offer.begin(&first, verifier).map_err(wrong)?;
    answer::authentication_sasl_continue(challenge, &mut wire.outbox);
    let last = next_response(wire).await?;
    let signature = exchange.finish(&last).map_err(wrong)?;
    let Some(user) = known else {
        return Err(LoginError::Wrong(name.to_owned()));
    };
    answer::authentication_sasl_final(signature, &mut wire.outbox);
    answer::authentication_ok(&mut wire.outbox);
    Ok(user.clone())
}

/// Sends what waits, and reads the body of the one message that may come now.
async fn next_response(wire: &mut Wire<Socket>) -> Result<Bytes, LoginError> {
    wire.flush().await.map_err(LoginError::Broke)?;
    loop {
        match request::peek(&wire.inbox) {
            Ok(Some((RequestTag::Password, header)))
                if header.body_bytes <= SMALL_FRAME_BYTES_MAX =>
            {
                if header.frame_bytes() <= wire.inbox.len() {
                    let mut frame = wire.inbox.split_to(header.frame_bytes());
                    frame.advance(frame.len() - header.body_bytes);
                    return Ok(frame.freeze());
                }
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Err(LoginError::OutOfTurn),
        }
        wire.fill().await.map_err(LoginError::Broke)?;
    }
}
