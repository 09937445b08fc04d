//! How differently two versions speak: KL(live ‖ candidate) of the whole vocabulary's distribution
//! at every response token of some turns, at the temperature of each turn.

use burn::tensor::{FloatDType, Tensor, activation::log_softmax};
use serde::Serialize;

use crate::model::{Causal, Decoder};

/// At most this many scores of one version are in memory (16 MiB of f32).
const SCORES_MAX: usize = 1 << 22;
/// Divergence of one token, in nats, from which it counts as another choice of words.
const FAR: f32 = 1.0;

/// Something that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was read before.
    pub prompt: Vec<u32>,
    /// What was sampled.
    pub response: Vec<u32>,
    /// The temperature T; above 0.
    pub temperature: f32,
}

impl Sample {
    /// A recorded reply; greedy ones are measured on the plain distribution. `None` where there is
    /// nothing to measure.
    pub fn new(prompt: Vec<u32>, response: Vec<u32>, temperature: f32) -> Option<Self> {
        let temperature = if temperature > 0.0 { temperature } else { 1.0 };
        (!prompt.is_empty() && !response.is_empty()).then_some(Self {
            prompt,
            response,
            temperature,
        })
    }

    /// Prompt and response, in tokens.
    pub fn tokens(&self) -> usize {
        self.prompt.len() + self.response.len()
    }
}

/// How far two versions are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Replies that were measured.
    pub turns: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Mean divergence per token, in nats.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
    /// Share of tokens with more than one nat.
    pub far: f64,
}

/// Measures the divergence.
///
/// # Errors
/// The device does not give the figures back.
pub fn measure(live: &Decoder, candidate: &Decoder, samples: &[Sample]) -> Result<Drift, String> {
    let mut each: Vec<f32> = Vec::new();
    for sample in samples {
        each.extend(divergences(live, candidate, sample)?);
    }
    let tokens = each.len();
    let share = |sum: f64| if tokens == 0 { 0.0 } else { sum / tokens as f64 };
    let finite = each.iter().all(|kl| kl.is_finite());
    let mean = share(each.iter().map(|kl| f64::from(*kl)).sum());
    let max = each.iter().fold(0.0_f32, |max, kl| max.max(*kl));
    let far = share(each.iter().filter(|kl| **kl > FAR).count() as f64);
    Ok(Drift {
        turns: samples.len(),
        tokens,
        // An infinity or a NaN of one token is one of the whole.
        mean: if finite { mean } else { f64::INFINITY },
        max: if finite { f64::from(max) } else { f64::INFINITY },
        far,
    })
}

/// Of each response token.
fn divergences(live: &Decoder, candidate: &Decoder, sample: &Sample) -> Result<Vec<f32>, String> {
    let rows = sample.response.len();
    let states = [live, candidate].map(|decoder| states(decoder, sample));
    let at_once = (SCORES_MAX / live.config().vocab_size).max(1);
    let mut each = Vec::with_capacity(rows);
    for start in (0..rows).step_by(at_once) {
        let len = at_once.min(rows - start);
        let score = |decoder: &Decoder, states: &Tensor<2>| {
            let scores = decoder.logits(states.clone().narrow(0, start, len));
            log_softmax(scores.cast(FloatDType::F32).div_scalar(sample.temperature), 1)
        };
        let p = score(live, &states[0]);
        let q = score(candidate, &states[1]);
        let kl = (p.clone().exp() * (p - q)).sum_dim(1);
        let kl: Vec<f32> = kl.try_into_vec_as().map_err(|error| format!("{error:?}"))?;
        // Rounding may leave a trifle below 0.
        each.extend(kl.into_iter().map(|kl| if kl < 0.0 { 0.0 } else { kl }));
    }
    Ok(each)
}

/// The states that predict the response, `[R, hidden]`.
fn states(decoder: &Decoder, sample: &Sample) -> Tensor<2> {
    let (from, rows) = (sample.prompt.len() - 1, sample.response.len());
    let mut tokens = sample.prompt.clone();
    tokens.extend(&sample.response[..rows - 1]);
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    decoder.hidden(&tokens, &positions, &mut Causal::default()).narrow(0, from, rows)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::model::{ModelConfig, RandomWeights};

    fn decoder(seed: u64) -> Decoder {
        let dir =
            concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/golden-a/model/config.json");
        let config = ModelConfig::load(dir.as_ref()).unwrap();
        Decoder::random(config, RandomWeights::Seeded(seed), &Device::flex()).unwrap()
    }

    /// The slow, obvious way: every distribution in f64.
    fn slow(live: &Decoder, candidate: &Decoder, sample: &Sample) -> f64 {
        let [p, q] = [live, candidate].map(|decoder| {
            let scores = decoder.logits(states(decoder, sample));
            let vocab = decoder.config().vocab_size;
            let scores: Vec<f32> = scores.try_into_vec_as().unwrap();
            let soft = |row: &[f32]| {
                let t = f64::from(sample.temperature);
                let exp: Vec<f64> = row.iter().map(|s| (f64::from(*s) / t).exp()).collect();
                let sum: f64 = exp.iter().sum();
                exp.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
            };
            scores.chunks(vocab).map(soft).collect::<Vec<_>>()
        });
        let of_row = |p: &Vec<f64>, q: &Vec<f64>| -> f64 {
            p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
        };
        let rows: f64 = p.iter().zip(&q).map(|(p, q)| of_row(p, q)).sum();
        rows / sample.response.len() as f64
    }

    #[test]
    fn it_is_the_exact_divergence_and_none_from_itself() {
        let (live, other) = (decoder(1), decoder(2));
        let sample = Sample::new(vec![3, 1, 4], vec![1, 5, 9, 2, 6], 0.6).unwrap();
        let drift = measure(&live, &other, std::slice::from_ref(&sample)).unwrap();
        let expected = slow(&live, &other, &sample);
        assert!(expected > 1e-4, "{expected}");
        assert!((drift.mean / expected - 1.0).abs() < 1e-2, "{drift:?} {expected}");
        assert_eq!((drift.turns, drift.tokens), (1, 5));
        let same = measure(&live, &live, &[sample]).unwrap();
        assert!(same.mean < 1e-6 && same.far == 0.0, "{same:?}");
    }

    #[test]
    fn what_is_empty_is_no_sample_and_greedy_is_measured_plainly() {
        assert_eq!(Sample::new(vec![], vec![1], 1.0), None);
        assert_eq!(Sample::new(vec![1], vec![], 1.0), None);
        assert_eq!(Sample::new(vec![1], vec![1], 0.0).unwrap().temperature, 1.0);
    }
}
