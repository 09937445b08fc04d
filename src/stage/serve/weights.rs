//! The weights of a server: a base, the adapters beside it, and how both change while it serves.
//!
//! A version that is an adapter (`adapter_config.json`, no weights of its own) shares the tensors
//! of its base with every other version of the same base: a swap between them reads the adapter
//! only. Adapters that are loaded by name stand beside the base, not beside the version's adapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errors::LoadError;
use super::state::{Attach, Load, Loaded, Parts};
use crate::engine::{Answer, Engine, Forward, ModelSet};
use crate::rollout::Version;
use crate::weights::{Content, adapter_base};

/// Adapters by name, with the directories that they come from.
pub(super) type Adapters = BTreeMap<String, PathBuf>;

/// What can be loaded, whatever kind of model it is.
trait Models: Send + Sync {
    /// A version with every adapter attached to it.
    fn version(&self, dir: &Path, of: Version, adapters: &Adapters) -> Result<ModelSet, LoadError>;

    /// Attaches one adapter to a version that is held, and hands it to the engine.
    fn adapter(
        &self,
        engine: &Engine,
        of: Version,
        name: &str,
        dir: &Path,
    ) -> Result<Answer<()>, LoadError>;

    /// The hash of what a version was read from, where it is held and that is known.
    fn sha256(&self, of: Version) -> Option<String>;

    /// Forgets all but these versions.
    fn keep(&self, versions: &[Version]);
}

/// Weights that stand alone, shared by the versions that are adapters of them.
struct Whole<F> {
    model: Arc<F>,
    dir: PathBuf,
    content: Content,
}

/// A version that is held.
struct Held<F> {
    /// The version's own weights, or those that it is an adapter of; what further adapters are
    /// attached to.
    base: Arc<Whole<F>>,
    sha256: Option<String>,
}

/// Models of one kind.
struct OfKind<F> {
    load: Arc<Load<F>>,
    attach: Arc<Attach<F>>,
    held: Mutex<BTreeMap<Version, Held<F>>>,
}

impl<F: Forward> OfKind<F> {
    fn attached(&self, base: &F, name: &str, dir: &Path) -> Result<F, LoadError> {
        let attached = (self.attach)(base, dir).map_err(|error| {
            let message = format!("adapter `{name}` in `{}`: {}", dir.display(), error.message);
            LoadError { message, ..error }
        })?;
        Ok(attached.model)
    }

    /// The weights in `dir`: those that another version holds, or as they are read now. A version
    /// that is held already is read anew as a whole: somebody doubts what is served.
    fn whole(&self, dir: &Path, of: Version) -> Result<Arc<Whole<F>>, LoadError> {
        let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let held = lock(&self.held);
        if !held.contains_key(&of)
            && let Some(one) = held.values().find(|held| held.base.dir == dir)
        {
            return Ok(Arc::clone(&one.base));
        }
        drop(held);
        let Loaded { model, content } = (self.load)(&dir)?;
        Ok(Arc::new(Whole { model: Arc::new(model), dir, content }))
    }
}

impl<F: Forward> Models for OfKind<F> {
    fn version(&self, dir: &Path, of: Version, adapters: &Adapters) -> Result<ModelSet, LoadError> {
        let base_dir = adapter_base(dir).map_err(|error| LoadError::new(&error))?;
        let base = match &base_dir {
            Some(base_dir) => self.whole(base_dir, of)?,
            None => {
                let Loaded { model, content } = (self.load)(dir)?;
                let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
                Arc::new(Whole { model: Arc::new(model), dir, content })
            }
        };
        let (mut set, sha256) = match base_dir {
            None => (ModelSet::from(Arc::clone(&base.model)), base.content.sha256()),
            Some(_) => {
                let Loaded { model, content } = (self.attach)(&base.model, dir)?;
                (ModelSet::from(Arc::new(model)), content.on(&base.content).sha256())
            }
        };
        for (name, dir) in adapters {
            set = set.with_adapter(name, Arc::new(self.attached(&base.model, name, dir)?));
        }
        lock(&self.held).insert(of, Held { base, sha256 });
        Ok(set)
    }

    fn adapter(
        &self,
        engine: &Engine,
        of: Version,
        name: &str,
        dir: &Path,
    ) -> Result<Answer<()>, LoadError> {
        let base = lock(&self.held).get(&of).map(|held| Arc::clone(&held.base));
        let base = base.ok_or_else(|| LoadError {
            message: format!("version {of} is no longer held"),
            hint: None,
        })?;
        let model = self.attached(&base.model, name, dir)?;
        Ok(engine.load_adapter(name, Arc::new(model), of))
    }

