//! The `train` stage.

pub mod adamw;
pub mod batch;
pub mod samples;
