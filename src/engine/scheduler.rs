//! Who gets a place, and what each step computes: a pure state machine.
//!
//! No threads, no tensors, no time. The rules:
//! - Two lines, replies and scorings, each first come first served, each with places of its own.
//! - Memory is set aside for the greatest length of a sequence when it gets its place. Where the
//!   older of the two heads does not fit, the younger one does not overtake it.
//! - Each step holds every sequence that decodes, and `prefill_chunk` tokens of the others: the
//!   one that waited longest takes what it can use, then the next, each at most once a step.
//! - A sequence keeps the version that was live when it got its place. At most two versions are
//!   held; a newer one waits until sequences of the oldest have ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use crate::rollout::Version;

/// A request's number, by order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Prompts to be continued.
    Reply,
    /// Sequences to be scored.
    Score,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its line.
    pub line: Line,
    /// Tokens that are there from the start and have to be computed: at least one.
    pub given: usize,
    /// Cache memory, in tokens: its greatest length.
    pub memory: usize,
}

/// Limits, all above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Places in the line of replies.
    pub running_max: usize,
    /// Places in the line of scorings.
    pub scoring_max: usize,
    /// Given tokens computed in one step.
    pub prefill_chunk: usize,
    /// Cache memory, in tokens.
    pub cache_tokens_max: usize,
}

/// One sequence's part of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Append the token that was sampled last, and sample the next one.
    Decode(Ticket),
    /// Append these given tokens; if `last`, everything given has been computed then.
    Given {
        /// Whose.
        ticket: Ticket,
        /// Which of the given tokens.
        tokens: Range<usize>,
        /// Whether they are the last ones.
        last: bool,
    },
}

/// Everything that one step computes, one batch per version.
pub type Plan = BTreeMap<Version, Vec<Part>>;

#[derive(Clone, Copy, Debug)]
struct Active {
    demand: Demand,
    version: Version,
    computed: usize,
}

/// The state machine; see the module's rules.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    next: u64,
    replies: VecDeque<(Ticket, Demand)>,
    scorings: VecDeque<(Ticket, Demand)>,
    active: BTreeMap<Ticket, Active>,
    /// Active sequences whose given tokens are not all computed, the next one to be served first.
    ring: VecDeque<Ticket>,
    reserved: usize,
    live: Version,
    pending: Option<Version>,
}

impl Scheduler {
    /// An idle scheduler that serves `live`.
    pub fn new(limits: Limits, live: Version) -> Self {
        Self {
            limits,
            next: 0,
            replies: VecDeque::new(),
            scorings: VecDeque::new(),
            active: BTreeMap::new(),
            ring: VecDeque::new(),
            reserved: 0,
            live,
            pending: None,
        }
    }

    /// Puts a request at the end of its line. Its memory must be within the limit at all.
    pub fn enqueue(&mut self, demand: Demand) -> Ticket {
        debug_assert!(demand.given > 0 && demand.memory <= self.limits.cache_tokens_max);
        let ticket = Ticket(self.next);
        self.next += 1;
        self.line(demand.line).push_back((ticket, demand));
        ticket
    }

    /// Gives places to those whose turn it is, on the live version.
    pub fn admit(&mut self) -> Vec<Ticket> {
        let mut admitted = Vec::new();
        while let Some((ticket, demand)) = self.next_in_line() {
            if self.reserved + demand.memory > self.limits.cache_tokens_max {
                break;
            }
            self.line(demand.line).pop_front();
            self.reserved += demand.memory;
            self.active.insert(ticket, Active { demand, version: self.live, computed: 0 });
            self.ring.push_back(ticket);
            admitted.push(ticket);
        }
        admitted
    }

