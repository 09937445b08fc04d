//! One request while it is being worked on.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::constraint::{AllowedIds, Constraint, ConstraintError};
use super::forward::{AnyCache, ForwardError, Rows, Work};
use super::handle::Seat;
use super::request::{
    Emitted, EngineError, GenerateRequest, SampledToken, ScoreRequest, Scored, TopLogprobs,
};
use super::sampler::{Choice, Drawn, Sampler};
use super::scheduler::Part;
use crate::rollout::{FinishReason, Version};

/// A request with everything that belongs to it.
pub(super) struct Task {
    /// Everything given, then everything sampled.
    tokens: Vec<u32>,
    /// There once the request has a place.
    pub(super) cache: Option<AnyCache>,
    /// Given tokens that the prefix cache held.
    pub(super) cached_tokens: usize,
    goal: Goal,
    placed: Option<Arc<OnceLock<Instant>>>,
    /// None for what nobody asked for.
    _seat: Option<Seat>,
}

enum Goal {
    Reply(Box<Reply>),
    Score {
        start: usize,
        temperature: f32,
        /// How many of the most probable ids are wanted at each position.
        top_count: usize,
        logprobs: Vec<f32>,
        top: Vec<TopLogprobs>,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
    },
    /// To be in the prefix cache.
    Warm,
}

/// A reply that is being drawn.
struct Reply {
    sampler: Sampler,
    stop_ids: Arc<[u32]>,
    /// Tokens that may still be sampled.
    left: u32,
    /// From so many left on, an id that ends the reply may come.
    may_end_at: u32,
    constraint: Option<Box<dyn Constraint>>,
    /// What the constraint allows, as of the last token.
    allowed: AllowedIds,
    channel: mpsc::Sender<Emitted>,
}

/// What the model gave for a part: see [`Work`].
pub(super) struct Given {
    pub(super) out: Vec<f32>,
    pub(super) top: Vec<TopLogprobs>,
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
    Warm,
}

impl Task {
    pub(super) fn reply(
        request: GenerateRequest,
        channel: mpsc::Sender<Emitted>,
        seat: Seat,
    ) -> Self {
        let GenerateRequest { prompt, sampling, stop_ids, top_logprobs, constraint, .. } = request;
        let goal = Goal::Reply(Box::new(Reply {
            sampler: Sampler::new(&sampling, &prompt, top_logprobs),
            stop_ids,
            left: sampling.max_tokens,
            may_end_at: sampling.max_tokens.saturating_sub(sampling.min_tokens),
            constraint,
            allowed: AllowedIds::default(),
            channel,
        }));
        Self::new(prompt, goal, Some(seat))
    }

    pub(super) fn scoring(
        request: ScoreRequest,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
        seat: Seat,
    ) -> Self {
        let ScoreRequest { ids, start, temperature, top_logprobs: top_count, .. } = request;
        let logprobs = Vec::with_capacity(ids.len() - start);
        let goal = Goal::Score { start, temperature, top_count, logprobs, top: vec![], answer };
        Self::new(ids, goal, Some(seat))
    }

    /// A chain to be computed for the prefix cache.
    pub(super) fn warming(tokens: Vec<u32>) -> Self {
        Self::new(tokens, Goal::Warm, None)
    }

    fn new(tokens: Vec<u32>, goal: Goal, seat: Option<Seat>) -> Self {
        Self { tokens, cache: None, cached_tokens: 0, goal, placed: None, _seat: seat }
    }

    /// One that tells when it gets its place.
    pub(super) fn telling_when_placed(self, placed: Arc<OnceLock<Instant>>) -> Self {
        Self { placed: Some(placed), ..self }
    }

    pub(super) fn tell_placed(&mut self) {
        if let Some(placed) = self.placed.take() {
            // It gets its place once.
            placed.set(Instant::now()).ok();
        }
    }

    pub(super) fn is_scoring(&self) -> bool {
        matches!(self.goal, Goal::Score { .. })
    }

    pub(super) fn is_warming(&self) -> bool {
        matches!(self.goal, Goal::Warm)
    }

    /// The token that was sampled in this part of a step, if one was.
    pub(super) fn sampled(&self, part: &Part) -> Option<u32> {
        let samples = !matches!(part, Part::Given { last: false, .. });
        let replies = matches!(self.goal, Goal::Reply(_));
        if samples && replies { self.tokens.last().copied() } else { None }
    }

