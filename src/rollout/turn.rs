//! One answered request, exactly as it was served.

use super::{TurnId, VersionSpan, labelled};

labelled! {
    /// Why a reply ended.
    FinishReason {
        /// An end-of-turn token or a stop string.
        Stop = "stop",
        /// The token limit.
        Length = "length",
        /// The reply calls tools.
        ToolCalls = "tool_calls",
        /// The client went away before the reply was complete.
        Cancelled = "cancelled",
    }
}

/// How the tokens of a reply were drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Softmax temperature T; 0 is greedy. `response_logprobs` are those at this T.
    pub temperature: f32,
    /// Nucleus: the smallest set of tokens with this much probability; 1 keeps all.
    pub top_p: f32,
    /// The k most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Seed of the request's own random stream, as given or as drawn.
    pub seed: u64,
    /// Limit on the number of response tokens.
    pub max_tokens: u32,
}

/// One answered request: a row of the `turns` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Identity; the reply's `id` on the wire is `chatcmpl-<turn_id>`.
    pub turn_id: TurnId,
    /// Microseconds since the Unix epoch at which the request was read.
    pub received_at_us: i64,
    /// Microseconds since the Unix epoch at which the last token was sampled.
    pub finished_at_us: i64,
    /// Who asked: the body's `user` or a digest of the API key; empty if neither was given.
    pub user: String,
    /// The policy (a family of weights versions) that answered; `default` today.
    pub policy: String,
    /// The model name that was asked for.
    pub model: String,
    /// The headers and body fields that place a turn, as one JSON object of strings
    /// (`x-session-id`, `x-turn-type`, `prompt_cache_key`, `body.session_id` …).
    pub session_keys: String,
    /// The request's `messages`, as JSON.
    pub messages: String,
    /// The request's `tools`, as JSON; empty if there were none.
    pub tools: String,
    /// The assistant message that was answered, as JSON.
    pub reply: String,
    /// The prompt that the model read.
    pub prompt_ids: Vec<u32>,
    /// The ids that were sampled, the end-of-turn token included.
    pub response_ids: Vec<u32>,
    /// Full-vocabulary log-softmax of logits / T at each sampled id, before any truncation.
    /// At T = 0 it is that of the plain logits (T = 1), and the turn is not trainable by PPO.
    pub response_logprobs: Vec<f32>,
    /// Which weights version sampled which response tokens, in order; the first starts at 0.
    pub version_spans: Vec<VersionSpan>,
    /// How the reply was drawn.
    pub sampling: Sampling,
    /// Why it ended.
    pub finish_reason: FinishReason,
}
