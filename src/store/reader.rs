//! Reading one Parquet file, whoever wrote it.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader};

use super::columns::{Columns, Mismatch};
use super::schema::{
    DATA_KEY, Part, ROWS_AT_ONCE, SCHEMA_VERSION, TABLE_KEY, VERSION_KEY, digest_text,
};
use super::source::Source;
use super::{StoreError, Table};
use crate::rollout::TurnId;

/// Ids that are decoded at once.
const IDS_AT_ONCE: usize = 4096;

/// The rows of a Parquet file, all at once; see [`rows`] for a large one.
///
/// # Errors
/// As [`rows`].
pub fn read_file<R: Part>(path: &Path) -> Result<Vec<R>, StoreError> {
    let mut all = Vec::new();
    for batch in rows(path)? {
        all.append(&mut batch?);
    }
    Ok(all)
}

/// The rows of a Parquet file, a few at a time: only they and some pages are in memory.
///
/// A file without our metadata (made by duckdb or pyarrow from ours, say) is read if it has the
/// table's columns. The checksum of one with our metadata has been checked before the first row.
///
/// # Errors
/// [`StoreError::Io`] if the file cannot be opened, [`StoreError::Broken`] if it is cut off, no
/// Parquet or lacks a column, [`StoreError::OtherTable`], [`StoreError::NewerSchema`].
pub fn rows<R: Part>(path: &Path) -> Result<Rows<R>, StoreError> {
    guarded(path, R::TABLE, || Rows::build(path, open(path, R::TABLE)?, None))
}

/// Rows `picked`, by their positions in the file.
pub(super) fn pick<R: Part>(path: &Path, picked: &[usize]) -> Result<Vec<R>, StoreError> {
    guarded(path, R::TABLE, || {
        let opened = open(path, R::TABLE)?;
        let total = usize::try_from(opened.0.metadata().file_metadata().num_rows()).unwrap_or(0);
        let each = picked.iter().map(|at| *at..*at + 1);
        let selection = RowSelection::from_consecutive_ranges(each, total);
        let mut rows = Vec::new();
        for batch in Rows::build(path, opened, Some(selection))? {
            rows.append(&mut batch?);
        }
        Ok(rows)
    })
}

/// The rows of a file as they are read.
pub struct Rows<R> {
    path: PathBuf,
    /// `None` after the end or a failure.
    reader: Option<ParquetRecordBatchReader>,
    version: Option<u32>,
    total: u64,
    part: PhantomData<fn() -> R>,
}

impl<R: Part> Rows<R> {
    fn build(
        path: &Path,
        (builder, version): Opened,
        selection: Option<RowSelection>,
    ) -> Result<Self, StoreError> {
        let total = row_count(path, R::TABLE, builder.metadata().file_metadata())?;
        let mut builder = builder.with_batch_size(ROWS_AT_ONCE);
        if let Some(names) = R::COLUMNS {
            let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
            builder = builder.with_projection(mask);
        }
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(|error| broken(path, R::TABLE, error.to_string()))?;
        let path = path.to_owned();
        Ok(Self { path, reader: Some(reader), version, total, part: PhantomData })
    }

    /// The number of all rows of the file.
    pub const fn total(&self) -> u64 {
        self.total
    }

    fn read(&mut self) -> Option<Result<Vec<R>, StoreError>> {
        let (path, version) = (&self.path, self.version);
        let reader = self.reader.as_mut()?;
        let broken = |reason: String| broken(path, R::TABLE, reason);
        guarded(path, R::TABLE, || {
            let Some(batch) = reader.next() else { return Ok(None) };
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            let columns = Columns::of(&batch, version);
            R::decode(&columns).map(Some).map_err(|Mismatch(reason)| broken(reason))
        })
        .transpose()
    }
}

impl<R: Part> Iterator for Rows<R> {
    type Item = Result<Vec<R>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if !matches!(read, Some(Ok(_))) {
            self.reader = None;
        }
        read
    }
}

