//! The scheduler under a seeded simulation: thousands of requests that come, end and go away at
//! any moment, with swaps in between, checked after every step.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

const BLOCK: usize = 4;

const LIMITS: Limits = Limits {
    running_max: 4,
    scoring_max: 2,
    prefill_chunk: 8,
    block: BLOCK,
    blocks_max: 30,
    warm_blocks_max: 12,
    prefix_cache: true,
};

/// What a block stands for: the model that computed it, and every token up to its end.
type Block = Arc<(ModelKey, Vec<u32>)>;

/// A scheduler and a model of what it should be doing.
struct World {
    scheduler: Scheduler<Block>,
    random: ChaCha8Rng,
    requests: BTreeMap<Ticket, Request>,
    /// The chain that is being warmed.
    warming: BTreeMap<Ticket, Request>,
    ended: BTreeMap<Ticket, u32>,
    newest: Version,
    adopted: usize,
    warmed: usize,
}

#[derive(Debug)]
struct Request {
    demand: Demand,
    tokens: Vec<u32>,
    /// Reply tokens still to be sampled.
    left: usize,
    /// Tokens whose keys and values are there, and the blocks of them.
    computed: usize,
    blocks: Vec<Block>,
    key: Option<ModelKey>,
    /// Steps since it got a place in which it made no progress.
    stalled: usize,
}

impl Request {
    fn new(demand: Demand, left: usize) -> Self {
        let tokens = demand.tokens.clone();
        Self { demand, tokens, left, computed: 0, blocks: vec![], key: None, stalled: 0 }
    }

    fn given(&self) -> usize {
        self.demand.tokens.len()
    }

    fn adopt(&mut self, index: usize, block: &Block) {
        assert_eq!(Some(&block.0), self.key.as_ref(), "of its own model");
        assert_eq!(block.1, self.tokens[..(index + 1) * BLOCK], "of its own tokens");
        if index < self.blocks.len() {
            self.blocks[index] = block.clone();
            return;
        }
        assert_eq!((self.blocks.len(), self.computed), (index, index * BLOCK), "the next one");
        self.blocks.push(block.clone());
        self.computed += BLOCK;
        assert!(self.computed <= self.demand.adoptable);
        self.stalled = 0;
    }

