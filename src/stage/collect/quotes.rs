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
        let reply = beginning(&request.reply_text);
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