/// The turn ids of a file of `table`, row by row.
pub(super) fn turn_ids(path: &Path, table: Table) -> Result<Vec<TurnId>, StoreError> {
    guarded(path, table, || {
        let broken = |reason: String| broken(path, table, reason);
        let (builder, version) = open(path, table)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["turn_id"]);
        let builder = builder.with_projection(mask).with_batch_size(IDS_AT_ONCE);
        let mut ids = Vec::new();
        for batch in builder.build().map_err(|error| broken(error.to_string()))? {
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            let columns = Columns::of(&batch, version);
            let column = columns.turn_ids("turn_id").map_err(|Mismatch(reason)| broken(reason))?;
            ids.extend(column.all());
        }
        Ok(ids)
    })
}

/// The number of rows of a file of `table`; its rows are not decoded.
///
/// # Errors
/// As [`rows`], as far as checksum and footer tell.
pub fn rows_of(path: &Path, table: Table) -> Result<u64, StoreError> {
    guarded(path, table, || row_count(path, table, open(path, table)?.0.metadata().file_metadata()))
}

/// The footer of a file of `table`; nothing else of it is read.
pub(super) fn footer(path: &Path, table: Table) -> Result<ParquetMetaData, StoreError> {
    guarded(path, table, || {
        let source = Source::open_large(path)?;
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&source)
            .map_err(|error| broken(path, table, error.to_string()))?;
        check(path, table, footer.file_metadata())?;
        Ok(footer)
    })
}

/// The table that a file says it is of; `None` if it does not say or is no Parquet.
pub(super) fn table_named(path: &Path) -> Option<String> {
    let read = || {
        let source = Source::open_large(path).ok()?;
        let footer = ParquetMetaDataReader::new().parse_and_finish(&source).ok()?;
        value(footer.file_metadata(), TABLE_KEY)
    };
    std::panic::catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

fn row_count(path: &Path, table: Table, footer: &FileMetaData) -> Result<u64, StoreError> {
    let rows = footer.num_rows();
    u64::try_from(rows).map_err(|_| broken(path, table, format!("it has {rows} rows")))
}

fn broken(path: &Path, table: Table, reason: String) -> StoreError {
    StoreError::Broken { path: path.to_owned(), table, reason }
}

/// Runs the Parquet decoder, which panics on some damaged files: that too is a broken file.
fn guarded<T>(
    path: &Path,
    table: Table,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(broken(path, table, "its content is damaged".to_owned())))
}

/// An open file, and the schema version that it says it has.
type Opened = (ParquetRecordBatchReaderBuilder<Source>, Option<u32>);

fn open(path: &Path, table: Table) -> Result<Opened, StoreError> {
    let source = Source::open(path)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(source.clone())
        .map_err(|error| broken(path, table, error.to_string()))?;
    let footer = builder.metadata().file_metadata();
    let version = check(path, table, footer)?;
    if let Some(expected) = value(footer, DATA_KEY) {
        let length = expected.split(':').next().and_then(|length| length.parse::<u64>().ok());
        let hash = length.map(|length| source.hash(length)).transpose();
        let hash = hash.map_err(super::errors::io("read", path))?.flatten();
        if length.zip(hash).map(|(length, hash)| digest_text(length, &hash)) != Some(expected) {
            return Err(broken(path, table, "its data do not match their checksum".to_owned()));
        }
    }
    Ok((builder, version))
}

fn value(footer: &FileMetaData, key: &str) -> Option<String> {
    footer.key_value_metadata()?.iter().find(|pair| pair.key == key)?.value.clone()
}

/// Checks what a footer says of the file: its schema version, which is returned, and its table.
fn check(path: &Path, table: Table, footer: &FileMetaData) -> Result<Option<u32>, StoreError> {
    let parse = |text: String| {
        let parsed = text.parse::<u32>();
        parsed.map_err(|_| broken(path, table, format!("`{text}` is no schema version")))
    };
    let version = value(footer, VERSION_KEY).map(parse).transpose()?;
    if let Some(got) = version.filter(|version| *version > SCHEMA_VERSION) {
        return Err(StoreError::NewerSchema { path: path.to_owned(), got, known: SCHEMA_VERSION });
    }
    match value(footer, TABLE_KEY) {
        Some(got) if got != table.label() => {
            Err(StoreError::OtherTable { path: path.to_owned(), expected: table, got })
        }
        _ => Ok(version),
    }
}
