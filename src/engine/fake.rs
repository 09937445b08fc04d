//! A model without weights, for tests: it says what it is told to, or gives logits that depend on
//! every token before them, and it can be held, break, and be asked what it saw.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::sampler;
use super::{Forward, ForwardError, Rows, Work};

/// How far the logit of a scripted token stands above the others, which are 0.
const SPIKE: f32 = 50.0;

/// What a [`Fake`] answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Habit {
    /// Each reply is these ids; after the last one, the last one again.
    Script(Vec<u32>),
    /// Logits in -4..4 that depend on the salt and on every token so far.
    Hash(u64),
    /// The logits are not numbers.
    NotANumber,
    /// The step fails.
    Fail,
    /// The step panics.
    Panic,
}

/// A model without weights.
#[derive(Clone, Debug)]
pub struct Fake {
    vocab: usize,
    context: usize,
    block: usize,
    habit: Habit,
    gate: Option<Gate>,
    seen: Arc<Seen>,
}

/// What a [`Fake`] and its clones were given so far.
#[derive(Debug, Default)]
pub struct Seen {
    caches: AtomicUsize,
    blocks: AtomicUsize,
    tokens: AtomicUsize,
    sequences_max: AtomicUsize,
    tokens_max: AtomicUsize,
}

impl Seen {
    /// Caches that are alive.
    pub fn caches(&self) -> usize {
        self.caches.load(Ordering::Acquire)
    }

    /// Shared blocks that are alive, each counted once.
    pub fn blocks(&self) -> usize {
        self.blocks.load(Ordering::Acquire)
    }

    /// Tokens computed.
    pub fn tokens(&self) -> usize {
        self.tokens.load(Ordering::Acquire)
    }

    /// Most sequences in one batch.
    pub fn sequences_max(&self) -> usize {
        self.sequences_max.load(Ordering::Acquire)
    }

    /// Most tokens in one batch.
    pub fn tokens_max(&self) -> usize {
        self.tokens_max.load(Ordering::Acquire)
    }
}

/// Holds a [`Fake`] back: it computes as many steps as were allowed, then waits.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    allowed: Arc<(Mutex<usize>, Condvar)>,
}

impl Gate {
    /// Allows this many more steps.
    pub fn allow(&self, steps: usize) {
        let mut allowed = self.allowed.0.lock().unwrap_or_else(PoisonError::into_inner);
        *allowed = allowed.saturating_add(steps);
        self.allowed.1.notify_all();
    }

    /// Holds nothing back any more.
    pub fn open(&self) {
        self.allow(usize::MAX);
    }

    fn pass(&self) {
        let allowed = self.allowed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.allowed.1.wait_while(allowed, |allowed| *allowed == 0);
        let mut allowed = wait.unwrap_or_else(PoisonError::into_inner);
        if *allowed != usize::MAX {
            *allowed -= 1;
        }
    }
}

/// What is kept of one sequence.
#[derive(Debug)]
pub struct FakeCache {
    /// By token, a state that depends on the model and on every token so far, as keys and values
    /// do: what was taken from elsewhere shows in the logits.
    states: Vec<u64>,
    /// Tokens before the reply, once it has begun.
    prompt: Option<usize>,
    seen: Arc<Seen>,
}