    /// Whether its asker has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.goal {
            Goal::Reply(reply) => reply.channel.is_closed(),
            Goal::Score { answer, .. } => answer.is_closed(),
            Goal::Warm => false,
        }
    }

    /// What the model has to do for `part`.
    pub(super) fn work(&mut self, part: &Part) -> Result<Work<'_, AnyCache>, ForwardError> {
        let cache = self.cache.as_mut().ok_or_else(|| ForwardError {
            reason: "a sequence was scheduled before it had a place".to_owned(),
        })?;
        let (range, rows) = match (part, &self.goal) {
            (Part::Decode(_), _) => (self.tokens.len() - 1..self.tokens.len(), Rows::Last),
            (Part::Given { tokens, last, .. }, Goal::Reply(_)) => {
                (tokens.clone(), if *last { Rows::Last } else { Rows::None })
            }
            (Part::Given { tokens, .. }, Goal::Score { start, temperature, top_count, .. }) => {
                let first = (tokens.start + 1).max(*start);
                let targets = self.tokens.get(first..tokens.end + 1).unwrap_or_default();
                let scored = Rows::Scored { targets, temperature: *temperature, top: *top_count };
                (tokens.clone(), if targets.is_empty() { Rows::None } else { scored })
            }
            (Part::Given { tokens, .. }, Goal::Warm) => (tokens.clone(), Rows::None),
        };
        Ok(Work::new(&self.tokens[range], cache, rows))
    }

    /// Takes what the model gave for `part`; how the request ends, if it does.
    pub(super) fn take(&mut self, part: &Part, given: Given, version: Version) -> Option<End> {
        let last = !matches!(part, Part::Given { last: false, .. });
        match &mut self.goal {
            Goal::Reply(_) if !last => None,
            Goal::Reply(reply) => {
                if matches!(part, Part::Given { .. }) {
                    drop(
                        reply
                            .channel
                            .try_send(Emitted::Begun { cached_tokens: self.cached_tokens }),
                    );
                }
                let drawn = match reply.draw(&given.out, version) {
                    Ok(drawn) => drawn,
                    Err(error) => return Some(End::Failed(error)),
                };
                self.tokens.push(drawn.id);
                reply.tell(drawn, version)
            }
            Goal::Score { logprobs, start, top, .. } => {
                if let Some(index) = given.out.iter().position(|logprob| !logprob.is_finite()) {
                    let id = self.tokens[*start + logprobs.len() + index] as usize;
                    let value = given.out[index];
                    return Some(End::Failed(EngineError::NotFinite { version, id, value }));
                }
                logprobs.extend(given.out);
                top.extend(given.top);
                last.then_some(End::Complete(Complete::Score(version)))
            }
            Goal::Warm => last.then_some(End::Complete(Complete::Warm)),
        }
    }

    /// Tells whoever asked.
    pub(super) fn end(self, end: End) {
        // Memory and place first, so that whoever sees the end can count on them.
        let Self { cache, goal, _seat: seat, .. } = self;
        drop((cache, seat));
        // Whoever asked may have gone: then nobody needs to be told.
        match (goal, end) {
            (Goal::Reply(reply), End::Complete(Complete::Reply(reason))) => {
                drop(reply.channel.try_send(Emitted::Done { reason }));
            }
            (Goal::Reply(reply), End::Failed(error)) => {
                drop(reply.channel.try_send(Emitted::Failed(error)));
            }
            (
                Goal::Score { answer, logprobs, top, .. },
                End::Complete(Complete::Score(version)),
            ) => {
                drop(answer.send(Ok(Scored { logprobs, top, version })));
            }
            (Goal::Score { answer, .. }, End::Failed(error)) => drop(answer.send(Err(error))),
            (Goal::Warm, _) => {}
            (Goal::Reply(_) | Goal::Score { .. }, End::Abandoned | End::Complete(_)) => {}
        }
    }
}

impl Reply {
    /// Draws the next token of `logits`, within the constraint if there is one.
    fn draw(&mut self, logits: &[f32], version: Version) -> Result<Drawn, EngineError> {
        let failed = |source: ConstraintError| EngineError::Constraint { source };
        if let Some(constraint) = &mut self.constraint {
            self.allowed.reset(logits.len());
            constraint.allow(&mut self.allowed).map_err(failed)?;
            if self.allowed.is_empty() {
                let reason = "it allows no id of the model's vocabulary".to_owned();
                return Err(failed(ConstraintError { reason }));
            }
        }
        let choice = Choice {
            allowed: self.constraint.is_some().then_some(&self.allowed),
            banned: if self.left > self.may_end_at { &self.stop_ids } else { &[] },
        };
        let drawn = self.sampler.sample(logits, choice).map_err(|bad| EngineError::NotFinite {
            version,
            id: bad.id,
            value: bad.value,
        })?;
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(drawn.id).map_err(failed)?;
        }
        Ok(drawn)
    }

    /// Tells of a token; how the reply ends, if it does.
    fn tell(&mut self, drawn: Drawn, version: Version) -> Option<End> {
        self.left -= 1;
        let Drawn { id, logprob, drawn_logprob, forced, top } = drawn;
        let token = SampledToken { id, logprob, drawn_logprob, forced, top, version };
        // The channel holds the whole reply, so it can only be closed.
        if self.channel.try_send(Emitted::Token(token)).is_err() {
            return Some(End::Abandoned);
        }
        let reason = match self.left {
            _ if self.stop_ids.contains(&id) => FinishReason::Stop,
            0 => FinishReason::Length,
            _ => return None,
        };
        Some(End::Complete(Complete::Reply(reason)))
    }
}
