//! How rows become Arrow columns and Parquet files, and the version of that mapping.

use std::io::Write;
use std::marker::PhantomData;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::columns::{Batch, Columns, Mismatch};
use super::{StoreError, Table, segment};

/// The version of the columns that this program writes, kept in each file's metadata.
pub const SCHEMA_VERSION: u32 = 5;

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
    let mut encoder = Encoder::new()?;
    encoder.write(rows)?;
    encoder.finish()
}

/// A Parquet file in the making.
pub(super) struct Encoder<R> {
    writer: ArrowWriter<Hashed>,
    rows: PhantomData<fn(&R)>,
}

impl<R: Record> Encoder<R> {
    /// A file without rows.
    pub fn new() -> Result<Self, StoreError> {
        let schema = encoded::<R>(&[])?.schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(vec![
                KeyValue::new(VERSION_KEY.to_owned(), SCHEMA_VERSION.to_string()),
                KeyValue::new(TABLE_KEY.to_owned(), R::TABLE.label().to_owned()),
            ]))
            .build();
        let into = Hashed { bytes: Vec::new(), hash: Sha256::new(), length: 0 };
        let writer = ArrowWriter::try_new(into, schema, Some(properties)).map_err(failed::<R>)?;
        Ok(Self { writer, rows: PhantomData })
    }

    /// Adds rows.
    pub fn write(&mut self, rows: &[R]) -> Result<(), StoreError> {
        for rows in rows.chunks(ROWS_AT_ONCE) {
            self.writer.write(&encoded(rows)?).map_err(failed::<R>)?;
        }
        Ok(())
    }

    /// Ends a row group, and takes the bytes that are ready.
    pub fn take(&mut self) -> Result<Vec<u8>, StoreError> {
        self.writer.flush().map_err(failed::<R>)?;
        self.writer.sync().map_err(failed::<R>)?;
        Ok(std::mem::take(&mut self.writer.inner_mut().bytes))
    }

    /// Bytes in memory, about.
    pub fn in_memory(&self) -> usize {
        self.writer.in_progress_size()
    }

    /// The bytes that were not taken, with the footer.
    pub fn finish(mut self) -> Result<Vec<u8>, StoreError> {
        self.writer.flush().map_err(failed::<R>)?;
        self.writer.sync().map_err(failed::<R>)?;
        let data = self.writer.inner();
        let digest = digest_text(data.length, &data.hash.clone().finalize().into());
        self.writer.append_key_value_metadata(KeyValue::new(DATA_KEY.to_owned(), digest));
        Ok(self.writer.into_inner().map_err(failed::<R>)?.bytes)
    }
}

fn encoded<R: Record>(rows: &[R]) -> Result<RecordBatch, StoreError> {
    R::encode(rows).finish().map_err(failed::<R>)
}

fn failed<R: Record>(error: impl std::fmt::Display) -> StoreError {
    StoreError::Encode { table: R::TABLE, reason: error.to_string() }
}

/// Bytes, with the hash of all that were ever written.
struct Hashed {
    bytes: Vec<u8>,
    hash: Sha256,
    length: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The value of [`DATA_KEY`] for data of this length and SHA-256.
pub(super) fn digest_text(length: u64, hash: &segment::Hash) -> String {
    let mut text = format!("{length}:");
    for byte in hash {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
