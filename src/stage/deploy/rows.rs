//! What the tables say of turns: which no batch consumed, and how good they were.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::gate::drift::Sample;
use crate::events::deploy::SegmentUnread;
use crate::events::emit;
use crate::fault::chain;
use crate::rollout::{
    Deployment, FinishReason, Hint, Ledger, Rejection, Score, ScoreStatus, Step, Turn, TurnId,
    TurnState, TurnStatus, Version,
};
use crate::store::{Finder, Polled, RolloutPart, Store, Tail, TurnPart};

/// The policy whose versions the registry holds.
const POLICY: &str = "default";
/// Turns whose tokens are read for each one that is wanted.
const LOOKED_AT: usize = 4;

/// What counts of a turn for whoever watches a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The one version that answered; `None` if it changed in between, or another policy answered.
    pub version: Option<Version>,
    /// Whether the reply failed: it was empty, hit its limit, or its reader went away.
    pub failed: bool,
}

impl Brief {
    fn of(turn: &Turn) -> Self {
        let one = match turn.version_spans.as_slice() {
            [span] => Some(span.version),
            _ => None,
        };
        let ended = matches!(turn.finish_reason, FinishReason::Stop | FinishReason::ToolCalls);
        Self {
            version: one.filter(|_| turn.policy == POLICY),
            // The end of the turn alone is an empty reply.
            failed: !ended || turn.response_ids.len() < 2,
        }
    }
}

/// A verdict that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reward {
    revision: u32,
    /// When it was given.
    pub at_us: i64,
    /// -1, 0 or 1.
    pub value: f64,
}

/// A reader of every table.
pub struct Rows {
    ledger: Ledger,
    steps: Tail<Step>,
    deployments: Tail<Deployment>,
    turns: Tail<TurnPart>,
    rollouts: Tail<RolloutPart>,
    scores: Tail<Score>,
    hints: Tail<Hint>,
    tokens: Finder<Turn>,
    /// Turns that were answered and kept.
    answered: BTreeSet<TurnId>,
    rewards: HashMap<TurnId, Reward>,
    briefs: BTreeMap<TurnId, Option<Brief>>,
    /// The rows of `deployments`, in order of time.
    pub deployed: Vec<Deployment>,
}

impl Rows {
    /// Readers that have seen nothing yet.
    pub fn new(store: &Store) -> Self {
        Self {
            ledger: Ledger::new(),
            steps: store.tail(),
            deployments: store.tail(),
            turns: store.tail(),
            rollouts: store.tail(),
            scores: store.tail(),
            hints: store.tail(),
            tokens: store.finder(),
            answered: BTreeSet::new(),
            rewards: HashMap::new(),
            briefs: BTreeMap::new(),
            deployed: Vec::new(),
        }
    }

    /// Reads what is new.
    pub fn read(&mut self) {
        whole(self.steps.poll()).iter().for_each(|row| self.ledger.step(row));
        for row in whole(self.deployments.poll()) {
            self.ledger.deployment(&row);
            self.deployed.push(row);
        }
        self.deployed.sort_by_key(|row| row.deployed_at_us);
        for row in whole(self.scores.poll()) {
            self.ledger.score(&row);
            if row.status == ScoreStatus::Judged {
                let value = f64::from(row.score).clamp(-1.0, 1.0);
                let reward = Reward { revision: row.revision, at_us: row.judged_at_us, value };
                let known = self.rewards.entry(row.turn_id).or_insert(reward);
                if (known.revision, known.at_us) <= (reward.revision, reward.at_us) {
                    *known = reward;
                }
            }
        }
        whole(self.hints.poll()).iter().for_each(|row| self.ledger.hint(row));
        for row in whole(self.turns.poll()) {
            self.ledger.recorded(row.turn_id, row.status);
            if row.status == TurnStatus::Answered {
                self.answered.insert(row.turn_id);
            }
        }
        for row in whole(self.rollouts.poll()) {
            self.ledger.placement(row.turn_id, row.placement);
        }
    }

    /// Takes the steps that made these versions: their rows may be missing yet.
    pub fn made_by<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        steps.into_iter().for_each(|step| self.ledger.step(step));
    }

    /// Turns that no batch consumed, newest first, of which something can be learned about how a
    /// version speaks: at most so many, with at most so many tokens.
    pub fn held_out(&mut self, turns_max: usize, tokens_max: usize) -> Vec<Sample> {
        let ids: Vec<TurnId> = self
            .ledger
            .states()
            .rev()
            .filter(|(id, state)| self.answered.contains(id) && is_held_out(*state))
            .map(|(id, _)| id)
            .take(turns_max.saturating_mul(LOOKED_AT))
            .collect();
        let (mut samples, mut left) = (Vec::new(), tokens_max);
        for id in ids {
            if samples.len() == turns_max {
                break;
            }
            let Some(turn) = self.tokens.find(id).rows.into_iter().next() else { continue };
            if turn.policy != POLICY {
                continue;
            }
            let temperature = turn.sampling.temperature;
            let sample = Sample::new(turn.prompt_ids, turn.response_ids, temperature);
            // One that is too long leaves room for shorter ones.
            if let Some(sample) = sample.filter(|sample| sample.tokens() <= left) {
                left -= sample.tokens();
                samples.push(sample);
            }
        }
        samples
    }

    /// The verdict on a turn.
    pub fn reward(&self, turn: TurnId) -> Option<Reward> {
        self.rewards.get(&turn).copied()
    }

    /// The turns that were asked for since then, oldest first.
    pub fn since(&self, at_us: i64) -> Vec<TurnId> {
        self.answered.range(first_of(at_us)..).copied().collect()
    }

    /// The turns that were asked for before then, newest first.
    pub fn before(&self, at_us: i64) -> impl Iterator<Item = TurnId> + '_ {
        self.answered.range(..first_of(at_us)).rev().copied()
    }

    /// What counts of a turn; `None` if its row cannot be read.
    pub fn brief(&mut self, turn: TurnId) -> Option<Brief> {
        if let Some(known) = self.briefs.get(&turn) {
            return *known;
        }
        let brief = self.tokens.find(turn).rows.first().map(Brief::of);
        self.briefs.insert(turn, brief);
        brief
    }

    /// Forgets what was read of single turns.
    pub fn forget(&mut self) {
        self.briefs.clear();
    }
}

/// The least id of that moment: the first 48 bits of an id are its milliseconds.
fn first_of(at_us: i64) -> TurnId {
    TurnId(u128::try_from(at_us / 1_000).unwrap_or_default() << 80)
}

/// Whether a turn's tokens tell how a version speaks, and no batch consumed it: it still waits, or
/// it was put aside for what followed it. What was put aside for itself (empty, looping …) or with
/// its batch is no measure.
fn is_held_out(state: TurnState) -> bool {
    match state {
        TurnState::Trained(_) => false,
        TurnState::Rejected(reason) => matches!(
            reason,
            Rejection::Side
                | Rejection::NoNextState
                | Rejection::Retry
                | Rejection::JudgeFailed
                | Rejection::Neutral
                | Rejection::RenderMismatch
                | Rejection::TeacherFailed
                | Rejection::Greedy
                | Rejection::Stale
                | Rejection::TooLong
        ),
        _ => true,
    }
}

/// The rows; what could not be read is logged, and read as soon as it is mended.
fn whole<R>(polled: Polled<R>) -> Vec<R> {
    for error in &polled.broken {
        emit(SegmentUnread { error: chain(error) });
    }
    polled.rows
}
