//! What every handler of one server shares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use burn::tensor::Device;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::doors::Doors;
use super::errors::LoadError;
use super::metrics::Metrics;
use super::record::Recorder;
use super::served::Served;
use crate::config::ServeConfig;
use crate::engine::{Answer, Engine, Forward};
use crate::events::emit;
use crate::events::serve::{ReplyServed, ToolCallMalformed};
use crate::model::Decoder;
use crate::render::{Grammars, Renderer};
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

/// One running server.
pub(super) struct Server {
    pub(super) config: ServeConfig,
    pub(super) renderer: Arc<Renderer>,
    pub(super) grammars: Grammars,
    pub(super) engine: Engine,
    pub(super) recorder: Recorder,
    /// The replies that are being made: they outlive their handlers.
    pub(super) replies: TaskTracker,
    pub(super) weights: Weights,
    pub(super) status: Arc<Status>,
    pub(super) doors: Doors,
    pub(super) metrics: Metrics,
    /// Longest prompt and reply together, in tokens.
    pub(super) context: usize,
    /// Number of token ids of the model.
    pub(super) vocab: usize,
    /// Seconds since the Unix epoch.
    pub(super) started_s: i64,
}

impl Server {
    /// Takes note of a reply that has ended, whatever it was for.
    pub(super) fn served(&self, served: &Served) {
        for _ in 0..served.malformed_calls {
            emit(ToolCallMalformed { route: served.route });
        }
        emit(ReplyServed {
            route: served.route,
            prompt_tokens: served.prompt_tokens,
            cached_tokens: served.cached_tokens,
            tokens: served.tokens(),
            first_token_ms: served.first_token.map(|first| first.as_millis()),
            worst_gap_ms: served.gaps.iter().max().map(Duration::as_millis),
            whole_ms: served.whole.as_millis(),
            outcome: served.outcome.label(),
        });
    }

    /// The version that new requests take.
    pub(super) fn live(&self) -> Version {
        self.engine.stats().live.unwrap_or(Version::BASE)
    }
}
