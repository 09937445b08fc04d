//! `hybrid`: the distillation term over a top-K support, and the choice among several hints.
//!
//! Notation, for each response token t: S_q the old policy's K likeliest ids, S_p\[k\] those of the
//! teacher that reads hint k. Source: the paper's and the reference's method, `shared/HYBRID.md`
//! sections 4 and 5. Proven by `parity_hybrid_*` against the set `hybrid-a`.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Clip, Samples, mean_of_sample_means, within};

/// How one of several hints is chosen, by how much the teacher that reads it agrees with the
/// policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The first one: candidates are ordered shortest first.
    Shortest,
    /// Per token, the one with the largest overlap |S_q ∩ S_p\[k\]|.
    TokenOptimal,
    /// Per reply, the one with the largest overlap summed over its tokens.
    SequenceOptimal,
}

/// Which ids the distillation term sums over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportKind {
    /// S_q.
    Student,
    /// S_p\[k*\].
    Teacher,
    /// S_q ∩ S_p\[k*\], which may be empty.
    Overlap,
}

/// Log-probabilities of K ids at each of R positions, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopK {
    /// `[R, K]`.
    pub ids: Vec<u32>,
    /// `[R, K]`.
    pub logprobs: Vec<f32>,
}

/// What is known of one hint's teacher.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The teacher's own likeliest ids.
    pub own: TopK,
    /// The teacher's log-probabilities at S_q, `[R, K]`.
    pub at_student: Vec<f32>,
    /// The old policy's log-probabilities at the teacher's ids, `[R, K]`; needed for
    /// [`SupportKind::Teacher`] only, else empty.
    pub old_at_own: Vec<f32>,
}

/// The support of the distillation term with all that is constant in it. All `[R, K]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Support {
    /// Ids that the current policy is asked for.
    pub ids: Vec<u32>,
    /// 1 for an id of the support, 0 for one that only fills the row.
    pub mask: Vec<f32>,
    /// log π_old.
    pub old: Vec<f32>,
    /// log π_T.
    pub teacher: Vec<f32>,
}

/// |S_q\[t\] ∩ S_p\[t\]| for each of R tokens.
///
/// # Shapes
/// `student`, `teacher` `[R, k]` row-major; result `[R]`.
pub fn overlap(student: &[u32], teacher: &[u32], k: usize) -> Vec<usize> {
    let rows = student.chunks_exact(k).zip(teacher.chunks_exact(k));
    rows.map(|(own, other)| own.iter().filter(|id| other.contains(id)).count()).collect()
}

/// The chosen candidate of each token, k*(t). Of equal ones the first, which has the shortest hint.
///
/// `overlaps` holds one row of R counts for each candidate; `counted` says which tokens a sum over
/// the reply takes (all in the reference; ours takes those that are trained on).
pub fn choose(selection: Selection, overlaps: &[Vec<usize>], counted: &[bool]) -> Vec<usize> {
    let tokens = counted.len();
    let best = |score: &dyn Fn(usize) -> usize| -> usize {
        (0..overlaps.len()).rev().max_by_key(|candidate| score(*candidate)).unwrap_or(0)
    };
    match selection {
        Selection::Shortest => vec![0; tokens],
        Selection::TokenOptimal => {
            (0..tokens).map(|token| best(&|candidate| overlaps[candidate][token])).collect()
        }
        Selection::SequenceOptimal => {
            let sum = |candidate: usize| -> usize {
                let counts = overlaps[candidate].iter().zip(counted);
                counts.filter(|(_, counted)| **counted).map(|(count, _)| count).sum()
            };
            vec![best(&sum); tokens]
        }
    }
}

/// The support of a reply once its hints are chosen.
///
/// # Panics
/// If a part has not R·k entries, or `chosen` names no candidate.
pub fn support(
    kind: SupportKind,
    student: &TopK,
    candidates: &[Candidate],
    chosen: &[usize],
    k: usize,
) -> Support {
    let mut support = Support::default();
    for (token, &choice) in chosen.iter().enumerate() {
        let row = token * k..(token + 1) * k;
        let candidate = &candidates[choice];
        let others = &candidate.own.ids[row.clone()];
        let own = &student.ids[row.clone()];
        if kind == SupportKind::Teacher {
            support.ids.extend(others);
            support.mask.extend(vec![1.0; k]);
            support.old.extend(&candidate.old_at_own[row.clone()]);
            support.teacher.extend(&candidate.own.logprobs[row]);
            continue;
        }
        let is_in = |id: &u32| kind == SupportKind::Student || others.contains(id);
        support.ids.extend(own);
        support.mask.extend(own.iter().map(|id| f32::from(u8::from(is_in(id)))));
        support.old.extend(&student.logprobs[row.clone()]);
        support.teacher.extend(&candidate.at_student[row]);
    }
    support
}

