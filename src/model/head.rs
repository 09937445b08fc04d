//! Log-probabilities of given tokens, the entropy beside them, and their derivative, in chunks of
//! positions, so that the scores of all positions over the whole vocabulary are never in memory
//! together.

use burn::tensor::{Device, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};

use super::ModelError;
use super::decoder::indices;
use super::pack::Pack;
use super::parameters::read_back;

/// At most this many scores of one chunk are in memory (64 MiB of f32).
const SCORES_MAX: usize = 1 << 24;

/// What counts as the lowest log-probability, where one is multiplied with an exponential of 0.
/// The exponential itself is of the plain value: what is not a number must stay visible.
const SHIFTED_MIN: f32 = -1e30;

/// Ids asked for at every response position, beside the token that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// `[R, K]`, row-major.
    ids: Vec<u32>,
    k: usize,
}

impl Support {
    /// `k` ids for each position, one position after the other.
    ///
    /// # Panics
    /// If `k` is 0 or does not divide the number of ids.
    pub fn new(k: usize, ids: Vec<u32>) -> Self {
        assert!(k > 0 && ids.len().is_multiple_of(k), "{} ids, {k} for each position", ids.len());
        Self { ids, k }
    }

    /// Ids for each position.
    pub fn k(&self) -> usize {
        self.k
    }

    /// All ids, `[R, K]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// The most probable tokens of each response position, the most probable first, and of equally
/// probable ones the lower id.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// `[R, K]`, row-major.
    pub ids: Vec<u32>,
    /// `[R, K]`, at each sample's temperature.
    pub logprobs: Vec<f32>,
}

/// What is asked of the head at each position.
pub(super) struct Wanted {
    /// Of each position the ids whose log-probabilities are asked for, `[R, width]`.
    ids: Vec<u32>,
    width: usize,
    /// What scores are divided by, `[R]`; none where it is 1 throughout.
    temperatures: Option<Vec<f32>>,
}

impl Wanted {
    /// The response tokens of a pack, and after each those of the support.
    pub(super) fn new(pack: &Pack, support: Option<&Support>, vocab: usize) -> Self {
        let mut ids = pack.targets.clone();
        let mut width = 1;
        if let Some(Support { ids: more, k }) = support {
            assert_eq!(more.len(), k * pack.targets.len(), "{k} ids for each position");
            assert!(more.iter().all(|id| (*id as usize) < vocab), "an id is not in {vocab}");
            let rows = pack.targets.iter().zip(more.chunks_exact(*k));
            ids =
                rows.flat_map(|(target, more)| [target].into_iter().chain(more)).copied().collect();
            width += k;
        }
        let plain = pack.temperatures.iter().all(|temperature| *temperature == 1.0);
        let temperatures = (!plain).then(|| pack.temperatures.clone());
        Self { ids, width, temperatures }
    }

    fn rows(&self) -> usize {
        self.ids.len() / self.width
    }

    /// `[rows, width]`.
    fn indices(&self, start: usize, rows: usize, device: &Device) -> Tensor<2, Int> {
        let ids = &self.ids[start * self.width..(start + rows) * self.width];
        indices(ids.iter().copied(), device).reshape([rows, self.width])
    }

    /// Divides each row by its temperature.
    ///
    /// # Shapes
    /// `[rows, any]`.
    fn tempered(&self, values: Tensor<2>, start: usize) -> Tensor<2> {
        let Some(all) = &self.temperatures else { return values };
        let rows = values.dims()[0];
        let divisors = TensorData::new(all[start..start + rows].to_vec(), [rows, 1]);
        let divisors = Tensor::<2>::from_data(divisors, &values.device());
        values / divisors
    }
}

/// The head, and what is asked of it.
pub(super) struct Head {
    /// `[hidden, vocab]`.
    pub(super) weight: Tensor<2>,
    /// What is asked for.
    pub(super) wanted: Wanted,
    /// Positions per chunk.
    pub(super) rows: usize,
    /// The head's own gradient is not wanted.
    pub(super) frozen: bool,
}

/// Of each position; f32.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// Log-probabilities of the ids asked for, `[R, width]`.
    pub(super) logprobs: Tensor<2>,
    /// Entropy of the whole distribution in nats, `[R]`.
    pub(super) entropy: Tensor<1>,
    /// Logarithm of the sum of all exponentials, `[R, 1]`.
    pub(super) lse: Tensor<2>,
}

/// Positions per chunk for this vocabulary.
pub(super) fn rows_for(vocab: usize) -> usize {
    (SCORES_MAX / vocab).clamp(16, 512)
}

impl Head {
    /// Of the rows from `start` on: `[rows, hidden]` to `[rows, vocab]`, f32, divided by T.
    fn scores(&self, hidden: Tensor<2>, start: usize) -> Tensor<2> {
        let scores = hidden.matmul(self.weight.clone()).cast(FloatDType::F32);
        self.wanted.tempered(scores, start)
    }

