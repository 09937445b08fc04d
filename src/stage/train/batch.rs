//! Which turns wait, which are ready, and when a batch closes. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::reply::Reply;
use super::samples::{Known, Lesson, Limits, Readiness, Sample, Verdict, is_decided, readiness};
use crate::rollout::{
    Deployment, Hint, Ledger, Placement, RejectedTurn, Score, Step, Turn, TurnId, TurnState,
    TurnStatus, Version,
};

/// When a batch closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Samples of a batch.
    pub size: usize,
    /// Distinct sessions that they are of, at least.
    pub sessions_min: usize,
    /// Age of the oldest ready sample, in microseconds, from which a batch of fewer samples or
    /// sessions closes; never if absent.
    pub wait_us_max: Option<i64>,
}

/// What is known of a turn that is not settled.
#[derive(Debug, Default)]
struct Candidate {
    /// Of its rollout: what was made of less than is known now does not count.
    revision: u32,
    session: String,
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
    /// The head and what it was built on, ascending.
    lineage: Vec<Version>,
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
            lineage: Vec::new(),
        }
    }

    /// Takes the news of what is built on: the head with all its ancestors.
    pub fn head(&mut self, mut lineage: Vec<Version>) {
        lineage.sort_unstable();
        self.lineage = lineage;
        self.changed.extend(self.ready.keys());
    }

    /// Versions of the lineage that are newer than `version`.
    pub fn behind(&self, version: Version) -> u64 {
        (self.lineage.len() - self.lineage.partition_point(|known| *known <= version)) as u64
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
    pub fn placement(&mut self, turn: TurnId, placement: Placement, session: String) {
        self.ledger.placement(turn, placement);
        let candidate = self.candidate(turn);
        if placement.revision >= candidate.revision {
            (candidate.revision, candidate.session) = (placement.revision, session);
        }
    }

    /// Takes a judge's verdict.
    pub fn score(&mut self, row: Score) {
        self.ledger.score(&row);
        let id = row.turn_id;
        let candidate = self.candidate(id);
        let new = Verdict::from(row);
        if candidate.verdict.is_none_or(|known| known.order() <= new.order()) {
            candidate.verdict = Some(new);
        }
    }

    /// Takes a hint, or the news that there is none.
    pub fn hint(&mut self, row: Hint) {
        self.ledger.hint(&row);
        let id = row.turn_id;
        let mut new = Lesson::from(row);
        if self.limits.kept_top == 0 {
            new.forget_top();
        }
        let candidate = self.candidate(id);
        if candidate.lesson.as_ref().is_none_or(|known| known.order() <= new.order()) {
            candidate.lesson = Some(new);
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
                let known = Known {
                    reply,
                    session: &candidate.session,
                    verdict: candidate.verdict(),
                    lesson: candidate.lesson(),
                    behind: reply.oldest.map_or(0, |oldest| self.behind(oldest)),
                };
                match readiness(known, &self.limits) {
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

    /// The oldest `size` samples of `sessions_min` sessions, or fewer of either once the first of
    /// them has waited too long. They stay in the pool until a step's row names them, so that a
    /// step that is not finished costs nothing.
    pub fn batch(&self, closing: Closing, now_us: i64) -> Option<Vec<Sample>> {
        let waited = closing.wait_us_max.is_some_and(|wait_us_max| {
            let since = self.ready.values().map(|sample| sample.ready_at_us).min();
            since.is_some_and(|since| now_us.saturating_sub(since) >= wait_us_max)
        });
        let chosen = self.choose(closing);
        let sessions: BTreeSet<&str> =
            chosen.iter().map(|sample| sample.session.as_str()).collect();
        let full = chosen.len() >= closing.size && sessions.len() >= closing.sessions_min;
        (full || waited).then(|| chosen.into_iter().cloned().collect())
    }

    /// The oldest samples, of which the newest make room for the oldest ones of further sessions
    /// where there are too few.
    fn choose(&self, closing: Closing) -> Vec<&Sample> {
        let mut sessions = BTreeSet::new();
        let firsts = self.ready.values().filter(|sample| sessions.insert(sample.session.as_str()));
        let firsts: BTreeSet<TurnId> =
            firsts.take(closing.sessions_min).map(|sample| sample.turn_id).collect();
        let mut room = closing.size.saturating_sub(firsts.len());
        let mut take = |sample: &&Sample| {
            let is_first = firsts.contains(&sample.turn_id);
            let fits = is_first || room > 0;
            room -= usize::from(fits && !is_first);
            fits
        };
        self.ready.values().filter(|sample| take(sample)).take(closing.size).collect()
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
