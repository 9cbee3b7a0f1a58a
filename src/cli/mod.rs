//! What an operator can type.
