//! The pure core of `collect`: turns and verdicts in, changes out. No I/O and no clock.
//!
//! Time is what the turns say it is. Feeding the same turns and verdicts again gives the same
//! rows, so a restart is a replay. A turn has a row when it is placed, and a further one, which
//! holds all that is known, whenever something is added:
//!
//! - A session that the client **names** is a line: a main request closes what waits in it.
//! - A session found by what it **says** may branch (edits, regenerated replies, two users who
//!   begin with the same words): a request closes only what lies on its own path.
//!
//! A turn's next state is what follows *its* reply in the request that continues it. Where a
//! request was sent twice, both replies wait, and the one that the client kept gets it. Where a
//! request belongs never depends on what was closed meanwhile, so that a session may be resumed.

use std::collections::{BTreeSet, HashMap};
use std::mem;

use crate::rollout::{ClosedBy, Feedback, Rated, TurnId, TurnKind, TurnStatus};
use crate::store::TurnText;

use super::change::{Change, Late};
use super::clean::Digest;
use super::place::{self, Again, Signs};
use super::point::Point;
use super::quotes::Quotes;
use super::request::Request;
use super::session::{Listed, Session};

/// The bounds of what is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Microseconds without a request after which a session's turns are closed.
    pub idle_us: i64,
    /// Sessions that are remembered; beyond it the one that was quiet longest is forgotten.
    pub sessions: usize,
    /// Bytes of text that are held for turns that may still change; beyond it the session that was
    /// quiet longest is closed and its text dropped.
    pub text_bytes: usize,
}

/// Every session that is known.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    next_slot: u64,
    slots: HashMap<u64, Session>,
    /// Named sessions, by user and id.
    named: HashMap<(String, String), u64>,
    /// Sessions found by what they say, by the digests of their turns.
    said: Said,
    quotes: Quotes,
    /// Sessions by the turns whose text is held.
    held: HashMap<TurnId, u64>,
    /// Sessions with open turns, by the time they were last seen.
    active: BTreeSet<(i64, u64)>,
    /// Sessions whose text is held, by the time they were last seen.
    texts: BTreeSet<(i64, u64)>,
    /// All sessions, by the time they were last seen.
    seen: BTreeSet<(i64, u64)>,
    open: usize,
    text_bytes: usize,
}

/// Sessions by the digests of what was said in them.
#[derive(Debug, Default)]
struct Said {
    /// A history with its reply.
    continuations: HashMap<Digest, u64>,
    /// A history without its reply.
    histories: HashMap<Digest, u64>,
    /// The last message and its reply.
    tails: HashMap<Digest, u64>,
}

