//! The judge's flags: `run` has a `--judge` of its own, `score` and `hint` share theirs, and how
//! it is asked is the same to all.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use openclaw_rl::fault::chain;
use serde::Serialize;
use serde_json::{Value, json};

use crate::edge::{self, Fault};

/// Who judges a stage, and how.
#[derive(Debug, Args, Serialize)]
pub struct JudgeArgs {
    /// `rules`, the address of an OpenAI-compatible server (http://host:port/v1; several, with
    /// commas, share the load), or `rules+URL`: the model is asked where the rules decide nothing
    #[arg(long, value_name = "rules|URL|rules+URL")]
    pub judge: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub asked: AskedArgs,
}

/// Who judges the loop, and how.
#[derive(Debug, Args, Serialize)]
pub struct RunJudgeArgs {
    /// `base` (the model as it was before it was trained, served beside it), `rules`, the address
    /// of an OpenAI-compatible server (http://host:port/v1; several, with commas, share the load),
    /// or `rules+base`, `rules+URL`: the model is asked where the rules decide nothing
    /// [default: base]
    #[arg(long, value_name = "base|rules|URL|rules+…")]
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
    /// About how many tokens of the exchange are shown to the judge; of longer parts the middle
    /// is left out
    #[arg(long, value_name = "TOKENS")]
    pub judge_prompt_tokens: Option<usize>,
    /// How the judge's server is told that a vote must end in a verdict: `none`, `sglang` (its
    /// `regex`) or `vllm` (`structured_outputs`) [default: none]
    #[arg(long, value_name = "none|sglang|vllm")]
    pub judge_constraint: Option<String>,
    /// Later messages of the user or of tools that a model judge sees besides what came next; turns
    /// wait for them as long as their session goes on [default: 0]
    #[arg(long, value_name = "K")]
    pub horizon: Option<usize>,
    /// Let the very model judge that is being trained, which is refused otherwise
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub judge_may_be_trained: bool,
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

/// Exchanges that somebody wrote down, in place of the home's.
#[derive(Debug, Args)]
pub struct WrittenArgs {
    /// Decide on the exchanges of a file (`-`: standard input), one JSON object a line
    /// (`messages`, `reply`, `next_state`), and print one JSON object a line, without a home
    #[arg(long, value_name = "FILE|-", conflicts_with = "follow")]
    pub exchanges: Option<PathBuf>,
    /// Print what a model judge would be told of the exchanges (of standard input, where no
    /// --exchanges names a file), and ask nobody
    #[arg(long, conflicts_with = "follow")]
    pub print_prompts: bool,
}

impl WrittenArgs {
    /// The exchanges that were named; `None` if the stage is to work on its home.
    pub fn read<W, E: Error>(
        &self,
        exchange: impl Fn(&str) -> Result<W, E>,
    ) -> Result<Option<Vec<W>>, Fault> {
        let path = match &self.exchanges {
            Some(path) => path.as_path(),
            None if self.print_prompts => Path::new("-"),
            None => return Ok(None),
        };
        let (name, text) = match path == Path::new("-") {
            true => ("standard input".to_owned(), std::io::read_to_string(std::io::stdin())),
            false => (path.display().to_string(), std::fs::read_to_string(path)),
        };
        let text = text.map_err(|error| {
            Fault::usage(format!("{name} not read: {error}"), "name a file of exchanges, or `-`")
        })?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = lines.map(|(at, line)| {
            exchange(line).map_err(|error| {
                let expected = "write one JSON object a line: {\"messages\": […], \"reply\": \
                                {…}, \"next_state\": […]}";
                Fault::usage(format!("{name}, line {}: {}", at + 1, chain(&error)), expected)
            })
        });
        read.collect::<Result<_, _>>().map(Some)
    }
}

/// Prints what a model judge would be asked of each exchange.
pub fn print_prompts<W>(exchanges: &[W], prompt: impl Fn(&W) -> Vec<Value>) {
    for exchange in exchanges {
        print_line(&json!({ "messages": prompt(exchange) }));
    }
}

/// Prints one JSON object on a line of its own.
pub fn print_line(value: &Value) {
    edge::print_text(&format!("{value}\n"));
}
