//! The `veneer` program.
fn main() {}
