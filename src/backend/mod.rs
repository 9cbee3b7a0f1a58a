//! One connection to a shard.
