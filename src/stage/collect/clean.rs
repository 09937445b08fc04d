//! A request as it is compared: what a client re-renders on every turn is taken out.
//!
//! System messages are no part of the comparison; the client's internal-context messages, time
//! stamps and `Runtime:` line are dropped; content arrays are flattened; tool-call ids are ignored
//! and arguments are compared parsed.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::client::{self, HEARTBEAT_POLL, UserText};
use crate::rollout::Rating;

use super::place;

/// The first half of the SHA-256 of something cleaned.
pub type Digest = [u8; 16];

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
}

/// A message that takes part in the comparison.
#[derive(Clone, Debug)]
pub struct Clean {
    /// Position among the request's messages as they were sent.
    pub sent_at: usize,
    /// Who wrote it.
    pub role: Role,
    /// Its text, cleaned.
    pub text: String,
    /// Digest of role, text and tool calls.
    pub digest: Digest,
    /// Digest of the tool calls alone, if there are any.
    pub calls: Option<Digest>,
}

/// A request's messages, cleaned.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The messages as they were sent.
    pub sent: Vec<Value>,
    /// Those that take part in the comparison.
    pub messages: Vec<Clean>,
    /// Text of the system and developer messages.
    pub system: String,
    /// Text of the last message of the user, whatever client wrote it; empty if there is none.
    pub last_user: String,
    /// Text of the first one.
    pub first_user: String,
    /// Messages of the user.
    pub users: usize,
    /// The `sessionId=` of the client's `Runtime:` line.
    pub runtime_session: Option<String>,
    /// The command that the conversation ends with, if it does.
    pub command: Option<(Rating, Option<String>)>,
    /// The client wrapped the last message to send it again.
    pub queued: bool,
    /// The conversation ends with the client's own request for another try.
    pub nudged: bool,
    /// A command was taken out, and the answer to it is to be.
    answers_command: bool,
}

impl Conversation {
    /// Cleans a request's `messages`; `None` if they are no JSON array.
    pub fn parse(messages: &str) -> Option<Self> {
        let sent: Vec<Value> = serde_json::from_str(messages).ok()?;
        let mut conversation = Self::default();
        for (sent_at, message) in sent.iter().enumerate() {
            conversation.add(sent_at, message);
        }
        conversation.sent = sent;
        Some(conversation)
    }

    fn add(&mut self, sent_at: usize, message: &Value) {
        let role = match message["role"].as_str() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool" | "function") => Role::Tool,
            _ => {
                self.system.push_str(&flatten(&message["content"]));
                return;
            }
        };
        let text = flatten(&message["content"]);
        if role != Role::User {
            let answers_command = std::mem::take(&mut self.answers_command);
            self.nudged = false;
            self.command = None;
            if role == Role::Assistant && answers_command {
                return;
            }
            self.messages.push(clean(sent_at, role, text.trim().to_owned(), message));
            return;
        }
        if self.runtime_session.is_none() {
            self.runtime_session = client::runtime_session(&text).map(str::to_owned);
        }
        match client::user_text(&text) {
            UserText::Internal => {}
            UserText::Nudge => self.nudged = true,
            UserText::Poll => HEARTBEAT_POLL.clone_into(&mut self.last_user),
            UserText::Said { text, queued } => self.said(sent_at, text, queued, message),
        }
    }

    fn said(&mut self, sent_at: usize, text: String, queued: bool, message: &Value) {
        let typed = typed(&message["content"]);
        let command = client::command(typed.as_deref().unwrap_or(&text));
        self.answers_command = command.is_some();
        self.command = command.map(|(rating, words)| (rating, words.map(str::to_owned)));
        if self.command.is_some() {
            return;
        }
        if self.users == 0 {
            self.first_user.clone_from(&text);
        }
        self.users += 1;
        self.queued = queued;
        self.nudged = false;
        self.last_user.clone_from(&text);
        self.messages.push(clean(sent_at, Role::User, text, message));
    }

    /// Digests of every prefix: element `k` covers the first `k` cleaned messages.
    /// `seed` separates users.
    pub fn prefixes(&self, seed: &str) -> Vec<Digest> {
        let mut chain = Vec::with_capacity(self.messages.len() + 1);
        let mut last = digest(seed);
        chain.push(last);
        for message in &self.messages {
            last = extend(&last, &message.digest);
            chain.push(last);
        }
        chain
    }

    /// The messages after the first `count` cleaned ones up to a further reply, as they were sent
    /// but with the user's text cleaned; the client's own messages are left out.
    pub fn after(&self, count: usize) -> Vec<Value> {
        let is_own =
            |message: &Clean| message.role == Role::User && place::is_housekeeping(&message.text);
        self.messages[count.min(self.messages.len())..]
            .iter()
            .take_while(|message| message.role != Role::Assistant)
            .filter(|message| !is_own(message))
            .map(|message| {
                let mut sent = self.sent[message.sent_at].clone();
                let plain = sent["content"].is_string() || only_text(&sent["content"]);
                if message.role == Role::User && plain {
                    sent["content"] = Value::from(message.text.clone());
                }
                sent
            })
            .collect()
    }
}

