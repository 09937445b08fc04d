//! The heartbeat of a stage: a small JSON file in the home, replaced by rename.
//!
//! `/status`, `run` and `store` read these files; nobody asks a stage's insides.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::now_us;

/// What a stage says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The stage's name.
    pub stage: String,
    /// Its process.
    pub pid: u32,
    /// When the process began, in microseconds since the Unix epoch.
    pub started_at_us: i64,
    /// When this was written.
    pub updated_at_us: i64,
    /// What it is doing: `working`, `waiting`, `failing: <label>`, `done`.
    pub doing: String,
    /// Figures by name: totals of this home (not of this process), lag, and so on.
    pub figures: BTreeMap<String, f64>,
}

/// Writes a stage's heartbeat.
#[derive(Debug)]
pub struct Pulse {
    path: PathBuf,
    beat: Heartbeat,
}

impl Pulse {
    /// A pulse that writes to `path` (see `Home::state`).
    pub fn new(path: PathBuf, stage: &str) -> Self {
        let beat = Heartbeat {
            stage: stage.to_owned(),
            pid: std::process::id(),
            started_at_us: now_us(),
            ..Heartbeat::default()
        };
        Self { path, beat }
    }

    /// Writes what the stage is doing, with its figures. A heartbeat that cannot be written is
    /// no reason to stop working: the failure is logged and the next beat tries again.
    pub fn beat(&mut self, doing: &str, figures: &[(&str, f64)]) {
        doing.clone_into(&mut self.beat.doing);
        self.beat.updated_at_us = now_us();
        self.beat.figures =
            figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        if let Err(error) = replace(&self.path, &self.beat) {
            tracing::warn!(path = %self.path.display(), %error, "heartbeat not written");
        }
    }
}

fn replace(path: &Path, beat: &Heartbeat) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    serde_json::to_writer(&mut file, beat)?;
    file.write_all(b"\n")?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The last heartbeat at `path`, or `None` if there is no readable one.
pub fn read(path: &Path) -> Option<Heartbeat> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
