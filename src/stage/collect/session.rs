//! One session: its turns, and what a request does to them.

use std::collections::VecDeque;

use crate::rollout::{ClosedBy, Rollout, TurnId, TurnKind};

use super::change::Change;
use super::clean::Digest;
use super::place::{self, Again, Seen};
use super::point::{Point, kept, returned_to};
use super::request::{Request, next_state};

/// Turns of one session that may wait for the same next state.
const WAITING_MAX: usize = 16;
/// Conversations that may begin with the same words until it is clear that they are several.
const ALIKE_MAX: usize = 8;
/// Turns of a session that are remembered.
const POINTS_MAX: usize = 64;

/// A session.
#[derive(Debug)]
pub struct Session {
    pub user: String,
    pub id: String,
    pub generation: String,
    /// Digest of the first words of the generation.
    first: String,
    /// Times that the session began anew with the same words.
    restarts: u32,
    /// The client names it; else it was found by what it said.
    pub named: bool,
    /// Its client sends nothing but what is new.
    no_history: bool,
    pub next_index: u32,
    pub marks: Seen,
    pub points: Vec<Point>,
    pub seen_us: i64,
    /// What the lists of all sessions say of it.
    pub listed: Listed,
}

/// What the lists of all sessions say of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub seen_us: i64,
    pub open: usize,
    pub text_bytes: usize,
}

impl Session {
    pub fn new(request: &Request<'_>) -> Self {
        let turn = request.turn;
        let (id, generation) = match &request.stated.session {
            Some((id, _)) => (id.clone(), request.generation()),
            None => (format!("chat-{}", turn.turn_id), "0".to_owned()),
        };
        Self {
            user: turn.user.clone(),
            id,
            generation,
            first: request.first_words(),
            restarts: 0,
            named: request.named(),
            no_history: false,
            next_index: 0,
            marks: Seen::default(),
            points: Vec::new(),
            seen_us: turn.received_at_us,
            listed: Listed::default(),
        }
    }

    pub fn point(&mut self, turn: TurnId) -> Option<&mut Point> {
        self.points.iter_mut().find(|point| point.turn_id == turn)
    }

    pub fn listing(&self) -> Listed {
        Listed {
            seen_us: self.seen_us,
            open: self.points.iter().filter(|point| point.is_open()).count(),
            text_bytes: self.points.iter().map(Point::text_bytes).sum(),
        }
    }

    /// The turn that the request asks again for: the last one, if there are several.
    pub fn repeated(&self, request: &Request<'_>, idle_us: i64) -> Option<&Point> {
        let agent = place::is_agent(&request.conversation);
        let moved_on = match &request.stated.generation {
            Some(stated) => *stated != self.generation,
            None => agent && request.first_words() != self.first,
        };
        let alike =
            |point: &&Point| point.waiting && point.begins && point.history == request.history();
        let crowded = !self.named
            && request.stated.choice.is_none()
            && self.points.iter().filter(alike).count() >= ALIKE_MAX;
        if self.named && moved_on || crowded {
            return None;
        }
        let mut points = self.points.iter().rev().filter(|point| !(agent && point.continued));
        points.find(|point| point.is_repeated_by(request, idle_us))
    }

    /// Which turn the request repeats, and why.
    pub fn again(&self, request: &Request<'_>, idle_us: i64) -> Option<(TurnId, Again)> {
        let latest = self.repeated(request, idle_us)?;
        let agent = self.marks.agent || place::is_agent(&request.conversation);
        let why = latest.why_again(request, agent);
        if (why == Again::Regenerated || !latest.waiting) && self.followed(request).is_some() {
            return None;
        }
        let first = |point: &&Point| {
            why == Again::Choice && point.received_at_us == request.turn.received_at_us
        };
        if let Some(first) = self.points.iter().find(first) {
            return Some((first.turn_id, why));
        }
        Some((latest.again.map_or(latest.turn_id, |(original, _)| original), why))
    }

    /// The user wants another reply than those that the request repeats.
    pub fn regenerate(&mut self, request: &Request<'_>, original: TurnId, out: &mut Vec<Change>) {
        let history = request.history();
        let latest = self.points.iter().rposition(|point| point.history == history);
        let original = self.points.iter().position(|point| point.turn_id == original);
        for at in [original, latest.filter(|at| Some(*at) != original)].into_iter().flatten() {
            let point = &mut self.points[at];
            let sure = self.named || !point.begins;
            out.extend(point.regenerate(sure));
        }
    }

    /// The user went back to an earlier turn: what was said after it is left out.
    pub fn go_back(&mut self, request: &Request<'_>, out: &mut Vec<Change>) {
        let history = request.history();
        let Some(earlier) = self.points.iter().find(|point| point.history == history) else {
            return;
        };
        if earlier.begins && !self.named {
            return;
        }
        let count = earlier.count;
        let at_us = request.turn.received_at_us;
        let later = |point: &&mut Point| point.waiting && point.count > count;
        for point in self.points.iter_mut().filter(later) {
            point.left_out = true;
            if self.named {
                out.extend(point.pass(None, ClosedBy::NextTurn, at_us));
            }
        }
    }

