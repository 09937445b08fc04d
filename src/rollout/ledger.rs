//! The states of a turn, folded from the rows about it.
//!
//! This is the one definition of *every turn is accounted for*:
//! acknowledged = trained + waiting + rejected with a reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Deployment, DeploymentEvent, Hint, HintStatus, Rollout, Score, ScoreStatus, Step, Turn, TurnId,
    TurnKind, TurnStatus, Version, labelled,
};

labelled! {
    /// Why a turn will not be trained on.
    Rejection {
        /// Housekeeping of the client.
        Side = "side",
        /// The user or the request asked not to be learned from.
        DoNotTrain = "do_not_train",
        /// The session ended without anything after the reply.
        NoNextState = "no_next_state",
        /// A retry whose reply the client did not keep.
        Retry = "retry",
        /// The judge gave no usable verdict.
        JudgeFailed = "judge_failed",
        /// Neither a verdict nor a hint: nothing to learn.
        Neutral = "neutral",
        /// The recorded messages did not render to the recorded prompt.
        RenderMismatch = "render_mismatch",
        /// The teacher could not score the reply.
        TeacherFailed = "teacher_failed",
        /// Empty, cut off or looping: what older programs wrote.
        Degenerate = "degenerate",
        /// The reply holds nothing that could be judged.
        Empty = "empty",
        /// The reply was cut off: by its limit, or by whoever asked.
        CutOff = "cut_off",
        /// The reply repeats itself.
        Looping = "looping",
        /// The reply makes the same tool call again.
        RepeatedCall = "repeated_call",
        /// Sampled greedily, so that the recorded log-probabilities are not the behaviour's.
        Greedy = "greedy",
        /// Drawn with penalties or a bias, so that the recorded log-probabilities are not the
        /// behaviour's.
        Penalties = "penalties",
        /// Every token was forced by a grammar: nothing was decided.
        Forced = "forced",
        /// Answered by another policy than the one that is trained: an adapter.
        OtherPolicy = "other_policy",
        /// Too many versions behind.
        Stale = "stale",
        /// More tokens than a step may hold.
        TooLong = "too_long",
        /// A recorded value is not finite or arrays disagree in length.
        Malformed = "malformed",
        /// Its batch made a version that was refused or rolled back.
        Quarantined = "quarantined",
        /// Its batch gave a loss, a gradient or weights that are not finite.
        NotFinite = "not_finite",
        /// Its batch gave a loss or a gradient beyond the running bound.
        Exploding = "exploding",
        /// Erased on request.
        Erased = "erased",
    }
}

impl Rejection {
    /// Whether it lies in what was known of the reply, and not in the turn itself: then it holds
    /// only until more is known.
    const fn lies_in_the_feedback(self) -> bool {
        matches!(
            self,
            Self::Neutral
                | Self::JudgeFailed
                | Self::TeacherFailed
                | Self::RenderMismatch
                | Self::TooLong
        )
    }

    /// Whether it lies in the batch that the turn was in: such a turn can be put back.
    const fn lies_in_the_batch(self) -> bool {
        matches!(self, Self::Quarantined | Self::NotFinite | Self::Exploding)
    }
}

/// A label that names no reason for rejection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rejection reason")]
pub struct UnknownRejection(pub String);

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TurnState {
    /// Answered; not placed in its session yet.
    Answered,
    /// Placed in its session, which has not moved on yet.
    Placed,
    /// Closed; waits for the judge.
    Closed,
    /// Judged for score or hint, but not for both yet.
    HalfJudged,
    /// Has its score and hint; waits for the trainer.
    Ready,
    /// Consumed by the batch that made this version.
    Trained(Version),
    /// Put aside.
    Rejected(Rejection),
}

impl TurnState {
    /// The stable label of the state, without its reason or version.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Placed => "placed",
            Self::Closed => "closed",
            Self::HalfJudged => "half_judged",
            Self::Ready => "ready",
            Self::Trained(_) => "trained",
            Self::Rejected(_) => "rejected",
        }
    }

    /// Whether the turn may still be trained on.
    pub const fn is_waiting(self) -> bool {
        matches!(
            self,
            Self::Answered | Self::Placed | Self::Closed | Self::HalfJudged | Self::Ready
        )
    }
}

