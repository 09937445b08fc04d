//! What can go wrong when looking.

use std::path::PathBuf;

use crate::fault::Explain;
use crate::rollout::TurnId;
use crate::store::StoreError;
use crate::weights::WeightsError;

/// A failure of `inspect`.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no home at this path.
    #[error("there is no home at {}", path.display())]
    NoHome {
        /// The path.
        path: PathBuf,
    },
    /// No table knows this turn.
    #[error("no table knows the turn {turn}")]
    UnknownTurn {
        /// The turn.
        turn: TurnId,
    },
    /// The store could not be opened or listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry could not be opened or listed.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl Explain for InspectError {
    fn label(&self) -> &'static str {
        match self {
            Self::NoHome { .. } => "inspect_no_home",
            Self::UnknownTurn { .. } => "inspect_unknown_turn",
            Self::Store(error) => error.label(),
            Self::Weights(error) => error.label(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome { .. } => {
                Some("give the `--home` that `openclaw-rl run` was started with".to_owned())
            }
            Self::UnknownTurn { .. } => Some(
                "the id is what follows `chatcmpl-` in a reply's `id`; an unreadable segment may \
                 hide a turn: `openclaw-rl store verify` tells"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
            Self::Weights(error) => error.hint(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::NoHome { .. } | Self::UnknownTurn { .. } => 2,
            Self::Store(error) => error.exit_code(),
            Self::Weights(error) => error.exit_code(),
        }
    }
}
