//! Typed columns by name: building them from rows, and taking them apart again.
//!
//! Nothing is made up on the way: a missing column, a null where none may be, a value that does
//! not fit and an unknown label are errors that name the column.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray,
    RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::rollout::TurnId;

/// Name of a list's element, as the Parquet specification has it.
const ELEMENT: &str = "element";

/// Columns under construction.
#[derive(Debug, Default)]
pub struct Batch {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Batch {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn push(mut self, name: &str, nullable: bool, array: ArrayRef) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }

    /// A text column.
    pub fn text<T: AsRef<str>>(self, name: &str, values: impl Iterator<Item = T>) -> Self {
        self.push(name, false, Arc::new(StringArray::from_iter_values(values)))
    }

    /// A text column with nulls.
    pub fn optional_text<T: AsRef<str>>(
        self,
        name: &str,
        values: impl Iterator<Item = Option<T>>,
    ) -> Self {
        self.push(name, true, Arc::new(values.collect::<StringArray>()))
    }

    /// A column of numbers.
    pub fn numbers<T: ArrowPrimitiveType>(
        self,
        name: &str,
        values: impl Iterator<Item = T::Native>,
    ) -> Self {
        self.push(name, false, Arc::new(PrimitiveArray::<T>::from_iter_values(values)))
    }

    /// A column of numbers with nulls.
    pub fn optional_numbers<T: ArrowPrimitiveType>(
        self,
        name: &str,
        values: impl Iterator<Item = Option<T::Native>>,
    ) -> Self {
        let mut builder = PrimitiveArray::<T>::builder(0);
        values.for_each(|value| builder.append_option(value));
        self.push(name, true, Arc::new(builder.finish()))
    }

    /// A column of instants, in microseconds since the Unix epoch.
    pub fn times(self, name: &str, values: impl Iterator<Item = i64>) -> Self {
        let array = PrimitiveArray::<TimestampMicrosecondType>::from_iter_values(values);
        self.push(name, false, Arc::new(array.with_timezone("UTC")))
    }

    /// A column of instants with nulls.
    pub fn optional_times(self, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        let array = values.collect::<PrimitiveArray<TimestampMicrosecondType>>();
        self.push(name, true, Arc::new(array.with_timezone("UTC")))
    }

    /// A column of booleans.
    pub fn flags(self, name: &str, values: impl Iterator<Item = bool>) -> Self {
        self.push(name, false, Arc::new(values.map(Some).collect::<BooleanArray>()))
    }

    fn lists(self, name: &str, lengths: Vec<usize>, values: ArrayRef) -> Self {
        let element = Arc::new(Field::new(ELEMENT, values.data_type().clone(), false));
        let list = ListArray::new(element, OffsetBuffer::from_lengths(lengths), values, None);
        self.push(name, false, Arc::new(list))
    }

