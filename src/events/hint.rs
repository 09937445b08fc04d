//! Events of the `hint` stage.

use super::{Event, Level};

/// Turns were looked through for hints.
pub struct TurnsHinted {
    /// Rows that were written.
    pub rows: usize,
    /// Those with an accepted hint and both log-probability rows.
    pub accepted: usize,
    /// Turns that still wait.
    pub waiting: usize,
}

impl Event for TurnsHinted {
    const NAME: &'static str = "turns_hinted";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let Self { rows, accepted, waiting } = self;
        format!("{rows} turns looked through, {accepted} hints accepted, {waiting} waiting")
    }
}

/// A turn's hint could not be used.
pub struct HintFailed {
    /// The turn.
    pub turn: String,
    /// The status that its row got.
    pub status: &'static str,
    /// Why.
    pub reason: String,
}

impl Event for HintFailed {
    const NAME: &'static str = "hint_failed";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("turn {}: {}: {}", self.turn, self.status, self.reason)
    }
}

/// There is no base model in the home yet; hints wait for it.
pub struct HintWaitsForModel;

impl Event for HintWaitsForModel {
    const NAME: &'static str = "hint_waits_for_model";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        "waiting for the base model to appear in the home".to_owned()
    }
}

/// A segment could not be read; the others were.
pub struct HintSegmentUnread {
    /// What is wrong with which file.
    pub error: String,
}

impl Event for HintSegmentUnread {
    const NAME: &'static str = "hint_segment_unread";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("left out: {}", self.error)
    }
}
