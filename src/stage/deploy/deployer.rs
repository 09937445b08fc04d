//! One deployment after the other, under a lock that a second process respects.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::DeploySummary;
use super::error::DeployError;
use super::fleet::{Fleet, Shown};
use super::gate::{Gate, Pair, Verdict};
use super::rows::Rows;
use super::servers::Target;
use super::watch::Watch;
use crate::config::{DeployConfig, Home};
use crate::events::deploy::{
    DeploymentPutOff, DeploymentRecovered, VersionLive, VersionRefused, VersionRegressed,
    VersionRolledBack, VersionWaits,
};
use crate::events::heartbeat::Pulse;
use crate::events::{emit, now_us};
use crate::fault::Explain;
use crate::rollout::{Deployment, DeploymentEvent, Version};
use crate::store::{Store, Writer};
use crate::weights::{Registry, RegistryState};

/// How long to wait for a deployment of another process.
const LOCK_WAIT: Duration = Duration::from_secs(120);
const LOCK_POLL: Duration = Duration::from_millis(50);
/// How often servers are asked whether they still serve the live version.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Versions whose steps are read of their manifests: of older ones the tables know.
const STEPS_READ: usize = 16;
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Deploys to the servers of one home.
pub struct Deployer {
    pub(super) config: DeployConfig,
    pub(super) registry: Registry,
    pub(super) store: Store,
    pub(super) fleet: Fleet,
    gate: Gate,
    rows: Rows,
    /// What the gate said of a version that is not live yet.
    examined: Option<(Pair, Verdict)>,
    watch: Option<Watch>,
    /// The last version for which it was found out whether it can be watched.
    watched: Option<Version>,
    writer: Option<Writer<Deployment>>,
    pub(super) summary: DeploySummary,
    deployments: u64,
    pulse: Pulse,
    beaten: Option<Instant>,
    asked: Option<Instant>,
    looked: Option<Instant>,
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
        let fleet = Fleet::open(config, shutdown.clone())?;
        let (registry, store) = (Registry::open(home)?, Store::open(home)?);
        Ok(Self {
            gate: Gate::open(config, &registry)?,
            rows: Rows::new(&store),
            registry,
            store,
            examined: None,
            watch: None,
            watched: None,
            config: config.clone(),
            writer: None,
            summary: DeploySummary { servers: fleet.names(), ..DeploySummary::default() },
            fleet,
            deployments: 0,
            pulse: Pulse::new(home.state("deploy"), "deploy"),
            beaten: None,
            asked: None,
            looked: None,
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
        let moved = |row: &&Deployment| {
            use DeploymentEvent::{Live, Pinned, RolledBack};
            matches!(row.event, Live | RolledBack | Pinned)
        };
        self.deployments = rows.iter().filter(moved).count() as u64;
        let state = self.registry.state()?;
        let retired: BTreeSet<Version> = rows.iter().flat_map(|row| row.retired.clone()).collect();
        let missing: Vec<Version> = state.dead.difference(&retired).copied().collect();
        let last = rows.iter().filter(moved).max_by_key(|row| row.deployed_at_us);
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
            let event = match state.pinned == Some(state.live) {
                true => DeploymentEvent::Pinned,
                false => DeploymentEvent::Live,
            };
            self.record(event, state.live, Some(last), Vec::new(), RECOVERED.to_owned())?;
            emit(DeploymentRecovered { version: state.live.0 });
        }
        Ok(())
    }

