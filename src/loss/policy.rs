//! PPO's clipped policy loss, with an asymmetric clip, a dual clip and importance weights.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means, within};

/// Where the ratio π_θ / π_old stops to count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// It counts from 1 − this.
    pub low: f32,
    /// It counts up to 1 + this.
    pub high: f32,
    /// The loss of a token with a negative advantage is at most this times −A; above 1.
    pub dual: Option<f32>,
    /// The logarithm of the ratio counts within ± this, without gradient beyond; no bound if 0.
    pub log_ratio_max: f32,
}

impl Clip {
    /// The ratio for this difference of log-probabilities.
    pub(super) fn ratio<const D: usize>(&self, difference: Tensor<D>) -> Tensor<D> {
        within(difference, self.log_ratio_max).exp()
    }

    /// max(−A·r, −A·clip(r, 1 − ε_low, 1 + ε_high)), and where the clip decides.
    pub(super) fn loss<const D: usize>(
        &self,
        ratio: Tensor<D>,
        advantages: Tensor<D>,
    ) -> (Tensor<D>, Tensor<D>) {
        let (low, high) = (1.0 - self.low, 1.0 + self.high);
        let (below, above) = (ratio.clone().lower_elem(low), ratio.clone().greater_elem(high));
        let bounded = ratio.clone().mask_fill(below, low).mask_fill(above, high);
        let free = ratio.mul(advantages.clone()).neg();
        let bound = bounded.mul(advantages).neg();
        let decides = bound.clone().greater(free.clone());
        (free.mask_where(decides.clone(), bound), decides.float())
    }
}

/// What [`policy`] needs. All tensors are `[R]`: one element per response token of the batch.
#[derive(Clone, Debug)]
pub struct PolicyInput<'a> {
    /// log π_θ(a_t), the leaf that is differentiated.
    pub logprobs: Tensor<1>,
    /// log π_old(a_t): of the behaviour policy, as recorded when the token was sampled; or, where
    /// importance weights correct for that, of the proximal policy.
    pub old: Tensor<1>,
    /// A_t; a constant.
    pub advantages: Tensor<1>,
    /// Constant weight of each token ([`truncated_importance`]); 1 if absent.
    pub importance: Option<Tensor<1>>,
    /// 1 where the token is trained on, 0 where not.
    pub mask: Tensor<1>,
    /// Which tokens belong to which sample.
    pub samples: &'a Samples,
    /// Bounds of the ratio.
    pub clip: Clip,
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
    /// Share of tokens whose loss the dual clip bounded.
    pub dual_fraction: Tensor<1>,
    /// Share of tokens whose log-ratio was beyond [`Clip::log_ratio_max`].
    pub ratio_capped: Tensor<1>,
}

/// L_t = −w_t · min(r_t·A_t, clip(r_t, 1 − ε_low, 1 + ε_high)·A_t), r_t = exp(log π_θ − log π_old);
/// with a dual clip c, L_t ≤ −w_t·c·A_t where A_t < 0.
///
/// Source: Schulman et al. 2017 (arXiv:1707.06347), eq. 7; the asymmetric clip: DAPO
/// (arXiv:2503.14476), eq. 10; the dual clip: Ye et al. 2020 (arXiv:1912.09729), eq. 5; the bound
/// on the log-ratio: HYBRID.md, section 6. Proven by `parity_policy_losses`,
/// `parity_model_gradients` and `the_dual_clip_bounds_a_bad_token`.
///
/// # Shapes
/// All of `input` `[R]`.
pub fn policy(input: PolicyInput<'_>) -> PolicyLoss {
    let PolicyInput { logprobs, old, advantages, importance, mask, samples, clip } = input;
    let difference = logprobs.clone().sub(old.clone());
    let (mut per_token, clipped) = clip.loss(clip.ratio(difference.clone()), advantages.clone());
    let mut dual = clipped.zeros_like();
    if let Some(most) = clip.dual {
        let bound = advantages.clone().mul_scalar(-most);
        let bad = advantages.clone().lower_elem(0.0).float();
        let beyond = per_token.clone().greater(bound.clone()).float().mul(bad).greater_elem(0.5);
        per_token = per_token.mask_where(beyond.clone(), bound);
        dual = beyond.float();
    }
    if let Some(weights) = importance {
        per_token = per_token.mul(weights);
    }
    let capped = match clip.log_ratio_max > 0.0 {
        true => difference.abs().greater_elem(clip.log_ratio_max).float(),
        false => clipped.zeros_like(),
    };
    let mean = |values: Tensor<1>| mean_of_sample_means(values, mask.clone().inner(), samples);
    let metrics = PolicyMetrics {
        clip_fraction: mean(clipped.inner()),
        kl: mean(old.sub(logprobs).inner()),
        advantage: mean(advantages.inner()),
        dual_fraction: mean(dual.inner()),
        ratio_capped: mean(capped.inner()),
    };
    let loss = mean_of_sample_means(per_token.clone(), mask, samples);
    PolicyLoss { loss, per_token, metrics }
}

/// w_t = min(exp(log π_prox − log π_behaviour), C): what corrects a loss whose ratio is taken to
/// the proximal policy for the behaviour policy that sampled the token. A constant.
///
/// Source: the decoupled objective, Hilton et al. 2021 (arXiv:2110.00641), eq. 7; truncated as in
/// IMPALA (arXiv:1802.01561). Proven by `the_decoupled_loss_is_the_plain_one_times_its_weight`.
///
/// # Shapes
/// All `[R]`.
pub fn truncated_importance(proximal: Tensor<1>, behaviour: Tensor<1>, cap: f32) -> Tensor<1> {
    // The cap comes first: what is far beyond it must not overflow.
    proximal.sub(behaviour).clamp_max(cap.ln()).exp()
}
