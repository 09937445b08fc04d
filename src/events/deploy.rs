//! Events of deployment.

use super::{Event, Level};

/// A version went live on every server.
pub struct VersionLive {
    /// The version.
    pub version: u64,
    /// The one before it.
    pub previous: u64,
    /// Number of servers.
    pub servers: usize,
}

impl Event for VersionLive {
    const NAME: &'static str = "version_live";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let Self { version, previous, servers } = self;
        format!("version {version} is live on {servers} servers (before: {previous})")
    }
}

/// The gate refused a version.
pub struct VersionRefused {
    /// The version.
    pub version: u64,
    /// Why.
    pub reason: String,
}

impl Event for VersionRefused {
    const NAME: &'static str = "version_refused";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!("version {} refused: {}", self.version, self.reason)
    }
}

/// An older version was put back.
pub struct VersionRolledBack {
    /// The version that is live again.
    pub version: u64,
    /// How many versions this cut off.
    pub retired: usize,
}

impl Event for VersionRolledBack {
    const NAME: &'static str = "version_rolled_back";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("rolled back to version {}; {} versions retired", self.version, self.retired)
    }
}

/// A server did not take a version; what was live stays live.
pub struct SwapFailed {
    /// The version.
    pub version: u64,
    /// Which server, and why.
    pub error: String,
    /// Milliseconds until the next try; `None` if it was given up.
    pub again_in_ms: Option<u64>,
}

impl Event for SwapFailed {
    const NAME: &'static str = "swap_failed";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        let then = match self.again_in_ms {
            Some(wait) => format!("again in {wait} ms"),
            None => "given up".to_owned(),
        };
        format!("version {} not taken: {}; {then}", self.version, self.error)
    }
}

/// A server that had taken a version was given the live one back, because another had failed.
pub struct SwapUndone {
    /// The server.
    pub server: String,
    /// The version it serves now.
    pub version: u64,
}

impl Event for SwapUndone {
    const NAME: &'static str = "swap_undone";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{} serves version {} again", self.server, self.version)
    }
}

/// A server served another version than the live one (it was restarted) and was given the live one.
pub struct ServerCaughtUp {
    /// The server.
    pub server: String,
    /// The version it had.
    pub had: String,
    /// The live version.
    pub version: u64,
}

impl Event for ServerCaughtUp {
    const NAME: &'static str = "server_caught_up";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} served version {}; now {}", self.server, self.had, self.version)
    }
}

/// A row about a deployment was missing (the process died in between) and was written.
pub struct DeploymentRecovered {
    /// The version that the row is about.
    pub version: u64,
}

impl Event for DeploymentRecovered {
    const NAME: &'static str = "deployment_recovered";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("the deployment row of version {} was missing; written again", self.version)
    }
}

/// A deployment failed on a server and will be tried again.
pub struct DeploymentPutOff {
    /// What failed.
    pub error: String,
    /// Milliseconds until then.
    pub again_in_ms: u64,
}

impl Event for DeploymentPutOff {
    const NAME: &'static str = "deployment_put_off";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{}; again in {} ms", self.error, self.again_in_ms)
    }
}

/// A server serves the right version by its name and other weights than were published.
pub struct WeightsDiffer {
    /// The server.
    pub server: String,
    /// The version that it names.
    pub version: u64,
    /// The hash of what it read.
    pub got: String,
    /// The hash by the manifests.
    pub expected: String,
}

impl Event for WeightsDiffer {
    const NAME: &'static str = "weights_differ";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        let Self { server, version, got, expected } = self;
        format!("{server} serves other weights as version {version}: {got}, expected {expected}")
    }
}

/// A version passed the gate and waits until somebody approves it.
pub struct VersionWaits {
    /// The version.
    pub version: u64,
}

impl Event for VersionWaits {
    const NAME: &'static str = "version_waits";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let version = self.version;
        format!("version {version} passed the gate; `deploy --approve {version}` lets it go live")
    }
}

/// Somebody changed what may go live, or gave turns back.
pub struct DeploymentChanged {
    /// What: `pinned`, `unpinned`, `approved`, `requeued`.
    pub what: &'static str,
    /// The versions that it is about.
    pub versions: Vec<u64>,
}

impl Event for DeploymentChanged {
    const NAME: &'static str = "deployment_changed";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{}: versions {:?}", self.what, self.versions)
    }
}

/// The live version is worse than the one before it, and is taken back.
pub struct VersionRegressed {
    /// The version.
    pub version: u64,
    /// What the watch found, in words.
    pub found: String,
}

impl Event for VersionRegressed {
    const NAME: &'static str = "version_regressed";
    const LEVEL: Level = Level::Error;

    fn line(&self) -> String {
        format!("version {} is worse than the one before it: {}", self.version, self.found)
    }
}

/// A segment of a table could not be read.
pub struct SegmentUnread {
    /// Why.
    pub error: String,
}

impl Event for SegmentUnread {
    const NAME: &'static str = "deploy_segment_unread";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("a segment could not be read: {}", self.error)
    }
}
