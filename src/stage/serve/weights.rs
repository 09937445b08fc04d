//! The weights of a server: a base, the adapters beside it, and how both change while it serves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errors::LoadError;
use super::state::{Attach, Load, Parts};
use crate::engine::{Answer, Engine, Forward, ModelSet};
use crate::rollout::Version;

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

    /// Forgets the bases of other versions.
    fn keep(&self, versions: &[Version]);
}

/// Models of one kind.
struct OfKind<F> {
    load: Arc<Load<F>>,
    attach: Arc<Attach<F>>,
    /// Bases that adapters can still be attached to.
    bases: Mutex<BTreeMap<Version, Arc<F>>>,
}

impl<F: Forward> OfKind<F> {
    fn attached(&self, base: &F, name: &str, dir: &Path) -> Result<F, LoadError> {
        (self.attach)(base, dir).map_err(|error| {
            let message = format!("adapter `{name}` in `{}`: {}", dir.display(), error.message);
            LoadError { message, ..error }
        })
    }

    fn set(
        &self,
        base: Arc<F>,
        version: Version,
        adapters: &Adapters,
    ) -> Result<ModelSet, LoadError> {
        let mut set = ModelSet::from(Arc::clone(&base));
        for (name, dir) in adapters {
            set = set.with_adapter(name, Arc::new(self.attached(&base, name, dir)?));
        }
        lock(&self.bases).insert(version, base);
        Ok(set)
    }
}

impl<F: Forward> Models for OfKind<F> {
    fn version(&self, dir: &Path, of: Version, adapters: &Adapters) -> Result<ModelSet, LoadError> {
        self.set(Arc::new((self.load)(dir)?), of, adapters)
    }

    fn adapter(
        &self,
        engine: &Engine,
        of: Version,
        name: &str,
        dir: &Path,
    ) -> Result<Answer<()>, LoadError> {
        let base = lock(&self.bases).get(&of).cloned();
        let base = base.ok_or_else(|| LoadError {
            message: format!("version {of} is no longer held"),
            hint: None,
        })?;
        let model = self.attached(&base, name, dir)?;
        Ok(engine.load_adapter(name, Arc::new(model), of))
    }

    fn keep(&self, versions: &[Version]) {
        lock(&self.bases).retain(|version, _| versions.contains(version));
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

impl Weights {
    /// The weights that a server starts with, and what its engine is to be given.
    ///
    /// # Errors
    /// An adapter cannot be loaded.
    pub(super) fn open<F: Forward>(
        parts: &Parts<F>,
        base: Arc<F>,
        (version, dir): (Version, PathBuf),
        adapters: Adapters,
    ) -> Result<(Self, ModelSet), LoadError> {
        let models = OfKind {
            load: Arc::clone(&parts.load),
            attach: Arc::clone(&parts.attach),
            bases: Mutex::default(),
        };
        let set = models.set(base, version, &adapters)?;
        let weights = Self {
            models: Box::new(models),
            directories: Mutex::new(BTreeMap::from([(version, dir)])),
            adapters: Mutex::new(adapters),
            last: Mutex::new(version),
            turn: tokio::sync::Mutex::new(()),
        };
        Ok((weights, set))
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
