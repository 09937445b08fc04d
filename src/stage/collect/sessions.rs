//! The pure core of `collect`: turns in, rollouts out. No I/O and no clock.
//!
//! Time is what the turns say it is. Feeding the same turns again gives the same rollouts, so a
//! restart is a replay. Each turn leaves exactly one rollout, when it is closed:
//!
//! - A session that the client **names** is a line: a main request closes what is open in it.
//! - A session found by **prefix** may branch (edits, regenerated replies, two users who begin
//!   with the same words): a request closes only what lies on its own path.
//!
//! A turn's next state is what follows *its* reply in the request that continues it. Where a
//! request was sent twice, both replies stay open, and the one that the client kept gets it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;

use crate::rollout::{ClosedBy, Rollout, Turn, TurnId, TurnKind};

use super::clean::Digest;
use super::place::{self, Seen};
use super::request::{Open, Request, kept, next_state};

/// Turns of one session that may wait for the same next state.
const OPEN_MAX: usize = 16;
/// Points of a session from which it can be found by prefix.
const POINTS_MAX: usize = 64;

/// The bounds of what is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Microseconds without a request after which a session's turns are closed.
    pub idle_us: i64,
    /// Sessions that are remembered; beyond it the one that was quiet longest is forgotten.
    pub sessions: usize,
}

/// Every session that is known.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    next_slot: u64,
    slots: HashMap<u64, Session>,
    /// Named sessions, by user and id.
    named: HashMap<(String, String), u64>,
    /// Sessions by the digest of a history with its reply.
    continuations: HashMap<Digest, u64>,
    /// Sessions by the digest of a history without its reply.
    histories: HashMap<Digest, u64>,
    /// Sessions with open turns, by the time they were last seen.
    active: BTreeSet<(i64, u64)>,
    /// All sessions, by the time they were last seen.
    seen: BTreeSet<(i64, u64)>,
}

#[derive(Debug)]
struct Session {
    user: String,
    id: String,
    generation: String,
    /// The client names it; else it was found by prefix.
    named: bool,
    next_index: u32,
    marks: Seen,
    open: Vec<Open>,
    points: VecDeque<Point>,
    seen_us: i64,
}

/// A turn of a session found by prefix, as later requests may refer to it.
#[derive(Debug)]
struct Point {
    turn_id: TurnId,
    history: Digest,
    continuation: Digest,
    continued: bool,
}

/// Where a request belongs.
struct Found {
    slot: Option<u64>,
    rule: &'static str,
    /// The open turn that it repeats.
    repeats: Option<TurnId>,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next_slot: 0,
            slots: HashMap::new(),
            named: HashMap::new(),
            continuations: HashMap::new(),
            histories: HashMap::new(),
            active: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Turns that wait for their next state.
    pub fn open_turns(&self) -> usize {
        self.active.iter().map(|(_, slot)| self.slots[slot].open.len()).sum()
    }

    /// Sessions that are remembered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Places a turn; gives the rollouts that it closes, its own among them if it is side.
    pub fn take(&mut self, turn: &Turn) -> Vec<Rollout> {
        let mut closed = self.close_idle(turn.received_at_us);
        let request = Request::new(turn);
        let found = self.find(&request);
        let marks = found.slot.map(|slot| self.slots[&slot].marks).unwrap_or_default();
        let has_tools = !matches!(turn.tools.trim(), "" | "[]" | "null");
        let side = place::side(&request.conversation, has_tools, marks, request.stated.kind);
        if let Some(rule) = side {
            closed.push(self.side_row(&request, &found, rule));
            if let Some(slot) = found.slot.filter(|_| request.stated.done) {
                self.close_session(slot, ClosedBy::SessionEnd, turn.finished_at_us, &mut closed);
            }
            return closed;
        }
        let slot = found.slot.unwrap_or_else(|| self.create(&request));
        let slot = match request.stated.session.is_some() {
            true => self.continue_line(slot, &request, found.repeats, &mut closed),
            false => self.continue_path(slot, &request, found.repeats, &mut closed),
        };
        self.add(slot, &request, &found, has_tools, &mut closed);
        if request.stated.done {
            let at = turn.finished_at_us;
            self.close_session(slot, ClosedBy::SessionEnd, at, &mut closed);
        }
        self.forget_beyond_limit(turn.received_at_us, &mut closed);
        closed
    }

