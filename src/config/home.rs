//! Where everything of one installation lies.

use std::path::{Path, PathBuf};

/// The directory that the stages share (`--home`). Pure paths; nothing here touches the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The home at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The home's own directory.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The Parquet tables.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The weights registry.
    pub fn weights(&self) -> PathBuf {
        self.0.join("weights")
    }

    /// The heartbeat file of a stage.
    pub fn state(&self, stage: &str) -> PathBuf {
        self.0.join("state").join(format!("{stage}.json"))
    }

    /// The log file of a stage.
    pub fn log(&self, stage: &str) -> PathBuf {
        self.0.join("logs").join(format!("{stage}.log"))
    }

    /// The lock that only one process of a stage holds.
    pub fn lock(&self, stage: &str) -> PathBuf {
        self.0.join("state").join(format!("{stage}.lock"))
    }
}
