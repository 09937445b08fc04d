//! Attention on the CPU over a cache of its own: keys and values in blocks, read once per step,
//! and shared by sequences that begin alike.
//!
//! Flash attention (arXiv 2205.14135): blocks of keys, a running maximum and sum per query, so
//! that neither scores nor a contiguous copy of the cache are ever in memory. Vectorised by
//! `pulp`, which picks AVX-512, AVX2 or plain code at run time.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Positions per block.
pub(super) const BLOCK: usize = 64;

/// Width that a row of values is padded to, so that it is whole vectors on any machine.
const PAD: usize = 16;

/// Query rows that one task takes through all blocks: what stays in the first-level cache.
const TASK_ROWS: usize = 32;

/// Query rows whose results stay in registers.
const TILE_ROWS: usize = 4;

/// Products below which a second thread is not worth waking.
const PARALLEL_MIN: usize = 1 << 18;

/// Keys and values of one sequence, on the host.
#[derive(Debug)]
pub(super) struct HostCache {
    layers: usize,
    heads: Heads,
    /// All full but the last, which is zero after the last position. What is full may be shared.
    blocks: Vec<Arc<HostBlock>>,
}

/// Keys and values of [`BLOCK`] positions.
#[derive(Clone, Debug)]
pub(super) struct HostBlock {
    /// By layer, then by key head: keys `[head_dim, BLOCK]`, so that scores are sums of whole
    /// vectors, then values `[BLOCK, padded head_dim]`.
    data: Vec<f32>,
}

impl HostBlock {
    /// Keys and values of one head.
    fn head(&self, layer: usize, head: usize, heads: Heads) -> (&[f32], &[f32]) {
        let size = heads.block();
        let start = (layer * heads.key + head) * size;
        self.data[start..start + size].split_at(heads.dim * BLOCK)
    }

    fn head_mut(&mut self, layer: usize, head: usize, heads: Heads) -> (&mut [f32], &mut [f32]) {
        let size = heads.block();
        let start = (layer * heads.key + head) * size;
        self.data[start..start + size].split_at_mut(heads.dim * BLOCK)
    }
}

/// The size of heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Query heads.
    pub(super) query: usize,
    /// Key and value heads.
    pub(super) key: usize,
    /// Width of each.
    pub(super) dim: usize,
}

impl Heads {
    fn padded(self) -> usize {
        self.dim.next_multiple_of(PAD)
    }

    fn group(self) -> usize {
        self.query / self.key
    }

    /// Values that a block holds of one head.
    fn block(self) -> usize {
        (self.dim + self.padded()) * BLOCK
    }
}

/// One sequence's tokens of a batch.
pub(super) struct Segment<'a> {
    pub(super) cache: &'a mut HostCache,
    /// Tokens that the cache holds already.
    pub(super) len: usize,
    /// Its tokens in the batch.
    pub(super) tokens: Range<usize>,
}

impl HostCache {
    /// An empty cache.
    pub(super) fn new(layers: usize, heads: Heads) -> Self {
        Self { layers, heads, blocks: Vec::new() }
    }

    /// A handle to a block that is full.
    pub(super) fn share(&self, index: usize) -> Arc<HostBlock> {
        self.blocks[index].clone()
    }

    /// Puts a full block at `index`, which is there or is the next one.
    pub(super) fn adopt(&mut self, index: usize, block: Arc<HostBlock>) {
        match self.blocks.get_mut(index) {
            Some(own) => *own = block,
            None => self.blocks.push(block),
        }
    }

    /// Appends the keys and values of tokens after the first `len`.
    ///
    /// # Shapes
    /// `keys`, `values`: `[n, key heads, dim]`.
    fn append(&mut self, layer: usize, keys: &[f32], values: &[f32], len: usize) {
        let heads = self.heads;
        let stride = heads.key * heads.dim;
        let rows = keys.chunks_exact(stride).zip(values.chunks_exact(stride));
        for (position, (keys, values)) in (len..).zip(rows) {
            let (block, slot) = (position / BLOCK, position % BLOCK);
            if block == self.blocks.len() {
                let data = vec![0.0; self.layers * heads.key * heads.block()];
                self.blocks.push(Arc::new(HostBlock { data }));
            }
            // Only full blocks are shared, so that this one has one owner and is not copied.
            let block = Arc::make_mut(&mut self.blocks[block]);
            let rows = keys.chunks_exact(heads.dim).zip(values.chunks_exact(heads.dim));
            for (head, (key, value)) in rows.enumerate() {
                let (keys, values) = block.head_mut(layer, head, heads);
                for (slot, key) in keys[slot..].iter_mut().step_by(BLOCK).zip(key) {
                    *slot = *key;
                }
                let start = slot * heads.padded();
                values[start..start + heads.dim].copy_from_slice(value);
            }
        }
    }
}

/// Some query rows of one key head of one sequence. Row `i * group + g` is the `g`th query head
/// of the group, at the sequence's `i`th token of the batch.
struct Task<'a> {
    blocks: &'a [Arc<HostBlock>],
    layer: usize,
    /// The head's index.
    head: usize,
    /// Position of the sequence's first token of the batch.
    offset: usize,
    /// Its first token in the batch.
    first: usize,
    rows: Range<usize>,
}

