//! veneer: one connection string for many tenants on many shards.
//!
//! The house, top floor first. A module may use only modules listed *below* it;
//! `tests/tidy.rs` holds that law. A query's way: [`server`] accepts, [`client`] and [`auth`]
//! settle who it is, [`session`] loops, [`sql`] says what the statement says, [`router`] says
//! where it goes and why, [`pool`] lends a [`backend`], and the relay passes the answer back.

#![warn(clippy::too_many_lines, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::too_many_lines, clippy::unwrap_used))]

pub mod cli;
pub mod demo;
pub mod server;
pub mod config;
pub mod lifecycle;
pub mod migrate;
pub mod session;
pub mod pool;
pub mod backend;
pub mod client;
pub mod auth;
pub mod router;
pub mod directory;
pub mod sql;
pub mod tls;
pub mod protocol;
pub mod yaml;
pub mod tenant;
