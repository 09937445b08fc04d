//! Log-probabilities of given tokens, the entropy beside them, and their derivative, in chunks of
//! positions, so that the scores of all positions over the whole vocabulary are never in memory
//! together.

use burn::tensor::{Device, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};

use super::ModelError;
use super::decoder::indices;
use super::fused::{self, Host, on_host};
use super::kernels;
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
    fn of(&self, start: usize, rows: usize) -> &[u32] {
        &self.ids[start * self.width..(start + rows) * self.width]
    }

    /// `[rows, width]`.
    fn indices(&self, start: usize, rows: usize, device: &Device) -> Tensor<2, Int> {
        let ids = self.of(start, rows).iter().copied();
        indices(ids, device).reshape([rows, self.width])
    }

    /// 1 / T of some rows.
    fn factors(&self, start: usize, rows: usize) -> Vec<f32> {
        match &self.temperatures {
            None => vec![1.0; rows],
            Some(all) => all[start..start + rows].iter().map(|t| t.recip()).collect(),
        }
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
    /// The same as it is stored, `[vocab, hidden]`.
    pub(super) stored: Tensor<2>,
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
    /// The greatest score, not divided by T, `[R, 1]`.
    max: Tensor<2>,
    /// The logarithm of the sum of exponentials of scores less the greatest, divided by T;
    /// `[R, 1]`.
    log_sum: Tensor<2>,
    /// Of each chunk the scores, not divided by T, where they were to be kept.
    scores: Vec<Tensor<2>>,
}

/// Positions per chunk for this vocabulary.
pub(super) fn rows_for(vocab: usize) -> usize {
    (SCORES_MAX / vocab).clamp(16, 512)
}

