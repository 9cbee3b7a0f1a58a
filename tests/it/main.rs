//! Everything that needs real PostgreSQL, in one binary so that its clusters start once.

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod cancels;
mod catalogue;
mod clusters;
mod ends;
mod dump;
mod hostile;
mod logins;
mod migrations;
mod oracle;
mod placeholders;
mod psql;
mod readme;
mod routing;
mod startup;
mod tls;
