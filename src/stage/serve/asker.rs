//! Who asks, what places a request in its session, and whether it may be kept.

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::conversation::Keep;
use super::doors::presented_key;
use super::opted_out::OptedOut;
use crate::protocol::{Session, split_user};

/// Headers that place a turn in its session, that name its user, or that say how to treat it.
const HEADERS: &[&str] = &[
    "x-session-id",
    "x-session-affinity",
    "session_id",
    "x-client-request-id",
    "x-turn-type",
    "x-session-done",
    NO_TRAIN,
    // How often the SDKs of OpenAI and Anthropic have sent this request before.
    "x-stainless-retry-count",
    "session-id",
    "thread-id",
    "conversation_id",
    "x-conversation-id",
    "x-openwebui-chat-id",
    "x-openwebui-message-id",
    "x-openwebui-user-message-id",
    "x-openwebui-user-message-parent-id",
    USER_HEADER,
    "x-claude-code-session-id",
    "x-claude-code-agent-id",
    "x-litellm-session-id",
    "x-litellm-trace-id",
    "helicone-session-id",
];
const NO_TRAIN: &str = "x-no-train";
/// Open WebUI names its user so, where it is told to.
const USER_HEADER: &str = "x-openwebui-user-id";

/// Characters of a session key that are kept.
const SESSION_KEY_MAX: usize = 512;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    /// The body's `user`, else another name, else a digest of the API key; empty without all.
    pub(super) user: String,
    /// Why nothing of the request is to be kept, if so: `header`, `body` or `user`.
    pub(super) opted_out: Option<&'static str>,
}

impl Asker {
    /// Reads a request. A user on the list counts by every name that the request has for it.
    pub(super) fn of(session: &Session, headers: &HeaderMap, list: &OptedOut) -> Self {
        let user = session.get("user");
        let stated = [
            user.map(|user| split_user(user).0),
            session.get("safety_identifier").map(str::to_owned),
            header_text(headers, USER_HEADER),
            presented_key(headers).map(key_name),
        ];
        let stated = stated.into_iter().flatten().filter(|name| !name.is_empty());
        let mut names: Vec<String> = stated.map(|name| shortened(&name)).collect();
        let first = names.first().cloned().unwrap_or_default();
        names.extend(user.map(shortened));
        let opted_out = if no_train(headers) {
            Some("header")
        } else if session.no_train {
            Some("body")
        } else {
            list.holds(&names).then_some("user")
        };
        Self { user: first, opted_out }
    }

    /// What is kept of a conversation, where anything is.
    pub(super) fn keep(&self) -> Keep {
        self.opted_out.map_or(Keep::All, Keep::Mark)
    }
}

/// What stands in the tables for an API key.
pub(super) fn key_name(key: &str) -> String {
    let digest = Sha256::digest(key);
    let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("key-{hex}")
}

/// The headers and body fields that place a turn, all of them strings.
pub(super) fn session_keys(session: &Session, headers: &HeaderMap) -> Map<String, Value> {
    let from_headers =
        HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), header_text(headers, name)?)));
    let from_body = session.fields.iter();
    let from_body = from_body.map(|(name, text)| (format!("body.{name}"), text.clone()));
    from_headers
        .chain(from_body)
        .map(|(name, text)| (name, Value::from(shortened(&text))))
        .collect()
}

/// Whether a header asks for nothing to be kept. Whoever sends it means it: only what clearly says
/// no is one.
fn no_train(headers: &HeaderMap) -> bool {
    headers.get_all(NO_TRAIN).iter().any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        !matches!(text.as_str(), "" | "0" | "false" | "no" | "off")
    })
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(SESSION_KEY_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let all = all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        all.collect()
    }

    fn session(fields: &[(&'static str, &str)]) -> Session {
        let fields = fields.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Session { fields, no_train: false }
    }

    #[test]
    fn the_first_name_of_a_user_counts() {
        let user = |fields: &[(&'static str, &str)], names: &[(&'static str, &str)]| {
            Asker::of(&session(fields), &headers(names), &OptedOut::default()).user
        };
        let all = [("x-openwebui-user-id", "w"), ("x-api-key", "sk-a")];
        assert_eq!(user(&[("safety_identifier", "s"), ("user", "u")], &all), "u");
        assert_eq!(user(&[("safety_identifier", "s"), ("user", "")], &all), "s");
        assert_eq!(user(&[("session_id", "x")], &all), "w");
        assert_eq!(user(&[], &all[1..]), key_name("sk-a"));
        assert_eq!(user(&[], &[]), "");
        assert_eq!(user(&[("user", "user_a_account_b_session_c")], &all), "user_a_account_b");
    }

    #[test]
    fn only_a_clear_no_lets_a_turn_be_kept() {
        for (value, expected) in [
            ("1", true),
            ("TRUE", true),
            ("on", true),
            ("please", true),
            ("0", false),
            ("False", false),
            ("no", false),
            ("", false),
        ] {
            assert_eq!(no_train(&headers(&[("x-no-train", value)])), expected, "{value}");
        }
        let mut twice = headers(&[("x-no-train", "0")]);
        twice.append("x-no-train", "1".parse().unwrap());
        assert!(no_train(&twice));
        assert!(!no_train(&HeaderMap::new()));
    }
}
