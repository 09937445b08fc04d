//! The one integration binary: a module per stage, and those that span stages.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail like the test itself")]
mod bench;
mod cli;
mod collect;
mod deploy;
mod families;
mod golden;
mod hint;
mod hub;
mod inspect;
mod judging;
mod parity;
mod parity_hybrid;
mod parity_loss;
mod plain;
mod render;
mod run;
mod score;
mod serve;
mod sessions;
mod store;
mod support;
mod tidy;
mod train;
mod train_examples;
mod train_poison;
mod weights;
