//! What is kept of a conversation: the turn, once its reply has ended.

use serde_json::{Map, Value, json};

use super::drawn::Drawn;
use crate::engine::SampledToken;
use crate::events::now_us;
use crate::protocol::AssistantMessage;
use crate::rollout::{
    ConstraintKind, FinishReason, Sampling, Turn, TurnId, TurnStatus, VersionSpan,
};

/// How much of a conversation goes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing, not even that it was.
    Nothing,
    /// That it was, whose it was, and why no more is kept.
    Mark(&'static str),
    /// Everything.
    All,
}

/// What a turn holds beside its tokens.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) received_at_us: i64,
    pub(super) user: String,
    /// The adapter that answers, or `default`.
    pub(super) policy: String,
    pub(super) model: String,
    pub(super) session_keys: Map<String, Value>,
    /// JSON.
    pub(super) messages: String,
    /// JSON, or empty.
    pub(super) tools: String,
    /// The grammar that the reply has to follow, if there is one.
    pub(super) constraint: Option<ConstraintKind>,
    pub(super) keep: Keep,
}

/// What was answered.
pub(super) struct Answer<'a> {
    /// Who answered: the model, or the server itself.
    pub(super) status: TurnStatus,
    pub(super) prompt_ids: Vec<u32>,
    pub(super) sampling: Sampling,
    pub(super) tokens: &'a [SampledToken],
    pub(super) message: &'a AssistantMessage,
    pub(super) finish_reason: FinishReason,
}

impl Conversation {
    /// Says which of several replies to one request this is of.
    pub(super) fn choice(mut self, choice: usize) -> Self {
        self.session_keys.insert("choice".to_owned(), choice.to_string().into());
        self
    }

    /// The turn that an answer makes of it, if one is kept.
    pub(super) fn turn(self, turn_id: TurnId, answer: Answer<'_>) -> Option<Turn> {
        match self.keep {
            Keep::Nothing => None,
            Keep::Mark(why) => Some(self.mark(turn_id, why, answer.finish_reason)),
            Keep::All => Some(self.whole(turn_id, answer)),
        }
    }

    /// A turn without anything that the client said, except who it is.
    fn mark(self, turn_id: TurnId, why: &'static str, finish_reason: FinishReason) -> Turn {
        Turn {
            turn_id,
            received_at_us: self.received_at_us,
            finished_at_us: now_us(),
            user: self.user,
            policy: self.policy,
            // Any text can stand in a request as the model's name.
            model: String::new(),
            session_keys: json!({ "do_not_train": why }).to_string(),
            messages: "[]".to_owned(),
            tools: String::new(),
            reply: "{}".to_owned(),
            prompt_ids: Vec::new(),
            response_ids: Vec::new(),
            response_logprobs: Vec::new(),
            drawn_logprobs: Vec::new(),
            forced: Vec::new(),
            constraint: None,
            version_spans: Vec::new(),
            sampling: Sampling::default(),
            finish_reason,
            status: TurnStatus::DoNotTrain,
        }
    }

    fn whole(self, turn_id: TurnId, answer: Answer<'_>) -> Turn {
        let tokens = answer.tokens;
        let mut drawn = Drawn::default();
        tokens.iter().for_each(|token| drawn.push(token));
        Turn {
            turn_id,
            received_at_us: self.received_at_us,
            finished_at_us: now_us(),
            user: self.user,
            policy: self.policy,
            model: self.model,
            session_keys: Value::Object(self.session_keys).to_string(),
            messages: self.messages,
            tools: self.tools,
            reply: serde_json::to_value(answer.message).unwrap_or(Value::Null).to_string(),
            prompt_ids: answer.prompt_ids,
            response_ids: tokens.iter().map(|token| token.id).collect(),
            response_logprobs: tokens.iter().map(|token| token.logprob).collect(),
            drawn_logprobs: drawn.logprobs(),
            forced: drawn.forced(),
            constraint: self.constraint,
            version_spans: spans(tokens),
            sampling: answer.sampling,
            finish_reason: answer.finish_reason,
            status: answer.status,
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