    fn compute(&mut self, tokens: Range<usize>) {
        assert_eq!(tokens.start, self.computed, "nothing twice, nothing left out");
        self.computed = tokens.end;
        self.stalled = 0;
        let Some(key) = &self.key else { panic!("it has no place") };
        while (self.blocks.len() + 1) * BLOCK <= self.computed {
            let end = (self.blocks.len() + 1) * BLOCK;
            self.blocks.push(Arc::new((key.clone(), self.tokens[..end].to_vec())));
        }
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            scheduler: Scheduler::new(LIMITS, Version::BASE, adapters(&["a"])),
            random: ChaCha8Rng::seed_from_u64(seed),
            requests: BTreeMap::new(),
            warming: BTreeMap::new(),
            ended: BTreeMap::new(),
            newest: Version::BASE,
            adopted: 0,
            warmed: 0,
        }
    }

    fn below(&mut self, bound: u64) -> usize {
        (self.random.next_u64() % bound) as usize
    }

    fn arrive(&mut self) {
        let line = if self.below(4) == 0 { Line::Score } else { Line::Reply };
        let given = 1 + self.below(60);
        // Beginnings that are often alike.
        let (kind, differs) = (self.below(3) as u32, 1 + self.below(60) as u32);
        let token = |at| if at < differs { kind } else { kind + at + differs };
        let tokens: Vec<u32> = (0..given as u32).map(token).collect();
        let (reply, adoptable) = match line {
            Line::Reply => (1 + self.below(20), given - 1),
            Line::Score => (0, self.below(given as u64)),
        };
        let adapter = (self.below(4) == 0).then(|| Arc::from("a"));
        let demand = Demand { line, tokens, adoptable, memory: given + reply, adapter };
        let ticket = self.scheduler.enqueue(demand.clone());
        self.requests.insert(ticket, Request::new(demand, reply));
    }

    fn end(&mut self, ticket: Ticket) {
        self.scheduler.finish(ticket);
        self.requests.remove(&ticket).expect("ends once");
        *self.ended.entry(ticket).or_default() += 1;
    }

    fn swap(&mut self) {
        self.newest = Version(self.newest.0 + 1);
        self.scheduler.swap(self.newest, adapters(&["a"]));
    }

    fn change_version(&mut self) {
        if let Some((tokens, admitted)) = self.scheduler.warm() {
            assert_eq!(Some(admitted.key.version), self.scheduler.pending());
            let (given, adapter) = (tokens.len(), admitted.key.adapter.clone());
            let line = Line::Reply;
            let demand = Demand { line, tokens, adoptable: given, memory: given, adapter };
            self.warming.insert(admitted.ticket, Request::new(demand, 0));
            self.begin(admitted);
        }
        self.scheduler.go_live();
        self.warming.retain(|ticket, _| self.scheduler.is_warming(*ticket));
    }

    fn request(&mut self, ticket: Ticket) -> &mut Request {
        let request = self.requests.get_mut(&ticket);
        request.or(self.warming.get_mut(&ticket)).expect("known")
    }

    fn begin(&mut self, admitted: Admitted<Block>) {
        let request = self.request(admitted.ticket);
        assert!(request.key.replace(admitted.key.clone()).is_none(), "{admitted:?} again");
        for (index, block) in admitted.blocks.iter().enumerate() {
            request.adopt(index, block);
        }
        self.adopted += admitted.blocks.len();
    }

    fn step(&mut self) {
        self.change_version();
        for admitted in self.scheduler.admit() {
            assert_eq!(admitted.key.version, self.scheduler.live());
            self.begin(admitted);
        }
        self.warming.retain(|ticket, _| self.scheduler.is_warming(*ticket));
        let plan = self.scheduler.plan();
        for request in self.requests.values_mut().filter(|r| r.key.is_some()) {
            request.stalled += 1;
        }
        for Adoption { ticket, first, blocks, .. } in plan.adopted {
            self.adopted += blocks.len();
            for (index, block) in (first..).zip(&blocks) {
                self.request(ticket).adopt(index, block);
            }
        }
        let decodes = plan.batches.values().flatten().any(|part| matches!(part, Part::Decode(_)));
        let (mut given_tokens, before) = (0, self.warmed);
        for (key, parts) in plan.batches {
            for part in parts {
                given_tokens += self.carry_out(&key, part);
            }
        }
        assert!(given_tokens <= LIMITS.prefill_chunk);
        assert!(!decodes || self.warmed - before <= BLOCK, "streams come first");
        self.check();
    }

    fn carry_out(&mut self, key: &ModelKey, part: Part) -> usize {
        let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
        let is_warming = self.scheduler.is_warming(ticket);
        let request = self.request(ticket);
        assert_eq!(request.key.as_ref(), Some(key), "a sequence keeps its model");
        let (tokens, given_tokens, last) = match part {
            Part::Decode(_) => {
                assert!(request.computed >= request.given());
                (request.tokens.len() - 1..request.tokens.len(), 0, true)
            }
            Part::Given { tokens, last, .. } => {
                assert!(!tokens.is_empty());
                assert_eq!(last, tokens.end == request.given());
                (tokens.clone(), tokens.len(), last)
            }
        };
        request.compute(tokens);
        let blocks = request.blocks.clone();
        let share = |index: usize| Ok::<_, ()>(blocks[index].clone());
        let known = self.scheduler.settle(ticket, share).expect("sharing never fails");
        for (index, block) in known {
            self.request(ticket).adopt(index, &block);
        }
        if is_warming {
            self.warmed += given_tokens;
            if last {
                self.scheduler.finish(ticket);
                self.warming.remove(&ticket);
            }
            return given_tokens;
        }
        // Few different ones, so that replies are alike too.
        let sampled = self.below(2) as u32;
        let request = self.request(ticket);
        if last && request.demand.line == Line::Reply {
            request.left -= 1;
            request.tokens.push(sampled);
            if request.left > 0 {
                self.scheduler.push(ticket, sampled);
            }
        }
        let request = self.request(ticket);
        if request.computed >= request.given() && request.left == 0 {
            self.end(ticket);
        }
        given_tokens
    }

    fn check(&self) {
        let scheduler = &self.scheduler;
        let placed: Vec<_> = self.requests.values().filter(|r| r.key.is_some()).collect();
        let memory: usize = placed.iter().map(|r| r.demand.memory.div_ceil(BLOCK)).sum();
        let warming: usize = self.warming.values().map(|r| r.demand.memory.div_ceil(BLOCK)).sum();
        assert!(scheduler.in_use() <= memory + warming, "what is shared counts once");
        assert!(scheduler.in_use() + scheduler.unused() <= LIMITS.blocks_max);
        let chains = scheduler.active.values().map(|active| active.chain.len());
        assert!(scheduler.reserved + chains.sum::<usize>() == memory + warming);
        assert_eq!(scheduler.active.len(), placed.len() + self.warming.len());
        assert!(scheduler.placed(Line::Reply) <= LIMITS.running_max);
        assert!(scheduler.placed(Line::Score) <= LIMITS.scoring_max);
        assert!(scheduler.resident().len() <= 2, "{:?}", scheduler.resident());
        let waiting = scheduler.waiting(Line::Reply) + scheduler.waiting(Line::Score);
        assert_eq!(waiting + placed.len(), self.requests.len());
        for request in placed {
            // One may wait for the block of another, each of whose turns comes once a round.
            let patience = 2 * (LIMITS.running_max + LIMITS.scoring_max);
            assert!(request.stalled <= patience, "starved: {request:?}");
            let decodes = request.computed >= request.given();
            assert!(!decodes || request.stalled == 0, "a stream stalled: {request:?}");
        }
    }
}

