//! What every handler of one server shares.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::doors::Doors;
use super::errors::{LoadError, ServeError};
use super::metrics::Metrics;
use super::opted_out::OptedOut;
use super::record::Recorder;
use super::served::Served;
use super::weights::Weights;
use crate::config::ServeConfig;
use crate::engine::{Engine, Forward};
use crate::events::emit;
use crate::events::serve::{DeviceFound, ReplyServed, ToolCallMalformed};
use crate::model::{Adapter, Decoder, Placement, Precision};
use crate::render::{Grammars, Renderer};
use crate::rollout::{Sampling, TurnId, Version};
use crate::weights::Content;

/// A model, and the files that its weights were read from.
#[derive(Clone, Debug)]
pub struct Loaded<F> {
    /// The model.
    pub model: F,
    /// What was read; empty where that is not known.
    pub content: Content,
}

/// A model that was not read from files.
impl<F: Forward> From<F> for Loaded<F> {
    fn from(model: F) -> Self {
        Self { model, content: Content::default() }
    }
}

/// Loads a directory that holds all weights; called on threads that may block.
pub type Load<F> = dyn Fn(&Path) -> Result<Loaded<F>, LoadError> + Send + Sync;

/// The model that an adapter's directory makes of a base; called on threads that may block.
pub type Attach<F> = dyn Fn(&F, &Path) -> Result<Loaded<F>, LoadError> + Send + Sync;

/// Figures of the whole home for `GET /status`, as a JSON object; called on threads that may
/// block.
pub type Status = dyn Fn() -> Value + Send + Sync;

/// What became of a turn, as a JSON object with `status` and `state`, `None` where no such turn is
/// recorded; called on threads that may block.
pub type Lookup = dyn Fn(TurnId) -> Option<Value> + Send + Sync;

/// What is known of a home beside its weights.
#[derive(Clone)]
pub struct Sources {
    /// Figures of the home.
    pub status: Arc<Status>,
    /// What became of its turns.
    pub turns: Arc<Lookup>,
}

/// Nothing is known, or told: for a server that stands beside that of the home.
impl Default for Sources {
    fn default() -> Self {
        Self { status: Arc::new(|| Value::Null), turns: Arc::new(|_| None) }
    }
}

/// What the server is made with: how weights become something that computes, and where the
/// figures of the other stages come from.
pub struct Parts<F> {
    /// Loads a version.
    pub load: Arc<Load<F>>,
    /// Loads an adapter.
    pub attach: Arc<Attach<F>>,
    /// What is known of the home.
    pub sources: Sources,
}

impl Parts<Decoder> {
    /// The parts of a server that decodes on the device that `config` chooses.
    ///
    /// # Errors
    /// A device was asked for that is not there.
    pub fn decoder(config: &ServeConfig, sources: Sources) -> Result<Self, ServeError> {
        let Placement { device, name, precision, reason } =
            Placement::find(config.device, config.dtype).map_err(ServeError::Device)?;
        emit(DeviceFound { device: name, bf16: precision == Precision::Bf16, reason });
        let place = device.clone();
        let load = move |dir: &Path| {
            let (decoder, content) =
                Decoder::read(dir, &place).map_err(|error| LoadError::new(&error))?;
            let ready = decoder.for_inference(precision);
            let model = ready.map_err(|error| LoadError::new(&error))?;
            Ok(Loaded { model, content })
        };
        let attach = move |base: &Decoder, dir: &Path| {
            let (adapter, content) = Adapter::read(dir, base.config(), &device)
                .map_err(|error| LoadError::new(&error))?;
            let attached = base.with_adapter(&adapter);
            let model = attached.map_err(|error| LoadError::new(&error))?;
            Ok(Loaded { model, content })
        };
        Ok(Self { load: Arc::new(load), attach: Arc::new(attach), sources })
    }
}

/// One running server.
pub(super) struct Server {
    pub(super) config: ServeConfig,
    /// How a reply is drawn where its request does not say.
    pub(super) sampling: Sampling,
    pub(super) renderer: Arc<Renderer>,
    pub(super) grammars: Grammars,
    pub(super) engine: Engine,
    pub(super) recorder: Recorder,
    /// The replies that are being made: they outlive their handlers.
    pub(super) replies: TaskTracker,
    pub(super) weights: Weights,
    pub(super) status: Arc<Status>,
    pub(super) turns: Arc<Lookup>,
    /// Users of whom nothing is kept.
    pub(super) opted_out: OptedOut,
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
        self.metrics.served(served);
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