    /// Closes the sessions that have been quiet for the idle time-out.
    pub fn close_idle(&mut self, now_us: i64) -> Vec<Rollout> {
        let mut closed = Vec::new();
        while let Some(&(seen, slot)) = self.active.first() {
            if seen.saturating_add(self.limits.idle_us) > now_us {
                break;
            }
            let at = seen.saturating_add(self.limits.idle_us);
            self.close_session(slot, ClosedBy::IdleTimeout, at, &mut closed);
        }
        closed
    }

    /// Closes everything as if it had idled out.
    pub fn close_all(&mut self, now_us: i64) -> Vec<Rollout> {
        let mut closed = Vec::new();
        while let Some(&(_, slot)) = self.active.first() {
            self.close_session(slot, ClosedBy::IdleTimeout, now_us, &mut closed);
        }
        closed
    }

    fn close_session(&mut self, slot: u64, by: ClosedBy, at: i64, closed: &mut Vec<Rollout>) {
        let Some(session) = self.slots.get_mut(&slot) else { return };
        for open in mem::take(&mut session.open) {
            closed.push(closed_row(open, session, None, by, at));
        }
        self.active.remove(&(session.seen_us, slot));
    }

    fn find(&self, request: &Request<'_>) -> Found {
        if let Some((id, rule)) = &request.stated.session {
            let slot = self.named.get(&(request.turn.user.clone(), id.clone())).copied();
            let repeats = slot.and_then(|slot| {
                let open = self.slots[&slot].open.iter();
                open.rev().find(|open| open.is_repeated_by(request, true)).map(|o| o.turn_id)
            });
            return Found { slot, rule, repeats };
        }
        let repeated = self.histories.get(&request.history()).and_then(|slot| {
            let mut open = self.slots[slot].open.iter();
            let open = open.find(|open| {
                open.history == request.history() && open.is_repeated_by(request, false)
            })?;
            Some((*slot, open.turn_id))
        });
        if let Some((slot, turn)) = repeated {
            return Found { slot: Some(slot), rule: "prefix", repeats: Some(turn) };
        }
        match self.longest_prefix(request) {
            None => Found { slot: None, rule: "new", repeats: None },
            Some(slot) => {
                let mut open = self.slots[&slot].open.iter();
                let repeats = open.find(|open| open.is_repeated_by(request, false));
                let repeats = repeats.map(|open| open.turn_id);
                Found { slot: Some(slot), rule: "prefix", repeats }
            }
        }
    }

    /// The session whose history and reply are the longest prefix of the request.
    fn longest_prefix(&self, request: &Request<'_>) -> Option<u64> {
        let messages = &request.conversation.messages;
        (1..=messages.len()).rev().find_map(|count| {
            if let Some(slot) = self.continuations.get(&request.chain[count]) {
                return Some(*slot);
            }
            let slot = self.histories.get(&request.chain[count - 1])?;
            let mut open = self.slots[slot].open.iter();
            let rewritten = |open: &Open| open.count == count - 1 && open.was_rewritten(request);
            open.any(rewritten).then_some(*slot)
        })
    }

    fn create(&mut self, request: &Request<'_>) -> u64 {
        let turn = request.turn;
        let (id, named, generation) = match &request.stated.session {
            Some((id, _)) => (id.clone(), true, request.generation()),
            None => (format!("chat-{}", turn.turn_id), false, "0".to_owned()),
        };
        self.insert(Session {
            user: turn.user.clone(),
            id,
            generation,
            named,
            next_index: 0,
            marks: Seen::default(),
            open: Vec::new(),
            points: VecDeque::new(),
            seen_us: turn.received_at_us,
        })
    }

    fn insert(&mut self, session: Session) -> u64 {
        let slot = self.next_slot;
        self.next_slot += 1;
        if session.named {
            self.named.insert((session.user.clone(), session.id.clone()), slot);
        }
        self.seen.insert((session.seen_us, slot));
        self.slots.insert(slot, session);
        slot
    }

