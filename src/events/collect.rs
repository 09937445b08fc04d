//! Events of the `collect` stage.

use super::{Event, Level};

/// Turns were placed, and some closed.
pub struct TurnsCollected {
    /// Turns that were read.
    pub turns: usize,
    /// Rollouts that were written.
    pub rollouts: usize,
    /// Turns that wait for their next state.
    pub open: usize,
    /// Verdicts that were read.
    pub feedback: usize,
}

impl Event for TurnsCollected {
    const NAME: &'static str = "turns_collected";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let Self { turns, rollouts, open, feedback } = self;
        format!(
            "{turns} turns and {feedback} verdicts read, {rollouts} rows written, {open} turns open"
        )
    }
}

/// A segment could not be read; the others were.
pub struct CollectSegmentUnread {
    /// What is wrong with which file.
    pub error: String,
}

impl Event for CollectSegmentUnread {
    const NAME: &'static str = "collect_segment_unread";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("left out: {}", self.error)
    }
}

/// Users gave verdicts on turns that are not in the store.
pub struct FeedbackUnknown {
    /// How many wait for their turn.
    pub verdicts: usize,
}

impl Event for FeedbackUnknown {
    const NAME: &'static str = "feedback_unknown";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{} verdicts are about turns that are not in the store", self.verdicts)
    }
}

/// The stage was told to leave, and closed what was open.
pub struct SessionsShutDown {
    /// Turns that were open.
    pub turns: usize,
}

impl Event for SessionsShutDown {
    const NAME: &'static str = "sessions_shut_down";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} open turns closed by the shutdown", self.turns)
    }
}
