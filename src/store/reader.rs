//! Reading one Parquet file, whoever wrote it.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::columns::{Columns, Mismatch};
use super::errors::io;
use super::schema::{
    DATA_KEY, Part, ROWS_AT_ONCE, SCHEMA_VERSION, TABLE_KEY, VERSION_KEY, data_digest,
};
use super::{StoreError, Table};

/// The rows of a Parquet file.
///
/// A file without our metadata (made by duckdb or pyarrow from ours, say) is read if it has the
/// table's columns.
///
/// # Errors
/// [`StoreError::Io`] if the file cannot be opened, [`StoreError::Broken`] if it is cut off, no
/// Parquet or lacks a column, [`StoreError::OtherTable`], [`StoreError::NewerSchema`].
pub fn read_file<R: Part>(path: &Path) -> Result<Vec<R>, StoreError> {
    let broken = |reason: String| broken(path, R::TABLE, reason);
    guarded(path, R::TABLE, || {
        let (builder, version) = open(path, R::TABLE)?;
        let builder = match R::COLUMNS {
            Some(names) => {
                let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
                builder.with_projection(mask)
            }
            None => builder,
        };
        let reader = builder
            .with_batch_size(ROWS_AT_ONCE)
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| broken(error.to_string()))?;
            let columns = Columns::of(&batch, version);
            let mut decoded = R::decode(&columns).map_err(|Mismatch(reason)| broken(reason))?;
            rows.append(&mut decoded);
        }
        Ok(rows)
    })
}

/// The number of rows of a file of `table`; its rows are not decoded.
///
/// # Errors
/// As [`read_file`], as far as checksum and footer tell.
pub fn rows_of(path: &Path, table: Table) -> Result<u64, StoreError> {
    guarded(path, table, || {
        let rows = open(path, table)?.0.metadata().file_metadata().num_rows();
        u64::try_from(rows).map_err(|_| broken(path, table, format!("it has {rows} rows")))
    })
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
type Opened = (ParquetRecordBatchReaderBuilder<Bytes>, Option<u32>);

fn open(path: &Path, table: Table) -> Result<Opened, StoreError> {
    let bytes = Bytes::from(std::fs::read(path).map_err(io("read", path))?);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .map_err(|error| broken(path, table, error.to_string()))?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let value = |key: &str| {
        let pair = metadata?.iter().find(|pair| pair.key == key)?;
        pair.value.clone()
    };
    let parse = |text: String| {
        let parsed = text.parse::<u32>();
        parsed.map_err(|_| broken(path, table, format!("`{text}` is no schema version")))
    };
    let version = value(VERSION_KEY).map(parse).transpose()?;
    if let Some(got) = version.filter(|version| *version > SCHEMA_VERSION) {
        return Err(StoreError::NewerSchema { path: path.to_owned(), got, known: SCHEMA_VERSION });
    }
    if let Some(got) = value(TABLE_KEY).filter(|got| got != table.label()) {
        return Err(StoreError::OtherTable { path: path.to_owned(), expected: table, got });
    }
    if let Some(digest) = value(DATA_KEY) {
        let length = digest.split(':').next().and_then(|length| length.parse().ok());
        let data = length.and_then(|length: usize| bytes.get(..length));
        if data.map(data_digest) != Some(digest) {
            return Err(broken(path, table, "its data do not match their checksum".to_owned()));
        }
    }
    Ok((builder, version))
}
