//! Conversations that were just held, as a chat page's own requests quote them.
//!
//! A page asks for a title, tags or follow-up questions right after a reply, in words of its own,
//! with the conversation quoted in one message of the user. No mark is needed to know that: nobody
//! pastes both sides of a conversation within a minute.

use std::collections::VecDeque;

use super::place;
use super::request::Request;

/// Conversations that are remembered.
const QUOTES_MAX: usize = 256;
/// Microseconds after a reply, or after the request before it that quoted it, in which one is
/// expected.
const WINDOW_US: i64 = 60_000_000;
/// Characters of a message that have to be quoted, at most.
const QUOTED_CHARS: usize = 48;
/// Characters of a reply that are enough to know it by.
const REPLY_CHARS_MIN: usize = 12;
/// The same where the user's message is shorter than this.
const WORDS_CHARS_MIN: usize = 8;
/// Bytes that a request says besides what it quotes, at least.
const OWN_BYTES_MIN: usize = 16;

#[derive(Debug)]
struct Quote {
    user: String,
    slot: u64,
    /// How the user's first and last message begin.
    words: [String; 2],
    /// How the reply begins.
    reply: String,
    /// When the reply, or the last request that quoted it, was finished.
    at_us: i64,
}

/// The conversations that were held last.
#[derive(Debug, Default)]
pub struct Quotes(VecDeque<Quote>);

impl Quotes {
    /// Remembers a main turn.
    pub fn note(&mut self, slot: u64, request: &Request<'_>) {
        self.forget(slot);
        let reply = beginning(&request.reply.text);
        if reply.chars().count() < REPLY_CHARS_MIN {
            return;
        }
        if self.0.len() == QUOTES_MAX {
            self.0.pop_front();
        }
        let conversation = &request.conversation;
        self.0.push_back(Quote {
            user: request.turn.user.clone(),
            slot,
            words: [beginning(&conversation.first_user), beginning(&conversation.last_user)],
            reply,
            at_us: request.turn.finished_at_us,
        });
    }

    /// The session whose conversation the request quotes.
    pub fn quoted_by(&mut self, request: &Request<'_>) -> Option<u64> {
        let conversation = &request.conversation;
        let alone = conversation.users == 1 && request.answered() == 0;
        if !alone || request.has_tools || place::is_agent(conversation) {
            return None;
        }
        let turn = request.turn;
        let mut recent = self.0.iter_mut().rev();
        let quote = recent.find(|quote| {
            quote.user == turn.user
                && (0..WINDOW_US).contains(&turn.received_at_us.saturating_sub(quote.at_us))
                && quote.is_in(&conversation.last_user)
        })?;
        quote.at_us = quote.at_us.max(turn.finished_at_us);
        Some(quote.slot)
    }

    /// Forgets a session.
    pub fn forget(&mut self, slot: u64) {
        self.0.retain(|quote| quote.slot != slot);
    }
}

impl Quote {
    /// Both sides stand in the text, the reply behind the user's words.
    fn is_in(&self, text: &str) -> bool {
        self.words.iter().any(|words| {
            let enough = words.chars().count() >= WORDS_CHARS_MIN
                || self.reply.chars().count() >= 2 * REPLY_CHARS_MIN;
            let own = text.len().saturating_sub(words.len() + self.reply.len());
            !words.is_empty()
                && enough
                && own >= OWN_BYTES_MIN
                && text
                    .find(words.as_str())
                    .is_some_and(|at| text[at + words.len()..].contains(&self.reply))
        })
    }
}

/// How a message begins: its first line, as far as it is wanted.
fn beginning(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().trim_end().chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rollout::{FinishReason, TurnId, TurnStatus};
    use crate::store::TurnText;

    const SECOND: i64 = 1_000_000;
    const WORDS: &str = "How do I keep slugs off the lettuce?";
    const REPLY: &str = "Sand around the bed\nkeeps them off.";

    fn turn(at_s: i64, messages: Value) -> TurnText {
        TurnText {
            turn_id: TurnId(at_s as u128),
            received_at_us: at_s * SECOND,
            finished_at_us: (at_s + 1) * SECOND,
            user: "ann".to_owned(),
            session_keys: "{}".to_owned(),
            messages: messages.to_string(),
            tools: String::new(),
            reply: json!({"role": "assistant", "content": REPLY}).to_string(),
            finish_reason: FinishReason::Stop,
            status: TurnStatus::Answered,
        }
    }

    fn user(text: &str) -> Value {
        json!([{"role": "user", "content": text}])
    }

    fn quotes() -> Quotes {
        let mut quotes = Quotes::default();
        quotes.note(7, &Request::new(&turn(100, user(WORDS))));
        quotes
    }

    fn quoted(turn: &TurnText) -> Option<u64> {
        quotes().quoted_by(&Request::new(turn))
    }

    #[test]
    fn a_page_that_quotes_both_sides_is_recognised_in_any_words() {
        for text in [
            format!("Name this talk.\nUSER: {WORDS}\nASSISTANT: {REPLY}"),
            format!("Benenne das: {{\"u\":\"{WORDS}\",\"a\":\"Sand around the bed\\nkeeps\"}}"),
        ] {
            assert_eq!(quoted(&turn(102, user(&text))), Some(7), "{text}");
        }
    }

    #[test]
    fn anything_less_is_the_user() {
        let both = format!("Name this talk.\nUSER: {WORDS}\nASSISTANT: {REPLY}");
        let other = |change: fn(&mut TurnText)| {
            let mut turn = turn(102, user(&both));
            change(&mut turn);
            turn
        };
        for (case, turn) in [
            ("its own words only", turn(102, user(&format!("Name this talk: {WORDS}")))),
            ("the reply only", turn(102, user(&format!("Why did you say {REPLY}?")))),
            ("the other way round", turn(102, user(&format!("Name this: {REPLY} {WORDS}")))),
            ("nothing else", turn(102, user(&format!("{WORDS}\nSand around the bed")))),
            ("too late", turn(162, user(&both))),
            ("another user", other(|turn| turn.user = "bob".to_owned())),
            ("with tools", other(|turn| turn.tools = "[{}]".to_owned())),
            (
                "a conversation",
                turn(
                    102,
                    json!([
                        {"role": "user", "content": WORDS},
                        {"role": "assistant", "content": REPLY},
                        {"role": "user", "content": both},
                    ]),
                ),
            ),
        ] {
            assert_eq!(quoted(&turn), None, "{case}");
        }
    }

    #[test]
    fn one_request_after_the_other_keeps_the_window_open() {
        let both = format!("Name this talk.\nUSER: {WORDS}\nASSISTANT: {REPLY}");
        let mut quotes = quotes();
        for at_s in [150, 205, 260] {
            assert_eq!(quotes.quoted_by(&Request::new(&turn(at_s, user(&both)))), Some(7));
        }
        assert_eq!(quotes.quoted_by(&Request::new(&turn(330, user(&both)))), None);
    }
}
