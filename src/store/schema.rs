//! How rows become Arrow columns and Parquet files, and the version of that mapping.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::columns::{Batch, Columns, Mismatch};
use super::{StoreError, Table, segment};

/// The version of the columns that this program writes, kept in each file's metadata.
pub const SCHEMA_VERSION: u32 = 3;

/// Metadata key of the schema version.
pub(super) const VERSION_KEY: &str = "openclaw.schema_version";
/// Metadata key of the table's name.
pub(super) const TABLE_KEY: &str = "openclaw.table";

/// Metadata key of the length of the file's data and their SHA-256, `<bytes>:<hex>`. What follows
/// the data is the footer, in which this stands.
pub(super) const DATA_KEY: &str = "openclaw.data";

/// Rows that are encoded or decoded at once: bounds the 31-bit offsets of a text column, also
/// where every row holds a request of the largest size.
pub(super) const ROWS_AT_ONCE: usize = 32;

/// What can be read from a table's segments: all columns, or some.
pub trait Part: Sized + Send {
    /// The table.
    const TABLE: Table;
    /// The columns that are read; `None` for all.
    const COLUMNS: Option<&'static [&'static str]> = None;

    /// The rows of some columns.
    ///
    /// # Errors
    /// What does not fit: a missing column, a wrong type, an unexpected null, an unknown label.
    #[doc(hidden)]
    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch>;
}

/// A whole row, which can be written too.
pub trait Record: Part {
    /// The columns of some rows.
    #[doc(hidden)]
    fn encode(rows: &[Self]) -> Batch;
}

/// The bytes of a Parquet file with these rows. The same rows always give the same bytes.
pub(super) fn to_bytes<R: Record>(rows: &[R]) -> Result<Vec<u8>, StoreError> {
    let failed = |reason: String| StoreError::Encode { table: R::TABLE, reason };
    let batch = |rows| -> Result<RecordBatch, StoreError> {
        R::encode(rows).finish().map_err(|error| failed(error.to_string()))
    };
    let schema = batch(&[])?.schema();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(vec![
            KeyValue::new(VERSION_KEY.to_owned(), SCHEMA_VERSION.to_string()),
            KeyValue::new(TABLE_KEY.to_owned(), R::TABLE.label().to_owned()),
        ]))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))
        .map_err(|error| failed(error.to_string()))?;
    for rows in rows.chunks(ROWS_AT_ONCE) {
        writer.write(&batch(rows)?).map_err(|error| failed(error.to_string()))?;
    }
    writer.flush().map_err(|error| failed(error.to_string()))?;
    writer.sync().map_err(|error| failed(error.to_string()))?;
    let digest = data_digest(writer.inner());
    writer.append_key_value_metadata(KeyValue::new(DATA_KEY.to_owned(), digest));
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

/// The value of [`DATA_KEY`] for these data.
pub(super) fn data_digest(data: &[u8]) -> String {
    let mut text = format!("{}:", data.len());
    for byte in segment::hash(data) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
