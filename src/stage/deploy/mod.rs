//! The `deploy` stage: which version answers.
//!
//! The newest version of the surviving lineage passes the [`gate`] before any server hears of it,
//! then goes to every server (`fleet`), each of which shows by a checksum what it serves, and only
//! then becomes the registry's live version and a row of `deployments`. Afterwards its turns are
//! watched ([`watch`]). Where the process dies in between, the next start sees from registry and
//! servers what was reached. What somebody decides by hand is in `actions`; [`export`] takes a
//! version elsewhere.

mod actions;
mod deployer;
pub mod error;
mod export;
mod fleet;
pub mod gate;
mod rows;
pub mod servers;
pub mod watch;

use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use actions::{Action, Happened, Line, Listing, list};
pub use error::DeployError;
pub use export::{Exported, export};

use crate::config::{DeployConfig, Home};
use crate::rollout::Version;
use deployer::Deployer;

/// Longest wait between two tries of a deployment that fails, in milliseconds.
const BACK_OFF_MS_MAX: u64 = 30_000;

/// What a run of `deploy` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeploySummary {
    /// The version that is live.
    pub live_version: u64,
    /// The versions that this run put live, in order.
    pub deployed: Vec<u64>,
    /// The versions that the gate refused in this run.
    pub refused: Vec<u64>,
    /// The versions that this run cut off by going back to an older one.
    pub retired: Vec<u64>,
    /// The version that passed the gate and waits to be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// The version that is kept live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<u64>,
    /// The version that this run approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<u64>,
    /// The dead versions whose turns this run gave back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requeued: Vec<u64>,
    /// The servers.
    pub servers: Vec<String>,
}

/// Does one thing and ends.
///
/// # Errors
/// As [`run`]; there is nothing to do it to.
pub async fn act(
    config: &DeployConfig,
    home: &Home,
    action: &Action,
    shutdown: CancellationToken,
) -> Result<DeploySummary, DeployError> {
    let mut deployer = Deployer::open(config, home, shutdown)?;
    deployer.recover().await?;
    deployer.act(action).await?;
    deployer.finish()
}

/// Puts the newest version (or `config.version`) live and ends; with `follow`, stays and does so
/// for each version as it appears.
///
/// # Errors
/// A server does not take the version after `tries` (with `follow`: it is tried again and again);
/// the version that was asked for does not exist, is dead or is refused; store or registry cannot
/// be worked with.
pub async fn run(
    config: &DeployConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<DeploySummary, DeployError> {
    let mut deployer = Deployer::open(config, home, shutdown.clone())?;
    if config.follow {
        deployer.await_base(Duration::from_millis(config.poll_ms)).await?;
        if shutdown.is_cancelled() {
            return Ok(DeploySummary::default());
        }
    }
    deployer.recover().await?;
    match config.version {
        Some(version) => deployer.put(Version(version)).await?,
        None if config.follow => follow(&mut deployer, config.poll_ms, &shutdown).await?,
        None => deployer.newest().await?,
    }
    deployer.finish()
}

async fn follow(
    deployer: &mut Deployer,
    poll_ms: u64,
    shutdown: &CancellationToken,
) -> Result<(), DeployError> {
    let mut back_off_ms = poll_ms;
    while !shutdown.is_cancelled() {
        let wait_ms = match deployer.round().await {
            Ok(()) => {
                back_off_ms = poll_ms;
                poll_ms
            }
            Err(
                error @ (DeployError::Swap { .. }
                | DeployError::Locked { .. }
                | DeployError::Gate { .. }
                | DeployError::Panicked { .. }),
            ) => {
                back_off_ms = (back_off_ms * 2).min(BACK_OFF_MS_MAX);
                deployer.failing(&error, back_off_ms);
                back_off_ms
            }
            Err(DeployError::Stopped { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let wait = Duration::from_millis(wait_ms);
        let _ = tokio::time::timeout(wait, shutdown.cancelled()).await;
    }
    Ok(())
}
