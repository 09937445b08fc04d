//! The server over real HTTP, with a model whose answers are known.
#![expect(clippy::disallowed_methods, reason = "a task of a test ends with its runtime")]

mod admin;
mod doors;
mod errors;
mod harness;
mod lifecycle;
mod metrics;
mod recording;
mod streaming;
