//! Drawing one id from a row of logits, with its exact log-probability.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{AllowedIds, TopLogprobs};
use crate::rollout::Sampling;

/// A logit that is no number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the logit of token {id} is {value}")]
pub struct NotFinite {
    /// The id.
    pub id: usize,
    /// Its logit.
    pub value: f32,
}

/// What may come next, beside what the request's sampling says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// The ids that the grammar allows: at least one of the vocabulary; every id if absent.
    pub allowed: Option<&'a AllowedIds>,
    /// Ids that may not come; without effect where there is a grammar.
    pub banned: &'a [u32],
}

/// What was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The id.
    pub id: u32,
    /// Its log-probability by the one definition, [`logprob`].
    pub logprob: f32,
    /// Its log-probability in the distribution that it was drawn from; 0 at temperature 0, where
    /// it was certain. Equal to `logprob` where nothing came between the two.
    pub drawn_logprob: f32,
    /// Whether the grammar allowed no other id.
    pub forced: bool,
    /// The most probable ids by the one definition, as many as were asked for.
    pub top: TopLogprobs,
}

/// Draws the tokens of one reply. Its random stream is its own: what else is in the batch does
/// not change it.
///
/// # Order
/// Logit bias; penalties (repetition over prompt and reply, presence and frequency over the
/// reply); the grammar; temperature; `top_k`; `top_p`; `min_p`. Each works on what the one before
/// left. At temperature 0 the best after the grammar is taken.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    /// How many of the most probable ids are reported.
    top: usize,
    adjust: Option<Box<Adjust>>,
    random: ChaCha8Rng,
    candidates: Vec<(f32, u32)>,
    /// The logits after bias, penalties and grammar, where there are any.
    adjusted: Vec<f32>,
}

impl Sampler {
    /// A sampler at the start of the stream of `sampling.seed`, for a reply to `prompt`, which
    /// reports the `top` most probable ids of each row.
    pub fn new(sampling: &Sampling, prompt: &[u32], top: usize) -> Self {
        Self {
            temperature: sampling.temperature,
            top_k: sampling.top_k as usize,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            top,
            adjust: Adjust::new(sampling, prompt),
            random: ChaCha8Rng::seed_from_u64(sampling.seed),
            candidates: Vec::new(),
            adjusted: Vec::new(),
        }
    }

    /// Draws one id of `choice`, and counts it as a part of the reply.
    ///
    /// # Shapes
    /// `logits`: `[vocab]`, vocab > 0.
    ///
    /// # Errors
    /// A logit is not finite; nothing is drawn.
    pub fn sample(&mut self, logits: &[f32], choice: Choice<'_>) -> Result<Drawn, NotFinite> {
        let plain = Row::new(logits, self.temperature)?;
        let restricted = choice.allowed.is_some() || !choice.banned.is_empty();
        let (id, drawn_logprob) = if self.adjust.is_none() && !restricted {
            self.draw(&plain)
        } else {
            let mut adjusted = std::mem::take(&mut self.adjusted);
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            if let Some(adjust) = &self.adjust {
                adjust.apply(&mut adjusted);
            }
            choice.apply(&mut adjusted);
            let drawn = self.draw(&Row::adjusted(&adjusted, self.temperature));
            self.adjusted = adjusted;
            drawn
        };
        if let Some(adjust) = &mut self.adjust {
            adjust.said(id);
        }
        Ok(Drawn {
            id,
            logprob: plain.logprob(id),
            drawn_logprob,
            forced: choice.allowed.is_some_and(|allowed| allowed.len() == 1),
            top: plain.top(self.top, &mut self.candidates),
        })
    }

    /// An id of the row, and its log-probability among those that could have been drawn.
    fn draw(&mut self, row: &Row<'_>) -> (u32, f32) {
        if self.temperature == 0.0 {
            return (row.best, 0.0);
        }
        if self.cuts(row.logits.len()) {
            return self.draw_cut(row);
        }
        let point = self.uniform() * row.mass;
        let id = row.at(point);
        (id, row.logprob(id))
    }

    /// Whether truncation can remove anything.
    fn cuts(&self, vocab: usize) -> bool {
        self.top_p < 1.0 || self.min_p > 0.0 || (self.top_k > 0 && self.top_k < vocab)
    }