#[test]
fn every_request_ends_once_whatever_happens() {
    let (mut adopted, mut warmed) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            if world.below(3) == 0 && world.requests.len() < 30 {
                world.arrive();
            }
            if world.below(20) == 0 {
                world.swap();
            }
            if world.below(15) == 0 && !world.requests.is_empty() {
                let index = world.below(world.requests.len() as u64);
                let ticket = *world.requests.keys().nth(index).expect("in range");
                world.end(ticket);
            }
            if world.below(50) == 0 {
                world.scheduler.flush();
            }
            world.step();
        }
        let mut steps = 0;
        while !world.requests.is_empty() || world.scheduler.pending().is_some() {
            world.step();
            steps += 1;
            assert!(steps < 30 * 80, "seed {seed} does not drain: {:?}", world.requests);
        }
        assert!(world.ended.values().all(|times| *times == 1));
        world.step();
        let scheduler = &mut world.scheduler;
        assert!(scheduler.is_idle());
        assert_eq!(scheduler.live(), world.newest, "the last swap went live");
        assert_eq!(scheduler.resident().len(), 1);
        assert_eq!((scheduler.in_use(), scheduler.reserved), (0, 0));
        assert_eq!(scheduler.unused(), scheduler.flush(), "nothing else is left of the tree");
        assert_eq!(scheduler.unused(), 0);
        (adopted, warmed) = (adopted + world.adopted, warmed + world.warmed);
    }
    assert!(adopted > 1000 && warmed > 1000, "{adopted} adopted, {warmed} warmed");
}

