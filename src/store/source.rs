//! Where a file's bytes come from.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::errors::io as failed;

/// A file up to this size is read at once: most segments hold a turn or two.
const WHOLE_MAX: u64 = 1 << 20;
/// Bytes that are hashed at a time.
const HASH_AT_ONCE: usize = 1 << 18;

/// An open file: a small one in memory, a large one by reads at a position.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Its content.
    Memory(Bytes),
    /// The open file and its length. It stays the same file when another takes its name.
    File(Arc<File>, u64),
}

/// Reads a file from some position on.
#[derive(Debug)]
pub(super) struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Source {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let read = || {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            if length > WHOLE_MAX {
                return Ok(Self::File(Arc::new(file), length));
            }
            let mut bytes = Vec::with_capacity(length as usize);
            file.read_to_end(&mut bytes)?;
            Ok(Self::Memory(bytes.into()))
        };
        read().map_err(failed("read", path))
    }

    /// The same, without reading more than is asked for.
    pub fn open_large(path: &Path) -> Result<Self, StoreError> {
        let open = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Self::File(Arc::new(file), length))
        };
        open().map_err(failed("read", path))
    }

    /// SHA-256 of the first `length` bytes; `None` if there are not so many.
    pub fn hash(&self, length: u64) -> io::Result<Option<[u8; 32]>> {
        if length > self.len() {
            return Ok(None);
        }
        let (file, mut left) = match self {
            Self::Memory(bytes) => {
                return Ok(Some(Sha256::digest(&bytes[..length as usize]).into()));
            }
            Self::File(file, _) => (file, length),
        };
        let mut hash = Sha256::new();
        let mut buffer = vec![0_u8; HASH_AT_ONCE];
        while left > 0 {
            let part = &mut buffer[..left.min(HASH_AT_ONCE as u64) as usize];
            file.read_exact_at(part, length - left)?;
            hash.update(&*part);
            left -= part.len() as u64;
        }
        Ok(Some(hash.finalize().into()))
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        match self {
            Self::Memory(bytes) => Ok(Box::new(bytes.get_read(start)?.into_inner().reader())),
            Self::File(file, _) => {
                Ok(Box::new(BufReader::new(From { file: Arc::clone(file), at: start })))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self {
            Self::Memory(bytes) => bytes.get_bytes(start, length),
            Self::File(file, whole) => {
                // A damaged footer may name any length: never reserve more than there is.
                if start.checked_add(length as u64).is_none_or(|end| end > *whole) {
                    return Err(ParquetError::EOF(format!(
                        "{length} bytes at {start} of a file of {whole}"
                    )));
                }
                let mut bytes = vec![0_u8; length];
                file.read_exact_at(&mut bytes, start)?;
                Ok(bytes.into())
            }
        }
    }
}
