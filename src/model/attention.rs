//! Attention without gradient: over a cached prefix, and over one whole sequence.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::fused::causal_softmax;
use super::pack::Pack;

/// Where the keys and values that a token attends to come from.
///
/// A KV cache implements it for decoding and chunked prefill, [`Causal`] for one whole sequence.
pub trait Attend {
    /// Attention of a flat batch of tokens in one layer; keeps what later tokens will need.
    ///
    /// # Shapes
    /// `q` and the result: `[n, heads, head_dim]`; `k` and `v`: `[n, kv_heads, head_dim]`; all
    /// after the rotary embedding.
    fn attend(&mut self, layer: usize, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3>;
}

/// Causal attention over one whole sequence that starts at position 0, in chunks of queries.
///
/// Memory is `heads * chunk * n` for the scores of one chunk: linear in the length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Causal {
    chunk: Option<usize>,
}

impl Causal {
    /// Chunks of exactly this many queries, instead of as many as fit a fixed number of scores.
    ///
    /// # Panics
    /// If `queries` is 0.
    pub fn with_chunk(queries: usize) -> Self {
        assert!(queries > 0, "a chunk holds at least one query");
        Self { chunk: Some(queries) }
    }

    /// Queries per chunk of a sequence of `len` tokens and this many heads.
    pub(super) fn chunk_for(self, heads: usize, len: usize) -> usize {
        self.chunk.unwrap_or_else(|| chunk_size(heads, len))
    }
}

/// At most this many scores of one chunk are in memory (16 MiB of f32).
const SCORES_MAX: usize = 1 << 22;

/// More queries than this to a chunk only push its scores out of the processor's cache, and form
/// more of them that causality then hides.
const QUERIES_MAX: usize = 64;

/// Queries per chunk, so that the scores of all heads stay within [`SCORES_MAX`].
fn chunk_size(heads: usize, len: usize) -> usize {
    (SCORES_MAX / (heads * len).max(1)).clamp(16, QUERIES_MAX)
}

impl Attend for Causal {
    fn attend(&mut self, _layer: usize, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        self.attend_after(q, k, v)
    }
}

impl Causal {
    /// Attention of the last tokens of a sequence to all of it.
    ///
    /// # Shapes
    /// `q` and the result: `[n, heads, d]`; `k` and `v`: `[len, kv_heads, d]`, `len >= n`.
    pub(super) fn attend_after(self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let ([n, heads, _], [len, _, _]) = (q.dims(), k.dims());
        let offset = len - n;
        let chunk = self.chunk_for(heads, len);
        if chunk >= n {
            return attend_chunk(q, k, v, offset);
        }
        let k = by_dimension(k);
        let parts = (0..n).step_by(chunk).map(|start| {
            let rows = chunk.min(n - start);
            let seen = offset + start + rows;
            attend_chunk(
                q.clone().narrow(0, start, rows),
                k.clone().narrow(0, 0, seen),
                v.clone().narrow(0, 0, seen),
                offset + start,
            )
        });
        Tensor::cat(parts.collect(), 0)
    }
}

/// Attention over a pack: each run of rows to itself and to the runs that it grew from.
pub(super) struct Branches<'a> {
    pub(super) pack: &'a Pack,
    pub(super) causal: Causal,
}

impl Attend for Branches<'_> {
    fn attend(&mut self, _layer: usize, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let parts = self.pack.segments.iter().map(|segment| {
            let q = q.clone().narrow(0, segment.rows.start, segment.rows.len());
            let keys = segment.keys();
            self.causal.attend_after(q, gathered(&k, &keys), gathered(&v, &keys))
        });
        joined(parts.collect())
    }
}

/// Some rows of a tensor, copied where they are not next to each other.
pub(super) fn gathered(rows: &Tensor<3>, ranges: &[Range<usize>]) -> Tensor<3> {
    joined(ranges.iter().map(|range| rows.clone().narrow(0, range.start, range.len())).collect())
}

