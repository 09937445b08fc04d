//! The domain: what a turn is, what is learned from it, and which state it is in.
//!
//! Pure data: no serde, no I/O. `store/schema` maps these types to Arrow, `protocol` to the wire.
//! JSON that only passes through (messages, tools) is kept as text, exactly as it was recorded.

mod feedback;
mod hint;
mod ids;
mod ledger;
mod record;
mod score;
mod step;
mod turn;

pub use feedback::{Feedback, Rated, Rating};
pub use hint::{Hint, HintCandidate, HintStatus, HintVote, Likeliest, Splice};
pub use ids::{InvalidTurnId, TurnId, Version, VersionSpan};
pub use ledger::{Ledger, Placement, Rejection, Tally, TurnState, UnknownRejection};
pub use record::{ClosedBy, Rollout, TurnKind};
pub use score::{BY_USER, Score, ScoreStatus, Spent, Vote};
pub use step::{Deployment, DeploymentEvent, RejectedTurn, Step, TrainedTurn, TrainingSignal};
pub use turn::{ConstraintKind, FinishReason, Sampling, Turn, TurnStatus};

/// An enum with one stable lower-case label per variant, for tables, metrics and errors.
macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $label:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every variant, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable label that stands in tables and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// The variant with this label, if there is one.
            pub fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}
pub(crate) use labelled;
