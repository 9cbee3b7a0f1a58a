//! The wire: frames, and the few messages that veneer reads or writes itself.
//!
//! Rows are never decoded. A relay reads tags and lengths ([`frame`]), a buffered socket moves
//! bytes ([`wire`]), [`startup`] and [`request`] read what an outsider sent through a checked
//! cursor, [`answer`] words our replies to clients and [`ask`] our requests to shards.

pub mod answer;
pub mod ask;
pub mod cursor;
pub mod frame;
pub mod options;
pub mod request;
pub mod startup;
pub mod told;
pub mod wire;
