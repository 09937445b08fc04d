//! One request while it is being worked on.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::forward::{AnyCache, ForwardError, Rows, Work};
use super::handle::Seat;
use super::request::{Emitted, EngineError, GenerateRequest, SampledToken, ScoreRequest, Scored};
use super::sampler::Sampler;
use super::scheduler::Part;
use crate::rollout::{FinishReason, Version};

/// A request with everything that belongs to it.
pub(super) struct Task {
    /// Everything given, then everything sampled.
    tokens: Vec<u32>,
    /// There once the request has a place.
    pub(super) cache: Option<AnyCache>,
    goal: Goal,
    _seat: Seat,
}

enum Goal {
    Reply {
        sampler: Box<Sampler>,
        stop_ids: Arc<[u32]>,
        /// Tokens that may still be sampled.
        left: u32,
        channel: mpsc::Sender<Emitted>,
    },
    Score {
        start: usize,
        temperature: f32,
        logprobs: Vec<f32>,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
    },
}

/// How a request ends.
pub(super) enum End {
    /// All there.
    Complete(Complete),
    /// Nobody wants it any more.
    Abandoned,
    /// It cannot be completed.
    Failed(EngineError),
}

/// What completed it.
pub(super) enum Complete {
    Reply(FinishReason),
    Score(Version),
}

impl Task {
    pub(super) fn reply(
        request: GenerateRequest,
        channel: mpsc::Sender<Emitted>,
        seat: Seat,
    ) -> Self {
        let goal = Goal::Reply {
            sampler: Box::new(Sampler::new(&request.sampling)),
            stop_ids: request.stop_ids,
            left: request.sampling.max_tokens,
            channel,
        };
        Self { tokens: request.prompt, cache: None, goal, _seat: seat }
    }

    pub(super) fn scoring(
        request: ScoreRequest,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
        seat: Seat,
    ) -> Self {
        let ScoreRequest { ids, start, temperature, .. } = request;
        let logprobs = Vec::with_capacity(ids.len() - start);
        let goal = Goal::Score { start, temperature, logprobs, answer };
        Self { tokens: ids, cache: None, goal, _seat: seat }
    }

    pub(super) fn is_scoring(&self) -> bool {
        matches!(self.goal, Goal::Score { .. })
    }

    /// Whether its asker has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.goal {
            Goal::Reply { channel, .. } => channel.is_closed(),
            Goal::Score { answer, .. } => answer.is_closed(),
        }
    }

    /// What the model has to do for `part`.
    pub(super) fn work(&mut self, part: &Part) -> Result<Work<'_, AnyCache>, ForwardError> {
        let cache = self.cache.as_mut().ok_or_else(|| ForwardError {
            reason: "a sequence was scheduled before it had a place".to_owned(),
        })?;
        let (range, rows) = match (part, &self.goal) {
            (Part::Decode(_), _) => (self.tokens.len() - 1..self.tokens.len(), Rows::Last),
            (Part::Given { tokens, last, .. }, Goal::Reply { .. }) => {
                (tokens.clone(), if *last { Rows::Last } else { Rows::None })
            }
            (Part::Given { tokens, .. }, Goal::Score { start, temperature, .. }) => {
                let first = (tokens.start + 1).max(*start);
                let targets = self.tokens.get(first..tokens.end + 1).unwrap_or_default();
                let scored = Rows::Scored { targets, temperature: *temperature };
                (tokens.clone(), if targets.is_empty() { Rows::None } else { scored })
            }
        };
        Ok(Work { tokens: &self.tokens[range], cache, rows, out: Vec::new() })
    }

    /// Takes what the model gave for `part`; how the request ends, if it does.
    pub(super) fn take(&mut self, part: &Part, out: &[f32], version: Version) -> Option<End> {
        let last = !matches!(part, Part::Given { last: false, .. });
        match &mut self.goal {
            Goal::Reply { sampler, stop_ids, left, channel } => {
                if !last {
                    return None;
                }
                let (id, logprob) = match sampler.sample(out) {
                    Ok(drawn) => drawn,
                    Err(bad) => return Some(not_finite(version, bad.id, bad.value)),
                };
                self.tokens.push(id);
                *left -= 1;
                // The channel holds the whole reply, so it can only be closed.
                let token = SampledToken {
                    id,
                    logprob,
                    drawn_logprob: logprob,
                    forced: false,
                    top: Vec::new(),
                    version,
                };
                let begun = matches!(part, Part::Given { .. })
                    .then(|| channel.try_send(Emitted::Begun { cached_tokens: 0 }));
                drop(begun);
                if channel.try_send(Emitted::Token(token)).is_err() {
                    return Some(End::Abandoned);
                }
                let reason = match *left {
                    _ if stop_ids.contains(&id) => FinishReason::Stop,
                    0 => FinishReason::Length,
                    _ => return None,
                };
                Some(End::Complete(Complete::Reply(reason)))
            }
            Goal::Score { logprobs, start, .. } => {
                if let Some(index) = out.iter().position(|logprob| !logprob.is_finite()) {
                    let id = self.tokens[*start + logprobs.len() + index];
                    return Some(not_finite(version, id as usize, out[index]));
                }
                logprobs.extend_from_slice(out);
                last.then_some(End::Complete(Complete::Score(version)))
            }
        }
    }

    /// Tells whoever asked.
    pub(super) fn end(self, end: End) {
        // Memory and place first, so that whoever sees the end can count on them.
        let Self { cache, goal, _seat: seat, .. } = self;
        drop((cache, seat));
        // Whoever asked may have gone: then nobody needs to be told.
        match (goal, end) {
            (Goal::Reply { channel, .. }, End::Complete(Complete::Reply(reason))) => {
                drop(channel.try_send(Emitted::Done { reason }));
            }
            (Goal::Reply { channel, .. }, End::Failed(error)) => {
                drop(channel.try_send(Emitted::Failed(error)));
            }
            (Goal::Score { answer, logprobs, .. }, End::Complete(Complete::Score(version))) => {
                drop(answer.send(Ok(Scored { logprobs, top: Vec::new(), version })));
            }
            (Goal::Score { answer, .. }, End::Failed(error)) => drop(answer.send(Err(error))),
            (Goal::Reply { .. } | Goal::Score { .. }, End::Abandoned | End::Complete(_)) => {}
        }
    }
}

fn not_finite(version: Version, id: usize, value: f32) -> End {
    End::Failed(EngineError::NotFinite { version, id, value })
}
