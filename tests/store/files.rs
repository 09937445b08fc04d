//! Single files: of the first release, of other programs, of later releases, of other tables.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use openclaw_rl::config::Home;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{Hint, Score, Turn};
use openclaw_rl::store::{
    Record, SCHEMA_VERSION, Store, StoreError, Table, read_file, rows_of, write_file,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::{v1, v2, v3, v4, v5};

/// `OPENCLAW_RL_WRITE_GOLDEN=1 cargo test --test it store::files` writes the files of the present
/// schema version anew. Only until it has been released.
const WRITE: &str = "OPENCLAW_RL_WRITE_GOLDEN";

fn opens<R: Record + PartialEq + std::fmt::Debug>(version: u32, expected: &[R]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/store/v{version}"));
    let path = dir.join(format!("{}.parquet", R::TABLE));
    if version == SCHEMA_VERSION && std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(&dir).unwrap();
        write_file(&path, expected).unwrap();
    }
    assert_eq!(read_file::<R>(&path).unwrap(), expected, "{}", path.display());
    assert_eq!(rows_of(&path, R::TABLE).unwrap(), expected.len() as u64);
}

#[test]
fn the_files_of_every_release_open() {
    for version in [1, 2] {
        opens(version, &v1::rollouts());
        opens(version, &v1::scores());
        opens(version, &v1::hints());
        opens(version, &v1::deployments());
    }
    for version in [3, 4, 5] {
        opens(version, &v1::deployments());
        opens(version, &v3::rollouts());
        opens(version, &v3::feedback());
        opens(version, &v3::turns());
    }
    opens(3, &v3::scores());
    opens(4, &v3::scores());
    opens(5, &v5::scores());
    opens(5, &v5::hints());
    opens(5, &v4::steps());
    opens(3, &v3::hints());
    opens(3, &v3::steps());
    opens(4, &v4::hints());
    opens(4, &v4::steps());
    opens(1, &v1::turns());
    opens(1, &v1::steps());
    opens(2, &v2::turns());
    opens(2, &v2::steps());
}

#[test]
fn only_an_older_file_may_lack_what_came_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns.parquet");
    write_file(&path, &v2::turns()).unwrap();
    let file = fs::File::open(&path).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let kept = (0..batch.num_columns()).filter(|at| batch.schema().field(*at).name() != "forced");
    let batch = batch.project(&kept.collect::<Vec<_>>()).unwrap();
    for (version, lacks) in [(Some("2"), true), (Some("1"), false), (None, false)] {
        let pair =
            |text: &str| KeyValue::new("openclaw.schema_version".to_owned(), text.to_owned());
        let pairs = version.map(|version| vec![pair(version)]);
        let properties = WriterProperties::builder().set_key_value_metadata(pairs).build();
        let file = fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        match read_file::<Turn>(&path) {
            Err(error) if lacks => {
                assert!(error.to_string().contains("column `forced` is missing"), "{error}");
            }
            read => assert!(read.unwrap().iter().all(|turn| turn.forced.is_empty() && !lacks)),
        }
    }
}

/// A scores file of two rows, its columns, and where a changed one can be written.
struct Scores {
    dir: tempfile::TempDir,
    batch: RecordBatch,
}

impl Scores {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scores.parquet");
        write_file(&path, &v1::scores()).unwrap();
        let file = fs::File::open(path).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        Self { dir, batch }
    }

    /// Writes the columns as another program would, with this metadata.
    fn write(&self, columns: Vec<(&str, bool, ArrayRef)>, pairs: &[(&str, &str)]) -> PathBuf {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, nullable, array)| Field::new(*name, array.data_type().clone(), *nullable))
            .collect();
        let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let pairs = pairs
            .iter()
            .map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()))
            .collect();
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
        let path = self.dir.path().join("changed.parquet");
        let file = fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    /// The columns as they are.
    fn columns(&self) -> Vec<(&str, bool, ArrayRef)> {
        let schema = self.batch.schema_ref();
        let columns = schema.fields().iter().zip(self.batch.columns());
        columns.map(|(f, a)| (f.name().as_str(), f.is_nullable(), Arc::clone(a))).collect()
    }

    /// The columns with one replaced.
    fn with(&self, name: &str, array: ArrayRef) -> Vec<(&str, bool, ArrayRef)> {
        let mut columns = self.columns();
        let column = columns.iter_mut().find(|column| column.0 == name).unwrap();
        *column = (column.0, true, array);
        columns
    }
}

fn broken(path: &Path) -> String {
    let error = read_file::<Score>(path).unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    error.to_string()
}

#[test]
fn a_file_of_another_program_is_read_if_its_columns_fit() {
    let scores = Scores::new();
    let wide = |name: &str| {
        let column = scores.batch.column_by_name(name).unwrap();
        cast(column, &DataType::LargeUtf8).unwrap()
    };
    let mut columns = scores.with("turn_id", wide("turn_id"));
    columns.push(("extra", false, Arc::new(Int64Array::from(vec![1, 2]))));
    columns.reverse();
    for column in &mut columns {
        column.1 = true;
        match column.0 {
            "score" => column.2 = Arc::new(Int64Array::from(vec![0, 0])),
            "judge" => column.2 = wide("judge"),
            _ => {}
        }
    }
    let path = scores.write(columns, &[]);
    assert_eq!(read_file::<Score>(&path).unwrap(), v1::scores());
}

