//! The rules that say which session a request belongs to and whether it is main or side.
//!
//! Tables of data: each rule has a name, which `rollouts.placed_by` records.

use serde_json::Value;

use crate::rollout::TurnKind;

use super::clean::Conversation;
use crate::client::HEARTBEAT_POLL;

/// What the agent's own system prompt says.
const AGENT: &str = "You are a personal assistant running inside OpenClaw";

/// The keys that name a session, most trusted first.
const SESSION_KEYS: &[&str] =
    &["x-session-id", "body.session_id", "x-session-affinity", "session_id"];

/// Which text of a request a mark stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// At the start of the last real user message.
    LastUser,
    /// At the start of the system prompt.
    System,
}

/// A text by which a client's housekeeping is known.
struct Mark {
    name: &'static str,
    at: Where,
    text: &'static str,
}

const fn user(name: &'static str, text: &'static str) -> Mark {
    Mark { name, at: Where::LastUser, text }
}

const fn system(name: &'static str, text: &'static str) -> Mark {
    Mark { name, at: Where::System, text }
}

/// Marks of side requests. They count even over a header that says `main`.
const MARKS: &[Mark] = &[
    user("heartbeat", "Follow the heartbeat monitor scratch"),
    user("heartbeat", HEARTBEAT_POLL),
    user("memory_flush", "Pre-compaction memory flush"),
    user("cron", "[cron:"),
    user("subagent", "[Subagent Context]"),
    user("background_task", "A background task completed."),
    user("title", "### Task:\nGenerate a concise"),
    system("summary", "You are a context summarization assistant"),
    system("recap", "Write an Activity recap"),
    system("image", "Describe the image."),
];

/// What the client itself says about a request.
#[derive(Debug, Default, PartialEq)]
pub struct Stated {
    /// The session's id, and the rule that found it.
    pub session: Option<(String, &'static str)>,
    /// The generation, where the id carries one (`<id>:<generation>`).
    pub generation: Option<String>,
    /// Main or side.
    pub kind: Option<TurnKind>,
    /// The session ends with this request.
    pub done: bool,
}

/// What is known of the session that a request belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// A main request of it carried the OpenClaw agent's system prompt.
    pub agent: bool,
    /// A main request of it had tools.
    pub tools: bool,
}

/// Reads the headers and body fields, then the client's `Runtime:` line.
pub fn stated(session_keys: &str, conversation: &Conversation) -> Stated {
    let keys: Value = serde_json::from_str(session_keys).unwrap_or_default();
    let text = |name: &str| {
        let value = keys.get(name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text != "null")
    };
    let either = |header: &str, field: &str| text(header).or_else(|| text(field));
    let named = SESSION_KEYS.iter().find_map(|key| Some((text(key)?, *key)));
    let cached = || {
        let key = either("prompt_cache_key", "body.prompt_cache_key")?;
        names_a_session(&key, conversation).then_some((key, "prompt_cache_key"))
    };
    let runtime = || Some((conversation.runtime_session.clone()?, "runtime_line"));
    let (session, generation) = match named.or_else(cached).or_else(runtime) {
        None => (None, None),
        Some((id, rule)) => {
            let (id, generation) = split_generation(&id);
            (Some((id.to_owned(), rule)), generation.map(str::to_owned))
        }
    };
    let kind = either("x-turn-type", "body.turn_type");
    let done = either("x-session-done", "body.session_done").unwrap_or_default();
    Stated {
        session,
        generation,
        kind: kind.and_then(|kind| TurnKind::from_label(&kind.to_ascii_lowercase())),
        done: matches!(done.to_ascii_lowercase().as_str(), "1" | "true" | "yes"),
    }
}

/// Whether a cache key names one conversation. Other clients use one key for all they send.
fn names_a_session(key: &str, conversation: &Conversation) -> bool {
    let (id, generation) = split_generation(key);
    generation.is_some() || uuid::Uuid::parse_str(id).is_ok() || is_agent(conversation)
}

/// `id:7` in its parts; a generation is all digits.
fn split_generation(id: &str) -> (&str, Option<&str>) {
    match id.rsplit_once(':') {
        Some((id, number))
            if !id.is_empty()
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            (id, Some(number))
        }
        _ => (id, None),
    }
}

