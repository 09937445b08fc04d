//! Loops over f32s in memory of the CPU, for what a tensor library takes many passes for.
//!
//! Each is a function over whole rows, run on blocks of a fixed number of rows, so that results do
//! not depend on the number of threads; [`fused`](super::fused) gives them tensors. The compiler
//! makes vectors of them: sums run in sixteen lanes, and nothing calls out of the loops.

use pulp::Arch;
use rayon::prelude::*;

/// Rows of a block.
const BLOCK: usize = 64;

/// Lanes of a sum.
const LANES: usize = 16;

/// Values below which a second thread is not worth waking.
const PARALLEL_MIN: usize = 1 << 15;

/// Runs `work` with whatever vectors the machine has.
fn wide<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Runs `work` on each block, on all threads where that pays.
fn each<T: Send>(
    values: usize,
    blocks: impl IndexedParallelIterator<Item = T>,
    work: impl Fn(T) + Sync,
) {
    let least = if values < PARALLEL_MIN { usize::MAX } else { 1 };
    blocks.with_min_len(least).for_each(|block| wide(|| work(block)));
}

/// e^x to two units in the last place; 0 below −87, NaN of NaN.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > 88.0 { 88.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4;
    // Cephes, expf.
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let p = p * r * r + r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { p * scale }
}

/// The sum of the products of columns, sixteen at a time.
#[inline(always)]
fn products<const N: usize>(columns: [&[f32]; N]) -> f32 {
    let len = columns[0].len();
    let parts = columns.map(|column| column[..len].as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for index in 0..parts[0].0.len() {
        let mut product = parts[0].0[index];
        for part in &parts[1..] {
            let values = &part.0[index];
            for lane in 0..LANES {
                product[lane] *= values[lane];
            }
        }
        for lane in 0..LANES {
            sums[lane] += product[lane];
        }
    }
    let mut total = 0.0;
    for sum in sums {
        total += sum;
    }
    for index in 0..parts[0].1.len() {
        let mut product = 1.0;
        for part in &parts {
            product *= part.1[index];
        }
        total += product;
    }
    total
}

#[inline(always)]
fn max_of(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = if chunk[lane] > most[lane] { chunk[lane] } else { most[lane] };
        }
    }
    let mut max = f32::NEG_INFINITY;
    for value in most.iter().chain(rest) {
        max = if *value > max { *value } else { max };
    }
    max
}

/// `1 / sqrt(mean(x²) + eps)`.
#[inline(always)]
fn inverse_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (products([x, x]) / x.len() as f32 + eps).sqrt()
}

#[inline(always)]
fn norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let (root, weight) = (inverse_root(x, eps), &weight[..x.len()]);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * root * weight;
    }
}

/// Replaces the gradient by the output with that by x, and adds to that by the weight.
#[inline(always)]
fn norm_row_back(x: &[f32], weight: &[f32], eps: f32, grad: &mut [f32], by_weight: &mut [f32]) {
    let len = x.len();
    let (root, weight, by_weight) = (inverse_root(x, eps), &weight[..len], &mut by_weight[..len]);
    let grad = &mut grad[..len];
    let mean = products([x, weight, grad]) * root / len as f32;
    for i in 0..len {
        let hat = x[i] * root;
        by_weight[i] += grad[i] * hat;
        grad[i] = root * (grad[i] * weight[i] - hat * mean);
    }
}

/// RMS norm of each row.
pub(super) fn norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    let blocks = x.par_chunks(BLOCK * width).zip(out.par_chunks_mut(BLOCK * width));
    each(x.len(), blocks, |(x, out)| {
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            norm_row(x, weight, eps, out);
        }
    });
}

/// Replaces the gradient by the norm's output with that by `x`; the result is that by the weight.
pub(super) fn norm_back(x: &[f32], weight: &[f32], eps: f32, grad: &mut [f32]) -> Vec<f32> {
    let width = weight.len();
    let blocks = x.par_chunks(BLOCK * width).zip(grad.par_chunks_mut(BLOCK * width));
    let back = |(x, grad): (&[f32], &mut [f32])| {
        let mut by_weight = vec![0.0; width];
        wide(|| {
            for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
                norm_row_back(x, weight, eps, grad, &mut by_weight);
            }
        });
        by_weight
    };
    total(blocks.map(back).collect(), width)
}

/// The sum of all parts, in their order.
fn total(parts: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for part in parts {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sum
}

/// Sum of all rows.
pub(super) fn column_sums(x: &[f32], width: usize) -> Vec<f32> {
    let sums = |x: &[f32]| {
        let mut sums = vec![0.0; width];
        wide(|| {
            for x in x.chunks_exact(width) {
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum += x;
                }
            }
        });
        sums
    };
    total(x.par_chunks(BLOCK * width).map(sums).collect(), width)
}

