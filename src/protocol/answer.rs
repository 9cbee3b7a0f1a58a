//! What veneer itself says to a client.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::error::ErrorInfo;
use pgwire::messages::Message;
use pgwire::messages::response::{CommandComplete, ErrorResponse};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};

use crate::protocol::frame::reply;
use crate::protocol::startup::{CancelKey, Negotiation};

/// How a client's transaction stands; the byte of `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Idle,
    InTransaction,
    Failed,
}

impl Status {
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }

    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::InTransaction),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection ends with it.
    Fatal,
}

/// An error as PostgreSQL words one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub severity: Severity,
    /// SQLSTATE.
    pub code: Cow<'static, str>,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Report {
    pub fn error(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (severity, code, message) = (Severity::Error, code.into(), message.into());
        Self { severity, code, message, detail: None, hint: None }
    }

    pub fn fatal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn write(&self, out: &mut BytesMut) {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        // A NUL would end a field early and shift all that follow.
        let clean = |text: &str| text.replace('\0', "\u{fffd}");
        let mut info = ErrorInfo::new(
            severity.to_owned(),
            self.code.clone().into_owned(),
            clean(&self.message),
        );
        info.severity_nonlocalized = Some(severity.to_owned());
        info.detail = self.detail.as_deref().map(clean);
        info.hint = self.hint.as_deref().map(clean);
        encode(&ErrorResponse::from(info), out);
    }
}

fn encode<M: Message>(message: &M, out: &mut BytesMut) {
    message.encode(out).expect("these messages have no way to fail to encode");
}

pub fn authentication_ok(out: &mut BytesMut) {
    encode(&Authentication::Ok, out);
}

pub fn authentication_sasl(mechanisms: &[&str], out: &mut BytesMut) {
    let mechanisms = mechanisms.iter().map(|&mechanism| mechanism.to_owned());
    encode(&Authentication::SASL(mechanisms.collect()), out);
}

pub fn authentication_sasl_continue(data: String, out: &mut BytesMut) {
    encode(&Authentication::SASLContinue(data.into()), out);
}

pub fn authentication_sasl_final(data: String, out: &mut BytesMut) {
    encode(&Authentication::SASLFinal(data.into()), out);
}

pub fn negotiate_protocol_version(negotiation: Negotiation, out: &mut BytesMut) {
    let Negotiation { version, unknown_options } = negotiation;
    encode(&NegotiateProtocolVersion::new(version.cast_signed(), unknown_options), out);
}

pub fn parameter_status(name: &str, value: &str, out: &mut BytesMut) {
    encode(&ParameterStatus::new(name.to_owned(), value.to_owned()), out);
}

pub fn backend_key_data(key: &CancelKey, out: &mut BytesMut) {
    let secret = SecretKey::Bytes(Bytes::copy_from_slice(&key.secret));
    encode(&BackendKeyData::new(key.process.cast_signed(), secret), out);
}

pub fn command_complete(tag: &str, out: &mut BytesMut) {
    encode(&CommandComplete::new(tag.to_owned()), out);
}

pub fn ready(status: Status, out: &mut BytesMut) {
    out.put_slice(&[reply::READY_FOR_QUERY, 0, 0, 0, 5, status.byte()]);
}

/// The answers that are a tag and nothing else.
pub fn bare(tag: u8, out: &mut BytesMut) {
    out.put_slice(&[tag, 0, 0, 0, 4]);
}

pub fn no_parameters(out: &mut BytesMut) {
    out.put_slice(&[reply::PARAMETER_DESCRIPTION, 0, 0, 0, 6, 0, 0]);
}
