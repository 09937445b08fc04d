//! The `train` stage: from scored and hinted turns to the next version of the weights.
//!
//! 1. [`batch::Pool`] folds the rows of the store into ready samples and rejections ([`samples`]).
//! 2. [`learner::Learner`] takes a batch to the next weights, or to nothing ([`adamw`],
//!    `crate::loss`).
//! 3. `trainer` publishes them as a version whose manifest holds the step, then writes the row.
//!
//! The manifest is the truth of a step: where the process dies before the row is written, the next
//! start writes it. One trainer works on a home at a time.

pub mod adamw;
pub mod batch;
mod beats;
mod bound;
mod checkpoint;
mod course;
mod curves;
pub mod error;
mod examples;
mod figures;
pub mod learner;
mod looping;
pub mod memory;
mod muon;
mod objective;
mod prepare;
pub mod reduce;
mod replicas;
pub mod reply;
mod retention;
mod rows;
pub mod samples;
mod tensorboard;
mod trainer;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use error::TrainError;

use crate::config::{Home, TrainConfig};
use trainer::{Round, Trainer};

/// What a run of the trainer did, and how the home stands afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrainSummary {
    /// Steps of this run.
    pub steps: u64,
    /// Turns that this run trained on.
    pub trained: u64,
    /// The version that the next step builds on.
    pub version: u64,
    /// Samples that wait for a full batch.
    pub ready: u64,
    /// Turns of the home that may yet be trained on, the ready ones included.
    pub waiting: u64,
    /// Turns of the home that will not be trained on, by reason.
    pub rejected: BTreeMap<String, u64>,
}

/// Trains on what is there, and ends; with `follow`, stays and goes on as feedback comes in.
///
/// The computation runs on a blocking thread. A step that `shutdown` cuts off is dropped: its turns
/// are trained on the next time.
///
/// # Errors
/// Another trainer works on the home; the store, the registry or the model cannot be worked with;
/// three steps in a row were not finite.
pub async fn run(
    config: &TrainConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<TrainSummary, TrainError> {
    let (config, home) = (config.clone(), home.clone());
    let poll = Duration::from_millis(config.poll_ms);
    let (follow, steps_max) = (config.follow, config.steps_max.unwrap_or(u64::MAX));
    let token = shutdown.clone();
    let mut trainer = blocking(move || Trainer::open(config, &home, token)).await?;
    loop {
        let (back, round) = blocking(move || {
            let round = trainer.round()?;
            Ok((trainer, round))
        })
        .await?;
        trainer = back;
        let enough = trainer.steps() >= steps_max;
        match round {
            Round::Stepped if !enough => {}
            Round::Idle if follow && !shutdown.is_cancelled() => {
                let _ = tokio::time::timeout(poll, shutdown.cancelled()).await;
            }
            _ => return trainer.finish(),
        }
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TrainError> + Send + 'static,
) -> Result<T, TrainError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(TrainError::Panicked { reason: error.to_string() }),
    }
}
