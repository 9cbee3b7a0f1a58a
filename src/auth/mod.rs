//! Who may connect, by what proof.

pub mod scram;
pub mod users;
