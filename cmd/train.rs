//! `openclaw-rl train`

use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::{Home, TrainConfig};
use openclaw_rl::stage::{self, train::memory};
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
    /// Devices among which each batch is divided, in place of --device: cuda:0,cuda:1 …
    #[arg(long, value_name = "DEVICE", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Copies of the model on the CPU among which each batch is divided
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// What the model is computed in: auto (bf16 on CUDA, else f32), f32 or bf16
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<String>,
    /// Samples per optimizer step
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Seconds after which a batch closes with fewer samples [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub max_wait_s: Option<u64>,
    /// Optimizer steps over the same batch; with --input, times that the file is gone through
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Longest prompt and reply that is trained on
    #[arg(long, value_name = "TOKENS")]
    pub train_tokens_max: Option<usize>,
    /// Tokens that are computed at once
    #[arg(long, value_name = "TOKENS")]
    pub pack_tokens: Option<usize>,
    /// Chat examples for sft, one JSON object a line, in place of the store
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// With --input: take the examples in the file's order [default: drawn from the seed]
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_order: bool,
    /// With --input: optimizer steps from one version to the next
    #[arg(long, value_name = "N")]
    pub steps_per_version: Option<u64>,
    /// What fresh additions and the order of examples are drawn from
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Stop after this many optimizer steps
    #[arg(long, value_name = "N")]
    pub steps_max: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub objective: ObjectiveArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub optimizer: OptimizerArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub guards: GuardArgs,
}

/// What a step optimises.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Objective")]
pub struct ObjectiveArgs {
    /// The objective: binary, opd, combine, topk, hybrid or sft
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Tokens of a position that topk and hybrid look at [default: 50 and 4]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Which tokens hybrid compares: student, teacher or overlap
    #[arg(long, value_name = "SUPPORT")]
    pub hybrid_support: Option<String>,
    /// Which hint hybrid learns from: shortest, token_optimal or sequence_optimal
    #[arg(long, value_name = "RULE")]
    pub hybrid_selection: Option<String>,
    /// Bound on the gap to the teacher in hybrid; 0 is none
    #[arg(long, value_name = "GAP")]
    pub gap_clip: Option<f32>,
    /// Let hybrid pull replies without a hint to the teacher as well
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opd_without_hint: bool,
    /// The version that teaches in topk and hybrid [default: the weights before the step]
    #[arg(long, value_name = "N")]
    pub teacher_version: Option<u64>,
    /// How the values of tokens become a loss: sample-mean (over each reply's tokens, then over the
    /// replies) or token-mean (over all tokens of the batch) [default: token-mean for sft, else
    /// sample-mean]
    #[arg(long, value_name = "MEAN")]
    pub loss_aggregation: Option<String>,
    /// Estimator of the distance to the reference: none, k1, k2, k3 or low_var_kl
    #[arg(long, value_name = "ESTIMATOR")]
    pub kl: Option<String>,
    /// Weight of the distance to the reference
    #[arg(long, value_name = "WEIGHT")]
    pub kl_coefficient: Option<f32>,
    /// The version that is the reference
    #[arg(long, value_name = "N")]
    pub reference_version: Option<u64>,
    /// Weight of the entropy, which is rewarded
    #[arg(long, value_name = "WEIGHT")]
    pub entropy_coefficient: Option<f32>,
    /// What the ratio is taken to: rollout or decoupled
    #[arg(long, value_name = "POLICY")]
    pub behaviour: Option<String>,
    /// Bound on the weight of a token under decoupled
    #[arg(long, value_name = "WEIGHT")]
    pub decoupled_cap: Option<f32>,
    /// Lower PPO clip
    #[arg(long, value_name = "EPSILON")]
    pub clip_low: Option<f32>,
    /// Upper PPO clip
    #[arg(long, value_name = "EPSILON")]
    pub clip_high: Option<f32>,
    /// Bound on the loss of a punished token, in multiples of its advantage [default: none]
    #[arg(long, value_name = "FACTOR")]
    pub dual_clip: Option<f32>,
    /// Weight of the score in combine and hybrid
    #[arg(long, value_name = "WEIGHT")]
    pub weight_rl: Option<f32>,
    /// Weight of the hint gap in combine and hybrid
    #[arg(long, value_name = "WEIGHT")]
    pub weight_opd: Option<f32>,
    /// Bound on the size of an advantage
    #[arg(long, value_name = "SIZE")]
    pub advantage_max: Option<f32>,
    /// Bound on the size of a log-ratio
    #[arg(long, value_name = "SIZE")]
    pub log_ratio_max: Option<f32>,
}

