//! Turns of many files in the order in which they were finished, which is how whoever follows the
//! table sees them.
//!
//! A file is opened when the order comes to its earliest turn, and read a few rows at a time; what
//! is read ahead of its order waits in a buffer. So the memory grows with how far the files
//! overlap and are out of order, and not with their number or size.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use rayon::prelude::*;

use super::columns::{Columns, Mismatch};
use super::reader::{Rows, footer, rows};
use super::schema::{Part, ROWS_AT_ONCE};
use super::{StoreError, Table, TurnText};
use crate::rollout::TurnId;

/// Bytes of turns that wait for their order. Beyond it they are handed out before they are sure
/// to be the next.
const HELD_BYTES_MAX: usize = 256 << 20;
/// Files that are open at the same time; beyond it likewise.
const OPEN_MAX: usize = 128;

/// Something that lies in a file.
pub trait Located {
    /// The file.
    fn path(&self) -> PathBuf;
}

impl Located for PathBuf {
    fn path(&self) -> PathBuf {
        self.clone()
    }
}

/// What comes next.
#[derive(Debug)]
pub enum TurnsItem<L> {
    /// A turn.
    Turn(Box<TurnText>),
    /// All turns of this file have been read.
    Read(L),
    /// The file could not be read to its end.
    Unread(L, StoreError),
}

/// Turns in the order of `finished_at`, then of their ids.
pub struct Turns<L> {
    /// Files that were not opened yet with the time of their earliest turn, the latest first.
    waiting: Vec<(i64, L)>,
    open: Vec<Open<L>>,
    held: BinaryHeap<Reverse<Held>>,
    held_bytes: usize,
    held_bytes_max: usize,
    unread: Vec<(L, StoreError)>,
}

impl<L: Located + Send> Turns<L> {
    /// The turns of these files. Of each the footer is read now, on all cores.
    pub fn new(files: Vec<L>) -> Self {
        let single = files.len() == 1;
        let (mut waiting, mut unread) = (Vec::with_capacity(files.len()), Vec::new());
        let timed = |file: L| match single {
            true => (Ok(i64::MIN), file),
            false => (earliest(&file.path()), file),
        };
        let files: Vec<_> = files.into_par_iter().map(timed).collect();
        for (time, file) in files {
            match time {
                Ok(time) => waiting.push((time, file)),
                Err(error) => unread.push((file, error)),
            }
        }
        waiting.sort_by_key(|(time, _)| Reverse(*time));
        Self {
            waiting,
            open: Vec::new(),
            held: BinaryHeap::new(),
            held_bytes: 0,
            held_bytes_max: HELD_BYTES_MAX,
            unread,
        }
    }

    /// Hands turns out early when more than so many bytes of them wait for their order.
    #[must_use]
    pub const fn holding(mut self, bytes: usize) -> Self {
        self.held_bytes_max = bytes;
        self
    }

    /// The open file with the earliest turn that was not read yet.
    fn first_open(&self) -> Option<(i64, usize)> {
        let bounds = self.open.iter().enumerate().map(|(at, open)| (open.bound(), at));
        bounds.min()
    }

    fn release(&mut self) -> Option<TurnsItem<L>> {
        let Reverse(Held(turn)) = self.held.pop()?;
        self.held_bytes -= size(&turn);
        Some(TurnsItem::Turn(turn))
    }

    /// Reads some rows of an open file.
    fn advance(&mut self, at: usize) -> Option<TurnsItem<L>> {
        match self.open[at].rows.next() {
            None => Some(TurnsItem::Read(self.open.swap_remove(at).file)),
            Some(Err(error)) => Some(TurnsItem::Unread(self.open.swap_remove(at).file, error)),
            Some(Ok(turns)) => {
                self.open[at].seen += turns.len();
                self.held_bytes += turns.iter().map(size).sum::<usize>();
                self.held.extend(turns.into_iter().map(|turn| Reverse(Held(Box::new(turn)))));
                None
            }
        }
    }
}

