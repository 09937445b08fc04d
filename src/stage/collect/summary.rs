//! What a run of `collect` did, and how far behind it was.

use std::collections::VecDeque;

use serde::Serialize;

use crate::rollout::{Rollout, TurnKind};

/// Turns over which the lag is taken.
const LAGS_MAX: usize = 1_000;

/// What a run of `collect` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CollectSummary {
    /// Turns that were read.
    pub turns: usize,
    /// Rows that were written: one when a turn is placed, further ones when more is known of it.
    pub rollouts: usize,
    /// Turns that were placed: those that had no row before.
    pub placed: usize,
    /// Those of them that are the conversation itself.
    pub main: usize,
    /// Those that are the client's housekeeping.
    pub side: usize,
    /// Those that repeat another turn.
    pub retries: usize,
    /// Turns whose next state became known.
    pub with_next_state: usize,
    /// Turns that wait for their next state.
    pub open: usize,
    /// Rows that add to a turn of which the conversation was not held any more.
    pub late: usize,
    /// Verdicts that were read.
    pub feedback: usize,
    /// Those of them about a turn that is not there.
    pub feedback_unknown: usize,
    /// Turns that nothing may be learned from, and that have no row therefore.
    pub do_not_train: usize,
    /// Commands of users that the server answered itself.
    pub commands: usize,
    /// Segments that could not be read.
    pub unread_segments: usize,
    /// Turns of which something was not written, because rows of theirs in the table cannot be read
    /// at present, or may lie in a segment that cannot.
    pub unwritten: usize,
    /// With `follow`: milliseconds from the end of a turn until its row was durable, the median of
    /// the last 1,000 turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms_p50: Option<u64>,
    /// The same, 95 of 100 turns being faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms_p95: Option<u64>,
}

impl CollectSummary {
    /// Counts a row that was written.
    pub(super) fn count(&mut self, row: &Rollout, is_first: bool, brought_next_state: bool) {
        self.rollouts += 1;
        self.with_next_state += usize::from(brought_next_state);
        if is_first {
            self.placed += 1;
            self.main += usize::from(row.kind == TurnKind::Main);
            self.side += usize::from(row.kind == TurnKind::Side);
            self.retries += usize::from(row.retry_of.is_some());
        }
    }
}

/// How long the last turns took from their end to their row.
#[derive(Debug, Default)]
pub struct Lags(VecDeque<u64>);

impl Lags {
    /// Notes a turn.
    pub fn note(&mut self, lag_us: i64) {
        if self.0.len() == LAGS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(u64::try_from(lag_us / 1_000).unwrap_or_default());
    }

    /// The median and the 95th percentile in milliseconds; `None` before the first turn.
    pub fn percentiles(&self) -> Option<(u64, u64)> {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100) - 1).copied();
        if sorted.is_empty() { None } else { at(50).zip(at(95)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_thousand() {
        let mut lags = Lags::default();
        assert_eq!(lags.percentiles(), None);
        lags.note(7_900);
        assert_eq!(lags.percentiles(), Some((7, 7)));
        (1..=1_000).for_each(|ms| lags.note(ms * 1_000));
        assert_eq!(lags.percentiles(), Some((500, 950)));
        lags.note(-5_000);
        assert_eq!(lags.percentiles(), Some((500, 950)), "a clock that was set back");
    }
}
