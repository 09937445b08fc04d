//! What can end the trainer.

use std::path::PathBuf;

use super::adamw::AdamWError;
use super::examples::ExamplesError;
use crate::fault::Explain;
use crate::model::ModelError;
use crate::render::RenderError;
use crate::rollout::Version;
use crate::store::StoreError;
use crate::weights::WeightsError;

/// A failure of the trainer.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Another trainer works on this home.
    #[error("another trainer holds {}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file of the home cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The tables cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The weights registry cannot be worked with.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model cannot be loaded, computed or saved.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model's tokenizer or template cannot be worked with.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The examples cannot be worked with.
    #[error(transparent)]
    Examples(#[from] ExamplesError),
    /// The optimizer's state does not fit.
    #[error(transparent)]
    Optimizer(#[from] AdamWError),
    /// A value could not be read from the device.
    #[error("the device gave no result: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// The trainer's own state cannot be read.
    #[error("{} is not a trainer's state: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Step after step was not finite, or beyond the running bound.
    #[error("{in_a_row} steps in a row were skipped, building on version {head}: {detail}")]
    NotFinite {
        /// How many.
        in_a_row: usize,
        /// The version they were to build on.
        head: Version,
        /// What was wrong with the last one.
        detail: String,
    },
    /// A step does not fit into a device's memory.
    #[error(
        "a step needs about {} MB on {device}, which has {} MB free",
        needs / 1_000_000,
        free / 1_000_000
    )]
    TooLarge {
        /// The device.
        device: String,
        /// Bytes that a step needs.
        needs: u64,
        /// Bytes that the device has free.
        free: u64,
    },
    /// Another replica of the model ended before this one.
    #[error("replica {rank} waited for another one that is gone")]
    ReplicaGone {
        /// The one that waited.
        rank: usize,
    },
    /// Two settings of the home do not go together.
    #[error("{what}")]
    Unfit {
        /// Which.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The computation broke off.
    #[error("the training thread broke off: {reason}")]
    Panicked {
        /// What it said.
        reason: String,
    },
}

impl Explain for TrainError {
    fn label(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "train_locked",
            Self::Io { .. } => "train_io",
            Self::Store(error) => error.label(),
            Self::Weights(error) => error.label(),
            Self::Model(error) => error.label(),
            Self::Render(error) => error.label(),
            Self::Examples(_) => "train_examples",
            Self::Optimizer(_) => "train_optimizer",
            Self::State { .. } => "train_state",
            Self::Device { .. } => "train_device",
            Self::NotFinite { .. } => "train_not_finite",
            Self::TooLarge { .. } => "train_too_large",
            Self::ReplicaGone { .. } => "train_replica",
            Self::Unfit { .. } => "train_unfit",
            Self::Panicked { .. } => "train_panicked",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::Weights(error) => return error.hint(),
            Self::Model(error) => return error.hint(),
            Self::Render(error) => return error.hint(),
            Self::Examples(_) => {
                "one JSON object a line, with `messages` that end with the assistant's, and \
                 `tools` if there are any"
            }
            Self::Locked { .. } => "one trainer works on a home at a time: stop the other one",
            Self::Io { .. } => "check the permissions and the free space of --home",
            Self::Optimizer(_) | Self::State { .. } => {
                "go back to a version whose state is whole with `openclaw-rl deploy \
                 --version N`"
            }
            Self::NotFinite { .. } => {
                "lower --learning-rate, or go back with `openclaw-rl deploy --version N`; serving \
                 goes on meanwhile"
            }
            Self::TooLarge { .. } => {
                "use --weights lora, or a smaller --pack-tokens and --train-tokens-max; \
                 `openclaw-rl --dry-run train` shows what needs how much"
            }
            Self::Unfit { hint, .. } => return Some(hint.clone()),
            Self::Device { .. } | Self::Panicked { .. } | Self::ReplicaGone { .. } => {
                "try again with a smaller --train-tokens-max if memory ran out"
            }
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Weights(error) => error.exit_code(),
            Self::Model(error) => error.exit_code(),
            Self::Render(error) => error.exit_code(),
            Self::Locked { .. }
            | Self::Unfit { .. }
            | Self::TooLarge { .. }
            | Self::Examples(_) => 2,
            _ => 1,
        }
    }
}
