//! `openclaw-rl run`

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::{
    CollectConfig, DeployConfig, HintConfig, Home, RunConfig, ScoreConfig, ServeConfig, TrainConfig,
};
use openclaw_rl::run::{self, ChildPlan, Plan, Screen};
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::judge::JudgeArgs;
use crate::resolve::{home, resolve};

/// Flags of `run`: its own, and those that are handed on to the stages most often. Everything
/// else goes into the configuration file.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    serve: ServePart,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    train: TrainPart,
    /// Hugging Face directory of the base model [default: the embedded model]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// File that holds the API key that clients must send
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Seconds after which a session without a new request is closed
    #[arg(long, value_name = "SECONDS")]
    idle_timeout_s: Option<u64>,
}

/// What only the supervisor is told.
#[derive(Debug, Args, Serialize)]
struct OwnArgs {
    /// End after this many trained versions went live
    #[arg(long, value_name = "N")]
    exit_after_steps: Option<u64>,
}

/// What is handed on to `serve`.
#[derive(Debug, Args, Serialize)]
struct ServePart {
    /// Address to listen on; one that is not loopback needs --api-key-file
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one
    #[arg(long)]
    port: Option<u16>,
    /// Name of the policy in /v1/models
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    /// Longest prompt and reply together [default: the model's own limit]
    #[arg(long, value_name = "TOKENS")]
    context_tokens: Option<usize>,
    /// Sampling temperature where the request does not say
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
}

/// What is handed on to `train`.
#[derive(Debug, Args, Serialize)]
struct TrainPart {
    /// The objective: binary, opd or combine
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Samples per optimizer step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Seconds after which a batch closes with fewer samples [default: never]
    #[arg(long, value_name = "SECONDS")]
    max_wait_s: Option<u64>,
    /// Optimizer steps over the same batch
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// AdamW step size
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
}

/// What the children are told, each validated before any is started.
struct Stages {
    run: RunConfig,
    serve: ServeConfig,
    train: TrainConfig,
}

/// Starts the loop, shows it, and prints how it stood at the end.
pub fn cmd_run(global: &Global, args: &RunArgs) -> Result<Option<Value>, Fault> {
    let Some(stages) = configure(global, args)? else { return Ok(None) };
    let home = home(global)?;
    let address = free_address(&stages.serve)?;
    let plan = plan(global, args, &home, address)?;
    let batch_size = stages.train.batch_size as u64;
    let read = crate::store::figures_source(&home, batch_size)?;
    let mut screen = Screen::new(std::io::stderr().is_terminal(), Box::new(std::io::stderr()));
    let model = &stages.serve.model_name;
    let context = stages.serve.context_tokens.unwrap_or(32_768);
    screen.say(&format!(
        "OpenClaw client configuration (~/.openclaw/openclaw.json), ready to paste:\n{}\nAny \
         other OpenAI client: base URL {}/v1, any API key, model `{model}`.\nhome {}",
        plan.client_config(model, context),
        plan.url(),
        home.root().display(),
    ));
    let summary = edge::block_on(global, async |stop| {
        run::run(&stages.run, &plan, read, &mut screen, stop).await
    })?;
    edge::summary(&summary)
}

/// Resolves every stage's section, so that a mistake in any is found before a child starts.
/// `None` after `--dry-run`.
fn configure(global: &Global, args: &RunArgs) -> Result<Option<Stages>, Fault> {
    let nothing = serde_json::json!({});
    let judge = serde_json::to_value(&args.judge).unwrap_or_default();
    let mut serve = serde_json::to_value(&args.serve).unwrap_or_default();
    let mut train = serde_json::to_value(&args.train).unwrap_or_default();
    let mut deploy = nothing.clone();
    let mut collect = nothing.clone();
    collect["idle_timeout_s"] = serde_json::json!(args.idle_timeout_s);
    serve["model"] = serde_json::json!(args.model);
    train["model"] = serde_json::json!(args.model);
    serve["api_key_file"] = serde_json::json!(args.api_key_file);
    deploy["api_key_file"] = serde_json::json!(args.api_key_file);
    let run = resolve(global, "run", &args.own, RunConfig::validate)?;
    let serve = resolve(global, "serve", &serve, ServeConfig::validate)?;
    let collect = resolve(global, "collect", &collect, CollectConfig::validate)?;
    let score = resolve(global, "score", &judge, ScoreConfig::validate)?;
    let hint = resolve(global, "hint", &judge, HintConfig::validate)?;
    let train = resolve(global, "train", &train, TrainConfig::validate)?;
    let deploy = resolve(global, "deploy", &deploy, DeployConfig::validate)?;
    let dry = [
        run.is_dry_run(global),
        serve.is_dry_run(global),
        collect.is_dry_run(global),
        score.is_dry_run(global),
        hint.is_dry_run(global),
        train.is_dry_run(global),
        deploy.is_dry_run(global),
    ];
    let stages = Stages { run: run.config, serve: serve.config, train: train.config };
    Ok((!dry[0]).then_some(stages))
}

