//! Events of the `score` stage.

use super::{Event, Level};

/// Replies were scored.
pub struct RepliesScored {
    /// Rows that were written.
    pub rows: usize,
    /// Turns that still wait for the judge.
    pub waiting: usize,
}

impl Event for RepliesScored {
    const NAME: &'static str = "replies_scored";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} replies scored, {} waiting", self.rows, self.waiting)
    }
}

/// No usable vote could be had for a turn.
pub struct ScoreJudgeFailed {
    /// The turn.
    pub turn: String,
    /// Why.
    pub reason: String,
}

impl Event for ScoreJudgeFailed {
    const NAME: &'static str = "score_judge_failed";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("turn {}: no verdict: {}", self.turn, self.reason)
    }
}

/// A segment could not be read; the others were.
pub struct ScoreSegmentUnread {
    /// What is wrong with which file.
    pub error: String,
}

impl Event for ScoreSegmentUnread {
    const NAME: &'static str = "score_segment_unread";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("left out: {}", self.error)
    }
}