/// What counts of a rollout row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rows of one turn are ordered by this.
    pub revision: u32,
    /// Main or side.
    pub kind: TurnKind,
    /// Whether it was closed.
    pub closed: bool,
    /// Whether something is known by which the reply can be judged.
    pub has_evidence: bool,
    /// Whether the turn repeats another one.
    pub is_retry: bool,
}

impl Placement {
    /// What counts of this row.
    pub const fn of(row: &Rollout) -> Self {
        Self {
            revision: row.revision,
            kind: row.kind,
            closed: row.closed_by.is_some(),
            has_evidence: row.has_evidence(),
            is_retry: row.retry_of.is_some(),
        }
    }
}

/// How many turns stand where; turns = trained + waiting + the sum of rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Turns that a turn row records.
    pub turns: u64,
    /// Those that have a rollout.
    pub placed: u64,
    /// Those that have a score.
    pub scored: u64,
    /// Those that have a hint row.
    pub hinted: u64,
    /// Those that a batch of the surviving lineage consumed.
    pub trained: u64,
    /// Those that may still be trained on.
    pub waiting: u64,
    /// Number of turns by the label of their state.
    pub by_state: BTreeMap<&'static str, u64>,
    /// Number of rejected turns by the label of the reason.
    pub rejected: BTreeMap<&'static str, u64>,
}

/// What is known of each turn, built by feeding it rows in any order.
#[derive(Debug, Default)]
pub struct Ledger {
    turns: BTreeMap<TurnId, Entry>,
    /// The versions whose batches hold a turn.
    batches: HashMap<TurnId, Vec<Version>>,
    rejected: HashMap<TurnId, Seen<Rejection>>,
    retired: BTreeSet<Version>,
    /// The dead versions whose turns were put back.
    requeued: BTreeSet<Version>,
    /// Batches that were set aside before this were put back.
    requeued_at_us: i64,
    parents: BTreeMap<Version, Version>,
}

#[derive(Debug, Default, Clone)]
struct Entry {
    recorded: Option<TurnStatus>,
    placement: Option<Placement>,
    score: Option<Seen<(ScoreStatus, i8)>>,
    hint: Option<Seen<HintStatus>>,
}

/// What a judge, or the trainer, made of one revision of a rollout.
#[derive(Debug, Clone, Copy)]
struct Seen<T> {
    revision: u32,
    /// When it was said, in microseconds since the Unix epoch.
    at_us: i64,
    outcome: T,
}

impl<T: Copy> Seen<T> {
    /// The later one: by revision, then by time, then by order.
    fn later(self, new: Self) -> Self {
        let order = |seen: &Self| (seen.revision, seen.at_us);
        if order(&self) > order(&new) { self } else { new }
    }

    /// Puts the later one in place.
    fn put(known: &mut Option<Self>, new: Self) {
        *known = Some(known.map_or(new, |known| known.later(new)));
    }

