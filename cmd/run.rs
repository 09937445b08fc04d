//! `openclaw-rl run`

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::{
    CollectConfig, DeployConfig, HintConfig, Home, RunConfig, RunJudge, ScoreConfig, ServeConfig,
    TrainConfig,
};
use openclaw_rl::run::{self, ChildPlan, Plan, Screen};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Global;
use crate::address::{self, Taken};
use crate::edge::{self, Fault};
use crate::judge::RunJudgeArgs;
use crate::resolve::{given, home, resolve};

/// The name of the child that serves the base model, and of that model.
const JUDGE: &str = "judge";
/// The version that the base model is.
const BASE_VERSION: u64 = 0;
/// Least key and value memory of the judge, in tokens: the longest judgement fits into it.
const JUDGE_CACHE_MIN: usize = 16_384;
/// How far the judge gives way to the server.
const JUDGE_NICE: u32 = 5;
/// How far the trainer gives way to both.
const TRAIN_NICE: u32 = 10;

/// Flags of `run`: its own, and those that are handed on to the stages most often. Everything
/// else goes into the configuration file.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    own: OwnArgs,
    #[command(flatten)]
    serve: ServePart,
    #[command(flatten)]
    judge: RunJudgeArgs,
    #[command(flatten)]
    train: TrainPart,
    #[command(flatten)]
    model: ModelPart,
    #[command(flatten)]
    doors: DoorPart,
    #[command(flatten)]
    collect: CollectPart,
}

/// What only the supervisor is told.
#[derive(Debug, Args, Serialize)]
struct OwnArgs {
    /// End after this many trained versions went live
    #[arg(long, value_name = "N")]
    exit_after_steps: Option<u64>,
    /// Port of the base model's server where it is the judge; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    judge_port: Option<u16>,
    /// Where that judge is computed [default: as the policy]
    #[arg(long, value_name = "DEVICE")]
    judge_device: Option<String>,
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
    /// Sampling temperature where the request does not say [default: the model's, else 0.6]
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Keep nothing of this user's: a user's name, key-… as in the tables, or @FILE with one
    /// user's name or API key per line; may be repeated
    #[arg(long, value_name = "WHO")]
    do_not_train: Vec<String>,
}

