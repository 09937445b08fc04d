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
use serde_json::{Map, Value, json};

use crate::Global;
use crate::edge::{self, Fault};
use crate::judge::JudgeArgs;
use crate::resolve::{given, home, resolve};

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
    /// Where the server will listen.
    address: SocketAddr,
    /// What each child is told on its command line, the server first.
    told: Vec<Told>,
}

/// A stage and the flags that it is started with, as keys and values of its configuration.
struct Told {
    stage: &'static str,
    flags: Map<String, Value>,
}

/// Starts the loop, shows it, and prints how it stood at the end.
pub fn cmd_run(global: &Global, args: &RunArgs) -> Result<Option<Value>, Fault> {
    let stages = configure(global, args)?;
    if global.dry_run {
        return Ok(None);
    }
    let home = home(global)?;
    let plan = plan(global, &stages, &home)?;
    let batch_size = stages.train.batch_size as u64;
    let mut screen = Screen::new(std::io::stderr().is_terminal(), Box::new(std::io::stderr()));
    let model = &stages.serve.model_name;
    let client = run::client_config(&plan.url(), model, stages.serve.context_tokens);
    let client = serde_json::to_string_pretty(&client).unwrap_or_default();
    screen.say(&format!(
        "OpenClaw client configuration (~/.openclaw/openclaw.json), ready to paste:\n{}\nAny \
         other OpenAI client: base URL {}/v1, any API key, model `{model}`.\nhome {}",
        client,
        plan.url(),
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
    let run = resolve(global, "run", &args.own, RunConfig::validate)?;
    let mut flags = given(&args.serve);
    flags.extend(given(&args.doors));
    flags.extend(given(&args.model));
    let serve = resolve(global, "serve", &flags, ServeConfig::validate)?;
    let address = match global.dry_run {
        true => SocketAddr::new(serve.config.host, serve.config.port),
        false => free_address(&serve.config)?,
    };
    let told = tell(args, flags, &serve.config, address);
    let [_, collect, score, hint, train, deploy] = &told;
    let collect = resolve(global, "collect", &collect.flags, CollectConfig::validate)?;
    let score = resolve(global, "score", &score.flags, ScoreConfig::validate)?;
    let hint = resolve(global, "hint", &hint.flags, HintConfig::validate)?;
    let train = resolve(global, "train", &train.flags, TrainConfig::validate)?;
    let deploy = resolve(global, "deploy", &deploy.flags, DeployConfig::validate)?;
    run.is_dry_run(global);
    serve.is_dry_run(global);
    collect.is_dry_run(global);
    score.is_dry_run(global);
    hint.is_dry_run(global);
    train.is_dry_run(global);
    deploy.is_dry_run(global);
    let (run, serve, train) = (run.config, serve.config, train.config);
    Ok(Stages { run, serve, train, address, told: told.into() })
}

/// The flags of each child: those that were given for it, and how it reaches the server.
fn tell(
    args: &RunArgs,
    mut flags: Map<String, Value>,
    serve: &ServeConfig,
    address: SocketAddr,
) -> [Told; 6] {
    let url = format!("http://{address}");
    flags.insert("port".to_owned(), json!(address.port()));
    let with = |flags: Value, more: Value| {
        let mut flags = given(&flags);
        flags.extend(given(&more));
        flags
    };
    let judge = json!(args.judge);
    let teacher = json!({"teacher": url, "teacher_key_file": serve.api_key_file});
    let admin = match &serve.admin_socket {
        Some(socket) if !serve.admin_over_network() => format!("unix:{}", socket.display()),
        _ => url,
    };
    let deploy = json!({
        "server": [admin],
        "api_key_file": serve.api_key_file,
        "admin_key_file": serve.admin_key_file,
        "device": args.model.device,
    });
    let train = with(json!(args.train), json!(args.model));
    [
        Told { stage: "serve", flags },
        Told { stage: "collect", flags: given(&args.collect) },
        Told { stage: "score", flags: given(&judge) },
        Told { stage: "hint", flags: with(judge, teacher) },
        Told { stage: "train", flags: train },
        Told { stage: "deploy", flags: given(&deploy) },
    ]
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
fn plan(global: &Global, stages: &Stages, home: &Home) -> Result<Plan, Fault> {
    let program = std::env::current_exe().map_err(|error| {
        Fault::failed(format!("the path of this program: {error}"), "start it by its path")
    })?;
    let children = stages.told.iter().map(|told| child(global, home, told)).collect();
    Ok(Plan { program, address: stages.address, children, lock: home.lock("run") })
}

fn child(global: &Global, home: &Home, told: &Told) -> ChildPlan {
    let mut args = vec![OsString::from("--home"), home.root().as_os_str().to_owned()];
    if let Some(config) = &global.config {
        args.extend([OsString::from("--config"), config.as_os_str().to_owned()]);
    }
    args.extend([OsString::from("--log"), OsString::from(&global.log)]);
    if told.stage != "serve" {
        args.push("--follow".into());
    }
    if told.stage == "train" {
        // Serving comes first.
        args.extend(["--nice".into(), "10".into()]);
    }
    for (key, value) in &told.flags {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            args.extend([format!("--{}", key.replace('_', "-")).into(), text.into()]);
        }
    }
    ChildPlan { stage: told.stage, args, log: home.log(told.stage) }
}
