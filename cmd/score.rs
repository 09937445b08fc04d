//! `openclaw-rl score`

use clap::Args;
use openclaw_rl::config::ScoreConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::files::FileArgs;
use crate::judge::{JudgeArgs, print_prompts};
use crate::resolve::{home, resolve};

/// Flags of `score`.
#[derive(Debug, Args, Serialize)]
pub struct ScoreArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Print what a model judge would be told of the exchanges on standard input, and ask nobody:
    /// one JSON object a line (`messages`, `reply`, `next_state`)
    #[arg(long, conflicts_with = "follow")]
    #[serde(skip)]
    pub print_prompts: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub files: FileArgs,
}

/// Judges what is placed, and prints how much.
pub fn cmd_score(global: &Global, args: &ScoreArgs) -> Result<Option<Value>, Fault> {
    if args.print_prompts {
        return print_prompts(stage::score::prompt);
    }
    let resolved = resolve(global, "score", args, ScoreConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let config = resolved.config;
    if let Some(files) = args.files.open()? {
        let (input, output) = (&files.input, &files.output);
        let summary = edge::block_on(global, async |stop| {
            stage::score::run_files(&config, input, output, &stop).await
        })?;
        return files.finish(edge::summary(&summary)?);
    }
    let home = home(global)?;
    let _lock = edge::lock(&home, "score")?;
    let summary =
        edge::block_on(global, async |stop| stage::score::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
