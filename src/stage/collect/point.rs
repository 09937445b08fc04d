//! A turn of a session, as later requests may refer to it.

use std::mem;

use crate::rollout::{ClosedBy, FinishReason, Rated, Rollout, TurnId};

use super::change::{self, Change, Late};
use super::clean::{self, Clean, Digest, Role};
use super::place::{Again, Repetition};
use super::request::Request;

/// A turn of a session: digests of what it said, what is known of it, and its row while the text
/// is held.
#[derive(Debug)]
pub struct Point {
    pub turn_id: TurnId,
    pub received_at_us: i64,
    pub finished_at_us: i64,
    /// The message that a chat page made of it.
    pub message: Option<String>,
    pub history: Digest,
    /// Digest of the history with the reply.
    pub continuation: Digest,
    pub reply: Digest,
    /// Digest of the reply's tool calls.
    calls: Option<Digest>,
    /// Digest of the last message of the history.
    pub last: Option<Digest>,
    /// See [`Request::tail`].
    pub tail: Option<Digest>,
    pub system: Digest,
    /// Number of cleaned messages of the history.
    pub count: usize,
    /// Its history holds no reply that is known: another conversation may begin with it too.
    pub begins: bool,
    /// Its request holds no reply at all.
    pub bare: bool,
    /// The reply holds neither text nor calls.
    pub empty: bool,
    pub cancelled: bool,
    /// The turn that it repeats, and why.
    pub again: Option<(TurnId, Again)>,
    /// No request went past it.
    pub waiting: bool,
    /// A later request holds its reply.
    pub continued: bool,
    /// A later request went on without its reply.
    pub left_out: bool,
    has_next: bool,
    regenerated: u32,
    /// Times that another conversation may have begun with the same words, or another reply
    /// may have been asked for.
    unsure: u32,
    /// Everything that is known, while the text is held.
    pub row: Option<Box<Rollout>>,
}

impl Point {
    pub fn new(request: &Request<'_>, again: Option<(TurnId, Again)>, row: Rollout) -> Self {
        let turn = request.turn;
        Self {
            turn_id: turn.turn_id,
            received_at_us: turn.received_at_us,
            finished_at_us: turn.finished_at_us,
            message: request.stated.message.clone(),
            history: request.history(),
            continuation: request.continuation(),
            reply: request.reply.digest,
            calls: request.reply.calls,
            last: request.last(),
            tail: request.tail(),
            system: request.system,
            count: request.len(),
            begins: false,
            bare: request.answered() == 0,
            empty: request.reply.text.is_empty() && request.reply.calls.is_none(),
            cancelled: turn.finish_reason == FinishReason::Cancelled,
            again,
            waiting: true,
            continued: false,
            left_out: false,
            has_next: false,
            regenerated: 0,
            unsure: 0,
            row: Some(Box::new(row)),
        }
    }

