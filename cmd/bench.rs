//! `openclaw-rl bench`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use openclaw_rl::config::{
    BenchConfig, DeviceChoice, DtypeChoice, FollowConfig, JudgeBenchConfig, PlaceConfig, Shape,
    TalkSize, TrainBenchConfig, TrainedPart,
};
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
    /// Time and memory of training steps
    Train(TrainFlags),
    /// How far a device's gradients are from those of the CPU in f32; exit code 1 if too far
    TrainParity(TrainFlags),
    /// Time and memory of placing recorded turns in their sessions, and whether it is right; exit
    /// code 1 if not
    Place(PlaceFlags),
    /// Time and memory of judging what waits, by the rules or by a model that answers at once; exit
    /// code 1 if a score is missing or wrong
    Judge(JudgeFlags),
    /// How soon a turn has its row while turns are recorded; exit code 1 if too late
    Follow(FollowFlags),
}

#[derive(Debug, Args)]
struct TrainFlags {
    /// Where the model is computed: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What it is computed in: auto, f32 or bf16
    #[arg(long, value_name = "DTYPE", default_value_t)]
    dtype: DtypeChoice,
    /// Random weights of this shape: tiny, s, m, 0.6b or 4b
    #[arg(long, value_name = "SHAPE", default_value_t = Shape::S)]
    shape: Shape,
    /// What is trained: all weights, or a lora adapter
    #[arg(long, value_name = "MODE", default_value_t)]
    mode: TrainedPart,
    /// Rank of the adapter
    #[arg(long, value_name = "N", default_value_t = 16)]
    rank: usize,
    /// Sequences of a step
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    /// Tokens of each
    #[arg(long, value_name = "TOKENS", default_value_t = 256)]
    length: usize,
    /// Of those, tokens that all of them begin with
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    shared: usize,
    /// Compute what they share for each of them
    #[arg(long)]
    unshared: bool,
    /// Rows that are computed together
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    rows: usize,
    /// Steps that are timed, after one that is not
    #[arg(long, value_name = "N", default_value_t = 3)]
    steps: usize,
}

impl TrainFlags {
    fn config(&self) -> Result<TrainBenchConfig, Fault> {
        let config = TrainBenchConfig {
            device: self.device,
            dtype: self.dtype,
            shape: self.shape,
            mode: self.mode,
            rank: self.rank,
            batch: self.batch,
            length: self.length,
            shared: self.shared,
            unshared: self.unshared,
            rows: self.rows,
            steps: self.steps,
        };
        config.validate()?;
        Ok(config)
    }
}

#[derive(Debug, Args)]
struct PlaceFlags {
    /// Recorded turns [default: 100000, or 5000 with `--size agent`]
    #[arg(long, value_name = "N")]
    turns: Option<usize>,
    /// Sessions that they belong to [default: one for 20 turns]
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// How large the requests are: chat, or agent (45,000 characters of system prompt)
    #[arg(long, value_name = "SIZE", default_value_t)]
    size: TalkSize,
    /// Turns of one segment
    #[arg(long, value_name = "N", default_value_t = 100)]
    segment_turns: usize,
    /// What the conversations are drawn by
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Where the home is made, instead of the directory for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct FollowFlags {
    /// Turns a second
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
    /// Seconds for which turns are recorded
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Sessions that they belong to
    #[arg(long, value_name = "N", default_value_t = 50)]
    sessions: usize,
    /// How large the requests are: chat, or agent (45,000 characters of system prompt)
    #[arg(long, value_name = "SIZE", default_value_t)]
    size: TalkSize,
    /// Where the home is made, instead of the directory for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct JudgeFlags {
    /// Rollouts that wait
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rollouts: usize,
    /// Rollouts of one segment
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    segment_rollouts: usize,
    /// Let the rules judge
    #[arg(long)]
    rules: bool,
    /// Votes per turn
    #[arg(long, value_name = "M", default_value_t = 3)]
    votes: usize,
    /// Turns judged at the same time
    #[arg(long, value_name = "N", default_value_t = 32)]
    concurrency: usize,
    /// Where the home is made, instead of the directory for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl JudgeFlags {
    fn config(&self) -> Result<JudgeBenchConfig, Fault> {
        let config = JudgeBenchConfig {
            rollouts: self.rollouts,
            segment_rollouts: self.segment_rollouts,
            rules: self.rules,
            votes: self.votes,
            concurrency: self.concurrency,
            dir: self.dir.clone(),
            program: program()?,
        };
        config.validate()?;
        Ok(config)
    }
}

fn program() -> Result<PathBuf, Fault> {
    std::env::current_exe().map_err(|error| {
        Fault::failed(format!("this program is not found: {error}"), "start it by its full path")
    })
}

impl PlaceFlags {
    fn config(&self) -> Result<PlaceConfig, Fault> {
        let turns = self.turns.unwrap_or(match self.size {
            TalkSize::Chat => 100_000,
            TalkSize::Agent => 5_000,
        });
        let config = PlaceConfig {
            turns,
            sessions: self.sessions.unwrap_or((turns / 20).max(1)),
            size: self.size,
            segment_turns: self.segment_turns,
            seed: self.seed,
            dir: self.dir.clone(),
            program: program()?,
        };
        config.validate()?;
        Ok(config)
    }
}

impl FollowFlags {
    fn config(&self) -> Result<FollowConfig, Fault> {
        let config = FollowConfig {
            rate: self.rate,
            seconds: self.seconds,
            sessions: self.sessions,
            size: self.size,
            dir: self.dir.clone(),
            program: program()?,
        };
        config.validate()?;
        Ok(config)
    }
}

#[derive(Debug, Args)]
struct Flags {
    /// Where the model is computed: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What it is computed in: auto, f32 or bf16
    #[arg(long, value_name = "DTYPE", default_value_t)]
    dtype: DtypeChoice,
    /// Random weights of this shape: tiny, s, m, 0.6b or 4b
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
            let too_far = format!("{} in {} is too far from the CPU", parity.device, parity.dtype);
            judged(summary, parity.within, too_far)
        }
        What::Train(flags) => edge::summary(&bench::train(&flags.config()?)?),
        What::TrainParity(flags) => {
            let parity = bench::train_parity(&flags.config()?)?;
            let summary = edge::summary(&parity)?;
            let too_far = format!("{} in {} is too far from the CPU", parity.device, parity.dtype);
            judged(summary, parity.within, too_far)
        }
        What::Place(flags) => {
            let place = bench::place(&flags.config()?)?;
            let summary = edge::summary(&place)?;
            judged(summary, place.right, "turns were not placed as they should be".to_owned())
        }
        What::Judge(flags) => {
            let config = flags.config()?;
            let speed = edge::block_on(global, async |_| bench::judge(&config).await)?;
            let summary = edge::summary(&speed)?;
            judged(summary, speed.right, "not every rollout has its score".to_owned())
        }
        What::Follow(flags) => {
            let follow = bench::follow(&flags.config()?)?;
            let summary = edge::summary(&follow)?;
            judged(summary, follow.within, "turns were placed too late".to_owned())
        }
    }
}

/// The figures, or a failure after they were printed.
fn judged(summary: Option<Value>, holds: bool, otherwise: String) -> Result<Option<Value>, Fault> {
    if holds {
        return Ok(summary);
    }
    edge::print(&summary.unwrap_or_default());
    Err(Fault::failed(otherwise, "the JSON line says how far, and what is allowed"))
}
