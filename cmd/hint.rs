//! `openclaw-rl hint`

use clap::Args;
use openclaw_rl::config::HintConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Global;
use crate::edge::{self, Fault};
use crate::judge::{JudgeArgs, WrittenArgs, print_line, print_prompts};
use crate::resolve::{home, resolve};

/// Flags of `hint`.
#[derive(Debug, Args, Serialize)]
pub struct HintArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Address of the server that re-reads replies [default: http://127.0.0.1:30000]
    #[arg(long, value_name = "URL")]
    pub teacher: Option<String>,
    /// File that holds the teacher's API key
    #[arg(long, value_name = "FILE")]
    pub teacher_key_file: Option<std::path::PathBuf>,
    /// Characters that a hint must exceed to be accepted
    #[arg(long, value_name = "N")]
    pub hint_chars_min: Option<usize>,
    /// Which of the accepted hints is taken: `longest`, `shortest`, or `all:N`, the longest, with
    /// up to N kept for the trainer [default: longest, with up to 3]
    #[arg(long, value_name = "WHICH")]
    pub hint_select: Option<String>,
    /// Take hints too that hand over the answer: that name what nobody had said before the reply
    /// was judged
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_leaks: bool,
    /// Keep the K likeliest ids of teacher and student for each token of a reply: `train --method
    /// topk` then learns from the teacher's, also where that is another model
    #[arg(long, value_name = "K")]
    pub topk: Option<u32>,
    /// Look through one part of the turns, such as 1/4; other processes do the others
    #[arg(long, value_name = "PART/PARTS")]
    pub shard: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    pub written: WrittenArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub judge: JudgeArgs,
}

/// Looks for hints in what is placed, and prints how many it found.
pub fn cmd_hint(global: &Global, args: &HintArgs) -> Result<Option<Value>, Fault> {
    let written = args.written.read(stage::hint::Written::read)?;
    if let (true, Some(exchanges)) = (args.written.print_prompts, &written) {
        print_prompts(exchanges, stage::hint::prompt);
        return Ok(None);
    }
    let resolved = resolve(global, "hint", args, HintConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let config = resolved.config;
    if let Some(exchanges) = written {
        edge::block_on(global, async |stop| {
            let told = |told| print_line(&json!(told));
            stage::hint::run_written(&config, &exchanges, &stop, told).await
        })?;
        return Ok(None);
    }
    let home = home(global)?;
    let _lock = edge::lock(&home, &stage::hint::process(&config))?;
    let summary =
        edge::block_on(global, async |stop| stage::hint::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
