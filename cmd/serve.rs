//! `openclaw-rl serve`

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::ServeConfig;
use openclaw_rl::stage;
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
    /// Hugging Face directory of the base model [default: the embedded model]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Name of the policy in /v1/models
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    /// Longest prompt and reply together [default: the model's own limit]
    #[arg(long, value_name = "TOKENS")]
    pub context_tokens: Option<usize>,
    /// Most tokens of a reply where the request does not say
    #[arg(long, value_name = "TOKENS")]
    pub reply_tokens: Option<usize>,
    /// Sampling temperature where the request does not say
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Nucleus mass where the request does not say
    #[arg(long, value_name = "MASS")]
    pub top_p: Option<f32>,
    /// Most probable tokens kept where the request does not say; 0 keeps all
    #[arg(long, value_name = "K")]
    pub top_k: Option<u32>,
    /// Requests decoded at the same time
    #[arg(long, value_name = "N")]
    pub running_max: Option<usize>,
    /// Requests that may wait for a place; one more is answered 429
    #[arg(long, value_name = "N")]
    pub waiting_max: Option<usize>,
    /// Prompt tokens computed between two decode steps
    #[arg(long, value_name = "TOKENS")]
    pub prefill_chunk: Option<usize>,
    /// Largest request body
    #[arg(long, value_name = "BYTES")]
    pub body_bytes_max: Option<usize>,
    /// File that holds the API key that clients must send
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

/// Serves until a signal, and prints what was served.
pub fn cmd_serve(global: &Global, args: &ServeArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "serve", args, ServeConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let home = home(global)?;
    let config = resolved.config;
    let parts = stage::serve::Parts::decoder(crate::store::status_source(&home)?);
    let summary = edge::block_on(global, async |stop| {
        let (ready, _) = tokio::sync::oneshot::channel();
        stage::serve::run(&config, &home, parts, stop, ready).await
    })?;
    edge::summary(&summary)
}
