//! Optimizer steps and deployments: what was learned from, and what went live.

use super::{Rejection, TurnId, Version, labelled};

labelled! {
    /// Which feedback a trained turn carried.
    TrainingSignal {
        /// A score only.
        Score = "score",
        /// A hint only.
        Hint = "hint",
        /// Both.
        Both = "both",
    }
}

/// A turn that one batch consumed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainedTurn {
    /// The turn.
    pub turn_id: TurnId,
    /// The feedback it carried.
    pub signal: TrainingSignal,
    /// Its score.
    pub reward: f32,
    /// Number of response tokens that were trained on.
    pub tokens: u32,
}

/// A turn that the trainer put aside, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectedTurn {
    /// The turn.
    pub turn_id: TurnId,
    /// Why.
    pub reason: Rejection,
    /// The revision of its rollout that was known then: where more becomes known, a reason that
    /// lies in the feedback does not hold any more.
    pub revision: u32,
}

/// One optimizer step, or (with no trained turns and no version) a note of rejections only:
/// a row of the `steps` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The version that was made, or `None` where turns were only rejected.
    pub version: Option<Version>,
    /// The version that it was built on.
    pub parent: Version,
    /// The objective's name.
    pub method: String,
    /// The batch.
    pub trained: Vec<TrainedTurn>,
    /// What was put aside since the step before.
    pub rejected: Vec<RejectedTurn>,
    /// Metrics by name, in order.
    pub metrics: Vec<(String, f64)>,
    /// Why a batch was set aside, in words; empty elsewhere.
    pub detail: String,
    /// Microseconds since the Unix epoch.
    pub finished_at_us: i64,
}

labelled! {
    /// What happened to a version.
    DeploymentEvent {
        /// It went live on every server.
        Live = "live",
        /// The gate refused it; it and what was built on it is a dead branch.
        Refused = "refused",
        /// An older version was put back; the versions in `retired` are a dead branch.
        RolledBack = "rolled_back",
        /// It was pinned: nothing newer goes live by itself.
        Pinned = "pinned",
        /// The pin was taken away.
        Unpinned = "unpinned",
        /// Someone allowed it to go live.
        Approved = "approved",
        /// The turns of the versions in `retired` may be trained on again, and so may those of
        /// batches that were set aside before.
        Requeued = "requeued",
    }
}

/// A row of the `deployments` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// What happened.
    pub event: DeploymentEvent,
    /// The version it happened to: the one that went live, was refused, or was put back.
    pub version: Version,
    /// The version that was live before, if any.
    pub previous: Option<Version>,
    /// Versions that this event cut off from the lineage, or whose turns it gave back.
    pub retired: Vec<Version>,
    /// The servers that took it.
    pub servers: Vec<String>,
    /// The gate's reason or figures, as JSON.
    pub gate: String,
    /// Microseconds since the Unix epoch.
    pub deployed_at_us: i64,
}
