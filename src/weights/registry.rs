//! Publishing versions, and moving what is live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::errors::io;
use super::state::{self, Stored};
use super::{
    Base, Content, HubModel, Manifest, RegistryState, WeightsError, content, files, hub, manifest,
    prune, version,
};
use crate::config::{Home, HubConfig};
use crate::rollout::{Step, Version};

const DRAFT_PREFIX: &str = ".draft-";
/// Drafts that nobody has touched for this long were left by a process that died.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// Remembers the name by which the base was fetched from a hub.
const SOURCE_NAME: &str = "source.json";

/// Where the base came from.
#[derive(Debug, Serialize, Deserialize)]
struct Source {
    /// `owner/name@revision`.
    model: String,
    commit: String,
    base_sha256: String,
}

/// The versions of one home. A cheap handle; clones share a cache.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
    /// Parents of complete versions, which never change.
    parents: Arc<Mutex<BTreeMap<Version, Option<Version>>>>,
}

/// A directory in which a version is prepared; removed when it is dropped.
#[derive(Debug)]
pub struct Draft(TempDir);

impl Draft {
    /// Where to put the files.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Copies every file of the version in `from` that holds no weights: configuration,
    /// tokenizer, template.
    ///
    /// # Errors
    /// [`WeightsError::Io`].
    pub fn copy_sidecars(&self, from: &Path) -> Result<(), WeightsError> {
        for entry in fs::read_dir(from).map_err(io("list", from))? {
            let path = entry.map_err(io("list", from))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let weights =
                name.contains(".safetensors") || name == manifest::NAME || name == prune::NAME;
            if !weights && path.is_file() {
                let to = self.dir().join(name);
                fs::copy(&path, &to).map_err(io("write", &to))?;
            }
        }
        Ok(())
    }
}

/// What is known of a version before it has its number.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVersion {
    /// The version it was built on: the head.
    pub parent: Version,
    /// The step that made it. Its version and parent are filled in.
    pub step: Option<Step>,
}

impl Registry {
    /// The registry of `home`, which is created if it is not there yet.
    ///
    /// # Errors
    /// [`WeightsError::Io`] if the directory cannot be made.
    pub fn open(home: &Home) -> Result<Self, WeightsError> {
        let root = home.weights();
        if !root.is_dir() {
            fs::create_dir_all(&root).map_err(io("create the directory", &root))?;
        }
        remove_leftovers(&root);
        Ok(Self { root, parents: Arc::default() })
    }

    /// Publishes the base as version 0, or checks that it is the one this home was begun with.
    /// Processes may do so at the same time.
    ///
    /// # Errors
    /// [`WeightsError::NotAModel`], [`WeightsError::OtherBase`], or what publishing meets.
    pub fn ensure_base(&self, base: Base<'_>) -> Result<Version, WeightsError> {
        if let Some(there) = Manifest::read(&self.dir(Version::BASE), Version::BASE)? {
            return self.same_base(base, &there);
        }
        if let Some(orphan) = self.numbers()?.first() {
            return Err(WeightsError::NoVersion { version: Version::BASE, dir: self.dir(*orphan) });
        }
        let draft = self.draft()?;
        base.copy_to(draft.dir())?;
        let files = files::seal(draft.dir())?;
        let lock = state::lock(&self.root)?;
        if let Some(there) = Manifest::read(&self.dir(Version::BASE), Version::BASE)? {
            drop(lock);
            return self.same_base(base, &there);
        }
        let manifest = Manifest {
            version: Version::BASE,
            parent: None,
            base_sha256: files::digest_of(&files),
            created_at_us: now_us(),
            step: None,
            files,
        };
        self.put_in_place(draft, &manifest)
    }

