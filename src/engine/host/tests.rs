//! Attention on the host against the formula, in f64.

use super::*;

/// Values in -2..2.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(next).collect()
}

/// One sequence's queries, keys and values.
struct Sequence {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    len: usize,
    heads: Heads,
}

impl Sequence {
    fn new(len: usize, heads: Heads, seed: u32) -> Self {
        let q = values(len * heads.query * heads.dim, seed);
        let k = values(len * heads.key * heads.dim, seed + 1);
        let v = values(len * heads.key * heads.dim, seed + 2);
        Self { q, k, v, len, heads }
    }

    fn tokens(&self, tokens: Range<usize>) -> [&[f32]; 3] {
        let Heads { query, key, dim } = self.heads;
        let rows = |heads: usize| tokens.start * heads * dim..tokens.end * heads * dim;
        [&self.q[rows(query)], &self.k[rows(key)], &self.v[rows(key)]]
    }

    /// softmax(q · k / √d) · v over the keys that each query sees.
    fn expected(&self) -> Vec<f32> {
        let Heads { query, key, dim } = self.heads;
        let mut out = Vec::new();
        for row in 0..self.len * query {
            let (token, head) = (row / query, row % query / (query / key));
            let q = &self.q[row * dim..(row + 1) * dim];
            let at = |j: usize| (j * key + head) * dim;
            let score = |j: usize| {
                let dot =
                    q.iter().zip(&self.k[at(j)..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
                (dot.sum::<f64>() / (dim as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = (0..=token).map(score).collect();
            let mass: f64 = weights.iter().sum();
            out.extend((0..dim).map(|d| {
                let terms = weights.iter().enumerate();
                let sum: f64 = terms.map(|(j, w)| w * f64::from(self.v[at(j) + d])).sum();
                (sum / mass) as f32
            }));
        }
        out
    }
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 3e-6, "{what}: {a} for {b} at {index}");
    }
}

const SHAPES: [Heads; 4] = [
    Heads { query: 6, key: 2, dim: 32 },
    Heads { query: 4, key: 4, dim: 16 },
    Heads { query: 5, key: 1, dim: 24 },
    Heads { query: 4, key: 2, dim: 128 },
];

#[test]
fn attention_equals_the_formula_however_the_sequence_is_cut() {
    for heads in SHAPES {
        let sequence = Sequence::new(150, heads, 3);
        let expected = sequence.expected();
        for chunk in [1, 7, 64, 65, 150] {
            let mut cache = HostCache::new(1, heads);
            let mut found = Vec::new();
            for start in (0..150).step_by(chunk) {
                let end = 150.min(start + chunk);
                let segment = Segment { cache: &mut cache, len: start, tokens: 0..end - start };
                found.extend(attend(0, sequence.tokens(start..end), &mut [segment], heads));
            }
            assert_close(&found, &expected, &format!("{heads:?}, {chunk} at a time"));
        }
    }
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    let heads = SHAPES[0];
    let [a, b] = [Sequence::new(100, heads, 5), Sequence::new(70, heads, 9)];
    let [mut cache_a, mut cache_b] = [(); 2].map(|()| HostCache::new(1, heads));
    let segment = Segment { cache: &mut cache_a, len: 0, tokens: 0..90 };
    attend(0, a.tokens(0..90), &mut [segment], heads);
    let both: Vec<Vec<f32>> = (a.tokens(90..100).into_iter().zip(b.tokens(0..70)))
        .map(|(a, b)| [a, b].concat())
        .collect();
    let mut segments = [
        Segment { cache: &mut cache_a, len: 90, tokens: 0..10 },
        Segment { cache: &mut cache_b, len: 0, tokens: 10..80 },
    ];
    let found = attend(0, [&both[0], &both[1], &both[2]], &mut segments, heads);
    let stride = heads.query * heads.dim;
    let expected = [&a.expected()[90 * stride..], &b.expected()].concat();
    assert_close(&found, &expected, "a batch of two");
}

#[test]
fn plain_code_gives_what_vectors_give() {
    let heads = SHAPES[0];
    let sequence = Sequence::new(130, heads, 7);
    let mut cache = HostCache::new(1, heads);
    let segment = Segment { cache: &mut cache, len: 0, tokens: 0..130 };
    let expected = attend(0, sequence.tokens(0..130), &mut [segment], heads);
    let mut found = vec![0.0; expected.len()];
    let segments = [Segment { cache: &mut cache, len: 0, tokens: 0..130 }];
    for task in tasks(0, &segments, heads) {
        let run = Run { task: &task, q: &sequence.q, heads };
        let rows = run.with_simd(pulp::Scalar);
        for (row, values) in task.rows.clone().zip(rows.chunks_exact(heads.padded())) {
            let start = place(&task, row, heads);
            found[start..start + heads.dim].copy_from_slice(&values[..heads.dim]);
        }
    }
    assert_close(&found, &expected, "without vectors");
}

#[test]
fn exponentials_are_exact_to_the_last_bits() {
    for start in (-900..0).map(|tenth| tenth as f32 / 10.0) {
        let mut row: [f32; BLOCK] = std::array::from_fn(|i| start + i as f32 * 0.001);
        let expected = row.map(|x| f64::from(x.max(-87.0)).exp());
        exponentials(pulp::Scalar, &mut row, 0.0);
        for (found, expected) in row.into_iter().zip(expected) {
            assert!((f64::from(found) / expected - 1.0).abs() < 3e-7, "{found} for {expected}");
        }
    }
}

#[test]
fn scores_of_any_size_stay_finite() {
    let heads = Heads { query: 1, key: 1, dim: 16 };
    let mut sequence = Sequence::new(80, heads, 1);
    sequence.q.iter_mut().for_each(|value| *value *= 1e4);
    let mut cache = HostCache::new(1, heads);
    let segment = Segment { cache: &mut cache, len: 0, tokens: 0..80 };
    let found = attend(0, sequence.tokens(0..80), &mut [segment], heads);
    assert!(found.iter().all(|value| value.is_finite() && value.abs() <= 2.0));
}

#[test]
fn a_cache_holds_no_block_before_it_needs_it() {
    let heads = SHAPES[0];
    let sequence = Sequence::new(130, heads, 1);
    let mut cache = HostCache::new(3, heads);
    for start in 0..130 {
        let segment = Segment { cache: &mut cache, len: start, tokens: 0..1 };
        attend(1, sequence.tokens(start..start + 1), &mut [segment], heads);
        assert_eq!(cache.blocks.len(), start / BLOCK + 1);
    }
    for block in &cache.blocks {
        assert_eq!(block.data.len(), 3 * heads.key * BLOCK * (heads.dim + heads.padded()));
    }
}

#[test]
fn sequences_that_begin_alike_share_the_beginning_and_nothing_else() {
    let heads = SHAPES[0];
    let sequence = Sequence::new(150, heads, 3);
    let stride = heads.query * heads.dim;
    let mut whole = HostCache::new(1, heads);
    let segment = Segment { cache: &mut whole, len: 0, tokens: 0..140 };
    attend(0, sequence.tokens(0..140), &mut [segment], heads);
    let mut other = HostCache::new(1, heads);
    for index in 0..2 {
        other.adopt(index, whole.share(index));
    }
    let segment = Segment { cache: &mut other, len: 128, tokens: 0..22 };
    let found = attend(0, sequence.tokens(128..150), &mut [segment], heads);
    assert_close(&found, &sequence.expected()[128 * stride..], "after adopted blocks");
    assert!(Arc::ptr_eq(&whole.blocks[1], &other.blocks[1]), "adopted, not copied");
    assert!(!Arc::ptr_eq(&whole.blocks[2], &other.blocks[2]));
    // Going on does not change what the other one sees.
    let segment = Segment { cache: &mut whole, len: 140, tokens: 0..10 };
    let found = attend(0, sequence.tokens(140..150), &mut [segment], heads);
    assert_close(&found, &sequence.expected()[140 * stride..], "the first one goes on");
}
