//! Distillation without sampling: the divergence from a teacher over its likeliest tokens.

use burn::tensor::Tensor;

use super::{Samples, mean_of_sample_means};

/// log Σ_top counts up to this, so that something is left for the tail.
const TOP_MAX: f32 = -1e-7;

/// The divergence and its terms.
#[derive(Clone, Debug)]
pub struct DistillLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// The divergence at each position before mask and aggregation, `[R]`.
    pub per_token: Tensor<1>,
}

/// `topk`: KL(π_θ ‖ π_T) over the teacher's K likeliest tokens and one bin for all others.
///
/// D_t = Σ_{v ∈ top} p(v)·(log p(v) − log p_T(v)) + p(tail)·(log p(tail) − log p_T(tail)), with
/// log p(tail) = log(1 − Σ_{v ∈ top} p(v)), the sum at most exp(−10⁻⁷).
///
/// Source: reverse KL as in MiniLLM (arXiv:2306.08543), binned as in Gen-Verse/OpenClaw-RL's
/// top-K distillation. Proven by `parity_top_k` and `parity_model_gradients`.
///
/// # Shapes
/// `student` (differentiated), `teacher`: log-probabilities at the teacher's ids, `[R, K]`; `mask`
/// `[R]`.
pub fn reverse_kl(
    student: Tensor<2>,
    teacher: Tensor<2>,
    mask: Tensor<1>,
    samples: &Samples,
) -> DistillLoss {
    let [tokens, _] = student.dims();
    let (student_tail, teacher_tail) = (tail(student.clone()), tail(teacher.clone()));
    let with_tail = |top: Tensor<2>, tail: Tensor<2>| Tensor::cat(vec![top, tail], 1);
    let (own, other) = (with_tail(student, student_tail), with_tail(teacher, teacher_tail));
    let per_token = own.clone().exp().mul(own.sub(other)).sum_dim(1).reshape([tokens]);
    DistillLoss { loss: mean_of_sample_means(per_token.clone(), mask, samples), per_token }
}

/// Log-probability of everything but the listed tokens.
///
/// # Shapes
/// `[R, K]` to `[R, 1]`.
fn tail(top: Tensor<2>) -> Tensor<2> {
    let max = top.clone().inner().max_dim(1);
    let sum = top.sub(max.clone()).exp().sum_dim(1).log().add(max);
    let full = sum.clone().greater_elem(TOP_MAX);
    let sum = sum.mask_fill(full, TOP_MAX);
    // 1 − eˣ = tanh(−x/2)·(1 + eˣ), which loses nothing where x is close to 0.
    let rest = sum.clone().div_scalar(-2.0).tanh().mul(sum.exp().add_scalar(1.0));
    rest.log()
}