    /// What the next step computes. The caller carries it out: what is planned counts as done.
    pub fn plan(&mut self) -> Plan {
        let mut plan = Plan::new();
        for (&ticket, active) in &self.active {
            if active.computed == active.demand.given && active.demand.line == Line::Reply {
                plan.entry(active.version).or_default().push(Part::Decode(ticket));
            }
        }
        let mut budget = self.limits.prefill_chunk;
        for _ in 0..self.ring.len() {
            if budget == 0 {
                break;
            }
            let Some(ticket) = self.ring.pop_front() else { break };
            let Some(active) = self.active.get_mut(&ticket) else { continue };
            let start = active.computed;
            let end = active.demand.given.min(start + budget);
            budget -= end - start;
            active.computed = end;
            let last = end == active.demand.given;
            let part = Part::Given { ticket, tokens: start..end, last };
            plan.entry(active.version).or_default().push(part);
            if !last {
                self.ring.push_back(ticket);
            }
        }
        plan
    }

    /// Forgets a request, wherever it is: it is complete, failed, or nobody wants it any more.
    pub fn finish(&mut self, ticket: Ticket) {
        if let Some(active) = self.active.remove(&ticket) {
            self.reserved -= active.demand.memory;
            self.ring.retain(|other| *other != ticket);
        } else {
            self.replies.retain(|(other, _)| *other != ticket);
            self.scorings.retain(|(other, _)| *other != ticket);
        }
    }

    /// Lets `version` go live as soon as it can. The version that it displaces from waiting, if
    /// there is one, never goes live.
    pub fn swap(&mut self, version: Version) -> Option<Version> {
        self.pending.replace(version)
    }

    /// Between two steps: makes the waiting version live if that leaves at most two held.
    pub fn go_live(&mut self) -> Option<Version> {
        let version = self.pending?;
        let mut held = self.in_flight();
        held.insert(version);
        if held.len() > 2 {
            return None;
        }
        self.live = version;
        self.pending.take()
    }

    /// The versions of sequences in flight, and the live one.
    pub fn resident(&self) -> BTreeSet<Version> {
        let mut resident = self.in_flight();
        resident.insert(self.live);
        resident
    }

    /// The version that new requests take.
    pub fn live(&self) -> Version {
        self.live
    }

    /// The version that waits to go live.
    pub fn pending(&self) -> Option<Version> {
        self.pending
    }

    /// The version of a sequence that has a place.
    pub fn version(&self, ticket: Ticket) -> Option<Version> {
        self.active.get(&ticket).map(|active| active.version)
    }

    /// The cache memory set aside for a sequence, in tokens; 0 while it has no place.
    pub fn memory(&self, ticket: Ticket) -> usize {
        self.active.get(&ticket).map_or(0, |active| active.demand.memory)
    }

    /// Sequences of a line that have a place.
    pub fn placed(&self, line: Line) -> usize {
        self.active.values().filter(|active| active.demand.line == line).count()
    }

    /// Requests of a line that wait for a place.
    pub fn waiting(&self, line: Line) -> usize {
        match line {
            Line::Reply => self.replies.len(),
            Line::Score => self.scorings.len(),
        }
    }

    /// Cache memory set aside, in tokens.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty() && self.replies.is_empty() && self.scorings.is_empty()
    }

    fn in_flight(&self) -> BTreeSet<Version> {
        self.active.values().map(|active| active.version).collect()
    }

    fn line(&mut self, line: Line) -> &mut VecDeque<(Ticket, Demand)> {
        match line {
            Line::Reply => &mut self.replies,
            Line::Score => &mut self.scorings,
        }
    }

    /// The oldest waiting request whose line has a free place.
    fn next_in_line(&self) -> Option<(Ticket, Demand)> {
        let reply = self.replies.front();
        let reply = reply.filter(|_| self.placed(Line::Reply) < self.limits.running_max);
        let score = self.scorings.front();
        let score = score.filter(|_| self.placed(Line::Score) < self.limits.scoring_max);
        reply.into_iter().chain(score).min_by_key(|(ticket, _)| *ticket).copied()
    }
}

#[cfg(test)]
mod tests;
