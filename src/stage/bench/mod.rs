//! What `bench` measures: how fast a decoder runs on a device, and how far its results are from
//! those of the CPU in f32. Everything goes through the engine, as a request does. And how fast
//! `collect` places turns and `score` judges them.
//!
//! It works on random weights of a named shape or on a model's directory, and on conversations
//! that it makes up; it needs nothing else: `scripts/gpu-check` drives it on machines without a
//! network.

mod calibrate;
mod child;
mod judge;
mod parity;
mod place;
mod speed;
mod train;
mod train_parity;

use std::path::Path;

use burn::tensor::Device;

pub use calibrate::Calibration;
pub use judge::{JudgeSpeed, judge};
pub use parity::{Parity, parity};
pub use place::{Follow, Place, Wrong, follow, place};
pub use speed::{DecodeSpeed, Speed, speed};
pub use train::{TrainSpeed, train};
pub use train_parity::{TrainParity, train_parity};

use crate::config::{BenchConfig, Shape};
use crate::engine::{Emitted, Engine, EngineError, GenerateRequest, Generation, SampledToken};
use crate::fault::Explain;
use crate::model::{Decoder, ModelConfig, ModelError, Placement, RandomWeights};
use crate::rollout::Sampling;
use crate::store::StoreError;

/// What keeps a measurement from being made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model, or the device.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store of the home that was made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device gave nothing back, or the engine ended in the middle.
    #[error("the measurement broke off: {reason}")]
    Broken {
        /// What is known of it.
        reason: String,
    },
}

impl Explain for BenchError {
    fn label(&self) -> &'static str {
        match self {
            Self::Model(error) => error.label(),
            Self::Engine(error) => error.label(),
            Self::Store(error) => error.label(),
            Self::Broken { .. } => "bench_broken",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Broken { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Model(error) => error.exit_code(),
            Self::Engine(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Broken { .. } => 1,
        }
    }
}

fn broken(reason: impl std::fmt::Display) -> BenchError {
    BenchError::Broken { reason: reason.to_string() }
}

/// A `config.json` of a shape.
fn shape_config(shape: Shape) -> Result<ModelConfig, ModelError> {
    let [hidden, layers, heads, kv_heads, head_dim, inner, vocab] = match shape {
        Shape::Tiny => [64, 2, 4, 2, 16, 128, 256],
        Shape::S => [256, 8, 8, 4, 64, 768, 8192],
        Shape::M => [512, 12, 8, 4, 64, 1536, 8192],
        Shape::Qwen3Small => [1024, 28, 16, 8, 128, 3072, 151_936],
        Shape::Qwen3Medium => [2560, 36, 32, 8, 128, 9728, 151_936],
    };
    let config = serde_json::json!({
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": inner,
        "vocab_size": vocab,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": true,
        "eos_token_id": 0,
    });
    ModelConfig::parse(&config.to_string(), Path::new("the built-in shape"))
}

/// The model that is measured, as it was loaded or made: f32, not yet made for inference.
fn decoder(
    config: &BenchConfig,
    weights: RandomWeights,
    device: &Device,
) -> Result<Decoder, ModelError> {
    match &config.model {
        Some(dir) => Decoder::load(dir, device),
        None => Decoder::random(shape_config(config.shape)?, weights, device),
    }
}

/// The name of what is measured.
fn name(config: &BenchConfig) -> String {
    match &config.model {
        Some(dir) => dir.display().to_string(),
        None => config.shape.to_string(),
    }
}

/// Some ids of the vocabulary, other ones for each salt.
fn ids(count: usize, vocab: usize, salt: usize) -> Vec<u32> {
    (0..count).map(|i| ((i * 7919 + salt * 104_729 + i * i * 31) % vocab) as u32).collect()
}

fn submit(engine: &Engine, prompt: Vec<u32>, max_tokens: u32) -> Result<Generation, BenchError> {
    let sampling = Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        seed: 1,
        max_tokens,
        ..Sampling::default()
    };
    Ok(engine.submit(GenerateRequest::new(prompt, sampling))?)
}

/// The next token of a reply.
async fn token(reply: &mut Generation) -> Result<SampledToken, BenchError> {
    loop {
        match reply.next().await {
            Some(Emitted::Begun { .. }) => {}
            Some(Emitted::Token(token)) => return Ok(token),
            Some(Emitted::Failed(error)) => return Err(error.into()),
            Some(Emitted::Done { .. }) | None => return Err(broken("a reply ended too early")),
        }
    }
}

/// Runs on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> Result<T, BenchError> {
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

/// The device that was chosen.
fn placement(config: &BenchConfig) -> Result<Placement, BenchError> {
    Ok(Placement::find(config.device, config.dtype)?)
}

#[cfg(test)]
mod tests;
