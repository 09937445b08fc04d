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
}

impl Event for TurnsCollected {
    const NAME: &'static str = "turns_collected";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let Self { turns, rollouts, open } = self;
        format!("{turns} turns read, {rollouts} rollouts written, {open} turns open")
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
