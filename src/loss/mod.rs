//! The objectives: tensors in, a loss, its value per token and its metrics out.
//!
//! Every function here is pure and knows nothing of models, files or tokens' meaning. The
//! log-probabilities of a batch's response tokens stand one after the other in a `Tensor<1>` of
//! `[R]` elements; [`Samples`] says where each sample's tokens end. The formulas are in
//! `docs/math.md`, and `tests/parity_loss.rs` proves them against values made with torch.

pub mod advantage;
mod aggregate;
mod kl;
mod policy;

pub use aggregate::{Samples, mean_of_sample_means};
pub use kl::{KlEstimator, KlLoss, kl_penalty};
pub use policy::{PolicyInput, PolicyLoss, PolicyMetrics, policy};

use burn::tensor::Tensor;

/// The value of an objective and its slope at the log-probabilities.
#[derive(Debug)]
pub struct Slope<T> {
    /// The loss, `[1]`, outside autodiff.
    pub loss: Tensor<1>,
    /// dLoss/dlogprob, `[R]`: what the model's backward pass starts from.
    pub grad: Tensor<1>,
    /// What the objective returned beside its loss.
    pub other: T,
}

/// Evaluates `objective` at `logprobs` and differentiates its loss by them.
///
/// The log-probabilities become the one leaf of a small autodiff graph, so that an objective is
/// written forward only, and the model's own backward pass stays separate from it.
///
/// # Shapes
/// `logprobs` `[R]`; the objective's loss `[1]`; the gradient `[R]`, zero where the loss does not
/// depend on the token.
pub fn slope<T>(
    logprobs: Tensor<1>,
    objective: impl FnOnce(Tensor<1>) -> (Tensor<1>, T),
) -> Slope<T> {
    let leaf = logprobs.inner().autodiff().require_grad();
    let (loss, other) = objective(leaf.clone());
    let grad = loss.is_tracked().then(|| leaf.grad(&loss.backward())).flatten();
    let grad = grad.unwrap_or_else(|| leaf.inner().zeros_like());
    Slope { loss: loss.inner(), grad, other }
}

#[cfg(test)]
mod tests;
