//! Work that waits, and as much of it under way as may be.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::JoinSet;

/// Cases that wait in memory, about.
const WAITING_MAX: usize = 512;

/// A queue of cases, a bounded number of which are worked on at the same time.
#[derive(Debug)]
pub struct Docket<W, R> {
    waiting: VecDeque<W>,
    running: JoinSet<R>,
    at_once: usize,
}

impl<W, R: Send + 'static> Docket<W, R> {
    /// An empty docket that works on `at_once` cases.
    pub fn new(at_once: usize) -> Self {
        Self { waiting: VecDeque::new(), running: JoinSet::new(), at_once: at_once.max(1) }
    }

    /// Cases that wait or are worked on.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Whether nothing waits and nothing is worked on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is room for more cases: a longer backlog stays where it is stored.
    pub fn wants_more(&self) -> bool {
        self.waiting.len() < WAITING_MAX.max(self.at_once)
    }

    /// Adds cases at the end.
    pub fn extend(&mut self, cases: impl IntoIterator<Item = W>) {
        self.waiting.extend(cases);
    }

    /// Starts what may be started and waits for the next result; `None` if there is no work.
    /// Nothing is lost if the wait is given up.
    pub async fn next<F>(&mut self, start: impl Fn(W) -> F) -> Option<R>
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
