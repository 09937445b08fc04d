//! What a version's weights consist of: which files are read to serve it, and one hash over them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::errors::io;
use super::files::{self, hex};
use super::{WeightsError, base};

/// The model's shape and constants.
pub const CONFIG: &str = "config.json";
/// All weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// The names of the files that weights in several pieces lie in.
pub const INDEX: &str = "model.safetensors.index.json";
/// What an adapter adds, and to what.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The adapter's own weights.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
/// The key of the adapter's settings that names the base.
const BASE_KEY: &str = "base_model_name_or_path";
/// What stands before the names of an adapter's base.
const OF_BASE: &str = "base/";

/// The files that weights were read from, with the SHA-256 of what was read.
///
/// A server makes it from the bytes that it loads, the registry from a version's manifest: where
/// both agree, what is served is what was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(BTreeMap<String, String>);

impl Content {
    /// Takes note of a file and the bytes that were read of it.
    pub fn note(&mut self, name: &str, bytes: &[u8]) {
        self.digest(name, hex(&Sha256::digest(bytes)));
    }

    pub(super) fn digest(&mut self, name: &str, sha256: String) {
        self.0.insert(name.to_owned(), sha256);
    }

    /// The same, beside a base.
    #[must_use]
    pub fn on(mut self, base: &Self) -> Self {
        self.0.extend(base.0.iter().map(|(name, sha)| (format!("{OF_BASE}{name}"), sha.clone())));
        self
    }

    /// One hash over all: the SHA-256 of what `sha256sum` prints for the files, in order of names
    /// (an adapter's base under `base/`); `None` where nothing was read.
    pub fn sha256(&self) -> Option<String> {
        let files = || self.0.iter().map(|(name, sha256)| (name.as_str(), sha256.as_str()));
        (!self.0.is_empty()).then(|| files::combined(files()))
    }
}

/// The directory that an adapter version builds on; `None` where `dir` holds all weights itself.
///
/// An adapter version has `adapter_config.json` and no weights of its own model; the base is what
/// its settings name, relative to the version's directory.
///
/// # Errors
/// [`WeightsError::NotAModel`] if the settings name no base, or nothing is there.
pub fn adapter_base(dir: &Path) -> Result<Option<PathBuf>, WeightsError> {
    let settings = dir.join(ADAPTER_CONFIG);
    let whole = [WEIGHTS, INDEX].iter().any(|name| dir.join(name).is_file());
    if whole || !settings.is_file() {
        return Ok(None);
    }
    let lacks = |reason: String| WeightsError::NotAModel { dir: dir.to_owned(), reason };
    let text = fs::read(&settings).map_err(io("read", &settings))?;
    let value: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| lacks(format!("has a broken {ADAPTER_CONFIG}: {error}")))?;
    let named = value.get(BASE_KEY).and_then(|name| name.as_str()).filter(|name| !name.is_empty());
    let named =
        named.ok_or_else(|| lacks(format!("has an {ADAPTER_CONFIG} without {BASE_KEY}")))?;
    let base = plain(&dir.join(named));
    let there = [WEIGHTS, INDEX].iter().any(|name| base.join(name).is_file());
    if there {
        return Ok(Some(base));
    }
    let reason = match base.join(ADAPTER_CONFIG).is_file() {
        true => "is an adapter itself",
        false => "holds no weights",
    };
    Err(lacks(format!("is an adapter of {}, which {reason}", base.display())))
}

/// The path without `x/..`, so that one directory has one name.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match (part, plain.components().next_back()) {
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            (Component::CurDir, _) => {}
            _ => plain.push(part),
        }
    }
    plain
}

/// The files of `dir` that hold all weights and what they are to be read with.
pub(super) fn whole(dir: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let lacks = |reason: String| WeightsError::NotAModel { dir: dir.to_owned(), reason };
    let mut names = match dir.join(WEIGHTS).is_file() {
        true => BTreeSet::from([WEIGHTS.to_owned()]),
        false => base::shards(dir).map_err(lacks)?,
    };
    names.insert(CONFIG.to_owned());
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(dir: &Path, base: &str) {
        fs::create_dir_all(dir).unwrap();
        let settings = serde_json::json!({ BASE_KEY: base }).to_string();
        fs::write(dir.join(ADAPTER_CONFIG), settings).unwrap();
    }

    #[test]
    fn an_adapter_names_its_base_relative_to_itself() {
        let home = tempfile::tempdir().unwrap();
        let [base, version] = ["v0", "v1"].map(|name| home.path().join(name));
        fs::create_dir(&base).unwrap();
        fs::write(base.join(WEIGHTS), "x").unwrap();
        assert_eq!(adapter_base(&base).unwrap(), None);
        adapter(&version, "../v0");
        assert_eq!(adapter_base(&version).unwrap(), Some(base.clone()));
        let other = home.path().join("v2");
        for (named, said) in [("../v1", "itself"), ("../gone", "no weights"), ("", "without")] {
            adapter(&other, named);
            let error = adapter_base(&other).unwrap_err().to_string();
            assert!(error.contains(said), "{named}: {error}");
        }
        fs::write(version.join(WEIGHTS), "x").unwrap();
        assert_eq!(adapter_base(&version).unwrap(), None, "it has weights of its own");
    }

    #[test]
    fn every_file_counts_and_so_does_the_base() {
        let mut one = Content::default();
        assert_eq!(one.sha256(), None);
        one.note(WEIGHTS, b"a");
        let mut two = one.clone();
        two.note(CONFIG, b"b");
        assert_ne!(one.sha256(), two.sha256());
        let beside = |base: &Content| {
            let mut adapter = Content::default();
            adapter.note(ADAPTER_WEIGHTS, b"c");
            adapter.on(base).sha256()
        };
        assert_ne!(beside(&one), beside(&two));
        assert_eq!(beside(&one), beside(&one.clone()));
    }
}
