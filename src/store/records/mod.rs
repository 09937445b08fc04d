//! The columns of each table: one file per record.

mod deployment;
mod feedback;
mod hint;
mod rollout;
mod score;
mod spent;
mod step;
mod turn;

pub(super) use turn::turn_status;
