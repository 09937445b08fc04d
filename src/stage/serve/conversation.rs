//! What is kept of a conversation: the turn, once its reply has ended.

use serde_json::Value;

use super::drawn::Drawn;
use crate::engine::SampledToken;
use crate::events::now_us;
use crate::protocol::AssistantMessage;
use crate::rollout::{
    ConstraintKind, FinishReason, Sampling, Turn, TurnId, TurnStatus, VersionSpan,
};

/// What a turn holds beside its tokens.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) received_at_us: i64,
    pub(super) user: String,
    /// The adapter that answers, or `default`.
    pub(super) policy: String,
    pub(super) model: String,
    /// JSON.
    pub(super) session_keys: String,
    /// JSON.
    pub(super) messages: String,
    /// JSON, or empty.
    pub(super) tools: String,
    /// The grammar that the reply has to follow, if there is one.
    pub(super) constraint: Option<ConstraintKind>,
    /// Whether the turn goes to the store.
    pub(super) keep: bool,
}

impl Conversation {
    /// The turn that `tokens` make of it.
    pub(super) fn turn(
        self,
        turn_id: TurnId,
        prompt_ids: Vec<u32>,
        sampling: Sampling,
        tokens: &[SampledToken],
        reply: (&AssistantMessage, FinishReason),
    ) -> Turn {
        let (message, finish_reason) = reply;
        let mut drawn = Drawn::default();
        tokens.iter().for_each(|token| drawn.push(token));
        Turn {
            turn_id,
            received_at_us: self.received_at_us,
            finished_at_us: now_us(),
            user: self.user,
            policy: self.policy,
            model: self.model,
            session_keys: self.session_keys,
            messages: self.messages,
            tools: self.tools,
            reply: serde_json::to_value(message).unwrap_or(Value::Null).to_string(),
            prompt_ids,
            response_ids: tokens.iter().map(|token| token.id).collect(),
            response_logprobs: tokens.iter().map(|token| token.logprob).collect(),
            drawn_logprobs: drawn.logprobs(),
            forced: drawn.forced(),
            constraint: self.constraint,
            version_spans: spans(tokens),
            sampling,
            finish_reason,
            status: TurnStatus::Answered,
        }
    }
}

/// Which version sampled which tokens.
fn spans(tokens: &[SampledToken]) -> Vec<VersionSpan> {
    let mut spans: Vec<VersionSpan> = Vec::new();
    for (start, token) in tokens.iter().enumerate() {
        if spans.last().is_none_or(|span| span.version != token.version) {
            spans.push(VersionSpan { start: start as u32, version: token.version });
        }
    }
    spans
}