    /// Uniform in [0, 1), 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A draw from the candidates that `top_k`, `top_p` and `min_p` leave.
    fn draw_cut(&mut self, row: &Row<'_>) -> (u32, f32) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let possible = row.logits.iter().copied().zip(0_u32..);
        candidates.extend(possible.filter(|(logit, _)| *logit > f32::NEG_INFINITY));
        if self.top_k > 0 {
            keep_best(&mut candidates, self.top_k);
        }
        let (kept, mut mass) = self.nucleus(&mut candidates, row);
        candidates.truncate(kept);
        if self.min_p > 0.0 {
            // The best one weighs 1.
            candidates.retain(|(logit, _)| row.weight(*logit) >= f64::from(self.min_p));
            mass = candidates.iter().map(|(logit, _)| row.weight(*logit)).sum();
        }
        let mut point = self.uniform() * mass;
        let mut id = row.best;
        for &(logit, candidate) in &candidates {
            point -= row.weight(logit);
            if point < 0.0 {
                id = candidate;
                break;
            }
        }
        self.candidates = candidates;
        (id, row.logprob_of(id, mass))
    }

    /// Orders `candidates` as far as needed; how many of them the nucleus keeps, and their mass.
    fn nucleus(&self, candidates: &mut [(f32, u32)], row: &Row<'_>) -> (usize, f64) {
        let total: f64 = candidates.iter().map(|c| row.weight(c.0)).sum();
        if self.top_p >= 1.0 {
            return (candidates.len(), total);
        }
        let target = total * f64::from(self.top_p);
        let mut sorted = 0;
        let mut mass = 0.0;
        let mut window = 64;
        while sorted < candidates.len() {
            let end = (sorted + window).min(candidates.len());
            let rest = &mut candidates[sorted..];
            if end - sorted < rest.len() {
                rest.select_nth_unstable_by(end - sorted, best_first);
            }
            rest[..end - sorted].sort_unstable_by(best_first);
            for (index, candidate) in rest[..end - sorted].iter().enumerate() {
                mass += row.weight(candidate.0);
                if mass >= target {
                    return (sorted + index + 1, mass);
                }
            }
            sorted = end;
            window *= 4;
        }
        (candidates.len(), mass)
    }
}

