//! `openclaw-rl serve`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::ServeConfig;
use openclaw_rl::{run, stage};
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::{home, resolve};

/// Flags of `serve`.
#[derive(Debug, Args, Serialize)]
pub struct ServeArgs {
    /// Address to listen on; one that is not loopback needs --api-key-file
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one
    #[arg(long)]
    pub port: Option<u16>,
    /// Base model: a Hugging Face directory, or owner/name[@revision] to fetch (HF_TOKEN, HF_HOME,
    /// HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE are heeded) [default: the embedded model]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Serve this version of the home, whichever is live, and keep to it: nothing is recorded, and
    /// other weights are refused
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
    /// Lower the process's priority by this much, 0 to 19, so that others come first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=19))]
    #[serde(skip)]
    pub nice: Option<i32>,
    /// Where the model is computed: auto (a CUDA device if there is one), cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// What it is computed in: auto (bf16 on CUDA, f32 on the CPU), f32 or bf16
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<String>,
    /// Name of the policy in /v1/models
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    /// Longest prompt and reply together [default: the model's own limit]
    #[arg(long, value_name = "TOKENS")]
    pub context_tokens: Option<usize>,
    /// Most tokens of a reply where the request does not say
    #[arg(long, value_name = "TOKENS")]
    pub reply_tokens: Option<usize>,
    /// Sampling temperature where the request does not say [default: the model's, else 0.6]
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Nucleus mass where the request does not say [default: the model's, else 1]
    #[arg(long, value_name = "MASS")]
    pub top_p: Option<f32>,
    /// Most probable tokens kept where the request does not say; 0 keeps all [default: the
    /// model's, else 0]
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,
    /// Least probability beside the most probable token's where the request does not say
    /// [default: the model's, else 0]
    #[arg(long, value_name = "SHARE")]
    pub min_p: Option<f32>,
    /// Repetition penalty where the request does not say; no turn drawn with one is trained on
    /// [default: 1 while turns are recorded, else the model's]
    #[arg(long, value_name = "FACTOR")]
    pub repetition_penalty: Option<f32>,
    /// Requests decoded at the same time
    #[arg(long, value_name = "N")]
    pub running_max: Option<usize>,
    /// Requests that may wait for a place; one more is answered 429
    #[arg(long, value_name = "N")]
    pub waiting_max: Option<usize>,
    /// Prompt tokens computed between two decode steps
    #[arg(long, value_name = "TOKENS")]
    pub prefill_chunk: Option<usize>,
    /// Key and value memory: running sequences and the prefix cache together
    #[arg(long, value_name = "TOKENS")]
    pub cache_tokens: Option<usize>,
    /// Whether prompts that begin alike are computed once
    #[arg(long, value_name = "true|false")]
    pub prefix_cache: Option<bool>,
    /// A LoRA adapter beside the base, chosen by its name as the model; may be repeated
    #[arg(long, value_name = "NAME=DIR")]
    pub adapters: Vec<String>,
    /// Whether /good and /bad in a conversation are answered by the server
    #[arg(long, value_name = "true|false")]
    pub chat_commands: Option<bool>,
    /// Keep nothing of this user's: a user's name, key-… as in the tables, or @FILE with one
    /// user's name or API key per line; may be repeated
    #[arg(long, value_name = "WHO")]
    pub do_not_train: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub doors: DoorArgs,
}

/// Who may come in, how much of it at once, and how long it may take.
#[derive(Debug, Args, Serialize)]
pub struct DoorArgs {
    /// Connections that may be open; one more waits to be accepted
    #[arg(long, value_name = "N")]
    pub connections_max: Option<usize>,
    /// Requests that may be in flight; one more is answered 429
    #[arg(long, value_name = "N")]
    pub requests_max: Option<usize>,
    /// Largest request body
    #[arg(long, value_name = "BYTES")]
    pub body_bytes_max: Option<usize>,
    /// Most messages of one conversation
    #[arg(long, value_name = "N")]
    pub messages_max: Option<usize>,
    /// Time that a client may take to send a request's headers
    #[arg(long, value_name = "MS")]
    pub header_timeout_ms: Option<u64>,
    /// Time that a client may take to send a request's body
    #[arg(long, value_name = "MS")]
    pub body_timeout_ms: Option<u64>,
    /// Time that a client may take nothing of its answer before it is cut off
    #[arg(long, value_name = "MS")]
    pub reader_timeout_ms: Option<u64>,
    /// Time that a connection without a request stays open
    #[arg(long, value_name = "MS")]
    pub idle_timeout_ms: Option<u64>,
    /// Time after which a stream that has nothing to say shows that it lives
    #[arg(long, value_name = "MS")]
    pub alive_every_ms: Option<u64>,
    /// Time that requests in flight may take to end once the server is to stop
    #[arg(long, value_name = "MS")]
    pub drain_ms: Option<u64>,
    /// File that holds the API key that clients must send
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// File that holds the key of the admin routes; without it they are not there beyond loopback
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// Unix socket that takes every request, admin routes included, without a key
    #[arg(long, value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
}

/// Serves until a signal, and prints what was served.
pub fn cmd_serve(global: &Global, args: &ServeArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "serve", args, ServeConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let home = home(global)?;
    edge::give_way(args.nice);
    let mut config = resolved.config;
    let alone = config.version.is_none();
    // Who keeps to a version writes nothing, and may stand beside the server of the home.
    let _lock = alone.then(|| edge::lock(&home, "serve")).transpose()?;
    config.hub = crate::hub::from_environment();
    let url = format!("http://{}", SocketAddr::new(config.host, config.port));
    let client = run::client_config(&url, &config.model_name, config.context_tokens);
    let sources = alone.then(|| crate::store::sources(&home, client)).transpose()?;
    let parts = stage::serve::Parts::decoder(&config, sources.unwrap_or_default())?;
    let summary = edge::block_on(global, async |stop| {
        let (ready, _) = tokio::sync::oneshot::channel();
        stage::serve::run(&config, &home, parts, stop, ready).await
    })?;
    edge::summary(&summary)
}
