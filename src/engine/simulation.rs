//! The whole engine but its thread, under seeded simulations: requests that come, continue one
//! another and go away at any moment, versions, adapters and pauses in between, and memory that
//! never suffices. Every reply must say what it would have said alone.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::sync::mpsc::error::TryRecvError;

use super::fake::{Fake, Habit, Seen};
use super::sampler::{Choice, Sampler};
use super::worker::Worker;
use super::*;
use crate::rollout::{FinishReason, Sampling, Version};

const VOCAB: usize = 13;
const CONTEXT: usize = 90;
const NAMES: [&str; 2] = ["a", "b"];

/// A reply or a scoring that has not ended.
enum Asked {
    Reply { prompt: Vec<u32>, sampling: Sampling, ids: Vec<u32>, generation: Generation },
    Score { ids: Vec<u32>, start: usize, logprobs: Vec<f32>, answer: Answer<Scored> },
}

struct Request {
    adapter: Option<Arc<str>>,
    asked: Asked,
    version: Option<Version>,
}

struct World {
    engine: Engine,
    worker: Worker,
    random: ChaCha8Rng,
    options: EngineOptions,
    block: usize,
    /// What the models of a version and an adapter were salted with: a name may be given again.
    salts: BTreeMap<(Version, Option<Arc<str>>), Vec<u64>>,
    seen: Vec<(Version, Arc<Seen>)>,
    requests: Vec<Request>,
    swaps: Vec<(Version, Answer<()>)>,
    unloading: Vec<Answer<()>>,
    newest: Version,
    /// What was said, to be continued.
    transcripts: Vec<Vec<u32>>,
    told: Told,
}

/// What happened in a simulation, so that it can be seen that everything did.
#[derive(Debug, Default)]
struct Told {
    completed: usize,
    scored: usize,
    dropped: usize,
    unknown: usize,
    superseded: usize,
    unloaded: usize,
    flushed: usize,
    stats: EngineStats,
}