/// Appends each segment's keys and values, then attends causally.
///
/// # Shapes
/// `q` and the result: `[n, query heads, dim]`; `k`, `v`: `[n, key heads, dim]`; n being the
/// tokens of all segments.
pub(super) fn attend(
    layer: usize,
    [q, k, v]: [&[f32]; 3],
    segments: &mut [Segment<'_>],
    heads: Heads,
) -> Vec<f32> {
    let mut products = 0;
    let stride = heads.key * heads.dim;
    for Segment { cache, len, tokens } in &mut *segments {
        let new = tokens.start * stride..tokens.end * stride;
        cache.append(layer, &k[new.clone()], &v[new], *len);
        products += tokens.len() * heads.query * (*len + tokens.len()) * heads.dim;
    }
    let tasks = tasks(layer, segments, heads);
    let run = |task: &Task<'_>| Arch::new().dispatch(Run { task, q, heads });
    let done: Vec<Vec<f32>> = if products < PARALLEL_MIN {
        tasks.iter().map(run).collect()
    } else {
        tasks.par_iter().map(run).collect()
    };
    let mut out = vec![0.0; q.len()];
    for (task, rows) in tasks.iter().zip(done) {
        for (row, values) in task.rows.clone().zip(rows.chunks_exact(heads.padded())) {
            let start = place(task, row, heads);
            out[start..start + heads.dim].copy_from_slice(&values[..heads.dim]);
        }
    }
    out
}

fn tasks<'a>(layer: usize, segments: &'a [Segment<'_>], heads: Heads) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for Segment { cache, len, tokens } in segments {
        let rows = tokens.len() * heads.group();
        let (blocks, offset, first) = (&cache.blocks[..], *len, tokens.start);
        for head in 0..heads.key {
            // The last rows see the most keys: long tasks first.
            for start in (0..rows).step_by(TASK_ROWS).rev() {
                let rows = start..rows.min(start + TASK_ROWS);
                tasks.push(Task { blocks, layer, head, offset, first, rows });
            }
        }
    }
    tasks
}

/// Where a row's query is in the batch, and its result in the output.
fn place(task: &Task<'_>, row: usize, heads: Heads) -> usize {
    let token = task.first + row / heads.group();
    let head = task.head * heads.group() + row % heads.group();
    (token * heads.query + head) * heads.dim
}

/// A task, to be run with whatever vectors the machine has.
struct Run<'a> {
    task: &'a Task<'a>,
    q: &'a [f32],
    heads: Heads,
}

/// What is known of the rows of a task after some blocks.
struct State {
    /// Scaled queries, `[rows, dim]`.
    queries: Vec<f32>,
    /// Σ p · v so far, `[rows, padded dim]`.
    sums: Vec<f32>,
    /// The greatest score so far, and Σ p relative to it.
    norms: Vec<(f32, f32)>,
}

impl WithSimd for Run<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { task, q, heads } = self;
        let (count, dim, padded) = (task.rows.len(), heads.dim, heads.padded());
        let scale = (dim as f32).sqrt().recip();
        let mut queries = Vec::with_capacity(count * dim);
        for row in task.rows.clone() {
            let start = place(task, row, heads);
            queries.extend(q[start..start + dim].iter().map(|value| value * scale));
        }
        let sums = vec![0.0; count * padded];
        let mut state = State { queries, sums, norms: vec![(f32::NEG_INFINITY, 0.0); count] };
        for (block, start) in task.blocks.iter().zip((0..).step_by(BLOCK)) {
            let (keys, values) = block.head(task.layer, task.head, heads);
            for first in (0..count).step_by(TILE_ROWS) {
                let rows = first..count.min(first + TILE_ROWS);
                // How many of the block's keys each row sees.
                let seen = |row: usize| {
                    let position = task.offset + (task.rows.start + row) / heads.group();
                    (position + 1).saturating_sub(start).min(BLOCK)
                };
                if seen(rows.end - 1) == 0 {
                    continue;
                }
                match rows.len() {
                    4 => tile::<S, 4>(simd, &mut state, first, seen, keys, values),
                    3 => tile::<S, 3>(simd, &mut state, first, seen, keys, values),
                    2 => tile::<S, 2>(simd, &mut state, first, seen, keys, values),
                    _ => tile::<S, 1>(simd, &mut state, first, seen, keys, values),
                }
            }
        }
        for (sums, (_, mass)) in state.sums.chunks_exact_mut(padded).zip(&state.norms) {
            let inverse = mass.recip();
            sums.iter_mut().for_each(|sum| *sum *= inverse);
        }
        state.sums
    }
}

