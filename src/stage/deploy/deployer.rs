//! One deployment after the other, under a lock that a second process respects.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::DeploySummary;
use super::error::DeployError;
use super::gate;
use super::servers::{Server, ServerError, servers};
use crate::config::{DeployConfig, Home};
use crate::events::deploy::{
    DeploymentPutOff, DeploymentRecovered, ServerCaughtUp, SwapFailed, SwapUndone, VersionLive,
    VersionRefused, VersionRolledBack,
};
use crate::events::heartbeat::Pulse;
use crate::events::{emit, now_us};
use crate::fault::Explain;
use crate::rollout::{Deployment, DeploymentEvent, Version};
use crate::store::{Store, Writer};
use crate::weights::Registry;

/// How long to wait for a deployment of another process.
const LOCK_WAIT: Duration = Duration::from_secs(120);
const LOCK_POLL: Duration = Duration::from_millis(50);
/// First wait between two tries on one server; doubles up to the other.
const RETRY_MS: u64 = 200;
const RETRY_MS_MAX: u64 = 5_000;
/// How often servers are asked whether they still serve the live version.
const ASK_EVERY: Duration = Duration::from_secs(5);
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Deploys to the servers of one home.
pub struct Deployer {
    registry: Registry,
    store: Store,
    servers: Vec<Server>,
    tries: usize,
    writer: Option<Writer<Deployment>>,
    summary: DeploySummary,
    deployments: u64,
    pulse: Pulse,
    beaten: Option<Instant>,
    asked: Option<Instant>,
    lock: PathBuf,
    shutdown: CancellationToken,
}

impl Deployer {
    /// A deployer that has looked at nothing yet.
    pub fn open(
        config: &DeployConfig,
        home: &Home,
        shutdown: CancellationToken,
    ) -> Result<Self, DeployError> {
        let servers = servers(config)?;
        let urls = servers.iter().map(|server| server.name().to_owned()).collect();
        Ok(Self {
            registry: Registry::open(home)?,
            store: Store::open(home)?,
            tries: config.tries,
            servers,
            writer: None,
            summary: DeploySummary { servers: urls, ..DeploySummary::default() },
            deployments: 0,
            pulse: Pulse::new(home.state("deploy"), "deploy"),
            beaten: None,
            asked: None,
            lock: home.lock("deploy"),
            shutdown,
        })
    }

    /// Waits until the home has a base model: whoever loads it first publishes it.
    pub async fn await_base(&self, poll: Duration) -> Result<(), DeployError> {
        while self.registry.versions()?.is_empty() && !self.shutdown.is_cancelled() {
            let _ = tokio::time::timeout(poll, self.shutdown.cancelled()).await;
        }
        Ok(())
    }

