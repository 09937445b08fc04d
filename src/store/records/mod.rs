//! The columns of each table: one file per record.

mod deployment;
mod hint;
mod rollout;
mod score;
mod step;
mod turn;