fn adapters(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn new() -> Scheduler<Block> {
    Scheduler::new(LIMITS, Version::BASE, adapters(&[]))
}

fn base() -> ModelKey {
    ModelKey { version: Version::BASE, adapter: None }
}

fn swap(scheduler: &mut Scheduler<Block>, version: u64) -> Option<Version> {
    scheduler.swap(Version(version), adapters(&[]))
}

/// Warms until there is nothing more to warm, then goes live.
fn go_live(scheduler: &mut Scheduler<Block>) -> Option<Version> {
    while let Some((_, admitted)) = scheduler.warm() {
        scheduler.finish(admitted.ticket);
    }
    scheduler.go_live()
}

fn admit(scheduler: &mut Scheduler<Block>) -> Vec<Ticket> {
    scheduler.admit().into_iter().map(|admitted| admitted.ticket).collect()
}

/// Carries out a step of the base: the parts that it had.
fn step(scheduler: &mut Scheduler<Block>) -> Vec<Part> {
    let parts = scheduler.plan().batches.remove(&base()).unwrap_or_default();
    for part in &parts {
        let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
        let block = |_| Ok::<_, ()>(Arc::new((base(), Vec::new())));
        scheduler.settle(*ticket, block).expect("sharing never fails");
        if !matches!(part, Part::Given { last: false, .. }) {
            scheduler.push(*ticket, 1);
        }
    }
    parts
}

/// `given` tokens that nothing else begins with.
fn reply(begin: u32, given: usize, memory: usize) -> Demand {
    let tokens: Vec<u32> = (begin..).take(given).collect();
    Demand { line: Line::Reply, adoptable: tokens.len() - 1, tokens, memory, adapter: None }
}

fn score(given: usize) -> Demand {
    let tokens = (900..).take(given).collect();
    Demand { line: Line::Score, adoptable: 0, tokens, memory: given, adapter: None }
}

fn given(ticket: Ticket, tokens: Range<usize>, last: bool) -> Part {
    Part::Given { ticket, tokens, last }
}

#[test]
fn a_long_prompt_stalls_neither_streams_nor_short_prompts() {
    let mut scheduler = new();
    let stream = scheduler.enqueue(reply(100, 2, 10));
    let long = scheduler.enqueue(reply(200, 40, 50));
    let short = scheduler.enqueue(reply(300, 3, 10));
    assert_eq!(admit(&mut scheduler), [stream, long, short]);
    assert_eq!(step(&mut scheduler), [given(stream, 0..2, true), given(long, 0..6, false)]);
    assert_eq!(
        step(&mut scheduler),
        [Part::Decode(stream), given(short, 0..3, true), given(long, 6..11, false)]
    );
    assert_eq!(
        step(&mut scheduler),
        [Part::Decode(stream), Part::Decode(short), given(long, 11..19, false)]
    );
}

#[test]
fn replies_to_one_prompt_compute_it_once() {
    let mut scheduler = new();
    let demand = || reply(100, 21, 25);
    let [a, b, c] = [(); 3].map(|()| scheduler.enqueue(demand()));
    assert_eq!(admit(&mut scheduler), [a, b, c]);
    // The others wait for what the first one computes, and take it.
    assert_eq!(step(&mut scheduler), [given(a, 0..8, false)]);
    assert_eq!(step(&mut scheduler), [given(b, 8..16, false)]);
    assert_eq!(step(&mut scheduler), [given(c, 16..21, true)]);
    // The last token is computed by each: its logits are wanted.
    assert_eq!(
        step(&mut scheduler),
        [Part::Decode(c), given(a, 20..21, true), given(b, 20..21, true)]
    );
    assert_eq!(scheduler.in_use(), 5 + 3 * 2, "five blocks are shared");
    let late = scheduler.enqueue(demand());
    let admitted = scheduler.admit();
    assert_eq!((admitted[0].ticket, admitted[0].blocks.len()), (late, 5));
}

#[test]
fn one_that_goes_away_holds_nobody_up() {
    let mut scheduler = new();
    let [a, b] = [(); 2].map(|()| scheduler.enqueue(reply(100, 30, 40)));
    admit(&mut scheduler);
    assert_eq!(step(&mut scheduler), [given(a, 0..8, false)]);
    scheduler.finish(a);
    assert_eq!(step(&mut scheduler), [given(b, 8..16, false)], "after what it left");
}

#[test]
fn a_scoring_takes_what_is_there_and_leaves_nothing() {
    let mut scheduler = new();
    let stream = scheduler.enqueue(reply(100, 8, 9));
    admit(&mut scheduler);
    step(&mut scheduler);
    scheduler.finish(stream);
    assert_eq!(scheduler.unused(), 2);
    let mut demand = score(20);
    demand.tokens = (100..120).collect();
    demand.adoptable = 7;
    let scoring = scheduler.enqueue(demand);
    assert_eq!(scheduler.admit()[0].blocks.len(), 1, "7 tokens may be taken: one block");
    assert_eq!(step(&mut scheduler), [given(scoring, 4..12, false)]);
    assert_eq!(step(&mut scheduler), [given(scoring, 12..20, true)]);
    scheduler.finish(scoring);
    assert_eq!((scheduler.in_use(), scheduler.unused()), (0, 2));
}

#[test]
fn the_younger_head_does_not_overtake_one_that_waits_for_memory() {
    let mut scheduler = new();
    let first = scheduler.enqueue(reply(100, 10, 100));
    let large = scheduler.enqueue(reply(200, 10, 90));
    let small = scheduler.enqueue(score(5));
    assert_eq!(admit(&mut scheduler), [first]);
    scheduler.finish(first);
    assert_eq!(admit(&mut scheduler), [large, small]);
}

#[test]
fn what_nobody_holds_makes_room() {
    let mut scheduler = new();
    let first = scheduler.enqueue(reply(100, 80, 100));
    admit(&mut scheduler);
    (0..10).for_each(|_| drop(step(&mut scheduler)));
    scheduler.finish(first);
    assert_eq!((scheduler.in_use(), scheduler.unused()), (0, 20));
    let second = scheduler.enqueue(reply(200, 10, 100));
    assert_eq!(admit(&mut scheduler), [second]);
    assert_eq!((scheduler.in_use(), scheduler.unused(), scheduler.evicted()), (25, 5, 15));
    let third = scheduler.enqueue(reply(100, 80, 80));
    assert_eq!(admit(&mut scheduler), [], "with its five blocks it is still 15 too many");
    scheduler.finish(second);
    assert_eq!(scheduler.admit()[0].blocks.len(), 5);
    assert_eq!(scheduler.model(third), Some(&base()));
}

#[test]
fn a_full_line_does_not_hold_up_the_other() {
    let mut scheduler = new();
    let scores: Vec<_> = (0..5).map(|_| scheduler.enqueue(score(5))).collect();
    let chat = scheduler.enqueue(reply(100, 5, 10));
    assert_eq!(admit(&mut scheduler), [scores[0], scores[1], chat]);
}

mod swaps;
