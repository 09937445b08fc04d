//! The figures of each step, for people to look at: `metrics.jsonl` and TensorBoard's event files
//! in the home.
//!
//! They are a copy: the truth stands in the versions' manifests. A line that a crash tore is cut
//! off, and steps that are missing are written again from the manifests.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::tensorboard::EventFile;
use crate::config::Home;
use crate::events::train::NotKept;
use crate::events::{emit, now_us};
use crate::rollout::{Step, Version};
use crate::weights::{Registry, WeightsError};

/// One line a step, in the home.
const LINES: &str = "metrics.jsonl";
/// Event files, in the home.
const BOARD: &str = "tensorboard";

/// The files that the figures of steps go to. What cannot be written is logged, and no reason to
/// stop.
#[derive(Debug)]
pub struct Curves {
    path: PathBuf,
    board: Option<EventFile>,
}

impl Curves {
    /// Continues the home's files: what they lack of the versions that are there is added.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub fn open(home: &Home, registry: &Registry) -> Result<Self, WeightsError> {
        let path = home.root().join(LINES);
        let known = mended(&path).unwrap_or_else(|error| {
            emit(NotKept { what: "metrics.jsonl cannot be continued", error: error.to_string() });
            BTreeSet::new()
        });
        let mut curves = Self { path, board: None };
        let versions = registry.versions()?;
        for version in versions.into_iter().filter(|version| !known.contains(version)) {
            if let Some(step) = registry.manifest(version)?.step {
                curves.step(home, &step);
            }
        }
        Ok(curves)
    }

    /// Adds a step.
    pub fn step(&mut self, home: &Home, step: &Step) {
        if let Err(error) = self.append(step) {
            emit(NotKept { what: "metrics.jsonl lacks a step", error: error.to_string() });
        }
        if let Err(error) = self.draw(home, step) {
            emit(NotKept { what: "TensorBoard lacks a step", error: error.to_string() });
        }
    }

    fn append(&self, step: &Step) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&line(step))?;
        line.push(b'\n');
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    fn draw(&mut self, home: &Home, step: &Step) -> std::io::Result<()> {
        // by optimizer updates, where they are counted: steps between versions have a place
        let updates = step.metrics.iter().find(|(name, _)| name == "updates");
        let place = updates.map(|(_, updates)| *updates as u64);
        let Some(place) = place.or(step.version.map(|version| version.0)) else { return Ok(()) };
        let board = match &mut self.board {
            Some(board) => board,
            none => {
                let dir = home.root().join(BOARD);
                none.insert(EventFile::create(&dir, now_us(), std::process::id())?)
            }
        };
        let finite = step.metrics.iter().filter(|(_, value)| value.is_finite());
        let tagged: Vec<(String, f64)> =
            finite.map(|(name, value)| (format!("train/{name}"), *value)).collect();
        board.scalars(place, step.finished_at_us, &tagged)
    }
}

/// What a step comes to, without its turns.
fn line(step: &Step) -> Value {
    let mut line = Map::new();
    line.insert("version".to_owned(), json!(step.version.map(|version| version.0)));
    line.insert("parent".to_owned(), json!(step.parent.0));
    line.insert("method".to_owned(), json!(step.method));
    line.insert("finished_at_us".to_owned(), json!(step.finished_at_us));
    if !step.rejected.is_empty() {
        line.insert("set_aside".to_owned(), json!(step.rejected.len()));
        line.insert("detail".to_owned(), json!(step.detail));
    }
    // JSON has no infinities: they become null
    let metrics = step.metrics.iter().map(|(name, value)| (name.clone(), json!(value)));
    line.extend(metrics);
    Value::Object(line)
}

/// Cuts off a torn last line, and tells the versions of the others.
fn mended(path: &Path) -> std::io::Result<BTreeSet<Version>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        let mut file = File::options().write(true).open(path)?;
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        file.sync_data()?;
    }
    let version = |line: &[u8]| {
        let line: Value = serde_json::from_slice(line).ok()?;
        line.get("version")?.as_u64().map(Version)
    };
    Ok(bytes[..whole].split(|byte| *byte == b'\n').filter_map(version).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{RejectedTurn, Rejection, TurnId};
    use crate::weights::NewVersion;

    fn step(version: Option<u64>) -> Step {
        Step {
            version: version.map(Version),
            parent: Version(0),
            method: "combine".to_owned(),
            trained: Vec::new(),
            rejected: Vec::new(),
            metrics: vec![("loss".to_owned(), 0.25), ("odd".to_owned(), f64::NAN)],
            detail: String::new(),
            finished_at_us: 5,
        }
    }

    fn lines(home: &Home) -> Vec<Value> {
        let text = std::fs::read_to_string(home.root().join(LINES)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_torn_line_is_cut_off_and_what_is_missing_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        let registry = Registry::open(&home).unwrap();
        registry.ensure_model(None, &crate::config::HubConfig::default(), &|| false).unwrap();
        for parent in 0..2 {
            let draft = registry.draft().unwrap();
            draft.copy_sidecars(&registry.dir(Version(0))).unwrap();
            let new = NewVersion { parent: Version(parent), step: Some(step(None)) };
            registry.publish(draft, new).unwrap();
        }
        let text = "{\"version\": 1, \"parent\": 0}\n{\"version\": 2, \"par";
        std::fs::write(home.root().join(LINES), text).unwrap();
        let mut curves = Curves::open(&home, &registry).unwrap();
        let versions: Vec<_> = lines(&home).iter().map(|line| line["version"].as_u64()).collect();
        assert_eq!(versions, [Some(1), Some(2)]);
        assert_eq!(
            (&lines(&home)[1]["loss"], &lines(&home)[1]["odd"]),
            (&json!(0.25), &json!(null))
        );
        let turn_id = TurnId(1);
        let aside = RejectedTurn { turn_id, reason: Rejection::Exploding, revision: 0 };
        let skipped = Step { rejected: vec![aside], detail: "too steep".to_owned(), ..step(None) };
        curves.step(&home, &skipped);
        let last = lines(&home).pop().unwrap();
        assert_eq!((&last["version"], &last["set_aside"]), (&json!(null), &json!(1)));
        assert_eq!(last["detail"], "too steep");
        let count = lines(&home).len();
        Curves::open(&home, &registry).unwrap();
        assert_eq!(lines(&home).len(), count, "nothing is written twice");
        assert_eq!(std::fs::read_dir(home.root().join(BOARD)).unwrap().count(), 1);
    }
}
