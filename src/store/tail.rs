//! Reading what is new in a table, again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::StoreError;
use super::reader::{read_file, rows};
use super::schema::Part;
use super::segment;
use super::turns::Located;

/// A directory is listed in full at most this often; between, the next names are probed.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// Reads each segment of a table once, as it appears.
///
/// The cost of a poll grows with the number of epochs, not with the number of segments.
#[derive(Debug)]
pub struct Tail<R> {
    table: PathBuf,
    epochs: BTreeMap<Arc<Path>, Epoch>,
    /// Segments that [`Tail::some`] has found and not read yet.
    ahead: VecDeque<Segment>,
    rows: PhantomData<fn() -> R>,
}

/// What one poll brought.
#[derive(Debug)]
pub struct Polled<R> {
    /// The rows of the segments that were not seen before, by writer, epoch and segment.
    pub rows: Vec<R>,
    /// What could not be read. Each fault is reported once, and again when the file changes; the
    /// file is read as soon as it is mended.
    pub broken: Vec<StoreError>,
}

/// Segments that were not read before, or that may be readable by now.
#[derive(Debug)]
pub struct Found {
    /// They are to be read; those that cannot be are told to [`Tail::unread`].
    pub segments: Vec<Segment>,
    /// What could not be listed.
    pub broken: Vec<StoreError>,
}

/// A segment of a table.
#[derive(Clone, Debug)]
pub struct Segment {
    epoch: Arc<Path>,
    number: u64,
    /// The file when it was found, before it is read.
    print: Print,
}

impl Located for Segment {
    fn path(&self) -> PathBuf {
        segment::path(&self.epoch, self.number)
    }
}

impl Segment {
    /// When the file was last changed, if the file system says so.
    pub(super) const fn changed_at(&self) -> Option<SystemTime> {
        self.print.1
    }
}

/// Size and time of the last change of a file.
type Print = (u64, Option<SystemTime>);

#[derive(Debug, Default)]
struct Epoch {
    /// Every segment below this was read or stands in `faulty`.
    next: u64,
    /// The segments above `next` that were read or stand in `faulty`: what is between is missing.
    beyond: BTreeSet<u64>,
    /// The segments that could not be read, as they were then, and whether to try them again
    /// before they change.
    faulty: BTreeMap<u64, (Print, bool)>,
    listed: Option<(Instant, Option<SystemTime>)>,
}

impl<R: Part> Tail<R> {
    /// The rows that were not seen before, all at once: for tables whose rows are small. What
    /// cannot be read is reported, never fatal.
    pub fn poll(&mut self) -> Polled<R> {
        let mut all = Vec::new();
        let broken = self.visit(|segment| {
            all.append(&mut read_file::<R>(&segment.path())?);
            Ok(())
        });
        Polled { rows: all, broken }
    }

    /// Hands the rows of the segments that were not seen before to `take`, a few at a time. Gives
    /// what could not be read: its rows come again, from the first, once it is mended.
    pub fn each(&mut self, mut take: impl FnMut(Vec<R>)) -> Vec<StoreError> {
        self.visit(|segment| rows::<R>(&segment.path())?.try_for_each(|batch| batch.map(&mut take)))
    }

    /// As [`Tail::each`], segment by segment, until `take` wants no more for now: it is asked again
    /// from there the next time. So a table of any length is read with as little memory as `take`
    /// has use for.
    pub fn some(&mut self, mut take: impl FnMut(Vec<R>) -> bool) -> Vec<StoreError> {
        let mut broken = Vec::new();
        if self.ahead.is_empty() {
            let found = self.find();
            broken = found.broken;
            self.ahead.extend(found.segments);
        }
        let mut wants = true;
        while wants && let Some(segment) = self.ahead.pop_front() {
            let batches = rows::<R>(&segment.path());
            let read = batches.and_then(|mut batches| {
                batches.try_for_each(|batch| batch.map(|rows| wants = take(rows)))
            });
            match read {
                Ok(()) => self.read(&segment),
                Err(error) => broken.extend(self.unread(&segment, error)),
            }
        }
        broken
    }

    /// How many segments [`Tail::some`] has found and not read.
    pub fn ahead(&self) -> usize {
        self.ahead.len()
    }
}

impl<R> Tail<R> {
    pub(super) fn new(table: PathBuf) -> Self {
        Self { table, epochs: BTreeMap::new(), ahead: VecDeque::new(), rows: PhantomData }
    }

    /// The segments that were not seen before, and those that could not be read and have changed.
    /// They count as read unless [`unread`](Self::unread) says otherwise.
    pub fn find(&mut self) -> Found {
        let mut found = Found { segments: Vec::new(), broken: Vec::new() };
        match segment::epochs(&self.table) {
            Ok(paths) => {
                for path in paths {
                    self.epochs.entry(path.into()).or_default();
                }
            }
            Err(error) => found.broken.push(error),
        }
        for (path, epoch) in &mut self.epochs {
            let mut numbers = epoch.mended(path);
            if let Err(error) = epoch.list(path, &mut numbers) {
                found.broken.push(error);
            }
            epoch.probe(path, &mut numbers);
            numbers.sort_unstable();
            let segment = |number| {
                let print = print_of(&segment::path(path, number)).unwrap_or_default();
                Segment { epoch: Arc::clone(path), number, print }
            };
            found.segments.extend(numbers.into_iter().map(segment));
        }
        found
    }