    /// What counts for a placement: nothing that was made of less than is known now.
    fn of(known: Option<Self>, placement: Placement) -> Option<T> {
        known.filter(|known| known.revision >= placement.revision).map(|known| known.outcome)
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a turn row.
    pub fn turn(&mut self, turn: &Turn) {
        self.recorded(turn.turn_id, turn.status);
    }

    /// Takes what counts of a turn row, where the rest is not needed.
    pub fn recorded(&mut self, turn: TurnId, status: TurnStatus) {
        self.turns.entry(turn).or_default().recorded = Some(status);
    }

    /// Takes a rollout row; the highest revision of a turn counts.
    pub fn rollout(&mut self, row: &Rollout) {
        self.placement(row.turn_id, Placement::of(row));
    }

    /// Takes what counts of a rollout row, where the rest is not needed.
    pub fn placement(&mut self, turn: TurnId, placement: Placement) {
        let entry = self.turns.entry(turn).or_default();
        if entry.placement.is_none_or(|known| placement.revision >= known.revision) {
            entry.placement = Some(placement);
        }
    }

    /// Takes a score row; of the highest revision the newest counts.
    pub fn score(&mut self, row: &Score) {
        let entry = self.turns.entry(row.turn_id).or_default();
        let (revision, at_us) = (row.revision, row.judged_at_us);
        let new = Seen { revision, at_us, outcome: (row.status, row.score) };
        Seen::put(&mut entry.score, new);
    }

    /// Takes a hint row; of the highest revision the newest counts.
    pub fn hint(&mut self, row: &Hint) {
        let entry = self.turns.entry(row.turn_id).or_default();
        let (revision, at_us) = (row.revision, row.hinted_at_us);
        let new = Seen { revision, at_us, outcome: row.status };
        Seen::put(&mut entry.hint, new);
    }

    /// Takes a step row.
    pub fn step(&mut self, row: &Step) {
        if let Some(version) = row.version {
            self.parents.insert(version, row.parent);
            for trained in &row.trained {
                self.turns.entry(trained.turn_id).or_default();
                let versions = self.batches.entry(trained.turn_id).or_default();
                // The row may come twice: from the table, and from the version's manifest.
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
        }
        for rejected in &row.rejected {
            self.turns.entry(rejected.turn_id).or_default();
            let (revision, at_us) = (rejected.revision, row.finished_at_us);
            let new = Seen { revision, at_us, outcome: rejected.reason };
            let known = self.rejected.entry(rejected.turn_id).or_insert(new);
            *known = known.later(new);
        }
    }

    /// Takes a deployment row.
    pub fn deployment(&mut self, row: &Deployment) {
        if row.event == DeploymentEvent::Requeued {
            self.requeued.extend(&row.retired);
            self.requeued_at_us = self.requeued_at_us.max(row.deployed_at_us);
        } else {
            self.retire(row.retired.iter().copied());
        }
    }

    /// Takes versions that were refused or rolled back.
    pub fn retire(&mut self, versions: impl IntoIterator<Item = Version>) {
        self.retired.extend(versions);
    }

    /// Whether a version, or one it was built on, was refused or rolled back.
    pub fn is_dead(&self, version: Version) -> bool {
        let mut at = version;
        loop {
            if self.retired.contains(&at) {
                return true;
            }
            match self.parents.get(&at) {
                Some(&parent) if parent < at => at = parent,
                _ => return false,
            }
        }
    }

    /// The turns that other tables name but that no turn row records.
    pub fn orphans(&self) -> Vec<TurnId> {
        let unrecorded = self.turns.iter().filter(|(_, entry)| entry.recorded.is_none());
        unrecorded.map(|(id, _)| *id).collect()
    }

    /// The turns that entered more than one batch of the surviving lineage, with the versions.
    pub fn trained_twice(&self) -> Vec<(TurnId, Vec<Version>)> {
        let mut twice: Vec<_> = self
            .batches
            .iter()
            .map(|(id, versions)| {
                let alive = versions.iter().copied().filter(|v| !self.is_dead(*v)).collect();
                (*id, alive)
            })
            .filter(|(_, alive): &(TurnId, Vec<Version>)| alive.len() > 1)
            .collect();
        twice.sort();
        twice
    }

    /// The state of one turn, or `None` if no turn row records it.
    pub fn state(&self, turn: TurnId) -> Option<TurnState> {
        let entry = self.turns.get(&turn).filter(|entry| entry.recorded.is_some());
        entry.map(|entry| self.fold(turn, entry))
    }

    /// Who answered a turn, and whether its content was kept; `None` if no turn row records it.
    pub fn status(&self, turn: TurnId) -> Option<TurnStatus> {
        self.turns.get(&turn)?.recorded
    }

    /// Every recorded turn with its state, oldest first.
    pub fn states(&self) -> impl DoubleEndedIterator<Item = (TurnId, TurnState)> + '_ {
        self.turns
            .iter()
            .filter(|(_, entry)| entry.recorded.is_some())
            .map(|(id, entry)| (*id, self.fold(*id, entry)))
    }

    fn fold(&self, turn: TurnId, entry: &Entry) -> TurnState {
        if let Some(state) = self.consumed(turn) {
            return state;
        }
        if let Some(reason) = self.put_aside(turn, entry) {
            return TurnState::Rejected(reason);
        }
        if entry.recorded == Some(TurnStatus::DoNotTrain) {
            return TurnState::Rejected(Rejection::DoNotTrain);
        }
        match entry.placement {
            None => TurnState::Answered,
            Some(Placement { kind: TurnKind::Side, .. }) => TurnState::Rejected(Rejection::Side),
            Some(Placement { closed: false, .. }) => TurnState::Placed,
            // The client kept one reply of a request and its retries; that one has a next state.
            Some(Placement { has_evidence: false, is_retry: true, .. }) => {
                TurnState::Rejected(Rejection::Retry)
            }
            Some(Placement { has_evidence: false, .. }) => {
                TurnState::Rejected(Rejection::NoNextState)
            }
            Some(placement) => judged(entry, placement),
        }
    }

    /// What became of a turn's batches; `None` if there was none, or it was put back since.
    fn consumed(&self, turn: TurnId) -> Option<TurnState> {
        let versions = self.batches.get(&turn)?.iter().copied();
        if let Some(version) = versions.clone().find(|version| !self.is_dead(*version)) {
            return Some(TurnState::Trained(version));
        }
        let put_back = versions.into_iter().all(|version| self.requeued.contains(&version));
        (!put_back).then_some(TurnState::Rejected(Rejection::Quarantined))
    }

    /// Why the trainer put a turn aside, where that still holds.
    fn put_aside(&self, turn: TurnId, entry: &Entry) -> Option<Rejection> {
        let Seen { revision, at_us, outcome: reason } = *self.rejected.get(&turn)?;
        let more_is_known = entry.placement.is_some_and(|known| known.revision > revision);
        let put_back = at_us <= self.requeued_at_us;
        let undone = (more_is_known && reason.lies_in_the_feedback())
            || (put_back && reason.lies_in_the_batch());
        (!undone).then_some(reason)
    }

    /// The figures of all recorded turns.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (id, entry) in self.turns.iter().filter(|(_, entry)| entry.recorded.is_some()) {
            let state = self.fold(*id, entry);
            tally.turns += 1;
            tally.placed += u64::from(entry.placement.is_some());
            tally.scored += u64::from(entry.score.is_some());
            tally.hinted += u64::from(entry.hint.is_some());
            tally.trained += u64::from(matches!(state, TurnState::Trained(_)));
            tally.waiting += u64::from(state.is_waiting());
            *tally.by_state.entry(state.label()).or_default() += 1;
            if let TurnState::Rejected(reason) = state {
                *tally.rejected.entry(reason.label()).or_default() += 1;
            }
        }
        tally
    }
}

/// The state of a closed main turn, by its score and hint.
fn judged(entry: &Entry, placement: Placement) -> TurnState {
    match (Seen::of(entry.score, placement), Seen::of(entry.hint, placement)) {
        (None, None) => TurnState::Closed,
        (None, Some(_)) | (Some(_), None) => TurnState::HalfJudged,
        (_, Some(HintStatus::RenderMismatch)) => TurnState::Rejected(Rejection::RenderMismatch),
        (Some(_), Some(HintStatus::Accepted)) => TurnState::Ready,
        (Some((ScoreStatus::Judged, score)), Some(_)) if score != 0 => TurnState::Ready,
        (Some((ScoreStatus::JudgeFailed, _)), _) | (_, Some(HintStatus::JudgeFailed)) => {
            TurnState::Rejected(Rejection::JudgeFailed)
        }
        (_, Some(HintStatus::TeacherFailed)) => TurnState::Rejected(Rejection::TeacherFailed),
        (_, Some(HintStatus::TooLong)) => TurnState::Rejected(Rejection::TooLong),
        (Some(_), Some(HintStatus::NoHint)) => TurnState::Rejected(Rejection::Neutral),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
