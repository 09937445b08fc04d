//! The decoder and its derivative against golden values that were computed in f64.

use burn::tensor::{Device, Tensor};
use openclaw_rl::model::{
    Causal, Decoder, Differentiation, Gradients, ModelConfig, Pack, Parameters, Recompute,
    Sequence, backward, forward, score,
};

use crate::golden::{self, Golden, Sample, difference};

fn load(set: &Golden) -> Decoder {
    Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap()
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn assert_within(set: &Golden, what: &str, found: f32, tolerance: f32) {
    let name = set.name();
    assert!(found <= tolerance, "{name}: {what} is off by {found:e}, tolerance {tolerance:e}");
}

#[test]
fn parity_of_logits() {
    for set in golden::sets() {
        let decoder = load(&set);
        let vocab = decoder.config().vocab_size;
        let all = &set.expected["logits"].values;
        let mut worst = 0f32;
        for sample in set.samples() {
            let len = sample.tokens.len();
            let positions: Vec<u32> = (0..len as u32).collect();
            let hidden = decoder.hidden(&sample.tokens, &positions, &mut Causal::default());
            let logits = host(decoder.logits(hidden));
            let expected = &all[sample.first_row * vocab..][..len * vocab];
            worst = worst.max(difference(&logits, expected));
        }
        assert_within(&set, "logits", worst, set.tolerance("logits"));
    }
}

#[test]
fn parity_of_both_styles_of_config() {
    for set in golden::sets() {
        let new = ModelConfig::load(&set.dir.join("model/config.json")).unwrap();
        let old = ModelConfig::load(&set.dir.join("model/config_v4.json")).unwrap();
        assert_eq!(new, old, "{}", set.name());
    }
}

#[test]
fn parity_of_logprobs_and_entropy_at_both_temperatures() {
    for set in golden::sets() {
        let decoder = load(&set);
        for (temperature, suffix) in [(1.0, ""), (0.6, "_t06")] {
            let (mut logprobs, mut entropy, mut scored) = (Vec::new(), Vec::new(), Vec::new());
            for sample in set.samples() {
                let sequence = sequence(&decoder, &sample);
                let how = Differentiation::default();
                let pack = Pack::new(decoder.config(), &[sequence], &[temperature]).unwrap();
                let (answers, _) = forward(&decoder, &pack, None, how);
                logprobs.extend(host(answers.logprobs));
                entropy.extend(host(answers.entropy));
                let start = sample.response_start;
                scored.extend(score(&decoder, &sample.tokens, start, temperature).unwrap());
            }
            // Scores are divided by T, and so is what they are off by.
            let tolerance = set.tolerance("logprobs") / temperature;
            for (what, found) in [("logprobs", &logprobs), ("logprobs", &scored)] {
                let expected = &set.expected[&format!("{what}{suffix}")].values;
                let what = format!("{what} at T = {temperature}");
                assert_within(&set, &what, difference(found, expected), tolerance);
            }
            let expected = &set.expected[&format!("entropy{suffix}")].values;
            let what = format!("entropy at T = {temperature}");
            assert_within(&set, &what, difference(&entropy, expected), tolerance);
        }
    }
}

#[test]
fn greedy_decoding_is_scored_by_the_plain_logits() {
    let set = &golden::sets()[0];
    let decoder = load(set);
    let sample = &set.samples()[0];
    let at = |t| score(&decoder, &sample.tokens, sample.response_start, t).unwrap();
    assert_eq!(at(0.0), at(1.0));
}

fn sequence(decoder: &Decoder, sample: &Sample) -> Sequence {
    Sequence::new(decoder.config(), sample.tokens.clone(), sample.response_start).unwrap()
}

/// A golden case: what its policy loss is made of.
struct Case {
    name: &'static str,
    temperature: f32,
    old: &'static str,
    /// Weight and tensor of the score of each sample.
    reward: Option<&'static str>,
    /// The log-probabilities whose gap to the old ones counts.
    teacher: Option<&'static str>,
}

const CASES: [Case; 4] = [
    Case {
        name: "ppo",
        temperature: 1.0,
        old: "old_logprobs",
        reward: Some("rewards"),
        teacher: None,
    },
    Case {
        name: "ppo_t06",
        temperature: 0.6,
        old: "old_logprobs_t06",
        reward: Some("rewards"),
        teacher: None,
    },
    Case {
        name: "opd",
        temperature: 1.0,
        old: "old_logprobs",
        reward: None,
        teacher: Some("teacher_logprobs"),
    },
    Case {
        name: "combined",
        temperature: 1.0,
        old: "old_logprobs",
        reward: Some("combined_rewards"),
        teacher: Some("combined_teacher_logprobs"),
    },
];

impl Case {
    /// The derivative of the batch's loss by each of a sample's log-probabilities.
    ///
    /// Of -min(r A, clip(r, 0.8, 1.28) A), r = exp(logp - old): -A r where r A is the smaller, else
    /// 0; averaged over the sample's unmasked tokens, then over all samples.
    fn derivative(&self, set: &Golden, index: usize, sample: &Sample, logp: &[f32]) -> Vec<f32> {
        let row = |name: &str| &set.inputs[name].values[sample.responses.clone()];
        let (mask, old) = (row("loss_mask"), row(self.old));
        let weight = mask.iter().sum::<f32>().max(1.0) * set.samples().len() as f32;
        let token = |t: usize| {
            let reward = self.reward.map_or(0.0, |name| set.inputs[name].values[index]);
            let gap = self.teacher.map_or(0.0, |name| row(name)[t] - row("old_logprobs")[t]);
            let advantage = reward + gap;
            let ratio = (logp[t] - old[t]).exp();
            let counts = ratio * advantage <= ratio.clamp(0.8, 1.28) * advantage;
            if counts { -advantage * ratio * mask[t] / weight } else { 0.0 }
        };
        (0..logp.len()).map(token).collect()
    }

    fn gradient(&self, set: &Golden, decoder: &Decoder, how: Differentiation) -> Parameters {
        let mut sum = Gradients::new();
        for (index, sample) in set.samples().iter().enumerate() {
            let sequence = sequence(decoder, sample);
            let pack = Pack::new(decoder.config(), &[sequence], &[self.temperature]).unwrap();
            let (answers, tape) = forward(decoder, &pack, None, how);
            let grad = self.derivative(set, index, sample, &host(answers.logprobs));
            let grad = Tensor::from_floats(grad.as_slice(), decoder.device());
            sum.accumulate(backward(decoder, tape, grad));
        }
        sum.into_parameters()
    }
}

#[test]
fn parity_of_gradients_of_every_parameter() {
    let ways = [
        Differentiation::default(),
        Differentiation {
            recompute: Recompute::Blocks,
            attention: Causal::with_chunk(7),
            head_rows: Some(4),
        },
        Differentiation { recompute: Recompute::Never, ..Differentiation::default() },
    ];
    for set in golden::sets() {
        let decoder = load(&set);
        let golden = golden::read(&set.dir.join("grads.safetensors"));
        for case in CASES {
            for how in ways {
                let gradient = case.gradient(&set, &decoder, how);
                gradient.check(decoder.config()).unwrap();
                let mut worst = 0f32;
                for (name, found) in gradient {
                    let expected = &golden[&format!("{}/{name}", case.name)].values;
                    worst = worst.max(difference(&host(found.values), expected));
                }
                let what = format!("grad.{}", case.name);
                assert_within(&set, &what, worst, set.tolerance(&what));
            }
        }
    }
}