#[test]
fn what_does_not_fit_is_named() {
    let scores = Scores::new();
    let mut columns = scores.columns();
    columns.retain(|column| column.0 != "reasoning");
    assert!(broken(&scores.write(columns, &[])).contains("column `reasoning` is missing"));
    let text =
        |values: [Option<&str>; 2]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let id = "0190a5c0-0000-7000-8000-000000000001";
    let cases: [(&str, ArrayRef, &str); 6] = [
        ("judge", text([Some("a"), None]), "column `judge` holds a null"),
        ("status", text([Some("judged"), Some("odd")]), "column `status` holds `odd`"),
        ("turn_id", text([Some(id), Some("7")]), "column `turn_id` holds `7`, no turn id"),
        ("score", Arc::new(Int64Array::from(vec![0, 300])), "column `score` has the wrong type"),
        ("votes", text([Some(""), Some("")]), "column `votes` is no list"),
        ("judged_at", text([Some("x"), Some("y")]), "column `judged_at` has the wrong type"),
    ];
    for (name, array, what) in cases {
        let message = broken(&scores.write(scores.with(name, array), &[]));
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn what_does_not_fit_within_a_list_is_named() {
    let scores = Scores::new();
    let votes = scores.batch.column_by_name("votes").unwrap();
    let votes = votes.as_any().downcast_ref::<ListArray>().unwrap();
    let DataType::List(element) = votes.data_type() else { panic!("{votes:?}") };
    let DataType::Struct(fields) = element.data_type() else { panic!("{element:?}") };
    let inner = votes.values().as_any().downcast_ref::<arrow::array::StructArray>().unwrap();
    let renamed: Vec<Field> = fields
        .iter()
        .map(|field| match field.name().as_str() {
            "text" => field.as_ref().clone().with_name("words"),
            _ => field.as_ref().clone(),
        })
        .collect();
    let inner = arrow::array::StructArray::new(renamed.into(), inner.columns().to_vec(), None);
    let element = Arc::new(Field::new("element", inner.data_type().clone(), false));
    let list = ListArray::new(element, votes.offsets().clone(), Arc::new(inner), None);
    let message = broken(&scores.write(scores.with("votes", Arc::new(list)), &[]));
    assert!(message.contains("column `votes.text` is missing"), "{message}");
}

#[test]
fn a_file_of_a_later_release_is_refused_by_name() {
    let scores = Scores::new();
    let later = SCHEMA_VERSION + 1;
    let path = scores.write(scores.columns(), &[("openclaw.schema_version", &later.to_string())]);
    let error = read_file::<Score>(&path).unwrap_err();
    let message = error.to_string();
    let named = matches!(error, StoreError::NewerSchema { got, known: SCHEMA_VERSION, .. }
        if got == later);
    assert!(named, "{message}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    assert!(error.hint().unwrap().contains("release"));
    let path = scores.write(scores.columns(), &[("openclaw.schema_version", "one")]);
    assert!(broken(&path).contains("`one` is no schema version"));
    let path = scores.write(scores.columns(), &[("openclaw.data", "4:00")]);
    assert!(broken(&path).contains("checksum"));
}

#[test]
fn a_file_of_another_table_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hints.parquet");
    write_file(&path, &v1::hints()).unwrap();
    let error = read_file::<Score>(&path).unwrap_err();
    assert!(matches!(error, StoreError::OtherTable { .. }), "{error}");
    assert!(error.to_string().ends_with("holds the table `hints`, expected `scores`"), "{error}");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(read_file::<Hint>(&path).unwrap(), v1::hints());
}

#[test]
fn what_is_no_parquet_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.parquet");
    for content in ["", "P", "PAR1", "PAR1PAR1", "PAR1\0\0\0\x7fPAR1", "{\"json\": true}"] {
        fs::write(&path, content).unwrap();
        broken(&path);
    }
    let error = read_file::<Score>(&dir.path().join("nowhere.parquet")).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(error.to_string().contains("nowhere.parquet") && error.exit_code() == 2, "{error}");
    let error = read_file::<Score>(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
}

#[test]
fn a_home_that_is_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("home");
    fs::write(&file, "").unwrap();
    let error = Store::open(&Home::new(&file)).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    assert_eq!((error.label(), error.exit_code()), ("store_io", 2));
    assert!(error.hint().is_some());
    let error = write_file::<Score>(&file.join("x.parquet"), &v1::scores()).unwrap_err();
    assert!(error.to_string().contains("x.parquet"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_home_is_named_and_can_still_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    let store = Store::open(&home).unwrap();
    store.writer::<Turn>("serve").unwrap().append(&v1::turns()).unwrap();
    let set = |mode: u32| {
        for path in [home.store(), home.store().join("turns/w=serve")] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    // The superuser may write everywhere; there is nothing to see then.
    let superuser = fs::write(home.store().join("probe"), "").is_ok();
    if !superuser {
        let store = Store::open(&home).unwrap();
        assert_eq!(store.read_all::<Turn>().unwrap(), v1::turns());
        let error = store.writer::<Turn>("serve").unwrap_err();
        assert!(error.to_string().contains("w=serve"), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(error.hint().unwrap().contains("--home"));
    }
    set(0o755);
}

#[test]
fn a_writer_needs_a_name_that_can_stand_in_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Home::new(dir.path())).unwrap();
    for name in ["", "a/b", "..", "A", "e=1", &"x".repeat(65)] {
        let error = store.writer::<Score>(name).unwrap_err();
        assert!(matches!(error, StoreError::WriterName { .. }), "{name}: {error}");
    }
    store.writer::<Score>("serve-30000_b").unwrap();
    assert!(store.segments(Table::Scores).unwrap().is_empty());
}