    /// The turn that a command is about: the one whose reply stands before it.
    pub fn commanded(&mut self, request: &Request<'_>, idle_us: i64) -> Option<&mut Point> {
        let end = request.len();
        let exact = self.points.iter().rposition(|point| point.position(request) == Some(end));
        let at = exact.or_else(|| {
            self.points.iter().rposition(|point| point.is_repeated_by(request, idle_us))
        });
        let at = at.or_else(|| self.followed(request))?;
        self.points.get_mut(at)
    }

    /// A main request of a session that the client names: it closes what waits.
    pub fn continue_line(&mut self, request: &Request<'_>, out: &mut Vec<Change>) {
        let followed = self.followed(request);
        let generation = match followed {
            Some(_) => self.generation.clone(),
            None => self.next_generation(request),
        };
        let moved_on = self.generation != generation;
        self.no_history = followed.is_some();
        let mut kept = match followed {
            Some(at) => Some((at, 0)),
            None => kept(&self.points, request, moved_on),
        };
        let at_us = request.turn.received_at_us;
        if let Some((at, count)) = returned_to(&self.points, request)
            && kept.is_none_or(|(_, kept)| count > kept)
        {
            kept = None;
            self.points[at].continued = true;
            let next = next_state(request, count);
            out.extend(self.points[at].pass(next, ClosedBy::NextTurn, at_us));
        }
        for (at, point) in self.points.iter_mut().enumerate().filter(|(_, p)| p.waiting) {
            let count = kept.filter(|(kept, _)| *kept == at).map(|(_, count)| count);
            let next = count.and_then(|count| next_state(request, count));
            point.continued |= count.is_some();
            point.left_out |= count.is_none() && !moved_on;
            let by = match (&next, moved_on) {
                (None, true) => ClosedBy::Generation,
                _ => ClosedBy::NextTurn,
            };
            out.extend(point.pass(next, by, at_us));
        }
        if moved_on {
            self.generation = generation;
            self.next_index = 0;
            self.marks = Seen::default();
        }
    }

    /// The waiting turn that a request of a client which sends no history follows: nothing but its
    /// user's words, and the request before held nothing else either.
    fn followed(&self, request: &Request<'_>) -> Option<usize> {
        let stated = request.stated.generation.as_ref();
        let moved_on = stated.is_some_and(|stated| *stated != self.generation);
        let agent = self.marks.agent || place::is_agent(&request.conversation);
        if !request.may_lack_history() || agent || moved_on || request.answered() > 0 {
            return None;
        }
        let at = self.points.iter().rposition(|point| point.waiting)?;
        let last = &self.points[at];
        let mut waiting = self.points.iter().filter(|point| point.waiting);
        let alone = waiting.all(|point| point.history == last.history);
        // The same words may ask for another reply; more words behind them leave the reply out.
        let begins_alike = last.count > 0 && request.chain.get(last.count) == Some(&last.history);
        let same = request.history() == last.history;
        let next = if same { self.no_history } else { !begins_alike };
        (last.bare && alone && next).then_some(at)
    }

    /// The generation that a request belongs to.
    fn next_generation(&mut self, request: &Request<'_>) -> String {
        if let Some(stated) = &request.stated.generation {
            return stated.clone();
        }
        let agent = self.marks.agent || place::is_agent(&request.conversation);
        let first = request.first_words();
        if first == self.first {
            let anew = agent
                && self.points.iter().any(|point| {
                    point.count == request.len() && point.history == request.history()
                });
            if !anew {
                return self.generation.clone();
            }
            self.restarts += 1;
            return format!("{first}-{}", self.restarts + 1);
        }
        // A client that sends the last messages only; the OpenClaw agent compacts instead.
        if !agent && kept(&self.points, request, true).is_some() {
            return self.generation.clone();
        }
        self.first.clone_from(&first);
        first
    }

    /// Where a request stands that was found by what it says: the turn whose reply it goes on
    /// with, and behind how many of its cleaned messages.
    pub fn parent(&self, request: &Request<'_>) -> Option<(usize, usize)> {
        let points = || self.points.iter().enumerate();
        let given = points().filter_map(|(at, point)| Some((at, point.position(request)?)));
        let deepest = given.clone().map(|(_, count)| count).max();
        if let Some(deepest) = deepest {
            let mut deepest = given.filter(|(_, count)| *count == deepest);
            let first = deepest.clone().next();
            return deepest.find(|(at, _)| !self.points[*at].continued).or(first);
        }
        let waiting = points().rev().filter(|(_, point)| point.waiting);
        waiting.filter_map(|(at, point)| Some((at, point.loose_position(request)?))).next()
    }

    /// Two conversations began with the same words, and both go on.
    pub fn is_another_than(&self, at: usize) -> bool {
        let point = &self.points[at];
        let same = |other: &Point| {
            other.turn_id != point.turn_id && other.history == point.history && other.continued
        };
        point.begins && !point.continued && self.points.iter().any(same)
    }