impl Drop for FakeCache {
    fn drop(&mut self) {
        self.seen.caches.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Some tokens' states, shared.
pub type FakeBlock = Arc<FakeStates>;

/// What a [`FakeBlock`] shares.
#[derive(Debug)]
pub struct FakeStates {
    states: Vec<u64>,
    seen: Arc<Seen>,
}

impl Drop for FakeStates {
    fn drop(&mut self) {
        self.seen.blocks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tokens per block of a [`Fake`] that was not told otherwise.
const BLOCK: usize = 4;

impl Fake {
    /// A model of `vocab` ids and `context` tokens.
    pub fn new(vocab: usize, context: usize, habit: Habit) -> Self {
        Self { vocab, context, block: BLOCK, habit, gate: None, seen: Arc::default() }
    }

    /// The same, held back by a gate.
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The same, with blocks of this many tokens.
    pub fn with_blocks_of(mut self, tokens: usize) -> Self {
        self.block = tokens;
        self
    }

    /// What it was given.
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }

    /// The logits after `tokens`, the first `prompt` of which are the prompt.
    ///
    /// # Shapes
    /// `[vocab]`
    pub fn logits(&self, tokens: &[u32], prompt: usize) -> Vec<f32> {
        let state = tokens.iter().fold(self.salt(), |state, id| next(state, *id));
        self.logits_of(state, tokens.len().saturating_sub(prompt))
    }

    /// The logits of a state, after which `said` tokens of a reply.
    fn logits_of(&self, state: u64, said: usize) -> Vec<f32> {
        match &self.habit {
            Habit::Script(script) => {
                let mut row = vec![0.0; self.vocab];
                let id = script.get(said).or(script.last()).copied().unwrap_or_default();
                row[id as usize] = SPIKE;
                row
            }
            Habit::Hash(_) => {
                let value = |id| (mix(state.wrapping_add(id)) >> 40) as f32 / (1 << 21) as f32;
                (0..self.vocab as u64).map(|id| value(id) - 4.0).collect()
            }
            Habit::NotANumber | Habit::Fail | Habit::Panic => vec![f32::NAN; self.vocab],
        }
    }

    /// The state before the first token.
    fn salt(&self) -> u64 {
        if let Habit::Hash(salt) = self.habit { salt } else { 0 }
    }

    fn work(&self, work: &mut Work<'_, FakeCache>) {
        let FakeCache { states, prompt, .. } = &mut *work.cache;
        for id in work.tokens {
            states.push(next(states.last().copied().unwrap_or(self.salt()), *id));
        }
        match work.rows {
            Rows::None => {}
            Rows::Last => {
                let said = states.len() - *prompt.get_or_insert(states.len());
                work.out =
                    states.last().map(|state| self.logits_of(*state, said)).unwrap_or_default();
            }
            Rows::Scored { targets, temperature, top } => {
                for (state, id) in states[states.len() - targets.len()..].iter().zip(targets) {
                    let row = self.logits_of(*state, 0);
                    let scored = sampler::logprob_and_top(&row, *id, temperature, top);
                    let (logprob, best) = scored.unwrap_or((f32::NAN, Vec::new()));
                    work.out.push(logprob);
                    work.top.extend((top > 0).then_some(best));
                }
            }
        }
    }
}

/// The state after one more token.
fn next(state: u64, id: u32) -> u64 {
    mix(state ^ u64::from(id))
}

/// SplitMix64's finaliser.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Forward for Fake {
    type Cache = FakeCache;
    type Block = FakeBlock;

    fn context(&self) -> usize {
        self.context
    }

    fn vocab(&self) -> usize {
        self.vocab
    }

    fn new_cache(&self, _tokens: usize) -> FakeCache {
        self.seen.caches.fetch_add(1, Ordering::AcqRel);
        FakeCache { states: Vec::new(), prompt: None, seen: self.seen.clone() }
    }

    fn block_tokens(&self) -> usize {
        self.block
    }

    fn share(&self, cache: &FakeCache, index: usize) -> FakeBlock {
        self.seen.blocks.fetch_add(1, Ordering::AcqRel);
        let states = cache.states[index * self.block..(index + 1) * self.block].to_vec();
        Arc::new(FakeStates { states, seen: self.seen.clone() })
    }

    fn adopt(
        &self,
        cache: &mut FakeCache,
        index: usize,
        block: &FakeBlock,
    ) -> Result<(), ForwardError> {
        let start = index * self.block;
        let end = cache.states.len().min(start + block.states.len());
        cache.states.splice(start..end, block.states.iter().copied());
        Ok(())
    }

    #[expect(clippy::panic, reason = "a habit that tests ask for")]
    fn forward(&self, work: &mut [Work<'_, FakeCache>]) -> Result<(), ForwardError> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.seen.sequences_max.fetch_max(work.len(), Ordering::AcqRel);
        let tokens = work.iter().map(|work| work.tokens.len()).sum();
        self.seen.tokens_max.fetch_max(tokens, Ordering::AcqRel);
        self.seen.tokens.fetch_add(tokens, Ordering::AcqRel);
        match self.habit {
            Habit::Fail => return Err(ForwardError { reason: "told to fail".to_owned() }),
            Habit::Panic => panic!("told to panic"),
            _ => {}
        }
        for work in work {
            self.work(work);
        }
        Ok(())
    }
}
