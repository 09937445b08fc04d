//! How many of what, and what is live: `/status`, and `run`'s progress and last line.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;

use super::InspectError;
use super::advice::{Advice, Rules, advise};
use crate::config::Home;
use crate::events::inspect::NothingTrainable;
use crate::events::{emit, now_us};
use crate::rollout::{
    Deployment, DeploymentEvent, Hint, Ledger, Score, ScoreStatus, Step, Tally, TurnId, TurnState,
    Version,
};
use crate::store::{RolloutPart, Store, Tail, TurnPart};
use crate::weights::{Registry, WeightsError};

/// `mean_reward` is taken over this many of the last verdicts.
const RECENT_SCORES: usize = 64;

/// The figures of a home. `turns` = `trained` + `waiting` + the sum of `rejected`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// The version that the servers should have; `None` before the base is published.
    pub live_version: Option<u64>,
    /// The version that the next step builds on.
    pub head_version: Option<u64>,
    /// Turns that are recorded.
    pub turns: u64,
    /// Those that are placed in a session.
    pub rollouts: u64,
    /// Those that have a score.
    pub scores: u64,
    /// Those for which a hint was looked for.
    pub hints: u64,
    /// Optimizer steps that made a version, dead ones included.
    pub steps: u64,
    /// Trained versions that went live, each counted once.
    pub deployed: u64,
    /// Versions that were made after the live one and were not refused: they may still go live.
    pub pending: u64,
    /// Turns that a batch of the surviving lineage consumed.
    pub trained: u64,
    /// Turns that may still be trained on.
    pub waiting: u64,
    /// Those of them that have score and hint, and wait for the trainer only.
    pub ready: u64,
    /// Turns that will not be trained on, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Turns by state.
    pub by_state: BTreeMap<&'static str, u64>,
    /// Mean of the last verdicts, at most 64; `None` before the first.
    pub mean_reward: Option<f64>,
    /// Segments that cannot be read at present.
    pub unreadable: u64,
    /// What to change where requests arrive and none of them can be trained on.
    pub advice: Option<Advice>,
}

/// Keeps the figures of a home up to date by reading new segments only.
#[derive(Debug)]
pub struct StatusTail {
    registry: Registry,
    ledger: Ledger,
    turns: Tail<TurnPart>,
    rollouts: Tail<RolloutPart>,
    scores: Tail<Score>,
    hints: Tail<Hint>,
    steps: Tail<Step>,
    deployments: Tail<Deployment>,
    /// The versions whose step the ledger knows.
    made: BTreeSet<Version>,
    dead: BTreeSet<Version>,
    went_live: BTreeSet<Version>,
    recent: VecDeque<i8>,
    tally: Tally,
    rules: Rules,
    advice: Option<Advice>,
    /// Rows came since the tally was made.
    changed: bool,
}

/// What became of one turn. No content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Who answered, and whether the content was kept: the label of its status.
    pub status: &'static str,
    /// Where it stands.
    pub state: &'static str,
    /// Why it was put aside, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The version that it helped to make, if it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

impl StatusTail {
    /// A tail that has read nothing yet. The home is created if it is not there.
    ///
    /// # Errors
    /// The store or the registry cannot be opened.
    pub fn new(home: &Home) -> Result<Self, InspectError> {
        Ok(Self::over(&Store::open(home)?, &Registry::open(home)?))
    }