    /// Has `look` read each segment that was not seen before. Gives what could not be read.
    pub(super) fn visit(
        &mut self,
        mut look: impl FnMut(&Segment) -> Result<(), StoreError>,
    ) -> Vec<StoreError> {
        let mut found = self.find();
        for segment in found.segments {
            match look(&segment) {
                Ok(()) => self.read(&segment),
                Err(error) => found.broken.extend(self.unread(&segment, error)),
            }
        }
        found.broken
    }

    /// Remembers that a segment was read.
    pub fn read(&mut self, segment: &Segment) {
        if let Some(epoch) = self.epochs.get_mut(&segment.epoch) {
            epoch.faulty.remove(&segment.number);
        }
    }

    /// Remembers that a segment could not be read, to try it again when it has changed. The error
    /// is returned if it is news.
    pub fn unread(&mut self, segment: &Segment, error: StoreError) -> Option<StoreError> {
        let Some(epoch) = self.epochs.get_mut(&segment.epoch) else { return Some(error) };
        let now = (segment.print, error.is_passing());
        let before = epoch.faulty.insert(segment.number, now);
        before.is_none_or(|(then, _)| then != segment.print).then_some(error)
    }

    /// Of the segments that could not be read, those that have changed or may be readable by now.
    pub fn mended(&self) -> Vec<Segment> {
        self.segments(Epoch::mended)
    }

    /// The segments that could not be read and are still there.
    pub fn unreadable(&self) -> Vec<Segment> {
        self.segments(|epoch, _| epoch.faulty.keys().copied().collect())
    }

    fn segments(&self, numbers: impl Fn(&Epoch, &Path) -> Vec<u64>) -> Vec<Segment> {
        let mut segments = Vec::new();
        for (path, epoch) in &self.epochs {
            segments.extend(numbers(epoch, path).into_iter().filter_map(|number| {
                let print = print_of(&segment::path(path, number))?;
                Some(Segment { epoch: Arc::clone(path), number, print })
            }));
        }
        segments
    }

    /// The number of segments that cannot be read at present.
    pub fn faulty(&self) -> usize {
        self.epochs.values().map(|epoch| epoch.faulty.len()).sum()
    }
}

impl Epoch {
    /// The faulty segments that have changed, or that may be readable by now.
    fn mended(&self, dir: &Path) -> Vec<u64> {
        let may = |(number, (print, passing)): (&u64, &(Print, bool))| {
            let now = print_of(&segment::path(dir, *number))?;
            (now != *print || *passing).then_some(*number)
        };
        self.faulty.iter().filter_map(may).collect()
    }

    /// Lists the directory, if it was not listed for a while and has changed.
    fn list(&mut self, dir: &Path, numbers: &mut Vec<u64>) -> Result<(), StoreError> {
        let changed = fs::metadata(dir).and_then(|metadata| metadata.modified()).ok();
        if let Some((at, then)) = self.listed
            && (at.elapsed() < LIST_EVERY || then == changed)
        {
            return Ok(());
        }
        for number in segment::numbers(dir)? {
            if number >= self.next && !self.beyond.contains(&number) {
                self.take(number, numbers);
            }
        }
        self.listed = Some((Instant::now(), changed));
        Ok(())
    }

    /// Looks for the names that the writer will use next, and for the first one missing.
    fn probe(&mut self, dir: &Path, numbers: &mut Vec<u64>) {
        for number in [Some(self.next), self.beyond.last().map(|last| last.saturating_add(1))] {
            let Some(mut number) = number else { continue };
            let unread = |epoch: &Self, n| n >= epoch.next && !epoch.beyond.contains(&n);
            while unread(self, number) && segment::path(dir, number).exists() {
                self.take(number, numbers);
                number = number.saturating_add(1);
            }
        }
    }

    fn take(&mut self, number: u64, numbers: &mut Vec<u64>) {
        numbers.push(number);
        self.beyond.insert(number);
        while self.beyond.remove(&self.next) {
            self.next += 1;
        }
    }
}

fn print_of(path: &Path) -> Option<Print> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use crate::config::Home;
    use crate::rollout::{Feedback, Rated, Rating, TurnId};
    use crate::store::Store;

    fn feedback(at: i64) -> Feedback {
        let rated = Rated { rating: Rating::Up, text: None, given_at_us: at };
        Feedback { turn_id: TurnId(1), user: String::new(), rated }
    }

    #[test]
    fn no_more_is_read_than_is_wanted_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::new(dir.path())).unwrap();
        let mut writer = store.writer::<Feedback>("test").unwrap();
        for segment in 0..5 {
            let rows: Vec<_> = (0..10).map(|row| feedback(10 * segment + row)).collect();
            writer.append(&rows).unwrap();
        }
        let mut tail = store.tail::<Feedback>();
        let mut seen = Vec::new();
        let mut take = |seen: &mut Vec<i64>, room: usize| {
            let until = seen.len() + room;
            let broken = tail.some(|rows| {
                seen.extend(rows.iter().map(|row| row.rated.given_at_us));
                seen.len() < until
            });
            assert!(broken.is_empty(), "{broken:?}");
            tail.ahead()
        };
        assert_eq!(take(&mut seen, 15), 3, "two segments hold what is wanted");
        assert_eq!(take(&mut seen, 1), 2);
        writer.append(&[feedback(50)]).unwrap();
        assert_eq!(take(&mut seen, 1_000), 0, "what was found before comes first");
        take(&mut seen, 1_000);
        assert_eq!(seen, (0..=50).collect::<Vec<_>>());
    }
}
