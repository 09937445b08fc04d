//! Drawing one id from a row of logits, with its exact log-probability.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

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

/// Draws the tokens of one reply. Its random stream is its own: what else is in the batch does
/// not change it.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    random: ChaCha8Rng,
    scratch: Vec<(f32, u32)>,
}

impl Sampler {
    /// A sampler at the start of the stream of `sampling.seed`.
    pub fn new(sampling: &Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_k: sampling.top_k as usize,
            top_p: sampling.top_p,
            random: ChaCha8Rng::seed_from_u64(sampling.seed),
            scratch: Vec::new(),
        }
    }

    /// Draws one id: T first, then the `top_k` most probable, then the smallest set of those
    /// whose share reaches `top_p`. The log-probability is that of the whole vocabulary at T
    /// (see [`logprob`]), whatever was cut off.
    ///
    /// # Shapes
    /// `logits`: `[vocab]`, vocab > 0.
    ///
    /// # Errors
    /// A logit is not finite; nothing is drawn.
    pub fn sample(&mut self, logits: &[f32]) -> Result<(u32, f32), NotFinite> {
        let row = Row::new(logits, self.temperature)?;
        let id = if self.temperature == 0.0 {
            row.best
        } else if self.cuts(logits.len()) {
            self.draw_cut(&row)
        } else {
            let point = self.uniform() * row.mass;
            row.at(point)
        };
        Ok((id, row.logprob(id)))
    }

    /// Whether truncation can remove anything.
    fn cuts(&self, vocab: usize) -> bool {
        self.top_p < 1.0 || (self.top_k > 0 && self.top_k < vocab)
    }

    /// Uniform in [0, 1), 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A draw from the candidates that `top_k` and `top_p` leave.
    fn draw_cut(&mut self, row: &Row<'_>) -> u32 {
        let mut candidates = std::mem::take(&mut self.scratch);
        candidates.clear();
        candidates.extend(row.logits.iter().copied().zip(0_u32..));
        if self.top_k > 0 {
            keep_best(&mut candidates, self.top_k);
        }
        let (kept, mass) = self.nucleus(&mut candidates, row);
        let mut point = self.uniform() * mass;
        let mut id = candidates[kept - 1].1;
        for &(logit, candidate) in &candidates[..kept] {
            point -= row.weight(logit);
            if point < 0.0 {
                id = candidate;
                break;
            }
        }
        self.scratch = candidates;
        id
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

/// A row of logits, all finite, with its softmax's normaliser.
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
        Ok(row)
    }

    /// exp((logit - max) / T).
    fn weight(&self, logit: f32) -> f64 {
        // In f32, twice as fast; the relative error, 1e-7, is that of the log-probability.
        f64::from(((logit - self.max) * self.inverse).exp())
    }

    fn logprob(&self, id: u32) -> f32 {
        let shifted = f64::from(self.logits[id as usize]) - f64::from(self.max);
        (shifted / self.temperature - self.mass.ln()) as f32
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
