//! What is asked of the engine, and what comes back.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Constraint, ConstraintError, ForwardError};
use crate::fault::Explain;
use crate::rollout::{FinishReason, Sampling, Version};

/// Limits of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Replies computed at the same time, prompts included.
    pub running_max: usize,
    /// Scoring requests computed at the same time, beside the replies.
    pub scoring_max: usize,
    /// Requests of each kind that may wait while every place is taken; one more is
    /// [`EngineError::Full`].
    pub waiting_max: usize,
    /// Prompt and scored tokens computed between two decode steps.
    pub prefill_chunk: usize,
    /// Key and value memory, in tokens, at least one block of them: what sequences set aside for
    /// their greatest length, and the prefix cache.
    pub cache_tokens_max: usize,
    /// Whether tokens that were computed before, in the same place of the same model's sequence,
    /// are kept and need not be computed again.
    pub prefix_cache: bool,
    /// Tokens that are computed for a version before it goes live, so that the conversations of
    /// the version before it are as quick on it; half of `cache_tokens_max` if absent.
    pub warm_tokens_max: Option<usize>,
    /// How long that may take; the version goes live with what is there by then.
    pub warm_time_max: Duration,
    /// Longest sequence, prompt and reply together; the model's own limit if absent or less.
    pub context_tokens_max: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            running_max: 16,
            scoring_max: 2,
            waiting_max: 256,
            prefill_chunk: 256,
            cache_tokens_max: 131_072,
            prefix_cache: true,
            warm_tokens_max: None,
            warm_time_max: Duration::from_secs(60),
            context_tokens_max: None,
        }
    }
}

/// A prompt to be continued.
pub struct GenerateRequest {
    /// The prompt: at least one id.
    pub prompt: Vec<u32>,
    /// How to draw. `max_tokens` counts toward the context and the cache from the start.
    pub sampling: Sampling,
    /// Ids that end the reply; the one that did is its last token.
    pub stop_ids: Arc<[u32]>,
    /// The adapter that answers beside the base, by its name; the base alone if absent.
    pub adapter: Option<Arc<str>>,
    /// How many of the most probable ids are reported with each token, at most
    /// [`TOP_LOGPROBS_MAX`].
    pub top_logprobs: usize,
    /// What the reply has to follow; then `stop_ids` may not be empty.
    pub constraint: Option<Box<dyn Constraint>>,
}

impl GenerateRequest {
    /// A request to the base, without constraint, that nothing but its length ends.
    pub fn new(prompt: Vec<u32>, sampling: Sampling) -> Self {
        let stop_ids = Arc::from([]);
        Self { prompt, sampling, stop_ids, adapter: None, top_logprobs: 0, constraint: None }
    }
}

/// Tokens whose log-probabilities are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreRequest {
    /// Prompt and reply.
    pub ids: Vec<u32>,
    /// Index of the first scored id: at least 1, since the first one has nothing before it.
    pub start: usize,
    /// The temperature T; 0 scores the plain logits.
    pub temperature: f32,
    /// The adapter that scores beside the base, by its name; the base alone if absent.
    pub adapter: Option<Arc<str>>,
    /// How many of the most probable ids are reported for each scored position, at most
    /// [`TOP_LOGPROBS_MAX`].
    pub top_logprobs: usize,
}

/// Most ids that are reported for one position.
pub const TOP_LOGPROBS_MAX: usize = 256;

/// Ids with their log-probabilities, most probable first.
pub type TopLogprobs = Vec<(u32, f32)>;

/// The answer to a [`ScoreRequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Full-vocabulary log-softmax of logits / T at `ids[start..]`.
    pub logprobs: Vec<f32>,
    /// For each of them the most probable ids of its position, if they were asked for; else empty.
    pub top: Vec<TopLogprobs>,
    /// The one version that computed them.
    pub version: Version,
}

