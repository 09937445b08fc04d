//! What somebody decides about versions: pin, approve, put back, give turns back, look.

use serde::Serialize;
use serde_json::Value;

use super::deployer::Deployer;
use super::error::DeployError;
use super::gate::Pair;
use crate::config::Home;
use crate::events::deploy::DeploymentChanged;
use crate::events::emit;
use crate::rollout::{Deployment, DeploymentEvent, Version};
use crate::store::Store;
use crate::weights::Registry;

/// Something to be done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Puts an older version back: the one that was live before, if none is named. What is newer
    /// becomes a dead branch, and its turns are quarantined.
    RollBack(Option<u64>),
    /// Puts a version live and keeps it so; what is newer stays alive.
    Pin(u64),
    /// Lets newer versions go live again.
    Unpin,
    /// Lets a version go live where versions wait for that; the head, if none is named.
    Approve(Option<u64>),
    /// Gives back the turns of dead versions: of all, if none is named.
    Requeue(Vec<u64>),
}

impl Deployer {
    /// Carries out an action.
    pub(super) async fn act(&mut self, action: &Action) -> Result<(), DeployError> {
        match action {
            Action::RollBack(to) => self.roll_back_to(to.map(Version)).await,
            Action::Pin(version) => self.pin(Version(*version)).await,
            Action::Unpin => self.unpin().await,
            Action::Approve(version) => self.approve(version.map(Version)).await,
            Action::Requeue(versions) => self.requeue(versions).await,
        }
    }

    async fn roll_back_to(&mut self, to: Option<Version>) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        let live = self.registry.state()?.live;
        let to = match to {
            Some(to) => to,
            None => self.before(live)?,
        };
        self.require_alive(to)?;
        if to >= live {
            return Err(DeployError::NotOlder { version: to, live });
        }
        self.roll_back(Pair { candidate: to, live }, None).await
    }

    /// The version that was live before this one, as far as it can be put back.
    fn before(&self, live: Version) -> Result<Version, DeployError> {
        let lineage = self.registry.lineage(live)?;
        let mut rows = self.store.tail::<Deployment>().poll().rows;
        rows.sort_by_key(|row| row.deployed_at_us);
        let went_live = |row: &&Deployment| row.event == DeploymentEvent::Live;
        let row = rows.iter().filter(went_live).rfind(|row| row.version == live);
        let previous = row.and_then(|row| row.previous).filter(|v| lineage[1..].contains(v));
        let before = previous.or_else(|| lineage.get(1).copied());
        before.ok_or(DeployError::NotOlder { version: live, live })
    }

    async fn pin(&mut self, version: Version) -> Result<(), DeployError> {
        self.require_alive(version)?;
        let live = self.registry.state()?.live;
        if version > live {
            // Through the gate, like any other.
            self.put(version).await?;
        }
        let _lock = self.lock().await?;
        let live = self.registry.state()?.live;
        let shown = self.push(version, live).await?;
        self.registry.pin(version)?;
        let gate = serde_json::json!({ "served": shown }).to_string();
        self.record(DeploymentEvent::Pinned, version, Some(live), Vec::new(), gate)?;
        self.changed("pinned", vec![version.0])
    }

    async fn unpin(&mut self) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        if let Some(version) = self.registry.unpin()? {
            self.record(DeploymentEvent::Unpinned, version, None, Vec::new(), NOTHING.to_owned())?;
            self.changed("unpinned", vec![version.0])?;
        }
        Ok(())
    }

    async fn approve(&mut self, version: Option<Version>) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        let state = self.registry.state()?;
        let version = version.unwrap_or(state.head);
        self.require_alive(version)?;
        if !state.approved.contains(&version) {
            self.registry.approve(version)?;
            self.record(DeploymentEvent::Approved, version, None, Vec::new(), NOTHING.to_owned())?;
        }
        self.summary.approved = Some(version.0);
        self.changed("approved", vec![version.0])
    }

    async fn requeue(&mut self, versions: &[u64]) -> Result<(), DeployError> {
        let _lock = self.lock().await?;
        let state = self.registry.state()?;
        let mut back: Vec<Version> = versions.iter().copied().map(Version).collect();
        if let Some(version) = back.iter().find(|version| !state.dead.contains(version)) {
            let dead: Vec<String> = state.dead.iter().map(Version::to_string).collect();
            let dead = if dead.is_empty() { "none".to_owned() } else { dead.join(", ") };
            return Err(DeployError::NotDead { version: *version, dead });
        }
        if back.is_empty() {
            back = state.dead.iter().copied().collect();
        }
        let event = DeploymentEvent::Requeued;
        self.record(event, state.live, None, back.clone(), NOTHING.to_owned())?;
        self.summary.requeued = back.iter().map(|version| version.0).collect();
        self.changed("requeued", self.summary.requeued.clone())
    }

    fn changed(&mut self, what: &'static str, versions: Vec<u64>) -> Result<(), DeployError> {
        emit(DeploymentChanged { what, versions });
        self.beat_now("working")
    }
}

/// What stands in the `gate` column where the gate was not asked.
const NOTHING: &str = "{}";

/// What `--list` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// The version that the servers should have.
    pub live_version: u64,
    /// The version that the next one is built on.
    pub head_version: u64,
    /// The version that is kept live.
    pub pinned: Option<u64>,
    /// The versions, newest first.
    pub versions: Vec<Line>,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its number.
    pub version: u64,
    /// What it was built on.
    pub parent: Option<u64>,
    /// `live`, `dead`, `approved`, `waiting` (newer than the live one) or `old`.
    pub state: &'static str,
    /// Whether it is an adapter beside older weights.
    pub adapter: bool,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_at_us: i64,
    /// Turns of the batch that made it.
    pub turns: usize,
    /// What happened to it, oldest first.
    pub events: Vec<Happened>,
}

/// What happened to a version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happened {
    /// The event's label.
    pub event: &'static str,
    /// Microseconds since the Unix epoch.
    pub at_us: i64,
    /// The gate's figures, or why it refused.
    pub gate: Value,
}

/// Lists the versions of a home. Nothing is changed, and no server asked.
///
/// # Errors
/// The registry cannot be read, or the home has no base model yet.
pub fn list(home: &Home) -> Result<Listing, DeployError> {
    let registry = Registry::open(home)?;
    let state = registry.state()?;
    let mut rows = Store::open(home)?.tail::<Deployment>().poll().rows;
    rows.sort_by_key(|row| row.deployed_at_us);
    let mut versions = Vec::new();
    for version in registry.versions()?.into_iter().rev() {
        let manifest = registry.manifest(version)?;
        let dead = registry.lineage(version)?.iter().any(|v| state.dead.contains(v));
        let events = rows.iter().filter(|row| row.version == version).map(|row| Happened {
            event: row.event.label(),
            at_us: row.deployed_at_us,
            gate: serde_json::from_str(&row.gate).unwrap_or_default(),
        });
        versions.push(Line {
            version: version.0,
            parent: manifest.parent.map(|parent| parent.0),
            state: match () {
                () if version == state.live => "live",
                () if dead => "dead",
                () if version < state.live => "old",
                () if state.approved.contains(&version) => "approved",
                () => "waiting",
            },
            // Of one that is damaged it is not known.
            adapter: registry.base_of(version).is_ok_and(|base| base.is_some()),
            created_at_us: manifest.created_at_us,
            turns: manifest.step.map_or(0, |step| step.trained.len()),
            events: events.collect(),
        });
    }
    let (live_version, head_version) = (state.live.0, state.head.0);
    let pinned = state.pinned.map(|version| version.0);
    Ok(Listing { live_version, head_version, pinned, versions })
}