    /// [`Registry::ensure_base`] for what `--model` says: nothing, a directory, or a name on the
    /// hub, which is fetched first, until `is_stopped`. A home that was begun with the same name
    /// does not ask the hub again.
    ///
    /// # Errors
    /// As [`Registry::ensure_base`], and [`WeightsError::Hub`].
    pub fn ensure_model(
        &self,
        model: Option<&Path>,
        hub: &HubConfig,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Version, WeightsError> {
        let Some(named) = model.and_then(HubModel::named_by) else {
            return self.ensure_base(Base::from(model));
        };
        let source = self.root.join(SOURCE_NAME);
        let begun_with = || -> Option<Source> {
            let known: Source = serde_json::from_slice(&fs::read(&source).ok()?).ok()?;
            Some(known).filter(|known| known.model == named.full_name())
        };
        if let Some(there) = Manifest::read(&self.dir(Version::BASE), Version::BASE)?
            && begun_with().is_some_and(|known| known.base_sha256 == there.base_sha256)
        {
            return Ok(Version::BASE);
        }
        let snapshot = hub::fetch(&named, hub, &mut hub::report(is_stopped))?;
        let version = self.ensure_base(Base::Directory(&snapshot.dir))?;
        let base_sha256 = self.manifest(version)?.base_sha256;
        let known = Source { model: named.full_name(), commit: snapshot.commit, base_sha256 };
        // Without it the cache is asked again at the next start; nothing else is lost.
        let _ = files::replace_json(&source, &known);
        Ok(version)
    }

    fn same_base(&self, base: Base<'_>, there: &Manifest) -> Result<Version, WeightsError> {
        if base == Base::Default {
            return Ok(Version::BASE);
        }
        let asked = base.sha256(&self.root)?;
        if asked == there.base_sha256 {
            return Ok(Version::BASE);
        }
        Err(WeightsError::OtherBase {
            dir: self.root.clone(),
            there: there.base_sha256.clone(),
            asked_for: base.describe(),
            asked,
        })
    }

    /// The complete versions, ascending.
    ///
    /// # Errors
    /// [`WeightsError::Io`].
    pub fn versions(&self) -> Result<Vec<Version>, WeightsError> {
        let mut versions = self.numbers()?;
        versions.retain(|version| self.dir(*version).join(manifest::NAME).is_file());
        Ok(versions)
    }

    /// Every number that is taken, by a complete version or not, ascending.
    fn numbers(&self) -> Result<Vec<Version>, WeightsError> {
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(io("list", &self.root))? {
            let name = entry.map_err(io("list", &self.root))?.file_name();
            versions.extend(name.to_str().and_then(version::parse));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// The registry's own directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a version, whether it is there or not.
    pub fn dir(&self, version: Version) -> PathBuf {
        self.root.join(version::dir_name(version))
    }

    /// The manifest of a version.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Manifest`].
    pub fn manifest(&self, version: Version) -> Result<Manifest, WeightsError> {
        Manifest::read(&self.dir(version), version)?
            .ok_or_else(|| WeightsError::NoVersion { version, dir: self.root.clone() })
    }

    /// The directory that a version's adapter builds on; `None` where the version holds all
    /// weights itself.
    ///
    /// # Errors
    /// [`WeightsError::NotAModel`] if it is an adapter without a base; [`WeightsError::Damaged`]
    /// if its base is no version of this registry.
    pub fn base_of(&self, version: Version) -> Result<Option<Version>, WeightsError> {
        let dir = self.dir(version);
        let Some(base) = content::adapter_base(&dir)? else { return Ok(None) };
        let name = base.file_name().and_then(|name| name.to_str()).and_then(version::parse);
        let of_here = name.filter(|name| self.dir(*name) == base && *name < version);
        of_here.map(Some).ok_or_else(|| WeightsError::Damaged {
            version,
            path: dir.join(content::ADAPTER_CONFIG),
            reason: format!("names the base {}, which is no older version", base.display()),
        })
    }

    /// One hash over the files that a server reads to serve a version, by the manifests: what
    /// [`Content::sha256`] gives for the same files as they were read.
    ///
    /// # Errors
    /// As [`Registry::base_of`], and [`WeightsError::Damaged`] if the manifest lacks such a file.
    pub fn weights_sha256(&self, version: Version) -> Result<String, WeightsError> {
        let base = self.base_of(version)?;
        let content = match base {
            None => self.listed(version, &content::whole(&self.dir(version))?)?,
            Some(base) => {
                let own = [content::ADAPTER_CONFIG, content::ADAPTER_WEIGHTS].map(str::to_owned);
                let whole = self.listed(base, &content::whole(&self.dir(base))?)?;
                self.listed(version, &BTreeSet::from(own))?.on(&whole)
            }
        };
        Ok(content.sha256().unwrap_or_default())
    }

    fn listed(&self, version: Version, names: &BTreeSet<String>) -> Result<Content, WeightsError> {
        let manifest = self.manifest(version)?;
        let mut content = Content::default();
        for name in names {
            let file = manifest.files.iter().find(|file| file.name == *name);
            let file = file.ok_or_else(|| WeightsError::Damaged {
                version,
                path: self.dir(version).join(name),
                reason: "is not in the manifest".to_owned(),
            })?;
            content.digest(name, file.sha256.clone());
        }
        Ok(content)
    }

    /// Checks size and SHA-256 of every file of a version.
    ///
    /// # Errors
    /// [`WeightsError::Damaged`] for the first file that is not as it was published, or what
    /// reading the manifest meets.
    pub fn verify(&self, version: Version) -> Result<Manifest, WeightsError> {
        let manifest = self.manifest(version)?;
        let dir = self.dir(version);
        let damaged = |path: &Path, reason: String| {
            Err(WeightsError::Damaged { version, path: path.to_owned(), reason })
        };
        let mut paths = Vec::new();
        for file in &manifest.files {
            let path = dir.join(&file.name);
            match fs::metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    match prune::gone(&dir).contains(&file.name) {
                        true if file.name == prune::OPTIMIZER_FILE => {}
                        true => return damaged(&path, "was let go, as an old one".to_owned()),
                        false => return damaged(&path, "is missing".to_owned()),
                    }
                }
                Err(error) => return Err(io("read", &path)(error)),
                Ok(metadata) if metadata.len() != file.bytes => {
                    let (got, expected) = (metadata.len(), file.bytes);
                    return damaged(&path, format!("has {got} bytes, expected {expected}"));
                }
                Ok(_) => paths.push((path, file)),
            }
        }
        for (path, file) in paths {
            let (_, got) = files::digest(&path)?;
            if got != file.sha256 {
                return damaged(&path, format!("has SHA-256 {got}, expected {}", file.sha256));
            }
        }
        Ok(manifest)
    }

    /// A directory beside the versions to prepare one in.
    ///
    /// # Errors
    /// [`WeightsError::Io`].
    pub fn draft(&self) -> Result<Draft, WeightsError> {
        tempfile::Builder::new()
            .prefix(DRAFT_PREFIX)
            .tempdir_in(&self.root)
            .map(Draft)
            .map_err(io("create a directory in", &self.root))
    }

    /// Makes a draft the next version: it is there entirely and durably, or not at all.
    ///
    /// # Errors
    /// [`WeightsError::NotOnHead`] or [`WeightsError::Dead`] if its parent is no longer what is
    /// built on; the draft is gone then.
    pub fn publish(&self, draft: Draft, new: NewVersion) -> Result<Version, WeightsError> {
        let leftover = draft.dir().join(manifest::NAME);
        if leftover.exists() {
            fs::remove_file(&leftover).map_err(io("remove", &leftover))?;
        }
        let files = files::seal(draft.dir())?;
        let _lock = state::lock(&self.root)?;
        let state = self.state()?;
        let parent = new.parent;
        let base_sha256 = self.manifest(parent)?.base_sha256;
        if self.is_dead(parent, &state.dead)? {
            return Err(WeightsError::Dead { version: parent });
        }
        if parent != state.head {
            return Err(WeightsError::NotOnHead { parent, head: state.head });
        }
        let newest = self.numbers()?.last().map_or(0, |newest| newest.0);
        let version = Version(newest + 1);
        let step = new.step.map(|step| Step { version: Some(version), parent, ..step });
        let created_at_us = now_us();
        let manifest =
            Manifest { version, parent: Some(parent), base_sha256, created_at_us, step, files };
        self.put_in_place(draft, &manifest)
    }

    /// Call it under the lock.
    fn put_in_place(&self, draft: Draft, manifest: &Manifest) -> Result<Version, WeightsError> {
        manifest.write(draft.dir())?;
        let target = self.dir(manifest.version);
        fs::rename(draft.dir(), &target).map_err(io("write", &target))?;
        let _moved = draft.0.keep();
        files::sync(&self.root)?;
        Ok(manifest.version)
    }

    /// What is live, what is dead, and the head.
    ///
    /// # Errors
    /// [`WeightsError::State`], [`WeightsError::NoVersion`] if there is no base yet or the live
    /// version is gone.
    pub fn state(&self) -> Result<RegistryState, WeightsError> {
        let stored = Stored::read(&self.root)?;
        let (live, dead) = (Version(stored.live), stored.dead());
        self.parent(live)?;
        Ok(RegistryState {
            live,
            head: self.newest_alive(&dead)?,
            dead,
            pinned: stored.pinned.map(Version),
            approved: stored.approved.iter().copied().map(Version).collect(),
        })
    }

    /// The version that the next one is to be built on: the newest that is neither dead nor
    /// built on a dead one.
    ///
    /// # Errors
    /// As [`Registry::state`].
    pub fn head(&self) -> Result<Version, WeightsError> {
        Ok(self.state()?.head)
    }

    fn newest_alive(&self, dead: &BTreeSet<Version>) -> Result<Version, WeightsError> {
        for version in self.versions()?.into_iter().rev() {
            if !self.is_dead(version, dead)? {
                return Ok(version);
            }
        }
        Err(WeightsError::NoVersion { version: Version::BASE, dir: self.root.clone() })
    }

    fn parent(&self, version: Version) -> Result<Option<Version>, WeightsError> {
        let cache = || self.parents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = cache().get(&version) {
            return Ok(*parent);
        }
        let parent = self.manifest(version)?.parent;
        cache().insert(version, parent);
        Ok(parent)
    }

    /// A version and what it was built on, newest first, down to the base.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Manifest`].
    pub fn lineage(&self, version: Version) -> Result<Vec<Version>, WeightsError> {
        let mut lineage = vec![version];
        let mut at = version;
        // A parent is older than its child (the manifest's reader sees to it), so that this ends.
        while let Some(parent) = self.parent(at)? {
            lineage.push(parent);
            at = parent;
        }
        Ok(lineage)
    }

    fn is_dead(&self, version: Version, dead: &BTreeSet<Version>) -> Result<bool, WeightsError> {
        // First without its manifest, so that a version without a usable one can be put aside.
        Ok(dead.contains(&version)
            || self.lineage(version)?.iter().any(|version| dead.contains(version)))
    }

    fn require_alive(&self, version: Version, stored: &Stored) -> Result<(), WeightsError> {
        if self.is_dead(version, &stored.dead())? {
            return Err(WeightsError::Dead { version });
        }
        Ok(())
    }

    /// Notes that a version is live.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Dead`].
    pub fn set_live(&self, version: Version) -> Result<(), WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        self.require_alive(version, &stored)?;
        stored.live = version.0;
        stored.write(&self.root)
    }

