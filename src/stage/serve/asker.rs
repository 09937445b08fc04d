//! Who asks, and what places a request in its session.

use axum::http::HeaderMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::doors::presented_key;

/// Headers that place a turn in its session, or that say how to treat it.
const SESSION_HEADERS: &[&str] = &[
    "x-session-id",
    "x-session-affinity",
    "session_id",
    "x-client-request-id",
    "x-turn-type",
    "x-session-done",
    "x-no-train",
];

/// Characters of a session key that are kept.
const SESSION_KEY_MAX: usize = 512;

/// Who asks: the body's `user`, else a digest of the API key that it came with.
pub(super) fn user(session: &[(&'static str, String)], headers: &HeaderMap) -> String {
    if let Some((_, user)) = session.iter().find(|(name, _)| *name == "user") {
        return shortened(user);
    }
    let digest = |key: &str| {
        let digest = Sha256::digest(key);
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("key-{hex}")
    };
    presented_key(headers).map(digest).unwrap_or_default()
}

/// The headers and body fields that place a turn, as a JSON object of strings.
pub(super) fn session_keys(session: &[(&'static str, String)], headers: &HeaderMap) -> String {
    let from_headers = SESSION_HEADERS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), header_text(headers, name)?)));
    let from_body = session.iter().map(|(name, text)| (format!("body.{name}"), text.clone()));
    let keys: Map<String, Value> = from_headers
        .chain(from_body)
        .map(|(name, text)| (name, Value::from(shortened(&text))))
        .collect();
    Value::Object(keys).to_string()
}

/// Whether the client wants nothing of this kept.
pub(super) fn no_train(headers: &HeaderMap) -> bool {
    let is_yes =
        |text: String| matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes");
    header_text(headers, "x-no-train").is_some_and(is_yes)
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn shortened(text: &str) -> String {
    text.chars().take(SESSION_KEY_MAX).collect()
}
