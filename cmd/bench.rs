//! `openclaw-rl bench`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use openclaw_rl::config::{BenchConfig, DeviceChoice, DtypeChoice, Shape};
use openclaw_rl::stage::bench;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tokens a second of decode and prefill, and the share of the memory's bandwidth
    Speed(Flags),
    /// How far a device's results are from those of the CPU in f32; exit code 1 if too far
    Parity(Flags),
}

#[derive(Debug, Args)]
struct Flags {
    /// Where the model is computed: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What it is computed in: auto, f32 or bf16
    #[arg(long, value_name = "DTYPE", default_value_t)]
    dtype: DtypeChoice,
    /// Random weights of this shape: tiny, s, 0.6b or 4b
    #[arg(long, value_name = "SHAPE", default_value_t = Shape::S)]
    shape: Shape,
    /// Hugging Face directory of a model, instead of random weights
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    model: Option<PathBuf>,
    /// Replies decoded together; one figure for each
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 4, 8])]
    batch: Vec<usize>,
    /// Tokens before the replies
    #[arg(long, value_name = "TOKENS", default_value_t = 64)]
    context: usize,
    /// Decode steps that are timed
    #[arg(long, value_name = "N", default_value_t = 128)]
    steps: u32,
    /// Tokens of the prompt that is timed
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    prefill: usize,
}

impl Flags {
    fn config(&self) -> Result<BenchConfig, Fault> {
        let config = BenchConfig {
            device: self.device,
            dtype: self.dtype,
            shape: self.shape,
            model: self.model.clone(),
            batches: self.batch.clone(),
            context: self.context,
            steps: self.steps,
            prefill: self.prefill,
        };
        config.validate()?;
        Ok(config)
    }
}

/// Measures, and prints the figures as one JSON line.
pub fn cmd_bench(global: &Global, args: &BenchArgs) -> Result<Option<Value>, Fault> {
    match &args.what {
        What::Speed(flags) => {
            let config = flags.config()?;
            edge::summary(&edge::block_on(global, async |_| bench::speed(&config).await)?)
        }
        What::Parity(flags) => {
            let config = flags.config()?;
            let parity = edge::block_on(global, async |_| bench::parity(&config).await)?;
            let summary = edge::summary(&parity)?;
            if parity.within {
                return Ok(summary);
            }
            edge::print(&summary.unwrap_or_default());
            Err(Fault::failed(
                format!("{} in {} is too far from the CPU", parity.device, parity.dtype),
                "the JSON line says how far, and what is allowed",
            ))
        }
    }
}
