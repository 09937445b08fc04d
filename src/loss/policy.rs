//! PPO's clipped policy loss with an asymmetric clip.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means};

/// What [`policy`] needs. All tensors are `[R]`: one element per response token of the batch.
#[derive(Clone, Debug)]
pub struct PolicyInput<'a> {
    /// log π_θ(a_t), the leaf that is differentiated.
    pub logprobs: Tensor<1>,
    /// log π_old(a_t): of the behaviour policy, as recorded when the token was sampled.
    pub old: Tensor<1>,
    /// A_t; a constant.
    pub advantages: Tensor<1>,
    /// 1 where the token is trained on, 0 where not.
    pub mask: Tensor<1>,
    /// Which tokens belong to which sample.
    pub samples: &'a Samples,
    /// The ratio counts from 1 − this.
    pub clip_low: f32,
    /// The ratio counts up to 1 + this.
    pub clip_high: f32,
}

/// The policy loss and what can be read off it.
#[derive(Clone, Debug)]
pub struct PolicyLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// The loss of each token before mask and aggregation, `[R]`.
    pub per_token: Tensor<1>,
    /// Outside autodiff.
    pub metrics: PolicyMetrics,
}

/// Metrics, each `[1]` and aggregated as the loss is, so that those of the samples of a batch add
/// up.
#[derive(Clone, Debug)]
pub struct PolicyMetrics {
    /// Share of tokens whose ratio was clipped.
    pub clip_fraction: Tensor<1>,
    /// Mean of log π_old − log π_θ, the k1 estimate of KL(π_old ‖ π_θ).
    pub kl: Tensor<1>,
    /// Mean advantage.
    pub advantage: Tensor<1>,
}

/// L_t = −min(r_t·A_t, clip(r_t, 1 − ε_low, 1 + ε_high)·A_t), r_t = exp(log π_θ − log π_old).
///
/// Source: Schulman et al. 2017 (arXiv:1707.06347), eq. 7; the asymmetric clip: DAPO
/// (arXiv:2503.14476), eq. 10. Proven by `parity_policy_losses` and `parity_model_gradients`.
///
/// # Shapes
/// All of `input` `[R]`.
pub fn policy(input: PolicyInput<'_>) -> PolicyLoss {
    let PolicyInput { logprobs, old, advantages, mask, samples, clip_low, clip_high } = input;
    let ratio = logprobs.clone().sub(old.clone()).exp();
    let (low, high) = (1.0 - clip_low, 1.0 + clip_high);
    let (below, above) = (ratio.clone().lower_elem(low), ratio.clone().greater_elem(high));
    let within = ratio.clone().mask_fill(below, low).mask_fill(above, high);
    let free = ratio.mul(advantages.clone()).neg();
    let bound = within.mul(advantages.clone()).neg();
    let clipped = bound.clone().greater(free.clone());
    let per_token = free.mask_where(clipped.clone(), bound);

    let mean = |values: Tensor<1>| mean_of_sample_means(values, mask.clone().inner(), samples);
    let metrics = PolicyMetrics {
        clip_fraction: mean(clipped.float().inner()),
        kl: mean(old.sub(logprobs).inner()),
        advantage: mean(advantages.inner()),
    };
    let loss = mean_of_sample_means(per_token.clone(), mask, samples);
    PolicyLoss { loss, per_token, metrics }
}
