//! Names of segments, and the create-only, durable put.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::StoreError;
use super::errors::io;

/// SHA-256 of a segment's bytes.
pub(super) type Hash = [u8; 32];

/// How a put ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The segment is in place and durable: put now, or found with the very same content.
    Done,
    /// Another content, with this hash, stands there.
    Taken(Hash),
}

/// Where unfinished files lie: in the same file system, outside of every table.
pub(super) fn temp_dir(root: &Path) -> PathBuf {
    root.join(".tmp")
}

/// The path of segment `number` of an epoch.
pub(super) fn path(epoch: &Path, number: u64) -> PathBuf {
    epoch.join(format!("{number:020}.parquet"))
}

/// The path of an epoch.
pub(super) fn epoch_path(table: &Path, writer: &str, epoch: u64) -> PathBuf {
    table.join(format!("w={writer}")).join(format!("e={epoch:020}"))
}

fn parse_number(text: &str) -> Option<u64> {
    (text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The number in a segment's file name, or `None` if it is no segment's.
pub(super) fn parse(name: &str) -> Option<u64> {
    parse_number(name.strip_suffix(".parquet")?)
}

/// The number in an epoch directory's name.
pub(super) fn parse_epoch(name: &str) -> Option<u64> {
    parse_number(name.strip_prefix("e=")?)
}

/// The names in a directory; none if it is not there.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Every epoch directory of a table, by writer and number.
pub(super) fn epochs(table: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut writers = names(table)?;
    writers.retain(|name| name.starts_with("w="));
    writers.sort();
    let mut epochs = Vec::new();
    for writer in writers {
        let dir = table.join(writer);
        if !dir.is_dir() {
            continue;
        }
        let mut names = names(&dir)?;
        names.retain(|name| parse_epoch(name).is_some());
        names.sort();
        epochs.extend(names.into_iter().map(|name| dir.join(name)));
    }
    Ok(epochs)
}

/// The numbers of an epoch's segments, ascending.
pub(super) fn numbers(epoch: &Path) -> Result<Vec<u64>, StoreError> {
    let mut numbers: Vec<u64> = names(epoch)?.iter().filter_map(|name| parse(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The hash of a segment's bytes.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Puts `bytes` at `target`, which must not exist: readers see all of it or nothing, and on
/// return it outlives a power cut. A target that exists is settled by its content.
pub(super) fn put(temp_dir: &Path, target: &Path, bytes: &[u8]) -> Result<Put, StoreError> {
    let parent = target.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(temp_dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let file = write().map_err(io("write", target))?;
    match file.persist_noclobber(target) {
        Ok(_) => {}
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {
            let there = hash(&fs::read(target).map_err(io("read", target))?);
            if there != hash(bytes) {
                return Ok(Put::Taken(there));
            }
        }
        Err(refused) => return Err(io("write", target)(refused.error)),
    }
    sync_dir(parent)?;
    Ok(Put::Done)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("make durable", dir))
}

/// Removes unfinished files that are older than `age`. What cannot be removed stays: it is never
/// read, and the next start tries again.
pub(super) fn remove_leftovers(root: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(temp_dir(root)) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let old = modified.is_ok_and(|at| {
            SystemTime::now().duration_since(at).is_ok_and(|elapsed| elapsed > age)
        });
        if old && entry.path().extension().is_some_and(|extension| extension == "tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}
