use burn::tensor::Device;
use rand::{RngExt, SeedableRng};

use super::*;

const VOCAB: usize = 7;
const HIDDEN: usize = 5;
const ROWS: usize = 4;
const WIDTH: usize = 3;

fn random(count: usize, seed: u64, bound: f32) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-bound..bound)).collect()
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn head(weight: Vec<f32>, temperatures: Option<Vec<f32>>) -> Head {
    // In the last position one id is asked for twice.
    let ids = vec![0, 3, 6, 2, 2, 1, 5, 4, 3, 6, 1, 1];
    let wanted = Wanted { ids, width: WIDTH, temperatures };
    let weight = matrix(weight, [HIDDEN, VOCAB]);
    Head { stored: weight.clone().transpose(), weight, wanted, rows: 3, frozen: false }
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// Log-probabilities `[R, WIDTH]` and entropies `[R]` by their definition, in f64.
fn slow(hidden: &[f32], weight: &[f32], head: &Head) -> (Vec<f64>, Vec<f64>) {
    let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
    for row in 0..ROWS {
        let temperature = head.wanted.temperatures.as_ref().map_or(1.0, |all| all[row]);
        let scores: Vec<f64> = (0..VOCAB)
            .map(|id| {
                let product = |i: usize| {
                    f64::from(hidden[row * HIDDEN + i]) * f64::from(weight[i * VOCAB + id])
                };
                (0..HIDDEN).map(product).sum::<f64>() / f64::from(temperature)
            })
            .collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = max + scores.iter().map(|score| (score - max).exp()).sum::<f64>().ln();
        let logp: Vec<f64> = scores.iter().map(|score| score - lse).collect();
        let asked = &head.wanted.ids[row * WIDTH..][..WIDTH];
        logprobs.extend(asked.iter().map(|id| logp[*id as usize]));
        entropies.push(-logp.iter().map(|logp| logp.exp() * logp).sum::<f64>());
    }
    (logprobs, entropies)
}

struct Case {
    hidden: Vec<f32>,
    weight: Vec<f32>,
    by_logprobs: Vec<f32>,
    by_entropy: Vec<f32>,
}

impl Case {
    fn new(bound: f32) -> Self {
        Self {
            hidden: random(ROWS * HIDDEN, 1, bound),
            weight: random(HIDDEN * VOCAB, 2, bound),
            by_logprobs: random(ROWS * WIDTH, 3, 1.0),
            by_entropy: random(ROWS, 4, 1.0),
        }
    }

    /// The weighted sum whose gradient is asked for.
    fn objective(&self, head: &Head) -> f64 {
        let (logprobs, entropies) = slow(&self.hidden, &self.weight, head);
        let dot =
            |a: &[f64], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum() };
        dot(&logprobs, &self.by_logprobs) + dot(&entropies, &self.by_entropy)
    }
}

const TEMPERATURES: [f32; ROWS] = [1.0, 0.6, 1.4, 0.9];

#[test]
fn answers_are_those_of_the_definition() {
    for (bound, temperatures) in [(1.0, None), (2.0, Some(TEMPERATURES.to_vec()))] {
        let case = Case::new(bound);
        let head = head(case.weight.clone(), temperatures);
        let scored = head.forward(&matrix(case.hidden.clone(), [ROWS, HIDDEN]), true);
        let (logprobs, entropies) = slow(&case.hidden, &case.weight, &head);
        for (found, expected) in
            [(host(scored.logprobs), logprobs), (host(scored.entropy), entropies)]
        {
            for (a, b) in found.iter().zip(&expected) {
                assert!((f64::from(*a) - b).abs() < 2e-6 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }
}

#[test]
fn each_gradient_is_the_finite_difference() {
    for temperatures in [None, Some(TEMPERATURES.to_vec())] {
        let case = Case::new(1.5);
        let head = head(case.weight.clone(), temperatures);
        let hidden = matrix(case.hidden.clone(), [ROWS, HIDDEN]);
        let scored = head.forward(&hidden, true);
        let by_logprobs = matrix(case.by_logprobs.clone(), [ROWS, WIDTH]);
        let by_entropy = Tensor::from_floats(case.by_entropy.as_slice(), &Device::flex());
        let (by_hidden, by_weight) =
            head.backward(&hidden, scored.clone(), by_logprobs, Some(by_entropy));
        // The head's gradient is that of the embedding, `[vocab, hidden]`.
        let by_weight = host(by_weight.unwrap().transpose());
        let slope = |change: &dyn Fn(&mut Case, f32)| {
            let moved = |by: f32| {
                let mut moved = Case::new(1.5);
                change(&mut moved, by);
                moved.objective(&head)
            };
            let step = 1.0 / 1024.0;
            (moved(step) - moved(-step)) / (2.0 * f64::from(step))
        };
        for (index, found) in host(by_hidden).iter().enumerate() {
            let expected = slope(&|case, by| case.hidden[index] += by);
            assert!((f64::from(*found) - expected).abs() < 5e-5, "{index}: {found} {expected}");
        }
        for (index, found) in by_weight.iter().enumerate() {
            let expected = slope(&|case, by| case.weight[index] += by);
            assert!((f64::from(*found) - expected).abs() < 5e-5, "{index}: {found} {expected}");
        }
    }
}

#[test]
fn extreme_scores_stay_finite_and_exact() {
    let hidden = matrix([1e4, 0.0, 0.0, 0.0, 0.0].repeat(ROWS), [ROWS, HIDDEN]);
    let mut weight = vec![0.0; HIDDEN * VOCAB];
    weight[..VOCAB].copy_from_slice(&[1e4, -1e4, 0.0, 1e4, -3e33, 1.0, 2.0]);
    let head = head(weight, None);
    let scored = head.forward(&hidden, true);
    let half = -(2f32.ln());
    let logprobs = host(scored.logprobs.clone());
    // The first and the fourth id share all of it: 1e8 each.
    assert_eq!(logprobs[..3], [half, half, half - (1e8 - 2e4)]);
    assert!(logprobs.iter().all(|logprob| logprob.is_finite()), "{logprobs:?}");
    for entropy in host(scored.entropy.clone()) {
        assert!((entropy + half).abs() < 1e-6, "{entropy}");
    }
    let by_logprobs = Tensor::ones([ROWS, WIDTH], &Device::flex());
    let by_entropy = Tensor::ones([ROWS], &Device::flex());
    let (by_hidden, by_weight) =
        head.backward(&hidden, scored.clone(), by_logprobs, Some(by_entropy));
    assert!(host(by_hidden).iter().chain(&host(by_weight.unwrap())).all(|x| x.is_finite()));
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    let mut hidden = vec![0.5; ROWS * HIDDEN];
    hidden[0] = f32::NAN;
    let head = head(random(HIDDEN * VOCAB, 2, 1.0), None);
    let scored = head.forward(&matrix(hidden, [ROWS, HIDDEN]), true);
    let logprobs = host(scored.logprobs);
    assert!(logprobs[0].is_nan() && host(scored.entropy)[0].is_nan());
    assert!(logprobs[WIDTH].is_finite(), "the next row is its own");
}

#[test]
fn the_highest_scores_come_first_and_of_equals_the_lower_id() {
    assert_eq!(highest(&[0.5, 2.0, -1.0, 2.0, 0.5], 4), [1, 3, 0, 4]);
    assert_eq!(highest(&[1.0; 5], 2), [0, 1]);
    assert_eq!(highest(&[1.0, 2.0], 5), [1, 0]);
}