/// A model whose every version, adapter and load is another one.
fn model(salt: u64, block: usize) -> Fake {
    Fake::new(VOCAB, CONTEXT, Habit::Hash(salt)).with_blocks_of(block)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |bound: u64| (random.next_u64() % bound) as usize;
        let block = 1 + below(5);
        let options = EngineOptions {
            running_max: 1 + below(5),
            scoring_max: 1 + below(2),
            waiting_max: 1 + below(20),
            prefill_chunk: 1 + below(12),
            cache_tokens_max: 40 + below(120),
            prefix_cache: below(8) > 0,
            warm_tokens_max: (below(2) == 0).then_some(below(60)),
            ..EngineOptions::default()
        };
        let base = model(0, block);
        let seen = vec![(Version::BASE, base.seen())];
        let (engine, worker, _) =
            Engine::assemble(Arc::new(base).into(), Version::BASE, options.clone()).unwrap();
        Self {
            engine,
            worker,
            random,
            options,
            block,
            salts: BTreeMap::from([((Version::BASE, None), vec![0])]),
            seen,
            requests: Vec::new(),
            swaps: Vec::new(),
            unloading: Vec::new(),
            newest: Version::BASE,
            transcripts: Vec::new(),
            told: Told::default(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random.next_u64() % bound as u64) as usize
    }

    fn ids(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(VOCAB) as u32).collect()
    }

    /// Tokens that often begin as others did.
    fn tokens(&mut self, most: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        if !self.transcripts.is_empty() && self.below(4) > 0 {
            let index = self.below(self.transcripts.len());
            tokens = self.transcripts[index].clone();
            tokens.truncate(1 + self.below(tokens.len() + 20));
        }
        let more = 1 + self.below(12);
        tokens.extend(self.ids(more));
        tokens.truncate(most);
        tokens
    }

    fn adapter(&mut self) -> Option<Arc<str>> {
        let index = self.below(4);
        NAMES.get(index).map(|name| Arc::from(*name))
    }

    fn new_model(&mut self, version: Version, adapter: Option<&str>) -> Arc<Fake> {
        let salt = self.random.next_u64();
        let model = model(salt, self.block);
        self.salts.entry((version, adapter.map(Arc::from))).or_default().push(salt);
        self.seen.push((version, model.seen()));
        Arc::new(model)
    }

    fn ask(&mut self) {
        let most = self.engine.sequence_tokens_max();
        let max_tokens = 1 + self.below(12);
        let adapter = self.adapter();
        let temperature = [0.0, 1.0][self.below(2)];
        if self.below(4) == 0 {
            let ids = self.tokens(most.max(2));
            if ids.len() < 2 {
                return;
            }
            let start = 1 + self.below(ids.len() - 1);
            let request = ScoreRequest {
                ids: ids.clone(),
                start,
                temperature: 1.0,
                adapter: adapter.clone(),
                top_logprobs: 0,
            };
            let answer = self.engine.score(request);
            let asked = Asked::Score { ids, start, logprobs: Vec::new(), answer };
            return self.requests.push(Request { adapter, asked, version: None });
        }
        let prompt = self.tokens(most - max_tokens);
        let sampling = Sampling {
            temperature,
            top_p: 1.0,
            top_k: 0,
            seed: self.random.next_u64(),
            max_tokens: max_tokens as u32,
            ..Sampling::default()
        };
        let mut request = GenerateRequest::new(prompt.clone(), sampling.clone());
        request.adapter.clone_from(&adapter);
        request.stop_ids = Arc::from([0]);
        match self.engine.submit(request) {
            Ok(generation) => {
                let asked = Asked::Reply { prompt, sampling, ids: Vec::new(), generation };
                self.requests.push(Request { adapter, asked, version: None });
            }
            Err(EngineError::Full { .. }) => {}
            Err(EngineError::UnknownAdapter { .. }) => self.told.unknown += 1,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn swap(&mut self) {
        let back = self.below(6) == 0;
        let version = if back { self.newest } else { Version(self.newest.0 + 1) };
        self.newest = version;
        let mut set = ModelSet::from(self.new_model(version, None));
        for name in NAMES {
            if self.below(3) > 0 {
                set = set.with_adapter(name, self.new_model(version, Some(name)));
            }
        }
        let answer = self.engine.swap(set, version);
        self.swaps.push((version, answer));
    }

    fn change_adapters(&mut self) {
        let name = NAMES[self.below(2)];
        let version = self.engine.stats().live.unwrap();
        if self.below(2) == 0 {
            let model = self.new_model(version, Some(name));
            let mut answer = self.engine.load_adapter(name, model, version);
            self.worker.take_rest();
            let loaded = poll(&mut answer).expect("it is answered at once");
            assert!(matches!(loaded, Ok(()) | Err(EngineError::Adapter { .. })), "{loaded:?}");
        } else {
            let answer = self.engine.unload_adapter(name);
            self.unloading.push(answer);
        }
    }

    /// Something happens to the engine.
    fn happen(&mut self) {
        match self.below(100) {
            0..=39 => self.ask(),
            40..=47 if !self.requests.is_empty() => {
                let index = self.below(self.requests.len());
                drop(self.requests.swap_remove(index));
                self.told.dropped += 1;
            }
            48..=51 => self.swap(),
            52..=54 => self.change_adapters(),
            55 => drop(self.engine.pause()),
            56..=59 => drop(self.engine.resume()),
            60 => {
                let mut answer = self.engine.flush_prefixes();
                self.worker.take_rest();
                self.told.flushed += poll(&mut answer).unwrap().unwrap();
                assert_eq!(self.engine.stats().prefix_tokens, 0);
            }
            _ => {}
        }
    }

    fn turn(&mut self) {
        self.worker.take_rest();
        self.worker.turn();
        self.read();
        let stats = self.engine.stats();
        let used = stats.cache_tokens + stats.prefix_tokens;
        assert!(used <= self.options.cache_tokens_max, "{stats:?}");
        assert!(stats.running <= self.options.running_max, "{stats:?}");
        assert!(stats.scoring <= self.options.scoring_max, "{stats:?}");
        assert!(stats.resident.len() <= 2, "{stats:?}");
        let (mut caches, mut blocks) = (0, 0);
        for (version, seen) in &self.seen {
            let known = stats.resident.contains(version) || stats.pending == Some(*version);
            assert!(known || (seen.caches(), seen.blocks()) == (0, 0), "{version} left something");
            caches += seen.caches();
            blocks += seen.blocks();
        }
        assert!(caches <= stats.running + stats.scoring + 1, "one is warmed: {stats:?}");
        assert!(blocks * self.block >= stats.prefix_tokens, "{stats:?}");
        assert!(blocks * self.block <= used, "{blocks} blocks, {stats:?}");
    }

    /// Reads what came of the requests, and checks those that ended.
    fn read(&mut self) {
        let (mut open, salts) = (Vec::new(), &self.salts);
        for mut request in std::mem::take(&mut self.requests) {
            match request.read() {
                None => open.push(request),
                Some(Ok(())) => {
                    request.check(salts);
                    match request.asked {
                        Asked::Reply { prompt, ids, .. } => {
                            self.transcripts.push([prompt, ids].concat());
                            self.told.completed += 1;
                        }
                        Asked::Score { .. } => self.told.scored += 1,
                    }
                }
                Some(Err(EngineError::UnknownAdapter { .. })) => {
                    assert!(request.adapter.is_some());
                    self.told.unknown += 1;
                }
                Some(Err(EngineError::Full { .. })) => {}
                Some(Err(error)) => panic!("{error:?}"),
            }
        }
        self.requests = open;
        self.transcripts.drain(..self.transcripts.len().saturating_sub(6));
        let told = &mut self.told;
        self.swaps.retain_mut(|(version, answer)| match poll(answer) {
            None => true,
            Some(Ok(())) => false,
            Some(Err(error)) => {
                let superseded = matches!(error, EngineError::Superseded { version: of, .. }
                    if of == *version);
                assert!(superseded, "{error:?}");
                told.superseded += 1;
                false
            }
        });
        self.unloading.retain_mut(|answer| match poll(answer) {
            None => true,
            Some(unloaded) => {
                told.unloaded += usize::from(unloaded.is_ok());
                false
            }
        });
    }

    /// Lets everything come to its end, and looks at what is left.
    fn end(mut self, seed: u64) -> Told {
        drop(self.engine.resume());
        let mut turns = 0;
        loop {
            self.turn();
            let ended = self.requests.is_empty() && self.swaps.is_empty();
            if ended && self.unloading.is_empty() {
                break;
            }
            turns += 1;
            assert!(turns < 5000, "seed {seed}: something waits forever");
        }
        self.turn();
        let stats = self.engine.stats();
        assert_eq!(stats.live, Some(self.newest), "seed {seed}");
        assert_eq!(stats.resident, [self.newest]);
        let idle = (stats.running, stats.scoring, stats.waiting, stats.cache_tokens);
        assert_eq!(idle, (0, 0, 0, 0), "seed {seed}");
        let blocks = |world: &Self| world.seen.iter().map(|(_, seen)| seen.blocks()).sum::<usize>();
        assert_eq!(blocks(&self) * self.block, stats.prefix_tokens, "seed {seed}");
        assert!(self.options.prefix_cache || stats.prefix_tokens == 0);
        let mut flushed = self.engine.flush_prefixes();
        self.turn();
        assert_eq!(poll(&mut flushed), Some(Ok(stats.prefix_tokens)));
        assert_eq!((blocks(&self), self.engine.stats().prefix_tokens), (0, 0), "seed {seed}");
        self.told.stats = stats;
        self.told
    }
}

fn poll<T>(answer: &mut Answer<T>) -> Option<Result<T, EngineError>> {
    match Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => Some(ready),
        Poll::Pending => None,
    }
}