    /// A tail over a store and a registry that are open already.
    pub fn over(store: &Store, registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            ledger: Ledger::new(),
            turns: store.tail(),
            rollouts: store.tail(),
            scores: store.tail(),
            hints: store.tail(),
            steps: store.tail(),
            deployments: store.tail(),
            made: BTreeSet::new(),
            dead: BTreeSet::new(),
            went_live: BTreeSet::new(),
            recent: VecDeque::new(),
            tally: Tally::default(),
            rules: Rules::default(),
            advice: None,
            changed: false,
        }
    }

    /// The present figures. What cannot be read is counted in `unreadable`, never fatal.
    pub fn refresh(&mut self) -> Status {
        self.read();
        if std::mem::take(&mut self.changed) {
            self.tally = self.ledger.tally();
        }
        self.advise();
        let unreadable = self.turns.faulty()
            + self.rollouts.faulty()
            + self.scores.faulty()
            + self.hints.faulty()
            + self.steps.faulty()
            + self.deployments.faulty();
        let state = self.registry.state().ok();
        let sum: f64 = self.recent.iter().map(|score| f64::from(*score)).sum();
        Status {
            live_version: state.as_ref().map(|state| state.live.0),
            head_version: state.as_ref().map(|state| state.head.0),
            turns: self.tally.turns,
            rollouts: self.tally.placed,
            scores: self.tally.scored,
            hints: self.tally.hinted,
            steps: self.made.len() as u64,
            deployed: self.went_live.len() as u64,
            pending: state.as_ref().map_or(0, |state| self.pending(state.live)),
            trained: self.tally.trained,
            waiting: self.tally.waiting,
            ready: self.tally.by_state.get("ready").copied().unwrap_or_default(),
            rejected: self.tally.rejected.clone(),
            by_state: self.tally.by_state.clone(),
            mean_reward: (!self.recent.is_empty()).then(|| sum / self.recent.len() as f64),
            unreadable: unreadable as u64,
            advice: self.advice.clone(),
        }
    }

    fn pending(&self, live: Version) -> u64 {
        let later = self.made.iter().filter(|version| **version > live);
        later.filter(|version| !self.dead.contains(*version)).count() as u64
    }

    /// Finds out whether something has to be changed, and says so once.
    fn advise(&mut self) {
        let advice = advise(&self.ledger, &self.rules, now_us());
        if let Some(Advice { requests, why, what_to_do, .. }) = &advice
            && self.advice.as_ref().is_none_or(|known| known.why != *why)
        {
            let (why, what_to_do) = (why.clone(), what_to_do.clone());
            emit(NothingTrainable { requests: *requests, why, what_to_do });
        }
        self.advice = advice;
    }

    /// What became of a turn, as of now; `None` if it is not recorded.
    pub fn standing(&mut self, turn: TurnId) -> Option<Standing> {
        self.read();
        let (state, status) = (self.ledger.state(turn)?, self.ledger.status(turn)?);
        let (reason, version) = match state {
            TurnState::Rejected(reason) => (Some(reason.label()), None),
            TurnState::Trained(version) => (None, Some(version.0)),
            _ => (None, None),
        };
        Some(Standing { status: status.label(), state: state.label(), reason, version })
    }

    fn read(&mut self) {
        self.changed |= self.read_tables() | self.read_versions();
    }

    /// Reads the new rows, later stages first: what a row names is then always known.
    fn read_tables(&mut self) -> bool {
        let mut new_rows = 0;
        for row in self.deployments.poll().rows {
            self.ledger.deployment(&row);
            if row.event == DeploymentEvent::Live && row.version != Version::BASE {
                self.went_live.insert(row.version);
            }
            new_rows += 1;
        }
        for row in self.steps.poll().rows {
            self.made.extend(row.version);
            self.ledger.step(&row);
            new_rows += 1;
        }
        for row in self.hints.poll().rows {
            self.ledger.hint(&row);
            new_rows += 1;
        }
        for row in self.scores.poll().rows {
            if row.status == ScoreStatus::Judged {
                self.recent.push_back(row.score);
            }
            self.ledger.score(&row);
            new_rows += 1;
        }
        let surplus = self.recent.len().saturating_sub(RECENT_SCORES);
        self.recent.drain(..surplus);
        for row in self.rollouts.poll().rows {
            self.rules.take(row.turn_id, row.placement.kind, &row.placed_by);
            self.ledger.placement(row.turn_id, row.placement);
            new_rows += 1;
        }
        for row in self.turns.poll().rows {
            self.ledger.recorded(row.turn_id, row.status);
            new_rows += 1;
        }
        new_rows > 0
    }

    /// Takes what the registry knows before the tables do: a step whose row the trainer could
    /// not write any more, and versions that died just now.
    fn read_versions(&mut self) -> bool {
        let mut changed = false;
        for version in self.registry.versions().unwrap_or_default() {
            if version == Version::BASE || self.made.contains(&version) {
                continue;
            }
            if let Ok(manifest) = self.registry.manifest(version) {
                self.made.insert(version);
                if let Some(step) = manifest.step {
                    self.ledger.step(&step);
                    changed = true;
                }
            }
        }
        if let Ok(state) = self.registry.state()
            && state.dead != self.dead
        {
            self.ledger.retire(state.dead.iter().copied());
            self.dead = state.dead;
            changed = true;
        }
        changed
    }
}

/// The figures of a home, from scratch.
///
/// # Errors
/// [`InspectError::NoHome`]; the store or the registry cannot be opened.
pub fn figures(home: &Home) -> Result<Status, InspectError> {
    let (store, registry) = super::open(home)?;
    match registry.state() {
        // A home in which nothing has begun yet has no base; anything else is worth telling.
        Ok(_) | Err(WeightsError::NoVersion { version: Version::BASE, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(StatusTail::over(&store, &registry).refresh())
}
