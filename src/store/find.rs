//! The rows of one turn, without reading those of others.

use std::ops::RangeInclusive;
use std::time::{Duration, UNIX_EPOCH};

use parquet::file::metadata::ParquetMetaData;

use super::reader::{footer, pick, turn_ids};
use super::schema::Part;
use super::tail::{Segment, Tail};
use super::turns::Located;
use super::{StoreError, Table};
use crate::rollout::TurnId;

/// How much the clocks of ids and of files may differ.
const CLOCKS_APART: Duration = Duration::from_secs(10);

/// What was found of a turn.
#[derive(Debug)]
pub struct Sought<R> {
    /// Its rows, those of the segments that were written last first.
    pub rows: Vec<R>,
    /// Segments that may hold more of them but cannot be read.
    pub broken: Vec<StoreError>,
}

/// Finds the rows of single turns by the range of ids that the footer of each segment names. The
/// ranges are kept: a further search reads the footers of new segments only.
#[derive(Debug)]
pub struct Finder<R> {
    tail: Tail<R>,
    ranges: Vec<(Segment, Option<(TurnId, TurnId)>)>,
}

impl<R: Part> Finder<R> {
    pub(super) const fn new(tail: Tail<R>) -> Self {
        Self { tail, ranges: Vec::new() }
    }

    /// The rows of one turn.
    pub fn find(&mut self, turn: TurnId) -> Sought<R> {
        let ranges = &mut self.ranges;
        let broken = self.tail.visit(|segment| {
            let footer = footer(&segment.path(), R::TABLE)?;
            ranges.push((segment.clone(), range(&footer)));
            Ok(())
        });
        let mut sought = Sought { rows: Vec::new(), broken };
        for (segment, range) in self.ranges.iter().rev() {
            if range.is_some_and(|(first, last)| turn < first || last < turn) {
                continue;
            }
            match rows_of_turn(segment, turn) {
                Ok(mut rows) => sought.rows.append(&mut rows),
                Err(error) => sought.broken.push(error),
            }
        }
        sought
    }
}

impl Segment {
    /// The turns of which the segment may hold rows, whether it can be read or not: those between
    /// the ids that its footer names, else all that are not younger than the file.
    pub fn turns(&self, table: Table) -> RangeInclusive<TurnId> {
        if let Some((first, last)) = footer(&self.path(), table).ok().and_then(|f| range(&f)) {
            return first..=last;
        }
        let since = self.changed_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        // The first 48 bits of an id are its milliseconds.
        let last = since.map_or(u128::MAX, |age| (age + CLOCKS_APART).as_millis() << 80);
        TurnId(0)..=TurnId(last)
    }
}

fn rows_of_turn<R: Part>(segment: &Segment, turn: TurnId) -> Result<Vec<R>, StoreError> {
    let path = segment.path();
    let ids = turn_ids(&path, R::TABLE)?;
    let at: Vec<usize> =
        ids.iter().enumerate().filter(|(_, id)| **id == turn).map(|(at, _)| at).collect();
    if at.is_empty() { Ok(Vec::new()) } else { pick(&path, &at) }
}

/// The least and the greatest turn id of a file, if its footer names them.
fn range(footer: &ParquetMetaData) -> Option<(TurnId, TurnId)> {
    let schema = footer.file_metadata().schema_descr();
    let at = schema.columns().iter().position(|column| column.path().string() == "turn_id")?;
    let id = |bytes: Option<&[u8]>| std::str::from_utf8(bytes?).ok()?.parse::<TurnId>().ok();
    let mut range: Option<(TurnId, TurnId)> = None;
    for group in footer.row_groups() {
        let statistics = group.column(at).statistics()?;
        let (first, last) = (id(statistics.min_bytes_opt())?, id(statistics.max_bytes_opt())?);
        range = Some(match range {
            Some((least, greatest)) => (least.min(first), greatest.max(last)),
            None => (first, last),
        });
    }
    range
}