    pub fn is_open(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.closed_by.is_none())
    }

    /// Bytes of its text that are held.
    pub fn text_bytes(&self) -> usize {
        let bytes = |row: &Rollout| {
            row.messages.len() + row.reply.len() + row.next_state.as_ref().map_or(0, String::len)
        };
        self.row.as_deref().map_or(0, bytes)
    }

    /// Number of cleaned messages of `request` up to and with this turn's reply, where the reply
    /// stands in it as it was given.
    pub fn position(&self, request: &Request<'_>) -> Option<usize> {
        let after = self.count + 1;
        if request.chain.get(after) == Some(&self.continuation) {
            return Some(after);
        }
        if !request.named() {
            let by_tail = self.tail.is_some() && self.tail == request.earlier_tail;
            return by_tail.then(|| request.answered());
        }
        let mut messages = request.conversation.messages.iter();
        let given =
            |message: &Clean| message.role == Role::Assistant && message.digest == self.reply;
        messages.rposition(given).filter(|_| !self.empty).map(|at| at + 1)
    }

    /// The same, where the client may have rewritten the reply.
    pub fn loose_position(&self, request: &Request<'_>) -> Option<usize> {
        if !request.named() {
            return self.was_rewritten(request).then_some(self.count + 1);
        }
        let messages = &request.conversation.messages;
        let asked = messages.iter().rposition(|message| Some(message.digest) == self.last)?;
        let answer = messages[asked..].iter().position(|m| m.role == Role::Assistant)?;
        let at = asked + answer;
        // Of a reply that was cut off, something else may have taken the place.
        let is_it = !self.cancelled || self.is_kept_as(&messages[at]);
        is_it.then_some(at + 1)
    }

    /// Whether the reply that stands as cleaned message `at` of `request` is this turn's, and not
    /// this point's although it looks like it.
    fn owns(&self, request: &Request<'_>, at: usize, point: &Self) -> bool {
        if self.turn_id == point.turn_id {
            return false;
        }
        let answers = self.count == at && request.chain.get(at) == Some(&self.history);
        let messages = &request.conversation.messages;
        let given = messages.get(at).is_some_and(|message| message.digest == self.reply);
        answers && self.history != point.history
            || given && self.reply != point.reply && !self.empty && self.last == point.last
    }

    /// The client kept this reply, but trimmed it or took something out.
    pub fn was_rewritten(&self, request: &Request<'_>) -> bool {
        if request.chain.get(self.count) != Some(&self.history) {
            return false;
        }
        let message = request.conversation.messages.get(self.count);
        message.is_some_and(|message| message.role == Role::Assistant && self.is_kept_as(message))
    }

    /// Whether a client may have made `kept` of this reply.
    fn is_kept_as(&self, kept: &Clean) -> bool {
        if self.calls.is_some() && self.calls == kept.calls {
            return true;
        }
        let Some(row) = &self.row else { return false };
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let (given, kept) = (bare(&clean::reply(&row.reply).text), bare(&kept.text));
        !kept.is_empty() && !given.is_empty() && (given.contains(&kept) || kept.contains(&given))
    }

    /// Whether `request` goes on with what was said up to here.
    pub fn is_gone_on_with_by(&self, request: &Request<'_>) -> bool {
        self.count > 0 && request.chain.get(self.count) == Some(&self.history)
            || self.position(request).is_some()
    }

    /// Whether `request` asks again for what this turn answered.
    pub fn is_repeated_by(&self, request: &Request<'_>, idle_us: i64) -> bool {
        if request.history() == self.history {
            let begins = !request.named() && self.begins;
            let quiet_us = request.turn.received_at_us.saturating_sub(self.finished_at_us);
            return !begins
                || request.system == self.system && !self.continued && quiet_us < idle_us;
        }
        if !self.waiting {
            return false;
        }
        match self.position(request).or_else(|| self.loose_position(request)) {
            Some(position) => position == request.len(),
            None => request.named() && self.last.is_some() && request.last() == self.last,
        }
    }

    /// Why a request that asks again does so.
    pub fn why_again(&self, request: &Request<'_>, agent: bool) -> Again {
        let stated = &request.stated;
        let same_request =
            stated.choice.is_some() && request.turn.received_at_us == self.received_at_us;
        let messages = self.message.as_ref().zip(stated.message.as_ref());
        let given = || self.position(request).or_else(|| self.loose_position(request));
        Repetition {
            choice: same_request || stated.choice.is_some_and(|choice| choice > 0),
            queued: request.conversation.queued,
            nudged: request.conversation.nudged,
            sdk_retry: stated.sdk_retry,
            same_message: messages.map(|(earlier, later)| earlier == later),
            failed: self.cancelled || self.empty,
            agent,
            holds_reply: request.history() != self.history && given().is_some(),
            pause_us: request.turn.received_at_us.saturating_sub(self.finished_at_us),
        }
        .why()
    }

    /// Closes it, if it is open.
    pub fn close(&mut self, by: ClosedBy, at_us: i64) -> Option<Change> {
        let row = self.row.as_mut().filter(|row| row.closed_by.is_none())?;
        row.closed_by = Some(by);
        row.closed_at_us = Some(at_us);
        row.abandoned |= self.left_out;
        Some(Change::Row((**row).clone()))
    }

    /// The client left it out, or it was not heard to its end. A reply that another one was wanted
    /// for and gone on with stays left out, whatever is said of it later.
    const fn is_abandoned(&self) -> bool {
        self.cancelled || self.left_out && (!self.has_next || self.regenerated > 0)
    }

    /// A request went past it: `next` is what followed its reply. Its text is dropped.
    pub fn pass(&mut self, next: Option<String>, by: ClosedBy, at_us: i64) -> Option<Change> {
        self.waiting = false;
        let news = !self.has_next && next.is_some();
        self.has_next |= news;
        let abandoned = self.is_abandoned();
        let replaced = abandoned && self.regenerated > 0;
        let regenerated = self.regenerated;
        let Some(mut row) = self.row.take() else {
            let about = Late::about(self.turn_id);
            let late = Late { next_state: next, abandoned, regenerated, ..about };
            return (news || replaced).then_some(Change::Late(late));
        };
        let open = row.closed_by.is_none();
        if open {
            row.closed_by = Some(by);
            row.closed_at_us = Some(at_us);
        }
        if news {
            row.next_state = next;
        }
        let replaced = replaced && !row.abandoned;
        row.abandoned = abandoned;
        (open || news || replaced).then_some(Change::Row(*row))
    }

    /// Adds an explicit verdict.
    pub fn rate(&mut self, rated: Rated) -> Option<Change> {
        match self.row.as_mut() {
            Some(row) => change::rate(row, rated).then(|| Change::Row((**row).clone())),
            None => Some(Change::Late(Late { rated: Some(rated), ..Late::about(self.turn_id) })),
        }
    }

    /// Another reply was asked for in place of this one; `sure` says that it cannot be another
    /// conversation that began with the same words.
    pub fn regenerate(&mut self, sure: bool) -> Option<Change> {
        if !sure {
            self.unsure += 1;
            return None;
        }
        self.count_regenerated(1)
    }

    /// Its session idles out, and another reply to the same words was gone on with: if this one was
    /// not, the user wanted that one. A row that is open yet is for the caller to close.
    pub fn settle(&mut self) -> Option<Change> {
        if !self.waiting || self.continued {
            return None;
        }
        self.left_out = true;
        let unsure = mem::take(&mut self.unsure);
        let open = self.is_open();
        let known = self.row.as_ref().is_some_and(|row| row.abandoned);
        if let Some(row) = self.row.as_mut() {
            row.abandoned = true;
        }
        if unsure == 0 && (known || self.regenerated == 0) {
            return None;
        }
        self.count_regenerated(unsure).filter(|_| !open)
    }

    fn count_regenerated(&mut self, times: u32) -> Option<Change> {
        self.regenerated += times;
        let (regenerated, abandoned) = (self.regenerated, self.left_out);
        Some(match self.row.as_mut() {
            Some(row) => {
                row.regenerated = regenerated;
                Change::Row((**row).clone())
            }
            None => Change::Late(Late { regenerated, abandoned, ..Late::about(self.turn_id) }),
        })
    }
}