    fn sha256(&self, of: Version) -> Option<String> {
        lock(&self.held).get(&of).and_then(|held| held.sha256.clone())
    }

    fn keep(&self, versions: &[Version]) {
        lock(&self.held).retain(|version, _| versions.contains(version));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was loaded, and what can be.
pub(super) struct Weights {
    models: Box<dyn Models>,
    directories: Mutex<BTreeMap<Version, PathBuf>>,
    adapters: Mutex<Adapters>,
    /// The version that was loaded last: the engine may not have heard of it yet.
    last: Mutex<Version>,
    /// One thing is loaded at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// What a server starts with.
pub(super) struct Start {
    pub(super) weights: Weights,
    /// What its engine is to be given.
    pub(super) set: ModelSet,
    /// Number of token ids of the model.
    pub(super) vocab: usize,
    /// Its longest sequence.
    pub(super) context: usize,
}

impl Weights {
    /// Loads the weights that a server starts with.
    ///
    /// # Errors
    /// They, or an adapter, cannot be loaded.
    pub(super) fn open<F: Forward>(
        parts: &Parts<F>,
        (version, dir): (Version, PathBuf),
        adapters: Adapters,
    ) -> Result<Start, LoadError> {
        let models = OfKind {
            load: Arc::clone(&parts.load),
            attach: Arc::clone(&parts.attach),
            held: Mutex::default(),
        };
        let set = models.version(&dir, version, &adapters)?;
        let shape = |held: &Held<F>| (held.base.model.vocab(), held.base.model.context());
        let (vocab, context) = lock(&models.held).get(&version).map(shape).unwrap_or_default();
        let weights = Self {
            models: Box::new(models),
            directories: Mutex::new(BTreeMap::from([(version, dir)])),
            adapters: Mutex::new(adapters),
            last: Mutex::new(version),
            turn: tokio::sync::Mutex::new(()),
        };
        Ok(Start { weights, set, vocab, context })
    }

    /// Loads a directory, attaches every adapter, and hands them to the engine. Blocks while it
    /// loads.
    pub(super) fn swap(
        &self,
        engine: &Engine,
        dir: &Path,
        version: Version,
    ) -> Result<Answer<()>, LoadError> {
        *lock(&self.last) = version;
        let set = self.models.version(dir, version, &self.adapters())?;
        lock(&self.directories).insert(version, dir.to_owned());
        Ok(engine.swap(set, version))
    }

    /// Loads an adapter and hands it to the engine. Blocks while it loads.
    pub(super) fn load_adapter(
        &self,
        engine: &Engine,
        name: &str,
        dir: &Path,
    ) -> Result<Answer<()>, LoadError> {
        let live = engine.stats().live.unwrap_or(Version::BASE);
        self.models.adapter(engine, live, name, dir)
    }

    /// Lets go of what the engine holds no longer, and of a version that it refused.
    pub(super) fn forget(&self, engine: &Engine, refused: Option<Version>) {
        let stats = engine.stats();
        let waiting = stats.pending.into_iter().chain([*lock(&self.last)]);
        let wanted = waiting.filter(|version| Some(*version) != refused);
        let held: Vec<Version> = stats.live.into_iter().chain(wanted).collect();
        self.models.keep(&held);
        lock(&self.directories).retain(|version, _| held.contains(version));
    }

    /// Where a version was loaded from.
    pub(super) fn directory(&self, version: Version) -> Option<PathBuf> {
        lock(&self.directories).get(&version).cloned()
    }

    /// The hash of what a version was read from.
    pub(super) fn sha256(&self, version: Version) -> Option<String> {
        self.models.sha256(version)
    }

    /// The adapters that each version gets.
    pub(super) fn adapters(&self) -> Adapters {
        lock(&self.adapters).clone()
    }

    /// Adds an adapter to those that each version gets.
    pub(super) fn remember_adapter(&self, name: String, dir: PathBuf) {
        lock(&self.adapters).insert(name, dir);
    }

    /// Takes an adapter away from those that each version gets; whether there was one.
    pub(super) fn forget_adapter(&self, name: &str) -> bool {
        lock(&self.adapters).remove(name).is_some()
    }
}
