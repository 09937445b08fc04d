//! One request to the hub: watched, bounded, explained, and taken up again.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use hf_hub::api::sync::{Api, ApiError, Metadata};
use hf_hub::api::{Progress, RepoInfo};
use hf_hub::{Cache, Repo};

use super::{HubError, HubNote, TICK, Watch};
use crate::config::HubConfig;
use crate::weights::files;

/// Failures in a row, none of which brought a byte, after which a transfer is given up.
const FAILURES_MAX: u32 = 5;
/// A pause is doubled at most this many times.
const DOUBLINGS_MAX: u32 = 4;

pub(super) struct Transfer<'a> {
    pub(super) api: &'a Api,
    /// The model at a revision.
    pub(super) repo: Repo,
    /// The file, or what else is asked for.
    pub(super) what: &'a str,
    /// How errors name the model.
    pub(super) model: String,
    pub(super) cache: &'a Cache,
    pub(super) config: &'a HubConfig,
    pub(super) watch: &'a mut Watch<'a>,
}

/// Counts what a transfer brings, for whoever watches it.
#[derive(Clone, Default)]
struct Counter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    total: AtomicU64,
}

impl Progress for Counter {
    fn init(&mut self, size: usize, _: &str) {
        self.0.total.store(size as u64, Ordering::Relaxed);
        self.0.bytes.store(0, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.0.bytes.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

impl Transfer<'_> {
    /// The commit of the revision and its files.
    pub(super) fn list(&mut self) -> Result<RepoInfo, HubError> {
        let info = self.persist(Self::list_once, |_| 0)?;
        // It becomes the name of a directory.
        if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(self.protocol(format!("{:?} is no commit", info.sha)));
        }
        Ok(info)
    }

    fn list_once(&mut self) -> Result<RepoInfo, HubError> {
        let (api, repo) = (self.api.clone(), self.repo.clone());
        self.watched(move |_| api.repo(repo).info())
    }

    /// Brings the file into the cache, whole and checked.
    pub(super) fn file(&mut self) -> Result<(), HubError> {
        let bytes = self.persist(Self::file_once, Self::bytes_kept)?;
        match (self.watch)(HubNote::Fetched { file: self.what, bytes }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.stopped()),
        }
    }

    /// Tries again what may pass; a try that left more bytes behind than there were starts the
    /// count anew.
    fn persist<T>(
        &mut self,
        once: fn(&mut Self) -> Result<T, HubError>,
        kept: fn(&Self) -> u64,
    ) -> Result<T, HubError> {
        let (mut failures, mut before) = (0, kept(self));
        let mut corrupt = false;
        loop {
            let error = match once(self) {
                // Fetching a large file again and again would help nobody.
                Err(error @ HubError::Corrupt { .. }) if corrupt => return Err(error),
                Err(error) if error.may_pass() => error,
                outcome => return outcome,
            };
            corrupt |= matches!(error, HubError::Corrupt { .. });
            let now = kept(self);
            failures = if now > before { 1 } else { failures + 1 };
            before = now;
            if failures >= FAILURES_MAX {
                return Err(error);
            }
            self.pause(self.config.retry * 2_u32.pow((failures - 1).min(DOUBLINGS_MAX)))?;
        }
    }

    fn pause(&mut self, time: Duration) -> Result<(), HubError> {
        let start = Instant::now();
        while start.elapsed() < time {
            let note = HubNote::Fetching { file: self.what, bytes: 0, bytes_total: 0 };
            if (self.watch)(note).is_break() {
                return Err(self.stopped());
            }
            thread::sleep(TICK.min(time));
        }
        Ok(())
    }

    /// Where the file is found once it is whole.
    fn pointer(&self) -> PathBuf {
        let repo = self.cache.repo(self.repo.clone());
        repo.pointer_path(self.repo.revision()).join(self.what)
    }

    fn blobs(&self) -> PathBuf {
        self.cache.path().join(self.repo.folder_name()).join("blobs")
    }

    /// Bytes of all blobs, whole or not.
    fn bytes_kept(&self) -> u64 {
        super::bytes_below(&self.blobs())
    }

    /// The file's size, once it is whole.
    fn file_once(&mut self) -> Result<u64, HubError> {
        let pointer = self.pointer();
        if pointer.exists() {
            return verify(&pointer);
        }
        // A link whose blob is gone would stand in the way of the new one.
        let _ = fs::remove_file(&pointer);
        let (api, repo, name) = (self.api.clone(), self.repo.clone(), self.what.to_owned());
        let metadata = self.watched(move |_| {
            let url = api.repo(repo).url(&name);
            api.metadata(&url)
        })?;
        self.prepare(&metadata)?;
        let (api, repo, name) = (self.api.clone(), self.repo.clone(), self.what.to_owned());
        self.watched(move |counter| api.repo(repo).download_with_progress(&name, counter))?;
        let expected = metadata.size() as u64;
        match verify(&pointer)? {
            found if found == expected => Ok(found),
            found => {
                let reason = format!("has {found} bytes, the hub says {expected}");
                Err(discard(&pointer, reason))
            }
        }
    }