/// Which of the waiting turns the request goes on with, and behind how many of its cleaned
/// messages: the first whose reply stands in it as it was given, else the last whose reply may.
/// A reply that was another turn's is not taken for it.
pub fn kept(points: &[Point], request: &Request<'_>, strict: bool) -> Option<(usize, usize)> {
    let waiting = || points.iter().enumerate().filter(|(_, point)| point.waiting);
    let own = |(at, count): (usize, usize)| {
        let others = || points.iter().any(|other| other.owns(request, count - 1, &points[at]));
        (count > 0 && !others()).then_some((at, count))
    };
    let found = waiting().find_map(|(at, point)| own((at, point.position(request)?)));
    if found.is_some() || strict {
        return found;
    }
    waiting().rev().find_map(|(at, point)| own((at, point.loose_position(request)?)))
}

/// The last turn that was passed without a next state and that the request goes on with all the
/// same: the user turned back to it.
pub fn returned_to(points: &[Point], request: &Request<'_>) -> Option<(usize, usize)> {
    let returned = points.iter().enumerate().filter(|(_, point)| {
        let goes_on = request.chain.get(point.count + 1) == Some(&point.continuation);
        !point.waiting && !point.has_next && !point.empty && goes_on
    });
    returned.map(|(at, point)| (at, point.count + 1)).max_by_key(|(_, count)| *count)
}
