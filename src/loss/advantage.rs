//! Advantages: how much better than expected each response token was.
//!
//! Proven by `parity_advantages`.

use burn::tensor::Tensor;

use super::Samples;

/// `binary`: A_t = r, the sample's reward at each of its tokens (REINFORCE with a verdict in {−1,
/// 0, +1}).
///
/// # Shapes
/// `rewards` `[samples]`; result `[R]`.
pub fn binary(rewards: Tensor<1>, samples: &Samples) -> Tensor<1> {
    let owners = samples.owners(&rewards.device());
    rewards.select(0, owners)
}

/// `opd` (on-policy distillation): A_t = log π_v(a_t | prompt + hint) − log π_v(a_t | prompt).
///
/// Both by one version v, so that the gap is the hint's effect and holds no drift of the policy.
///
/// # Shapes
/// `teacher`, `student` `[R]`; result `[R]`.
pub fn opd(teacher: Tensor<1>, student: Tensor<1>) -> Tensor<1> {
    teacher.sub(student)
}

/// Weights of the two signals in [`combine`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Weight of the hint's gap.
    pub opd: f32,
    /// Weight of the reward.
    pub rl: f32,
}

/// `combine`: A_t = w_opd · gap_t + w_rl · r. A sample without a hint has gap 0, one without a
/// verdict r = 0.
///
/// # Shapes
/// `gap` (from [`opd`]), `reward` (from [`binary`]) `[R]`; result `[R]`.
pub fn combine(gap: Tensor<1>, reward: Tensor<1>, weights: Weights) -> Tensor<1> {
    gap.mul_scalar(weights.opd).add(reward.mul_scalar(weights.rl))
}

/// A within ± `most`, and 1 for each token whose advantage was beyond.
///
/// # Shapes
/// `advantages`, both results `[R]`.
pub fn capped(advantages: Tensor<1>, most: f32) -> (Tensor<1>, Tensor<1>) {
    let beyond = advantages.clone().abs().greater_elem(most).float();
    (advantages.clamp(-most, most), beyond)
}
