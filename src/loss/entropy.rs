//! The reward for staying undecided.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means};

/// −H aggregated: added with a positive coefficient, it keeps the policy's entropy up.
///
/// Source: Williams & Peng 1991; as in A3C (arXiv:1602.01783). Proven by
/// `the_slope_of_every_output_agrees_with_finite_differences`.
///
/// # Shapes
/// `entropy` (differentiated), `mask` `[R]`; result `[1]`.
pub fn entropy_bonus(entropy: Tensor<1>, mask: Tensor<1>, samples: &Samples) -> Tensor<1> {
    mean_of_sample_means(entropy, mask, samples).neg()
}
