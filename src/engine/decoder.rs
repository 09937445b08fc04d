//! [`Forward`] for the decoder: a key-value cache per sequence, one flat batch per step.
//!
//! Norms and projections run on the tokens of all sequences at once, attention per sequence over
//! its own cache, the head on the rows that were asked for, in chunks. On the CPU caches and
//! attention are our own (`host`); elsewhere they are tensors.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::host::{self, BLOCK, Heads, HostBlock, HostCache, Segment};
use super::{Forward, ForwardError, Rows, TopLogprobs, Work, sampler};
use crate::model::{Attend, Decoder, attend_chunk};

/// Tokens of the smallest cache that is allocated, and the step in which caches grow.
const GROWTH_MIN: usize = 256;

/// Logits that are held at once, in values: 16 MiB of f32.
const LOGITS_MAX: usize = 1 << 22;

/// Keys and values of one sequence.
#[derive(Debug)]
pub struct KvCache {
    place: Place,
    /// Tokens whose keys and values are there.
    len: usize,
}

/// Where keys and values are kept, and so, where attention is computed.
#[derive(Debug)]
enum Place {
    /// In memory of the CPU, read by [`host::attend`].
    Host(HostCache),
    /// In tensors of the device, read by [`attend_chunk`].
    Device(Vec<LayerCache>),
}

/// Keys and values of 64 tokens, shared by the sequences that begin with the same ones.
#[derive(Clone, Debug)]
pub struct KvBlock {
    place: BlockPlace,
}

#[derive(Clone, Debug)]
enum BlockPlace {
    Host(Arc<HostBlock>),
    /// By layer: `[BLOCK, kv_heads, head_dim]` each. A cache that adopts it copies it.
    Device(Arc<Vec<[Tensor<3>; 2]>>),
}

/// Keys and values of one layer in tensors.
///
/// They grow by half, never beyond what was reserved, and are written in place: they are copied
/// when they grow, not when a token comes.
#[derive(Debug)]
struct LayerCache {
    /// `[capacity, kv_heads, head_dim]` each, of which the first rows count; `None` before the
    /// first token.
    keys_values: Option<[Tensor<3>; 2]>,
    /// Tokens that it will ever hold.
    reserved: usize,
}

impl LayerCache {
    /// Appends rows after the first `len`; all rows then.
    ///
    /// # Shapes
    /// `new`: `[n, kv_heads, head_dim]` each; the result: `[len + n, kv_heads, head_dim]` each.
    fn append(&mut self, new: [Tensor<3>; 2], len: usize) -> [Tensor<3>; 2] {
        let [n, kv_heads, head_dim] = new[0].dims();
        let needed = len + n;
        let old = self.keys_values.take();
        let capacity = old.as_ref().map_or(0, |old| old[0].dims()[0]);
        let device = new[0].device();
        let old = match old {
            Some(old) if needed <= capacity => old,
            old => {
                let larger = (capacity + capacity / 2).max(GROWTH_MIN);
                let larger = larger.min(self.reserved).max(needed);
                let like = (&device, new[0].dtype());
                let empty = || Tensor::zeros([larger, kv_heads, head_dim], like);
                match old {
                    None => [empty(), empty()],
                    Some(old) => old.map(|old| {
                        let kept = old.narrow(0, 0, len);
                        empty().slice_assign([0..len, 0..kv_heads, 0..head_dim], kept)
                    }),
                }
            }
        };
        let [old_keys, old_values] = old;
        let [new_keys, new_values] = new;
        let added = [len..needed, 0..kv_heads, 0..head_dim];
        // Each buffer has one owner here, so that this writes in place.
        let keys = old_keys.slice_assign(added.clone(), new_keys);
        let values = old_values.slice_assign(added, new_values);
        let seen = [&keys, &values].map(|all| all.clone().narrow(0, 0, needed));
        self.keys_values = Some([keys, values]);
        seen
    }

    /// A copy of a block's rows: a view would keep the cache from being written in place.
    fn block(&self, index: usize) -> Option<[Tensor<3>; 2]> {
        let copy = |all: &Tensor<3>| {
            let [_, kv_heads, head_dim] = all.dims();
            let rows = all.clone().narrow(0, index * BLOCK, BLOCK);
            let whole = [0..BLOCK, 0..kv_heads, 0..head_dim];
            let like = (&all.device(), all.dtype());
            Tensor::zeros([BLOCK, kv_heads, head_dim], like).slice_assign(whole, rows)
        };
        self.keys_values.as_ref().map(|both| both.each_ref().map(copy))
    }
}

