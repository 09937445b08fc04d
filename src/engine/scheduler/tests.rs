//! The scheduler under a seeded simulation: thousands of requests that come, end and go away at
//! any moment, with swaps in between, checked after every step.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

const LIMITS: Limits =
    Limits { running_max: 4, scoring_max: 2, prefill_chunk: 8, cache_tokens_max: 120 };

/// A scheduler and a model of what it should be doing.
struct World {
    scheduler: Scheduler,
    random: ChaCha8Rng,
    requests: BTreeMap<Ticket, Request>,
    ended: BTreeMap<Ticket, u32>,
    newest: Version,
}

#[derive(Debug)]
struct Request {
    demand: Demand,
    /// Reply tokens still to be sampled.
    left: usize,
    computed: usize,
    version: Option<Version>,
    /// Steps since it got a place in which it made no progress.
    stalled: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            scheduler: Scheduler::new(LIMITS, Version::BASE),
            random: ChaCha8Rng::seed_from_u64(seed),
            requests: BTreeMap::new(),
            ended: BTreeMap::new(),
            newest: Version::BASE,
        }
    }

    fn below(&mut self, bound: u64) -> usize {
        (self.random.next_u64() % bound) as usize
    }

    fn arrive(&mut self) {
        let line = if self.below(4) == 0 { Line::Score } else { Line::Reply };
        let given = 1 + self.below(60);
        let reply = if line == Line::Reply { 1 + self.below(20) } else { 0 };
        let demand = Demand { line, given, memory: given + reply };
        let ticket = self.scheduler.enqueue(demand);
        let request = Request { demand, left: reply, computed: 0, version: None, stalled: 0 };
        self.requests.insert(ticket, request);
    }

    fn end(&mut self, ticket: Ticket) {
        self.scheduler.finish(ticket);
        self.requests.remove(&ticket).expect("ends once");
        *self.ended.entry(ticket).or_default() += 1;
    }

    fn swap(&mut self) {
        self.newest = Version(self.newest.0 + 1);
        self.scheduler.swap(self.newest);
    }

    fn step(&mut self) {
        self.scheduler.go_live();
        for ticket in self.scheduler.admit() {
            let request = self.requests.get_mut(&ticket).expect("known");
            assert!(request.version.is_none(), "{ticket:?} was admitted twice");
            request.version = self.scheduler.version(ticket);
            assert_eq!(request.version, Some(self.scheduler.live()));
        }
        let plan = self.scheduler.plan();
        for request in self.requests.values_mut().filter(|r| r.version.is_some()) {
            request.stalled += 1;
        }
        let mut given_tokens = 0;
        for (version, parts) in plan {
            for part in parts {
                given_tokens += self.carry_out(version, part);
            }
        }
        assert!(given_tokens <= LIMITS.prefill_chunk);
        self.check();
    }

    fn carry_out(&mut self, version: Version, part: Part) -> usize {
        let (Part::Decode(ticket) | Part::Given { ticket, .. }) = part;
        let request = self.requests.get_mut(&ticket).expect("a part of a living request");
        assert_eq!(request.version, Some(version), "a sequence keeps its version");
        request.stalled = 0;
        let mut tokens_given = 0;
        match part {
            Part::Decode(_) => {
                assert_eq!(request.computed, request.demand.given);
                request.left -= 1;
            }
            Part::Given { tokens, last, .. } => {
                assert_eq!(tokens.start, request.computed);
                assert!(!tokens.is_empty());
                tokens_given = tokens.len();
                request.computed = tokens.end;
                assert_eq!(last, request.computed == request.demand.given);
                if last && request.demand.line == Line::Reply {
                    request.left -= 1;
                }
            }
        }
        if request.computed == request.demand.given && request.left == 0 {
            self.end(ticket);
        }
        tokens_given
    }

    fn check(&self) {
        let scheduler = &self.scheduler;
        let placed: Vec<_> = self.requests.values().filter(|r| r.version.is_some()).collect();
        let memory: usize = placed.iter().map(|r| r.demand.memory).sum();
        assert_eq!(scheduler.reserved(), memory, "memory of the ended is freed, no other");
        assert!(memory <= LIMITS.cache_tokens_max);
        assert!(scheduler.placed(Line::Reply) <= LIMITS.running_max);
        assert!(scheduler.placed(Line::Score) <= LIMITS.scoring_max);
        assert!(scheduler.resident().len() <= 2, "{:?}", scheduler.resident());
        let waiting = scheduler.waiting(Line::Reply) + scheduler.waiting(Line::Score);
        assert_eq!(waiting + placed.len(), self.requests.len());
        for request in placed {
            let patience = LIMITS.running_max + LIMITS.scoring_max;
            assert!(request.stalled <= patience, "starved: {request:?}");
            let decodes = request.computed == request.demand.given;
            assert!(!decodes || request.stalled == 0, "a stream stalled: {request:?}");
        }
    }
}

