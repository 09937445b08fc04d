//! The one integration binary: a module per stage, and those that span stages.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]
mod deploy;
mod golden;
mod inspect;
mod parity;
mod parity_loss;
mod render;
mod serve;
mod store;
mod tidy;
mod train;
mod weights;