/// Cosines and sines of the places of rows, `[n, half]`; and the norm of heads before the
/// rotation, where there is one.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
    pub(super) heads: usize,
    pub(super) norm: Option<(&'a [f32], f32)>,
}

impl<'a> Turn<'a> {
    fn half(&self, rows: usize) -> usize {
        self.cos.len() / rows
    }
}

/// Norms and turns the heads of each row.
pub(super) fn turn(x: &[f32], rows: usize, by: Turn<'_>, out: &mut [f32]) {
    let half = by.half(rows);
    let width = by.heads * 2 * half;
    let angles = by.cos.par_chunks(BLOCK * half).zip(by.sin.par_chunks(BLOCK * half));
    let blocks = x.par_chunks(BLOCK * width).zip(out.par_chunks_mut(BLOCK * width)).zip(angles);
    each(x.len(), blocks, |((x, out), (cos, sin))| {
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(angles);
        for ((x, out), (cos, sin)) in rows {
            for (x, out) in x.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
                match by.norm {
                    Some((weight, eps)) => norm_row(x, weight, eps, out),
                    None => out.copy_from_slice(x),
                }
                let (first, second) = out.split_at_mut(half);
                for i in 0..half {
                    let (a, b) = (first[i], second[i]);
                    first[i] = a * cos[i] - b * sin[i];
                    second[i] = b * cos[i] + a * sin[i];
                }
            }
        }
    });
}

/// Values, and the gradient beside them.
type Graded<'a> = (&'a [f32], &'a mut [f32]);

/// Replaces the gradient by [`turn`]'s output with that by `x`; the result is that by the norm's
/// weight, empty where there is no norm.
pub(super) fn turn_back(x: &[f32], rows: usize, by: Turn<'_>, grad: &mut [f32]) -> Vec<f32> {
    let half = by.half(rows);
    let width = by.heads * 2 * half;
    let angles = by.cos.par_chunks(BLOCK * half).zip(by.sin.par_chunks(BLOCK * half));
    let blocks = x.par_chunks(BLOCK * width).zip(grad.par_chunks_mut(BLOCK * width)).zip(angles);
    let norm_width = by.norm.map_or(0, |(weight, _)| weight.len());
    let back = |((x, grad), (cos, sin)): (Graded<'_>, (&[f32], &[f32]))| {
        let mut by_weight = vec![0.0; norm_width];
        wide(|| {
            let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
            let rows = x.chunks_exact(width).zip(grad.chunks_exact_mut(width)).zip(angles);
            for ((x, grad), (cos, sin)) in rows {
                for (x, grad) in x.chunks_exact(2 * half).zip(grad.chunks_exact_mut(2 * half)) {
                    let (first, second) = grad.split_at_mut(half);
                    for i in 0..half {
                        let (a, b) = (first[i], second[i]);
                        first[i] = a * cos[i] + b * sin[i];
                        second[i] = b * cos[i] - a * sin[i];
                    }
                    if let Some((weight, eps)) = by.norm {
                        norm_row_back(x, weight, eps, grad, &mut by_weight);
                    }
                }
            }
        });
        by_weight
    };
    total(blocks.map(back).collect(), norm_width)
}

/// `silu(gate) * up`.
pub(super) fn gated(gate: &[f32], up: &[f32], out: &mut [f32]) {
    const PART: usize = 1 << 14;
    let blocks = gate.par_chunks(PART).zip(up.par_chunks(PART)).zip(out.par_chunks_mut(PART));
    each(gate.len(), blocks, |((gate, up), out)| {
        for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
            *out = g / (1.0 + exp(-g)) * u;
        }
    });
}

/// Replaces gate and up with the gradients by them, and the gradient by [`gated`]'s output with
/// that output.
pub(super) fn gated_back(gate: &mut [f32], up: &mut [f32], grad: &mut [f32]) {
    const PART: usize = 1 << 14;
    let len = gate.len();
    let blocks =
        gate.par_chunks_mut(PART).zip(up.par_chunks_mut(PART)).zip(grad.par_chunks_mut(PART));
    each(len, blocks, |((gate, up), grad)| {
        for ((grad, g), u) in grad.iter_mut().zip(gate).zip(up) {
            let (by_out, silu) = (*grad, 1.0 / (1.0 + exp(-*g)));
            let passed = *g * silu;
            *grad = passed * *u;
            *g = by_out * *u * silu * (1.0 + *g - passed);
            *u = by_out * passed;
        }
    });
}

/// How rows of scores see keys: row `i` of each group sees the first `offset + i / group + 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Rows of one key head.
    pub(super) rows: usize,
    /// Queries that share a place.
    pub(super) group: usize,
    /// Keys before the first query.
    pub(super) offset: usize,
    /// Keys of a row.
    pub(super) keys: usize,
}

impl Seen {
    #[inline(always)]
    fn of(&self, row: usize) -> usize {
        self.offset + row % self.rows / self.group + 1
    }
}

