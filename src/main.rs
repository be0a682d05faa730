//! sundown
fn main() {}