/// The address the server will have: the configured one, with a free port in place of 0, and
/// loopback in place of "every address".
fn free_address(serve: &ServeConfig) -> Result<SocketAddr, Fault> {
    let listener = std::net::TcpListener::bind((serve.host, serve.port)).map_err(|error| {
        Fault::usage(
            format!("port {} at {}: {error}", serve.port, serve.host),
            "another program uses it: stop that one, or choose with --port",
        )
    })?;
    let port = listener.local_addr().map_or(serve.port, |address| address.port());
    let host = match serve.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        host => host,
    };
    Ok(SocketAddr::new(host, port))
}

/// The children with their arguments.
fn plan(global: &Global, args: &RunArgs, home: &Home, address: SocketAddr) -> Result<Plan, Fault> {
    let program = std::env::current_exe().map_err(|error| {
        Fault::failed(format!("the path of this program: {error}"), "start it by its path")
    })?;
    let url = format!("http://{address}");
    let mut serve = flags(&args.serve);
    serve.retain(|(key, _)| *key != "port");
    serve.extend(path_flag("model", args.model.as_ref()));
    serve.extend(path_flag("api_key_file", args.api_key_file.as_ref()));
    serve.push(("port".to_owned(), address.port().to_string().into()));
    let judge = flags(&args.judge);
    let mut hint = judge.clone();
    hint.push(("teacher".to_owned(), url.clone().into()));
    hint.extend(path_flag("teacher_key_file", args.api_key_file.as_ref()));
    let mut train = flags(&args.train);
    train.push(("nice".to_owned(), "10".into()));
    train.extend(path_flag("model", args.model.as_ref()));
    let mut deploy = vec![("server".to_owned(), OsString::from(url))];
    deploy.extend(path_flag("api_key_file", args.api_key_file.as_ref()));
    let idle = args.idle_timeout_s.map(|s| ("idle_timeout_s".to_owned(), s.to_string().into()));
    let collect = idle.into_iter().collect();
    let children = [
        ("serve", serve),
        ("collect", collect),
        ("score", judge),
        ("hint", hint),
        ("train", train),
        ("deploy", deploy),
    ];
    let children = children.map(|(stage, flags)| child(global, home, stage, flags));
    Ok(Plan { program, address, children: children.into(), lock: home.lock("run") })
}

type Flag = (String, OsString);

fn path_flag(key: &str, path: Option<&PathBuf>) -> Option<Flag> {
    path.map(|path| (key.to_owned(), path.clone().into_os_string()))
}

/// The flags that were given, as keys and texts.
fn flags(args: &impl Serialize) -> Vec<Flag> {
    let text = serde_json::to_string(args).unwrap_or_default();
    let map: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    map.into_iter()
        .filter_map(|(key, value)| match value {
            Value::Null => None,
            Value::String(text) => Some((key, text.into())),
            other => Some((key, other.to_string().into())),
        })
        .collect()
}

fn child(global: &Global, home: &Home, stage: &'static str, flags: Vec<Flag>) -> ChildPlan {
    let mut args = vec![OsString::from("--home"), home.root().as_os_str().to_owned()];
    if let Some(config) = &global.config {
        args.extend([OsString::from("--config"), config.as_os_str().to_owned()]);
    }
    args.extend([OsString::from("--log"), OsString::from(&global.log)]);
    if stage != "serve" {
        args.push("--follow".into());
    }
    for (key, value) in flags {
        args.push(format!("--{}", key.replace('_', "-")).into());
        args.push(value);
    }
    ChildPlan { stage, args, log: home.log(stage) }
}
