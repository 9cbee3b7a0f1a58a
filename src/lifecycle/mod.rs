//! A tenant's life beyond its rows: what must be so on home and on its shard.

pub mod placeholders;
