//! Real clients against veneer in front of real PostgreSQL: what users have, as they use it.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "tests/it uses the rest")]
mod support;

mod cancel;
mod isolation;
mod killed;
mod leftovers;
mod pgbench;
mod pooling;
mod scripts;
mod tls;
mod streams;
mod tokio_postgres_driver;
mod veneer;
