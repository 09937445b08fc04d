//! `openclaw-rl deploy`

use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::DeployConfig;
use openclaw_rl::stage::deploy::{self, Action};
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::{home, resolve};

/// Flags of `deploy`.
#[derive(Debug, Args, Serialize)]
pub struct DeployArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Address of a server that takes the weights, or unix:PATH for its admin socket; may be
    /// repeated
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    /// The version to put live; an older one is a rollback [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub version: Option<u64>,
    /// With --version: put it live without asking the gate; only what cannot be served is refused
    #[arg(long, requires = "version")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Hold each version until `deploy --approve` lets it go live
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_approval: bool,
    /// Where the gate computes: auto (a CUDA device if there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub gate: GateArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub action: ActionArgs,
    /// Tries per server before a deployment is given up
    #[arg(long, value_name = "N")]
    pub tries: Option<usize>,
    /// Seconds that one try may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// File that holds the server's API key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// File that holds the key of the server's admin routes [default: the API key]
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
}

/// How the gate and the watch judge.
#[derive(Debug, Args, Serialize)]
pub struct GateArgs {
    /// Most held-out turns that the divergence from the live version is measured on
    #[arg(long, value_name = "N")]
    pub gate_turns: Option<usize>,
    /// Most tokens that these turns may have together, prompts included
    #[arg(long, value_name = "TOKENS")]
    pub gate_tokens: Option<usize>,
    /// Greatest mean divergence, in nats per response token
    #[arg(long, value_name = "NATS")]
    pub gate_kl_max: Option<f64>,
    /// Most of the program's own probes that are asked; 0: none
    #[arg(long, value_name = "N")]
    pub gate_probes: Option<usize>,
    /// Longest reply to a probe
    #[arg(long, value_name = "TOKENS")]
    pub gate_probe_tokens: Option<usize>,
    /// Further probes, beside those of the program: a file of JSON lines
    #[arg(long, value_name = "FILE")]
    pub probes: Option<PathBuf>,
    /// Address of a judge that compares replies to the probes [default: nobody is asked]
    #[arg(long, value_name = "URL")]
    pub gate_judge: Option<String>,
    /// The judge's model name
    #[arg(long, value_name = "NAME")]
    pub gate_judge_model: Option<String>,
    /// Turns of a version that are watched after it went live; 0: none
    #[arg(long, value_name = "N")]
    pub watch_turns: Option<usize>,
    /// Pairs of turns before which the watch does nothing
    #[arg(long, value_name = "N")]
    pub watch_turns_min: Option<usize>,
    /// Chance that a version which is as good as the one before it is rolled back
    #[arg(long, value_name = "CHANCE")]
    pub watch_alarm: Option<f64>,
    /// Drop of the mean reward, and rise of the error rate, that is forgiven
    #[arg(long, value_name = "DROP")]
    pub watch_margin: Option<f64>,
}

/// What is done once, instead of deploying.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct ActionArgs {
    /// Print the versions: which is live, dead, waiting, and what happened to each
    #[arg(long, conflicts_with = "follow")]
    list: bool,
    /// Put an older version back [default: the one that was live before]; newer ones are a dead
    /// branch, and their turns are quarantined
    #[arg(long, value_name = "N", num_args = 0..=1, conflicts_with = "follow")]
    rollback: Option<Option<u64>>,
    /// Put a version live and keep it: nothing newer goes live by itself
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pin: Option<u64>,
    /// Let newer versions go live again
    #[arg(long, conflicts_with = "follow")]
    unpin: bool,
    /// Let a version go live that waits for approval [default: the newest]
    #[arg(long, value_name = "N", num_args = 0..=1, conflicts_with = "follow")]
    approve: Option<Option<u64>>,
    /// Give back the turns of dead versions [default: of all]
    #[arg(long, value_name = "N", num_args = 0.., conflicts_with = "follow")]
    requeue: Option<Vec<u64>>,
    /// Write a version (--version, else the live one) as a Hugging Face directory, merged; of an
    /// adapter version also the PEFT adapter, in `adapter/`
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    export: Option<PathBuf>,
}

impl ActionArgs {
    fn action(&self) -> Option<Action> {
        match self {
            Self { rollback: Some(to), .. } => Some(Action::RollBack(*to)),
            Self { pin: Some(version), .. } => Some(Action::Pin(*version)),
            Self { unpin: true, .. } => Some(Action::Unpin),
            Self { approve: Some(version), .. } => Some(Action::Approve(*version)),
            Self { requeue: Some(versions), .. } => Some(Action::Requeue(versions.clone())),
            _ => None,
        }
    }
}

/// Puts a version live, or does what else was asked for, and prints what was done.
pub fn cmd_deploy(global: &Global, args: &DeployArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "deploy", args, DeployConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let home = home(global)?;
    let config = resolved.config;
    if args.action.list {
        return edge::summary(&deploy::list(&home)?);
    }
    if let Some(dir) = &args.action.export {
        return edge::summary(&deploy::export(&home, dir, config.version)?);
    }
    let summary = edge::block_on(global, async |stop| match args.action.action() {
        Some(action) => deploy::act(&config, &home, &action, stop).await,
        None => deploy::run(&config, &home, stop).await,
    })?;
    edge::summary(&summary)
}
