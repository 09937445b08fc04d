//! The `openclaw-rl` binary: flags to configuration, signals, printing. No tensors, no Arrow,
//! no axum: those live in the library, which never prints.

mod address;
mod bench;
mod collect;
mod deploy;
mod edge;
mod eval;
mod files;
mod hint;
mod hub;
mod judge;
mod resolve;
mod run;
mod score;
mod serve;
mod store;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::resolve::Preset;

/// An agent's model that learns from the conversations it has, while it keeps serving.
///
/// `openclaw-rl run` starts the whole loop; point any OpenAI client at the address it prints.
/// Each stage also runs alone: it handles what is there, prints one JSON line and exits, or stays
/// with `--follow`. Exit codes: 0 done, 1 the work failed, 2 the command or its input was wrong.
#[derive(Debug, Parser)]
#[command(name = "openclaw-rl", version)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every subcommand takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// Directory that holds the store, the weights and the logs [default: ~/.openclaw-rl]
    #[arg(long, global = true, value_name = "DIR", env = "OPENCLAW_RL_HOME")]
    home: Option<PathBuf>,

    /// TOML file with a section per stage; flags override it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Values for a kind of model in place of the defaults, which the file and flags override:
    /// embedded, for models of a few million parameters
    #[arg(long, global = true, value_name = "NAME")]
    preset: Option<Preset>,

    /// Print every value that would be used and where it came from, and exit
    #[arg(long, global = true)]
    dry_run: bool,

    /// What is logged to stderr: error, warn, info, debug, or a filter such as `openclaw_rl=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        env = "OPENCLAW_RL_LOG"
    )]
    log: String,

    /// Leave when standard input closes (how `run` keeps its children from outliving it)
    #[arg(long, global = true, hide = true)]
    exit_with_parent: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer OpenAI-compatible requests and record each turn
    Serve(serve::ServeArgs),
    /// Place recorded turns in their sessions, with what came after each
    Collect(collect::CollectArgs),
    /// Judge replies by what came after them
    Score(score::ScoreArgs),
    /// Extract what should have been done, and re-read the reply in its light
    Hint(hint::HintArgs),
    /// Learn from judged turns; each step makes a weights version
    Train(Box<train::TrainArgs>),
    /// Put a weights version live on the servers, or an older one back
    Deploy(deploy::DeployArgs),
    /// Start the whole loop: serve, collect, score, hint, train, deploy
    Run(run::RunArgs),
    /// Look into the store: tables, the life of a turn, consistency
    Store(store::StoreArgs),
    /// Let simulated users talk to a server, and measure what it learns from them
    Eval(Box<eval::EvalArgs>),
    /// Measure: the decoder on a device, how far it is from the CPU, placing turns
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(fault) = edge::start_logging(&cli.global.log) {
        return edge::report(&fault);
    }
    match dispatch(&cli) {
        Ok(Some(summary)) => edge::print(&summary),
        Ok(None) => ExitCode::SUCCESS,
        Err(fault) => edge::report(&fault),
    }
}

/// Runs one subcommand; what it returns is its one line on stdout.
fn dispatch(cli: &Cli) -> Result<Option<serde_json::Value>, edge::Fault> {
    let global = &cli.global;
    match &cli.command {
        Command::Serve(args) => serve::cmd_serve(global, args),
        Command::Collect(args) => collect::cmd_collect(global, args),
        Command::Score(args) => score::cmd_score(global, args),
        Command::Hint(args) => hint::cmd_hint(global, args),
        Command::Train(args) => train::cmd_train(global, args),
        Command::Deploy(args) => deploy::cmd_deploy(global, args),
        Command::Run(args) => run::cmd_run(global, args),
        Command::Store(args) => store::cmd_store(global, args),
        Command::Eval(args) => eval::cmd_eval(global, args),
        Command::Bench(args) => bench::cmd_bench(global, args),
    }
}