/// The digest of a prefix that is longer by one message.
pub fn extend(prefix: &Digest, message: &Digest) -> Digest {
    half(Sha256::new().chain_update(prefix).chain_update(message))
}

/// The digest of a text.
pub fn digest(text: &str) -> Digest {
    half(Sha256::new().chain_update(text))
}

fn half(hash: Sha256) -> Digest {
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = Digest::default();
    half.copy_from_slice(&whole[..size_of::<Digest>()]);
    half
}

/// The first half of a digest in letters, for names.
pub fn short_hex(digest: &Digest) -> String {
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reply as a later request will show it.
pub fn reply(reply: &str) -> Clean {
    let message: Value = serde_json::from_str(reply).unwrap_or_default();
    clean(0, Role::Assistant, flatten(&message["content"]).trim().to_owned(), &message)
}

fn clean(sent_at: usize, role: Role, text: String, message: &Value) -> Clean {
    let mut calls = Vec::new();
    if role == Role::Assistant {
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            calls.push(0);
            calls.extend(call["function"]["name"].as_str().unwrap_or_default().bytes());
            calls.push(0);
            calls.extend(arguments(&call["function"]["arguments"]).bytes());
        }
    }
    let hash = Sha256::new().chain_update([role as u8]).chain_update(&text).chain_update(&calls);
    let calls = (!calls.is_empty()).then(|| half(Sha256::new().chain_update(&calls)));
    Clean { sent_at, role, text, digest: half(hash), calls }
}

