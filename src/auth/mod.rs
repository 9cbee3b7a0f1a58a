//! Who may connect, by what proof.