#[test]
fn every_request_ends_once_whatever_happens() {
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
            world.step();
        }
        let mut steps = 0;
        while !world.requests.is_empty() {
            world.step();
            steps += 1;
            assert!(steps < 30 * 80, "seed {seed} does not drain: {:?}", world.requests);
        }
        assert!(world.scheduler.is_idle());
        assert_eq!(world.scheduler.reserved(), 0);
        assert!(world.ended.values().all(|times| *times == 1));
        world.step();
        assert_eq!(world.scheduler.live(), world.newest, "the last swap went live");
        assert_eq!(world.scheduler.resident().len(), 1);
    }
}

fn reply(given: usize, memory: usize) -> Demand {
    Demand { line: Line::Reply, given, memory }
}

fn given(ticket: Ticket, tokens: Range<usize>, last: bool) -> Part {
    Part::Given { ticket, tokens, last }
}

#[test]
fn a_long_prompt_stalls_neither_streams_nor_short_prompts() {
    let mut scheduler = Scheduler::new(LIMITS, Version::BASE);
    let stream = scheduler.enqueue(reply(2, 10));
    let long = scheduler.enqueue(reply(40, 50));
    let short = scheduler.enqueue(reply(3, 10));
    assert_eq!(scheduler.admit(), [stream, long, short]);
    let parts = |scheduler: &mut Scheduler| scheduler.plan().remove(&Version::BASE);
    assert_eq!(
        parts(&mut scheduler),
        Some(vec![given(stream, 0..2, true), given(long, 0..6, false)])
    );
    assert_eq!(
        parts(&mut scheduler),
        Some(vec![Part::Decode(stream), given(short, 0..3, true), given(long, 6..11, false)])
    );
    assert_eq!(
        parts(&mut scheduler),
        Some(vec![Part::Decode(stream), Part::Decode(short), given(long, 11..19, false)])
    );
}

#[test]
fn the_younger_head_does_not_overtake_one_that_waits_for_memory() {
    let mut scheduler = Scheduler::new(LIMITS, Version::BASE);
    let first = scheduler.enqueue(reply(10, 100));
    let large = scheduler.enqueue(reply(10, 90));
    let score = Demand { line: Line::Score, given: 5, memory: 5 };
    let small = scheduler.enqueue(score);
    assert_eq!(scheduler.admit(), [first]);
    scheduler.finish(first);
    assert_eq!(scheduler.admit(), [large, small]);
}

#[test]
fn a_full_line_does_not_hold_up_the_other() {
    let mut scheduler = Scheduler::new(LIMITS, Version::BASE);
    let score = Demand { line: Line::Score, given: 5, memory: 5 };
    let scores: Vec<_> = (0..5).map(|_| scheduler.enqueue(score)).collect();
    let chat = scheduler.enqueue(reply(5, 10));
    assert_eq!(scheduler.admit(), [scores[0], scores[1], chat]);
}

#[test]
fn a_third_version_waits_for_the_oldest_and_a_fourth_takes_its_place() {
    let mut scheduler = Scheduler::new(LIMITS, Version(0));
    let oldest = scheduler.enqueue(reply(1, 9));
    scheduler.admit();
    assert_eq!(scheduler.swap(Version(1)), None);
    assert_eq!(scheduler.go_live(), Some(Version(1)));
    let newer = scheduler.enqueue(reply(1, 9));
    scheduler.admit();
    assert_eq!(scheduler.version(newer), Some(Version(1)));

    assert_eq!(scheduler.swap(Version(2)), None);
    assert_eq!(scheduler.go_live(), None, "two versions are in flight");
    assert_eq!(scheduler.swap(Version(3)), Some(Version(2)), "2 is displaced");
    assert_eq!(scheduler.go_live(), None);
    scheduler.finish(oldest);
    assert_eq!(scheduler.go_live(), Some(Version(3)));
    assert_eq!(scheduler.resident(), [Version(1), Version(3)].into());
    assert_eq!(scheduler.go_live(), None, "nothing waits");
}

#[test]
fn an_older_version_that_still_runs_can_go_live_again() {
    let mut scheduler = Scheduler::new(LIMITS, Version(0));
    scheduler.enqueue(reply(1, 9));
    scheduler.admit();
    scheduler.swap(Version(1));
    scheduler.go_live();
    scheduler.enqueue(reply(1, 9));
    scheduler.admit();
    scheduler.swap(Version(0));
    assert_eq!(scheduler.go_live(), Some(Version(0)), "it is held already");
}
