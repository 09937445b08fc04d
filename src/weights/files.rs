//! Files of a version: listing, hashing, making durable, replacing.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::errors::io;
use super::{FileEntry, WeightsError};

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Size and SHA-256 of a file, read in pieces.
pub(super) fn digest(path: &Path) -> Result<(u64, String), WeightsError> {
    let mut file = File::open(path).map_err(io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io("read", path))?;
        if read == 0 {
            return Ok((bytes, hex(&hasher.finalize())));
        }
        bytes += read as u64;
        hasher.update(&buffer[..read]);
    }
}

/// One hash over many: the SHA-256 of what `sha256sum` prints for them, in order of names.
pub(super) fn digest_of(files: &[FileEntry]) -> String {
    combined(files.iter().map(|file| (file.name.as_str(), file.sha256.as_str())))
}

/// The same of names with their SHA-256.
pub(super) fn combined<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut lines: Vec<(&str, &str)> = files.collect();
    lines.sort_unstable();
    let mut hasher = Sha256::new();
    for (name, sha256) in lines {
        hasher.update(format!("{sha256}  {name}\n"));
    }
    hex(&hasher.finalize())
}

/// Hashes every file below `dir` and makes it durable; names are relative, with `/`, sorted.
pub(super) fn seal(dir: &Path) -> Result<Vec<FileEntry>, WeightsError> {
    let mut files = Vec::new();
    let mut open = vec![(dir.to_owned(), String::new())];
    while let Some((at, prefix)) = open.pop() {
        for entry in fs::read_dir(&at).map_err(io("list", &at))? {
            let entry = entry.map_err(io("list", &at))?;
            let path = entry.path();
            let refuse = |reason: &str| WeightsError::NotAModel {
                dir: dir.to_owned(),
                reason: format!("cannot be published: {} {reason}", path.display()),
            };
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| refuse("has a name that is no UTF-8"))?;
            let name = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(io("read", &path))?;
            if kind.is_dir() {
                open.push((path, format!("{name}/")));
            } else if kind.is_file() {
                let (bytes, sha256) = digest(&path)?;
                sync(&path)?;
                files.push(FileEntry { name, bytes, sha256 });
            } else {
                return Err(refuse("is neither a file nor a directory"));
            }
        }
        sync(&at)?;
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Makes a file or the names in a directory durable.
pub(super) fn sync(path: &Path) -> Result<(), WeightsError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io("make durable", path))
}

/// Replaces `path` by the JSON of `value`: durable, and whole at any time.
pub(super) fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), WeightsError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(parent)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|refused| refused.error)
    };
    write().map_err(io("write", path))?;
    sync(parent)
}
