//! Which turns wait, which are ready, and when a batch closes. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::samples::{Lesson, Limits, Readiness, Reply, Sample, Verdict, is_decided, readiness};
use crate::rollout::{
    Deployment, Hint, Ledger, Placement, RejectedTurn, Score, Step, Turn, TurnId, TurnState,
    TurnStatus,
};

/// When a batch closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Samples of a batch.
    pub size: usize,
    /// Age of the oldest ready sample, in microseconds, from which a smaller batch closes; never if
    /// absent.
    pub wait_us_max: Option<i64>,
}

/// What is known of a turn that is not settled.
#[derive(Debug, Default)]
struct Candidate {
    /// Of its rollout: what was made of less than is known now does not count.
    revision: u32,
    reply: Option<Reply>,
    verdict: Option<Verdict>,
    lesson: Option<Lesson>,
}

impl Candidate {
    fn verdict(&self) -> Option<Verdict> {
        self.verdict.filter(|verdict| verdict.revision >= self.revision)
    }

    fn lesson(&self) -> Option<&Lesson> {
        self.lesson.as_ref().filter(|lesson| lesson.revision >= self.revision)
    }
}

/// The turns that may yet be trained on.
///
/// Rows may come in any order; [`Pool::settle`] sorts out what they come to. Within a lineage no
/// turn enters two batches: what the ledger knows as trained or rejected never becomes a candidate
/// again.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    ledger: Ledger,
    candidates: BTreeMap<TurnId, Candidate>,
    changed: BTreeSet<TurnId>,
    ready: BTreeMap<TurnId, Sample>,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ledger: Ledger::new(),
            candidates: BTreeMap::new(),
            changed: BTreeSet::new(),
            ready: BTreeMap::new(),
        }
    }

    /// What every turn has come to.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes a step's row: its turns are settled.
    pub fn step(&mut self, row: &Step) {
        self.ledger.step(row);
        self.changed.extend(row.trained.iter().map(|turn| turn.turn_id));
        self.changed.extend(row.rejected.iter().map(|turn| turn.turn_id));
    }

    /// Takes a deployment's row: the versions it retires take their turns with them.
    pub fn deployment(&mut self, row: &Deployment) {
        self.ledger.deployment(row);
    }

    /// Takes the news that a turn was recorded.
    pub fn recorded(&mut self, turn: TurnId, status: TurnStatus) {
        self.ledger.recorded(turn, status);
        self.changed.insert(turn);
    }

    /// The turns whose tokens are wanted: their feedback is there.
    pub fn wanted(&self) -> Vec<TurnId> {
        let is_wanted = |(turn, candidate): &(&TurnId, &Candidate)| {
            let undecided = matches!(
                self.ledger.state(**turn),
                Some(TurnState::Closed | TurnState::HalfJudged | TurnState::Ready)
            );
            candidate.reply.is_none()
                && is_decided(self.limits.method, candidate.verdict(), candidate.lesson())
                && undecided
        };
        self.candidates.iter().filter(is_wanted).map(|(turn, _)| *turn).collect()
    }

    /// Takes a recorded turn with its tokens.
    pub fn turn(&mut self, row: Turn) {
        self.ledger.turn(&row);
        let id = row.turn_id;
        self.candidate(id).reply = Some(Reply::from(row));
    }

    /// Takes what counts of a turn's rollout.
    pub fn placement(&mut self, turn: TurnId, placement: Placement) {
        self.ledger.placement(turn, placement);
        let candidate = self.candidate(turn);
        candidate.revision = placement.revision.max(candidate.revision);
    }

    /// Takes a judge's verdict.
    pub fn score(&mut self, row: Score) {
        self.ledger.score(&row);
        let id = row.turn_id;
        let candidate = self.candidate(id);
        if candidate.verdict.is_none_or(|known| known.revision <= row.revision) {
            candidate.verdict = Some(Verdict::from(row));
        }
    }

    /// Takes a hint, or the news that there is none.
    pub fn hint(&mut self, row: Hint) {
        self.ledger.hint(&row);
        let id = row.turn_id;
        let candidate = self.candidate(id);
        if candidate.lesson.as_ref().is_none_or(|known| known.revision <= row.revision) {
            candidate.lesson = Some(Lesson::from(row));
        }
    }

    fn candidate(&mut self, turn: TurnId) -> &mut Candidate {
        self.changed.insert(turn);
        self.candidates.entry(turn).or_default()
    }

    /// Looks at every turn that something was learned about, and returns those that will never be
    /// trained on and whose reason no other table tells: they belong into the `steps` table.
    pub fn settle(&mut self) -> Vec<RejectedTurn> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|turn| self.settle_one(turn)).collect()
    }

    fn settle_one(&mut self, turn_id: TurnId) -> Option<RejectedTurn> {
        match self.ledger.state(turn_id) {
            None | Some(TurnState::Answered | TurnState::Placed) => None,
            // Where feedback comes late, all of its rows come anew and the tokens are found again.
            Some(TurnState::Trained(_) | TurnState::Rejected(_)) => {
                self.forget(turn_id);
                None
            }
            Some(TurnState::Closed | TurnState::HalfJudged | TurnState::Ready) => {
                let candidate = self.candidates.get(&turn_id)?;
                let reply = candidate.reply.as_ref()?;
                let (verdict, lesson) = (candidate.verdict(), candidate.lesson());
                match readiness(reply, verdict, lesson, &self.limits) {
                    Readiness::Waiting => {
                        self.ready.remove(&turn_id);
                        None
                    }
                    Readiness::Ready(sample) => {
                        self.ready.insert(turn_id, *sample);
                        None
                    }
                    Readiness::Rejected(reason) => {
                        let revision = candidate.revision;
                        self.forget(turn_id);
                        Some(RejectedTurn { turn_id, reason, revision })
                    }
                }
            }
        }
    }

    fn forget(&mut self, turn: TurnId) {
        self.candidates.remove(&turn);
        self.ready.remove(&turn);
    }

    /// Number of samples that wait for a batch.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The oldest `size` samples, or fewer once the first of them has waited too long. They stay in
    /// the pool until a step's row names them, so that a step that is not finished costs nothing.
    pub fn batch(&self, closing: Closing, now_us: i64) -> Option<Vec<Sample>> {
        let full = self.ready.len() >= closing.size;
        let waited = |wait_us_max: i64| {
            let since = self.ready.values().map(|sample| sample.ready_at_us).min();
            since.is_some_and(|since| now_us.saturating_sub(since) >= wait_us_max)
        };
        let closes = full || closing.wait_us_max.is_some_and(waited);
        closes.then(|| self.ready.values().take(closing.size).cloned().collect())
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
