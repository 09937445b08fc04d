//! `openclaw-rl eval`

use std::path::{Path, PathBuf};

use clap::Args;
use openclaw_rl::config::EvalConfig;
use openclaw_rl::stage::eval::{self, Drawing, Progress};
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::resolve;

/// Flags of `eval`.
#[derive(Debug, Args, Serialize)]
pub struct EvalArgs {
    /// Address of the server that is talked to [default: http://127.0.0.1:30000]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// File that holds its API key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Name of the model in the requests
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Who talks: student, grader, teacher, or the path of a persona's file; may be repeated, and
    /// they take turns [default: these three]
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub persona: Vec<String>,
    /// Sessions to hold; 0 measures only [default: 0]
    #[arg(long, value_name = "N")]
    pub sessions: Option<usize>,
    /// Replies of a session that the user reacts to [default: 3]
    #[arg(long, value_name = "N")]
    pub turns: Option<usize>,
    /// Share of the reactions that say the opposite of what the user feels [default: 0.07]
    #[arg(long, value_name = "SHARE")]
    pub noise: Option<f64>,
    /// Held-out first prompts of each persona, asked of every version [default: 96]
    #[arg(long, value_name = "N")]
    pub held_out: Option<usize>,
    /// Held-out problems, solved greedily before and after; 0 asks none [default: 1000]
    #[arg(long, value_name = "N")]
    pub tasks: Option<usize>,
    /// Sampling temperature of every reply that is not greedy [default: 0.6]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Most tokens of a reply [default: 160]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Seed of the users and of the sampling [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Wait after each reply until the loop has learned from everything that was said: what is
    /// measured then does not depend on how fast the machine is
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lockstep: bool,
    /// Replies of a training batch, as the trainer has it: in lockstep fewer may wait
    /// [default: 16]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Requests at the same time where prompts are held out [default: 8]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Longest time of one request, and of one wait in lockstep [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// Problems in place of the personas' own: JSON lines with `question` and `answer`, as GSM8K
    /// has them
    #[arg(long, value_name = "FILE")]
    pub problems: Option<PathBuf>,
    /// Address of a model that plays the users, in place of the personas' own lines
    #[arg(long, value_name = "URL")]
    pub user_llm: Option<String>,
    /// Name of that model
    #[arg(long, value_name = "NAME")]
    pub user_llm_model: Option<String>,
    /// File that holds that model's API key
    #[arg(long, value_name = "FILE")]
    pub user_llm_key_file: Option<PathBuf>,
    /// Write satisfaction over turns as a picture (SVG)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub plot: Option<PathBuf>,
    /// Write everything that was measured as JSON
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Talk to nobody: draw the curves of a JSON file (`title`, `note`, `curves`) to --plot
    #[arg(long, value_name = "FILE", requires = "plot")]
    #[serde(skip)]
    pub draw: Option<PathBuf>,
}

/// Lets simulated users talk, and prints what came of it.
pub fn cmd_eval(global: &Global, args: &EvalArgs) -> Result<Option<Value>, Fault> {
    if let Some(path) = &args.draw {
        let drawing = drawing(path)?;
        write(args.plot.as_deref(), || drawing.svg())?;
        return Ok(None);
    }
    let resolved = resolve(global, "eval", args, EvalConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    // What cannot be written is better known before an hour of talk.
    for path in [&args.json, &args.plot].into_iter().flatten() {
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|error| not_written(path, &error))?;
    }
    let config = resolved.config;
    let mut shown = Shown::new(config.sessions);
    let report = edge::block_on(global, async |stop| {
        eval::run(&config, stop, |progress| shown.take(progress)).await
    });
    shown.end();
    let (report, error) = report?;
    edge::say(&report.table());
    let summary = edge::summary(&report)?;
    write(args.json.as_deref(), || format!("{}\n", summary.clone().unwrap_or_default()))?;
    write(args.plot.as_deref(), || report.drawing().svg())?;
    // What was measured until then is written all the same.
    error.map_or(Ok(summary), |error| Err(error.into()))
}

fn drawing(path: &Path) -> Result<Drawing, Fault> {
    let wrong = |error: &dyn std::fmt::Display| {
        Fault::usage(
            format!("{}: {error}", path.display()),
            "the file holds `title`, `note` and `curves`, each with `name` and `points`, each of \
             them [turns, met, n]",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Fault> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, text()).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Fault {
    Fault::failed(
        format!("{} not written: {error}", path.display()),
        "name a file in a directory that is there and can be written to",
    )
}

/// Progress on stderr: a bar on a terminal, a line for each version elsewhere.
struct Shown {
    bar: indicatif::ProgressBar,
}

impl Shown {
    fn new(sessions: usize) -> Self {
        let bar = indicatif::ProgressBar::new(sessions as u64);
        let style = indicatif::ProgressStyle::with_template(
            "{elapsed_precise} {wide_bar} {pos} of {len} sessions  {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
        Self { bar }
    }

    fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Measuring(what) => self.bar.set_message(format!("measuring {what}")),
            Progress::Held(number, persona) => {
                self.bar.set_position(number as u64);
                self.bar.set_message(persona);
            }
            Progress::Measured(point) => {
                let line = point.line();
                if self.bar.is_hidden() {
                    edge::say(&line);
                } else {
                    self.bar.println(line);
                }
            }
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
