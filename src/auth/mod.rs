//! Who may connect, by what proof.

pub mod users;
