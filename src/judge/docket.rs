//! Rollouts that wait to be judged, and as much of that under way as may be.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::JoinSet;

use super::horizon::{Case, Horizon};
use super::looked::Looked;
use crate::config::Shard;
use crate::rollout::{Rollout, TurnId};

/// Rollouts that wait in memory, about.
const WAITING_MAX: usize = 512;

/// A queue of rollouts, a bounded number of which are worked on at the same time. It knows what was
/// looked at before, and takes nothing twice.
#[derive(Debug)]
pub struct Docket<R> {
    looked: Looked,
    /// The part of the turns that is worked on here.
    shard: Option<Shard>,
    horizon: Horizon,
    waiting: VecDeque<Case>,
    running: JoinSet<R>,
    at_once: usize,
}

impl<R: Send + 'static> Docket<R> {
    /// An empty docket that works on `at_once` rollouts of a part of the turns, or of all, and
    /// waits for `horizon` later messages of the user or of tools.
    pub fn new(at_once: usize, shard: Option<Shard>, horizon: usize) -> Self {
        Self {
            looked: Looked::default(),
            shard,
            horizon: Horizon::new(horizon),
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            at_once: at_once.max(1),
        }
    }

    /// Remembers that a turn was looked at when its rollout had this revision.
    pub fn looked_at(&mut self, turn: TurnId, revision: u32) {
        self.looked.at(turn, revision);
    }

    /// Turns that were looked at, or are on the docket.
    pub fn known(&self) -> usize {
        self.looked.len()
    }

    /// Rollouts that wait, also for what is said later, or are worked on.
    pub fn len(&self) -> usize {
        self.horizon.len() + self.waiting.len() + self.running.len()
    }

    /// Rollouts that are worked on, or can be.
    pub fn due(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is room for more: a longer backlog stays where it is stored.
    pub fn wants_more(&self) -> bool {
        self.waiting.len() < WAITING_MAX.max(self.at_once)
    }

    /// Adds those that are to be judged and were not looked at before at the end. Whether more are
    /// wanted.
    pub fn offer(&mut self, rollouts: impl IntoIterator<Item = Rollout>) -> bool {
        for rollout in rollouts {
            let wanted = self.is_news(&rollout);
            self.waiting.extend(self.horizon.pass(rollout, wanted));
        }
        self.wants_more()
    }

    /// Nothing more will be offered: what waits for later messages waits no longer.
    pub fn end(&mut self) {
        self.waiting.extend(self.horizon.end());
    }

    /// How many of these would have been added; they count as looked at.
    pub fn pass_over(&mut self, rollouts: &[Rollout]) -> usize {
        rollouts.iter().filter(|rollout| self.is_news(rollout)).count()
    }

    fn is_news(&mut self, rollout: &Rollout) -> bool {
        let own = self.shard.is_none_or(|shard| shard.holds(rollout.turn_id.0));
        own && self.looked.is_news(rollout)
    }

    /// Starts what may be started and waits for the next result; `None` if there is no work.
    /// Nothing is lost if the wait is given up.
    pub async fn next<F>(&mut self, start: impl Fn(Case) -> F) -> Option<R>
    where
        F: Future<Output = R> + Send + 'static,
    {
        while self.running.len() < self.at_once {
            let Some(case) = self.waiting.pop_front() else { break };
            self.running.spawn(start(case));
        }
        match self.running.join_next().await? {
            Ok(result) => Some(result),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}