/// Rows after rows.
pub(super) fn joined(mut parts: Vec<Tensor<3>>) -> Tensor<3> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// The same keys (or values), with the tokens of one head and dimension next to each other.
///
/// # Shapes
/// `[len, kv_heads, d]`, whose memory is then `[kv_heads, d, len]`.
pub(super) fn by_dimension(keys: Tensor<3>) -> Tensor<3> {
    let [len, kv_heads, d] = keys.dims();
    // A view that is not contiguous cannot become one dimension without a copy.
    let copied = keys.permute([1, 2, 0]).reshape([kv_heads * d * len]);
    copied.reshape([kv_heads, d, len]).permute([2, 0, 1])
}

/// Attention of `n` consecutive queries of one sequence: query `i` sees keys `0..=offset + i`.
///
/// Keys and values may be views into a larger cache: they are read in place, not copied or
/// expanded. `len` is `offset + n` in decoding and prefill.
///
/// On a CPU it matters how keys lie in memory: a product with a matrix whose columns are
/// contiguous packs it element by element first. A cache that keeps keys as
/// `[kv_heads, head_dim, capacity]` and gives `keys.narrow(2, 0, len).permute([2, 0, 1])` decodes
/// several times faster than one of `[capacity, kv_heads, head_dim]`; values are best as the
/// latter.
///
/// # Shapes
/// `q` and the result: `[n, heads, head_dim]`; `k` and `v`: `[len, kv_heads, head_dim]`.
///
/// # Panics
/// If `len` is below `offset + n`, or `kv_heads` does not divide `heads`.
pub fn attend_chunk(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, offset: usize) -> Tensor<3> {
    let [n, heads, head_dim] = q.dims();
    let [_, kv_heads, _] = k.dims();
    let scale = 1.0 / (head_dim as f64).sqrt();
    let rows = group_rows(q, kv_heads).mul_scalar(scale);
    let scores = rows.matmul(k.permute([1, 2, 0]));
    let weights = causal_softmax(scores, heads / kv_heads, offset).cast(v.dtype());
    let attended = weights.matmul(v.swap_dims(0, 1));
    ungroup_rows(attended, n, heads)
}

/// Puts the query heads that share a key head under each other: `[n, heads, d]` to
/// `[kv_heads, n * group, d]`, row `i * group + g` being query `i` of the group's head `g`.
pub(super) fn group_rows(q: Tensor<3>, kv_heads: usize) -> Tensor<3> {
    let [n, heads, d] = q.dims();
    let group = heads / kv_heads;
    if n == 1 {
        return q.reshape([kv_heads, group, d]);
    }
    q.reshape([n, kv_heads, group, d]).swap_dims(0, 1).reshape([kv_heads, n * group, d])
}

/// The inverse of [`group_rows`].
pub(super) fn ungroup_rows(rows: Tensor<3>, n: usize, heads: usize) -> Tensor<3> {
    let [kv_heads, _, d] = rows.dims();
    if n == 1 {
        return rows.reshape([1, heads, d]);
    }
    rows.reshape([kv_heads, n, heads / kv_heads, d]).swap_dims(0, 1).reshape([n, heads, d])
}

/// Added to a score that must not count. Finite, so that no arithmetic on it can give a NaN.
const HIDDEN: f32 = -1e30;

/// Hides keys after each query's own position.
///
/// # Shapes
/// `scores` and the result: `[kv_heads, n * group, len]`.
pub(super) fn hide_future(scores: Tensor<3>, n: usize, group: usize, offset: usize) -> Tensor<3> {
    let [kv_heads, rows, len] = scores.dims();
    assert!(len >= offset + n, "{len} keys for {n} queries after {offset}");
    let future = len - offset;
    if n == 1 && future == 1 {
        return scores;
    }
    let mask = future_mask(n, group, future, &scores.device());
    if offset == 0 {
        return scores + mask;
    }
    let tail = [0..kv_heads, 0..rows, offset..len];
    let masked = scores.clone().slice(tail.clone()) + mask;
    scores.slice_assign(tail, masked)
}

/// `[1, n * group, future]`: 0 where query `i` sees key `j` (`j <= i`), else [`HIDDEN`].
fn future_mask(n: usize, group: usize, future: usize, device: &Device) -> Tensor<3> {
    let mut mask = vec![HIDDEN; n * group * future];
    for (row, line) in mask.chunks_exact_mut(future).enumerate() {
        line[..=row / group].fill(0.0);
    }
    Tensor::from_data(TensorData::new(mask, [1, n * group, future]), device)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
pub(super) mod tests;
