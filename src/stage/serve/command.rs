//! What a user tells the server, and not the model: `/good`, `/bad` and what should have been done.

use std::sync::Arc;

use serde_json::Value;

use super::choices::Choices;
use super::conversation::{Answer, Conversation, Keep};
use super::errors::ApiError;
use super::reply::Finished;
use super::state::Server;
use crate::client::{self, UserText};
use crate::events::emit;
use crate::events::serve::CommandAnswered;
use crate::protocol::AssistantMessage;
use crate::rollout::{FinishReason, Rating, Sampling, TurnId, TurnStatus};

/// A command as it stands at the end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    rating: Rating,
    /// It says what should have been done.
    corrects: bool,
    /// A reply stands before it.
    rates: bool,
}

impl Command {
    /// The command that a conversation ends with, if it does. What a client puts behind the user's
    /// message for the model is passed over.
    pub(super) fn of(messages: &[Value]) -> Option<Self> {
        for (at, message) in messages.iter().enumerate().rev() {
            let text = match said(message)? {
                UserText::Internal => continue,
                UserText::Said { text, .. } => text,
                UserText::Poll | UserText::Nudge => return None,
            };
            let (rating, correction) = client::command(&text)?;
            let (corrects, rates) = (correction.is_some(), holds_a_reply(&messages[..at]));
            return Some(Self { rating, corrects, rates });
        }
        None
    }

    fn text(self, keep: Keep, recorded: bool) -> &'static str {
        match (keep, self.rates, recorded) {
            (Keep::Mark(_) | Keep::Nothing, _, _) => {
                "Nothing was recorded: this conversation is not to be learned from."
            }
            (_, false, _) => "There is no reply yet to rate.",
            (_, _, false) => "This could not be recorded. Please try again later.",
            _ => match (self.rating, self.corrects) {
                (Rating::Up, _) => "Noted: the last reply was good.",
                (Rating::Down, true) => {
                    "Noted: the last reply was not good, and what should have been done."
                }
                (Rating::Down, false) => "Noted: the last reply was not good.",
            },
        }
    }
}

/// What a message of the user's says; `None` if it is another's.
fn said(message: &Value) -> Option<UserText> {
    client::said(&message["content"]).filter(|_| message["role"] == "user")
}

/// Whether the model said something in it. What a command or a heartbeat was answered is no reply.
fn holds_a_reply(messages: &[Value]) -> bool {
    let mut skipped = false;
    for message in messages {
        match said(message) {
            Some(UserText::Said { text, .. }) => skipped = client::command(&text).is_some(),
            Some(UserText::Poll) => skipped = true,
            Some(UserText::Internal | UserText::Nudge) => {}
            None if message["role"] == "assistant" && !skipped => return true,
            None => {}
        }
    }
    false
}

/// Records a command as a turn, and gives the reply that tells its user so.
pub(super) async fn answer(
    server: &Arc<Server>,
    turn_id: TurnId,
    command: Command,
    conversation: Conversation,
) -> Result<Choices, ApiError> {
    let (recording, keep) = (Arc::clone(server), conversation.keep);
    // Owned by the server, so that it counts also when its client goes away.
    let recorded = server.replies.spawn(async move {
        let message = message(command.text(keep, true));
        let answer = Answer {
            status: TurnStatus::Command,
            prompt_ids: Vec::new(),
            sampling: Sampling::default(),
            tokens: &[],
            message: &message,
            finish_reason: FinishReason::Stop,
        };
        match conversation.turn(turn_id, answer) {
            Some(turn) => recording.recorder.record(turn).await,
            None => false,
        }
    });
    let recorded = recorded.await.map_err(|error| ApiError::internal(error.to_string()))?;
    emit(CommandAnswered { turn: turn_id.to_string(), recorded });
    Ok(Choices::told(Finished {
        message: message(command.text(keep, recorded)),
        tokens: Vec::new(),
        unsent: 0,
        prompt_tokens: 0,
        cached_tokens: 0,
        reasoning_tokens: 0,
        reason: FinishReason::Stop,
        stopped_by: None,
        version: None,
    }))
}

fn message(text: &str) -> AssistantMessage {
    AssistantMessage {
        role: "assistant".to_owned(),
        content: Some(text.to_owned()),
        reasoning_content: None,
        tool_calls: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::{HEARTBEAT_POLL, INTERNAL_BEGIN};

    fn of(messages: Value) -> Option<Command> {
        Command::of(messages.as_array().unwrap())
    }

    fn user(text: &str) -> Value {
        json!({"role": "user", "content": text})
    }

    fn assistant(text: &str) -> Value {
        json!({"role": "assistant", "content": text})
    }

    #[test]
    fn a_command_stands_at_the_end_behind_whatever_the_client_adds() {
        let good = Some(Command { rating: Rating::Up, corrects: false, rates: true });
        let bad = Some(Command { rating: Rating::Down, corrects: true, rates: true });
        let (asked, told) = (user("hi"), assistant("hello"));
        let internal = user(&format!("{INTERNAL_BEGIN}\nx"));
        let parts = json!({"role": "user", "content": [{"type": "text", "text": "/bad"},
            {"type": "text", "text": "in French"}, {"type": "image_url"}]});
        let stamped = user("[Sun 2026-11-22 06:16 UTC] /bad in French");
        assert_eq!(of(json!([asked, told, user(" /good ")])), good);
        assert_eq!(of(json!([asked, told, user("/good"), internal, internal])), good);
        assert_eq!(of(json!([asked, told, parts])), bad);
        assert_eq!(of(json!([asked, told, stamped])), bad);
        for last in [
            user("/goodness"),
            user("say /good"),
            user(""),
            user(HEARTBEAT_POLL),
            assistant("/good"),
            json!({"role": "tool", "content": "/good"}),
            json!({"role": "system", "content": "/good"}),
            json!({"role": "user"}),
            json!({"role": "user", "content": 5}),
            json!("/good"),
        ] {
            assert_eq!(of(json!([asked, told, last])), None, "{last}");
        }
        assert_eq!(of(json!([user("/good"), told, asked])), None, "an old command is over");
        assert_eq!(of(json!([user("/good"), json!({"role": "tool", "content": "x"})])), None);
        assert_eq!(of(json!([internal])), None);
        assert_eq!(of(json!([])), None);
    }

    #[test]
    fn only_the_models_replies_can_be_rated() {
        let rates = |messages: Value| of(messages).unwrap().rates;
        let (asked, told, good) = (user("hi"), assistant("hello"), user("/good"));
        let poll = user(HEARTBEAT_POLL);
        assert!(rates(json!([asked, told, good])));
        assert!(rates(json!([asked, told, good, assistant("Noted"), good])));
        assert!(rates(json!([good, assistant("no reply"), asked, told, good])));
        assert!(!rates(json!([good])));
        assert!(!rates(json!([json!({"role": "system", "content": "x"}), asked, good])));
        assert!(!rates(json!([good, assistant("no reply yet"), good])));
        assert!(!rates(json!([poll, assistant("quiet"), good])));
    }
}