    /// Writes the rows that a process which died could not write.
    pub async fn recover(&mut self) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        let rows = self.store.tail::<Deployment>().poll().rows;
        let gone_live = |row: &&Deployment| row.event != DeploymentEvent::Refused;
        self.deployments = rows.iter().filter(gone_live).count() as u64;
        let state = self.registry.state()?;
        let retired: BTreeSet<Version> = rows.iter().flat_map(|row| row.retired.clone()).collect();
        let missing: Vec<Version> = state.dead.difference(&retired).copied().collect();
        let last = rows.iter().filter(gone_live).max_by_key(|row| row.deployed_at_us);
        let last = last.map_or(Version::BASE, |row| row.version);
        if let Some(newest) = missing.last().copied() {
            let (event, version) = if last > state.live {
                (DeploymentEvent::RolledBack, state.live)
            } else {
                (DeploymentEvent::Refused, newest)
            };
            self.record(event, version, Some(last), missing, RECOVERED.to_owned())?;
            emit(DeploymentRecovered { version: version.0 });
        } else if last != state.live {
            let event = DeploymentEvent::Live;
            self.record(event, state.live, Some(last), Vec::new(), RECOVERED.to_owned())?;
            emit(DeploymentRecovered { version: state.live.0 });
        }
        Ok(())
    }

    /// One look around with `follow`: the newest version goes live, and a server that was restarted
    /// gets the live version again.
    pub async fn round(&mut self) -> Result<(), DeployError> {
        if self.registry.head()? > self.registry.state()?.live {
            self.newest().await?;
        }
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            let _lock = self.lock().await?;
            self.catch_up().await?;
        }
        self.beat("waiting")
    }

    /// Puts the newest version live that the gate lets through.
    pub async fn newest(&mut self) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        loop {
            let (live, head) = (self.registry.state()?.live, self.registry.head()?);
            if head <= live {
                return self.catch_up_strictly(live).await;
            }
            match self.go_live(head, live).await {
                Err(DeployError::Refused { .. }) => {}
                other => return other,
            }
        }
    }

    /// Puts `version` live: a newer one through the gate, an older one as a rollback.
    pub async fn put(&mut self, version: Version) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        let versions = self.registry.versions()?;
        if !versions.contains(&version) {
            let there: Vec<String> = versions.iter().map(Version::to_string).collect();
            return Err(DeployError::NoSuchVersion { version, there: there.join(", ") });
        }
        if self.is_dead(version)? {
            return Err(DeployError::Dead { version });
        }
        let live = self.registry.state()?.live;
        match version.cmp(&live) {
            std::cmp::Ordering::Equal => self.catch_up_strictly(live).await,
            std::cmp::Ordering::Greater => self.go_live(version, live).await,
            std::cmp::Ordering::Less => self.roll_back(version, live).await,
        }
    }

    /// Whether a version, or one that it was built on, was refused or rolled back.
    fn is_dead(&self, version: Version) -> Result<bool, DeployError> {
        let dead = self.registry.state()?.dead;
        let lineage = self.registry.lineage(version)?;
        Ok(lineage.iter().any(|version| dead.contains(version)))
    }

    async fn go_live(&mut self, version: Version, live: Version) -> Result<(), DeployError> {
        let figures = match self.gate(version).await? {
            Ok(figures) => figures,
            Err(reason) => return Err(self.refuse(version, live, reason)?),
        };
        self.push(version, live).await?;
        self.registry.set_live(version)?;
        self.record(DeploymentEvent::Live, version, Some(live), Vec::new(), figures)?;
        self.summary.deployed.push(version.0);
        self.deployments += 1;
        let servers = self.servers.len();
        emit(VersionLive { version: version.0, previous: live.0, servers });
        self.beat_now("working")
    }

    async fn roll_back(&mut self, version: Version, live: Version) -> Result<(), DeployError> {
        let figures = match self.gate(version).await? {
            Ok(figures) => figures,
            Err(reason) => return Err(DeployError::Refused { version, reason }),
        };
        self.push(version, live).await?;
        let retired = self.registry.roll_back(version)?;
        self.record(DeploymentEvent::RolledBack, version, Some(live), retired.clone(), figures)?;
        emit(VersionRolledBack { version: version.0, retired: retired.len() });
        self.summary.deployed.push(version.0);
        self.summary.retired.extend(retired.iter().map(|version| version.0));
        self.deployments += 1;
        self.beat_now("working")
    }

    /// Makes a version a dead branch, and returns the error that says so.
    fn refuse(
        &mut self,
        version: Version,
        live: Version,
        reason: String,
    ) -> Result<DeployError, DeployError> {
        let retired = self.registry.refuse(version)?;
        let gate = serde_json::json!({ "refused": reason }).to_string();
        self.record(DeploymentEvent::Refused, version, Some(live), retired, gate)?;
        self.summary.refused.push(version.0);
        emit(VersionRefused { version: version.0, reason: reason.clone() });
        Ok(DeployError::Refused { version, reason })
    }

    /// The gate's figures as JSON, or why the version must not go live.
    async fn gate(&self, version: Version) -> Result<Result<String, String>, DeployError> {
        let registry = self.registry.clone();
        let look = move || gate::inspect(&registry, version);
        let looked = tokio::task::spawn_blocking(look)
            .await
            .map_err(|error| DeployError::Panicked { reason: error.to_string() })?;
        Ok(looked.map(|figures| serde_json::json!(figures).to_string()))
    }

    /// Puts `version` on every server. If one does not take it, those that did get `live` back.
    async fn push(&mut self, version: Version, live: Version) -> Result<(), DeployError> {
        let dir = self.absolute(version);
        for (index, server) in self.servers.iter().enumerate() {
            let Err(error) = self.try_update(server, &dir, version).await else { continue };
            // what was reached before the process ended is taken up by the next start
            let Some(source) = error else { return Err(DeployError::Stopped { version }) };
            for server in &self.servers[..index] {
                self.undo(server, live).await;
            }
            return Err(DeployError::Swap { version, live, source });
        }
        Ok(())
    }

    /// Tries until the server has the version; `Err(None)` if the process is to end.
    async fn try_update(
        &self,
        server: &Server,
        dir: &std::path::Path,
        version: Version,
    ) -> Result<(), Option<ServerError>> {
        let mut wait_ms = RETRY_MS;
        for attempt in 1.. {
            let done = tokio::select! {
                () = self.shutdown.cancelled() => return Err(None),
                done = update(server, dir, version) => done,
            };
            let Err(error) = done else { return Ok(()) };
            let again = attempt < self.tries && error.is_passing();
            let text = gate::chain(&error);
            let again_in_ms = again.then_some(wait_ms);
            emit(SwapFailed { version: version.0, error: text, again_in_ms });
            if !again {
                return Err(Some(error));
            }
            let wait = Duration::from_millis(wait_ms);
            if tokio::time::timeout(wait, self.shutdown.cancelled()).await.is_ok() {
                return Err(None);
            }
            wait_ms = (wait_ms * 2).min(RETRY_MS_MAX);
        }
        Ok(())
    }

    /// Gives a server the live version back, as well as can be.
    async fn undo(&self, server: &Server, live: Version) {
        match server.update(&self.absolute(live), live).await {
            Ok(()) => emit(SwapUndone { server: server.name().to_owned(), version: live.0 }),
            Err(error) => {
                let error = gate::chain(&error);
                emit(SwapFailed { version: live.0, error, again_in_ms: None });
            }
        }
    }

    /// Gives the live version to each server that answers and serves another one.
    async fn catch_up(&self) -> Result<(), DeployError> {
        let live = self.registry.state()?.live;
        for server in &self.servers {
            let Ok(had) = server.version().await else { continue };
            if had == live.to_string() {
                continue;
            }
            match server.update(&self.absolute(live), live).await {
                Ok(()) => {
                    emit(ServerCaughtUp { server: server.name().to_owned(), had, version: live.0 })
                }
                Err(error) => {
                    let error = gate::chain(&error);
                    emit(SwapFailed { version: live.0, error, again_in_ms: None });
                }
            }
        }
        Ok(())
    }

    /// Makes sure that every server serves the live version.
    async fn catch_up_strictly(&mut self, live: Version) -> Result<(), DeployError> {
        self.push(live, live).await?;
        self.beat_now("working")
    }

    /// The version's directory, as a server with another working directory needs it.
    fn absolute(&self, version: Version) -> PathBuf {
        let dir = self.registry.dir(version);
        std::path::absolute(&dir).unwrap_or(dir)
    }

    fn record(
        &mut self,
        event: DeploymentEvent,
        version: Version,
        previous: Option<Version>,
        retired: Vec<Version>,
        gate: String,
    ) -> Result<(), DeployError> {
        let took = event != DeploymentEvent::Refused;
        let row = Deployment {
            event,
            version,
            previous,
            retired,
            servers: if took { self.summary.servers.clone() } else { Vec::new() },
            gate,
            deployed_at_us: now_us(),
        };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.store.writer("deploy")?),
        };
        writer.append(&[row])?;
        Ok(())
    }

    async fn lock(&self) -> Result<File, DeployError> {
        let path = self.lock.clone();
        let fail = |source| DeployError::Io { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                    tokio::time::sleep(LOCK_POLL).await;
                }
                Err(TryLockError::WouldBlock) => return Err(DeployError::Locked { path }),
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }

    /// Shows in the heartbeat, and in the log, that a deployment fails and when it is tried again.
    pub fn failing(&mut self, error: &DeployError, again_in_ms: u64) {
        let _ = self.beat_now(&format!("failing: {}", error.label()));
        emit(DeploymentPutOff { error: error.to_string(), again_in_ms });
    }

    fn beat(&mut self, doing: &str) -> Result<(), DeployError> {
        if self.beaten.is_none_or(|at| at.elapsed() >= BEAT_EVERY) {
            self.beat_now(doing)?;
        }
        Ok(())
    }

    fn beat_now(&mut self, doing: &str) -> Result<(), DeployError> {
        let (live, head) = (self.registry.state()?.live, self.registry.head()?);
        let figures = [
            ("live_version", live.0 as f64),
            ("head_version", head.0 as f64),
            ("lag_versions", head.0.saturating_sub(live.0) as f64),
            ("deployments", self.deployments as f64),
            ("servers", self.servers.len() as f64),
        ];
        self.pulse.beat(doing, &figures);
        self.beaten = Some(Instant::now());
        Ok(())
    }

    /// Says good-bye in the heartbeat, and what was done.
    pub fn finish(mut self) -> Result<DeploySummary, DeployError> {
        self.beat_now("done")?;
        self.summary.live_version = self.registry.state()?.live.0;
        Ok(self.summary)
    }
}

/// What stands in the `gate` column of a row that was written after the fact.
const RECOVERED: &str = r#"{"recovered":true}"#;

/// Puts a version on a server that does not serve it already.
async fn update(
    server: &Server,
    dir: &std::path::Path,
    version: Version,
) -> Result<(), ServerError> {
    if server.version().await.is_ok_and(|has| has == version.to_string()) {
        return Ok(());
    }
    server.update(dir, version).await
}