/// Where a request belongs.
struct Found {
    slot: Option<u64>,
    rule: &'static str,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next_slot: 0,
            slots: HashMap::new(),
            named: HashMap::new(),
            said: Said::default(),
            quotes: Quotes::default(),
            held: HashMap::new(),
            active: BTreeSet::new(),
            texts: BTreeSet::new(),
            seen: BTreeSet::new(),
            open: 0,
            text_bytes: 0,
        }
    }

    /// Turns that wait for their next state.
    pub const fn open_turns(&self) -> usize {
        self.open
    }

    /// Sessions that are remembered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of text that are held.
    pub const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Places a turn; gives its own row and those of the turns of which it tells something.
    /// A turn that is not to be trained on leaves nothing.
    ///
    /// Turns are to be fed in the order in which they were finished, which is that of the store's
    /// segments.
    pub fn take(&mut self, turn: &TurnText) -> Vec<Change> {
        let mut out = self.close_idle(turn.received_at_us);
        if turn.status == TurnStatus::DoNotTrain {
            return out;
        }
        let request = Request::new(turn);
        let found = self.find(&request);
        if request.is_command() {
            self.command(&request, &found, &mut out);
        } else if let Some((quoted, rule)) = self.side(&request, &found) {
            let slot = found.slot.or(quoted);
            self.aside(&request, slot, &found, rule, &mut out);
        } else {
            self.main(&request, found, &mut out);
        }
        self.forget_beyond_limits(turn.received_at_us, &mut out);
        out
    }

    /// Takes an explicit verdict.
    pub fn feedback(&mut self, feedback: &Feedback) -> Vec<Change> {
        let Feedback { turn_id, rated, .. } = feedback;
        let slot = self.held.get(turn_id).copied();
        let session = slot.and_then(|slot| self.slots.get_mut(&slot));
        let Some(point) = session.and_then(|session| session.point(*turn_id)) else {
            let late = Late { rated: Some(rated.clone()), ..Late::about(*turn_id) };
            return vec![Change::Late(late)];
        };
        let change = point.rate(rated.clone());
        slot.into_iter().for_each(|slot| self.list(slot));
        change.into_iter().collect()
    }

    /// Closes the sessions that have been quiet for the idle time-out.
    pub fn close_idle(&mut self, now_us: i64) -> Vec<Change> {
        let mut out = Vec::new();
        while let Some(&(seen, slot)) = self.active.first() {
            let at = seen.saturating_add(self.limits.idle_us);
            if at > now_us {
                break;
            }
            self.with(slot, |session| session.settle(&mut out));
            self.close_session(slot, ClosedBy::IdleTimeout, at, &mut out);
        }
        out
    }

    /// Closes everything that is open.
    pub fn close_all(&mut self, now_us: i64, by: ClosedBy) -> Vec<Change> {
        let mut out = Vec::new();
        while let Some(&(_, slot)) = self.active.first() {
            self.close_session(slot, by, now_us, &mut out);
        }
        out
    }

    fn close_session(&mut self, slot: u64, by: ClosedBy, at: i64, out: &mut Vec<Change>) {
        if let Some(session) = self.slots.get_mut(&slot) {
            session.close(by, at, out);
        }
        self.list(slot);
    }

    fn find(&self, request: &Request<'_>) -> Found {
        if let Some((id, rule)) = &request.stated.session {
            let slot = self.named.get(&(request.turn.user.clone(), id.clone())).copied();
            return Found { slot, rule };
        }
        if request.len() == 0 {
            return Found { slot: None, rule: "new" };
        }
        let by_prefix = self.asked_before(request).or_else(|| self.longest_prefix(request));
        if let Some(slot) = by_prefix {
            return Found { slot: Some(slot), rule: "prefix" };
        }
        let tail = request.earlier_tail;
        let by_tail = tail.and_then(|tail| self.said.tails.get(&tail).copied());
        if let Some(slot) = by_tail {
            return Found { slot: Some(slot), rule: "tail" };
        }
        let slot = self.replaced_reply(request);
        Found { slot, rule: if slot.is_some() { "prefix" } else { "new" } }
    }

    /// The session in which the same was asked before, unless the request goes on with a reply
    /// that nothing went on with yet: then it is the first to ask.
    fn asked_before(&self, request: &Request<'_>) -> Option<u64> {
        let slot = *self.said.histories.get(&request.history())?;
        let answered = request.answered();
        if answered > 0
            && let Some(parent) = self.said.continuations.get(&request.chain[answered])
        {
            let points = &self.slots[parent].points;
            let parent = |p: &&Point| p.continuation == request.chain[answered];
            if points.iter().filter(parent).any(|point| !point.continued) {
                return None;
            }
        }
        self.slots[&slot].repeated(request, self.limits.idle_us).map(|_| slot)
    }

    /// The session whose history and reply are the longest prefix of the request.
    fn longest_prefix(&self, request: &Request<'_>) -> Option<u64> {
        (1..=request.len()).rev().find_map(|count| {
            if let Some(slot) = self.said.continuations.get(&request.chain[count]) {
                return Some(*slot);
            }
            let slot = self.said.histories.get(&request.chain[count - 1])?;
            let mut points = self.slots[slot].points.iter();
            let rewritten = |point: &Point| {
                point.waiting && point.count == count - 1 && point.was_rewritten(request)
            };
            points.any(rewritten).then_some(*slot)
        })
    }

    /// The session whose history is a prefix of the request, where another reply stands behind it
    /// than was given. One message alone is no history: others begin with the same words.
    fn replaced_reply(&self, request: &Request<'_>) -> Option<u64> {
        (2..request.len()).rev().find_map(|count| {
            let slot = self.said.histories.get(&request.chain[count])?;
            request.is_answer(count).then_some(*slot)
        })
    }

    /// The rule that makes the request side, and the session that it quotes.
    fn side(
        &mut self,
        request: &Request<'_>,
        found: &Found,
    ) -> Option<(Option<u64>, &'static str)> {
        let session = found.slot.map(|slot| &self.slots[&slot]);
        let mut points = session.iter().flat_map(|session| &session.points);
        let signs = Signs {
            has_tools: request.has_tools,
            seen: session.map(|session| session.marks).unwrap_or_default(),
            named: request.named(),
            continues: points.any(|point| point.is_gone_on_with_by(request)),
            quotes: false,
            subagent: request.stated.subagent,
            stated: request.stated.kind,
        };
        let elsewhere = request.named() && found.slot.is_none();
        let quoted = match elsewhere {
            true => None,
            false => self.quotes.quoted_by(request),
        };
        let quoted = quoted.filter(|slot| !request.named() || found.slot == Some(*slot));
        let signs = Signs { quotes: quoted.is_some(), ..signs };
        place::side(&request.conversation, signs).map(|rule| (quoted, rule))
    }

    /// A main turn.
    fn main(&mut self, request: &Request<'_>, found: Found, out: &mut Vec<Change>) {
        let slot = found.slot.unwrap_or_else(|| self.insert(Session::new(request)));
        let again = self.slots[&slot].again(request, self.limits.idle_us);
        let slot = match again {
            Some((original, why)) => {
                self.with(slot, |session| {
                    if why == Again::Regenerated {
                        session.regenerate(request, original, out);
                    }
                    session.go_back(request, out);
                });
                slot
            }
            None if request.named() => {
                self.with(slot, |session| session.continue_line(request, out));
                slot
            }
            None => self.continue_path(slot, request, out),
        };
        let placed_by = match again {
            Some((_, why)) => format!("{};{}", found.rule, why.name()),
            None => found.rule.to_owned(),
        };
        let Some(session) = self.slots.get_mut(&slot) else { return };
        let forgotten = session.add(request, placed_by, again, out);
        for point in forgotten {
            self.forget_point(&point, slot);
        }
        self.held.insert(request.turn.turn_id, slot);
        self.quotes.note(slot, request);
        if !request.named() {
            self.said.continuations.insert(request.continuation(), slot);
            self.said.histories.insert(request.history(), slot);
            request.tail().into_iter().for_each(|tail| {
                self.said.tails.insert(tail, slot);
            });
        }
        self.list(slot);
        if request.stated.done {
            self.close_session(slot, ClosedBy::SessionEnd, request.turn.finished_at_us, out);
        }
    }

    /// Closes what lies on the path of a request that was found by what it says. Gives the session
    /// that it goes on in: a new one where two conversations began alike.
    fn continue_path(&mut self, slot: u64, request: &Request<'_>, out: &mut Vec<Change>) -> u64 {
        let session = &self.slots[&slot];
        let Some((at, count)) = session.parent(request) else {
            self.with(slot, |session| session.replace_reply(request, out));
            return slot;
        };
        let turn = session.points[at].turn_id;
        let slot = match session.is_another_than(at) {
            true => self.branch(slot, at, request),
            false => slot,
        };
        self.with(slot, |session| {
            if let Some(at) = session.points.iter().position(|point| point.turn_id == turn) {
                session.continue_path(at, count, request, out);
            }
        });
        slot
    }

    /// Moves a turn of `slot` into a session of its own.
    fn branch(&mut self, slot: u64, at: usize, request: &Request<'_>) -> u64 {
        let Some(session) = self.slots.get_mut(&slot) else { return slot };
        let mut point = session.points.remove(at);
        point.again = None;
        let mut branch = Session::new(request);
        branch.marks = session.marks;
        branch.next_index = 1;
        if let Some(row) = &mut point.row {
            row.session_id.clone_from(&branch.id);
            row.turn_index = 0;
            row.retry_of = None;
            "new".clone_into(&mut row.placed_by);
        }
        let (turn, continuation, tail) = (point.turn_id, point.continuation, point.tail);
        branch.points.push(point);
        self.list(slot);
        let branch = self.insert(branch);
        self.held.entry(turn).and_modify(|slot| *slot = branch);
        self.said.continuations.insert(continuation, branch);
        tail.into_iter().for_each(|tail| {
            self.said.tails.insert(tail, branch);
        });
        branch
    }

    /// A command of the user: a verdict on the reply that stands before it.
    fn command(&mut self, request: &Request<'_>, found: &Found, out: &mut Vec<Change>) {
        let idle_us = self.limits.idle_us;
        let given_at_us = request.turn.received_at_us;
        let rated = request.conversation.command.as_ref().map(|(rating, text)| Rated {
            rating: *rating,
            text: text.clone(),
            given_at_us,
        });
        let session = found.slot.and_then(|slot| self.slots.get_mut(&slot));
        if let (Some(session), Some(rated)) = (session, rated) {
            session.seen_us = session.seen_us.max(request.turn.finished_at_us);
            let point = session.commanded(request, idle_us);
            out.extend(point.and_then(|point| point.rate(rated)));
        }
        self.aside(request, found.slot, found, "feedback", out);
    }

    /// A side turn: closed at once, and no concern of the session's line.
    fn aside(
        &mut self,
        request: &Request<'_>,
        slot: Option<u64>,
        found: &Found,
        why: &str,
        out: &mut Vec<Change>,
    ) {
        let placed_by = format!("{};{why}", found.rule);
        let mut apart = Session::new(request);
        apart.generation = request.stated.generation.clone().unwrap_or_else(|| "0".to_owned());
        let session = slot.and_then(|slot| self.slots.get_mut(&slot));
        let row = session.unwrap_or(&mut apart).row(request, TurnKind::Side, placed_by);
        out.push(Change::Row(row));
        if let Some(slot) = slot {
            self.list(slot);
            if request.stated.done {
                self.close_session(slot, ClosedBy::SessionEnd, request.turn.finished_at_us, out);
            }
        }
    }

    fn insert(&mut self, session: Session) -> u64 {
        let slot = self.next_slot;
        self.next_slot += 1;
        if session.named {
            self.named.insert((session.user.clone(), session.id.clone()), slot);
        }
        self.slots.insert(slot, session);
        self.list(slot);
        slot
    }

    fn with(&mut self, slot: u64, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.slots.get_mut(&slot) {
            change(session);
        }
        self.list(slot);
    }

    /// Brings the lists of all sessions up to date.
    fn list(&mut self, slot: u64) {
        let Some(session) = self.slots.get_mut(&slot) else { return };
        let new = session.listing();
        let old = mem::replace(&mut session.listed, new);
        for point in session.points.iter().filter(|point| point.row.is_none()) {
            self.held.remove(&point.turn_id);
        }
        self.unlist(slot, old);
        self.seen.insert((new.seen_us, slot));
        self.open += new.open;
        self.text_bytes += new.text_bytes;
        if new.open > 0 {
            self.active.insert((new.seen_us, slot));
        }
        if new.text_bytes > 0 {
            self.texts.insert((new.seen_us, slot));
        }
    }

    fn unlist(&mut self, slot: u64, listed: Listed) {
        let at = (listed.seen_us, slot);
        for times in [&mut self.seen, &mut self.active, &mut self.texts] {
            times.remove(&at);
        }
        self.open -= listed.open;
        self.text_bytes -= listed.text_bytes;
    }

    /// Takes a turn that is not remembered any more out of the lists.
    fn forget_point(&mut self, point: &Point, slot: u64) {
        self.held.remove(&point.turn_id);
        let points = self.slots.get(&slot).map_or(&[][..], |session| &session.points);
        let said = &mut self.said;
        for (list, digest, shared) in [
            (
                &mut said.continuations,
                Some(point.continuation),
                points.iter().any(|other| other.continuation == point.continuation),
            ),
            (
                &mut said.histories,
                Some(point.history),
                points.iter().any(|other| other.history == point.history),
            ),
            (&mut said.tails, point.tail, points.iter().any(|other| other.tail == point.tail)),
        ] {
            let Some(digest) = digest.filter(|_| !shared) else { continue };
            if list.get(&digest) == Some(&slot) {
                list.remove(&digest);
            }
        }
    }

    fn forget_beyond_limits(&mut self, now_us: i64, out: &mut Vec<Change>) {
        while self.text_bytes > self.limits.text_bytes {
            let Some(&(_, slot)) = self.texts.first() else { break };
            self.close_session(slot, ClosedBy::IdleTimeout, now_us, out);
            self.with(slot, |session| {
                session.points.iter_mut().for_each(|point| point.row = None);
            });
        }
        while self.slots.len() > self.limits.sessions.max(1) {
            let Some(&(_, slot)) = self.seen.first() else { break };
            self.close_session(slot, ClosedBy::IdleTimeout, now_us, out);
            let Some(session) = self.slots.remove(&slot) else { break };
            self.unlist(slot, session.listed);
            self.quotes.forget(slot);
            for point in &session.points {
                self.forget_point(point, slot);
            }
            if session.named {
                self.named.remove(&(session.user, session.id));
            }
        }
    }
}