/// Attention of a flat batch, each sequence over its own cache.
struct Batch<'a> {
    /// The caches, and how many tokens of the batch belong to each, in order.
    sequences: Vec<(&'a mut KvCache, usize)>,
    /// What went wrong, if something did: then the results mean nothing.
    failed: Option<ForwardError>,
}

impl Attend for Batch<'_> {
    fn attend(&mut self, layer: usize, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let mut segments = Vec::new();
        let mut attended = Vec::new();
        let mut start = 0;
        let alone = self.sequences.len() == 1;
        for (KvCache { place, len }, n) in &mut self.sequences {
            let tokens = start..start + *n;
            start = tokens.end;
            match place {
                Place::Host(cache) => segments.push(Segment { cache, len: *len, tokens }),
                Place::Device(layers) => {
                    let [q, k, v] = [&q, &k, &v].map(|all| match alone {
                        true => all.clone(),
                        false => all.clone().narrow(0, tokens.start, tokens.len()),
                    });
                    let [keys, values] = layers[layer].append([k, v], *len);
                    attended.push(attend_chunk(q, keys, values, *len));
                }
            }
        }
        if segments.is_empty() {
            return Tensor::cat(attended, 0);
        }
        let (shape, device) = (q.dims(), q.device());
        attend_on_host(layer, [q, k, v], &mut segments).unwrap_or_else(|error| {
            self.failed = Some(error);
            Tensor::zeros(shape, &device)
        })
    }
}

