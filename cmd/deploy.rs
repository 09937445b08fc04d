//! `openclaw-rl deploy`

use std::path::PathBuf;

use clap::Args;
use openclaw_rl::config::DeployConfig;
use openclaw_rl::stage;
use serde::Serialize;
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::{home, resolve};

/// Flags of `deploy`.
#[derive(Debug, Args, Serialize)]
pub struct DeployArgs {
    /// Stay and follow the store
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Milliseconds between two looks at the store
    #[arg(long, value_name = "MS")]
    pub poll_ms: Option<u64>,
    /// Address of a server that takes the weights, or unix:PATH for its admin socket; may be
    /// repeated
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,
    /// The version to put live; an older one is a rollback [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub version: Option<u64>,
    /// Tries per server before a deployment is given up
    #[arg(long, value_name = "N")]
    pub tries: Option<usize>,
    /// Seconds that one try may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
    /// File that holds the server's API key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// File that holds the key of the server's admin routes [default: the API key]
    #[arg(long, value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
}

/// Puts a version live, and prints which.
pub fn cmd_deploy(global: &Global, args: &DeployArgs) -> Result<Option<Value>, Fault> {
    let resolved = resolve(global, "deploy", args, DeployConfig::validate)?;
    if resolved.is_dry_run(global) {
        return Ok(None);
    }
    let home = home(global)?;
    let config = resolved.config;
    let summary =
        edge::block_on(global, async |stop| stage::deploy::run(&config, &home, stop).await)?;
    edge::summary(&summary)
}