/// What a [`Generation`] gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Emitted {
    /// The prompt has been read; tokens follow.
    Begun {
        /// Tokens of the prompt that did not have to be computed: the prefix cache held them.
        cached_tokens: usize,
    },
    /// A sampled token.
    Token(SampledToken),
    /// The reply is complete; nothing follows.
    Done {
        /// [`FinishReason::Stop`] or [`FinishReason::Length`].
        reason: FinishReason,
    },
    /// The reply could not be completed; nothing follows.
    Failed(EngineError),
}

/// One token of a reply.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledToken {
    /// Its id.
    pub id: u32,
    /// Full-vocabulary log-softmax of logits / T at the id, before penalties, truncation and
    /// grammar: the one definition of a recorded log-probability.
    pub logprob: f32,
    /// Its log-probability in the distribution that it was really drawn from: after bias,
    /// penalties, truncation and grammar. Equal to `logprob` where there were none; 0 where T is
    /// 0, which leaves no choice.
    pub drawn_logprob: f32,
    /// Whether the grammar allowed no other id.
    pub forced: bool,
    /// The most probable ids at T, if they were asked for.
    pub top: TopLogprobs,
    /// The version that sampled it.
    pub version: Version,
}

/// A reply that is being made. Dropping it frees its place at the next step.
///
/// The channel behind it holds a whole reply, so that a slow reader neither stalls the other
/// replies nor grows memory: the reply is bounded by its `max_tokens`.
#[derive(Debug)]
pub struct Generation {
    pub(super) channel: mpsc::Receiver<Emitted>,
    pub(super) ended: bool,
    pub(super) asked: Instant,
    /// When it got its place.
    pub(super) placed: Arc<OnceLock<Instant>>,
}

impl Generation {
    /// `Begun`, the tokens, then exactly one `Done` or `Failed` (which may come at any time); then
    /// `None`.
    pub async fn next(&mut self) -> Option<Emitted> {
        if self.ended {
            return None;
        }
        let emitted = self.channel.recv().await.unwrap_or(Emitted::Failed(EngineError::Stopped));
        self.ended = matches!(emitted, Emitted::Done { .. } | Emitted::Failed(_));
        Some(emitted)
    }

    /// How long it waited for its place; none while it does.
    pub fn queued(&self) -> Option<Duration> {
        self.placed.get().map(|placed| placed.duration_since(self.asked))
    }
}

/// What will come of a scoring or of a swap: a future.
///
/// Dropping the answer to a scoring frees its place at the next step; a swap goes on.
#[derive(Debug)]
#[must_use = "the outcome is known only once it has been awaited"]
pub struct Answer<T> {
    receiver: oneshot::Receiver<Result<T, EngineError>>,
}