/// The distillation term, its parts and what can be read off it.
#[derive(Clone, Debug)]
pub struct HybridLoss {
    /// `[1]`.
    pub loss: Tensor<1>,
    /// L_OPD of each token before mask and aggregation, `[R]`.
    pub per_token: Tensor<1>,
    /// The weight w(v) of each id, `[R, K]`.
    pub weights: Tensor<2>,
    /// The gap d(v) after its clamp, `[R, K]`.
    pub gaps: Tensor<2>,
    /// Outside autodiff.
    pub metrics: HybridMetrics,
}

/// Metrics, each `[1]` and aggregated as the loss is, so that those of samples add up.
#[derive(Clone, Debug)]
pub struct HybridMetrics {
    /// Ids of the support per token.
    pub support_size: Tensor<1>,
    /// Share of tokens whose support is empty.
    pub empty: Tensor<1>,
    /// Σ_v w(v)·d(v).
    pub gap: Tensor<1>,
    /// Gaps per token that the clamp cut off.
    pub gap_clipped: Tensor<1>,
    /// Ids per token whose ratio the clip bounded.
    pub clipped: Tensor<1>,
}

/// L_OPD\[t\] = Σ_{v ∈ S} max(−A·ρ, −A·clip(ρ, 1 − ε_low, 1 + ε_high)), with
/// A(v) = w(v)·clamp(log π_T(v) − log π_old(v), ±c), w = π_old on S, made to sum to 1, and
/// ρ(v) = π_θ(v) / π_old(v). 0 where S is empty; no clamp where `gap_clip` is 0.
///
/// # Shapes
/// `current` (differentiated) `[R, K]`; `mask` `[R]`.
pub fn distill(
    current: Tensor<2>,
    support: &Support,
    gap_clip: f32,
    clip: Clip,
    mask: Tensor<1>,
    samples: &Samples,
) -> HybridLoss {
    let [tokens, k] = current.dims();
    let device = mask.device();
    let constants = Constants::of(support, gap_clip, [tokens, k], &device);
    let Constants { inside, old, weights, gaps, cut } = constants;
    // What is outside the support must not overflow: 0 · inf is not 0.
    let outside = inside.clone().equal_elem(0.0);
    let difference = current.sub(old).mask_fill(outside, 0.0);
    let advantages = weights.clone().mul(gaps.clone());
    let (terms, clipped) = clip.loss(clip.ratio(difference), advantages.clone());
    let sum = |values: Tensor<2>| values.sum_dim(1).reshape([tokens]);
    let per_token = sum(terms.mul(inside.clone()));
    let mean =
        |values: Tensor<1>| mean_of_sample_means(values.inner(), mask.clone().inner(), samples);
    let size = sum(inside.clone());
    let metrics = HybridMetrics {
        empty: mean(size.clone().equal_elem(0.0).float()),
        support_size: mean(size),
        gap: mean(sum(advantages)),
        gap_clipped: mean(sum(cut)),
        clipped: mean(sum(clipped.mul(inside))),
    };
    let loss = mean_of_sample_means(per_token.clone(), mask, samples);
    HybridLoss { loss, per_token, weights, gaps, metrics }
}

/// What does not depend on the current policy. All `[R, K]`, 0 outside the support.
struct Constants {
    inside: Tensor<2>,
    old: Tensor<2>,
    weights: Tensor<2>,
    gaps: Tensor<2>,
    /// 1 where the clamp cut a gap off.
    cut: Tensor<2>,
}

impl Constants {
    fn of(support: &Support, gap_clip: f32, shape: [usize; 2], device: &Device) -> Self {
        let tensor = |values: &[f32]| -> Tensor<2> {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        // An id that the old policy gives no probability has no weight, whatever its gap.
        let counts = |(mask, old): (&f32, &f32)| if old.is_finite() { *mask } else { 0.0 };
        let inside: Vec<f32> = support.mask.iter().zip(&support.old).map(counts).collect();
        let masked = |values: &[f32]| -> Vec<f32> {
            let pairs = values.iter().zip(&inside);
            pairs.map(|(value, inside)| if *inside > 0.0 { *value } else { 0.0 }).collect()
        };
        let (inside, old) = (tensor(&inside), tensor(&masked(&support.old)));
        let raw = tensor(&masked(&support.teacher)).sub(old.clone());
        let gaps = within(raw.clone(), gap_clip);
        let cut = raw.not_equal(gaps.clone()).float();
        let weights = weights(&old, &inside);
        Self { inside, old, weights, gaps, cut }
    }
}

/// π_old on the support, made to sum to 1; all 0 where the support is empty.
fn weights(old: &Tensor<2>, inside: &Tensor<2>) -> Tensor<2> {
    let outside = inside.clone().equal_elem(0.0);
    let lowest = old.clone().mask_fill(outside, f32::MIN);
    let max = lowest.max_dim(1).clamp_min(f32::MIN / 2.0);
    let exp = old.clone().sub(max).mul(inside.clone()).exp().mul(inside.clone());
    let sum = exp.clone().sum_dim(1);
    let empty = sum.clone().equal_elem(0.0);
    exp.div(sum.mask_fill(empty, 1.0))
}
