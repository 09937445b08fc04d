//! The derivative of causal attention, by hand, in chunks of queries.
//!
//! The backward pass of FlashAttention-2 (arXiv 2307.08691, section 3.2): with S = scale q kᵀ,
//! P = softmax(S), dP = do vᵀ and D = rowsum(P ∘ dP), which is rowsum(do ∘ o),
//!
//! ```text
//! dv = Pᵀ do      dS = P ∘ (dP − D)      dq = scale dS k      dk = scale dSᵀ q
//! ```
//!
//! A chunk holds whole rows of S, so P is formed again by an exact softmax, and no log-sum-exp has
//! to be kept. Memory is `heads * chunk * n`: the n × n matrix is never there.

use std::ops::Range;

use burn::tensor::{FloatDType, Tensor};

use super::Causal;
use super::attention::{by_dimension, gathered, group_rows, ungroup_rows};
use super::fused::{causal_softmax, softmax_back};
use super::pack::Pack;

/// What one layer's attention was given.
pub(super) struct Attention {
    /// `[n, heads, d]`.
    pub(super) q: Tensor<3>,
    /// `[len, kv_heads, d]`: the queries are those of the last `n` tokens.
    pub(super) k: Tensor<3>,
    /// `[len, kv_heads, d]`.
    pub(super) v: Tensor<3>,
}

impl Attention {
    /// The gradients of q, k and v of a whole pack, given that of `out`.
    ///
    /// # Shapes
    /// `grad`: `[n, heads, d]`; the result: those of q, k and v.
    pub(super) fn backward_over(
        self,
        pack: &Pack,
        grad: Tensor<3>,
        causal: Causal,
    ) -> [Tensor<3>; 3] {
        if let [_] = pack.segments[..] {
            return self.backward(grad, causal);
        }
        let Self { q, k, v } = self;
        let mut by_q = Vec::new();
        let (mut by_k, mut by_v) = (k.zeros_like(), v.zeros_like());
        for segment in &pack.segments {
            let own = |x: &Tensor<3>| x.clone().narrow(0, segment.rows.start, segment.rows.len());
            let keys = segment.keys();
            let (k, v) = (gathered(&k, &keys), gathered(&v, &keys));
            let part = Self { q: own(&q), k, v };
            let [part_q, part_k, part_v] = part.backward(own(&grad), causal);
            by_q.push(part_q);
            by_k = add_ranges(by_k, part_k, &keys);
            by_v = add_ranges(by_v, part_v, &keys);
        }
        [Tensor::cat(by_q, 0), by_k, by_v]
    }

    /// The gradients of q, k and v, given that of `out`.
    ///
    /// # Shapes
    /// `grad`: `[n, heads, d]`; the result: those of q, k and v.
    pub(super) fn backward(self, grad: Tensor<3>, causal: Causal) -> [Tensor<3>; 3] {
        let ([n, heads, _], [len, _, _]) = (self.q.dims(), self.k.dims());
        let chunk = causal.chunk_for(heads, len);
        let transposed = [by_dimension(self.k.clone()), by_dimension(self.v.clone())];
        let mut dq = Vec::new();
        let mut sums: Option<[Tensor<3>; 2]> = None;
        // From the last chunk on: it sees every key, so its part is as long as the sum.
        for start in (0..n).step_by(chunk).rev() {
            let rows = start..n.min(start + chunk);
            let [part_q, part_k, part_v] = self.chunk_backward(&grad, &transposed, rows);
            dq.push(part_q);
            sums = Some(match sums {
                None => [part_k, part_v],
                Some([dk, dv]) => [add_prefix(dk, part_k), add_prefix(dv, part_v)],
            });
        }
        dq.reverse();
        let [dk, dv] = sums.unwrap_or_else(|| [self.k.zeros_like(), self.v.zeros_like()]);
        [Tensor::cat(dq, 0), dk.swap_dims(0, 1), dv.swap_dims(0, 1)]
    }

