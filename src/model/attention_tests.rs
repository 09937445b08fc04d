use super::*;
use rand::{RngExt, SeedableRng};

/// Random values in -1..1.
pub(in crate::model) fn random(shape: [usize; 3], seed: u64) -> Tensor<3> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let values = (0..shape.iter().product()).map(|_| rng.random_range(-1.0f32..1.0));
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), &Device::flex())
}

fn values(tensor: Tensor<3>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// The definition, one query and one head at a time, in f64.
fn slow(q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>, offset: usize) -> Vec<f32> {
    let ([n, heads, d], [_, kv_heads, _]) = (q.dims(), k.dims());
    let (q, k, v) = (values(q.clone()), values(k.clone()), values(v.clone()));
    let mut out = Vec::new();
    for i in 0..n {
        for h in 0..heads {
            let shared = h / (heads / kv_heads);
            let key = |j: usize| &k[(j * kv_heads + shared) * d..][..d];
            let value = |j: usize| &v[(j * kv_heads + shared) * d..][..d];
            let query = &q[(i * heads + h) * d..][..d];
            let weight = |j: usize| {
                let dot: f64 =
                    query.iter().zip(key(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                (dot / (d as f64).sqrt()).exp()
            };
            let weights: Vec<f64> = (0..=offset + i).map(weight).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..d {
                let sum: f64 =
                    weights.iter().enumerate().map(|(j, w)| w * f64::from(value(j)[c])).sum();
                out.push((sum / total) as f32);
            }
        }
    }
    out
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "element {index}: {a} against {b}");
    }
}

#[test]
fn a_chunk_of_queries_sees_the_cache_and_its_own_past() {
    for (n, len, heads, kv_heads) in [(1, 1, 4, 2), (1, 9, 4, 2), (5, 12, 6, 2), (7, 7, 3, 3)] {
        let q = random([n, heads, 8], 1);
        // A cache that has room for more than is filled.
        let k = random([len + 3, kv_heads, 8], 2).narrow(0, 0, len);
        let v = random([len + 3, kv_heads, 8], 3).narrow(0, 0, len);
        let expected = slow(&q, &k, &v, len - n);
        let found = values(attend_chunk(q, k, v, len - n));
        assert_close(&found, &expected, 2e-6);
    }
}

#[test]
fn the_size_of_a_chunk_does_not_change_the_result() {
    let [q, k, v] = [random([13, 4, 8], 4), random([13, 2, 8], 5), random([13, 2, 8], 6)];
    let expected = slow(&q, &k, &v, 0);
    for chunk in [1, 2, 5, 12, 13, 100] {
        let mut causal = Causal::with_chunk(chunk);
        let found = values(causal.attend(0, q.clone(), k.clone(), v.clone()));
        assert_close(&found, &expected, 2e-6);
    }
}

#[test]
fn a_chunk_shrinks_as_the_sequence_grows() {
    for len in [1, 512, 4096, 32_768] {
        let chunk = Causal::default().chunk_for(16, len);
        assert!((16..=QUERIES_MAX).contains(&chunk));
        assert!(chunk == 16 || chunk * 16 * len <= SCORES_MAX, "{chunk} queries at {len}");
    }
}