impl<T> Answer<T> {
    /// The end that waits, and the end that answers; where that one is dropped, the engine stopped.
    pub(super) fn channel() -> (Self, oneshot::Sender<Result<T, EngineError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { receiver }, sender)
    }

    /// One that is known already.
    pub(super) fn failed(error: EngineError) -> Self {
        let (future, answer) = Self::channel();
        drop(answer.send(Err(error)));
        future
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.receiver).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(EngineError::Stopped)))
    }
}

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// Too many requests wait already.
    #[error("{requests} requests are running or waiting already")]
    Full {
        /// The limit that was met.
        requests: usize,
    },
    /// The request can never fit.
    #[error("{needed} tokens (prompt and reply) are more than the {limit} that fit")]
    TooLong {
        /// Prompt tokens and `max_tokens` together.
        needed: usize,
        /// The context of the model or the memory of the engine, whichever is less.
        limit: usize,
    },
    /// The request makes no sense.
    #[error("invalid `{field}`: {reason}")]
    Invalid {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No adapter has this name.
    #[error("there is no adapter `{name}`")]
    UnknownAdapter {
        /// The name.
        name: String,
    },
    /// The adapter cannot be loaded or unloaded now.
    #[error("adapter `{name}`: {reason}")]
    Adapter {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The grammar could not be followed.
    #[error("the reply could not follow its grammar")]
    Constraint {
        /// Why not.
        source: ConstraintError,
    },
    /// The thread of the engine could not be started.
    #[error("the engine's thread could not be started: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
    /// The engine takes no more requests, or ended before this one was done.
    #[error("the engine has been stopped")]
    Stopped,
    /// The model gave logits that are not numbers.
    #[error("version {version} gave a non-finite logit ({value}) for token {id}")]
    NotFinite {
        /// The version.
        version: Version,
        /// The id whose logit (or log-probability) it is.
        id: usize,
        /// What it is.
        value: f32,
    },
    /// The model could not compute a step.
    #[error("version {version} failed")]
    Forward {
        /// The version.
        version: Version,
        /// What it said.
        source: ForwardError,
    },
    /// A newer version came before this one could go live.
    #[error("version {version} never went live: version {by} took its place")]
    Superseded {
        /// The version that waited.
        version: Version,
        /// The one that waits now.
        by: Version,
    },
    /// The new weights are of another model.
    #[error("version {version} has {what} {got}, the model being served has {expected}")]
    OtherModel {
        /// The version that was refused.
        version: Version,
        /// What differs.
        what: &'static str,
        /// Its size.
        got: usize,
        /// The size that is served.
        expected: usize,
    },
}

impl Explain for EngineError {
    fn label(&self) -> &'static str {
        match self {
            Self::Full { .. } => "engine_full",
            Self::TooLong { .. } => "too_long",
            Self::Invalid { .. } => "invalid_request",
            Self::UnknownAdapter { .. } => "unknown_adapter",
            Self::Adapter { .. } => "adapter",
            Self::Constraint { .. } => "constraint",
            Self::Thread { .. } => "engine_thread",
            Self::Stopped => "engine_stopped",
            Self::NotFinite { .. } => "not_finite",
            Self::Forward { .. } => "forward_failed",
            Self::Superseded { .. } => "superseded",
            Self::OtherModel { .. } => "other_model",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Full { .. } => Some("try again in a moment".to_owned()),
            Self::TooLong { .. } => Some("shorten the prompt or lower `max_tokens`".to_owned()),
            Self::NotFinite { .. } => Some("roll back to an older version".to_owned()),
            Self::OtherModel { .. } => Some("serve it with a server of its own".to_owned()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid { .. } | Self::OtherModel { .. } | Self::UnknownAdapter { .. } => 2,
            _ => 1,
        }
    }
}

/// What the engine is doing, and has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Replies that have a place.
    pub running: usize,
    /// Scoring requests that have a place.
    pub scoring: usize,
    /// Requests of both kinds that wait for a place.
    pub waiting: usize,
    /// The version that new requests take.
    pub live: Option<Version>,
    /// Every version that is held, the live one included.
    pub resident: Vec<Version>,
    /// The version that waits to go live, if one does.
    pub pending: Option<Version>,
    /// The adapters that new requests can name.
    pub adapters: Vec<Arc<str>>,
    /// Whether no steps are taken.
    pub paused: bool,
    /// Key and value memory that requests in flight hold or have set aside, in tokens.
    pub cache_tokens: usize,
    /// Steps computed.
    pub steps: u64,
    /// Prompt tokens computed for replies.
    pub prompt_tokens: u64,
    /// Tokens of prompts and scorings that the prefix cache held.
    pub cached_tokens: u64,
    /// Memory of the prefix cache that no running sequence holds, in tokens.
    pub prefix_tokens: usize,
    /// Tokens that the prefix cache gave up because their room was wanted.
    pub evicted_tokens: u64,
    /// Tokens computed for versions before they went live.
    pub warmed_tokens: u64,
    /// Tokens sampled.
    pub generated_tokens: u64,
    /// Tokens computed for scoring.
    pub scored_tokens: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests whose asker went away.
    pub cancelled: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Versions that went live after the first.
    pub swaps: u64,
    /// How long the last of them took, from being asked for to being live.
    pub swap_time: Option<Duration>,
}
