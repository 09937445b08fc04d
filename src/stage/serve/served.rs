//! What one reply was like: taken once, when it has ended, for whoever counts.

use std::time::{Duration, Instant};

use crate::rollout::FinishReason;

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As a reply does, or because the client went away.
    Finished(FinishReason),
    /// It could not be completed.
    Failed,
}

impl Outcome {
    /// `stop`, `length`, `tool_calls`, `cancelled` or `failed`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Finished(reason) => reason.label(),
            Self::Failed => "failed",
        }
    }
}

/// One reply in figures. A request with several choices has one for each.
#[derive(Clone, Debug)]
pub(super) struct Served {
    /// What asked for it: `chat`, `messages`, `completions` or `generate`.
    pub(super) route: &'static str,
    received: Instant,
    last: Instant,
    pub(super) prompt_tokens: usize,
    /// Those of the prompt that did not have to be computed.
    pub(super) cached_tokens: usize,
    /// How long it waited for a place in the engine, once it has one.
    pub(super) queued: Option<Duration>,
    /// From the request's arrival until its prompt was read.
    pub(super) prefilled: Option<Duration>,
    /// Most tokens that it may have.
    pub(super) max_tokens: u32,
    /// From the request's arrival to the first token.
    pub(super) first_token: Option<Duration>,
    /// Between each token and the one before.
    pub(super) gaps: Vec<Duration>,
    /// From the request's arrival to the end, once it has ended.
    pub(super) whole: Duration,
    /// Calls that began and were none, or were cut off.
    pub(super) malformed_calls: usize,
    pub(super) outcome: Outcome,
}

impl Served {
    pub(super) fn new(
        route: &'static str,
        received: Instant,
        prompt_tokens: usize,
        max_tokens: u32,
    ) -> Self {
        Self {
            route,
            received,
            last: received,
            prompt_tokens,
            cached_tokens: 0,
            queued: None,
            prefilled: None,
            max_tokens,
            first_token: None,
            gaps: Vec::new(),
            whole: Duration::ZERO,
            malformed_calls: 0,
            outcome: Outcome::Failed,
        }
    }

    /// The prompt has been read.
    pub(super) fn begun(&mut self, cached_tokens: usize) {
        self.cached_tokens = cached_tokens;
        self.prefilled = Some(self.received.elapsed());
    }

    /// A token has come.
    pub(super) fn token(&mut self) {
        let now = Instant::now();
        match self.first_token {
            None => self.first_token = Some(now - self.received),
            Some(_) => self.gaps.push(now - self.last),
        }
        self.last = now;
    }

    /// The reply has ended.
    pub(super) fn end(&mut self, outcome: Outcome, malformed_calls: usize) {
        self.whole = self.received.elapsed();
        self.malformed_calls = malformed_calls;
        self.outcome = outcome;
    }

    /// Tokens that were sampled.
    pub(super) fn tokens(&self) -> usize {
        self.gaps.len() + usize::from(self.first_token.is_some())
    }
}
