//! What the OpenClaw client puts around what its user says, and the commands that a user may give.
//!
//! The one place that knows these texts: `render` puts a hint behind the user's own words, `judge`
//! shows them, `serve` answers commands, and `collect` compares conversations without what a client
//! renders anew each time.

use serde_json::Value;

use crate::rollout::Rating;

/// First line of the client's internal-context message, which it never keeps.
pub const INTERNAL_BEGIN: &str = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>";
/// Its last line.
const INTERNAL_END: &str = "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>";
/// What a quiet heartbeat becomes in later history.
pub const HEARTBEAT_POLL: &str = "[OpenClaw heartbeat poll]";
/// How the client wraps a message that it sends again.
const QUEUED_BEGIN: &str = "[Queued user message from a previous active turn";
/// What it puts behind the wrapped message.
const QUEUED_END: &str = "\n\nContinue the current task from the existing transcript";
/// What it adds after an answer that the user could not see.
const NUDGE: &str = "The previous attempt did not produce";
/// The line that names the client's session.
const RUNTIME: &str = "Runtime: agent=";

/// A message with the role `user`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserText {
    /// Written by the client for the model; never part of the conversation.
    Internal,
    /// A quiet heartbeat and nothing else.
    Poll,
    /// The client asks again for a reply that its user could not see.
    Nudge,
    /// What the user said.
    Said {
        /// Without what the client put around it.
        text: String,
        /// The client wrapped it to send it again.
        queued: bool,
    },
}

/// Reads the text of a message with the role `user`.
pub fn user_text(text: &str) -> UserText {
    let mut rest = text.trim_start();
    let mut dropped = false;
    while let Some(block) = rest.strip_prefix(INTERNAL_BEGIN) {
        dropped = true;
        rest = block.split_once(INTERNAL_END).map_or("", |(_, after)| after.trim_start());
    }
    let lines = rest.lines().map(unstamped).filter(|line| !line.starts_with(RUNTIME));
    let mut kept = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    let mut polled = false;
    while let Some(after) = kept.strip_prefix(HEARTBEAT_POLL) {
        polled = true;
        kept = after.trim_start().to_owned();
    }
    let mut queued = false;
    if kept.starts_with(QUEUED_BEGIN)
        && let Some((_, message)) = kept.split_once('\n')
    {
        let end = message.find(QUEUED_END).unwrap_or(message.len());
        kept = message[..end].trim().to_owned();
        queued = true;
    }
    match kept.is_empty() {
        true if polled => UserText::Poll,
        true if dropped => UserText::Internal,
        _ if kept.starts_with(NUDGE) => UserText::Nudge,
        _ => UserText::Said { text: kept, queued },
    }
}

/// Whether a text is the client's internal-context message.
pub fn is_internal(text: &str) -> bool {
    text.trim_start().starts_with(INTERNAL_BEGIN)
}

/// The `sessionId=` in the client's `Runtime:` line.
pub fn runtime_session(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with(RUNTIME))?;
    let id = line.split(" | ").find_map(|field| field.trim().strip_prefix("sessionId="))?;
    Some(id).filter(|id| !id.is_empty())
}

/// What a user message says: its text, or the texts of its parts; `None` where it has neither.
pub fn said(content: &Value) -> Option<UserText> {
    match content {
        Value::String(text) => Some(user_text(text)),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            Some(user_text(&texts.join("\n")))
        }
        _ => None,
    }
}

/// The command that a user's words are (as [`UserText::Said`] has them): `/good` or `/bad`, and
/// what stands behind it, which says what should have been done.
pub fn command(said: &str) -> Option<(Rating, Option<&str>)> {
    let said = said.trim();
    let (name, text) = said.split_once(char::is_whitespace).unwrap_or((said, ""));
    let rating = match name {
        "/good" => Rating::Up,
        "/bad" => Rating::Down,
        _ => return None,
    };
    Some((rating, Some(text.trim()).filter(|text| !text.is_empty())))
}

