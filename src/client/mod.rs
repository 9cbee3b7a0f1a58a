//! One connection from an application.