    /// A main request that goes on with the reply of a turn: it closes that turn, and those that
    /// answered the same.
    pub fn continue_path(
        &mut self,
        at: usize,
        count: usize,
        request: &Request<'_>,
        out: &mut Vec<Change>,
    ) {
        let at_us = request.turn.received_at_us;
        let parent = &mut self.points[at];
        let (history, continuation) = (parent.history, parent.continuation);
        let edited = parent.continued;
        parent.continued = true;
        let next = next_state(request, count);
        out.extend(parent.pass(next, ClosedBy::NextTurn, at_us));
        for point in self.points.iter_mut().filter(|point| point.waiting) {
            let sibling = point.history == history;
            if sibling && (point.continuation == continuation || !point.begins) {
                point.left_out = point.continuation != continuation;
                out.extend(point.pass(None, ClosedBy::NextTurn, at_us));
            } else if edited && point.count > count {
                point.left_out = true;
            }
        }
        if edited {
            self.replace_reply(request, out);
        }
    }

    /// A main request that was found by the history of a turn whose reply the user replaced.
    pub fn replace_reply(&mut self, request: &Request<'_>, out: &mut Vec<Change>) {
        let at_us = request.turn.received_at_us;
        let answered = |point: &&mut Point| {
            point.waiting
                && request.chain.get(point.count) == Some(&point.history)
                && request.is_answer(point.count)
        };
        for point in self.points.iter_mut().filter(answered) {
            point.left_out = true;
            out.extend(point.pass(None, ClosedBy::NextTurn, at_us));
        }
    }

    /// Adds a main turn; gives its row, and the turns that are not remembered any more.
    pub fn add(
        &mut self,
        request: &Request<'_>,
        placed_by: String,
        again: Option<(TurnId, Again)>,
        out: &mut Vec<Change>,
    ) -> VecDeque<Point> {
        let turn = request.turn;
        let mut row = self.row(request, TurnKind::Main, placed_by);
        row.retry_of = again.map(|(original, _)| original);
        out.push(Change::Row(row.clone()));
        self.marks.agent |= place::is_agent(&request.conversation);
        self.marks.tools |= request.has_tools;
        let alike = self.points.iter().find(|point| point.history == request.history());
        let begins = match again {
            Some(_) => alike.is_some_and(|point| point.begins),
            None => !self.named && self.points.is_empty(),
        };
        let mut point = Point::new(request, again, row);
        point.begins = begins;
        self.points.push(point);
        self.seen_us = turn.received_at_us.max(turn.finished_at_us).max(self.seen_us);
        let waiting = self.points.iter().filter(|point| point.waiting).count();
        if waiting > WAITING_MAX {
            // The first one may be the original of all others.
            let mut repeats = self.points.iter_mut().filter(|point| point.waiting).skip(1);
            let oldest = repeats.next();
            let at_us = turn.received_at_us;
            out.extend(oldest.and_then(|point| point.pass(None, ClosedBy::NextTurn, at_us)));
        }
        let mut forgotten = VecDeque::new();
        while self.points.len() > POINTS_MAX {
            let passed = self.points.iter().position(|point| !point.waiting);
            forgotten.push_back(self.points.remove(passed.unwrap_or(0)));
        }
        forgotten
    }

    /// The row of a turn that is placed here.
    pub fn row(&mut self, request: &Request<'_>, kind: TurnKind, placed_by: String) -> Rollout {
        let turn = request.turn;
        let generation = match (&request.stated.generation, kind) {
            (Some(stated), TurnKind::Side) => stated.clone(),
            _ => self.generation.clone(),
        };
        let mut turn_index = 0;
        if generation == self.generation {
            turn_index = self.next_index;
            self.next_index += 1;
        }
        Rollout {
            turn_id: turn.turn_id,
            revision: 0,
            session_id: self.id.clone(),
            generation,
            turn_index,
            kind,
            placed_by,
            messages: turn.messages.clone(),
            reply: turn.reply.clone(),
            next_state: None,
            closed_by: (kind == TurnKind::Side).then_some(ClosedBy::Side),
            closed_at_us: (kind == TurnKind::Side).then_some(turn.finished_at_us),
            retry_of: None,
            regenerated: 0,
            abandoned: turn.finish_reason == crate::rollout::FinishReason::Cancelled,
            rated: None,
        }
    }

    /// It was quiet for the idle time-out: of two replies to the same first words, the one that
    /// nothing went on with was not wanted.
    pub fn settle(&mut self, out: &mut Vec<Change>) {
        if self.named {
            return;
        }
        let went_on: Vec<Digest> =
            self.points.iter().filter(|point| point.continued).map(|p| p.history).collect();
        let others = self.points.iter_mut().filter(|point| went_on.contains(&point.history));
        out.extend(others.filter_map(Point::settle));
    }

    /// Closes what is open.
    pub fn close(&mut self, by: ClosedBy, at_us: i64, out: &mut Vec<Change>) {
        out.extend(self.points.iter_mut().filter_map(|point| point.close(by, at_us)));
    }
}
