//! Supervised fine-tuning: the tokens of a target are made likelier, and that is all.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means};

/// The loss and its terms.
#[derive(Clone, Debug)]
pub struct SftLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// −log π_θ(a_t) of each token before mask and aggregation, `[R]`.
    pub per_token: Tensor<1>,
}

/// Cross-entropy: L_t = −log π_θ(a_t).
///
/// Proven by `cross_entropy_is_the_policy_gradient_of_a_reward_of_one`.
///
/// # Shapes
/// `logprobs` (differentiated), `mask` `[R]`.
pub fn cross_entropy(logprobs: Tensor<1>, mask: Tensor<1>, samples: &Samples) -> SftLoss {
    let per_token = logprobs.neg();
    SftLoss { loss: mean_of_sample_means(per_token.clone(), mask, samples), per_token }
}
