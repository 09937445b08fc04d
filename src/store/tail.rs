//! Reading what is new in a table, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::StoreError;
use super::reader::read_file;
use super::schema::Part;
use super::segment;

/// A directory is listed in full at most this often; between, the next names are probed.
const LIST_EVERY: Duration = Duration::from_secs(10);

/// Reads each segment of a table once, as it appears.
///
/// The cost of a poll grows with the number of epochs, not with the number of segments.
#[derive(Debug)]
pub struct Tail<R> {
    table: PathBuf,
    epochs: BTreeMap<PathBuf, Epoch>,
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
    pub(super) fn new(table: PathBuf) -> Self {
        Self { table, epochs: BTreeMap::new(), rows: PhantomData }
    }

    /// The rows that were not seen before. What cannot be read is reported, never fatal.
    pub fn poll(&mut self) -> Polled<R> {
        let mut polled = Polled { rows: Vec::new(), broken: Vec::new() };
        match segment::epochs(&self.table) {
            Ok(paths) => {
                for path in paths {
                    self.epochs.entry(path).or_default();
                }
            }
            Err(error) => polled.broken.push(error),
        }
        for (path, epoch) in &mut self.epochs {
            epoch.retry(path, &mut polled);
            if let Err(error) = epoch.list(path, &mut polled) {
                polled.broken.push(error);
            }
            epoch.probe(path, &mut polled);
        }
        polled
    }
}

impl<R> Tail<R> {
    /// The number of segments that cannot be read at present.
    pub fn faulty(&self) -> usize {
        self.epochs.values().map(|epoch| epoch.faulty.len()).sum()
    }
}

impl Epoch {
    /// Reads the faulty segments that have changed, or that may be readable by now.
    fn retry<R: Part>(&mut self, dir: &Path, polled: &mut Polled<R>) {
        let faulty: Vec<_> = self.faulty.iter().map(|(n, fault)| (*n, *fault)).collect();
        for (number, (print, passing)) in faulty {
            let path = segment::path(dir, number);
            let Some(now) = print_of(&path) else { continue };
            if now == print && !passing {
                continue;
            }
            match read_file::<R>(&path) {
                Ok(mut rows) => {
                    polled.rows.append(&mut rows);
                    self.faulty.remove(&number);
                }
                Err(error) => {
                    self.faulty.insert(number, (now, error.is_passing()));
                    if now != print {
                        polled.broken.push(error);
                    }
                }
            }
        }
    }

    /// Lists the directory, if it was not listed for a while and has changed.
    fn list<R: Part>(&mut self, dir: &Path, polled: &mut Polled<R>) -> Result<(), StoreError> {
        let changed = fs::metadata(dir).and_then(|metadata| metadata.modified()).ok();
        if let Some((at, then)) = self.listed
            && (at.elapsed() < LIST_EVERY || then == changed)
        {
            return Ok(());
        }
        for number in segment::numbers(dir)? {
            if number >= self.next && !self.beyond.contains(&number) {
                self.read(dir, number, polled);
            }
        }
        self.listed = Some((Instant::now(), changed));
        Ok(())
    }

    /// Looks for the names that the writer will use next, and for the first one missing.
    fn probe<R: Part>(&mut self, dir: &Path, polled: &mut Polled<R>) {
        for number in [Some(self.next), self.beyond.last().map(|last| last.saturating_add(1))] {
            let Some(mut number) = number else { continue };
            let unread = |epoch: &Self, n| n >= epoch.next && !epoch.beyond.contains(&n);
            while unread(self, number) && segment::path(dir, number).exists() {
                self.read(dir, number, polled);
                number = number.saturating_add(1);
            }
        }
    }

    fn read<R: Part>(&mut self, dir: &Path, number: u64, polled: &mut Polled<R>) {
        let path = segment::path(dir, number);
        let print = print_of(&path);
        match read_file::<R>(&path) {
            Ok(mut rows) => polled.rows.append(&mut rows),
            Err(error) => {
                let print = print.unwrap_or_default();
                self.faulty.insert(number, (print, error.is_passing()));
                polled.broken.push(error);
            }
        }
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