    /// Chunks of positions: first row and number of rows.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (len, chunk) = (self.wanted.rows(), self.rows);
        (0..len).step_by(chunk).map(move |start| (start, chunk.min(len - start)))
    }

    /// # Shapes
    /// `hidden`: `[R, hidden]`, each row what predicts its position.
    pub(super) fn forward(&self, hidden: &Tensor<2>) -> Scored {
        let device = hidden.device();
        let (mut logprobs, mut entropy, mut lse) = (Vec::new(), Vec::new(), Vec::new());
        for (start, rows) in self.chunks() {
            let scores = self.scores(hidden.clone().narrow(0, start, rows), start);
            let max = scores.clone().max_dim(1);
            let shifted = scores - max.clone();
            let wanted = shifted.clone().gather(1, self.wanted.indices(start, rows, &device));
            let exp = shifted.clone().exp();
            let sum = exp.clone().sum_dim(1);
            let log_sum = sum.clone().log();
            let mean = (exp * shifted.clamp_min(SHIFTED_MIN)).sum_dim(1) / sum;
            logprobs.push(wanted.clamp_min(SHIFTED_MIN) - log_sum.clone());
            entropy.push((log_sum.clone() - mean).reshape([rows]));
            lse.push(log_sum + max);
        }
        Scored {
            logprobs: Tensor::cat(logprobs, 0),
            entropy: Tensor::cat(entropy, 0),
            lse: Tensor::cat(lse, 0),
        }
    }

    /// The gradients of `hidden` and of the head, given those of the log-probabilities and of the
    /// entropy H.
    ///
    /// d log p(j) / d score = (one-hot(j) − p) / T, and d H / d score = −p (log p + H) / T.
    ///
    /// # Shapes
    /// `hidden`: `[R, hidden]`; `by_logprobs`: `[R, width]`; `by_entropy`: `[R]`; the result:
    /// `[R, hidden]` and `[vocab, hidden]`, as the embedding is stored; none where the head is
    /// frozen.
    pub(super) fn backward(
        &self,
        hidden: &Tensor<2>,
        scored: &Scored,
        by_logprobs: Tensor<2>,
        by_entropy: Option<Tensor<1>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let (device, dtype) = (hidden.device(), hidden.dtype());
        let mut by_hidden = Vec::new();
        let mut by_weight: Option<Tensor<2>> = None;
        for (start, rows) in self.chunks() {
            let x = hidden.clone().narrow(0, start, rows);
            let grad = self.wanted.tempered(by_logprobs.clone().narrow(0, start, rows), start);
            let lse = scored.lse.clone().narrow(0, start, rows);
            let logp = self.scores(x.clone(), start) - lse;
            let p = logp.clone().exp();
            let mut factor = grad.clone().sum_dim(1).neg();
            let by_score = match &by_entropy {
                None => p * factor,
                Some(by_entropy) => {
                    let column = |x: &Tensor<1>| x.clone().narrow(0, start, rows).unsqueeze_dim(1);
                    let slope = self.wanted.tempered(column(by_entropy), start);
                    factor = factor - slope.clone() * column(&scored.entropy);
                    p * (factor - logp.clamp_min(SHIFTED_MIN) * slope)
                }
            };
            let at = self.wanted.indices(start, rows, &device);
            let by_score = by_score.scatter(1, at, grad, IndexingUpdateOp::Add).cast(dtype);
            by_hidden.push(by_score.clone().matmul(self.weight.clone().transpose()));
            if self.frozen {
                continue;
            }
            let part = by_score.transpose().matmul(x).cast(FloatDType::F32);
            by_weight = Some(match by_weight {
                None => part,
                Some(sum) => sum + part,
            });
        }
        (Tensor::cat(by_hidden, 0), by_weight)
    }

    /// The `k` most probable tokens of each position.
    ///
    /// # Shapes
    /// `hidden`: `[R, hidden]`.
    pub(super) fn top(&self, hidden: &Tensor<2>, k: usize) -> Result<TopK, ModelError> {
        let mut top = TopK { ids: Vec::new(), logprobs: Vec::new() };
        for (start, rows) in self.chunks() {
            let scores = self.scores(hidden.clone().narrow(0, start, rows), start);
            let [_, vocab] = scores.dims();
            for scores in read_back(scores)?.chunks_exact(vocab) {
                let lse = log_sum_exp(scores);
                for id in highest(scores, k) {
                    top.ids.push(id);
                    top.logprobs.push((f64::from(scores[id as usize]) - lse) as f32);
                }
            }
        }
        Ok(top)
    }
}

fn log_sum_exp(scores: &[f32]) -> f64 {
    let max = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + scores.iter().map(|score| (f64::from(*score) - max).exp()).sum::<f64>().ln()
}

/// The ids of the `k` highest scores in descending order, the lower id first among equal ones.
fn highest(scores: &[f32], k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..scores.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        scores[*b as usize].total_cmp(&scores[*a as usize]).then_with(|| a.cmp(b))
    };
    let k = k.min(ids.len());
    if k < ids.len() {
        ids.select_nth_unstable_by(k, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
