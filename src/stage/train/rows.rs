//! Reading what is new in the tables.

use std::collections::BTreeSet;

use super::batch::Pool;
use crate::events::emit;
use crate::events::train::SegmentUnread;
use crate::fault::chain;
use crate::rollout::{BY_USER, Deployment, DeploymentEvent, Hint, Score, Step, Turn, TurnId};
use crate::store::{Finder, Polled, RolloutPart, Store, Tail, TurnPart};

/// A reader of each table that the trainer follows.
pub struct Rows {
    store: Store,
    steps: Tail<Step>,
    deployments: Tail<Deployment>,
    turns: Tail<TurnPart>,
    rollouts: Tail<RolloutPart>,
    scores: Tail<Score>,
    hints: Tail<Hint>,
    /// Tokens are read when their feedback is there.
    tokens: Finder<Turn>,
    /// Turns whose tokens could not be found.
    lost: BTreeSet<TurnId>,
    /// The judges whose rows count, if not all of them do.
    judged_by: Vec<String>,
}

impl Rows {
    /// Readers that have seen nothing yet. Of scores and hints those count that one of `judged_by`
    /// made, or the user; all of them where nobody is named.
    pub fn new(store: &Store, judged_by: &[String]) -> Self {
        Self {
            store: store.clone(),
            steps: store.tail(),
            deployments: store.tail(),
            turns: store.tail(),
            rollouts: store.tail(),
            scores: store.tail(),
            hints: store.tail(),
            tokens: store.finder(),
            lost: BTreeSet::new(),
            judged_by: judged_by.to_vec(),
        }
    }

    fn counts(&self, judge: &str) -> bool {
        let all = self.judged_by.is_empty();
        all || judge == BY_USER || self.judged_by.iter().any(|named| named == judge)
    }

    /// Puts what is new into the pool: what settles turns first. Returns the new rows of `steps`.
    pub fn read(&mut self, pool: &mut Pool) -> Vec<Step> {
        let steps = whole(self.steps.poll());
        steps.iter().for_each(|row| pool.step(row));
        let deployments = whole(self.deployments.poll());
        deployments.iter().for_each(|row| pool.deployment(row));
        if deployments.iter().any(|row| row.event == DeploymentEvent::Requeued) {
            self.begin_anew();
        }
        // The later stages first: whatever a verdict is about is then known in the same look.
        let (scores, hints) = (whole(self.scores.poll()), whole(self.hints.poll()));
        let scores = scores.into_iter().filter(|row| self.counts(&row.judge));
        scores.for_each(|row| pool.score(row));
        let hints = hints.into_iter().filter(|row| self.counts(&row.judge));
        hints.for_each(|row| pool.hint(row));
        for row in whole(self.turns.poll()) {
            pool.recorded(row.turn_id, row.status);
        }
        for row in whole(self.rollouts.poll()) {
            pool.placement(row.turn_id, row.placement, row.session_id);
        }
        for turn in pool.wanted() {
            self.fetch(turn, pool);
        }
        steps
    }

    /// Turns were put back whose rows the pool has forgotten: all are read again.
    fn begin_anew(&mut self) {
        self.turns = self.store.tail();
        self.rollouts = self.store.tail();
        self.scores = self.store.tail();
        self.hints = self.store.tail();
    }

    /// Puts a turn with its tokens into the pool. One that cannot be read is looked for again.
    fn fetch(&mut self, turn: TurnId, pool: &mut Pool) {
        let found = self.tokens.find(turn);
        match found.rows.into_iter().next() {
            Some(row) => {
                self.lost.remove(&turn);
                pool.turn(row);
            }
            None if self.lost.insert(turn) => {
                for error in &found.broken {
                    emit(SegmentUnread { error: chain(error) });
                }
            }
            None => {}
        }
    }
}

/// The rows; what could not be read is logged, and read as soon as it is mended.
fn whole<R>(polled: Polled<R>) -> Vec<R> {
    for error in &polled.broken {
        emit(SegmentUnread { error: chain(error) });
    }
    polled.rows
}