impl<L: Located + Send> Iterator for Turns<L> {
    type Item = TurnsItem<L>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((file, error)) = self.unread.pop() {
            return Some(TurnsItem::Unread(file, error));
        }
        loop {
            let open = self.first_open();
            let waiting = self.waiting.last().map(|(time, _)| *time);
            let bound = [open.map(|(bound, _)| bound), waiting].into_iter().flatten().min();
            let Some(bound) = bound else { return self.release() };
            let next = self.held.peek().map(|Reverse(Held(turn))| turn.finished_at_us);
            let full = self.held_bytes > self.held_bytes_max || self.open.len() >= OPEN_MAX;
            if next.is_some_and(|next| full || next < bound) {
                return self.release();
            }
            let item = match open {
                Some((earliest, at)) if full || waiting.is_none_or(|time| earliest <= time) => {
                    self.advance(at)
                }
                _ => {
                    let Some((_, file)) = self.waiting.pop() else { continue };
                    match Open::new(file) {
                        Ok(open) => self.open.push(open),
                        Err((file, error)) => return Some(TurnsItem::Unread(file, error)),
                    }
                    None
                }
            };
            if item.is_some() {
                return item;
            }
        }
    }
}

/// A file that is being read.
struct Open<L> {
    file: L,
    rows: Rows<TurnText>,
    seen: usize,
    /// The earliest time from the n-th run of [`ROWS_AT_ONCE`] rows on.
    bounds: Vec<i64>,
}

impl<L: Located> Open<L> {
    fn new(file: L) -> Result<Self, (L, StoreError)> {
        let path = file.path();
        let open = || {
            let rows = rows::<TurnText>(&path)?;
            // Rows that are read at once need no bounds.
            let few = rows.total() <= ROWS_AT_ONCE as u64;
            Ok((rows, if few { Vec::new() } else { bounds(&path)? }))
        };
        match open() {
            Ok((rows, bounds)) => Ok(Self { file, rows, seen: 0, bounds }),
            Err(error) => Err((file, error)),
        }
    }

    /// No turn that is still to be read is earlier.
    fn bound(&self) -> i64 {
        self.bounds.get(self.seen / ROWS_AT_ONCE).copied().unwrap_or(i64::MIN)
    }
}

/// A turn that waits for its order.
struct Held(Box<TurnText>);

impl Held {
    fn key(&self) -> (i64, TurnId) {
        (self.0.finished_at_us, self.0.turn_id)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Bytes of a turn in memory, about.
fn size(turn: &TurnText) -> usize {
    size_of::<TurnText>()
        + turn.messages.len()
        + turn.tools.len()
        + turn.reply.len()
        + turn.session_keys.len()
        + turn.user.len()
}

/// When a turn was finished.
struct Finished(i64);

impl Part for Finished {
    const TABLE: Table = Table::Turns;
    const COLUMNS: Option<&'static [&'static str]> = Some(&["finished_at"]);

    fn decode(columns: &Columns<'_>) -> Result<Vec<Self>, Mismatch> {
        let mut finished_at = columns.times("finished_at")?;
        columns.rows(|| Ok(Self(finished_at.take()?)))
    }
}

/// The earliest time from each run of [`ROWS_AT_ONCE`] rows on.
fn bounds(path: &Path) -> Result<Vec<i64>, StoreError> {
    let (mut run, mut bounds) = (Vec::with_capacity(ROWS_AT_ONCE), Vec::new());
    for batch in rows::<Finished>(path)? {
        for Finished(time) in batch? {
            run.push(time);
            if run.len() == ROWS_AT_ONCE {
                bounds.extend(run.drain(..).min());
            }
        }
    }
    bounds.extend(run.drain(..).min());
    let mut earliest = i64::MAX;
    for bound in bounds.iter_mut().rev() {
        earliest = earliest.min(*bound);
        *bound = earliest;
    }
    Ok(bounds)
}

/// The time of a file's earliest turn.
fn earliest(path: &Path) -> Result<i64, StoreError> {
    let footer = footer(path, Table::Turns)?;
    match by_statistics(&footer) {
        Some(time) => Ok(time),
        None => Ok(bounds(path)?.first().copied().unwrap_or(i64::MAX)),
    }
}

fn by_statistics(footer: &ParquetMetaData) -> Option<i64> {
    let schema = footer.file_metadata().schema_descr();
    let at = schema.columns().iter().position(|column| column.path().string() == "finished_at")?;
    let micros = matches!(
        schema.column(at).logical_type_ref(),
        Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::MICROS
    );
    let earliest = |at: usize| {
        footer.row_groups().iter().map(move |group| match group.column(at).statistics() {
            Some(Statistics::Int64(values)) => values.min_opt().copied(),
            _ => None,
        })
    };
    // Of no row groups there is no earliest, and nothing to read.
    if micros {
        earliest(at).try_fold(i64::MAX, |least, time| Some(least.min(time?)))
    } else {
        None
    }
}
