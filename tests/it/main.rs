//! Everything that needs real PostgreSQL, in one binary so that its clusters start once.

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod clusters;
mod ends;
mod hostile;
mod migrations;
mod oracle;
mod readme;
mod routing;
mod tls;