/// Softmax of what each row sees, 0 elsewhere.
pub(super) fn causal_softmax(scores: &mut [f32], seen: Seen) {
    const ROWS: usize = 16;
    let len = scores.len();
    let blocks = scores.par_chunks_mut(ROWS * seen.keys).enumerate();
    each(len, blocks, |(block, scores)| {
        for (row, scores) in scores.chunks_exact_mut(seen.keys).enumerate() {
            let (scores, hidden) = scores.split_at_mut(seen.of(block * ROWS + row));
            let max = max_of(scores);
            for score in scores.iter_mut() {
                *score = exp(*score - max);
            }
            let factor = 1.0 / products([scores]);
            for score in scores.iter_mut() {
                *score *= factor;
            }
            hidden.fill(0.0);
        }
    });
}

/// Replaces the gradient by probabilities with that by scores: `p ∘ (grad − Σ p ∘ grad)`.
pub(super) fn softmax_back(p: &[f32], grad: &mut [f32], seen: Seen) {
    const ROWS: usize = 16;
    let part = ROWS * seen.keys;
    let blocks = p.par_chunks(part).zip(grad.par_chunks_mut(part)).enumerate();
    each(p.len(), blocks, |(block, (p, grad))| {
        let rows = p.chunks_exact(seen.keys).zip(grad.chunks_exact_mut(seen.keys));
        for (row, (p, grad)) in rows.enumerate() {
            let visible = seen.of(block * ROWS + row);
            let p = &p[..visible];
            let (grad, hidden) = grad.split_at_mut(visible);
            let mean = products([p, grad]);
            for (grad, p) in grad.iter_mut().zip(p) {
                *grad = p * (*grad - mean);
            }
            hidden.fill(0.0);
        }
    });
}

/// The distribution over a vocabulary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The greatest score.
    pub(super) max: f32,
    /// 1 / T.
    pub(super) factor: f32,
    /// The logarithm of the sum of exponentials of scores less the greatest, divided by T.
    pub(super) log_sum: f32,
    /// In nats.
    pub(super) entropy: f32,
}

/// What counts as the lowest log-probability, where it is multiplied with an exponential of 0.
const LOWEST: f32 = -1e30;

impl Row {
    #[inline(always)]
    fn plain(&self, score: f32) -> f32 {
        (score - self.max) * self.factor - self.log_sum
    }

    /// Of a token of this score; finite.
    pub(super) fn logprob(&self, score: f32) -> f32 {
        floored((score - self.max) * self.factor) - self.log_sum
    }
}

#[inline(always)]
fn floored(logp: f32) -> f32 {
    if logp < LOWEST { LOWEST } else { logp }
}

/// Of each row of scores its distribution.
pub(super) fn distributions(scores: &[f32], vocab: usize, factors: &[f32]) -> Vec<Row> {
    let of_row = |(scores, factor): (&[f32], &f32)| wide(|| distribution(scores, *factor));
    scores.par_chunks_exact(vocab).zip(factors).map(of_row).collect()
}

#[inline(always)]
fn distribution(scores: &[f32], factor: f32) -> Row {
    let max = max_of(scores);
    let (mut sums, mut means) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = scores.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let shifted = (chunk[lane] - max) * factor;
            let e = exp(shifted);
            sums[lane] += e;
            means[lane] += e * floored(shifted);
        }
    }
    for (lane, score) in rest.iter().enumerate() {
        let shifted = (score - max) * factor;
        let e = exp(shifted);
        sums[lane] += e;
        means[lane] += e * floored(shifted);
    }
    let (mut sum, mut mean) = (0.0f32, 0.0f32);
    for lane in 0..LANES {
        sum += sums[lane];
        mean += means[lane];
    }
    let log_sum = sum.ln();
    Row { max, factor, log_sum, entropy: log_sum - mean / sum }
}

/// What [`distributions_back`] takes of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowSlope {
    pub(super) row: Row,
    /// Minus the sum of the gradients by its log-probabilities, less that by the entropy times it.
    pub(super) by_p: f32,
    /// The gradient by the entropy.
    pub(super) by_entropy: f32,
}

/// Replaces scores with `p (by_p − by_entropy log p) / T`.
pub(super) fn distributions_back(scores: &mut [f32], vocab: usize, rows: &[RowSlope]) {
    scores.par_chunks_exact_mut(vocab).zip(rows).for_each(|(scores, slope)| {
        wide(|| {
            let RowSlope { row, by_p, by_entropy } = *slope;
            if by_entropy == 0.0 {
                for score in scores {
                    *score = exp(row.plain(*score)) * (by_p * row.factor);
                }
                return;
            }
            for score in scores {
                let logp = row.plain(*score);
                *score = exp(logp) * (by_p - by_entropy * floored(logp)) * row.factor;
            }
        });
    });
}

#[cfg(test)]
#[path = "kernels_tests.rs"]
mod tests;
