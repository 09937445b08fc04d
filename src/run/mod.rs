//! The supervisor: starts the six stages, and a server for the judge where the base model is one,
//! as child processes of the same binary, restarts what dies, shows progress, and knows nothing of
//! their insides.
//!
//! It learns how the loop stands from a [`Figures`] source that the caller passes in, and tells
//! the children to leave by SIGTERM. A child that outlives a killed supervisor notices that its
//! standard input closed, and leaves by itself.

mod child;
mod plan;
mod progress;
mod supervise;

pub use plan::{ChildPlan, Plan, client_config};
pub use progress::{Figures, Screen};
pub use supervise::{RunError, RunSummary, run};