/// [`host::attend`] for tensors.
///
/// # Shapes
/// As [`Attend::attend`].
fn attend_on_host(
    layer: usize,
    [q, k, v]: [Tensor<3>; 3],
    segments: &mut [Segment<'_>],
) -> Result<Tensor<3>, ForwardError> {
    let shape @ [_, query, dim] = q.dims();
    let heads = Heads { query, key: k.dims()[1], dim };
    let device = q.device();
    let read = |tensor: Tensor<3>| {
        let values = tensor.try_into_vec_as::<f32>();
        values.map_err(|error| ForwardError { reason: format!("nothing to attend came: {error}") })
    };
    let (q, k, v) = (read(q)?, read(k)?, read(v)?);
    let attended = host::attend(layer, [&q, &k, &v], segments, heads);
    Ok(Tensor::from_data(TensorData::new(attended, shape), &device))
}

impl KvCache {
    /// A cache in tensors of the device.
    fn on_device(layers: usize, reserved: usize) -> Self {
        let layers = (0..layers).map(|_| LayerCache { keys_values: None, reserved });
        Self { place: Place::Device(layers.collect()), len: 0 }
    }

    /// A cache in memory of the CPU.
    fn on_host(layers: usize, heads: Heads) -> Self {
        Self { place: Place::Host(HostCache::new(layers, heads)), len: 0 }
    }
}

impl Forward for Decoder {
    type Cache = KvCache;
    type Block = KvBlock;

    fn context(&self) -> usize {
        self.config().positions_max
    }

    fn vocab(&self) -> usize {
        self.config().vocab_size
    }

    fn block_tokens(&self) -> usize {
        BLOCK
    }

    fn new_cache(&self, tokens: usize) -> KvCache {
        let config = self.config();
        if *self.device() == Device::flex() {
            let heads = Heads { query: config.heads, key: config.kv_heads, dim: config.head_dim };
            KvCache::on_host(config.layers, heads)
        } else {
            KvCache::on_device(config.layers, tokens)
        }
    }

    fn share(&self, cache: &KvCache, index: usize) -> KvBlock {
        let place = match &cache.place {
            Place::Host(cache) => BlockPlace::Host(cache.share(index)),
            Place::Device(layers) => {
                let blocks = layers.iter().filter_map(|layer| layer.block(index));
                BlockPlace::Device(Arc::new(blocks.collect()))
            }
        };
        KvBlock { place }
    }

    fn adopt(
        &self,
        cache: &mut KvCache,
        index: usize,
        block: &KvBlock,
    ) -> Result<(), ForwardError> {
        let start = index * BLOCK;
        match (&mut cache.place, &block.place) {
            (Place::Host(cache), BlockPlace::Host(block)) => cache.adopt(index, block.clone()),
            // What the cache holds already is a copy like any other.
            (Place::Device(_), BlockPlace::Device(_)) if start < cache.len => {}
            (Place::Device(layers), BlockPlace::Device(blocks)) => {
                for (layer, block) in layers.iter_mut().zip(&**blocks) {
                    drop(layer.append(block.clone(), start));
                }
            }
            _ => {
                let reason = "a block lies on another device than its cache".to_owned();
                return Err(ForwardError { reason });
            }
        }
        cache.len = cache.len.max(start + BLOCK);
        Ok(())
    }

    fn forward(&self, work: &mut [Work<'_, KvCache>]) -> Result<(), ForwardError> {
        // Into the pool once per step, not once per product: each way in wakes a thread.
        rayon::scope(|_| step(self, work))
    }
}

fn step(decoder: &Decoder, work: &mut [Work<'_, KvCache>]) -> Result<(), ForwardError> {
    let mut tokens = Vec::new();
    let mut positions = Vec::new();
    for work in &*work {
        let start = work.cache.len as u32;
        positions.extend(start..start + work.tokens.len() as u32);
        tokens.extend_from_slice(work.tokens);
    }
    let sequences = work.iter_mut().map(|work| (&mut *work.cache, work.tokens.len())).collect();
    let mut attend = Batch { sequences, failed: None };
    let hidden = decoder.hidden(&tokens, &positions, &mut attend);
    if let Some(error) = attend.failed {
        return Err(error);
    }
    for work in &mut *work {
        work.cache.len += work.tokens.len();
    }
    fill(decoder, work, &hidden, (LOGITS_MAX / Forward::vocab(decoder)).max(1))
}

/// What a row of logits is wanted for.
enum Wanted {
    Logits,
    Logprob { id: u32, temperature: f32, top: usize },
}

/// A row of the batch that goes through the head.
struct Row {
    /// Its index in the batch's hidden states.
    index: u32,
    /// The work that asked for it.
    work: usize,
    wanted: Wanted,
}

/// The rows that were asked for, in the order of the works and their tokens.
fn wanted_rows(work: &[Work<'_, KvCache>]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut end = 0_u32;
    for (index, work) in work.iter().enumerate() {
        end += work.tokens.len() as u32;
        match work.rows {
            Rows::None => {}
            Rows::Last => rows.push(Row { index: end - 1, work: index, wanted: Wanted::Logits }),
            Rows::Scored { targets, temperature, top } => {
                let first = end - targets.len() as u32;
                rows.extend((first..).zip(targets).map(|(row, &id)| Row {
                    index: row,
                    work: index,
                    wanted: Wanted::Logprob { id, temperature, top },
                }));
            }
        }
    }
    rows
}

/// What one row of logits gives, and its most probable ids where they are wanted. A
/// log-probability of logits that are no numbers is none either.
fn reduce(row: &Row, logits: &[f32]) -> (Vec<f32>, Option<TopLogprobs>) {
    match row.wanted {
        Wanted::Logits => (logits.to_vec(), None),
        Wanted::Logprob { id, temperature, top } => {
            let scored = sampler::logprob_and_top(logits, id, temperature, top);
            let (logprob, best) = scored.unwrap_or((f32::NAN, Vec::new()));
            (vec![logprob], (top > 0).then_some(best))
        }
    }
}

/// Runs the rows that were asked for through the head, `rows_max` at a time, and hands them out.
///
/// # Shapes
/// `hidden`: `[n, hidden]`, n being the tokens of all works.
fn fill(
    decoder: &Decoder,
    work: &mut [Work<'_, KvCache>],
    hidden: &Tensor<2>,
    rows_max: usize,
) -> Result<(), ForwardError> {
    let vocab = decoder.config().vocab_size;
    let rows = wanted_rows(work);
    for chunk in rows.chunks(rows_max) {
        let logits = decoder.logits(select(hidden, chunk, decoder.device()));
        let logits: Vec<f32> = logits
            .try_into_vec_as()
            .map_err(|error| ForwardError { reason: format!("no logits came: {error}") })?;
        let reduced: Vec<(Vec<f32>, Option<TopLogprobs>)> = chunk
            .par_iter()
            .zip(logits.par_chunks_exact(vocab))
            .map(|(row, logits)| reduce(row, logits))
            .collect();
        for (row, (values, top)) in chunk.iter().zip(reduced) {
            work[row.work].out.extend(values);
            work[row.work].top.extend(top);
        }
    }
    Ok(())
}

/// The hidden states of these rows.
///
/// # Shapes
/// `[n, hidden]` to `[rows, hidden]`.
fn select(hidden: &Tensor<2>, rows: &[Row], device: &Device) -> Tensor<2> {
    let hidden = hidden.clone();
    if rows.len() == hidden.dims()[0] {
        return hidden;
    }
    let indices: Vec<i64> = rows.iter().map(|row| i64::from(row.index)).collect();
    let indices: Tensor<1, Int> = Tensor::from_data(TensorData::new(indices, [rows.len()]), device);
    hidden.select(0, indices)
}

#[cfg(test)]
mod tests;
