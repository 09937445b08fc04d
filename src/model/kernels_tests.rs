use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};

use super::*;

/// Widths that are and are not whole numbers of lanes.
const WIDTHS: [usize; 3] = [16, 37, 5];
const ROWS: usize = 130;

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-2.0f32..2.0)).collect()
}

/// A leaf of burn's own differentiation: the slow, obvious way.
fn leaf<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    let data = TensorData::new(values.to_vec(), shape);
    Tensor::from_data(data, &Device::flex()).autodiff().require_grad()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{index}: {a} {b}");
    }
}

#[test]
fn the_exponential_is_that_of_the_library() {
    for step in -8_700..8_800 {
        let x = step as f32 / 100.0;
        let expected = f64::from(x).exp();
        assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2.5e-7, "{x}: {}", exp(x));
    }
    assert_eq!([exp(-88.0), exp(-1e30), exp(f32::NEG_INFINITY)], [0.0; 3]);
    assert!(exp(f32::NAN).is_nan() && exp(1e30).is_finite());
    assert_eq!(exp(0.0), 1.0);
}

fn norm_slow<const D: usize>(x: Tensor<D>, weight: Tensor<1>) -> Tensor<D> {
    let root = x.clone().square().mean_dim(D - 1).add_scalar(1e-5).sqrt();
    x / root * weight.unsqueeze()
}

#[test]
fn a_norm_and_its_gradients_are_those_of_the_tensor_library() {
    for width in WIDTHS {
        let (x, weight, grad) =
            (random(ROWS * width, 1), random(width, 2), random(ROWS * width, 3));
        let (leaf_x, leaf_weight) = (leaf(&x, [ROWS, width]), leaf(&weight, [width]));
        let y = norm_slow(leaf_x.clone(), leaf_weight.clone());
        let mut found = vec![0.0; x.len()];
        norm(&x, &weight, 1e-5, &mut found);
        assert_close(&found, &host(y.clone()), 2e-6);
        let derivatives = (y * leaf(&grad, [ROWS, width])).sum().backward();
        let mut by_x = grad;
        let by_weight = norm_back(&x, &weight, 1e-5, &mut by_x);
        assert_close(&by_x, &host(leaf_x.grad(&derivatives).unwrap()), 5e-6);
        assert_close(&by_weight, &host(leaf_weight.grad(&derivatives).unwrap()), 2e-5);
    }
}

#[test]
fn a_turn_and_its_gradients_are_those_of_the_tensor_library() {
    let (heads, half) = (3, 6);
    let shape = [ROWS, heads, 2 * half];
    let count = ROWS * heads * 2 * half;
    let (x, weight, grad) = (random(count, 1), random(2 * half, 2), random(count, 3));
    let angles = random(ROWS * half, 4);
    let cos: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
    let sin: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
    for normed in [true, false] {
        let (leaf_x, leaf_weight) = (leaf(&x, shape), leaf(&weight, [2 * half]));
        let y = match normed {
            true => norm_slow(leaf_x.clone(), leaf_weight.clone()),
            false => leaf_x.clone(),
        };
        let angle = |values: &[f32]| leaf(values, [ROWS, 1, half]);
        let (first, second) = (y.clone().narrow(2, 0, half), y.narrow(2, half, half));
        let turned = vec![
            first.clone() * angle(&cos) - second.clone() * angle(&sin),
            second * angle(&cos) + first * angle(&sin),
        ];
        let y = Tensor::cat(turned, 2);
        let by =
            Turn { cos: &cos, sin: &sin, heads, norm: normed.then_some((weight.as_slice(), 1e-5)) };
        let mut found = vec![0.0; count];
        turn(&x, ROWS, by, &mut found);
        assert_close(&found, &host(y.clone()), 2e-6);
        let derivatives = (y * leaf(&grad, shape)).sum().backward();
        let mut by_x = grad.clone();
        let by_weight = turn_back(&x, ROWS, by, &mut by_x);
        assert_close(&by_x, &host(leaf_x.grad(&derivatives).unwrap()), 1e-5);
        match leaf_weight.grad(&derivatives) {
            Some(expected) => assert_close(&by_weight, &host(expected), 2e-5),
            None => assert!(by_weight.is_empty()),
        }
    }
}

#[test]
fn a_gated_product_and_its_gradients_are_those_of_the_tensor_library() {
    let count = 40_000;
    let gate: Vec<f32> = random(count, 1).iter().map(|x| x * 20.0).collect();
    let (up, grad) = (random(count, 2), random(count, 3));
    let (leaf_gate, leaf_up) = (leaf(&gate, [count]), leaf(&up, [count]));
    let y = silu(leaf_gate.clone()) * leaf_up.clone();
    let mut found = vec![0.0; count];
    gated(&gate, &up, &mut found);
    assert_close(&found, &host(y.clone()), 2e-6);
    let derivatives = (y * leaf(&grad, [count])).sum().backward();
    let (mut by_gate, mut by_up, mut passed) = (gate, up, grad);
    gated_back(&mut by_gate, &mut by_up, &mut passed);
    // A quotient there, a product with a reciprocal here: one unit in the last place.
    assert_close(&passed, &found, 2e-7);
    assert_close(&by_gate, &host(leaf_gate.grad(&derivatives).unwrap()), 5e-6);
    assert_close(&by_up, &host(leaf_up.grad(&derivatives).unwrap()), 5e-6);
}

#[test]
fn a_causal_softmax_and_its_gradient_are_those_of_the_tensor_library() {
    // 2 key heads, 30 queries of 2 heads each after 7 keys, and 3 keys that nobody sees.
    let (heads, n, group, offset, keys) = (2, 30, 2, 7, 40);
    let (rows, count) = (n * group, heads * n * group * keys);
    let (scores, grad) = (random(count, 1), random(count, 2));
    let seen = Seen { rows, group, offset, keys };
    let mask: Vec<f32> = (0..count)
        .map(|i| {
            let (row, key) = (i / keys % rows, i % keys);
            if key <= offset + row / group { 0.0 } else { -1e30 }
        })
        .collect();
    let shape = [heads, rows, keys];
    let leaf_scores = leaf(&scores, shape);
    let p = softmax(leaf_scores.clone() + leaf(&mask, shape), 2);
    let mut found = scores;
    causal_softmax(&mut found, seen);
    assert_close(&found, &host(p.clone()), 1e-6);
    let derivatives = (p * leaf(&grad, shape)).sum().backward();
    let mut by_scores = grad;
    softmax_back(&found, &mut by_scores, seen);
    assert_close(&by_scores, &host(leaf_scores.grad(&derivatives).unwrap()), 2e-6);
}

#[test]
fn sums_of_columns_are_exact_in_whole_numbers() {
    let x: Vec<f32> = (0..ROWS * 5).map(|i| (i % 7) as f32).collect();
    let expected: Vec<f32> =
        (0..5).map(|column| (0..ROWS).map(|row| x[row * 5 + column]).sum()).collect();
    assert_eq!(column_sums(&x, 5), expected);
}