/// A call's arguments, parsed and written again with sorted keys.
fn arguments(arguments: &Value) -> String {
    let mut out = String::new();
    match arguments.as_str() {
        Some(text) => match serde_json::from_str::<Value>(text) {
            Ok(parsed) => canonical(&parsed, &mut out),
            Err(_) => out.push_str(text.trim()),
        },
        None => canonical(arguments, &mut out),
    }
    out
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (key, value) in keys {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for value in values {
                canonical(value, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The text of a message's content; what is no text is named by its digest.
fn flatten(content: &Value) -> String {
    let part = |part: &Value| match part["text"].as_str() {
        Some(text) => text.to_owned(),
        None => {
            let hex = short_hex(&digest(&part.to_string()));
            format!("[{} {hex}]", part["type"].as_str().unwrap_or("part"))
        }
    };
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(part).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// What the user typed, where something else stands beside it.
fn typed(content: &Value) -> Option<String> {
    if !content.is_array() || only_text(content) {
        return None;
    }
    match client::said(content)? {
        UserText::Said { text, .. } => Some(text),
        _ => None,
    }
}

fn only_text(content: &Value) -> bool {
    content.as_array().is_some_and(|parts| parts.iter().all(|part| part["text"].is_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(messages: Value) -> Vec<String> {
        let conversation = Conversation::parse(&messages.to_string()).unwrap();
        conversation.messages.into_iter().map(|message| message.text).collect()
    }

    #[test]
    fn what_the_client_re_renders_is_taken_out() {
        let stamped = "[Sun 2026-11-22 06:16 UTC] Hi\nthere\n\nRuntime: agent=a | sessionId=s1 | x";
        let messages = serde_json::json!([
            {"role": "system", "content": "You are."},
            {"role": "user", "content": stamped},
            {"role": "assistant", "content": " ok \n"},
            {"role": "user", "content": [
                {"type": "text", "text": "[Sun 2026-11-22 06:20 UTC] [OpenClaw heartbeat poll]"},
                {"type": "text", "text": "And now?"},
            ]},
            {"role": "user", "content":
                "[Mon 2026-11-23 06:20 UTC] The previous attempt did not produce a"},
            {"role": "user", "content":
                "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nx\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>"},
        ]);
        assert_eq!(cleaned(messages.clone()), ["Hi\nthere", "ok", "And now?"]);
        let conversation = Conversation::parse(&messages.to_string()).unwrap();
        assert_eq!(conversation.runtime_session.as_deref(), Some("s1"));
        assert_eq!(conversation.last_user, "And now?");
        assert_eq!(conversation.system, "You are.");
    }

    #[test]
    fn a_queued_message_is_the_message() {
        let queued = "[Queued user message from a previous active turn; preserved.]\nDo it\n\n\
                      Continue the current task from the existing transcript, preserving work.";
        let plain = serde_json::json!([{"role": "user", "content": "Do it"}]);
        let wrapped = serde_json::json!([{"role": "user", "content": queued}]);
        assert_eq!(cleaned(plain), cleaned(wrapped));
    }

    #[test]
    fn commands_and_their_answers_are_no_part_of_the_conversation() {
        let messages = serde_json::json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "[Sun 2026-11-22 06:16 UTC] /bad in metric"},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "B"},
            {"role": "user", "content": "/good"},
        ]);
        assert_eq!(cleaned(messages.clone()), ["a", "A", "b", "B"]);
        let conversation = Conversation::parse(&messages.to_string()).unwrap();
        assert_eq!(conversation.command, Some((Rating::Up, None)));
        assert_eq!(conversation.last_user, "b");
        let early = messages.as_array().unwrap()[..5].to_vec();
        assert_eq!(Conversation::parse(&Value::from(early).to_string()).unwrap().command, None);
    }

    #[test]
    fn a_command_is_what_was_typed_beside_a_picture() {
        let image = serde_json::json!({"type": "image_url", "image_url": {"url": "data:x"}});
        let text = serde_json::json!({"type": "text", "text": "/bad crop it"});
        for parts in [[&text, &image], [&image, &text]] {
            let messages = serde_json::json!([{"role": "user", "content": parts}]).to_string();
            let command = Conversation::parse(&messages).unwrap().command;
            assert_eq!(command, Some((Rating::Down, Some("crop it".to_owned()))));
        }
    }

    #[test]
    fn what_is_sent_again_says_so() {
        let nudge = serde_json::json!({"role": "user",
            "content": "The previous attempt did not produce a user-visible answer."});
        let ask = serde_json::json!({"role": "user", "content": "a"});
        let parse = |messages: Value| Conversation::parse(&messages.to_string()).unwrap();
        assert!(parse(serde_json::json!([ask, nudge])).nudged);
        let answered = serde_json::json!({"role": "assistant", "content": "A"});
        assert!(!parse(serde_json::json!([ask, nudge, answered, ask])).nudged);
    }

    #[test]
    fn calls_compare_by_parsed_arguments_and_not_by_id() {
        let with = |id: &str, arguments: &str| {
            let call = serde_json::json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": id, "type": "function",
                 "function": {"name": "exec", "arguments": arguments}}]});
            reply(&call.to_string()).digest
        };
        let first = with("call_ab", r#"{"a": 1, "b": [2, {"d": 3, "c": 4}]}"#);
        assert_eq!(first, with("callab", r#"{"b":[2,{"c":4,"d":3}],"a":1}"#));
        assert_ne!(first, with("call_ab", r#"{"a": 2, "b": [2, {"d": 3, "c": 4}]}"#));
    }
}
