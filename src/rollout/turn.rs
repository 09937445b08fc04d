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

labelled! {
    /// What became of a request, and so what its row holds.
    TurnStatus {
        /// The model answered, and everything was kept.
        Answered = "answered",
        /// The model answered; its user or the request asked not to be learned from. No content
        /// was kept: no messages, tools, reply, tokens or session keys.
        DoNotTrain = "do_not_train",
        /// The server itself answered a command of the user (`/good`, `/bad …`). There are messages
        /// and a reply, but no tokens.
        Command = "command",
    }
}

labelled! {
    /// What kind of grammar a reply had to follow.
    ConstraintKind {
        /// Any JSON object.
        JsonObject = "json_object",
        /// JSON by a schema.
        JsonSchema = "json_schema",
        /// A regular expression.
        Regex = "regex",
        /// One of some texts.
        Choice = "choice",
        /// At least one call of a tool.
        ToolCalls = "tool_calls",
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
    /// Tokens at least this probable, relative to the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides a positive logit, and multiplies a negative one, of each id that stands in the
    /// prompt or the reply so far (arXiv 1909.05858); 1 changes nothing.
    pub repetition_penalty: f32,
    /// Taken off the logit of each id that the reply holds already; 0 changes nothing.
    pub presence_penalty: f32,
    /// Taken off the logit of an id once for each time that the reply holds it; 0 changes nothing.
    pub frequency_penalty: f32,
    /// Added to the logits of these ids.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the request's own random stream, as given or as drawn.
    pub seed: u64,
    /// Limit on the number of response tokens.
    pub max_tokens: u32,
    /// Before so many response tokens no id that ends the reply is drawn, except where a grammar
    /// leaves nothing else.
    pub min_tokens: u32,
}

impl Default for Sampling {
    /// Plain sampling at T = 1, of no token: `max_tokens` has to be said.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            max_tokens: 0,
            min_tokens: 0,
        }
    }
}

impl Sampling {
    /// Whether logits were shifted by what was said already or by a bias: then the recorded
    /// log-probabilities are not those of the policy that drew the reply.
    pub fn shifts_logits(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
            || self.logit_bias.iter().any(|(_, bias)| *bias != 0.0)
    }
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
    /// Log-probability of each sampled id in the distribution that it was really drawn from, after
    /// bias, penalties, grammar and truncation (at T = 0 that is 0); empty where it is nowhere
    /// another than in `response_logprobs`.
    pub drawn_logprobs: Vec<f32>,
    /// Positions of the response tokens that the grammar left no choice about, ascending: they are
    /// masked in training.
    pub forced: Vec<u32>,
    /// The grammar that the reply had to follow, if there was one.
    pub constraint: Option<ConstraintKind>,
    /// Which weights version sampled which response tokens, in order; the first starts at 0.
    pub version_spans: Vec<VersionSpan>,
    /// How the reply was drawn.
    pub sampling: Sampling,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Who answered, and whether the content was kept.
    pub status: TurnStatus,
}