    /// Makes a version live and keeps it so: nothing newer goes live by itself until
    /// [`Registry::unpin`]. What is newer stays alive, and is built on.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Dead`].
    pub fn pin(&self, version: Version) -> Result<(), WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        self.require_alive(version, &stored)?;
        stored.live = version.0;
        stored.pinned = Some(version.0);
        stored.write(&self.root)
    }

    /// Takes the pin away; which version it was.
    ///
    /// # Errors
    /// [`WeightsError::Io`], [`WeightsError::State`].
    pub fn unpin(&self) -> Result<Option<Version>, WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        let pinned = stored.pinned.take();
        stored.write(&self.root)?;
        Ok(pinned.map(Version))
    }

    /// Notes that somebody allowed a version to go live.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Dead`].
    pub fn approve(&self, version: Version) -> Result<(), WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        self.require_alive(version, &stored)?;
        stored.approved.insert(version.0);
        stored.write(&self.root)
    }

    /// Declares a version dead, with everything built on it; returns those that died by this.
    /// A version whose manifest is unusable can be refused too.
    ///
    /// # Errors
    /// [`WeightsError::CannotRefuse`] for the base, what is live, and what that was built on.
    pub fn refuse(&self, version: Version) -> Result<Vec<Version>, WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        if !self.versions()?.contains(&version) {
            return Err(WeightsError::NoVersion { version, dir: self.root.clone() });
        }
        if version == Version::BASE {
            return Err(WeightsError::CannotRefuse { version, reason: "it is the base" });
        }
        if self.lineage(Version(stored.live))?.contains(&version) {
            let reason = "it is live, or what is live was built on it";
            return Err(WeightsError::CannotRefuse { version, reason });
        }
        let descends = |v| self.lineage(v).is_ok_and(|lineage| lineage.contains(&version));
        self.retire(&mut stored, |v| v == version || descends(v))
    }

    /// Puts a version back: it becomes live and the head, and every other version that it was
    /// not built on is dead. Returns those that died by this.
    ///
    /// # Errors
    /// [`WeightsError::NoVersion`], [`WeightsError::Dead`].
    pub fn roll_back(&self, to: Version) -> Result<Vec<Version>, WeightsError> {
        let _lock = state::lock(&self.root)?;
        let mut stored = Stored::read(&self.root)?;
        self.require_alive(to, &stored)?;
        let kept = self.lineage(to)?;
        stored.live = to.0;
        self.retire(&mut stored, |version| !kept.contains(&version))
    }

    /// Adds those for which `dies` holds to the dead, and writes the state.
    fn retire(
        &self,
        stored: &mut Stored,
        dies: impl Fn(Version) -> bool,
    ) -> Result<Vec<Version>, WeightsError> {
        let mut retired = self.versions()?;
        retired.retain(|version| dies(*version) && stored.dead.insert(version.0));
        stored.pinned = stored.pinned.filter(|pinned| !stored.dead.contains(pinned));
        stored.write(&self.root)?;
        Ok(retired)
    }
}

fn now_us() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// Removes drafts of processes that died. What cannot be removed stays; nobody reads it.
fn remove_leftovers(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(DRAFT_PREFIX))
            && untouched_for(&entry.path()).is_some_and(|age| age > LEFTOVER_AGE)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Time since the last change of a directory or a file in it.
fn untouched_for(dir: &Path) -> Option<Duration> {
    let mut newest = fs::metadata(dir).ok()?.modified().ok()?;
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        newest = newest.max(modified.ok()?);
    }
    SystemTime::now().duration_since(newest).ok()
}
