//! What a version is made of: `manifest.json`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::WeightsError;
use super::errors::io;
use crate::rollout::{RejectedTurn, Rejection, Step, TrainedTurn, TrainingSignal, TurnId, Version};

/// The version of the manifest's form that this program writes.
pub const SCHEMA_VERSION: u32 = 1;

/// The manifest's file name.
pub(super) const NAME: &str = "manifest.json";

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path within the version's directory, with `/`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
}

/// What a version is made of, and from what: the truth about a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The version.
    pub version: Version,
    /// The version it was built on; `None` for the base.
    pub parent: Option<Version>,
    /// SHA-256 over the base model's files: a lineage never leaves its base.
    pub base_sha256: String,
    /// Microseconds since the Unix epoch.
    pub created_at_us: i64,
    /// The optimizer step that made it, with its batch; `None` for the base.
    pub step: Option<Step>,
    /// Every file, by name.
    pub files: Vec<FileEntry>,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema_version: u32,
    version: u64,
    parent: Option<u64>,
    base_sha256: String,
    created_at_us: i64,
    step: Option<StoredStep>,
    files: Vec<FileEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredStep {
    method: String,
    trained: Vec<StoredTrained>,
    rejected: Vec<StoredRejected>,
    metrics: Vec<(String, Number)>,
    finished_at_us: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTrained {
    turn_id: String,
    signal: String,
    reward: Number,
    tokens: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRejected {
    turn_id: String,
    reason: String,
    #[serde(default)]
    revision: u32,
}

/// JSON has no infinities: what is not finite is written as text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Text(String),
}

impl Number {
    fn of(value: f64) -> Self {
        if value.is_finite() { Self::Finite(value) } else { Self::Text(value.to_string()) }
    }

    fn value(self) -> Result<f64, String> {
        match self {
            Self::Finite(value) => Ok(value),
            Self::Text(text) => text.parse().map_err(|_| format!("`{text}` is no number")),
        }
    }
}

impl Manifest {
    /// Writes the manifest into `dir`, durably.
    pub(super) fn write(&self, dir: &Path) -> Result<(), WeightsError> {
        let stored = Stored {
            schema_version: SCHEMA_VERSION,
            version: self.version.0,
            parent: self.parent.map(|parent| parent.0),
            base_sha256: self.base_sha256.clone(),
            created_at_us: self.created_at_us,
            step: self.step.as_ref().map(stored_step),
            files: self.files.clone(),
        };
        super::files::replace_json(&dir.join(NAME), &stored)
    }

    /// Reads the manifest of `version` in `dir`; `None` if there is none.
    pub(super) fn read(dir: &Path, version: Version) -> Result<Option<Self>, WeightsError> {
        let path = dir.join(NAME);
        let unusable = |reason: String| WeightsError::Manifest { path: path.clone(), reason };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", &path)(error)),
        };
        let newer = |value: &serde_json::Value| {
            value.get("schema_version")?.as_u64().filter(|got| *got > u64::from(SCHEMA_VERSION))
        };
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        if let Some(got) = newer(&value) {
            return Err(unusable(format!(
                "it has schema version {got}, this program knows versions up to {SCHEMA_VERSION}"
            )));
        }
        let stored: Stored =
            serde_json::from_value(value).map_err(|error| unusable(error.to_string()))?;
        let manifest = stored.into_manifest().map_err(unusable)?;
        if manifest.version != version {
            return Err(unusable(format!("it is that of version {}", manifest.version)));
        }
        Ok(Some(manifest))
    }
}

impl Stored {
    fn into_manifest(self) -> Result<Manifest, String> {
        let version = Version(self.version);
        let parent = self.parent.map(Version);
        if parent.is_some_and(|parent| parent >= version) {
            return Err("its parent is not older than itself".to_owned());
        }
        if parent.is_none() != (version == Version::BASE) {
            return Err("the base and only the base has no parent".to_owned());
        }
        if let Some(file) = self.files.iter().find(|file| !stays_within(&file.name)) {
            return Err(format!("`{}` leads out of the version's directory", file.name));
        }
        let step = match (self.step, parent) {
            (Some(step), Some(parent)) => Some(step.into_step(version, parent)?),
            (Some(_), None) => return Err("a base is not made by a step".to_owned()),
            (None, _) => None,
        };
        Ok(Manifest {
            version,
            parent,
            base_sha256: self.base_sha256,
            created_at_us: self.created_at_us,
            step,
            files: self.files,
        })
    }
}

fn stays_within(name: &str) -> bool {
    !name.is_empty()
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

fn stored_step(step: &Step) -> StoredStep {
    let trained = step.trained.iter().map(|turn| StoredTrained {
        turn_id: turn.turn_id.to_string(),
        signal: turn.signal.label().to_owned(),
        reward: Number::of(f64::from(turn.reward)),
        tokens: turn.tokens,
    });
    let rejected = step.rejected.iter().map(|turn| StoredRejected {
        turn_id: turn.turn_id.to_string(),
        reason: turn.reason.label().to_owned(),
        revision: turn.revision,
    });
    let metrics = step.metrics.iter().map(|(name, value)| (name.clone(), Number::of(*value)));
    StoredStep {
        method: step.method.clone(),
        trained: trained.collect(),
        rejected: rejected.collect(),
        metrics: metrics.collect(),
        finished_at_us: step.finished_at_us,
    }
}

impl StoredStep {
    fn into_step(self, version: Version, parent: Version) -> Result<Step, String> {
        let turn_id = |text: &str| text.parse::<TurnId>().map_err(|error| error.to_string());
        let trained = self.trained.into_iter().map(|turn| {
            Ok(TrainedTurn {
                turn_id: turn_id(&turn.turn_id)?,
                signal: TrainingSignal::from_label(&turn.signal)
                    .ok_or_else(|| format!("`{}` is no signal", turn.signal))?,
                reward: turn.reward.value()? as f32,
                tokens: turn.tokens,
            })
        });
        let rejected = self.rejected.into_iter().map(|turn| {
            Ok(RejectedTurn {
                turn_id: turn_id(&turn.turn_id)?,
                reason: Rejection::from_label(&turn.reason)
                    .ok_or_else(|| format!("`{}` is no reason", turn.reason))?,
                revision: turn.revision,
            })
        });
        let metrics = self.metrics.into_iter().map(|(name, value)| Ok((name, value.value()?)));
        Ok(Step {
            version: Some(version),
            parent,
            method: self.method,
            trained: trained.collect::<Result<_, String>>()?,
            rejected: rejected.collect::<Result<_, String>>()?,
            metrics: metrics.collect::<Result<_, String>>()?,
            detail: String::new(),
            finished_at_us: self.finished_at_us,
        })
    }
}
