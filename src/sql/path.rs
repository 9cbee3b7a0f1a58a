//! The text of a `search_path`: split and spelled as PostgreSQL does.
