//! What an operator can type.

pub mod check;
