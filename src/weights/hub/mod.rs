//! Models by name, from a Hugging Face hub.
//!
//! [`fetch`] brings what a model needs, all of one commit, into the cache that the hub's own tools
//! share. What breaks off is taken up again where it stopped, and every file is checked against
//! the hub's hash before it is used. A complete cache serves where the hub cannot be reached.

mod error;
mod report;
mod transfer;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use error::HubError;
pub(super) use report::report;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::base;
use crate::config::HubConfig;
use transfer::Transfer;

/// The revision where none is named.
const MAIN: &str = "main";
/// Files beside the weights, of which the first two must be there.
const SIDECARS: [&str; 8] = [
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
const REQUIRED: usize = 2;
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const LOCK: &str = ".openclaw-rl.lock";
/// How often what goes on is looked at.
const TICK: Duration = Duration::from_millis(50);

/// A model on a hub: `owner/name`, at a revision (a branch, tag or commit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    name: String,
    revision: String,
}

impl HubModel {
    /// Reads `owner/name` or `owner/name@revision`; nothing if the text cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (owner, model) = name.split_once('/')?;
        let plain = |part: &str, more: &str| {
            let known =
                |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c);
            let ends = |c: char| c.is_ascii_alphanumeric() || c == '_';
            part.len() <= 96
                && part.starts_with(ends)
                && part.ends_with(ends)
                && part.chars().all(known)
                && !part.contains("..")
                && !part.contains("--")
        };
        let whole = plain(owner, "") && plain(model, "") && plain(revision, "/");
        whole.then(|| Self { name: name.to_owned(), revision: revision.to_owned() })
    }

    /// The model that a `--model` names, unless it is a directory's name.
    pub fn named_by(model: &Path) -> Option<Self> {
        if model.is_dir() { None } else { Self::parse(model.to_str()?) }
    }

    /// `owner/name@revision`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.revision)
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.name.clone(), RepoType::Model, revision.to_owned())
    }
}

/// What goes on while a model is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubNote<'a> {
    /// A file is on its way; said several times a second.
    Fetching {
        /// Its name.
        file: &'a str,
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that it has; 0 while that is not known.
        bytes_total: u64,
    },
    /// A file is there.
    Fetched {
        /// Its name.
        file: &'a str,
        /// Bytes that it has.
        bytes: u64,
    },
    /// The hub is not reached, and the cache holds the whole model.
    FromCache {
        /// Why the hub is not reached.
        reason: &'a str,
    },
    /// Another process fetches the same model; said several times a second.
    Waiting,
}

/// Is told what goes on, and may say that it is to end.
pub type Watch<'a> = dyn FnMut(HubNote<'_>) -> ControlFlow<()> + 'a;

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its files, of one commit.
    pub dir: PathBuf,
    /// The commit.
    pub commit: String,
}

/// Makes sure that a model is in the cache, whole and as the hub describes it.
///
/// # Errors
/// [`HubError`], which names the model and the file.
pub fn fetch(
    model: &HubModel,
    config: &HubConfig,
    watch: &mut Watch<'_>,
) -> Result<Snapshot, HubError> {
    let Some(cache) = &config.cache else {
        return Err(HubError::NoCache { model: model.full_name() });
    };
    let mut fetch = Fetch { model, config, cache: Cache::new(cache.clone()), watch };
    if config.offline {
        return fetch
            .cached()?
            .ok_or_else(|| HubError::NotCached { model: model.full_name(), cache: cache.clone() });
    }
    match fetch.online() {
        Err(error) if error.is_network() => {
            let Some(snapshot) = fetch.cached()? else { return Err(error) };
            let _ = (fetch.watch)(HubNote::FromCache { reason: &error.to_string() });
            Ok(snapshot)
        }
        outcome => outcome,
    }
}

struct Fetch<'a, 'w> {
    model: &'a HubModel,
    config: &'a HubConfig,
    cache: Cache,
    watch: &'a mut Watch<'w>,
}

impl Fetch<'_, '_> {
    fn stopped(&self) -> HubError {
        HubError::Stopped { model: self.model.full_name() }
    }

    fn lacks(&self, lacks: String) -> HubError {
        HubError::NotAModel { model: self.model.full_name(), lacks }
    }

    /// The folder of this model in the cache.
    fn folder(&self) -> PathBuf {
        self.cache.path().join(self.model.repo(MAIN).folder_name())
    }

