//! Log-probabilities of given tokens and their derivative, in chunks of positions, so that the
//! scores of all positions over the whole vocabulary are never in memory together.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use super::decoder::indices;

/// At most this many scores of one chunk are in memory (64 MiB of f32).
const SCORES_MAX: usize = 1 << 24;

/// The head, the tokens whose log-probabilities are asked for, and the temperature.
pub(super) struct Head<'a> {
    /// `[hidden, vocab]`.
    pub(super) weight: Tensor<2>,
    /// The token at each position, `[R]`.
    pub(super) targets: &'a [u32],
    /// Scores are divided by it.
    pub(super) temperature: f32,
    /// Positions per chunk.
    pub(super) rows: usize,
    /// The head's own gradient is not wanted.
    pub(super) frozen: bool,
}

/// Of each position.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// Log-probability of the target, `[R]`.
    pub(super) logprobs: Tensor<1>,
    /// Entropy of the whole distribution in nats, `[R]`.
    pub(super) entropy: Tensor<1>,
    /// Logarithm of the sum of all exponentials, `[R, 1]`.
    pub(super) lse: Tensor<2>,
}

/// Positions per chunk for this vocabulary.
pub(super) fn rows_for(vocab: usize) -> usize {
    (SCORES_MAX / vocab).clamp(16, 512)
}

impl Head<'_> {
    /// `[rows, hidden]` to `[rows, vocab]`, divided by the temperature.
    fn scores(&self, hidden: Tensor<2>) -> Tensor<2> {
        let scores = hidden.matmul(self.weight.clone());
        if self.temperature == 1.0 { scores } else { scores.div_scalar(self.temperature) }
    }

    /// Chunks of positions: first row and number of rows.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> {
        let len = self.targets.len();
        (0..len).step_by(self.rows).map(move |start| (start, self.rows.min(len - start)))
    }

    /// `[rows, 1]`.
    fn target_indices(&self, start: usize, rows: usize, hidden: &Tensor<2>) -> Tensor<2, Int> {
        let targets = self.targets[start..start + rows].iter().copied();
        indices(targets, &hidden.device()).unsqueeze_dim(1)
    }

    /// # Shapes
    /// `hidden`: `[R, hidden]`, each row what predicts the target of its position.
    pub(super) fn forward(&self, hidden: &Tensor<2>) -> Scored {
        let (mut logprobs, mut entropy, mut lse) = (Vec::new(), Vec::new(), Vec::new());
        for (start, rows) in self.chunks() {
            let scores = self.scores(hidden.clone().narrow(0, start, rows));
            let max = scores.clone().max_dim(1);
            let shifted = scores - max.clone();
            let target = shifted.clone().gather(1, self.target_indices(start, rows, hidden));
            let exp = shifted.clone().exp();
            let sum = exp.clone().sum_dim(1);
            let log_sum = sum.clone().log();
            let mean = (exp * shifted).sum_dim(1) / sum;
            logprobs.push((target - log_sum.clone()).reshape([rows]));
            entropy.push((log_sum.clone() - mean).reshape([rows]));
            lse.push(log_sum + max);
        }
        Scored {
            logprobs: Tensor::cat(logprobs, 0),
            entropy: Tensor::cat(entropy, 0),
            lse: Tensor::cat(lse, 0),
        }
    }

    /// The gradients of `hidden` and of the head, given those of the log-probabilities.
    ///
    /// d logp / d score = (one-hot − p) / T.
    ///
    /// # Shapes
    /// `hidden`: `[R, hidden]`; `lse`: `[R, 1]`; `grad`: `[R]`; the result: `[R, hidden]` and
    /// `[vocab, hidden]`, as the embedding is stored; none where the head is frozen.
    pub(super) fn backward(
        &self,
        hidden: &Tensor<2>,
        lse: &Tensor<2>,
        grad: Tensor<1>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let grad: Tensor<2> = grad.div_scalar(self.temperature).unsqueeze_dim(1);
        let mut by_hidden = Vec::new();
        let mut by_weight: Option<Tensor<2>> = None;
        for (start, rows) in self.chunks() {
            let x = hidden.clone().narrow(0, start, rows);
            let grad = grad.clone().narrow(0, start, rows);
            let scores = self.scores(x.clone());
            let p = (scores - lse.clone().narrow(0, start, rows)).exp();
            let at_target = self.target_indices(start, rows, hidden);
            let by_score =
                (p * grad.clone().neg()).scatter(1, at_target, grad, IndexingUpdateOp::Add);
            by_hidden.push(by_score.clone().matmul(self.weight.clone().transpose()));
            if self.frozen {
                continue;
            }
            let part = by_score.transpose().matmul(x);
            by_weight = Some(match by_weight {
                None => part,
                Some(sum) => sum + part,
            });
        }
        (Tensor::cat(by_hidden, 0), by_weight)
    }
}
