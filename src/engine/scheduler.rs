//! Who gets a place, what each step computes, and what is taken from the prefix cache instead: a
//! pure state machine.
//!
//! No threads, no tensors, no time. The rules:
//! - Two lines, replies and scorings, each first come first served, each with places of its own.
//! - Memory is counted in blocks of tokens. A sequence gets its place when there is room for its
//!   greatest length; the blocks that it shares with others count once. Where the older of the two
//!   heads does not fit, the younger one does not overtake it.
//! - What a reply has computed goes into the [`PrefixTree`] block by block, and its reservation
//!   shrinks by as much. A sequence takes what the tree has of its given tokens, when it gets its
//!   place and again before each of its steps; one whose next block another sequence is
//!   computing waits for it. The last given token is always computed.
//! - Each step holds every sequence that decodes, and `prefill_chunk` tokens of the others: the
//!   one that waited longest takes what it can use, then the next, each at most once a step.
//! - A sequence keeps the version that was live when it got its place. At most two versions are
//!   held; a newer one waits until sequences of the oldest have ended.
//! - Before it goes live, the chains used last are computed on the version that waits, in what the
//!   step's budget leaves: a block per step while anything decodes. See [`Scheduler::warm`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::prefix::{ModelKey, NodeId, PrefixTree};
use crate::rollout::Version;

mod warm;
use warm::Pending;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its line.
    pub line: Line,
    /// Tokens that are there from the start and have to be computed or adopted: at least one.
    pub tokens: Vec<u32>,
    /// How many of them, from the first on, may come from the prefix cache: fewer than all.
    pub adoptable: usize,
    /// Its greatest length, in tokens.
    pub memory: usize,
    /// The adapter that it wants.
    pub adapter: Option<Arc<str>>,
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
    /// Tokens per block.
    pub block: usize,
    /// Cache memory, in blocks.
    pub blocks_max: usize,
    /// Blocks that are computed for a version before it goes live; 0 if none.
    pub warm_blocks_max: usize,
    /// Whether anything is taken from and put into the tree.
    pub prefix_cache: bool,
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

/// A sequence that got its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted<B> {
    /// Whose.
    pub ticket: Ticket,
    /// The model that it runs on.
    pub key: ModelKey,
    /// Its greatest length, in tokens.
    pub memory: usize,
    /// Its first blocks, from the tree.
    pub blocks: Vec<B>,
}

/// Blocks that a sequence takes from the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption<B> {
    /// Whose.
    pub ticket: Ticket,
    /// The model that it runs on.
    pub key: ModelKey,
    /// The index of the first of them: how many blocks it has already, all of them full.
    pub first: usize,
    /// The blocks.
    pub blocks: Vec<B>,
}

/// Everything that one step computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<B> {
    /// Blocks that sequences take from the tree before it.
    pub adopted: Vec<Adoption<B>>,
    /// One batch per model.
    pub batches: BTreeMap<ModelKey, Vec<Part>>,
}

#[derive(Debug)]
struct Active {
    key: ModelKey,
    /// None for a chain that is warmed.
    line: Option<Line>,
    /// Everything given, then everything sampled.
    tokens: Vec<u32>,
    given: usize,
    adoptable: usize,
    /// Tokens whose keys and values are there, those of the planned step included.
    len: usize,
    /// The blocks that it holds of the tree: its first ones.
    chain: Vec<NodeId>,
    /// Blocks set aside for it beside those.
    reserved: usize,
}

impl Active {
    fn decodes(&self) -> bool {
        self.line == Some(Line::Reply) && self.len >= self.given
    }

    /// Whether what it computes goes into the tree.
    fn gives(&self) -> bool {
        self.line != Some(Line::Score)
    }
}