    /// A column of lists of numbers.
    pub fn number_lists<'a, T: ArrowPrimitiveType>(
        self,
        name: &str,
        values: impl Iterator<Item = &'a [T::Native]> + Clone,
    ) -> Self {
        let lengths = values.clone().map(<[_]>::len).collect();
        let flat = PrimitiveArray::<T>::from_iter_values(values.flatten().copied());
        self.lists(name, lengths, Arc::new(flat))
    }

    /// A column of lists of texts.
    pub fn text_lists<'a>(
        self,
        name: &str,
        values: impl Iterator<Item = &'a [String]> + Clone,
    ) -> Self {
        let lengths = values.clone().map(<[_]>::len).collect();
        let flat = StringArray::from_iter_values(values.flatten());
        self.lists(name, lengths, Arc::new(flat))
    }

    /// A column of lists of structs; `fill` names the columns of the structs.
    pub fn struct_lists<'a, T: 'a>(
        self,
        name: &str,
        values: impl Iterator<Item = &'a [T]> + Clone,
        fill: impl FnOnce(Self, &[&'a T]) -> Self,
    ) -> Self {
        let lengths = values.clone().map(<[_]>::len).collect();
        let flat: Vec<&T> = values.flatten().collect();
        self.lists(name, lengths, fill(Self::new(), &flat).into_struct())
    }

    /// A column of structs, with the columns of `inner`.
    pub fn group(self, name: &str, inner: Self) -> Self {
        self.push(name, false, inner.into_struct())
    }

    fn into_struct(self) -> ArrayRef {
        Arc::new(StructArray::new(Fields::from(self.fields), self.arrays, None))
    }

    /// The columns as a record batch.
    ///
    /// # Errors
    /// Columns of unequal length.
    pub fn finish(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
    }
}

/// What in a file does not fit the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(pub String);

/// The values of one column, taken row by row.
#[derive(Debug)]
pub struct Column<T>(std::vec::IntoIter<T>);

impl<T> Column<T> {
    /// A column of these values.
    pub fn of(values: Vec<T>) -> Self {
        Self(values.into_iter())
    }

    /// Every row's value.
    pub fn all(self) -> impl Iterator<Item = T> {
        self.0
    }

    /// The next row's value.
    ///
    /// # Errors
    /// The column is shorter than the batch.
    pub fn take(&mut self) -> Result<T, Mismatch> {
        self.0.next().ok_or_else(|| Mismatch("a column is shorter than its batch".to_owned()))
    }
}

/// Columns that were read.
#[derive(Debug)]
pub struct Columns<'a> {
    fields: &'a Fields,
    arrays: &'a [ArrayRef],
    rows: usize,
    /// The version of the schema that they were written by, if the file says so.
    version: Option<u32>,
    /// Name of the column that these stand in, with a dot; empty at the top.
    within: String,
}

impl<'a> Columns<'a> {
    /// The columns of a batch from a file of this schema version.
    pub fn of(batch: &'a RecordBatch, version: Option<u32>) -> Self {
        Self {
            fields: batch.schema_ref().fields(),
            arrays: batch.columns(),
            rows: batch.num_rows(),
            version,
            within: String::new(),
        }
    }

    /// Builds one value per row.
    ///
    /// # Errors
    /// The first row that could not be built.
    pub fn rows<T>(
        &self,
        mut row: impl FnMut() -> Result<T, Mismatch>,
    ) -> Result<Vec<T>, Mismatch> {
        (0..self.rows).map(|_| row()).collect()
    }

    /// A column that came with schema `version`: `default` in each row of a file that is older, or
    /// that does not say and lacks it.
    pub fn since<T: Clone>(
        &self,
        version: u32,
        name: &str,
        default: T,
        read: impl FnOnce(&Self, &str) -> Result<Column<T>, Mismatch>,
    ) -> Result<Column<T>, Mismatch> {
        let older = self.version.is_none_or(|own| own < version);
        if older && self.fields.find(name).is_none() {
            return Ok(Column(vec![default; self.rows].into_iter()));
        }
        read(self, name)
    }

    fn mismatch(&self, name: &str, what: impl std::fmt::Display) -> Mismatch {
        Mismatch(format!("column `{}{name}` {what}", self.within))
    }

    fn any(&self, name: &str, nullable: bool) -> Result<ArrayRef, Mismatch> {
        let (index, _) = self.fields.find(name).ok_or_else(|| self.mismatch(name, "is missing"))?;
        let array = self.arrays.get(index).ok_or_else(|| self.mismatch(name, "is missing"))?;
        if !nullable && array.logical_null_count() > 0 {
            return Err(self.mismatch(name, "holds a null"));
        }
        Ok(Arc::clone(array))
    }

