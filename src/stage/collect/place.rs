//! The rules that say which session a request belongs to and whether it is main or side.
//!
//! Tables of data: each rule has a name, which `rollouts.placed_by` records.

use serde_json::Value;

use crate::rollout::TurnKind;

use super::clean::Conversation;
use crate::client::HEARTBEAT_POLL;

/// What the agent's own system prompt says.
const AGENT: &str = "You are a personal assistant running inside OpenClaw";

/// The keys that name a session, most trusted first: ours, those of the OpenClaw client, then those
/// of other clients and gateways.
const SESSION_KEYS: &[&str] = &[
    "x-session-id",
    "body.session_id",
    "x-session-affinity",
    "x-claude-code-session-id",
    "thread-id",
    "session_id",
    "session-id",
    "x-openwebui-chat-id",
    "x-conversation-id",
    "conversation_id",
    "body.metadata.session_id",
    "body.conversation",
    "body.litellm_session_id",
    "x-litellm-session-id",
    "helicone-session-id",
    "x-litellm-trace-id",
];

/// Those of clients that may leave the history to the server; all others are known to send it.
pub const NO_HISTORY: &[&str] = &["x-session-id", "body.session_id", "body.conversation"];

/// The key of the reply that a chat page is making: another one with the same history asks for
/// another reply, the same one is the same attempt.
const MESSAGE_KEY: &str = "x-openwebui-message-id";

/// Keys that only requests of a sub-agent carry.
const SUBAGENT_KEYS: &[&str] = &["x-claude-code-agent-id"];

/// Which text of a request a mark stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// At the start of the last real user message.
    LastUser,
    /// At the start of the system prompt.
    System,
    /// Anywhere in the system prompt, behind what the client always says.
    InSystem,
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

const fn in_system(name: &'static str, text: &'static str) -> Mark {
    Mark { name, at: Where::InSystem, text }
}

/// Marks of the OpenClaw client's own user messages, which it may leave in the history of the
/// conversation. They count even over a header that says `main`.
const OPENCLAW_MARKS: &[Mark] = &[
    user("heartbeat", "Follow the heartbeat monitor scratch"),
    user("heartbeat", HEARTBEAT_POLL),
    user("memory_flush", "Pre-compaction memory flush"),
    user("cron", "[cron:"),
    user("cron", "A scheduled reminder has been triggered."),
    user("cron", "A scheduled cron event was triggered"),
    user("subagent", "[Subagent Context]"),
    user("background_task", "A background task completed."),
    user("background_task", "An async command you ran earlier"),
    user("background_task", "An async command completion event was triggered"),
];

/// Marks of other side requests, by client.
const MARKS: &[Mark] = &[
    // OpenClaw
    system("summary", "You are a context summarization assistant"),
    system("recap", "Write an Activity recap"),
    system("image", "Describe the image."),
    // Open WebUI
    user("title", "### Task:\nGenerate a concise"),
    user("title", "Create a concise, 3-5 word title"),
    user("tags", "### Task:\nGenerate 1-3 broad tags"),
    user("follow_ups", "### Task:\nSuggest 3-5 relevant follow-up"),
    user("search_query", "### Task:\nAnalyze the chat history to determine the necessity"),
    user("autocompletion", "### Task:\nYou are an autocompletion system"),
    user("image_prompt", "### Task:\nGenerate a detailed prompt"),
    // LibreChat
    user("title", "Provide a concise, 5-word-or-less title"),
    user("title", "Please generate a concise, 5-word-or-less title"),
    user("title", "Analyze this conversation and provide:\n1. The detected language"),
    // LobeChat and Cherry Studio
    system("title", "You are a professional conversation summarizer. Generate a concise title"),
    system("title", "你是一名擅长会话的助理"),
    system("title", "Summarize the given session as a 10-word title"),
    system("title", "将给定的对话总结为一个10字以内的标题"),
    system("summary", "You're an assistant who's good at extracting key takeaways"),
    system("search_query", "You are an AI question rephraser"),
    user("search_query", "You are an AI question rephraser"),
    // NextChat, Zed, Continue
    user("title", "Please generate a four to five word title"),
    user("title", "Generate a concise 3-7 word title for this conversation"),
    user("title", "Given the following... please reply with a title for the chat"),
    user("title", "Given the following chat history, please reply with a title for the chat"),
    // opencode, Crush
    system("title", "You are a title generator. You output ONLY"),
    user("title", "Generate a title for this conversation:"),
    system("title", "You will generate a short title based on the first message"),
    system("title", "you will generate a short title based on the first message"),
    // Claude Code
    in_system("topic", "Analyze if this message indicates a new conversation topic"),
    in_system("title", "Summarize this coding conversation in under"),
    in_system("summary", "You are a helpful AI assistant tasked with summarizing conversations"),
    user("summary", "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."),
    user("summary", "Your task is to create a detailed summary of the conversation so far"),
];