/// The state machine; see the module's rules. `B` is what a block is to the caller.
#[derive(Debug)]
pub struct Scheduler<B> {
    limits: Limits,
    next: u64,
    replies: VecDeque<(Ticket, Demand)>,
    scorings: VecDeque<(Ticket, Demand)>,
    active: BTreeMap<Ticket, Active>,
    /// Active sequences whose given tokens are not all computed, the next one to be served first;
    /// without the one that is warmed.
    ring: VecDeque<Ticket>,
    tree: PrefixTree<B>,
    /// Blocks set aside for active sequences, beside the tree's.
    reserved: usize,
    evicted: u64,
    live: Version,
    /// The adapters that are attached to the live version.
    adapters: BTreeSet<Arc<str>>,
    pending: Option<Pending>,
}

impl<B: Clone> Scheduler<B> {
    /// An idle scheduler that serves `live` with these adapters.
    pub fn new(limits: Limits, live: Version, adapters: BTreeSet<Arc<str>>) -> Self {
        let mut scheduler = Self {
            limits,
            next: 0,
            replies: VecDeque::new(),
            scorings: VecDeque::new(),
            active: BTreeMap::new(),
            ring: VecDeque::new(),
            tree: PrefixTree::new(),
            reserved: 0,
            evicted: 0,
            live,
            adapters,
            pending: None,
        };
        scheduler.keep();
        scheduler
    }