    fn cast(&self, name: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Mismatch> {
        if array.data_type() == to {
            return Ok(Arc::clone(array));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, to, &options)
            .map_err(|error| self.mismatch(name, format!("has the wrong type: {error}")))
    }

    fn array(&self, name: &str, to: &DataType, nullable: bool) -> Result<ArrayRef, Mismatch> {
        self.cast(name, &self.any(name, nullable)?, to)
    }

    /// A text column.
    pub fn text(&self, name: &str) -> Result<Column<String>, Mismatch> {
        let array = self.array(name, &DataType::Utf8, false)?;
        let values: Vec<_> = array.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        Ok(Column(values.into_iter()))
    }

    /// A text column with nulls.
    pub fn optional_text(&self, name: &str) -> Result<Column<Option<String>>, Mismatch> {
        let array = self.array(name, &DataType::Utf8, true)?;
        let texts = array.as_string::<i32>().iter();
        let values: Vec<_> = texts.map(|value| value.map(str::to_owned)).collect();
        Ok(Column(values.into_iter()))
    }

    /// A column of labels, by the function that knows them.
    pub fn labels<T>(
        &self,
        name: &str,
        from_label: impl Fn(&str) -> Option<T>,
    ) -> Result<Column<T>, Mismatch> {
        let parse = |label: String| {
            from_label(&label).ok_or_else(|| self.mismatch(name, format!("holds `{label}`")))
        };
        let values: Vec<_> = self.text(name)?.0.map(parse).collect::<Result<_, _>>()?;
        Ok(Column(values.into_iter()))
    }

    /// A column of labels with nulls, by the function that knows them.
    pub fn optional_labels<T>(
        &self,
        name: &str,
        from_label: impl Fn(&str) -> Option<T>,
    ) -> Result<Column<Option<T>>, Mismatch> {
        let known = |label: String| {
            from_label(&label).ok_or_else(|| self.mismatch(name, format!("holds `{label}`")))
        };
        let parse = |label: Option<String>| label.map(known).transpose();
        let values: Vec<_> = self.optional_text(name)?.0.map(parse).collect::<Result<_, _>>()?;
        Ok(Column(values.into_iter()))
    }

    fn turn_id(&self, name: &str, text: &str) -> Result<TurnId, Mismatch> {
        text.parse().map_err(|_| self.mismatch(name, format!("holds `{text}`, no turn id")))
    }

    /// A column of turn ids.
    pub fn turn_ids(&self, name: &str) -> Result<Column<TurnId>, Mismatch> {
        let ids = self.text(name)?.0.map(|text| self.turn_id(name, &text));
        Ok(Column(ids.collect::<Result<Vec<_>, _>>()?.into_iter()))
    }

    /// A column of turn ids with nulls.
    pub fn optional_turn_ids(&self, name: &str) -> Result<Column<Option<TurnId>>, Mismatch> {
        let parse = |text: Option<String>| text.map(|text| self.turn_id(name, &text)).transpose();
        let ids = self.optional_text(name)?.0.map(parse);
        Ok(Column(ids.collect::<Result<Vec<_>, _>>()?.into_iter()))
    }

    /// A column of numbers.
    pub fn numbers<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<Column<T::Native>, Mismatch> {
        let array = self.array(name, &T::DATA_TYPE, false)?;
        Ok(Column(array.as_primitive::<T>().values().to_vec().into_iter()))
    }

    /// A column of numbers with nulls.
    pub fn optional_numbers<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<Column<Option<T::Native>>, Mismatch> {
        let array = self.array(name, &T::DATA_TYPE, true)?;
        let values: Vec<_> = array.as_primitive::<T>().iter().collect();
        Ok(Column(values.into_iter()))
    }

    /// A column of booleans.
    pub fn flags(&self, name: &str) -> Result<Column<bool>, Mismatch> {
        let array = self.array(name, &DataType::Boolean, false)?;
        let values: Vec<_> = array.as_boolean().values().iter().collect();
        Ok(Column(values.into_iter()))
    }

    /// A column of instants with nulls, in microseconds since the Unix epoch.
    pub fn optional_times(&self, name: &str) -> Result<Column<Option<i64>>, Mismatch> {
        let array = self.array(name, &zoned(), true)?;
        let values: Vec<_> = array.as_primitive::<TimestampMicrosecondType>().iter().collect();
        Ok(Column(values.into_iter()))
    }

    /// A column of instants, in microseconds since the Unix epoch.
    pub fn times(&self, name: &str) -> Result<Column<i64>, Mismatch> {
        let array = self.array(name, &zoned(), false)?;
        let values = array.as_primitive::<TimestampMicrosecondType>().values().to_vec();
        Ok(Column(values.into_iter()))
    }

    /// The lengths and the elements, end to end, of a column of lists.
    fn lists(&self, name: &str) -> Result<(Vec<usize>, ArrayRef), Mismatch> {
        let array = self.any(name, false)?;
        let array = match array.data_type() {
            DataType::LargeList(element) | DataType::ListView(element) => {
                self.cast(name, &array, &DataType::List(Arc::clone(element)))?
            }
            _ => array,
        };
        let list = array
            .as_list_opt::<i32>()
            .ok_or_else(|| self.mismatch(name, format!("is no list: {}", array.data_type())))?;
        let offsets = list.offsets();
        let (first, last) = (offsets.first() as usize, offsets.last() as usize);
        let values = list.values().slice(first, last - first);
        if values.logical_null_count() > 0 {
            return Err(self.mismatch(name, "holds a null in a list"));
        }
        Ok((offsets.lengths().collect(), values))
    }

    /// A column of lists of numbers.
    pub fn number_lists<T: ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<Column<Vec<T::Native>>, Mismatch> {
        let (lengths, values) = self.lists(name)?;
        let values = self.cast(name, &values, &T::DATA_TYPE)?;
        Ok(cut(lengths, values.as_primitive::<T>().values().iter().copied()))
    }

    /// A column of lists of texts.
    pub fn text_lists(&self, name: &str) -> Result<Column<Vec<String>>, Mismatch> {
        let (lengths, values) = self.lists(name)?;
        let values = self.cast(name, &values, &DataType::Utf8)?;
        Ok(cut(lengths, values.as_string::<i32>().iter().flatten().map(str::to_owned)))
    }

    fn structs<T>(
        &self,
        name: &str,
        array: &ArrayRef,
        read: impl FnOnce(&Columns<'_>) -> Result<Vec<T>, Mismatch>,
    ) -> Result<Vec<T>, Mismatch> {
        let inner = array.as_struct_opt().ok_or_else(|| {
            self.mismatch(name, format!("holds no structs: {}", array.data_type()))
        })?;
        read(&Columns {
            fields: inner.fields(),
            arrays: inner.columns(),
            rows: inner.len(),
            version: self.version,
            within: format!("{}{name}.", self.within),
        })
    }

    /// A column of lists of structs, by the function that reads the structs.
    pub fn struct_lists<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Columns<'_>) -> Result<Vec<T>, Mismatch>,
    ) -> Result<Column<Vec<T>>, Mismatch> {
        let (lengths, values) = self.lists(name)?;
        Ok(cut(lengths, self.structs(name, &values, read)?.into_iter()))
    }

    /// A column of structs, by the function that reads them.
    pub fn group<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Columns<'_>) -> Result<Vec<T>, Mismatch>,
    ) -> Result<Column<T>, Mismatch> {
        Ok(Column(self.structs(name, &self.any(name, false)?, read)?.into_iter()))
    }
}

/// Cuts a flat run of values into lists.
fn cut<T>(lengths: Vec<usize>, mut values: impl Iterator<Item = T>) -> Column<Vec<T>> {
    let lists: Vec<Vec<T>> =
        lengths.into_iter().map(|length| values.by_ref().take(length).collect()).collect();
    Column(lists.into_iter())
}

/// The type of an instant.
fn zoned() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