    /// Clears what the client would stumble over: a part that is whole already (a range of nothing
    /// cannot be asked for) or too long.
    fn prepare(&self, metadata: &Metadata) -> Result<(), HubError> {
        let etag = metadata.etag();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if etag.is_empty() || !etag.chars().all(plain) {
            return Err(self.protocol(format!("{etag:?} is no entity tag of a file")));
        }
        let part = self.blobs().join(etag).with_extension("part");
        let Ok(found) = fs::metadata(&part) else { return Ok(()) };
        if found.len() >= metadata.size() as u64 {
            // All but the last byte: what is asked for is then never empty.
            let kept = (metadata.size() as u64).saturating_sub(1);
            let cut = if found.len() == metadata.size() as u64 { kept } else { 0 };
            let file = fs::File::options().write(true).open(&part);
            file.and_then(|file| file.set_len(cut)).map_err(|source| HubError::Cache {
                doing: "write",
                path: part,
                source,
            })?;
        }
        Ok(())
    }

    /// Runs a request on a thread of its own, which is left behind if nothing comes for too long:
    /// the client has no time-outs.
    fn watched<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Counter) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, HubError> {
        let counter = Counter::default();
        let counts = Arc::clone(&counter.0);
        let (done, outcome) = mpsc::sync_channel(1);
        let started = thread::Builder::new().name("hub".to_owned()).spawn(move || {
            let _ = done.send(work(counter));
        });
        started.map_err(|error| self.unreachable(error.to_string()))?;
        let mut progress = (Instant::now(), 0);
        loop {
            match outcome.recv_timeout(TICK) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => return Err(self.explain(error)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.protocol("the client broke down".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let bytes = counts.bytes.load(Ordering::Relaxed);
            if bytes != progress.1 {
                progress = (Instant::now(), bytes);
            }
            if progress.0.elapsed() > self.config.stall {
                return Err(HubError::Stalled {
                    model: self.model.clone(),
                    what: self.what.to_owned(),
                    seconds: self.config.stall.as_secs_f32(),
                });
            }
            let bytes_total = counts.total.load(Ordering::Relaxed);
            let note = HubNote::Fetching { file: self.what, bytes, bytes_total };
            if (self.watch)(note).is_break() {
                return Err(self.stopped());
            }
        }
    }

    fn stopped(&self) -> HubError {
        HubError::Stopped { model: self.model.clone() }
    }

    fn protocol(&self, reason: String) -> HubError {
        HubError::Protocol { model: self.model.clone(), what: self.what.to_owned(), reason }
    }

    fn unreachable(&self, reason: String) -> HubError {
        HubError::Unreachable { model: self.model.clone(), what: self.what.to_owned(), reason }
    }

    fn explain(&self, error: ApiError) -> HubError {
        let (model, what) = (self.model.clone(), self.what.to_owned());
        let cache = |path, source| HubError::Cache { doing: "write below", path, source };
        match error {
            ApiError::RequestError(error) => match status(&error.to_string()) {
                Some(404) => HubError::NotFound { model, what },
                Some(status @ (401 | 403)) => HubError::Refused { model, what, status },
                Some(status @ (408 | 429 | 500..)) => self.unreachable(format!("HTTP {status}")),
                Some(status) => self.protocol(format!("HTTP {status}")),
                None => self.unreachable(error.to_string()),
            },
            ApiError::IoError(source) => match source.kind() {
                ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotADirectory => cache(self.blobs(), source),
                _ => self.unreachable(source.to_string()),
            },
            ApiError::LockAcquisition(path) => HubError::Locked { path },
            other => self.protocol(other.to_string()),
        }
    }
}

/// The status in the client's message of an answer that is none.
fn status(message: &str) -> Option<u16> {
    message.strip_prefix("http status: ")?.parse().ok()
}

/// Checks a file of the cache against the hash that its blob is named by; returns its size. Blobs
/// of plain git files are named by another hash, and only their size is known.
pub(super) fn verify(pointer: &Path) -> Result<u64, HubError> {
    const SHA256_DIGITS: usize = 64;
    let failed = |doing, source| HubError::Cache { doing, path: pointer.to_owned(), source };
    let blob = fs::canonicalize(pointer).map_err(|error| failed("open", error))?;
    let expected = blob.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if expected.len() != SHA256_DIGITS {
        return fs::metadata(&blob)
            .map(|metadata| metadata.len())
            .map_err(|error| failed("read", error));
    }
    let digest = files::digest(&blob);
    let (bytes, found) =
        digest.map_err(|error| failed("read", std::io::Error::other(error.to_string())))?;
    if found == expected {
        return Ok(bytes);
    }
    Err(discard(pointer, format!("has SHA-256 {found}, the hub says {expected}")))
}

/// Removes a file of the cache that is not what it should be.
fn discard(pointer: &Path, reason: String) -> HubError {
    if let Ok(blob) = fs::canonicalize(pointer) {
        let _ = fs::remove_file(blob);
    }
    let _ = fs::remove_file(pointer);
    HubError::Corrupt { path: pointer.to_owned(), reason }
}