/// Why a request repeats another one; the first that applies names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Another reply of the same request (`n` above 1).
    Choice,
    /// The client sends a message again that it wrapped.
    Queued,
    /// The client asks for a reply that the user can see.
    Nudge,
    /// The client's SDK tries again.
    Sdk,
    /// The client tries again.
    Retry,
    /// The user wants another reply.
    Regenerated,
}

impl Again {
    /// What `placed_by` says of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Queued => "queued",
            Self::Nudge => "nudge",
            Self::Sdk => "sdk_retry",
            Self::Retry => "retry",
            Self::Regenerated => "regenerated",
        }
    }
}

/// Nobody reads a reply and asks for another one in less time than this.
const READ_US: i64 = 3_000_000;

/// What is known of two requests with the same history.
#[derive(Clone, Copy, Debug)]
pub struct Repetition {
    /// Both are replies of one request.
    pub choice: bool,
    /// The later one is wrapped, or ends with the client's own request for another try.
    pub queued: bool,
    /// See [`Again::Nudge`].
    pub nudged: bool,
    /// The SDK's own count of tries is above 0.
    pub sdk_retry: bool,
    /// Whether both make the same message of a chat page, where it says so.
    pub same_message: Option<bool>,
    /// The earlier reply was cancelled or empty.
    pub failed: bool,
    /// The session is the OpenClaw agent's, which has no other way to ask twice.
    pub agent: bool,
    /// The later one ends with the earlier reply: there is nothing new in it.
    pub holds_reply: bool,
    /// Microseconds between the end of the earlier reply and the later request.
    pub pause_us: i64,
}

impl Repetition {
    /// Why the later one repeats the earlier.
    pub const fn why(&self) -> Again {
        match self {
            Self { choice: true, .. } => Again::Choice,
            Self { queued: true, .. } => Again::Queued,
            Self { nudged: true, .. } => Again::Nudge,
            Self { sdk_retry: true, .. } => Again::Sdk,
            Self { same_message: Some(true), .. }
            | Self { failed: true, .. }
            | Self { agent: true, .. }
            | Self { holds_reply: true, .. } => Again::Retry,
            Self { same_message: None, pause_us, .. } if *pause_us < READ_US => Again::Retry,
            _ => Again::Regenerated,
        }
    }
}

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
    /// A sub-agent asks.
    pub subagent: bool,
    /// Which reply of one request this is, where there are several.
    pub choice: Option<u32>,
    /// The client's SDK sent the request before.
    pub sdk_retry: bool,
    /// The message that a chat page makes of the reply.
    pub message: Option<String>,
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
        subagent: SUBAGENT_KEYS.iter().any(|key| text(key).is_some()),
        choice: text("choice").and_then(|number| number.parse().ok()),
        sdk_retry: text("x-stainless-retry-count").is_some_and(|count| count != "0"),
        message: text(MESSAGE_KEY),
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

/// Whether the OpenClaw client itself wrote a user message.
pub fn is_housekeeping(text: &str) -> bool {
    OPENCLAW_MARKS.iter().any(|mark| text.starts_with(mark.text))
}

