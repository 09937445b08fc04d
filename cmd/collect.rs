//! `openclaw-rl collect`

use clap::Args;
use openclaw_rl::config::CollectConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::files::FileArgs;
use crate::resolve::{home, resolve};

/// Flags of `collect`.
#[derive(Debug, Args, Serialize)]
pub struct CollectArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Seconds after which a session without a new request is closed
    #[arg(long, value_name = "SECONDS")]
    pub idle_timeout_s: Option<u64>,
    /// Sessions that are remembered; beyond it the quietest is closed and forgotten
    #[arg(long, value_name = "N")]
    pub sessions_max: Option<usize>,
    /// Close every open session as if it had idled out
    #[arg(long, conflicts_with = "follow")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub close_all: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub files: FileArgs,
}

/// Places what is recorded, and prints how much.
pub fn cmd_collect(global: &Global, args: &CollectArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "collect", args, CollectConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let config = resolved.config;
    if let Some(files) = args.files.open()? {
        let (input, output) = (&files.input, &files.output);
        let summary = edge::block_on(global, async |stop| {
            stage::collect::run_files(&config, input, output, &stop)
        })?;
        return files.finish(edge::summary(&summary)?);
    }
    let home = home(global)?;
    let _lock = edge::lock(&home, "collect")?;
    let summary =
        edge::block_on(global, async |stop| stage::collect::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