    /// Closes what a main request of a named session closes.
    fn continue_line(
        &mut self,
        slot: u64,
        request: &Request<'_>,
        repeats: Option<TurnId>,
        closed: &mut Vec<Rollout>,
    ) -> u64 {
        let Some(session) = self.slots.get_mut(&slot) else { return slot };
        let generation = request.generation();
        let moved_on = session.generation != generation;
        if repeats.is_none() {
            let kept = kept(&session.open, request, true, moved_on);
            for (at, open) in mem::take(&mut session.open).into_iter().enumerate() {
                let count = kept.filter(|(kept, _)| *kept == at).map(|(_, count)| count);
                let next = count.and_then(|count| next_state(request, count));
                let by = match (&next, moved_on) {
                    (None, true) => ClosedBy::Generation,
                    _ => ClosedBy::NextTurn,
                };
                closed.push(closed_row(open, session, next, by, request.turn.received_at_us));
            }
        }
        if moved_on && session.open.is_empty() {
            session.generation = generation;
            session.next_index = 0;
            session.marks = Seen::default();
        }
        slot
    }

    /// Closes what lies on the path of a request that was found by prefix. Gives the session
    /// that the request goes on in: a new one where two conversations began alike.
    fn continue_path(
        &mut self,
        slot: u64,
        request: &Request<'_>,
        repeats: Option<TurnId>,
        closed: &mut Vec<Rollout>,
    ) -> u64 {
        let Some(session) = self.slots.get(&slot) else { return slot };
        if repeats.is_some() {
            return slot;
        }
        let Some((at, count)) = kept(&session.open, request, false, false) else { return slot };
        let open = &session.open[at];
        let (turn, continuation) = (open.turn_id, open.continuation);
        let slot = match has_moved_on(session, turn, &open.history) {
            true => self.branch(slot, turn, request),
            false => slot,
        };
        let Some(session) = self.slots.get_mut(&slot) else { return slot };
        for point in session.points.iter_mut().filter(|point| point.turn_id == turn) {
            point.continued = true;
        }
        for open in mem::take(&mut session.open) {
            let next = match open.turn_id == turn {
                true => next_state(request, count),
                false if open.continuation == continuation => None,
                false => {
                    session.open.push(open);
                    continue;
                }
            };
            let at = request.turn.received_at_us;
            closed.push(closed_row(open, session, next, ClosedBy::NextTurn, at));
        }
        slot
    }

    /// Moves an open turn of `slot` into a session of its own.
    fn branch(&mut self, slot: u64, turn: TurnId, request: &Request<'_>) -> u64 {
        let Some(session) = self.slots.get_mut(&slot) else { return slot };
        let Some(at) = session.open.iter().position(|open| open.turn_id == turn) else {
            return slot;
        };
        let mut open = session.open.remove(at);
        open.index = 0;
        open.retry_of = None;
        let points = session.points.iter().position(|point| point.turn_id == turn);
        let point = points.and_then(|at| session.points.remove(at));
        let branch = Session {
            user: session.user.clone(),
            id: format!("chat-{}", request.turn.turn_id),
            generation: "0".to_owned(),
            named: false,
            next_index: 1,
            marks: session.marks,
            open: vec![open],
            points: VecDeque::new(),
            seen_us: request.turn.received_at_us,
        };
        if session.open.is_empty() {
            self.active.remove(&(session.seen_us, slot));
        }
        let branch = self.insert(branch);
        self.active.insert((request.turn.received_at_us, branch));
        if let Some(point) = point {
            self.continuations.insert(point.continuation, branch);
            self.slots.entry(branch).and_modify(|session| session.points.push_back(point));
        }
        branch
    }

