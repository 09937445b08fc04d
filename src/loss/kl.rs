//! Penalties for moving away from a reference policy.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means, within};

/// `low_var_kl` counts within ± this.
const LOW_VAR_BOUND: f32 = 10.0;

/// An estimate of KL(π_θ ‖ π_ref) from one sampled token, d = log π_θ − log π_ref.
///
/// Source: Schulman, "Approximating KL divergence" (2020), <http://joschu.net/blog/kl-approx.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KlEstimator {
    /// d: unbiased, high variance, may be negative.
    K1,
    /// d²/2: biased, low variance.
    K2,
    /// exp(−d) − 1 + d: unbiased, never negative.
    K3,
    /// K3 within ±10, with no gradient outside.
    LowVar,
}

/// A KL penalty, not yet scaled by its coefficient.
#[derive(Clone, Debug)]
pub struct KlLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// The penalty of each token before mask and aggregation, `[R]`.
    pub per_token: Tensor<1>,
}

/// The penalty of `logprobs` against `reference`.
///
/// Proven by `parity_kl_penalties`.
///
/// # Shapes
/// `logprobs` (differentiated), `reference`, `mask` `[R]`.
pub fn kl_penalty(
    estimator: KlEstimator,
    logprobs: Tensor<1>,
    reference: Tensor<1>,
    mask: Tensor<1>,
    samples: &Samples,
) -> KlLoss {
    let d = logprobs.sub(reference);
    let per_token = match estimator {
        KlEstimator::K1 => d,
        KlEstimator::K2 => d.square().div_scalar(2.0),
        KlEstimator::K3 => k3(d),
        KlEstimator::LowVar => within(k3(d), LOW_VAR_BOUND),
    };
    let loss = mean_of_sample_means(per_token.clone(), mask, samples);
    KlLoss { loss, per_token }
}

fn k3(d: Tensor<1>) -> Tensor<1> {
    d.clone().neg().exp().sub_scalar(1.0).add(d)
}
