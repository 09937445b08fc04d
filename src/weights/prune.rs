//! Letting go of the weights of old versions, whose manifests stay.
//!
//! A version's manifest is the truth of its step, so that it is kept for good; the weights of a
//! version that nothing builds on and nobody goes back to are not. What is let go is noted in
//! `pruned.json` before the first file is removed, and may be removed again at any time.
//!
//! Whoever loads a version holds it ([`Registry::hold`]): what is held is not let go. A version is
//! looked up in `state.json` and held under the same lock under which it is let go.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::errors::io;
use super::state;
use super::{FileEntry, Registry, WeightsError, files, manifest};
use crate::rollout::Version;

/// The optimizer's state within a version's directory.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// What was let go of a version.
pub(super) const NAME: &str = "pruned.json";

/// A version that is not let go as long as this lives.
#[derive(Debug)]
pub struct Held {
    _manifest: File,
}

/// How much of a version is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruning {
    /// The optimizer's state: it can be served and built on, with fresh moments.
    Moments,
    /// All of its weights.
    Weights,
}

/// The file's form.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pruned {
    files: BTreeSet<String>,
}

impl Pruning {
    fn takes(self, file: &str) -> bool {
        match self {
            Self::Moments => file == OPTIMIZER_FILE,
            Self::Weights => file.ends_with(".safetensors"),
        }
    }
}

/// The files of a version that were let go.
pub(super) fn gone(dir: &Path) -> BTreeSet<String> {
    let read = || serde_json::from_slice::<Pruned>(&fs::read(dir.join(NAME)).ok()?).ok();
    read().unwrap_or_default().files
}

impl Registry {
    /// Keeps the weights of a version where they are, for as long as the answer lives.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], or the manifest cannot be locked.
    pub fn hold(&self, version: Version) -> Result<Held, WeightsError> {
        let path = self.dir(version).join(manifest::NAME);
        let _lock = state::lock(self.root())?;
        self.manifest(version)?;
        let file = File::open(&path).map_err(io("open", &path))?;
        file.lock_shared().map_err(io("lock", &path))?;
        Ok(Held { _manifest: file })
    }

    /// Whether all of a version's weights are there.
    pub fn is_whole(&self, version: Version) -> bool {
        gone(&self.dir(version)).iter().all(|name| name == OPTIMIZER_FILE)
    }

    /// Lets go of part of a version, unless it is live, the head, pinned, the base, or held.
    /// Returns the number of bytes that became free.
    ///
    /// # Errors
    /// The registry's files cannot be read, locked or written.
    pub fn prune(&self, version: Version, what: Pruning) -> Result<u64, WeightsError> {
        let dir = self.dir(version);
        let manifest = self.manifest(version)?;
        let taken = manifest.files.iter().filter(|file| what.takes(&file.name));
        let there = taken.filter(|file| dir.join(&file.name).exists());
        let files: Vec<&FileEntry> = there.collect();
        if files.is_empty() || version == Version::BASE {
            return Ok(0);
        }
        let _lock = state::lock(self.root())?;
        let state = self.state()?;
        if [Some(state.live), Some(state.head), state.pinned].contains(&Some(version)) {
            return Ok(0);
        }
        let path = dir.join(manifest::NAME);
        let held = File::open(&path).map_err(io("open", &path))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(0),
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        let mut noted = gone(&dir);
        noted.extend(files.iter().map(|file| file.name.clone()));
        files::replace_json(&dir.join(NAME), &Pruned { files: noted })?;
        // the optimizer's state first: without it the version can still be served
        let (first, then): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.name == OPTIMIZER_FILE);
        let mut freed = 0;
        for file in first.into_iter().chain(then) {
            let path = dir.join(&file.name);
            fs::remove_file(&path).map_err(io("remove", &path))?;
            freed += file.bytes;
        }
        Ok(freed)
    }
}
