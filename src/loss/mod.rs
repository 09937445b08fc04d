//! The objectives: tensors in, a loss, its value per token and its metrics out.
//!
//! Every function here is pure and knows nothing of models, files or tokens' meaning. The
//! log-probabilities of a batch's response tokens stand one after the other in a `Tensor<1>` of
//! `[R]` elements; [`Samples`] says where each sample's tokens end. The formulas are in
//! `docs/math.md`, and `tests/parity_loss.rs` proves them against values made with torch.

pub mod advantage;
mod aggregate;
mod distill;
mod entropy;
pub mod hybrid;
mod kl;
mod policy;
mod sft;

pub use aggregate::{Samples, mean_of_sample_means};
pub use distill::{DistillLoss, reverse_kl};
pub use entropy::entropy_bonus;
pub use kl::{KlEstimator, KlLoss, kl_penalty};
pub use policy::{Clip, PolicyInput, PolicyLoss, PolicyMetrics, policy, truncated_importance};
pub use sft::{SftLoss, cross_entropy};

use burn::tensor::Tensor;

/// What a model says of the response tokens of some samples: all that an objective is
/// differentiated by.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// log π_θ(a_t) of each response token, `[R]`.
    pub logprobs: Tensor<1>,
    /// log π_θ of the K ids that were asked for at each position, `[R, K]`; none if none were.
    pub support: Option<Tensor<2>>,
    /// Entropy of the whole distribution at each position in nats, `[R]`.
    pub entropy: Tensor<1>,
}

/// The derivative of a loss by [`Outputs`], outside autodiff: what the model's backward pass starts
/// from. A part that the loss does not depend on is absent, or zero.
#[derive(Clone, Debug)]
pub struct Slopes {
    /// `[R]`.
    pub logprobs: Tensor<1>,
    /// `[R, K]`.
    pub support: Option<Tensor<2>>,
    /// `[R]`.
    pub entropy: Option<Tensor<1>>,
}

/// The value of an objective and its slope at a model's outputs.
#[derive(Debug)]
pub struct Slope<T> {
    /// The loss, `[1]`, outside autodiff.
    pub loss: Tensor<1>,
    /// dLoss/dOutputs.
    pub by: Slopes,
    /// What the objective returned beside its loss.
    pub other: T,
}

/// Evaluates `objective` at `outputs` and differentiates its loss by them.
///
/// The outputs become the leaves of a small autodiff graph, so that an objective is written
/// forward only, and the model's own backward pass stays separate from it.
///
/// # Shapes
/// As in [`Outputs`]; the objective's loss `[1]`.
pub fn slope<T>(outputs: Outputs, objective: impl FnOnce(Outputs) -> (Tensor<1>, T)) -> Slope<T> {
    let leaves = Outputs {
        logprobs: leaf(outputs.logprobs),
        support: outputs.support.map(leaf),
        entropy: leaf(outputs.entropy),
    };
    let (loss, other) = objective(leaves.clone());
    let grads = loss.is_tracked().then(|| loss.backward());
    let by = |leaf: &Tensor<1>| grads.as_ref().and_then(|grads| leaf.grad(grads));
    let logprobs = by(&leaves.logprobs).unwrap_or_else(|| leaves.logprobs.inner().zeros_like());
    let entropy = by(&leaves.entropy);
    let support = leaves.support.as_ref().zip(grads.as_ref()).and_then(|(leaf, g)| leaf.grad(g));
    Slope { loss: loss.inner(), by: Slopes { logprobs, support, entropy }, other }
}

fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.inner().autodiff().require_grad()
}

/// Clamps to ±`bound`; a clamped element has no gradient. No bound if `bound` is not above 0.
fn within<const D: usize>(values: Tensor<D>, bound: f32) -> Tensor<D> {
    if bound <= 0.0 {
        return values;
    }
    let (below, above) = (values.clone().lower_elem(-bound), values.clone().greater_elem(bound));
    values.mask_fill(below, -bound).mask_fill(above, bound)
}

#[cfg(test)]
mod tests;