    /// Puts a request at the end of its line. Its memory must be within the limit at all.
    pub fn enqueue(&mut self, demand: Demand) -> Ticket {
        debug_assert!(demand.adoptable < demand.tokens.len());
        debug_assert!(demand.memory.div_ceil(self.limits.block) <= self.limits.blocks_max);
        let ticket = self.ticket();
        self.line(demand.line).push_back((ticket, demand));
        ticket
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next - 1)
    }

    /// Gives places to those whose turn it is, on the live version.
    pub fn admit(&mut self) -> Vec<Admitted<B>> {
        let mut admitted = Vec::new();
        while let Some(line) = self.next_in_line() {
            let Some((ticket, demand)) = self.line(line).pop_front() else { break };
            let active = Active {
                key: ModelKey { version: self.live, adapter: demand.adapter.clone() },
                line: Some(line),
                given: demand.tokens.len(),
                adoptable: demand.adoptable,
                tokens: demand.tokens,
                len: 0,
                chain: Vec::new(),
                reserved: demand.memory.div_ceil(self.limits.block),
            };
            match self.place(ticket, active) {
                Ok(blocks) => {
                    let Some(Active { key, .. }) = self.active.get(&ticket) else { break };
                    let (key, memory) = (key.clone(), demand.memory);
                    self.ring.push_back(ticket);
                    admitted.push(Admitted { ticket, key, memory, blocks });
                }
                Err(active) => {
                    let demand = Demand { tokens: active.tokens, ..demand };
                    self.line(line).push_front((ticket, demand));
                    // Whoever is here comes before what is only being prepared.
                    if !self.skip_warming() {
                        break;
                    }
                }
            }
        }
        admitted
    }

    /// Makes a sequence active if there is room, evicting what nobody holds: its blocks from the
    /// tree then.
    fn place(&mut self, ticket: Ticket, mut active: Active) -> Result<Vec<B>, Active> {
        let adopted = adopt(&mut self.tree, &self.limits, &mut active);
        if self.reserved + active.reserved + self.tree.held() > self.limits.blocks_max {
            self.tree.release(&active.chain);
            return Err(active);
        }
        self.reserved += active.reserved;
        while self.reserved + self.tree.blocks() > self.limits.blocks_max && self.tree.evict() {
            self.evicted += 1;
        }
        self.active.insert(ticket, active);
        Ok(adopted)
    }

    /// What the next step computes. The caller carries it out: what is planned counts as done,
    /// until [`Scheduler::finish`] says otherwise. After the step come [`Scheduler::settle`] and,
    /// where a token was sampled, [`Scheduler::push`].
    pub fn plan(&mut self) -> Plan<B> {
        let mut plan = Plan { adopted: Vec::new(), batches: BTreeMap::new() };
        for (&ticket, active) in self.active.iter_mut().filter(|(_, active)| active.decodes()) {
            active.len += 1;
            plan.batches.entry(active.key.clone()).or_default().push(Part::Decode(ticket));
        }
        let decodes = !plan.batches.is_empty();
        let mut budget = self.limits.prefill_chunk;
        for _ in 0..self.ring.len() {
            if budget == 0 {
                break;
            }
            let Some(ticket) = self.ring.pop_front() else { break };
            let Some(active) = self.active.get_mut(&ticket) else { continue };
            let first = active.chain.len();
            let blocks = adopt(&mut self.tree, &self.limits, active);
            self.reserved -= blocks.len();
            if !blocks.is_empty() {
                let key = active.key.clone();
                plan.adopted.push(Adoption { ticket, key, first, blocks });
            }
            if self.another_computes_the_next_block(ticket) {
                self.ring.push_back(ticket);
                continue;
            }
            let (tokens, last) = self.advance(ticket, budget, &mut plan);
            budget -= tokens;
            if !last {
                self.ring.push_back(ticket);
            }
        }
        if let Some(ticket) = self.pending.as_ref().and_then(|pending| pending.sequence) {
            let tokens = if decodes { budget.min(self.limits.block) } else { budget };
            if tokens > 0 {
                self.advance(ticket, tokens, &mut plan);
            }
        }
        plan
    }

    /// Plans at most `budget` of a sequence's given tokens: how many, and whether all are then.
    fn advance(&mut self, ticket: Ticket, budget: usize, plan: &mut Plan<B>) -> (usize, bool) {
        let Some(active) = self.active.get_mut(&ticket) else { return (0, true) };
        let start = active.len;
        active.len = active.given.min(start + budget);
        let (tokens, last) = (start..active.len, active.len == active.given);
        let count = tokens.len();
        let part = Part::Given { ticket, tokens, last };
        plan.batches.entry(active.key.clone()).or_default().push(part);
        (count, last)
    }

    /// Whether the next block of a sequence could be adopted if it were there, and another one is
    /// in the middle of computing it: a reply, whose turn comes. A chain that is warmed may stand
    /// still for long.
    fn another_computes_the_next_block(&self, ticket: Ticket) -> bool {
        let Some(own) = self.active.get(&ticket) else { return false };
        let next = own.len..own.len + self.limits.block;
        if !self.limits.prefix_cache || !may_adopt(own, &self.limits) {
            return false;
        }
        self.active.values().any(|other| {
            other.line == Some(Line::Reply)
                && other.len > own.len
                && other.chain.len() == own.chain.len()
                && other.chain.last() == own.chain.last()
                && other.key == own.key
                && other.given >= next.end
                && other.tokens[next.clone()] == own.tokens[next.clone()]
        })
    }

    /// Puts the blocks that a sequence has completed in its step into the tree. `share` gives one
    /// of its blocks; those that come back, by index, were there already and take its own's place.
    ///
    /// # Errors
    /// That of `share`; the sequence must end then.
    pub fn settle<E>(
        &mut self,
        ticket: Ticket,
        mut share: impl FnMut(usize) -> Result<B, E>,
    ) -> Result<Vec<(usize, B)>, E> {
        let mut replaced = Vec::new();
        let Some(active) = self.active.get_mut(&ticket) else { return Ok(replaced) };
        if !self.limits.prefix_cache || !active.gives() {
            return Ok(replaced);
        }
        let block = self.limits.block;
        while (active.chain.len() + 1) * block <= active.len {
            let index = active.chain.len();
            let tokens = &active.tokens[index * block..(index + 1) * block];
            let parent = active.chain.last().copied();
            let known = self.tree.find(&active.key, parent, tokens);
            let node = match known {
                Some(known) => {
                    self.tree.hold(known);
                    replaced.extend(self.tree.block(known).map(|block| (index, block.clone())));
                    known
                }
                None => self.tree.insert(&active.key, parent, tokens, share(index)?),
            };
            active.chain.push(node);
            active.reserved -= 1;
            self.reserved -= 1;
        }
        Ok(replaced)
    }

    /// Adds the token that was sampled, which the next step computes.
    pub fn push(&mut self, ticket: Ticket, id: u32) {
        if let Some(active) = self.active.get_mut(&ticket) {
            active.tokens.push(id);
        }
    }

    /// Forgets a request, wherever it is: it is complete, failed, or nobody wants it any more.
    pub fn finish(&mut self, ticket: Ticket) {
        if let Some(active) = self.active.remove(&ticket) {
            self.reserved -= active.reserved;
            self.tree.release(&active.chain);
            self.ring.retain(|other| *other != ticket);
            if let Some(pending) = &mut self.pending {
                pending.sequence = pending.sequence.filter(|sequence| *sequence != ticket);
            }
        } else {
            self.replies.retain(|(other, _)| *other != ticket);
            self.scorings.retain(|(other, _)| *other != ticket);
        }
    }

    /// Drops the blocks that no sequence holds; how many.
    pub fn flush(&mut self) -> usize {
        self.tree.flush()
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

    /// The model of a sequence that has a place.
    pub fn model(&self, ticket: Ticket) -> Option<&ModelKey> {
        self.active.get(&ticket).map(|active| &active.key)
    }

    /// Sequences of a line that have a place.
    pub fn placed(&self, line: Line) -> usize {
        self.active.values().filter(|active| active.line == Some(line)).count()
    }

    /// Requests of a line that wait for a place.
    pub fn waiting(&self, line: Line) -> usize {
        match line {
            Line::Reply => self.replies.len(),
            Line::Score => self.scorings.len(),
        }
    }

    /// Blocks that active sequences hold or have set aside.
    pub fn in_use(&self) -> usize {
        self.reserved + self.tree.held()
    }

    /// Blocks that no sequence holds.
    pub fn unused(&self) -> usize {
        self.tree.blocks() - self.tree.held()
    }

    /// Blocks that were evicted so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty() && self.replies.is_empty() && self.scorings.is_empty()
    }

    fn in_flight(&self) -> BTreeSet<Version> {
        let asked = self.active.values().filter(|active| active.line.is_some());
        asked.map(|active| active.key.version).collect()
    }

    fn line(&mut self, line: Line) -> &mut VecDeque<(Ticket, Demand)> {
        match line {
            Line::Reply => &mut self.replies,
            Line::Score => &mut self.scorings,
        }
    }

    /// The line of the oldest waiting request whose line has a free place.
    fn next_in_line(&self) -> Option<Line> {
        let reply = self.replies.front().map(|(ticket, _)| (*ticket, Line::Reply));
        let reply = reply.filter(|_| self.placed(Line::Reply) < self.limits.running_max);
        let score = self.scorings.front().map(|(ticket, _)| (*ticket, Line::Score));
        let score = score.filter(|_| self.placed(Line::Score) < self.limits.scoring_max);
        let oldest = reply.into_iter().chain(score).min_by_key(|(ticket, _)| *ticket);
        oldest.map(|(_, line)| line)
    }
}

/// Whether a sequence stands where it could adopt a block, and the next one is adoptable.
fn may_adopt(active: &Active, limits: &Limits) -> bool {
    active.chain.len() * limits.block == active.len && active.len + limits.block <= active.adoptable
}

/// Lets a sequence take the blocks that the tree has of its given tokens from where it stands.
fn adopt<B: Clone>(tree: &mut PrefixTree<B>, limits: &Limits, active: &mut Active) -> Vec<B> {
    let mut adopted = Vec::new();
    while limits.prefix_cache && may_adopt(active, limits) {
        let next = &active.tokens[active.len..active.len + limits.block];
        let Some(node) = tree.find(&active.key, active.chain.last().copied(), next) else { break };
        tree.hold(node);
        adopted.extend(tree.block(node).cloned());
        active.chain.push(node);
        active.len += limits.block;
        active.reserved -= 1;
    }
    adopted
}

#[cfg(test)]
mod tests;
