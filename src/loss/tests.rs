//! What the objectives promise beyond the golden values.

use burn::tensor::{Device, Tensor};

use super::*;

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

const CLIP: Clip = Clip { low: 0.2, high: 0.28, dual: None, log_ratio_max: 20.0 };

fn matrix<const R: usize, const K: usize>(values: [[f32; K]; R]) -> Tensor<2> {
    Tensor::from_floats(values, &Device::flex())
}

/// Outputs with these log-probabilities and nothing else of interest.
fn outputs(logprobs: &[f32]) -> Outputs {
    let logprobs = tensor(logprobs);
    Outputs { support: None, entropy: logprobs.zeros_like(), logprobs }
}

fn input<'a>(
    logprobs: Tensor<1>,
    old: &[f32],
    advantages: &[f32],
    samples: &'a Samples,
    clip: Clip,
) -> PolicyInput<'a> {
    PolicyInput {
        logprobs,
        old: tensor(old),
        advantages: tensor(advantages),
        importance: None,
        mask: tensor(&vec![1.0; old.len()]),
        samples,
        clip,
    }
}

fn policy_slope(logprobs: &[f32], old: &[f32], advantages: &[f32], samples: &Samples) -> Vec<f32> {
    let result = slope(outputs(logprobs), |at| {
        let loss = policy(input(at.logprobs, old, advantages, samples, CLIP));
        (loss.loss, loss.metrics)
    });
    values(result.by.logprobs)
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
    let first =
        policy_slope(&logprobs[..2], &old[..2], &advantages[..2], &Samples::part_of(2, vec![2]));
    let second =
        policy_slope(&logprobs[2..], &old[2..], &advantages[2..], &Samples::part_of(2, vec![3]));
    assert_eq!(whole, [first, second].concat());
}