/// A line without its leading `[Sun 2026-11-22 06:16 UTC] `.
fn unstamped(line: &str) -> &str {
    let Some(open) = line.strip_prefix('[') else { return line };
    let (stamp, rest) = open.split_once(']').unwrap_or_default();
    if is_stamp(stamp) { rest.strip_prefix(' ').unwrap_or(rest) } else { line }
}

/// Whether this is `Sun 2026-11-22 06:16 UTC`: a weekday, a date, a time and a zone.
fn is_stamp(text: &str) -> bool {
    const SHAPE: &[u8] = b"aaa 9999-99-99 99:99 ";
    let bytes = text.as_bytes();
    bytes.len() > SHAPE.len()
        && bytes.len() < SHAPE.len() + 12
        && SHAPE.iter().zip(bytes).all(|(shape, byte)| match shape {
            b'a' => byte.is_ascii_alphabetic(),
            b'9' => byte.is_ascii_digit(),
            exact => exact == byte,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, queued: bool) -> UserText {
        UserText::Said { text: text.to_owned(), queued }
    }

    #[test]
    fn what_the_client_puts_around_a_message_is_taken_off() {
        let queued = "[Queued user message from a previous active turn; preserved.]\nDo it\n\n\
                      Continue the current task from the existing transcript, preserving work.";
        for (text, expected) in [
            (
                "[Sun 2026-11-22 06:16 UTC] Hi\nthere\n\nRuntime: agent=a | x",
                said("Hi\nthere", false),
            ),
            (
                "[Sun 2026-11-22 06:20 UTC] [OpenClaw heartbeat poll]\nAnd now?",
                said("And now?", false),
            ),
            ("[Sun 2026-11-22 06:20 UTC] [OpenClaw heartbeat poll]", UserText::Poll),
            ("[Mon 2026-11-23 06:20 UTC] The previous attempt did not produce a", UserText::Nudge),
            (queued, said("Do it", true)),
            ("", said("", false)),
        ] {
            assert_eq!(user_text(text), expected, "{text}");
        }
        let internal = format!("{INTERNAL_BEGIN}\nx\n{INTERNAL_END}");
        assert_eq!(user_text(&internal), UserText::Internal);
        assert_eq!(user_text(&format!("{internal}\n\nHi")), said("Hi", false));
        assert!(is_internal(&internal) && !is_internal("x"));
    }

    #[test]
    fn brackets_that_are_no_stamp_stay() {
        for text in
            ["[1] first", "[Sun] day", "[x", "[]", "]", "[Sun 2026-11-22] a", "", "é]", "[é]"]
        {
            assert_eq!(unstamped(text), text);
        }
        assert_eq!(unstamped("[Sun 2026-11-22 06:16 UTC] a"), "a");
        assert_eq!(unstamped("[Sun 2026-11-22 06:16 GMT+1] a"), "a");
        assert_eq!(unstamped("[Sun 2026-11-22 06:16 UTC]"), "");
        assert_eq!(unstamped("[Sun 2026-11-22 06:16 é] a"), "a");
    }

    #[test]
    fn the_session_stands_in_the_runtime_line() {
        let line = "a\nRuntime: agent=main | session=m | sessionId=s1 | x";
        assert_eq!(runtime_session(line), Some("s1"));
        assert_eq!(runtime_session("Runtime: agent=main | sessionId= | x"), None);
        assert_eq!(runtime_session("sessionId=s1"), None);
    }

    #[test]
    fn commands_are_words_of_their_own() {
        assert_eq!(command(" /good "), Some((Rating::Up, None)));
        assert_eq!(
            command("/bad use metric\nunits"),
            Some((Rating::Down, Some("use metric\nunits")))
        );
        assert_eq!(command("/bad\n\nin French"), Some((Rating::Down, Some("in French"))));
        for text in ["/goodness", "/badly", "good", "it is /bad", "/", "", "/ bad"] {
            assert_eq!(command(text), None, "{text}");
        }
    }
}
