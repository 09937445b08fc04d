//! The server over real HTTP, with a model whose answers are known.
#![expect(clippy::disallowed_methods, reason = "a task of a test ends with its runtime")]

mod admin;
mod commands;
mod completions;
mod doors;
mod errors;
mod feedback;
mod generate;
mod grammar;
mod harness;
mod lifecycle;
mod messages;
mod metrics;
mod openapi;
mod privacy;
mod recording;
mod streaming;