/// Where each token counts the same, a sample of four tokens weighs twice one of two, what is
/// masked weighs nothing, and the parts of a batch add up to the whole.
#[test]
fn every_token_counts_the_same_where_that_is_wanted() {
    let (values_of, mask) = ([1.0, 3.0, 5.0, 7.0, 9.0, 40.0], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    let mean = |at: std::ops::Range<usize>, lengths: Vec<usize>| {
        let samples = Samples::part_of(2, lengths).by_token(5);
        let (part, mask) = (tensor(&values_of[at.clone()]), tensor(&mask[at]));
        values(mean_of_sample_means(part, mask, &samples))[0]
    };
    let parts = mean(0..2, vec![2]) + mean(2..6, vec![4]);
    for whole in [mean(0..6, vec![2, 4]), parts] {
        assert!((whole - 5.0).abs() < 1e-5, "{whole}");
    }
    let nothing = Samples::batch(vec![1]).by_token(0);
    assert_eq!(values(mean_of_sample_means(tensor(&[2.0]), tensor(&[0.0]), &nothing)), [0.0]);
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

/// Compares an objective's slope by every output with finite differences.
fn assert_slopes(
    what: &str,
    [logprobs, entropy]: [&[f32]; 2],
    support: [[f32; 3]; 3],
    objective: impl Fn(Outputs) -> Tensor<1>,
) {
    let at = |logprobs: &[f32], support: [[f32; 3]; 3], entropy: &[f32]| {
        let support = Some(matrix(support));
        let outputs = Outputs { logprobs: tensor(logprobs), support, entropy: tensor(entropy) };
        slope(outputs, |outputs| (objective(outputs), ()))
    };
    let found = at(logprobs, support, entropy);
    let zero = || vec![0.0; 9];
    let by_support = found.by.support.map_or_else(zero, |slope| values(slope.reshape([9])));
    let by_entropy = found.by.entropy.map_or_else(zero, values);
    let by_logprobs = values(found.by.logprobs);
    let step = 1.0 / 256.0;
    let close = |name: &str, shifted: &dyn Fn(f32) -> f32, slope: f32| {
        let difference = (shifted(step) - shifted(-step)) / (2.0 * step);
        assert!((difference - slope).abs() < 2e-3, "{what} by {name}: {difference} {slope}");
    };
    let moved = |of: &[f32], index: usize, by: f32| {
        let mut moved = of.to_vec();
        moved[index] += by;
        moved
    };
    for index in 0..3 {
        let by = |step| values(at(&moved(logprobs, index, step), support, entropy).loss)[0];
        close("log-probability", &by, by_logprobs[index]);
        let by = |step| values(at(logprobs, support, &moved(entropy, index, step)).loss)[0];
        close("entropy", &by, by_entropy[index]);
        for column in 0..3 {
            let by = |step| {
                let mut support = support;
                support[index][column] += step;
                values(at(logprobs, support, entropy).loss)[0]
            };
            close("support", &by, by_support[3 * index + column]);
        }
    }
}

#[test]
fn the_slope_of_every_output_agrees_with_finite_differences() {
    let (logprobs, entropy) = ([-1.0f32, -0.5, -1.2], [0.5f32, 1.5, 0.2]);
    let support = [[-0.9f32, -1.9, -3.0], [-0.6, -1.2, -2.5], [-2.0, -2.1, -2.2]];
    let reference = [-1.4f32, -0.2, -2.0];
    let samples = Samples::batch(vec![1, 2]);
    let ones = || tensor(&[1.0; 3]);
    let check = |what: &str, objective: &dyn Fn(Outputs) -> Tensor<1>| {
        assert_slopes(what, [&logprobs, &entropy], support, objective);
    };
    for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3, KlEstimator::LowVar] {
        check(&format!("{estimator:?}"), &|at| {
            kl_penalty(estimator, at.logprobs, tensor(&reference), ones(), &samples).loss
        });
    }
    check("entropy", &|at| entropy_bonus(at.entropy, ones(), &samples));
    check("sft", &|at| cross_entropy(at.logprobs, ones(), &samples).loss);
    let teacher = [[-0.4f32, -2.9, -2.0], [-1.6, -0.7, -3.5], [-1.0, -1.1, -4.2]];
    check("topk", &|at| reverse_kl(at.support.unwrap(), matrix(teacher), ones(), &samples).loss);
    let flat = |rows: [[f32; 3]; 3]| rows.concat();
    let old = [[-1.0f32, -1.8, -3.1], [-0.7, -1.1, -2.6], [-2.05, -2.05, -2.25]];
    let inside = hybrid::Support {
        ids: vec![0; 9],
        mask: vec![1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        old: flat(old),
        teacher: flat(teacher),
    };
    check("hybrid", &|at| {
        hybrid::distill(at.support.unwrap(), &inside, 1.0, CLIP, ones(), &samples).loss
    });
    let advantages = [1.0f32, -2.0, 0.5];
    check("policy", &|at| {
        let old = [-1.05f32, -0.6, -1.15];
        policy(input(at.logprobs, &old, &advantages, &samples, CLIP)).loss
    });
}

#[test]
fn the_dual_clip_bounds_a_bad_token() {
    let samples = Samples::batch(vec![4]);
    let clip = Clip { dual: Some(3.0), ..CLIP };
    // ratios e², e², e¹, 1: what is bad and far beyond is bounded, what is good is not
    let (at, old) = ([-1.0f32, -1.0, -2.0, -3.0], [-3.0f32, -3.0, -3.0, -3.0]);
    let advantages = [-1.0f32, 1.0, -1.0, -1.0];
    let result = slope(outputs(&at), |at| {
        let loss = policy(input(at.logprobs, &old, &advantages, &samples, clip));
        (loss.loss, (loss.per_token, loss.metrics))
    });
    let (per_token, metrics) = result.other;
    let found = values(per_token);
    for (found, expected) in found.iter().zip([3.0, -1.28, 1f32.exp(), 1.0]) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let grad = values(result.by.logprobs);
    assert_eq!((grad[0], grad[1]), (0.0, 0.0), "neither beyond the dual clip nor beyond the clip");
    assert!(grad[2] > 0.0 && grad[3] > 0.0, "{grad:?}");
    assert_eq!(values(metrics.dual_fraction), [0.25]);
}

#[test]
fn a_ratio_beyond_its_bound_is_counted_and_has_no_slope() {
    let samples = Samples::batch(vec![2]);
    let (at, old) = ([-1.0f32, -1.0], [-40.0f32, -1.1]);
    let result = slope(outputs(&at), |at| {
        let loss = policy(input(at.logprobs, &old, &[-1.0, -1.0], &samples, CLIP));
        (loss.loss, loss.metrics)
    });
    let grad = values(result.by.logprobs);
    assert!(grad[0] == 0.0 && grad[1] > 0.0, "{grad:?}");
    assert_eq!(values(result.other.ratio_capped), [0.5]);
    assert!(values(result.loss)[0].is_finite());
}

#[test]
fn the_decoupled_loss_is_the_plain_one_times_its_weight() {
    let samples = Samples::batch(vec![3]);
    let (proximal, behaviour) = ([-1.0f32, -1.0, -1.0], [-1.0f32, -1.5, -90.0]);
    let weights = truncated_importance(tensor(&proximal), tensor(&behaviour), 2.0);
    let found = values(weights.clone());
    for (found, expected) in found.iter().zip([1.0, 0.5f32.exp(), 2.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let at = [-1.1f32, -0.9, -1.0];
    let plain = |at: Tensor<1>| input(at, &proximal, &[1.0, -1.0, 1.0], &samples, CLIP);
    let without = values(policy(plain(tensor(&at))).per_token);
    let with = PolicyInput { importance: Some(weights), ..plain(tensor(&at)) };
    for ((with, without), weight) in values(policy(with).per_token).iter().zip(without).zip(found) {
        assert!((with - without * weight).abs() < 1e-6);
    }
}

#[test]
fn cross_entropy_is_the_policy_gradient_of_a_reward_of_one() {
    let samples = Samples::batch(vec![1, 2]);
    let at = [-1.0f32, -0.5, -2.0];
    let sft = slope(outputs(&at), |at| {
        (cross_entropy(at.logprobs, tensor(&[1.0, 1.0, 0.0]), &samples).loss, ())
    });
    // on policy, where the ratio is 1
    let rewarded = slope(outputs(&at), |logprobs| {
        let mask = tensor(&[1.0, 1.0, 0.0]);
        let plain = input(logprobs.logprobs, &at, &[1.0; 3], &samples, CLIP);
        (policy(PolicyInput { mask, ..plain }).loss, ())
    });
    assert_eq!(values(sft.by.logprobs), values(rewarded.by.logprobs));
    assert_eq!(values(sft.loss), [0.75]);
}

#[test]
fn a_student_that_is_its_teacher_has_no_divergence_and_no_slope() {
    let top = [[-0.1f32, -4.0], [-1e-3, -9.0], [-1.0, -1.0]];
    let samples = Samples::batch(vec![3]);
    let outputs = Outputs { support: Some(matrix(top)), ..outputs(&[0.0; 3]) };
    let result = slope(outputs, |at| {
        let loss = reverse_kl(at.support.unwrap(), matrix(top), tensor(&[1.0; 3]), &samples);
        (loss.loss, loss.per_token)
    });
    assert!(values(result.other).iter().all(|term| term.abs() < 1e-6));
    let grad = values(result.by.support.unwrap().reshape([6]));
    assert!(grad.iter().all(|slope| slope.abs() < 1e-5), "{grad:?}");
}

#[test]
fn the_first_of_equal_hints_is_chosen() {
    use hybrid::{Selection, choose};
    let overlaps = [vec![1, 3, 0], vec![2, 1, 1], vec![2, 1, 1]];
    let all = [true; 3];
    assert_eq!(choose(Selection::Shortest, &overlaps, &all), [0, 0, 0]);
    assert_eq!(choose(Selection::TokenOptimal, &overlaps, &all), [1, 0, 1]);
    assert_eq!(choose(Selection::SequenceOptimal, &overlaps, &all), [0, 0, 0]);
    let without_the_second = [true, false, true];
    assert_eq!(choose(Selection::SequenceOptimal, &overlaps, &without_the_second), [1, 1, 1]);
}

#[test]
fn an_impossible_id_of_the_support_adds_nothing() {
    let support = hybrid::Support {
        ids: vec![0, 1, 2, 3],
        mask: vec![1.0, 1.0, 0.0, 0.0],
        old: vec![f32::NEG_INFINITY, -0.5, -0.1, -0.2],
        teacher: vec![-0.3, f32::NEG_INFINITY, -0.1, -0.4],
    };
    let current = matrix([[f32::NEG_INFINITY, -0.5], [f32::NEG_INFINITY, -0.2]]);
    let samples = Samples::batch(vec![2]);
    let outputs = Outputs { support: Some(current), ..outputs(&[0.0; 2]) };
    let result = slope(outputs, |at| {
        let current = at.support.unwrap();
        let loss = hybrid::distill(current, &support, 1.0, CLIP, tensor(&[1.0; 2]), &samples);
        (loss.loss, (loss.per_token, loss.metrics))
    });
    let (per_token, metrics) = result.other;
    assert_eq!(values(per_token), [1.0, 0.0], "w = 1, the gap cut off at -1, ratio 1");
    assert_eq!(values(metrics.empty), [0.5]);
    assert_eq!(values(metrics.gap_clipped), [0.5]);
    let grad = values(result.by.support.unwrap().reshape([4]));
    assert_eq!(grad, [0.0, 0.5, 0.0, 0.0]);
}

#[test]
fn a_loss_that_depends_on_nothing_has_no_slope() {
    let result = slope(outputs(&[-1.0, -2.0]), |_| (tensor(&[3.0]), ()));
    assert_eq!(values(result.by.logprobs), [0.0, 0.0]);
    assert!(result.by.entropy.is_none() && result.by.support.is_none());
}
