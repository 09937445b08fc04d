//! The `openclaw-rl` binary.
fn main() {}