/// What is handed on to `serve` and to `train`; the device also to `deploy`, for its gate.
#[derive(Debug, Args, Serialize)]
struct ModelPart {
    /// Base model, as `serve` takes it [default: the embedded model]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Where models are computed: auto (a CUDA device if there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

/// What is handed on to `serve`, and to whoever asks it.
#[derive(Debug, Args, Serialize)]
struct DoorPart {
    /// File that holds the API key that clients must send
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// File that holds the key of the server's admin routes
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
}

/// What is handed on to `collect`.
#[derive(Debug, Args, Serialize)]
struct CollectPart {
    /// Seconds after which a session without a new request is closed
    #[arg(long, value_name = "SECONDS")]
    idle_timeout_s: Option<u64>,
}

/// What is handed on to `train`.
#[derive(Debug, Args, Serialize)]
struct TrainPart {
    /// The objective: binary, opd, combine, topk, hybrid or sft
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
    /// Which weights are trained: all or lora
    #[arg(long, value_name = "WEIGHTS")]
    weights: Option<String>,
    /// Weight of the distance to the reference
    #[arg(long, value_name = "WEIGHT")]
    kl_coefficient: Option<f32>,
    /// Longest prompt and reply that is trained on
    #[arg(long, value_name = "TOKENS")]
    train_tokens_max: Option<usize>,
    /// Distinct sessions that a batch holds at least
    #[arg(long, value_name = "N")]
    sessions_min: Option<usize>,
}

/// The whole loop, resolved: every section was validated before any child is started.
struct Stages {
    run: RunConfig,
    serve: ServeConfig,
    train: TrainConfig,
    /// Where programs on this machine reach the server.
    url: String,
    /// What each child is told on its command line, in the order of their start.
    told: Vec<Told>,
}

/// A child and the flags that it is started with, as keys and values of its configuration.
struct Told {
    name: &'static str,
    command: &'static str,
    flags: Map<String, Value>,
    /// Where it answers requests, if it does.
    address: Option<SocketAddr>,
}

impl Told {
    /// What the stage of this name is told.
    fn stage(name: &'static str, flags: Map<String, Value>) -> Self {
        Self { name, command: name, flags, address: None }
    }
}

/// Starts the loop, shows it, and prints how it stood at the end.
pub fn cmd_run(global: &Global, args: &RunArgs) -> Result<Option<Value>, Fault> {
    let stages = configure(global, args)?;
    let home = home(global)?;
    let plan = plan(global, &stages, &home)?;
    if global.dry_run {
        show(&plan);
        return Ok(None);
    }
    let batch_size = stages.train.batch_size as u64;
    let mut screen = Screen::new(std::io::stderr().is_terminal(), Box::new(std::io::stderr()));
    let (url, model) = (&stages.url, &stages.serve.model_name);
    let client = run::client_config(url, model, stages.serve.context_tokens);
    let client = serde_json::to_string_pretty(&client).unwrap_or_default();
    screen.say(&format!(
        "OpenClaw client configuration (~/.openclaw/openclaw.json), ready to paste:\n{client}\nAny \
         other OpenAI client: base URL {url}/v1, any API key, model `{model}`.\nhome {}",
        home.root().display(),
    ));
    let read = crate::store::figures_source(&home, batch_size, client)?;
    let summary = edge::block_on(global, async |stop| {
        run::run(&stages.run, &plan, read, &mut screen, stop).await
    })?;
    edge::summary(&summary)
}

/// Resolves every stage's section with the flags that its child will get, so that a mistake in
/// any is found before a child starts.
fn configure(global: &Global, args: &RunArgs) -> Result<Stages, Fault> {
    let flags = with(with(given(&args.serve), &args.doors), &args.model);
    let taught = with(given(&args.train), &args.model);
    let run = resolve(global, "run", &args.own, RunConfig::validate)?;
    let serve = resolve(global, "serve", &flags, ServeConfig::validate)?;
    if serve.config.version.is_some() {
        return Err(Fault::usage(
            "`version` of [serve]: the loop serves the live version, and trains it",
            "take it out, or start `openclaw-rl serve --version N` by itself",
        ));
    }
    let collect = resolve(global, "collect", &args.collect, CollectConfig::validate)?;
    let score = resolve(global, "score", &args.judge, ScoreConfig::<RunJudge>::validate)?;
    let train = resolve(global, "train", &taught, TrainConfig::validate)?;
    let server = Taken::new(global, serve.config.host, serve.config.port, "--port")?;
    let hinted = with(given(&args.judge), &teacher_flags(&serve.config, &server));
    let hint = resolve(global, "hint", &hinted, HintConfig::<RunJudge>::validate)?;
    let deployed = deploy_flags(args, &serve.config, &server);
    let deploy = resolve(global, "deploy", &deployed, DeployConfig::validate)?;
    run.is_dry_run(global);
    serve.is_dry_run(global);
    collect.is_dry_run(global);
    score.is_dry_run(global);
    hint.is_dry_run(global);
    train.is_dry_run(global);
    deploy.is_dry_run(global);

    let judges = [score.config.judge.judge, hint.config.judge.judge];
    if !score.config.judge.judge_may_be_trained {
        for judge in &judges {
            address::refuse_own(judge, serve.config.host, server.address.port())?;
        }
    }
    let base = base(global, &judges, &run.config)?;
    let asking = |flags, judge: &RunJudge| match (&base, judge) {
        (Some(base), RunJudge::Base) => with(flags, &asking_flags(&serve.config, base, "")),
        (Some(base), RunJudge::RulesAndBase) => {
            with(flags, &asking_flags(&serve.config, base, "rules+"))
        }
        _ => flags,
    };
    let port = json!({"port": server.address.port()});
    let address = Some(server.address);
    let mut told = vec![Told { address, ..Told::stage("serve", with(flags, &port)) }];
    told.extend(base.as_ref().map(|base| judge_told(&run.config, &serve.config, base)));
    told.extend([
        Told::stage("collect", given(&args.collect)),
        Told::stage("score", asking(given(&args.judge), &judges[0])),
        Told::stage("hint", asking(hinted, &judges[1])),
        Told::stage("train", taught),
        Told::stage("deploy", deployed),
    ]);
    let url = server.url();
    Ok(Stages { run: run.config, serve: serve.config, train: train.config, url, told })
}

/// The address of the base model's server, if one is wanted.
fn base(global: &Global, judges: &[RunJudge], run: &RunConfig) -> Result<Option<Taken>, Fault> {
    let wanted = judges.contains(&RunJudge::Base) || judges.contains(&RunJudge::RulesAndBase);
    let host = IpAddr::from(Ipv4Addr::LOCALHOST);
    wanted.then(|| Taken::new(global, host, run.judge_port, "--judge-port")).transpose()
}

/// These flags, and more.
fn with(mut flags: Map<String, Value>, more: &impl Serialize) -> Map<String, Value> {
    flags.extend(given(more));
    flags
}

/// How `hint` reaches the teacher, which is the policy.
fn teacher_flags(serve: &ServeConfig, server: &Taken) -> Value {
    json!({"teacher": server.url(), "teacher_key_file": serve.api_key_file})
}

/// How a stage reaches the base model, which has the key of the server; `before` is who is asked
/// before it.
fn asking_flags(serve: &ServeConfig, base: &Taken, before: &str) -> Value {
    let judge = format!("{before}{}/v1", base.url());
    json!({"judge": judge, "judge_key_file": serve.api_key_file})
}

/// How `deploy` reaches the server's admin routes.
fn deploy_flags(args: &RunArgs, serve: &ServeConfig, server: &Taken) -> Map<String, Value> {
    let admin = match &serve.admin_socket {
        Some(socket) if !serve.admin_over_network() => format!("unix:{}", socket.display()),
        _ => server.url(),
    };
    given(&json!({
        "server": [admin],
        "api_key_file": serve.api_key_file,
        "admin_key_file": serve.admin_key_file,
        "device": args.model.device,
    }))
}

/// The base model's server. It is a `serve` of its own: nothing of `[serve]` holds for it that is
/// not said here.
fn judge_told(run: &RunConfig, serve: &ServeConfig, judge: &Taken) -> Told {
    let half = (serve.cache_tokens / 2).max(JUDGE_CACHE_MIN);
    let flags = json!({
        "version": BASE_VERSION,
        "port": judge.address.port(),
        "model_name": JUDGE,
        "device": run.judge_device.unwrap_or(serve.device),
        "dtype": serve.dtype,
        "cache_tokens": run.judge_cache_tokens.unwrap_or(half),
        "api_key_file": serve.api_key_file,
        "nice": JUDGE_NICE,
    });
    Told { name: JUDGE, command: "serve", flags: given(&flags), address: Some(judge.address) }
}

/// The children with their arguments.
fn plan(global: &Global, stages: &Stages, home: &Home) -> Result<Plan, Fault> {
    let program = std::env::current_exe().map_err(|error| {
        Fault::failed(format!("the path of this program: {error}"), "start it by its path")
    })?;
    let children = stages.told.iter().map(|told| child(global, home, told)).collect();
    Ok(Plan { program, children, lock: home.lock("run") })
}

fn child(global: &Global, home: &Home, told: &Told) -> ChildPlan {
    let &Told { name, command, ref flags, address } = told;
    let mut args = vec![OsString::from("--home"), home.root().as_os_str().to_owned()];
    // The file's `[serve]` is about the other server.
    if let Some(config) = global.config.as_ref().filter(|_| name != JUDGE) {
        args.extend([OsString::from("--config"), config.as_os_str().to_owned()]);
    }
    if let Some(preset) = global.preset {
        args.extend(["--preset".into(), preset.name().into()]);
    }
    args.extend([OsString::from("--log"), OsString::from(&global.log)]);
    if command != "serve" {
        args.push("--follow".into());
    }
    if command == "train" {
        args.extend(["--nice".into(), TRAIN_NICE.to_string().into()]);
    }
    for (key, value) in flags {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            args.extend([format!("--{}", key.replace('_', "-")).into(), text.into()]);
        }
    }
    ChildPlan { name, command, args, address, log: home.log(name) }
}

/// Prints what would be started, as comments of the configuration.
fn show(plan: &Plan) {
    for ChildPlan { name, command, args, .. } in &plan.children {
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        edge::print_text(&format!("# {name}: openclaw-rl {command} {}\n", args.join(" ")));
    }
}
