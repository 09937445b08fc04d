//! How fast a decoder runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use serde::Serialize;

use super::{BenchError, blocking, broken, decoder, ids, name, placement, submit, token};
use crate::config::BenchConfig;
use crate::engine::{Engine, EngineOptions};
use crate::model::{ModelConfig, Placement, Precision, RandomWeights};
use crate::rollout::Version;

/// Each figure is the best of so many.
const REPEATS: usize = 3;

/// Speed of a decoder on a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// `speed`.
    pub bench: &'static str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// The shape or the model's directory.
    pub model: String,
    /// Number of weights.
    pub parameters: usize,
    /// Bytes a second that the device reads and writes in one large operation, in 10⁹.
    pub bandwidth_gb_s: f64,
    /// By batch.
    pub decode: Vec<DecodeSpeed>,
    /// Tokens of the prompt that was timed.
    pub prefill_tokens: usize,
    /// Its tokens a second, until the first sampled token is there.
    pub prefill_tokens_s: f64,
    /// Operations a second of the matrix products in it, in 10¹².
    pub prefill_tflop_s: f64,
}

/// Decoding at one batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DecodeSpeed {
    /// Replies together.
    pub batch: usize,
    /// Tokens before each.
    pub context: usize,
    /// Tokens a second of all of them.
    pub tokens_s: f64,
    /// Bytes of weights, keys and values that a step has to read, times the steps a second, as a
    /// share of the measured bandwidth.
    pub bandwidth_share: f64,
}

/// Measures decode, prefill and the device's memory.
///
/// # Errors
/// A model or device that cannot be worked with, or a step that could not be computed.
pub async fn speed(config: &BenchConfig) -> Result<Speed, BenchError> {
    let at = placement(config)?;
    let bandwidth = {
        let device = at.device.clone();
        let bytes = if at.name == "cpu" { 1 << 28 } else { 1 << 31 };
        blocking(move || bandwidth(&device, bytes)).await?
    };
    let decoder = {
        let (config, at) = (config.clone(), at.clone());
        blocking(move || {
            let decoder = decoder(&config, RandomWeights::OnDevice, &at.device)?;
            Ok(decoder.for_inference(at.precision)?)
        })
        .await?
    };
    let model = decoder.config().clone();
    let batch_max = config.batches.iter().copied().max().unwrap_or(1);
    let options = EngineOptions {
        running_max: batch_max,
        prefill_chunk: 512,
        cache_tokens_max: 1 << 20,
        ..EngineOptions::default()
    };
    let engine = Engine::start(Arc::new(decoder), Version::BASE, options)?;
    let mut prefill = f64::INFINITY;
    for repeat in 0..=REPEATS {
        let prompt = ids(config.prefill, model.vocab_size, repeat);
        let start = Instant::now();
        token(&mut submit(&engine, prompt, 1)?).await?;
        prefill = prefill.min(start.elapsed().as_secs_f64());
    }
    let mut decode = Vec::new();
    for &batch in &config.batches {
        let mut best = 0.0_f64;
        for repeat in 0..REPEATS {
            let salt = REPEATS + 1 + repeat * batch_max;
            best = best.max(decode_speed(&engine, config, model.vocab_size, batch, salt).await?);
        }
        let bytes = step_bytes(&model, &at, batch, config.context + config.steps as usize / 2);
        decode.push(DecodeSpeed {
            batch,
            context: config.context,
            tokens_s: best,
            bandwidth_share: bytes * best / batch as f64 / bandwidth,
        });
    }
    engine.drain(Duration::from_secs(10)).await;
    let products = 2.0 * matrix_weights(&model) as f64 * config.prefill as f64;
    Ok(Speed {
        bench: "speed",
        device: at.name.clone(),
        dtype: if at.precision == Precision::Bf16 { "bf16" } else { "f32" },
        model: name(config),
        parameters: model.parameter_count(),
        bandwidth_gb_s: bandwidth / 1e9,
        decode,
        prefill_tokens: config.prefill,
        prefill_tokens_s: config.prefill as f64 / prefill,
        prefill_tflop_s: products / prefill / 1e12,
    })
}

/// Weights of the matrices that every token is multiplied with, the head aside.
pub(super) fn matrix_weights(model: &ModelConfig) -> usize {
    let matrices = model.parameters().into_iter().filter(|spec| spec.shape.len() == 2);
    matrices.filter(|spec| spec.shape[0] != model.vocab_size).map(|spec| spec.len()).sum()
}

/// What one step has to read at least.
fn step_bytes(model: &ModelConfig, at: &Placement, batch: usize, context: usize) -> f64 {
    let width = |precision| if precision == Precision::Bf16 { 2 } else { 4 };
    let weights = matrix_weights(model) + model.vocab_size * model.hidden_size;
    // The CPU keeps keys and values in f32 whatever the weights are in.
    let kept = if at.name == "cpu" { Precision::F32 } else { at.precision };
    let kv = 2 * model.layers * model.kv_heads * model.head_dim * context * batch;
    (weights * width(at.precision) + kv * width(kept)) as f64
}

/// Tokens a second of `batch` replies together, from the moment when all of them have begun.
async fn decode_speed(
    engine: &Engine,
    config: &BenchConfig,
    vocab: usize,
    batch: usize,
    salt: usize,
) -> Result<f64, BenchError> {
    // The replies that begin first run ahead by some tokens while others are in their prompts.
    let ahead = (config.context / 512 * batch + batch) as u32;
    let mut replies = Vec::new();
    for index in 0..batch {
        let prompt = ids(config.context, vocab, salt + index);
        replies.push(submit(engine, prompt, config.steps + 1 + ahead)?);
    }
    for reply in &mut replies {
        token(reply).await?;
    }
    let before = engine.stats().generated_tokens;
    let start = Instant::now();
    for _ in 0..config.steps {
        // The last to begin has nothing in its channel yet.
        token(&mut replies[batch - 1]).await?;
    }
    let sampled = engine.stats().generated_tokens - before;
    let speed = sampled as f64 / start.elapsed().as_secs_f64();
    drop(replies);
    while engine.stats().running > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(speed)
}

/// Bytes a second that the device moves: the better of a sum (which reads) and a scaling (which
/// reads and writes) of a tensor of this many bytes.
fn bandwidth(device: &Device, bytes: usize) -> Result<f64, BenchError> {
    let x: Tensor<1> = Tensor::ones([bytes / 4], device);
    device.sync().map_err(broken)?;
    let mut best = 0.0_f64;
    for _ in 0..=REPEATS {
        let start = Instant::now();
        let sum = x.clone().sum();
        sum.try_into_vec_as::<f32>().map_err(broken)?;
        best = best.max(bytes as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        let scaled = x.clone().mul_scalar(2.0);
        device.sync().map_err(broken)?;
        best = best.max(2.0 * bytes as f64 / start.elapsed().as_secs_f64());
        drop(scaled);
    }
    Ok(best)
}
