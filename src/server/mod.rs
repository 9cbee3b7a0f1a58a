//! Builds every part once; listens; drains.