/// How a step is taken.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Optimizer")]
pub struct OptimizerArgs {
    /// Which weights are trained: all or lora
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<String>,
    /// Rank of the additions of lora
    #[arg(long, value_name = "RANK")]
    pub lora_rank: Option<usize>,
    /// The additions of lora are scaled by this over the rank
    #[arg(long, value_name = "ALPHA")]
    pub lora_alpha: Option<f64>,
    /// How a gradient becomes a step: adamw, or muon (for the matrices of the layers)
    #[arg(long, value_name = "OPTIMIZER")]
    pub optimizer: Option<String>,
    /// Step size, after the warm-up
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Step size at the end of a schedule that falls
    #[arg(long, value_name = "RATE")]
    pub learning_rate_min: Option<f64>,
    /// How the step size goes on after the warm-up: constant, linear or cosine
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<String>,
    /// Optimizer updates over which the step size rises from 0
    #[arg(long, value_name = "N")]
    pub warmup_steps: Option<u64>,
    /// Optimizer updates after which a schedule that falls has reached its end
    #[arg(long, value_name = "N")]
    pub schedule_steps: Option<u64>,
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
}

/// What is kept out, and what is kept.
#[derive(Debug, Args, Serialize)]
#[command(next_help_heading = "Guards")]
pub struct GuardArgs {
    /// Distinct sessions that a batch holds at least
    #[arg(long, value_name = "N")]
    pub sessions_min: Option<usize>,
    /// Judges whose scores and hints count, as the tables name them, such as rules@4 or
    /// openai@3:judge; the user's own word always does [default: all, the newest of a turn]
    #[arg(long, value_name = "JUDGE", value_delimiter = ',')]
    pub judged_by: Vec<String>,
    /// Versions behind the head that the oldest token of a reply may be
    #[arg(long, value_name = "N")]
    pub staleness_max: Option<u64>,
    /// Replies in a row that may make the same tool calls
    #[arg(long, value_name = "N")]
    pub same_call_max: Option<usize>,
    /// Train also on turns that were drawn with penalties or a bias
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_penalties: bool,
    /// Skip a step whose gradient norm is above the median of the last ones times this
    #[arg(long, value_name = "FACTOR")]
    pub grad_norm_jump: Option<f64>,
    /// Skip a step whose loss is this many times further from the median than usual
    #[arg(long, value_name = "FACTOR")]
    pub loss_jump: Option<f64>,
    /// Steps in a row that may be skipped before training stops
    #[arg(long, value_name = "N")]
    pub skips_max: Option<usize>,
    /// With --follow: versions that may wait to go live before the next step
    #[arg(long, value_name = "N")]
    pub versions_ahead_max: Option<u64>,
    /// Newest versions whose weights are kept
    #[arg(long, value_name = "N")]
    pub keep_last: Option<usize>,
    /// Best versions whose weights are kept, by the mean reward of their turns
    #[arg(long, value_name = "N")]
    pub keep_best: Option<usize>,
}

/// Trains on what is judged, and prints which versions were made.
pub fn cmd_train(global: &Global, args: &TrainArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "train", args, TrainConfig::validate)?;
    let home = home(global)?;
    if resolved.is_dry_run(global) {
        return show_memory(&home, &resolved.config);
    }
    edge::give_way(args.nice);
    let mut config = resolved.config;
    config.hub = crate::hub::from_environment();
    let summary =
        edge::block_on(global, async |stop| stage::train::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}

/// What a step needs on each device, and whether it has that.
fn show_memory(home: &Home, config: &TrainConfig) -> Result<Option<Value>, Fault> {
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let Some(devices) = memory::of_home(home, config)? else {
        edge::print_text("# the model is not here yet: what a step needs is not known\n");
        return Ok(None);
    };
    for device in &devices {
        let free = device.free.map_or("unknown".to_owned(), |free| format!("{} MB", mb(free)));
        let (name, total) = (&device.device, mb(device.total()));
        edge::print_text(&format!("# memory of a step on {name}: {total} MB, free: {free}\n"));
        for (kind, bytes) in &device.kinds {
            edge::print_text(&format!("#   {kind} {bytes}\n"));
        }
    }
    memory::fits(devices)?;
    Ok(None)
}
