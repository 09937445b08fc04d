//! What the objectives promise beyond the golden values.

use burn::tensor::{Device, Tensor};

use super::*;

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

fn policy_slope(logprobs: &[f32], old: &[f32], advantages: &[f32], samples: &Samples) -> Vec<f32> {
    let result = slope(tensor(logprobs), |logprobs| {
        let loss = policy(PolicyInput {
            logprobs,
            old: tensor(old),
            advantages: tensor(advantages),
            mask: tensor(&vec![1.0; old.len()]),
            samples,
            clip_low: 0.2,
            clip_high: 0.28,
        });
        (loss.loss, loss.metrics)
    });
    values(result.grad)
}

#[test]
fn a_clipped_token_has_no_gradient_and_the_others_have_the_ratio() {
    let samples = Samples::batch(vec![4]);
    let old = [-1.0f32; 4];
    // ratios e^0.5 (above the clip), e^-0.5 (below), each with a good and a bad advantage
    let grad = policy_slope(&[-0.5, -0.5, -1.5, -1.5], &old, &[1.0, -1.0, 1.0, -1.0], &samples);
    let (up, down) = (0.5f32.exp() / 4.0, (-0.5f32).exp() / 4.0);
    for (got, expected) in grad.iter().zip([0.0, up, -down, 0.0]) {
        assert!((got - expected).abs() < 1e-6, "{grad:?}");
    }
}

#[test]
fn samples_of_a_batch_add_up_to_the_batch() {
    let logprobs = [-1.0, -2.0, -0.3, -0.7, -3.0];
    let old = [-1.1, -1.9, -0.3, -0.9, -2.5];
    let advantages = [1.0, 1.0, -1.0, -1.0, -1.0];
    let whole = policy_slope(&logprobs, &old, &advantages, &Samples::batch(vec![2, 3]));
    let first = policy_slope(&logprobs[..2], &old[..2], &advantages[..2], &Samples::one_of(2, 2));
    let second = policy_slope(&logprobs[2..], &old[2..], &advantages[2..], &Samples::one_of(2, 3));
    assert_eq!(whole, [first, second].concat());
}

#[test]
fn a_masked_sample_counts_in_the_batch_but_adds_nothing() {
    let samples = Samples::batch(vec![2, 2]);
    let mean = mean_of_sample_means(
        tensor(&[1.0, 3.0, 50.0, 70.0]),
        tensor(&[1.0, 1.0, 0.0, 0.0]),
        &samples,
    );
    assert_eq!(values(mean), [1.0]);
}

#[test]
fn the_slope_agrees_with_finite_differences() {
    let reference = [-1.4f32, -0.2, -2.0];
    let at = [-1.0f32, -0.5, -1.2];
    for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::LowVar] {
        let loss_at = |at: &[f32]| {
            slope(tensor(at), |logprobs| {
                let samples = Samples::batch(vec![1, 2]);
                let mask = tensor(&[1.0; 3]);
                let kl = kl_penalty(estimator, logprobs, tensor(&reference), mask, &samples);
                (kl.loss, ())
            })
        };
        let grad = values(loss_at(&at).grad);
        for token in 0..3 {
            let shifted = |by: f32| {
                let mut moved = at;
                moved[token] += by;
                values(loss_at(&moved).loss)[0]
            };
            let slope = (shifted(0.01) - shifted(-0.01)) / 0.02;
            assert!((slope - grad[token]).abs() < 1e-3, "{estimator:?}: {slope} {grad:?}");
        }
    }
}

#[test]
fn a_loss_that_depends_on_nothing_has_no_slope() {
    let result = slope(tensor(&[-1.0, -2.0]), |_| (tensor(&[3.0]), ()));
    assert_eq!(values(result.grad), [0.0, 0.0]);
}