impl Request {
    /// Reads as far as there is something; how it ended, if it has.
    fn read(&mut self) -> Option<Result<(), EngineError>> {
        match &mut self.asked {
            Asked::Score { answer, logprobs, .. } => {
                let scored = poll(answer)?;
                Some(scored.map(|scored| {
                    self.version = Some(scored.version);
                    *logprobs = scored.logprobs;
                }))
            }
            Asked::Reply { ids, generation, prompt, .. } => loop {
                match generation.channel.try_recv() {
                    Ok(Emitted::Begun { cached_tokens }) => assert!(cached_tokens < prompt.len()),
                    Ok(Emitted::Token(token)) => {
                        let version = *self.version.get_or_insert(token.version);
                        assert_eq!(version, token.version, "a reply keeps its version");
                        ids.push(token.id);
                    }
                    Ok(Emitted::Done { reason }) => {
                        let stopped = ids.last() == Some(&0);
                        assert_eq!(stopped, reason == FinishReason::Stop);
                        return Some(Ok(()));
                    }
                    Ok(Emitted::Failed(error)) => return Some(Err(error)),
                    Err(TryRecvError::Empty) => return None,
                    Err(TryRecvError::Disconnected) => panic!("it ended without an end"),
                }
            },
        }
    }

    /// Whether it is what one of the models of its version and adapter says alone.
    fn check(&self, salts: &BTreeMap<(Version, Option<Arc<str>>), Vec<u64>>) {
        let version = self.version.expect("it says which version");
        let salts = &salts[&(version, self.adapter.clone())];
        let expected = |salt: &u64| Fake::new(VOCAB, CONTEXT, Habit::Hash(*salt));
        match &self.asked {
            Asked::Reply { prompt, sampling, ids, .. } => {
                let alone = |salt| say(&expected(salt), prompt, sampling);
                assert!(salts.iter().any(|salt| alone(salt) == *ids), "it says something else");
            }
            Asked::Score { ids, start, logprobs, .. } => {
                let alone = |salt| {
                    let model = expected(salt);
                    let logprob = |at: usize| {
                        let logits = model.logits(&ids[..at], at);
                        sampler::logprob(&logits, ids[at], 1.0).unwrap()
                    };
                    (*start..ids.len()).map(logprob).collect::<Vec<f32>>()
                };
                assert!(
                    salts.iter().any(|salt| alone(salt) == *logprobs),
                    "scored as something else"
                );
            }
        }
    }
}

