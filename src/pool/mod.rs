//! Backends on loan.
