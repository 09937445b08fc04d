//! Plain Parquet files: what a stage reads and writes without a home.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::errors::io;
use super::reader::table_named;
use super::schema::{Encoder, Record};
use super::{StoreError, Table, segment};

/// Rows of a row group that are encoded before they go to the disk.
const GROUP_ROWS: usize = 10_000;
/// Bytes in memory before they do.
const GROUP_BYTES: usize = 32 << 20;
/// Directories within each other that are looked into.
const DEPTH_MAX: usize = 8;

/// The file itself, or the Parquet files of this table in a directory and those within it, in
/// order of their names. In a directory the files of another table are left out, so that a home's
/// `store` will do: each file is of the table that its metadata name, else of the one whose name
/// it or the nearest directory has. What is of no table by either counts for any.
///
/// # Errors
/// [`StoreError::Io`] if there is no such file or a directory cannot be listed,
/// [`StoreError::NoFiles`] for a directory that holds none.
pub fn files(input: &Path, table: Table) -> Result<Vec<PathBuf>, StoreError> {
    let found = fs::metadata(input).map_err(io("read", input))?;
    if !found.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let files = files_where(input, |named| named.is_none_or(|named| named == table.label()))?;
    if files.is_empty() {
        return Err(StoreError::NoFiles { path: input.to_owned(), table });
    }
    Ok(files)
}

/// The Parquet files of a directory, and of those within it, that say that they are of this table:
/// by their metadata, else by their name or the nearest directory's. There may be none.
///
/// # Errors
/// [`StoreError::Io`] if a directory cannot be listed.
pub fn files_named(dir: &Path, table: Table) -> Result<Vec<PathBuf>, StoreError> {
    files_where(dir, |named| named.is_some_and(|named| named == table.label()))
}

fn files_where(
    dir: &Path,
    wanted: impl Fn(Option<&str>) -> bool,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    collect(dir, DEPTH_MAX, &mut files)?;
    files.retain(|file| {
        let named = table_named(file);
        let named = named.as_deref().or_else(|| table_of_path(file.strip_prefix(dir).ok()?));
        wanted(named)
    });
    files.sort();
    Ok(files)
}

/// The table whose name a file without our metadata has, or else the nearest directory.
fn table_of_path(path: &Path) -> Option<&'static str> {
    let names = path.with_extension("");
    let mut names = names.iter().rev().filter_map(|name| Table::from_label(name.to_str()?));
    names.next().map(Table::label)
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(io("list the directory", dir))? {
        let entry = entry.map_err(io("list the directory", dir))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    Ok(())
}

/// The file that `output` names: itself, or `<table>.parquet` in it if it is a directory.
///
/// # Errors
/// [`StoreError::SameFile`] if it is one of `inputs`; [`StoreError::Io`] if its directory is not
/// there.
pub fn output_file(output: &Path, table: Table, inputs: &[PathBuf]) -> Result<PathBuf, StoreError> {
    let file = match output.is_dir() {
        true => output.join(format!("{table}.parquet")),
        false => output.to_owned(),
    };
    let parent = parent(&file);
    fs::read_dir(parent).map_err(io("write to", parent))?;
    if let Ok(there) = fs::canonicalize(&file)
        && inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == there))
    {
        return Err(StoreError::SameFile { path: file });
    }
    Ok(file)
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a plain Parquet file a few rows at a time. It comes into place when it is finished, and
/// replaces what stood there; until then nothing is to be seen of it.
pub struct FileWriter<R> {
    path: PathBuf,
    file: NamedTempFile,
    encoder: Encoder<R>,
    /// Rows of the row group.
    rows: usize,
    group_rows: usize,
}

impl<R: Record> FileWriter<R> {
    /// A file at `path`, in a directory that is there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be written to.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(parent(path));
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(io("write", path))?,
            encoder: Encoder::new()?,
            rows: 0,
            group_rows: GROUP_ROWS,
        })
    }

    /// Ends a row group after so many rows, at the next end of a [`write`](Self::write).
    #[must_use]
    pub const fn grouping(mut self, rows: usize) -> Self {
        self.group_rows = rows;
        self
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Encode`].
    pub fn write(&mut self, rows: &[R]) -> Result<(), StoreError> {
        self.encoder.write(rows)?;
        self.rows += rows.len();
        if self.rows >= self.group_rows || self.encoder.in_memory() >= GROUP_BYTES {
            self.rows = 0;
            let bytes = self.encoder.take()?;
            self.file.write_all(&bytes).map_err(io("write", &self.path))?;
        }
        Ok(())
    }

    /// Puts the file in place; on return it outlives a power cut.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Encode`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        let path = self.path;
        let bytes = self.encoder.finish()?;
        let mut put = || {
            self.file.write_all(&bytes)?;
            self.file.as_file().sync_all()
        };
        put().map_err(io("write", &path))?;
        self.file.persist(&path).map_err(|refused| io("write", &path)(refused.error))?;
        segment::sync_dir(parent(&path))
    }
}

/// Writes a plain Parquet file, replacing what stands there. Readers see the old or the new file.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::Encode`].
pub fn write_file<R: Record>(path: &Path, rows: &[R]) -> Result<(), StoreError> {
    let mut writer = FileWriter::create(path)?;
    writer.write(rows)?;
    writer.finish()
}
