//! What every handler of one server shares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_util::task::TaskTracker;

use super::errors::LoadError;
use super::record::Recorder;
use crate::config::ServeConfig;
use crate::engine::{Answer, Engine, Forward};
use crate::model::Decoder;
use crate::render::Renderer;
use crate::rollout::Version;

/// Loads the weights in a directory; called on threads that may block.
pub type Load<F> = dyn Fn(&Path) -> Result<F, LoadError> + Send + Sync;

/// Figures of the whole home for `GET /status`, as a JSON object; called on threads that may
/// block.
pub type Status = dyn Fn() -> Value + Send + Sync;

/// What the server is made with: how weights become something that computes, and where the
/// figures of the other stages come from.
pub struct Parts<F> {
    /// Loads a version.
    pub load: Arc<Load<F>>,
    /// Figures of the home.
    pub status: Arc<Status>,
}

impl Parts<Decoder> {
    /// The parts of a server that decodes on the CPU.
    pub fn decoder(status: Arc<Status>) -> Self {
        let device = Device::default();
        let load =
            move |dir: &Path| Decoder::load(dir, &device).map_err(|error| LoadError::new(&error));
        Self { load: Arc::new(load), status }
    }
}

/// Loads weights beside the live ones and lets them go live, whatever kind of model they are.
type Swap = dyn Fn(&Path, Version) -> Result<Answer<()>, LoadError> + Send + Sync;

/// The versions that were loaded.
pub(super) struct Weights {
    swap: Box<Swap>,
    directories: Mutex<BTreeMap<Version, PathBuf>>,
    /// One version is loaded at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Weights {
    pub(super) fn new<F: Forward>(
        load: Arc<Load<F>>,
        engine: Engine,
        live: (Version, PathBuf),
    ) -> Self {
        let swap = move |dir: &Path, version| {
            let forward = Arc::new(load(dir)?);
            Ok(engine.swap(forward, version))
        };
        Self {
            swap: Box::new(swap),
            directories: Mutex::new(BTreeMap::from([live])),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Loads a directory and hands it to the engine. Blocks while it loads.
    pub(super) fn swap(&self, dir: &Path, version: Version) -> Result<Answer<()>, LoadError> {
        let answer = (self.swap)(dir, version)?;
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        directories.insert(version, dir.to_owned());
        Ok(answer)
    }

    /// Where a version was loaded from.
    pub(super) fn directory(&self, version: Version) -> Option<PathBuf> {
        let directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        directories.get(&version).cloned()
    }
}

/// A key whose digest alone is kept, so that comparing takes the same time whatever is compared.
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) fn is(&self, other: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(other).into();
        self.0.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

/// One running server.
pub(super) struct Server {
    pub(super) config: ServeConfig,
    pub(super) renderer: Arc<Renderer>,
    pub(super) engine: Engine,
    pub(super) recorder: Recorder,
    /// The replies that are being made: they outlive their handlers.
    pub(super) replies: TaskTracker,
    pub(super) weights: Weights,
    pub(super) status: Arc<Status>,
    pub(super) key: Option<Key>,
    /// Longest prompt and reply together, in tokens.
    pub(super) context: usize,
    /// Number of token ids of the model.
    pub(super) vocab: usize,
    /// Seconds since the Unix epoch.
    pub(super) started_s: i64,
}

impl Server {
    /// The version that new requests take.
    pub(super) fn live(&self) -> Version {
        self.engine.stats().live.unwrap_or(Version::BASE)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_is_only_itself() {
        let key = Key::new("secret");
        assert!(key.is("secret"));
        for other in ["", "secre", "secret ", "Secret"] {
            assert!(!key.is(other));
        }
    }
}
