//! What can go wrong with tables and files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Table;
use crate::fault::Explain;

/// A failure of the store, naming the file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is no Parquet file, is cut off, or lacks what the table needs.
    #[error("{} cannot be read as `{table}`: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The table that was expected.
        table: Table,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of another table.
    #[error("{} holds the table `{got}`, expected `{expected}`", path.display())]
    OtherTable {
        /// The file.
        path: PathBuf,
        /// The table that was asked for.
        expected: Table,
        /// The table that the file names.
        got: String,
    },
    /// A file of a later release.
    #[error(
        "{} has schema version {got}, this program knows versions up to {known}", path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The file's version.
        got: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// Another process wrote a different segment under this writer's name.
    #[error("{} was written by another process: this writer must stop", path.display())]
    Fenced {
        /// The segment.
        path: PathBuf,
    },
    /// A writer's name that cannot stand in a path.
    #[error("`{name}` cannot name a writer: expected 1 to 64 of a-z, 0-9, `-` and `_`")]
    WriterName {
        /// The name.
        name: String,
    },
    /// A directory without a file of the table.
    #[error("{} holds no Parquet file of the table `{table}`", path.display())]
    NoFiles {
        /// The directory.
        path: PathBuf,
        /// The table that was asked for.
        table: Table,
    },
    /// Output that would replace what is read.
    #[error("{} is input and output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// Rows that Arrow or Parquet would not take.
    #[error("rows of `{table}` could not be encoded: {reason}")]
    Encode {
        /// The table.
        table: Table,
        /// Why not.
        reason: String,
    },
}

impl StoreError {
    /// Whether trying the same again may succeed without anybody mending a file.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != ErrorKind::NotFound)
    }
}

impl Explain for StoreError {
    fn label(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store_io",
            Self::Broken { .. } => "store_broken",
            Self::OtherTable { .. } => "store_other_table",
            Self::NewerSchema { .. } => "store_newer_schema",
            Self::Fenced { .. } => "store_fenced",
            Self::WriterName { .. } => "store_writer_name",
            Self::NoFiles { .. } => "store_no_files",
            Self::SameFile { .. } => "store_same_file",
            Self::Encode { .. } => "store_encode",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } => io_hint(source)?,
            Self::Broken { .. } => {
                "`openclaw-rl store verify` lists every such file; restore it from a copy, or move \
                 it out of the store"
            }
            Self::OtherTable { .. } => "give a file or directory of the table that was asked for",
            Self::NewerSchema { .. } => "use the release of openclaw-rl that wrote the file",
            Self::Fenced { .. } => {
                "look for a second process on this home, or for files copied into it; then start \
                 this one again"
            }
            Self::WriterName { .. } => return None,
            Self::NoFiles { .. } => "give a Parquet file, or a directory with `*.parquet` in it",
            Self::SameFile { .. } => "give another `--output`",
            Self::Encode { .. } => "please report this, with the table's name and the reason",
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if source.kind() == ErrorKind::StorageFull => 1,
            Self::Io { source, .. } if io_hint(source).is_some() => 2,
            Self::WriterName { .. }
            | Self::OtherTable { .. }
            | Self::NoFiles { .. }
            | Self::SameFile { .. } => 2,
            _ => 1,
        }
    }
}

fn io_hint(source: &std::io::Error) -> Option<&'static str> {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("give a `--home` that this user may write to")
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            Some("a file stands where a directory is needed, or the other way round")
        }
        ErrorKind::NotFound => Some("check the path"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("the disk is full: make room; nothing that was acknowledged is lost")
        }
        _ => None,
    }
}

/// Turns an I/O error into one that names the deed and the path; for `map_err`.
pub(super) fn io<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { doing, path: path.to_owned(), source }
}
