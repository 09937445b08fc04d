//! A request while it is placed, and a turn while it waits for what comes after it.

use serde_json::Value;

use crate::rollout::{FinishReason, Turn, TurnId};

use super::clean::{self, Clean, Conversation, Digest, Role};
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
    /// Number of cleaned messages of `request` up to and with this turn's reply, where the reply
    /// stands in it as it was given.
    pub fn position(&self, request: &Request<'_>, named: bool) -> Option<usize> {
        if !named {
            let after = self.count + 1;
            return (request.chain.get(after) == Some(&self.continuation)).then_some(after);
        }
        let mut messages = request.conversation.messages.iter();
        let given = |message: &Clean| {
            message.role == Role::Assistant && message.digest == self.reply_digest
        };
        messages.rposition(given).filter(|_| !self.empty).map(|at| at + 1)
    }

    /// The same, where the client may have rewritten the reply.
    pub fn loose_position(&self, request: &Request<'_>, named: bool) -> Option<usize> {
        if !named {
            return self.was_rewritten(request).then_some(self.count + 1);
        }
        let messages = &request.conversation.messages;
        if self.cancelled {
            return None;
        }
        let asked = messages.iter().rposition(|message| Some(message.digest) == self.last)?;
        let answer = messages[asked..].iter().position(|m| m.role == Role::Assistant)?;
        Some(asked + answer + 1)
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
        match self.position(request, named).or_else(|| self.loose_position(request, named)) {
            Some(position) => nothing_after(position),
            None => named && self.last.is_some() && messages.last().map(|m| m.digest) == self.last,
        }
    }
}

/// What follows the first `count` cleaned messages of the request; `None` if nothing does.
///
/// It ends at a further reply, which answered housekeeping in between (a heartbeat, say): what
/// the user says after that one reacts to it.
pub fn next_state(request: &Request<'_>, count: usize) -> Option<String> {
    let mut after = request.conversation.after(count);
    if let Some(further) = after.iter().position(|message| message["role"] == "assistant") {
        after.truncate(further);
    }
    (!after.is_empty()).then(|| Value::from(after).to_string())
}

/// Which of the open turns the request continues, and behind how many of its cleaned messages:
/// the first whose reply stands in it as it was given, else the last whose reply may.
pub fn kept(
    open: &[Open],
    request: &Request<'_>,
    named: bool,
    strict: bool,
) -> Option<(usize, usize)> {
    let mut given = open.iter().enumerate();
    let found = given.find_map(|(at, open)| Some((at, open.position(request, named)?)));
    if found.is_some() || strict {
        return found;
    }
    let mut loose = open.iter().enumerate().rev();
    loose.find_map(|(at, open)| Some((at, open.loose_position(request, named)?)))
}
