//! The base model: where it comes from, and whether it is the one a home was begun with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::INDEX;
use super::errors::io;
use super::files::{self, hex};
use super::{FileEntry, WeightsError, embedded, manifest};

/// Remembers which directory was found to hold the base, so that it is not hashed at each start.
const SEEN_NAME: &str = "base.json";
/// Endings of the files that make up a model; the rest of a directory is left alone.
const ENDINGS: &[&str] = &[".json", ".safetensors", ".jinja", ".txt", ".model"];

/// Where the base model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// What the home was begun with; in a new home, the embedded model. So that a home goes on
    /// when a later release embeds another model, or when `--model` is given only once.
    Default,
    /// The embedded model of this release, and no other.
    Embedded,
    /// A Hugging Face directory.
    Directory(&'a Path),
}

impl<'a> From<Option<&'a Path>> for Base<'a> {
    /// The directory if one is named, else [`Base::Default`].
    fn from(model: Option<&'a Path>) -> Self {
        model.map_or(Self::Default, Self::Directory)
    }
}

/// A file of the base, as its directory shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    name: String,
    bytes: u64,
    modified_us: u128,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenBase {
    dir: PathBuf,
    files: Vec<Seen>,
    base_sha256: String,
}

impl Base<'_> {
    /// How a message names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Default | Self::Embedded => "the embedded model".to_owned(),
            Self::Directory(dir) => dir.display().to_string(),
        }
    }

    /// Copies the model's files into `target`.
    pub(super) fn copy_to(&self, target: &Path) -> Result<(), WeightsError> {
        match self {
            Self::Default | Self::Embedded => {
                for (name, content) in embedded::FILES {
                    let path = target.join(name);
                    fs::write(&path, content).map_err(io("write", &path))?;
                }
                Ok(())
            }
            Self::Directory(dir) => {
                for file in list(dir)? {
                    let to = target.join(&file.name);
                    fs::copy(dir.join(&file.name), &to).map_err(io("write", &to))?;
                }
                Ok(())
            }
        }
    }

    /// The hash that tells this base from another one. `root` is the registry, which remembers
    /// the directory it was last computed for.
    pub(super) fn sha256(&self, root: &Path) -> Result<String, WeightsError> {
        let dir = match self {
            Self::Default | Self::Embedded => return Ok(embedded_sha256()),
            Self::Directory(dir) => dir,
        };
        let seen = list(dir)?;
        let dir = fs::canonicalize(dir).map_err(io("open", dir))?;
        let known = fs::read(root.join(SEEN_NAME)).ok();
        let known: Option<SeenBase> = known.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(known) = known.filter(|known| known.dir == dir && known.files == seen) {
            return Ok(known.base_sha256);
        }
        let entry = |file: &Seen| {
            let (bytes, sha256) = files::digest(&dir.join(&file.name))?;
            Ok(FileEntry { name: file.name.clone(), bytes, sha256 })
        };
        let entries = seen.iter().map(entry).collect::<Result<Vec<_>, WeightsError>>()?;
        let base_sha256 = files::digest_of(&entries);
        let known = SeenBase { dir, files: seen, base_sha256: base_sha256.clone() };
        // Only saves time at the next start, and a read-only home should still be served from.
        let _ = files::replace_json(&root.join(SEEN_NAME), &known);
        Ok(base_sha256)
    }
}

fn embedded_sha256() -> String {
    let entries: Vec<FileEntry> = embedded::FILES
        .iter()
        .map(|(name, content)| FileEntry {
            name: (*name).to_owned(),
            bytes: content.len() as u64,
            sha256: hex(&Sha256::digest(content)),
        })
        .collect();
    files::digest_of(&entries)
}

/// The files of a model directory, by name; an error if it lacks what every model needs.
fn list(dir: &Path) -> Result<Vec<Seen>, WeightsError> {
    let lacks = |reason: String| WeightsError::NotAModel { dir: dir.to_owned(), reason };
    if !dir.is_dir() {
        let there = dir.exists();
        let reason = if there { "is not a directory" } else { "does not exist" };
        return Err(lacks(reason.to_owned()));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let path = entry.map_err(io("list", dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let wanted = ENDINGS.iter().any(|ending| name.ends_with(ending));
        if !wanted || name.starts_with('.') || name == manifest::NAME {
            continue;
        }
        let metadata = fs::metadata(&path).map_err(io("read", &path))?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if metadata.is_file() {
            let modified_us = modified.unwrap_or_default().as_micros();
            files.push(Seen { name: name.to_owned(), bytes: metadata.len(), modified_us });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let has = |name: &str| files.iter().any(|file| file.name == name);
    for name in ["config.json", "tokenizer.json"] {
        if !has(name) {
            return Err(lacks(format!("lacks {name}")));
        }
    }
    if !files.iter().any(|file| file.name.ends_with(".safetensors")) {
        return Err(lacks("lacks *.safetensors".to_owned()));
    }
    let shards = if has(INDEX) { shards(dir).map_err(lacks)? } else { BTreeSet::new() };
    if let Some(shard) = shards.iter().find(|shard| !has(shard)) {
        return Err(lacks(format!("lacks {shard}, which model.safetensors.index.json names")));
    }
    Ok(files)
}

/// The names of a model's files; an error if it lacks what every model needs.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, WeightsError> {
    Ok(list(dir)?.into_iter().map(|file| file.name).collect())
}

/// The files that the index of a model in several pieces names; what is wrong with it otherwise,
/// as a predicate of the model.
pub(super) fn shards(dir: &Path) -> Result<BTreeSet<String>, String> {
    let text =
        fs::read(dir.join(INDEX)).map_err(|error| format!("has an unreadable {INDEX}: {error}"))?;
    let index: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| format!("has a broken {INDEX}: {error}"))?;
    let shards = index.get("weight_map").and_then(|map| map.as_object());
    let shards = shards.ok_or_else(|| format!("has an {INDEX} without a weight_map"))?;
    Ok(shards.values().filter_map(|name| name.as_str()).map(str::to_owned).collect())
}
