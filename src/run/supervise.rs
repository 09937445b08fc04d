//! The life of the loop: one lock, the servers first, the others once they answer, then tending
//! until the end, and leaving in order.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::child::Stage;
use super::{Figures, Plan, Screen};
use crate::config::RunConfig;
use crate::fault::Explain;

/// How often children are tended and figures are read.
const TEND: Duration = Duration::from_millis(250);
/// How long a server may take to load its model.
const SERVER_START: Duration = Duration::from_secs(600);

/// What `run` did, for its last line.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// How the loop stood at the end.
    #[serde(flatten)]
    pub figures: serde_json::Value,
    /// Why it ended: `steps` or `signal`.
    pub ended_by: &'static str,
}

/// Why the loop could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another supervisor works on this home.
    #[error("another `run` works on this home (lock {})", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The lock cannot be made.
    #[error("lock {} not made", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A child cannot be started.
    #[error("{child}: could not {action} {}", path.display())]
    Child {
        /// What the child is called.
        child: &'static str,
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A child ended too often, or for a reason that a restart does not mend.
    #[error("{child} ended ({status}); the end of {}:\n{tail}", log.display())]
    GaveUp {
        /// What the child is called.
        child: &'static str,
        /// How it ended the last time.
        status: String,
        /// 2 where its command or input was wrong.
        exit_code: u8,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A server did not answer in time.
    #[error("{child} at {address} did not answer within {seconds} s")]
    NoServer {
        /// What the child is called.
        child: &'static str,
        /// Its address.
        address: SocketAddr,
        /// The time it had.
        seconds: u64,
    },
}

impl Explain for RunError {
    fn label(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "run_locked",
            Self::Lock { .. } => "run_lock",
            Self::Child { .. } => "run_child",
            Self::GaveUp { .. } => "run_gave_up",
            Self::NoServer { .. } => "run_no_server",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Locked { .. } => "stop the other one, or use another --home".to_owned(),
            Self::Lock { .. } | Self::Child { .. } => {
                "the home must be a directory that can be written to".to_owned()
            }
            Self::GaveUp { child, .. } => {
                format!("nothing is lost: mend the cause and start again; see the log of {child}")
            }
            Self::NoServer { child, .. } => format!("see logs/{child}.log in the home"),
        })
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Locked { .. } | Self::Lock { .. } => 2,
            Self::GaveUp { exit_code, .. } => *exit_code,
            _ => 1,
        }
    }
}

/// Runs the loop until a signal or until enough steps went live.
///
/// `read` says how the loop stands; it is called a few times a second.
///
/// # Errors
/// The home is in use, a child cannot be started or keeps failing.
pub async fn run(
    config: &RunConfig,
    plan: &Plan,
    mut read: impl FnMut() -> Figures,
    screen: &mut Screen,
    shutdown: CancellationToken,
) -> Result<RunSummary, RunError> {
    let _lock = lock(&plan.lock)?;
    let mut stages = Vec::new();
    let outcome = tokio::select! {
        outcome = live(config, plan, &mut stages, &mut read, screen) => outcome,
        () = shutdown.cancelled() => Ok("signal"),
    };
    leave(&mut stages, Duration::from_secs(config.drain_s)).await;
    screen.end();
    Ok(RunSummary { figures: read().all, ended_by: outcome? })
}

/// Starts everything and tends it until enough steps are live.
async fn live(
    config: &RunConfig,
    plan: &Plan,
    stages: &mut Vec<Stage>,
    read: &mut impl FnMut() -> Figures,
    screen: &mut Screen,
) -> Result<&'static str, RunError> {
    for child in &plan.children {
        stages.push(Stage::start(plan, child, config)?);
        if let Some(address) = child.address {
            wait_for(address, stages, plan, config).await?;
            screen.answers(child.name, address);
        }
    }
    let mut first: Option<u64> = None;
    loop {
        for stage in stages.iter_mut() {
            stage.tend(plan, config)?;
        }
        let figures = read();
        screen.show(&figures, stages.iter().map(|stage| (stage.name(), stage.deaths())));
        let begun = *first.get_or_insert(figures.deployed);
        if config.exit_after_steps.is_some_and(|steps| figures.deployed >= begun + steps) {
            return Ok("steps");
        }
        tokio::time::sleep(TEND).await;
    }
}

/// Waits until the server that was started last answers, or says why it does not. The others are
/// tended meanwhile.
async fn wait_for(
    address: SocketAddr,
    stages: &mut [Stage],
    plan: &Plan,
    config: &RunConfig,
) -> Result<(), RunError> {
    let Some((server, before)) = stages.split_last_mut() else { return Ok(()) };
    let deadline = tokio::time::Instant::now() + SERVER_START;
    while tokio::time::Instant::now() < deadline {
        if let Some(status) = server.ended() {
            return Err(server.gave_up(status));
        }
        if is_healthy(address).await {
            return Ok(());
        }
        for stage in before.iter_mut() {
            stage.tend(plan, config)?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (child, seconds) = (server.name(), SERVER_START.as_secs());
    Err(RunError::NoServer { child, address, seconds })
}

/// Whether our own server answers `/health`.
async fn is_healthy(address: SocketAddr) -> bool {
    let request = reqwest::Client::new()
        .get(format!("http://{address}/health"))
        .timeout(Duration::from_secs(2))
        .send();
    request.await.is_ok_and(|response| response.status().is_success())
}

/// The servers leave last, so that what the others still ask of them is answered.
async fn leave(stages: &mut [Stage], drain: Duration) {
    let deadline = tokio::time::Instant::now() + drain;
    let (servers, others): (Vec<_>, Vec<_>) = stages.iter_mut().partition(|s| s.answers());
    for group in [others, servers] {
        for stage in group {
            stage.ask_to_leave();
            stage.leave(deadline).await;
        }
    }
}

fn lock(path: &Path) -> Result<File, RunError> {
    let failed = |source| RunError::Lock { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let file = File::options().create(true).append(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(RunError::Locked { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
