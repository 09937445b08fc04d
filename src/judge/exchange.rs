//! A reply with what was asked before it and what came after it.

use serde_json::Value;

use super::Case;
use crate::client;
use crate::rollout::Rated;

/// One reply in its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exchange {
    /// The request's messages.
    pub messages: Vec<Value>,
    /// The assistant message that was answered.
    pub reply: Value,
    /// Everything between this reply and the next one.
    pub next_state: Vec<Value>,
    /// What was said after that, where a model judge is to see it.
    pub later: Vec<Value>,
    /// What the user said of the reply explicitly.
    pub rated: Option<Rated>,
    /// The user asked for another reply in place of this one.
    pub regenerated: Option<Regenerated>,
}

/// Another reply was asked for, and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regenerated {
    /// How often.
    pub times: u32,
    /// The conversation went on with another reply.
    pub replaced: bool,
}

/// A rollout whose conversation is no JSON of the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rollout of turn {turn} holds no readable `{field}`")]
pub struct Unreadable {
    /// The turn.
    pub turn: crate::rollout::TurnId,
    /// The column.
    pub field: &'static str,
}

impl Exchange {
    /// The exchange of a case; an absent next state is an empty one.
    ///
    /// # Errors
    /// A column of the rollout that is no JSON of the expected form.
    pub fn of(case: &Case) -> Result<Self, Unreadable> {
        let rollout = &case.rollout;
        let failed = |field| Unreadable { turn: rollout.turn_id, field };
        let next = rollout.next_state.as_deref().unwrap_or("[]");
        let replaced = rollout.next_state.is_none() && rollout.abandoned;
        let times = rollout.regenerated;
        Ok(Self {
            messages: serde_json::from_str(&rollout.messages).map_err(|_| failed("messages"))?,
            reply: serde_json::from_str(&rollout.reply).map_err(|_| failed("reply"))?,
            next_state: serde_json::from_str(next).map_err(|_| failed("next_state"))?,
            later: case.later.clone(),
            rated: rollout.rated.clone(),
            regenerated: (times > 0).then_some(Regenerated { times, replaced }),
        })
    }

    /// The messages before the last one of the user, and those from it on; without the client's
    /// own message.
    pub fn split_request(&self) -> (&[Value], &[Value]) {
        let own = |message: &Value| client::is_internal(&text_of(&message["content"]));
        let end = self.messages.iter().rposition(|m| !own(m)).map_or(0, |last| last + 1);
        let messages = &self.messages[..end];
        let asked = messages.iter().rposition(|m| m["role"] == "user" && !own(m));
        messages.split_at(asked.unwrap_or(0))
    }

    /// The messages that came next, up to a further reply of the assistant.
    pub fn reaction(&self) -> &[Value] {
        let end = self.next_state.iter().position(|message| message["role"] == "assistant");
        &self.next_state[..end.unwrap_or(self.next_state.len())]
    }
}

/// The text of a message's content; other parts are named by their type.
pub fn text_of(content: &Value) -> String {
    let part = |part: &Value| match part["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("[{}]", part["type"].as_str().unwrap_or("part")),
    };
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
