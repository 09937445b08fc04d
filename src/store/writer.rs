//! Writing segments, one durable file per append.

use std::fs;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::errors::io;
use super::schema::{Record, to_bytes};
use super::segment::{self, Hash, Put};
use super::{StoreError, Table};

/// Other processes may take epochs at the same time; this many collisions are not chance.
const EPOCH_TRIES: u64 = 1000;

/// Writes segments of one table, in an epoch that nobody else writes to.
#[derive(Debug)]
pub struct Writer<R> {
    temp_dir: PathBuf,
    epoch: PathBuf,
    next: u64,
    /// The content of the last put whose outcome is not known, if there is one.
    unsettled: Option<Hash>,
    rows: PhantomData<fn(&R)>,
}

impl<R: Record> Writer<R> {
    pub(super) fn open(root: &Path, writer: &str) -> Result<Self, StoreError> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if writer.is_empty() || writer.len() > 64 || !writer.bytes().all(fits) {
            return Err(StoreError::WriterName { name: writer.to_owned() });
        }
        let epoch = take_epoch(root, R::TABLE, writer)?;
        let temp_dir = segment::temp_dir(root);
        Ok(Self { temp_dir, epoch, next: 0, unsettled: None, rows: PhantomData })
    }

    /// Puts `rows` into one new segment; on return it outlives a power cut. The segment's path is
    /// returned; without rows nothing is written, and it is the epoch's directory.
    ///
    /// After an error the same rows may be appended again: they do not come twice.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it could not be written, [`StoreError::Fenced`] if another process
    /// wrote under this writer's name, [`StoreError::Encode`].
    pub fn append(&mut self, rows: &[R]) -> Result<PathBuf, StoreError> {
        if rows.is_empty() {
            return Ok(self.epoch.clone());
        }
        let bytes = to_bytes(rows)?;
        loop {
            let target = segment::path(&self.epoch, self.next);
            match segment::put(&self.temp_dir, &target, &bytes) {
                Ok(Put::Done) => {
                    self.next += 1;
                    self.unsettled = None;
                    return Ok(target);
                }
                // The put before this one failed after its segment had come into place.
                Ok(Put::Taken(there)) if self.unsettled == Some(there) => {
                    self.next += 1;
                    self.unsettled = None;
                }
                Ok(Put::Taken(_)) => return Err(StoreError::Fenced { path: target }),
                Err(error) => {
                    self.unsettled = Some(segment::hash(&bytes));
                    return Err(error);
                }
            }
        }
    }
}

impl<R> Drop for Writer<R> {
    /// An epoch without segments leaves no directory behind; one with segments is not empty, so
    /// that this fails, as it should.
    fn drop(&mut self) {
        if self.next == 0 {
            let _ = fs::remove_dir(&self.epoch);
        }
    }
}

/// Creates the epoch directory after the newest one, exclusively and durably.
fn take_epoch(root: &Path, table: Table, writer: &str) -> Result<PathBuf, StoreError> {
    let table = root.join(table.label());
    let parent = table.join(format!("w={writer}"));
    fs::create_dir_all(&parent).map_err(io("create the directory", &parent))?;
    for dir in [root, &table] {
        segment::sync_dir(dir)?;
    }
    let names = segment::names(&parent)?;
    let newest = names.iter().filter_map(|name| segment::parse_epoch(name)).max();
    let first = newest.map_or(0, |newest| newest.saturating_add(1));
    let mut at = segment::epoch_path(&table, writer, first);
    for number in first..first.saturating_add(EPOCH_TRIES) {
        at = segment::epoch_path(&table, writer, number);
        match fs::create_dir(&at) {
            Ok(()) => {
                segment::sync_dir(&parent)?;
                return Ok(at);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io("create the directory", &at)(error)),
        }
    }
    Err(io("create the directory", &at)(ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;
    use crate::rollout::{Score, ScoreStatus, TurnId};
    use crate::store::{Store, read_file};

    fn score(number: u128) -> Score {
        Score {
            turn_id: TurnId(number),
            revision: 0,
            judge: "rules@1".to_owned(),
            status: ScoreStatus::Judged,
            votes: Vec::new(),
            score: 1,
            reasoning: String::new(),
            judged_at_us: 0,
        }
    }

    /// A writer whose put of `score(1)` came into place, but reported a failure.
    fn unsettled() -> (tempfile::TempDir, Writer<Score>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::new(dir.path())).unwrap();
        let mut writer = store.writer::<Score>("score").unwrap();
        let bytes = to_bytes(&[score(1)]).unwrap();
        fs::write(segment::path(&writer.epoch, 0), &bytes).unwrap();
        writer.unsettled = Some(segment::hash(&bytes));
        (dir, writer)
    }

    #[test]
    fn a_put_that_failed_late_is_settled_by_its_content() {
        let (_dir, mut writer) = unsettled();
        let path = writer.append(&[score(1)]).unwrap();
        assert_eq!(path, segment::path(&writer.epoch, 0), "the same rows do not come twice");
        let path = writer.append(&[score(2)]).unwrap();
        assert_eq!(path, segment::path(&writer.epoch, 1));
    }

    #[test]
    fn other_rows_go_behind_a_put_that_failed_late() {
        let (_dir, mut writer) = unsettled();
        let path = writer.append(&[score(2)]).unwrap();
        assert_eq!(path, segment::path(&writer.epoch, 1));
        assert_eq!(read_file::<Score>(&path).unwrap(), [score(2)]);
        assert_eq!(read_file::<Score>(&segment::path(&writer.epoch, 0)).unwrap(), [score(1)]);
    }

    #[test]
    fn a_put_that_failed_early_is_made_up_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::new(dir.path())).unwrap();
        let mut writer = store.writer::<Score>("score").unwrap();
        fs::remove_dir(&writer.temp_dir).unwrap();
        let error = writer.append(&[score(1)]).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        fs::create_dir(&writer.temp_dir).unwrap();
        let path = writer.append(&[score(2)]).unwrap();
        assert_eq!(path, segment::path(&writer.epoch, 0), "no number is left out");
    }
}