    /// Adds the request's own turn to its session.
    fn add(
        &mut self,
        slot: u64,
        request: &Request<'_>,
        found: &Found,
        has_tools: bool,
        closed: &mut Vec<Rollout>,
    ) {
        let Some(session) = self.slots.get_mut(&slot) else { return };
        let turn = request.turn;
        let original = found.repeats.map(|repeated| {
            let open = session.open.iter().find(|open| open.turn_id == repeated);
            open.and_then(|open| open.retry_of).unwrap_or(repeated)
        });
        let open = request.open(session.next_index, found.rule, original);
        session.next_index += 1;
        session.marks.agent |= place::is_agent(&request.conversation);
        session.marks.tools |= has_tools;
        if !session.named {
            self.histories.insert(open.history, slot);
            self.continuations.insert(open.continuation, slot);
            session.points.push_back(Point {
                turn_id: turn.turn_id,
                history: open.history,
                continuation: open.continuation,
                continued: false,
            });
        }
        session.open.push(open);
        if session.open.len() > OPEN_MAX {
            let oldest_repeat = session.open.remove(1);
            let at = turn.received_at_us;
            closed.push(closed_row(oldest_repeat, session, None, ClosedBy::NextTurn, at));
        }
        let forgotten = (session.points.len() > POINTS_MAX).then(|| session.points.pop_front());
        let seen = turn.received_at_us.max(turn.finished_at_us).max(session.seen_us);
        let before = mem::replace(&mut session.seen_us, seen);
        for times in [&mut self.active, &mut self.seen] {
            times.remove(&(before, slot));
            times.insert((seen, slot));
        }
        if let Some(point) = forgotten.flatten() {
            self.forget_point(&point, slot);
        }
    }

    fn forget_point(&mut self, point: &Point, slot: u64) {
        if self.continuations.get(&point.continuation) == Some(&slot) {
            self.continuations.remove(&point.continuation);
        }
        let session = self.slots.get(&slot);
        let shared = session.is_some_and(|s| s.points.iter().any(|p| p.history == point.history));
        if !shared && self.histories.get(&point.history) == Some(&slot) {
            self.histories.remove(&point.history);
        }
    }

    fn forget_beyond_limit(&mut self, now_us: i64, closed: &mut Vec<Rollout>) {
        while self.slots.len() > self.limits.sessions.max(1) {
            let Some((_, slot)) = self.seen.pop_first() else { return };
            self.close_session(slot, ClosedBy::IdleTimeout, now_us, closed);
            let Some(session) = self.slots.remove(&slot) else { continue };
            for point in &session.points {
                self.forget_point(point, slot);
            }
            if session.named {
                self.named.remove(&(session.user, session.id));
            }
        }
    }

    /// The row of a side turn: closed at once, and no concern of the session's line.
    fn side_row(&mut self, request: &Request<'_>, found: &Found, rule: &str) -> Rollout {
        let turn = request.turn;
        let session = found.slot.and_then(|slot| self.slots.get_mut(&slot));
        let generation = match (&session, &request.stated.generation) {
            (_, Some(stated)) => stated.clone(),
            (Some(session), None) => session.generation.clone(),
            (None, None) => "0".to_owned(),
        };
        let (session_id, turn_index) = match session {
            Some(session) if session.generation == generation => {
                session.next_index += 1;
                (session.id.clone(), session.next_index - 1)
            }
            Some(session) => (session.id.clone(), 0),
            None => match &request.stated.session {
                Some((id, _)) => (id.clone(), 0),
                None => (format!("chat-{}", turn.turn_id), 0),
            },
        };
        Rollout {
            turn_id: turn.turn_id,
            revision: 0,
            session_id,
            generation,
            turn_index,
            kind: TurnKind::Side,
            placed_by: format!("{};{rule}", found.rule),
            messages: turn.messages.clone(),
            reply: turn.reply.clone(),
            next_state: None,
            closed_by: Some(ClosedBy::Side),
            closed_at_us: Some(turn.finished_at_us),
            retry_of: None,
            regenerated: 0,
            abandoned: false,
            rated: None,
        }
    }
}

/// Whether another turn with the same history has already been continued.
fn has_moved_on(session: &Session, turn: TurnId, history: &Digest) -> bool {
    let mut points = session.points.iter();
    points.any(|point| point.turn_id != turn && point.history == *history && point.continued)
}

/// The rollout of a turn that is closed.
fn closed_row(
    open: Open,
    session: &Session,
    next_state: Option<String>,
    by: ClosedBy,
    at: i64,
) -> Rollout {
    Rollout {
        turn_id: open.turn_id,
        revision: 0,
        session_id: session.id.clone(),
        generation: session.generation.clone(),
        turn_index: open.index,
        kind: TurnKind::Main,
        placed_by: open.placed_by,
        messages: open.messages,
        reply: open.reply,
        next_state,
        closed_by: Some(by),
        closed_at_us: Some(at),
        retry_of: open.retry_of,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}