impl Head {
    /// `[rows, hidden]` to `[rows, vocab]`, f32, not yet divided by T.
    fn scores(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.weight.clone()).cast(FloatDType::F32)
    }

    /// Chunks of positions: first row and number of rows.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (len, chunk) = (self.wanted.rows(), self.rows);
        (0..len).step_by(chunk).map(move |start| (start, chunk.min(len - start)))
    }

    /// Whether the scores of all positions are no more than a chunk may have.
    pub(super) fn fits(&self) -> bool {
        self.wanted.rows() * self.weight.dims()[1] <= SCORES_MAX
    }

    /// # Shapes
    /// `hidden`: `[R, hidden]`, each row what predicts its position.
    pub(super) fn forward(&self, hidden: &Tensor<2>, keep: bool) -> Scored {
        let mut chunks = Vec::new();
        for (start, rows) in self.chunks() {
            let scores = self.scores(hidden.clone().narrow(0, start, rows));
            let mut chunk = match on_host(&scores) {
                true => self.host_forward(scores, start),
                false => self.device_forward(scores, start),
            };
            if !keep {
                chunk.scores.clear();
            }
            chunks.push(chunk);
        }
        fn cat<const D: usize>(chunks: &[Scored], of: fn(&Scored) -> &Tensor<D>) -> Tensor<D> {
            Tensor::cat(chunks.iter().map(|chunk| of(chunk).clone()).collect(), 0)
        }
        Scored {
            logprobs: cat(&chunks, |chunk| &chunk.logprobs),
            entropy: cat(&chunks, |chunk| &chunk.entropy),
            max: cat(&chunks, |chunk| &chunk.max),
            log_sum: cat(&chunks, |chunk| &chunk.log_sum),
            scores: chunks.into_iter().flat_map(|chunk| chunk.scores).collect(),
        }
    }

    fn device_forward(&self, scores: Tensor<2>, start: usize) -> Scored {
        let [rows, _] = scores.dims();
        let max = scores.clone().max_dim(1);
        let shifted = self.wanted.tempered(scores.clone() - max.clone(), start);
        let ids = self.wanted.indices(start, rows, &shifted.device());
        let wanted = shifted.clone().gather(1, ids);
        let exp = shifted.clone().exp();
        let sum = exp.clone().sum_dim(1);
        let log_sum = sum.clone().log();
        let mean = (exp * shifted.clamp_min(SHIFTED_MIN)).sum_dim(1) / sum;
        Scored {
            logprobs: wanted.clamp_min(SHIFTED_MIN) - log_sum.clone(),
            entropy: (log_sum.clone() - mean).reshape([rows]),
            max,
            log_sum,
            scores: vec![scores],
        }
    }

    fn host_forward(&self, scores: Tensor<2>, start: usize) -> Scored {
        let [rows, vocab] = scores.dims();
        let (scores, factors) = (Host::of(scores), self.wanted.factors(start, rows));
        let found = kernels::distributions(scores.read(), vocab, &factors);
        let ids = self.wanted.of(start, rows).chunks_exact(self.wanted.width);
        let mut logprobs = Vec::with_capacity(rows * self.wanted.width);
        for ((ids, row), scores) in ids.zip(&found).zip(scores.read().chunks_exact(vocab)) {
            logprobs.extend(ids.iter().map(|id| row.logprob(scores[*id as usize])));
        }
        let column = |of: fn(&kernels::Row) -> f32| found.iter().map(of).collect::<Vec<f32>>();
        Scored {
            logprobs: fused::tensor(logprobs, [rows, self.wanted.width]),
            entropy: fused::tensor(column(|row| row.entropy), [rows]),
            max: fused::tensor(column(|row| row.max), [rows, 1]),
            log_sum: fused::tensor(column(|row| row.log_sum), [rows, 1]),
            scores: vec![scores.tensor()],
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
        mut scored: Scored,
        by_logprobs: Tensor<2>,
        by_entropy: Option<Tensor<1>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let dtype = hidden.dtype();
        let mut kept = std::mem::take(&mut scored.scores).into_iter();
        let mut by_hidden = Vec::new();
        let mut by_weight: Option<Tensor<2>> = None;
        for (start, rows) in self.chunks() {
            let x = hidden.clone().narrow(0, start, rows);
            let scores = kept.next().unwrap_or_else(|| self.scores(x.clone()));
            let grad = by_logprobs.clone().narrow(0, start, rows);
            let by_entropy = by_entropy.as_ref().map(|by| by.clone().narrow(0, start, rows));
            let by_score = match on_host(&scores) && on_host(&grad) {
                true => self.host_backward(scores, start, &scored, (grad, by_entropy)),
                false => self.device_backward(scores, start, &scored, (grad, by_entropy)),
            };
            let by_score = by_score.cast(dtype);
            by_hidden.push(by_score.clone().matmul(self.stored.clone()));
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

    fn device_backward(
        &self,
        scores: Tensor<2>,
        start: usize,
        scored: &Scored,
        (grad, by_entropy): (Tensor<2>, Option<Tensor<1>>),
    ) -> Tensor<2> {
        let [rows, _] = scores.dims();
        let column = |x: &Tensor<2>| x.clone().narrow(0, start, rows);
        let grad = self.wanted.tempered(grad, start);
        let shifted = self.wanted.tempered(scores - column(&scored.max), start);
        let logp = shifted - column(&scored.log_sum);
        let p = logp.clone().exp();
        let mut factor = grad.clone().sum_dim(1).neg();
        let by_score = match by_entropy {
            None => p * factor,
            Some(by_entropy) => {
                let slope = self.wanted.tempered(by_entropy.unsqueeze_dim(1), start);
                let entropy = scored.entropy.clone().narrow(0, start, rows).unsqueeze_dim(1);
                factor = factor - slope.clone() * entropy;
                p * (factor - logp.clamp_min(SHIFTED_MIN) * slope)
            }
        };
        let at = self.wanted.indices(start, rows, &by_score.device());
        by_score.scatter(1, at, grad, IndexingUpdateOp::Add)
    }

    fn host_backward(
        &self,
        scores: Tensor<2>,
        start: usize,
        scored: &Scored,
        (grad, by_entropy): (Tensor<2>, Option<Tensor<1>>),
    ) -> Tensor<2> {
        let ([rows, vocab], width) = (scores.dims(), self.wanted.width);
        let part = |x: &Tensor<2>| Host::of(x.clone().narrow(0, start, rows));
        let (max, log_sum) = (part(&scored.max), part(&scored.log_sum));
        let entropy = Host::of(scored.entropy.clone().narrow(0, start, rows));
        let (grad, by_entropy) = (Host::of(grad), by_entropy.map(Host::of));
        let factors = self.wanted.factors(start, rows);
        let slope = |row: usize| {
            let by_entropy = by_entropy.as_ref().map_or(0.0, |by| by.read()[row]);
            let entropy = entropy.read()[row];
            let sum: f32 = grad.read()[row * width..][..width].iter().sum();
            kernels::RowSlope {
                row: kernels::Row {
                    max: max.read()[row],
                    log_sum: log_sum.read()[row],
                    factor: factors[row],
                    entropy,
                },
                by_p: -sum - by_entropy * entropy,
                by_entropy,
            }
        };
        let slopes: Vec<kernels::RowSlope> = (0..rows).map(slope).collect();
        let mut scores = Host::of(scores);
        kernels::distributions_back(scores.write(), vocab, &slopes);
        let ids = self.wanted.of(start, rows).chunks_exact(width);
        let lines = scores.write().chunks_exact_mut(vocab).zip(grad.read().chunks_exact(width));
        for ((ids, (line, grad)), factor) in ids.zip(lines).zip(&factors) {
            for (id, grad) in ids.iter().zip(grad) {
                line[*id as usize] += grad * factor;
            }
        }
        scores.tensor()
    }

    /// The `k` most probable tokens of each position.
    ///
    /// # Shapes
    /// `hidden`: `[R, hidden]`.
    pub(super) fn top(&self, hidden: &Tensor<2>, k: usize) -> Result<TopK, ModelError> {
        let mut top = TopK { ids: Vec::new(), logprobs: Vec::new() };
        for (start, rows) in self.chunks() {
            let scores = self.scores(hidden.clone().narrow(0, start, rows));
            let scores = self.wanted.tempered(scores, start);
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
