//! How far a device's results are from those of the CPU in f32, on the same weights and tokens.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{BenchError, blocking, broken, decoder, ids, name, placement, submit, token};
use crate::config::{BenchConfig, DeviceChoice, DtypeChoice};
use crate::engine::{Engine, EngineOptions, ScoreRequest};
use crate::model::{Causal, Decoder, Placement, Precision, RandomWeights};
use crate::rollout::Version;

/// Tokens whose logits are compared.
const TOKENS: usize = 96;

/// Tokens that are sampled, and scored again.
const SAMPLED: u32 = 48;

/// How far two devices are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// `parity`.
    pub bench: &'static str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// The shape or the model's directory.
    pub model: String,
    /// Tokens whose logits were compared.
    pub tokens: usize,
    /// The greatest difference of two logits, relative to the greatest logit.
    pub logits_off: f64,
    /// Mean divergence of the device's distributions from the CPU's, in nats.
    pub kl_mean: f64,
    /// Share of positions with the same most probable token.
    pub argmax_same: f64,
    /// The greatest difference, on the device, between a token's log-probability as it was
    /// sampled, one token at a time, and as it is scored, in chunks.
    pub decode_off: f64,
    /// What `logits_off` and `decode_off` may be.
    pub limits: [f64; 2],
    /// Whether they are.
    pub within: bool,
}

/// Compares a device with the CPU.
///
/// # Errors
/// A model or device that cannot be worked with, or a step that could not be computed.
pub async fn parity(config: &BenchConfig) -> Result<Parity, BenchError> {
    let at = placement(config)?;
    let reference = Placement::find(DeviceChoice::Cpu, DtypeChoice::F32)?;
    let config = config.clone();
    let (at, config, decoder, off) = blocking(move || {
        let expected = logits(&loaded(&config, &reference)?)?;
        let decoder = loaded(&config, &at)?;
        let vocab = decoder.config().vocab_size;
        let off = compare(&logits(&decoder)?, &expected, vocab);
        Ok((at, config, decoder, off))
    })
    .await?;
    let decode_off = decode_off(decoder).await?;
    let limits = match at.precision {
        Precision::F32 => [1e-3, 1e-3],
        Precision::Bf16 => [5e-2, 1e-1],
    };
    Ok(Parity {
        bench: "parity",
        device: at.name,
        dtype: if at.precision == Precision::Bf16 { "bf16" } else { "f32" },
        model: name(&config),
        tokens: TOKENS,
        logits_off: off.logits,
        kl_mean: off.kl,
        argmax_same: off.argmax,
        decode_off,
        limits,
        // Not a number is not within.
        within: off.logits <= limits[0] && decode_off <= limits[1],
    })
}

fn loaded(config: &BenchConfig, at: &Placement) -> Result<Decoder, BenchError> {
    let decoder = decoder(config, RandomWeights::Seeded(1), &at.device)?;
    Ok(decoder.for_inference(at.precision)?)
}

/// `[TOKENS, vocab]`.
fn logits(decoder: &Decoder) -> Result<Vec<f32>, BenchError> {
    let tokens = ids(TOKENS, decoder.config().vocab_size, 0);
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    let hidden = decoder.hidden(&tokens, &positions, &mut Causal::default());
    decoder.logits(hidden).try_into_vec_as().map_err(broken)
}

struct Off {
    logits: f64,
    kl: f64,
    argmax: f64,
}

/// # Shapes
/// `found`, `expected`: `[n, vocab]`.
fn compare(found: &[f32], expected: &[f32], vocab: usize) -> Off {
    let greatest = expected.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    let pairs = found.iter().zip(expected);
    // A NaN would be lost in a maximum.
    let logits = match found.iter().all(|value| value.is_finite()) {
        true => pairs.fold(0.0_f32, |max, (a, b)| max.max((a - b).abs())) / greatest,
        false => f32::NAN,
    };
    let rows = found.chunks_exact(vocab).zip(expected.chunks_exact(vocab));
    let (mut kl, mut same, count) = (0.0, 0.0, rows.len() as f64);
    for (found, expected) in rows {
        let (p, q) = (log_softmax(expected), log_softmax(found));
        kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        same += f64::from(argmax(found) == argmax(expected));
    }
    Off { logits: logits.into(), kl: kl / count, argmax: same / count }
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = || logits.iter().map(|logit| f64::from(logit - max));
    let sum = shifted().map(f64::exp).sum::<f64>().ln();
    shifted().map(|logit| logit - sum).collect()
}

fn argmax(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
}

/// Samples, and scores what was sampled.
async fn decode_off(decoder: Decoder) -> Result<f64, BenchError> {
    let mut sequence = ids(TOKENS, decoder.config().vocab_size, 1);
    let engine = Engine::start(Arc::new(decoder), Version::BASE, EngineOptions::default())?;
    let mut reply = submit(&engine, sequence.clone(), SAMPLED)?;
    let mut sampled = Vec::new();
    for _ in 0..SAMPLED {
        let token = token(&mut reply).await?;
        sequence.push(token.id);
        sampled.push(token.logprob);
    }
    let request =
        ScoreRequest { ids: sequence, start: TOKENS, temperature: 1.0, ..ScoreRequest::default() };
    let scored = engine.score(request).await?;
    engine.drain(Duration::from_secs(10)).await;
    let pairs = sampled.iter().zip(&scored.logprobs);
    Ok(pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max))
}