    /// One look around with `follow`: the newest version that may goes live, the live one is
    /// watched, and a server that was restarted gets the live version again.
    pub async fn round(&mut self) -> Result<(), DeployError> {
        if self.next()?.is_some() {
            self.newest().await?;
        }
        if self.looked.is_none_or(|at| at.elapsed() >= BEAT_EVERY) {
            self.looked = Some(Instant::now());
            self.rows.read();
            self.watch().await?;
        }
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            let _lock = self.lock().await?;
            let live = self.registry.state()?.live;
            self.fleet.catch_up(&self.target(live)?).await;
        }
        self.beat("waiting")
    }

    /// The version that is to be looked at next, and what is live.
    fn next(&self) -> Result<Option<Pair>, DeployError> {
        let state = self.registry.state()?;
        let live = state.live;
        if state.pinned.is_some() || state.head <= live {
            return Ok(None);
        }
        if !self.config.wait_for_approval {
            return Ok(Some(Pair { candidate: state.head, live }));
        }
        if let Some(candidate) = self.newest_approved(&state)? {
            return Ok(Some(Pair { candidate, live }));
        }
        let pair = Pair { candidate: state.head, live };
        let known = self.examined.as_ref().is_some_and(|(examined, _)| *examined == pair);
        Ok((!known).then_some(pair))
    }

    /// The newest version above the live one, among what the head was built on, that was approved.
    fn newest_approved(&self, state: &RegistryState) -> Result<Option<Version>, DeployError> {
        let lineage = self.registry.lineage(state.head)?;
        let approved = |v: &Version| *v > state.live && state.approved.contains(v);
        Ok(lineage.into_iter().find(approved))
    }

    /// Puts the newest version live that may go live and that the gate lets through.
    pub async fn newest(&mut self) -> Result<(), DeployError> {
        while let Some(pair) = self.next()? {
            let verdict = self.examine(pair).await?;
            let _lock = self.lock().await?;
            // Somebody may have pinned or rolled back meanwhile.
            if self.registry.state()?.live != pair.live || self.is_dead(pair.candidate)? {
                continue;
            }
            let state = self.registry.state()?;
            if verdict.refused.is_some() {
                self.refuse(pair, &verdict)?;
            } else if state.pinned.is_some() {
                continue;
            } else if self.config.wait_for_approval && !state.approved.contains(&pair.candidate) {
                emit(VersionWaits { version: pair.candidate.0 });
                self.summary.waiting = Some(pair.candidate.0);
            } else {
                return self.go_live(pair, verdict).await;
            }
        }
        let _lock = self.lock().await?;
        let live = self.registry.state()?.live;
        self.catch_up_strictly(live).await
    }

    /// Puts `version` live: a newer one through the gate (unless it is forced), an older one as a
    /// rollback.
    pub async fn put(&mut self, version: Version) -> Result<(), DeployError> {
        self.require_alive(version)?;
        let live = self.registry.state()?.live;
        let pair = Pair { candidate: version, live };
        let verdict = match (version > live, self.config.force) {
            (true, false) => self.examine(pair).await?,
            (true, true) => self.forced(version).await?,
            (false, _) => Verdict::default(),
        };
        let _lock = self.lock().await?;
        self.require_alive(version)?;
        let live = self.registry.state()?.live;
        let pair = Pair { candidate: version, live };
        match version.cmp(&live) {
            std::cmp::Ordering::Equal => self.catch_up_strictly(live).await,
            std::cmp::Ordering::Less => self.roll_back(pair, None).await,
            std::cmp::Ordering::Greater if verdict.refused.is_some() => {
                self.refuse(pair, &verdict)?;
                let reason = verdict.refused.unwrap_or_default();
                Err(DeployError::Refused { version, reason })
            }
            std::cmp::Ordering::Greater => self.go_live(pair, verdict).await,
        }
    }

    /// What the gate says of a version that is put live against its advice: only what cannot be
    /// served at all is refused.
    async fn forced(&self, version: Version) -> Result<Verdict, DeployError> {
        let mut verdict = self.gate.inspect(version).await?;
        verdict.figures.insert("forced".to_owned(), true.into());
        Ok(verdict)
    }

    /// What the gate says of a version, asked for once.
    async fn examine(&mut self, pair: Pair) -> Result<Verdict, DeployError> {
        if let Some((examined, verdict)) = &self.examined
            && *examined == pair
        {
            return Ok(verdict.clone());
        }
        self.beat_now("examining")?;
        self.rows.read();
        let made = self.registry.lineage(pair.candidate)?.into_iter().take(STEPS_READ);
        let steps: Vec<_> = made
            .filter_map(|version| self.registry.manifest(version).ok().and_then(|m| m.step))
            .collect();
        self.rows.made_by(&steps);
        let (turns, tokens) = (self.config.gate_turns, self.config.gate_tokens);
        let samples = self.rows.held_out(turns, tokens);
        let (shutdown, version) = (self.shutdown.clone(), pair.candidate);
        let mut gate = self.gate.clone();
        let mut looking = Box::pin(async move {
            let verdict = gate.examine(pair, samples).await;
            (gate, verdict)
        });
        let verdict = loop {
            tokio::select! {
                () = shutdown.cancelled() => return Err(DeployError::Stopped { version }),
                (gate, verdict) = &mut looking => {
                    self.gate = gate;
                    break verdict?;
                }
                () = tokio::time::sleep(BEAT_EVERY) => self.beat_now("examining")?,
            }
        };
        self.examined = Some((pair, verdict.clone()));
        Ok(verdict)
    }

    pub(super) fn require_alive(&self, version: Version) -> Result<(), DeployError> {
        let versions = self.registry.versions()?;
        if !versions.contains(&version) {
            let there: Vec<String> = versions.iter().map(Version::to_string).collect();
            return Err(DeployError::NoSuchVersion { version, there: there.join(", ") });
        }
        match self.is_dead(version)? {
            true => Err(DeployError::Dead { version }),
            false => Ok(()),
        }
    }

    /// Whether a version, or one that it was built on, was refused or rolled back.
    pub(super) fn is_dead(&self, version: Version) -> Result<bool, DeployError> {
        let dead = self.registry.state()?.dead;
        let lineage = self.registry.lineage(version)?;
        Ok(lineage.iter().any(|version| dead.contains(version)))
    }

    async fn go_live(&mut self, pair: Pair, mut verdict: Verdict) -> Result<(), DeployError> {
        let Pair { candidate: version, live } = pair;
        let shown = self.push(version, live).await?;
        note(&mut verdict, shown);
        self.registry.set_live(version)?;
        self.record(DeploymentEvent::Live, version, Some(live), Vec::new(), verdict.json())?;
        self.examined = None;
        self.summary.deployed.push(version.0);
        self.deployments += 1;
        let servers = self.summary.servers.len();
        emit(VersionLive { version: version.0, previous: live.0, servers });
        self.beat_now("working")
    }

    /// Call it under the lock. `why` are figures for the row.
    pub(super) async fn roll_back(
        &mut self,
        pair: Pair,
        why: Option<serde_json::Value>,
    ) -> Result<(), DeployError> {
        let Pair { candidate: version, live } = pair;
        let mut verdict = self.gate.inspect(version).await?;
        if let Some(reason) = verdict.refused {
            return Err(DeployError::Refused { version, reason });
        }
        if let Some(serde_json::Value::Object(why)) = why {
            verdict.figures.extend(why);
        }
        note(&mut verdict, self.push(version, live).await?);
        let retired = self.registry.roll_back(version)?;
        let gate = verdict.json();
        self.record(DeploymentEvent::RolledBack, version, Some(live), retired.clone(), gate)?;
        emit(VersionRolledBack { version: version.0, retired: retired.len() });
        self.summary.deployed.push(version.0);
        self.summary.retired.extend(retired.iter().map(|version| version.0));
        self.deployments += 1;
        self.beat_now("working")
    }

    /// Makes a version a dead branch.
    fn refuse(&mut self, pair: Pair, verdict: &Verdict) -> Result<(), DeployError> {
        let Pair { candidate: version, live } = pair;
        let reason = verdict.refused.clone().unwrap_or_default();
        let retired = self.registry.refuse(version)?;
        self.record(DeploymentEvent::Refused, version, Some(live), retired, verdict.json())?;
        self.examined = None;
        self.summary.refused.push(version.0);
        emit(VersionRefused { version: version.0, reason });
        Ok(())
    }

    /// Looks whether the live version is worse than the one before it, and takes it back if so.
    async fn watch(&mut self) -> Result<(), DeployError> {
        let state = self.registry.state()?;
        if self.watched != Some(state.live) {
            self.rows.forget();
            self.watched = Some(state.live);
            let lineage = self.registry.lineage(state.live)?;
            self.watch = Watch::over(state.live, &self.rows, &lineage, &state.dead, &self.config);
        }
        // What somebody pinned stays.
        let watch = self.watch.as_mut().filter(|_| state.pinned.is_none());
        let Some(finding) = watch.and_then(|watch| watch.look(&mut self.rows, &self.config)) else {
            return Ok(());
        };
        let _lock = self.lock().await?;
        if self.registry.state()?.live != state.live {
            return Ok(());
        }
        emit(VersionRegressed { version: state.live.0, found: finding.words });
        // The weights of old versions may be gone.
        let older = self.registry.lineage(finding.back_to)?;
        for candidate in older {
            let pair = Pair { candidate, live: state.live };
            match self.roll_back(pair, Some(finding.figures.clone())).await {
                Err(DeployError::Refused { .. }) => {}
                done => return done,
            }
        }
        Ok(())
    }

    /// Makes sure that every server serves the live version.
    async fn catch_up_strictly(&mut self, live: Version) -> Result<(), DeployError> {
        self.push(live, live).await?;
        self.beat_now("working")
    }

    pub(super) async fn push(&self, version: Version, live: Version) -> Result<Shown, DeployError> {
        self.fleet.push(&self.target(version)?, &self.target(live)?).await
    }

    /// A version as a server with another working directory needs it.
    fn target(&self, version: Version) -> Result<Target, DeployError> {
        let dir = self.registry.dir(version);
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        Ok(Target { version, dir, sha256: self.registry.weights_sha256(version)? })
    }

    pub(super) fn record(
        &mut self,
        event: DeploymentEvent,
        version: Version,
        previous: Option<Version>,
        retired: Vec<Version>,
        gate: String,
    ) -> Result<(), DeployError> {
        use DeploymentEvent::{Live, Pinned, RolledBack};
        let took = matches!(event, Live | RolledBack | Pinned);
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

    pub(super) async fn lock(&self) -> Result<File, DeployError> {
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

    pub(super) fn beat_now(&mut self, doing: &str) -> Result<(), DeployError> {
        let state = self.registry.state()?;
        let (live, head) = (state.live, state.head);
        let figures = [
            ("live_version", live.0 as f64),
            ("head_version", head.0 as f64),
            ("lag_versions", head.0.saturating_sub(live.0) as f64),
            ("deployments", self.deployments as f64),
            ("servers", self.summary.servers.len() as f64),
            ("pinned", f64::from(u8::from(state.pinned.is_some()))),
        ];
        self.pulse.beat(doing, &figures);
        self.beaten = Some(Instant::now());
        Ok(())
    }

    /// Says good-bye in the heartbeat, and what was done.
    pub fn finish(mut self) -> Result<DeploySummary, DeployError> {
        self.beat_now("done")?;
        let state = self.registry.state()?;
        self.summary.live_version = state.live.0;
        self.summary.pinned = state.pinned.map(|version| version.0);
        Ok(self.summary)
    }
}

/// What stands in the `gate` column of a row that was written after the fact.
const RECOVERED: &str = r#"{"recovered":true}"#;

fn note(verdict: &mut Verdict, shown: Shown) {
    verdict.figures.insert("served".to_owned(), serde_json::json!(shown));
}