/// Whether the request carries the OpenClaw agent's system prompt.
pub fn is_agent(conversation: &Conversation) -> bool {
    conversation.system.contains(AGENT)
}

/// The rule that makes a request side, or `None` if it is main.
pub fn side(
    conversation: &Conversation,
    has_tools: bool,
    seen: Seen,
    stated: Option<TurnKind>,
) -> Option<&'static str> {
    let marked = MARKS.iter().find(|mark| match mark.at {
        Where::LastUser => conversation.last_user.starts_with(mark.text),
        Where::System => conversation.system.trim_start().starts_with(mark.text),
    });
    if let Some(mark) = marked {
        return Some(mark.name);
    }
    if seen.agent && !is_agent(conversation) {
        return Some("not_the_agent");
    }
    if seen.agent && seen.tools && !has_tools {
        return Some("no_tools");
    }
    (stated == Some(TurnKind::Side)).then_some("x-turn-type")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(keys: Value) -> Stated {
        stated(&keys.to_string(), &Conversation::default())
    }

    #[test]
    fn the_session_is_named_by_the_most_trusted_key() {
        let id = "529a7f40-da75-49ab-a2c5-311b189d6f82";
        for (keys, session, generation, rule) in [
            (
                serde_json::json!({"x-session-id": "a:3", "prompt_cache_key": "b:1"}),
                "a",
                Some("3"),
                "x-session-id",
            ),
            (serde_json::json!({"x-session-id": "a"}), "a", None, "x-session-id"),
            (serde_json::json!({"x-session-id": "a:b"}), "a:b", None, "x-session-id"),
            (serde_json::json!({"x-session-id": ":3"}), ":3", None, "x-session-id"),
            (serde_json::json!({"body.session_id": "c:0"}), "c", Some("0"), "body.session_id"),
            (serde_json::json!({"body.session_id": 7}), "7", None, "body.session_id"),
            (
                serde_json::json!({"x-session-affinity": "d", "session_id": "e"}),
                "d",
                None,
                "x-session-affinity",
            ),
            (serde_json::json!({"session_id": "e:2"}), "e", Some("2"), "session_id"),
            (serde_json::json!({"prompt_cache_key": "f:2"}), "f", Some("2"), "prompt_cache_key"),
            (serde_json::json!({"prompt_cache_key": id}), id, None, "prompt_cache_key"),
        ] {
            let stated = said(keys);
            assert_eq!(stated.session, Some((session.to_owned(), rule)));
            assert_eq!(stated.generation.as_deref(), generation);
        }
    }

    #[test]
    fn a_cache_key_of_an_application_names_no_session() {
        assert_eq!(said(serde_json::json!({"prompt_cache_key": "my-app"})), Stated::default());
        assert_eq!(said(serde_json::json!({"x-session-id": " "})), Stated::default());
        assert_eq!(stated("not json", &Conversation::default()), Stated::default());
    }

    #[test]
    fn type_and_end_come_from_header_or_body() {
        assert_eq!(said(serde_json::json!({"x-turn-type": "Side"})).kind, Some(TurnKind::Side));
        assert_eq!(said(serde_json::json!({"body.turn_type": "main"})).kind, Some(TurnKind::Main));
        assert_eq!(said(serde_json::json!({"x-turn-type": "other"})).kind, None);
        for keys in [
            serde_json::json!({"x-session-done": "1"}),
            serde_json::json!({"body.session_done": true}),
        ] {
            assert!(said(keys).done);
        }
        assert!(!said(serde_json::json!({"x-session-done": "0"})).done);
    }

    #[test]
    fn every_mark_makes_a_request_side_even_over_a_main_header() {
        for mark in MARKS {
            let role = if mark.at == Where::System { "system" } else { "user" };
            let text = format!("{} and more", mark.text);
            if mark.text == HEARTBEAT_POLL {
                continue;
            }
            let messages = serde_json::json!([{"role": role, "content": text}]).to_string();
            let conversation = Conversation::parse(&messages).unwrap();
            let main = Some(TurnKind::Main);
            assert_eq!(side(&conversation, true, Seen::default(), main), Some(mark.name));
        }
    }
}