/// What makes a request side, apart from its texts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    /// The request has tools.
    pub has_tools: bool,
    /// What is known of its session.
    pub seen: Seen,
    /// The client names the session.
    pub named: bool,
    /// The request goes on with what was said in the session.
    pub continues: bool,
    /// It quotes a conversation that was just held.
    pub quotes: bool,
    /// A sub-agent asks.
    pub subagent: bool,
    /// What the client says.
    pub stated: Option<TurnKind>,
}

/// The rule that makes a request side, or `None` if it is main.
pub fn side(conversation: &Conversation, signs: Signs) -> Option<&'static str> {
    let system = conversation.system.trim_start_matches(|c: char| c.is_whitespace() || c == '-');
    let marked = OPENCLAW_MARKS.iter().chain(MARKS).find(|mark| match mark.at {
        Where::LastUser => conversation.last_user.starts_with(mark.text),
        Where::System => system.starts_with(mark.text),
        Where::InSystem => system.contains(mark.text),
    });
    let Signs { has_tools, seen, .. } = signs;
    let lost_tools = seen.tools && !has_tools;
    let rules = [
        ("subagent", signs.subagent),
        ("not_the_agent", seen.agent && !is_agent(conversation)),
        ("no_tools", lost_tools && (seen.agent || signs.named && !signs.continues)),
        ("quotes_a_conversation", signs.quotes),
        ("x-turn-type", signs.stated == Some(TurnKind::Side)),
    ];
    let structural = || rules.iter().find(|(_, holds)| *holds).map(|(name, _)| *name);
    marked.map(|mark| mark.name).or_else(structural)
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
    fn the_first_reason_to_repeat_counts_and_a_person_needs_time() {
        let none = Repetition {
            choice: false,
            queued: false,
            nudged: false,
            sdk_retry: false,
            same_message: None,
            failed: false,
            agent: false,
            holds_reply: false,
            pause_us: 3_000_000,
        };
        for (why, name) in [
            (none, "regenerated"),
            (Repetition { pause_us: 2_999_999, ..none }, "retry"),
            (Repetition { pause_us: -1, ..none }, "retry"),
            (Repetition { pause_us: 0, same_message: Some(false), ..none }, "regenerated"),
            (Repetition { same_message: Some(true), ..none }, "retry"),
            (Repetition { failed: true, ..none }, "retry"),
            (Repetition { agent: true, ..none }, "retry"),
            (Repetition { holds_reply: true, ..none }, "retry"),
            (Repetition { sdk_retry: true, failed: true, ..none }, "sdk_retry"),
            (Repetition { nudged: true, sdk_retry: true, ..none }, "nudge"),
            (Repetition { queued: true, nudged: true, ..none }, "queued"),
            (Repetition { choice: true, queued: true, ..none }, "choice"),
        ] {
            assert_eq!(why.why().name(), name, "{why:?}");
        }
    }

    #[test]
    fn tools_may_be_switched_off_in_a_conversation_that_goes_on() {
        let plain = Conversation::parse(r#"[{"role":"user","content":"a"}]"#).unwrap();
        let tools = Seen { agent: false, tools: true };
        let named = Signs { seen: tools, named: true, ..Signs::default() };
        assert_eq!(side(&plain, named), Some("no_tools"));
        assert_eq!(side(&plain, Signs { continues: true, ..named }), None);
        assert_eq!(side(&plain, Signs { named: false, ..named }), None);
        assert_eq!(side(&plain, Signs { has_tools: true, ..named }), None);
        let subagent = Signs { subagent: true, ..Signs::default() };
        assert_eq!(side(&plain, subagent), Some("subagent"));
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
        for mark in OPENCLAW_MARKS.iter().chain(MARKS) {
            let role = if mark.at == Where::LastUser { "user" } else { "system" };
            let text = format!("{} and more", mark.text);
            if mark.text == HEARTBEAT_POLL {
                continue;
            }
            let messages = serde_json::json!([{"role": role, "content": text}]).to_string();
            let conversation = Conversation::parse(&messages).unwrap();
            let main = Some(TurnKind::Main);
            let signs = Signs { has_tools: true, stated: main, ..Signs::default() };
            assert_eq!(side(&conversation, signs), Some(mark.name));
        }
    }
}
