//! Events of the trainer.

use super::{Event, Level};

/// It is known where the model is computed.
pub struct DeviceFound {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Why it is not another one.
    pub reason: Option<&'static str>,
}

impl Event for DeviceFound {
    const NAME: &'static str = "train_device_found";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        match self.reason {
            None => format!("training on {}", self.device),
            Some(reason) => format!("training on {}: {reason}", self.device),
        }
    }
}

/// The trainer took over a version to build on.
pub struct HeadTaken {
    /// The version.
    pub version: u64,
    /// Optimizer updates behind it.
    pub updates: u64,
}

impl Event for HeadTaken {
    const NAME: &'static str = "head_taken";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("building on version {} ({} optimizer updates so far)", self.version, self.updates)
    }
}

/// A step made a version.
pub struct StepDone {
    /// The version.
    pub version: u64,
    /// Samples of the batch.
    pub samples: usize,
    /// The loss before the first update.
    pub loss: f64,
    /// Mean reward of the batch.
    pub mean_reward: f64,
    /// L2 norm of the gradient before it was clipped.
    pub grad_norm: f64,
    /// How long it took.
    pub seconds: f64,
}

impl Event for StepDone {
    const NAME: &'static str = "step_done";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!(
            "version {} from {} samples in {:.1} s: loss {:.4}, mean reward {:+.2}, \
             gradient norm {:.3}",
            self.version, self.samples, self.seconds, self.loss, self.mean_reward, self.grad_norm
        )
    }
}

/// A step was given up before the weights changed.
pub struct StepSkipped {
    /// Samples of the batch that was put aside.
    pub samples: usize,
    /// What was wrong.
    pub why: String,
    /// Steps given up in a row.
    pub in_a_row: usize,
}

impl Event for StepSkipped {
    const NAME: &'static str = "step_skipped";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!(
            "a step was skipped, {}: weights unchanged, its {} turns set aside ({} in a row)",
            self.why, self.samples, self.in_a_row
        )
    }
}

/// Training stopped: step after step was skipped. The process stays, and serving goes on.
pub struct TrainingStopped {
    /// Steps given up in a row.
    pub in_a_row: usize,
    /// The version that they were to build on.
    pub version: u64,
}

impl Event for TrainingStopped {
    const NAME: &'static str = "training_stopped";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!(
            "training stopped: {} steps in a row on version {} were skipped; it goes on after a \
             rollback or a restart",
            self.in_a_row, self.version
        )
    }
}

/// The optimizer's state of a version was let go: it begins anew.
pub struct MomentsGone {
    /// The version.
    pub version: u64,
}

impl Event for MomentsGone {
    const NAME: &'static str = "moments_gone";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("the optimizer's state of version {} is not kept: it begins anew", self.version)
    }
}

/// Weights of old versions were let go.
pub struct VersionsPruned {
    /// Versions.
    pub versions: usize,
    /// Bytes that became free.
    pub bytes: u64,
}

impl Event for VersionsPruned {
    const NAME: &'static str = "versions_pruned";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} old versions let go of {} MB", self.versions, self.bytes / 1_000_000)
    }
}

/// Something beside the versions could not be written: training goes on without it.
pub struct NotKept {
    /// What.
    pub what: &'static str,
    /// Why.
    pub error: String,
}

impl Event for NotKept {
    const NAME: &'static str = "train_not_kept";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{}: {}", self.what, self.error)
    }
}

/// Turns were put aside for good.
pub struct TurnsRejected {
    /// How many.
    pub turns: usize,
    /// How many for which reason.
    pub reasons: String,
}

impl Event for TurnsRejected {
    const NAME: &'static str = "turns_rejected";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} turns will not be trained on: {}", self.turns, self.reasons)
    }
}

/// A version was there whose row in `steps` was missing.
pub struct StepRecovered {
    /// The version.
    pub version: u64,
}

impl Event for StepRecovered {
    const NAME: &'static str = "step_recovered";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("the row of version {} was missing; written from its manifest", self.version)
    }
}

/// A segment could not be read; the others were.
pub struct SegmentUnread {
    /// What is wrong, naming the file.
    pub error: String,
}

impl Event for SegmentUnread {
    const NAME: &'static str = "train_segment_unread";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        self.error.clone()
    }
}
