//! `openclaw-rl train`

use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::TrainConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::{home, resolve};

/// Flags of `train`.
#[derive(Debug, Args, Serialize)]
pub struct TrainArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Lower the process's priority by this much, 0 to 19, so that serving comes first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=19))]
    #[serde(skip)]
    pub nice: Option<i32>,
    /// Base model, as `serve` takes it [default: the embedded model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Where the model is computed: auto (a CUDA device if there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// The objective: binary, opd or combine
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Samples per optimizer step
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Seconds after which a batch closes with fewer samples [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub max_wait_s: Option<u64>,
    /// Optimizer steps over the same batch
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// AdamW step size
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// AdamW decay of the first moment
    #[arg(long, value_name = "BETA")]
    pub beta1: Option<f64>,
    /// AdamW decay of the second moment
    #[arg(long, value_name = "BETA")]
    pub beta2: Option<f64>,
    /// AdamW denominator guard
    #[arg(long, value_name = "EPSILON")]
    pub epsilon: Option<f64>,
    /// AdamW decoupled decay of matrices
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// Bound on the L2 norm of the whole gradient
    #[arg(long, value_name = "NORM")]
    pub grad_norm_max: Option<f64>,
    /// Lower PPO clip
    #[arg(long, value_name = "EPSILON")]
    pub clip_low: Option<f32>,
    /// Upper PPO clip
    #[arg(long, value_name = "EPSILON")]
    pub clip_high: Option<f32>,
    /// Weight of the score in combine
    #[arg(long, value_name = "WEIGHT")]
    pub weight_rl: Option<f32>,
    /// Weight of the hint gap in combine
    #[arg(long, value_name = "WEIGHT")]
    pub weight_opd: Option<f32>,
    /// Longest prompt and reply that is trained on
    #[arg(long, value_name = "TOKENS")]
    pub train_tokens_max: Option<usize>,
    /// Train also on turns that were drawn with penalties or a bias
    #[arg(long)]
    pub allow_penalties: bool,
    /// Stop after this many optimizer steps
    #[arg(long, value_name = "N")]
    pub steps_max: Option<u64>,
}

/// Trains on what is judged, and prints which versions were made.
pub fn cmd_train(global: &Global, args: &TrainArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "train", args, TrainConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let home = home(global)?;
    if let Some(by) = args.nice
        && let Err(error) = rustix::process::nice(by)
    {
        tracing::warn!(%error, "the priority stays as it is");
    }
    let mut config = resolved.config;
    config.hub = crate::hub::from_environment();
    let summary =
        edge::block_on(global, async |stop| stage::train::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