/// Takes `R` rows through one block.
#[inline(always)]
fn tile<S: Simd, const R: usize>(
    simd: S,
    state: &mut State,
    first: usize,
    seen: impl Fn(usize) -> usize,
    keys: &[f32],
    values: &[f32],
) {
    let dim = keys.len() / BLOCK;
    let padded = values.len() / BLOCK;
    let mut scores = [[0.0_f32; BLOCK]; R];
    let queries: [&[f32]; R] =
        std::array::from_fn(|r| &state.queries[(first + r) * dim..(first + r + 1) * dim]);
    product(simd, queries, keys, BLOCK, scores.as_flattened_mut());
    for (r, scores) in scores.iter_mut().enumerate() {
        let (max, mass) = &mut state.norms[first + r];
        let sums = &mut state.sums[(first + r) * padded..(first + r + 1) * padded];
        let seen = seen(first + r);
        scores[seen..].fill(f32::MIN);
        let top = greatest(simd, scores);
        if top > *max {
            let shrink = (*max - top).exp();
            *max = top;
            *mass *= shrink;
            sums.iter_mut().for_each(|sum| *sum *= shrink);
        }
        exponentials(simd, scores, *max);
        scores[seen..].fill(0.0);
        *mass += total(simd, scores);
    }
    let weights: [&[f32]; R] = std::array::from_fn(|r| &scores[r][..]);
    let sums = &mut state.sums[first * padded..(first + R) * padded];
    product(simd, weights, values, padded, sums);
}

/// `c += a · b`, for `R` rows.
///
/// # Shapes
/// `a`: R rows of k; `b`: `[k, width]`; `c`: `[R, width]`.
#[inline(always)]
fn product<S: Simd, const R: usize>(
    simd: S,
    a: [&[f32]; R],
    b: &[f32],
    width: usize,
    c: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let mut column = 0;
    while column + 2 * lanes <= width {
        columns::<S, R, 2>(simd, a, b, width, c, column);
        column += 2 * lanes;
    }
    while column < width {
        columns::<S, R, 1>(simd, a, b, width, c, column);
        column += lanes;
    }
}

/// [`product`] for `V` vectors of columns.
#[inline(always)]
fn columns<S: Simd, const R: usize, const V: usize>(
    simd: S,
    a: [&[f32]; R],
    b: &[f32],
    width: usize,
    c: &mut [f32],
    column: usize,
) {
    let span = column..column + V * S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (r, sums) in sums.iter_mut().enumerate() {
        let (vectors, _) = S::as_simd_f32s(&c[r * width..][span.clone()]);
        sums.copy_from_slice(vectors);
    }
    for (k, b) in b.chunks_exact(width).enumerate() {
        let (b, _) = S::as_simd_f32s(&b[span.clone()]);
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = simd.splat_f32s(a[k]);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = simd.mul_add_e_f32s(a, *b, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let (vectors, _) = S::as_mut_simd_f32s(&mut c[r * width..][span.clone()]);
        vectors.copy_from_slice(sums);
    }
}

#[inline(always)]
fn greatest<S: Simd>(simd: S, row: &[f32; BLOCK]) -> f32 {
    let (vectors, _) = S::as_simd_f32s(row);
    let first = simd.splat_f32s(f32::MIN);
    simd.reduce_max_f32s(vectors.iter().fold(first, |max, v| simd.max_f32s(max, *v)))
}

#[inline(always)]
fn total<S: Simd>(simd: S, row: &[f32; BLOCK]) -> f32 {
    let (vectors, _) = S::as_simd_f32s(row);
    let first = simd.splat_f32s(0.0);
    simd.reduce_sum_f32s(vectors.iter().fold(first, |sum, v| simd.add_f32s(sum, *v)))
}

/// exp(x - max) in place, relative error below 3e-7; e^-87 for anything smaller than that.
///
/// exp(x) = 2^n · exp(r), with n the nearest whole number to x / ln 2 and r what is left.
#[inline(always)]
fn exponentials<S: Simd>(simd: S, row: &mut [f32; BLOCK], max: f32) {
    // Adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Taylor's coefficients of exp, from the seventh power down: |r| is at most 0.35.
    const POWERS: [f32; 7] =
        [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let splat = |value| simd.splat_f32s(value);
    let (vectors, _) = S::as_mut_simd_f32s(row);
    for x in vectors {
        let shifted = simd.max_f32s(simd.sub_f32s(*x, splat(max)), splat(-87.0));
        let rounded =
            simd.add_f32s(simd.mul_f32s(shifted, splat(std::f32::consts::LOG2_E)), splat(ROUND));
        let n = simd.sub_f32s(rounded, splat(ROUND));
        let r = simd.mul_add_e_f32s(n, splat(-LN_2_HIGH), shifted);
        let r = simd.mul_add_e_f32s(n, splat(-LN_2_LOW), r);
        let mut power = splat(POWERS[0]);
        for coefficient in &POWERS[1..] {
            power = simd.mul_add_e_f32s(power, r, splat(*coefficient));
        }
        let power = simd.mul_add_e_f32s(power, r, splat(1.0));
        let exponent =
            simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
        let scaled = simd.add_u32s(simd.transmute_u32s_f32s(power), exponent);
        *x = simd.transmute_f32s_u32s(scaled);
    }
}

#[cfg(test)]
mod tests;
