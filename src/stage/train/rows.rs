//! Reading what is new in the tables.

use super::batch::Pool;
use crate::events::emit;
use crate::events::train::SegmentUnread;
use crate::rollout::{Deployment, Hint, Rollout, Score, Step, Turn};
use crate::store::{Polled, Store, Tail};

/// A reader of each table that the trainer follows.
pub struct Rows {
    steps: Tail<Step>,
    deployments: Tail<Deployment>,
    turns: Tail<Turn>,
    rollouts: Tail<Rollout>,
    scores: Tail<Score>,
    hints: Tail<Hint>,
}

impl Rows {
    /// Readers that have seen nothing yet.
    pub fn new(store: &Store) -> Self {
        Self {
            steps: store.tail(),
            deployments: store.tail(),
            turns: store.tail(),
            rollouts: store.tail(),
            scores: store.tail(),
            hints: store.tail(),
        }
    }

    /// Puts what is new into the pool: what settles turns first. Returns the new rows of `steps`.
    pub fn read(&mut self, pool: &mut Pool) -> Vec<Step> {
        let steps = whole(self.steps.poll());
        steps.iter().for_each(|row| pool.step(row));
        whole(self.deployments.poll()).iter().for_each(|row| pool.deployment(row));
        whole(self.turns.poll()).into_iter().for_each(|row| pool.turn(row));
        whole(self.rollouts.poll()).iter().for_each(|row| pool.rollout(row));
        whole(self.scores.poll()).into_iter().for_each(|row| pool.score(row));
        whole(self.hints.poll()).into_iter().for_each(|row| pool.hint(row));
        steps
    }
}

/// The rows; what could not be read is logged, and read as soon as it is mended.
fn whole<R>(polled: Polled<R>) -> Vec<R> {
    for error in &polled.broken {
        emit(SegmentUnread { error: chain(error) });
    }
    polled.rows
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
