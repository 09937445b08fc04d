//! A request while it is placed.

use serde_json::Value;

use crate::rollout::TurnStatus;
use crate::store::TurnText;

use super::clean::{self, Clean, Conversation, Digest, Role};
use super::place::{self, Stated};

/// A last message and its reply with fewer bytes than this may stand in any conversation.
const TAIL_BYTES_MIN: usize = 32;

/// A request while it is being placed.
pub struct Request<'a> {
    pub turn: &'a TurnText,
    pub conversation: Conversation,
    /// Digests of its prefixes.
    pub chain: Vec<Digest>,
    pub system: Digest,
    pub stated: Stated,
    pub has_tools: bool,
    /// The reply, as a later request will show it.
    pub reply: Clean,
    /// [`Request::tail`] of the last reply that stands in the request.
    pub earlier_tail: Option<Digest>,
}

impl<'a> Request<'a> {
    pub fn new(turn: &'a TurnText) -> Self {
        let conversation = Conversation::parse(&turn.messages).unwrap_or_default();
        let chain = conversation.prefixes(&turn.user);
        let system = clean::digest(&conversation.system);
        let stated = place::stated(&turn.session_keys, &conversation);
        let has_tools = !matches!(turn.tools.trim(), "" | "[]" | "null");
        let reply = clean::reply(&turn.reply);
        let earlier_tail = earlier_tail(&turn.user, &conversation.messages);
        Self { turn, conversation, chain, system, stated, has_tools, reply, earlier_tail }
    }

    /// The user gave a command, and no reply of the model's was wanted.
    pub fn is_command(&self) -> bool {
        self.turn.status == TurnStatus::Command || self.conversation.command.is_some()
    }

    pub fn named(&self) -> bool {
        self.stated.session.is_some()
    }

    /// Whether its client may send nothing but what is new, and not the conversation so far.
    pub fn may_lack_history(&self) -> bool {
        self.stated.session.as_ref().is_some_and(|(_, rule)| place::NO_HISTORY.contains(rule))
    }

    pub fn len(&self) -> usize {
        self.conversation.messages.len()
    }

    pub fn history(&self) -> Digest {
        self.chain.last().copied().unwrap_or_default()
    }

    pub fn continuation(&self) -> Digest {
        clean::extend(&self.history(), &self.reply.digest)
    }

    /// Digest of the last cleaned message.
    pub fn last(&self) -> Option<Digest> {
        self.conversation.messages.last().map(|message| message.digest)
    }

    pub fn is_answer(&self, at: usize) -> bool {
        self.conversation.messages.get(at).is_some_and(|m| m.role == Role::Assistant)
    }

    /// Number of cleaned messages up to and with the last reply in it.
    pub fn answered(&self) -> usize {
        (0..self.len()).rev().find(|at| self.is_answer(*at)).map_or(0, |at| at + 1)
    }

    /// The generation that the client states, else a digest of the first user message.
    pub fn generation(&self) -> String {
        self.stated.generation.clone().unwrap_or_else(|| self.first_words())
    }

    /// Digest of the first user message.
    pub fn first_words(&self) -> String {
        let messages = &self.conversation.messages;
        let user = messages.iter().find(|message| message.role == Role::User);
        user.map_or_else(|| "0".to_owned(), |message| clean::short_hex(&message.digest))
    }

    /// The end of the conversation with this reply, by which it is found where its beginning was
    /// cut off or rewritten.
    pub fn tail(&self) -> Option<Digest> {
        let last = self.conversation.messages.last()?;
        let long = last.text.len() + self.reply.text.len() >= TAIL_BYTES_MIN;
        long.then(|| tail(&self.turn.user, &last.digest, &self.reply.digest))
    }
}

fn earlier_tail(user: &str, messages: &[Clean]) -> Option<Digest> {
    let at = messages.iter().rposition(|message| message.role == Role::Assistant)?;
    let asked = messages.get(at.checked_sub(1)?)?;
    Some(tail(user, &asked.digest, &messages[at].digest))
}

fn tail(user: &str, asked: &Digest, reply: &Digest) -> Digest {
    clean::extend(&clean::extend(&clean::digest(user), asked), reply)
}

/// What follows the first `count` cleaned messages of the request; `None` if nothing does.
///
/// It ends at a further reply, which answered housekeeping in between (a reminder, say): what the
/// user says after that one reacts to it.
pub fn next_state(request: &Request<'_>, count: usize) -> Option<String> {
    let after = request.conversation.after(count);
    (!after.is_empty()).then(|| Value::from(after).to_string())
}
