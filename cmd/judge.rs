//! The judge's flags: `run` has a `--judge` of its own, `score` and `hint` share theirs, and how
//! it is asked is the same to all.

use std::error::Error;
use std::path::PathBuf;

use clap::Args;
use openclaw_rl::fault::chain;
use serde::Serialize;
use serde_json::{Value, json};

use crate::edge::{self, Fault};

/// Who judges a stage, and how.
#[derive(Debug, Args, Serialize)]
pub struct JudgeArgs {
    /// `rules`, or the address of an OpenAI-compatible server (http://host:port/v1)
    #[arg(long, value_name = "rules|URL")]
    pub judge: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub asked: AskedArgs,
}

/// Who judges the loop, and how.
#[derive(Debug, Args, Serialize)]
pub struct RunJudgeArgs {
    /// `base` (the model as it was before it was trained, served beside it), `rules`, or the
    /// address of an OpenAI-compatible server (http://host:port/v1) [default: base]
    #[arg(long, value_name = "base|rules|URL")]
    pub judge: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub asked: AskedArgs,
}

/// How a judge is asked.
#[derive(Debug, Args, Serialize)]
pub struct AskedArgs {
    /// The model name to ask for
    #[arg(long, value_name = "NAME")]
    pub judge_model: Option<String>,
    /// File that holds the judge's API key
    #[arg(long, value_name = "FILE")]
    pub judge_key_file: Option<PathBuf>,
    /// Votes per turn
    #[arg(long, value_name = "M")]
    pub votes: Option<usize>,
    /// Sampling temperature of the votes
    #[arg(long, value_name = "T")]
    pub judge_temperature: Option<f32>,
    /// Most tokens of one vote
    #[arg(long, value_name = "TOKENS")]
    pub judge_tokens: Option<usize>,
    /// Turns judged at the same time
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Tries per vote before it counts as lost
    #[arg(long, value_name = "N")]
    pub tries: Option<usize>,
    /// Seconds that one try may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
}

/// Prints what a model judge would be asked of each exchange on stdin.
pub fn print_prompts<E: Error>(
    prompt: impl Fn(&str) -> Result<Vec<Value>, E>,
) -> Result<Option<Value>, Fault> {
    for (at, line) in std::io::stdin().lines().enumerate() {
        let wrong = |error: &dyn std::fmt::Display| {
            let expected = "write one JSON object a line: {\"messages\": […], \"reply\": {…}, \
                            \"next_state\": […]}";
            Fault::usage(format!("standard input, line {}: {error}", at + 1), expected)
        };
        let line = line.map_err(|error| wrong(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        let messages = prompt(&line).map_err(|error| wrong(&chain(&error)))?;
        edge::print_text(&format!("{}\n", json!({ "messages": messages })));
    }
    Ok(None)
}