    /// Part of dq `[rows, heads, d]`, and parts of dk and dv `[kv_heads, seen, d]`.
    fn chunk_backward(
        &self,
        grad: &Tensor<3>,
        transposed: &[Tensor<3>; 2],
        rows: Range<usize>,
    ) -> [Tensor<3>; 3] {
        let [all, heads, d] = self.q.dims();
        let [len, kv_heads, _] = self.k.dims();
        let (scale, dtype) = (1.0 / (d as f64).sqrt(), self.q.dtype());
        let (n, offset) = (rows.len(), len - all);
        let seen = offset + rows.end;
        let grouped = |x: &Tensor<3>| group_rows(x.clone().narrow(0, rows.start, n), kv_heads);
        let by_head = |x: &Tensor<3>| x.clone().narrow(0, 0, seen).swap_dims(0, 1);
        let [k_t, v_t] = transposed.each_ref().map(|x| by_head(x).transpose());
        let q = grouped(&self.q).mul_scalar(scale);
        let grad = grouped(grad);

        let (group, before) = (heads / kv_heads, offset + rows.start);
        let p = causal_softmax(q.clone().matmul(k_t), group, before);
        let dv = p.clone().cast(dtype).transpose().matmul(grad.clone());
        let dp = grad.matmul(v_t).cast(FloatDType::F32);
        let ds = softmax_back(p, dp, group, before).1.cast(dtype);
        let dk = ds.clone().transpose().matmul(q);
        let dq = ds.matmul(by_head(&self.k)).mul_scalar(scale);
        [ungroup_rows(dq, n, heads), dk, dv]
    }
}

/// Adds rows to ranges of `sum`, in place where the backend can.
fn add_ranges(mut sum: Tensor<3>, part: Tensor<3>, ranges: &[Range<usize>]) -> Tensor<3> {
    let [_, heads, d] = sum.dims();
    let mut first = 0;
    for range in ranges {
        let within = [range.clone(), 0..heads, 0..d];
        let rows = part.clone().narrow(0, first, range.len());
        let added = sum.clone().slice(within.clone()) + rows;
        sum = sum.slice_assign(within, added);
        first += range.len();
    }
    sum
}

/// Adds `part` to the first keys of `sum`, in place where the backend can.
fn add_prefix(sum: Tensor<3>, part: Tensor<3>) -> Tensor<3> {
    let [kv_heads, seen, d] = part.dims();
    let prefix = [0..kv_heads, 0..seen, 0..d];
    let added = sum.clone().slice(prefix.clone()) + part;
    sum.slice_assign(prefix, added)
}

#[cfg(test)]
mod tests {
    use super::super::Attend;
    use super::super::attention::tests::random;
    use super::*;

    const SHAPES: [[usize; 4]; 4] = [[1, 2, 1, 4], [5, 4, 2, 4], [7, 3, 3, 6], [9, 6, 2, 2]];

    fn inputs([n, heads, kv_heads, d]: [usize; 4], seed: u64) -> [Tensor<3>; 4] {
        let shapes = [[n, heads, d], [n, kv_heads, d], [n, kv_heads, d], [n, heads, d]];
        std::array::from_fn(|index| random(shapes[index], seed + index as u64))
    }

    fn values(tensor: &Tensor<3>) -> Vec<f32> {
        tensor.to_data().try_to_vec().unwrap()
    }

    /// `sum(weight * attention(q, k, v))`, in f64 over the f32 outputs.
    fn objective(q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>, weight: &[f32]) -> f64 {
        let out = Causal::default().attend(0, q.clone(), k.clone(), v.clone());
        values(&out).iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn gradients(inputs: &[Tensor<3>; 4], causal: Causal) -> [Tensor<3>; 3] {
        let [q, k, v, grad] = inputs.clone();
        Attention { q, k, v }.backward(grad, causal)
    }

    #[test]
    fn each_gradient_is_the_finite_difference() {
        for shape in SHAPES {
            let all = inputs(shape, 11);
            let found = gradients(&all, Causal::with_chunk(3));
            let weight = values(&all[3]);
            for which in 0..3 {
                let found = values(&found[which]);
                for (index, &derivative) in found.iter().enumerate() {
                    let step = 1.0 / 128.0;
                    let moved = |by: f32| {
                        let mut moved = all.clone();
                        let mut changed = values(&all[which]);
                        changed[index] += by;
                        let data = burn::tensor::TensorData::new(changed, all[which].dims());
                        moved[which] = Tensor::from_data(data, &all[which].device());
                        objective(&moved[0], &moved[1], &moved[2], &weight)
                    };
                    let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                    let off = (slope - f64::from(derivative)).abs();
                    assert!(off < 2e-4, "{shape:?} {which} {index}: {slope} {derivative}");
                }
            }
        }
    }

    #[test]
    fn the_size_of_a_chunk_does_not_change_the_gradient() {
        let all = inputs([9, 6, 2, 8], 21);
        let whole = gradients(&all, Causal::with_chunk(9));
        for chunk in [1, 2, 4, 8, 30] {
            let parts = gradients(&all, Causal::with_chunk(chunk));
            for (part, whole) in parts.iter().zip(&whole) {
                let off = (part.clone() - whole.clone()).abs().max().into_scalar::<f32>();
                assert!(off < 2e-6, "chunk {chunk}: {off}");
            }
        }
    }
}
