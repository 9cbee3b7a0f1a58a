//! SQL files into schemas, once each.
