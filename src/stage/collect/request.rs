//! A request while it is placed, and a turn while it waits for what comes after it.

use serde_json::Value;

use crate::rollout::{FinishReason, Turn, TurnId};

use super::clean::{self, Conversation, Digest, Role};
use super::place::{self, Stated};

/// A turn whose next state is not known yet.
#[derive(Debug)]
pub struct Open {
    pub turn_id: TurnId,
    pub index: u32,
    pub placed_by: String,
    pub messages: String,
    pub reply: String,
    pub reply_text: String,
    pub reply_digest: Digest,
    /// The reply holds neither text nor calls.
    pub empty: bool,
    pub cancelled: bool,
    /// Digest of the system prompt.
    pub system: Digest,
    /// Number of cleaned messages of the request.
    pub count: usize,
    /// Digest of the last of them.
    pub last: Option<Digest>,
    pub history: Digest,
    pub continuation: Digest,
    pub retry_of: Option<TurnId>,
}

/// A request while it is being placed.
pub struct Request<'a> {
    pub turn: &'a Turn,
    pub conversation: Conversation,
    /// Digests of its prefixes.
    pub chain: Vec<Digest>,
    pub system: Digest,
    pub stated: Stated,
}

impl<'a> Request<'a> {
    pub fn new(turn: &'a Turn) -> Self {
        let conversation = Conversation::parse(&turn.messages).unwrap_or_default();
        let chain = conversation.prefixes(&turn.user);
        let system = clean::digest(&conversation.system);
        let stated = place::stated(&turn.session_keys, &conversation);
        Self { turn, conversation, chain, system, stated }
    }

    pub fn history(&self) -> Digest {
        self.chain.last().copied().unwrap_or_default()
    }

    /// The generation that the client states, else a digest of the first user message.
    pub fn generation(&self) -> String {
        let first = || {
            let messages = &self.conversation.messages;
            let user = messages.iter().find(|message| message.role == Role::User);
            user.map_or_else(|| "0".to_owned(), |message| clean::short_hex(&message.digest))
        };
        self.stated.generation.clone().unwrap_or_else(first)
    }

    pub fn open(&self, index: u32, placed_by: &str, retry_of: Option<TurnId>) -> Open {
        let (reply_text, reply_digest) = clean::reply(&self.turn.reply);
        let history = self.history();
        Open {
            turn_id: self.turn.turn_id,
            index,
            placed_by: placed_by.to_owned(),
            messages: self.turn.messages.clone(),
            reply: self.turn.reply.clone(),
            empty: reply_digest == clean::reply("{}").1,
            reply_text,
            reply_digest,
            cancelled: self.turn.finish_reason == FinishReason::Cancelled,
            system: self.system,
            count: self.conversation.messages.len(),
            last: self.conversation.messages.last().map(|message| message.digest),
            history,
            continuation: clean::extend(&history, &reply_digest),
            retry_of,
        }
    }
}

impl Open {
    /// Number of cleaned messages of `request` up to and with this turn's reply, in a session
    /// that is a line. `strict` finds the reply only where it stands as it was given.
    pub fn position_in_line(&self, request: &Request<'_>, strict: bool) -> Option<usize> {
        let messages = &request.conversation.messages;
        let given = |at: &usize| {
            messages[*at].role == Role::Assistant && messages[*at].digest == self.reply_digest
        };
        if !self.empty
            && let Some(at) = (0..messages.len()).rev().find(given)
        {
            return Some(at + 1);
        }
        if strict || self.cancelled {
            return None;
        }
        let asked = messages.iter().rposition(|message| Some(message.digest) == self.last)?;
        let answer = messages[asked..].iter().position(|m| m.role == Role::Assistant)?;
        Some(asked + answer + 1)
    }

    /// The same, in a session that was found by prefix.
    pub fn position_on_path(&self, request: &Request<'_>) -> Option<usize> {
        let after = self.count + 1;
        let given = request.chain.get(after) == Some(&self.continuation);
        (given || self.was_rewritten(request)).then_some(after)
    }

    /// The client kept this reply, but trimmed it or took something out.
    pub fn was_rewritten(&self, request: &Request<'_>) -> bool {
        let same_history = request.chain.get(self.count) == Some(&self.history);
        let message = request.conversation.messages.get(self.count);
        same_history
            && message.is_some_and(|message| {
                let kept = message.text.as_str();
                message.role == Role::Assistant
                    && !kept.is_empty()
                    && !self.reply_text.is_empty()
                    && (self.reply_text.contains(kept) || kept.contains(&self.reply_text))
            })
    }

    /// Whether `request` asks again for what this turn answered.
    pub fn is_repeated_by(&self, request: &Request<'_>, named: bool) -> bool {
        if request.history() == self.history {
            return named || request.system == self.system;
        }
        let messages = &request.conversation.messages;
        let nothing_after = |position: usize| position == messages.len();
        if !named {
            return self.position_on_path(request).is_some_and(nothing_after);
        }
        match self.position_in_line(request, false) {
            Some(position) => nothing_after(position),
            None => self.last.is_some() && messages.last().map(|m| m.digest) == self.last,
        }
    }
}

/// What follows the first `count` cleaned messages of the request; `None` if nothing does.
pub fn next_state(request: &Request<'_>, count: usize) -> Option<String> {
    let after = request.conversation.after(count);
    (!after.is_empty()).then(|| Value::from(after).to_string())
}