/// What a model says alone.
fn say(model: &Fake, prompt: &[u32], sampling: &Sampling) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling, prompt, 0);
    let mut tokens = prompt.to_vec();
    for _ in 0..sampling.max_tokens {
        let logits = model.logits(&tokens, prompt.len());
        let choice = Choice { allowed: None, banned: &[] };
        let id = sampler.sample(&logits, choice).unwrap().id;
        tokens.push(id);
        if id == 0 {
            break;
        }
    }
    tokens.split_off(prompt.len())
}

fn simulate(seeds: std::ops::Range<u64>) -> Told {
    let mut sum = Told::default();
    for seed in seeds {
        let mut world = World::new(seed);
        for _ in 0..250 {
            world.happen();
            if world.below(3) > 0 {
                world.turn();
            }
        }
        let told = world.end(seed);
        sum.completed += told.completed;
        sum.scored += told.scored;
        sum.dropped += told.dropped;
        sum.unknown += told.unknown;
        sum.superseded += told.superseded;
        sum.unloaded += told.unloaded;
        sum.flushed += told.flushed;
        sum.stats.swaps += told.stats.swaps;
        sum.stats.cached_tokens += told.stats.cached_tokens;
        sum.stats.evicted_tokens += told.stats.evicted_tokens;
        sum.stats.warmed_tokens += told.stats.warmed_tokens;
    }
    sum
}

#[test]
fn whatever_happens_every_reply_is_what_it_would_be_alone_and_nothing_is_left() {
    const SEEDS: u64 = 2000;
    let told = simulate(0..SEEDS);
    let seeds = SEEDS as usize;
    assert!(told.completed > 20 * seeds && told.scored > 5 * seeds, "{told:?}");
    let rare = [told.dropped, told.unknown, told.superseded, told.unloaded, told.flushed];
    assert!(rare.iter().all(|count| *count > seeds / 2), "{told:?}");
    let stats = &told.stats;
    let tokens = [stats.cached_tokens, stats.evicted_tokens, stats.warmed_tokens];
    assert!(tokens.iter().all(|count| *count > 20 * SEEDS), "{told:?}");
    assert!(stats.swaps > 3 * SEEDS, "{told:?}");
}