    /// The newest commit of the revision that the cache knows, if all of it is there.
    fn cached(&self) -> Result<Option<Snapshot>, HubError> {
        let revision = &self.model.revision;
        let repo = self.cache.repo(self.model.repo(revision));
        let known = fs::read_to_string(self.folder().join("refs").join(revision));
        let commit = known.map_or_else(|_| revision.clone(), |known| known.trim().to_owned());
        let dir = repo.pointer_path(&commit);
        let Ok(files) = base::names(&dir) else { return Ok(None) };
        for file in files {
            transfer::verify(&dir.join(file))?;
        }
        Ok(Some(Snapshot { dir, commit }))
    }

    fn online(&mut self) -> Result<Snapshot, HubError> {
        let _lock = self.lock()?;
        let api = self.api()?;
        let asked = self.model.repo(&self.model.revision);
        let info = self.transfer(&api, asked.clone(), "the list of files").list()?;
        let at_commit = self.model.repo(&info.sha);
        let dir = self.cache.repo(at_commit.clone()).pointer_path(&info.sha);
        let there: BTreeSet<String> =
            info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let mut files: Vec<String> = Vec::new();
        for (index, name) in SIDECARS.into_iter().enumerate() {
            if there.contains(name) {
                files.push(name.to_owned());
            } else if index < REQUIRED {
                return Err(self.lacks(format!("lacks {name}")));
            }
        }
        if there.contains(WEIGHTS) {
            files.push(WEIGHTS.to_owned());
        } else if there.contains(INDEX) {
            self.transfer(&api, at_commit.clone(), INDEX).file()?;
            files.push(INDEX.to_owned());
            let shards = base::shards(&dir).map_err(|reason| self.lacks(reason))?;
            if let Some(stray) = shards.iter().find(|shard| !there.contains(*shard)) {
                return Err(self.lacks(format!("lacks {stray}, which {INDEX} names")));
            }
            files.extend(shards);
        } else {
            return Err(self.lacks("lacks *.safetensors".to_owned()));
        }
        for file in &files {
            self.transfer(&api, at_commit.clone(), file).file()?;
        }
        // Only now is the commit what this revision means offline.
        let remembered: CacheRepo = self.cache.repo(asked);
        remembered.create_ref(&info.sha).map_err(|source| HubError::Cache {
            doing: "write below",
            path: self.folder(),
            source,
        })?;
        Ok(Snapshot { dir, commit: info.sha })
    }

    fn transfer<'s>(&'s mut self, api: &'s Api, repo: Repo, what: &'s str) -> Transfer<'s> {
        Transfer {
            api,
            repo,
            what,
            model: self.model.full_name(),
            cache: &self.cache,
            config: self.config,
            watch: &mut *self.watch,
        }
    }

    fn api(&self) -> Result<Api, HubError> {
        let mut builder = ApiBuilder::from_cache(self.cache.clone())
            .with_progress(false)
            .with_user_agent("openclaw-rl", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &self.config.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if let Some(token) = &self.config.token {
            builder = builder.with_token(Some(token.clone()));
        }
        builder.build().map_err(|error| HubError::Protocol {
            model: self.model.full_name(),
            what: "a client".to_owned(),
            reason: error.to_string(),
        })
    }

    /// Waits for another process that fetches this model, as long as it makes progress.
    fn lock(&mut self) -> Result<File, HubError> {
        let folder = self.folder();
        let path = folder.join(LOCK);
        let failed =
            |doing, path: &Path, source| HubError::Cache { doing, path: path.to_owned(), source };
        fs::create_dir_all(&folder).map_err(|error| failed("create", &folder, error))?;
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| failed("open", &path, error))?;
        let mut progress = (Instant::now(), 0);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let bytes = bytes_below(&folder.join("blobs"));
            if bytes != progress.1 {
                progress = (Instant::now(), bytes);
            }
            // The other one gives up after its own stall time.
            if progress.0.elapsed() > self.config.stall * 2 {
                return Err(HubError::Locked { path });
            }
            if (self.watch)(HubNote::Waiting).is_break() {
                return Err(self.stopped());
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Bytes of the files in a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_owner_and_may_have_a_revision() {
        let model = HubModel::parse("Qwen/Qwen3-0.6B").unwrap();
        assert_eq!(model.full_name(), "Qwen/Qwen3-0.6B@main");
        let model = HubModel::parse("a/b_c.d@refs/pr/3").unwrap();
        assert_eq!(model.full_name(), "a/b_c.d@refs/pr/3");
        for wrong in [
            "", "a", "/a/b", "a/b/c", "a/", "/b", "./b", "../b", "a/..", "a/b@", "a/b@../c",
            "a b/c", "a/b@x@y", "~/b", "a--b/c", "-a/b", "a/b-", "a\\b/c",
        ] {
            assert_eq!(HubModel::parse(wrong), None, "{wrong}");
        }
        let long = "x".repeat(97);
        assert_eq!(HubModel::parse(&format!("a/{long}")), None);
    }
}
