//! `openclaw-rl score`

use clap::Args;
use openclaw_rl::config::ScoreConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Global;
use crate::edge::{self, Fault};
use crate::files::FileArgs;
use crate::judge::{JudgeArgs, WrittenArgs, print_line, print_prompts};
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
    /// Judge one part of the turns, such as 1/4; other processes judge the others
    #[arg(long, value_name = "PART/PARTS")]
    pub shard: Option<String>,
    /// Judge again what only other judges, or other versions of this one, have judged; the newest
    /// row of a turn counts
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rejudge: bool,
    #[command(flatten)]
    #[serde(skip)]
    pub written: WrittenArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub files: FileArgs,
}

/// Judges what is placed, and prints how much.
pub fn cmd_score(global: &Global, args: &ScoreArgs) -> Result<Option<Value>, Fault> {
    if args.written.exchanges.is_some() && args.files.input.is_some() {
        return Err(Fault::usage("`--exchanges` and `--input` are both given", "choose one"));
    }
    let written = args.written.read(stage::score::Written::read)?;
    if let (true, Some(exchanges)) = (args.written.print_prompts, &written) {
        print_prompts(exchanges, stage::score::prompt);
        return Ok(None);
    }
    let resolved = resolve(global, "score", args, ScoreConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let config = resolved.config;
    if let Some(exchanges) = written {
        edge::block_on(global, async |stop| {
            let told = |told| print_line(&json!(told));
            stage::score::run_written(&config, &exchanges, &stop, told).await
        })?;
        return Ok(None);
    }
    if let Some(files) = args.files.open()? {
        let (input, output) = (&files.input, &files.output);
        let summary = edge::block_on(global, async |stop| {
            stage::score::run_files(&config, input, output, &stop).await
        })?;
        return files.finish(edge::summary(&summary)?);
    }
    let home = home(global)?;
    let _lock = edge::lock(&home, &stage::score::process(&config))?;
    let summary =
        edge::block_on(global, async |stop| stage::score::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