impl Choice<'_> {
    /// Leaves nothing of what may not come.
    fn apply(&self, logits: &mut [f32]) {
        match self.allowed {
            Some(allowed) => {
                for (word, logits) in allowed.words().iter().zip(logits.chunks_mut(32)) {
                    for (bit, logit) in (0_u32..).zip(logits) {
                        if word >> bit & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
            None if self.banned.len() < logits.len() => {
                for id in self.banned {
                    if let Some(logit) = logits.get_mut(*id as usize) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
            // Something has to come.
            None => {}
        }
    }
}

/// Bias and penalties of one reply.
#[derive(Clone, Debug)]
struct Adjust {
    bias: Vec<(u32, f32)>,
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// How often the reply holds an id; 0 for those that only the prompt holds, which are there
    /// only if the repetition penalty needs them.
    seen: BTreeMap<u32, u32>,
}

impl Adjust {
    /// `None` where nothing is to be adjusted.
    fn new(sampling: &Sampling, prompt: &[u32]) -> Option<Box<Self>> {
        let repeats = sampling.repetition_penalty != 1.0;
        let counts = sampling.presence_penalty != 0.0 || sampling.frequency_penalty != 0.0;
        (repeats || counts || !sampling.logit_bias.is_empty()).then(|| {
            let before = if repeats { prompt } else { &[] };
            Box::new(Self {
                bias: sampling.logit_bias.clone(),
                repetition: sampling.repetition_penalty,
                presence: sampling.presence_penalty,
                frequency: sampling.frequency_penalty,
                seen: before.iter().map(|id| (*id, 0)).collect(),
            })
        })
    }

    fn apply(&self, logits: &mut [f32]) {
        for (id, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit += bias;
            }
        }
        for (id, count) in &self.seen {
            let Some(logit) = logits.get_mut(*id as usize) else { continue };
            *logit = match *logit > 0.0 {
                true => *logit / self.repetition,
                false => *logit * self.repetition,
            };
            if *count > 0 {
                *logit -= self.presence + self.frequency * *count as f32;
            }
        }
    }

    fn said(&mut self, id: u32) {
        *self.seen.entry(id).or_default() += 1;
    }
}

/// Higher logits first, lower ids first among equals.
fn best_first(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Leaves the `count` best candidates, in no order.
fn keep_best(candidates: &mut Vec<(f32, u32)>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, best_first);
        candidates.truncate(count);
    }
}

/// log π(id): the full-vocabulary log-softmax of `logits / temperature` at `id`; at temperature 0
/// that of the plain logits. This is the one definition of a recorded log-probability.
///
/// # Shapes
/// `logits`: `[vocab]`; `id < vocab`.
///
/// # Errors
/// A logit is not finite.
pub fn logprob(logits: &[f32], id: u32, temperature: f32) -> Result<f32, NotFinite> {
    Row::new(logits, temperature).map(|row| row.logprob(id))
}

/// [`logprob`] of `id`, and of the `count` most probable ids, most probable first.
///
/// # Shapes
/// `logits`: `[vocab]`; `id < vocab`.
///
/// # Errors
/// A logit is not finite.
pub fn logprob_and_top(
    logits: &[f32],
    id: u32,
    temperature: f32,
    count: usize,
) -> Result<(f32, TopLogprobs), NotFinite> {
    let row = Row::new(logits, temperature)?;
    Ok((row.logprob(id), row.top(count, &mut Vec::new())))
}

/// A row of logits with its softmax's normaliser: all finite, or minus infinity where an id may
/// not come.
struct Row<'a> {
    logits: &'a [f32],
    /// The temperature; 1 where it is 0.
    temperature: f64,
    inverse: f32,
    best: u32,
    max: f32,
    /// Σ exp((logit - max) / T).
    mass: f64,
}

impl<'a> Row<'a> {
    fn new(logits: &'a [f32], temperature: f32) -> Result<Self, NotFinite> {
        let mut best = 0_usize;
        for (id, &value) in logits.iter().enumerate() {
            if !value.is_finite() {
                return Err(NotFinite { id, value });
            }
            if value > logits[best] {
                best = id;
            }
        }
        Ok(Self::with_best(logits, temperature, best))
    }

    /// A row in which at least one logit is finite, and none is NaN or infinite.
    fn adjusted(logits: &'a [f32], temperature: f32) -> Self {
        let mut best = 0_usize;
        for (id, &value) in logits.iter().enumerate() {
            if value > logits[best] {
                best = id;
            }
        }
        Self::with_best(logits, temperature, best)
    }

    fn with_best(logits: &'a [f32], temperature: f32, best: usize) -> Self {
        let temperature = if temperature == 0.0 { 1.0 } else { temperature };
        let mut row = Self {
            logits,
            temperature: f64::from(temperature),
            inverse: temperature.recip(),
            best: best as u32,
            max: logits[best],
            mass: 0.0,
        };
        row.mass = logits.iter().map(|&logit| row.weight(logit)).sum();
        row
    }

    /// exp((logit - max) / T).
    fn weight(&self, logit: f32) -> f64 {
        // In f32, twice as fast; the relative error, 1e-7, is that of the log-probability.
        f64::from(((logit - self.max) * self.inverse).exp())
    }

    fn logprob(&self, id: u32) -> f32 {
        self.logprob_of(id, self.mass)
    }

    /// The log-probability of an id among ids of this mass.
    fn logprob_of(&self, id: u32, mass: f64) -> f32 {
        let shifted = f64::from(self.logits[id as usize]) - f64::from(self.max);
        (shifted / self.temperature - mass.ln()) as f32
    }

    /// The `count` most probable ids, best first.
    fn top(&self, count: usize, candidates: &mut Vec<(f32, u32)>) -> TopLogprobs {
        if count == 0 {
            return Vec::new();
        }
        candidates.clear();
        candidates.extend(self.logits.iter().copied().zip(0_u32..));
        keep_best(candidates, count);
        candidates.sort_unstable_by(best_first);
        candidates.iter().map(|(_, id)| (*id, self.logprob(*id))).collect()
    }

    /// The id in whose share of the mass `point` falls.
    fn at(&self, mut point: f64) -> u32 {
        for (id, &logit) in (0_u32..).zip(self.logits) {
            point -= self.weight(logit);
            if point < 0.0 {
                return id;
            }
        }
        self.best
    }
}

#[cfg(test)]
mod tests;
