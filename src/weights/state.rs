//! Which version is live and which are dead: `state.json`.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::WeightsError;
use super::errors::io;
use crate::rollout::Version;

const NAME: &str = "state.json";
const LOCK_NAME: &str = ".lock";
/// The lock is held for milliseconds; who waits this long waits for a process that hangs.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// What is live, what is dead, and what the trainer builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryState {
    /// The version that the servers should have.
    pub live: Version,
    /// The newest version that is neither dead nor built on a dead one.
    pub head: Version,
    /// The versions that were refused or rolled back.
    pub dead: BTreeSet<Version>,
    /// While it is set, nothing newer goes live by itself.
    pub pinned: Option<Version>,
    /// The versions that somebody allowed to go live.
    pub approved: BTreeSet<Version>,
}

/// The file's form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    schema_version: u32,
    pub(super) live: u64,
    pub(super) dead: BTreeSet<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pinned: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) approved: BTreeSet<u64>,
}

impl Stored {
    /// The state in `root`; without a file, the base is live and nothing is dead.
    pub(super) fn read(root: &Path) -> Result<Self, WeightsError> {
        let path = root.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { schema_version: super::SCHEMA_VERSION, ..Self::default() });
            }
            Err(error) => return Err(io("read", &path)(error)),
        };
        let unusable = |reason: String| WeightsError::State { path: path.clone(), reason };
        let stored: Self =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if stored.schema_version > super::SCHEMA_VERSION {
            return Err(unusable(format!(
                "it has schema version {}, this program knows versions up to {}",
                stored.schema_version,
                super::SCHEMA_VERSION
            )));
        }
        Ok(stored)
    }

    /// Replaces the state in `root`, durably. Call it under the lock.
    pub(super) fn write(&self, root: &Path) -> Result<(), WeightsError> {
        super::files::replace_json(&root.join(NAME), self)
    }

    pub(super) fn dead(&self) -> BTreeSet<Version> {
        self.dead.iter().copied().map(Version).collect()
    }
}

/// Takes the registry's lock, which is let go when the file is dropped.
pub(super) fn lock(root: &Path) -> Result<File, WeightsError> {
    let path = root.join(LOCK_NAME);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io("open", &path))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(WeightsError::Locked { path, waited_s: LOCK_WAIT.as_secs() });
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
    }
}
