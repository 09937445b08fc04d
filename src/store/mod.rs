//! Append-only tables of Parquet segments, where the stages meet.
//!
//! A table lies under `store/<table>/w=<writer>/e=<epoch>/<seq>.parquet`. A segment is written
//! once, durably, and never changed: putting it in place is the commit. Each start of a writer
//! takes an epoch directory of its own, so that no two processes ever write to one name.
//! [`Tail`] reads what is new; a segment that cannot be read is reported and the others are read
//! all the same. The columns, the guarantees and the limits are in `docs/store.md`.

mod columns;
mod errors;
mod files;
mod find;
mod parts;
mod reader;
mod records;
mod schema;
mod segment;
mod source;
mod table;
mod tail;
mod turns;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use errors::StoreError;
pub use files::{FileWriter, files, files_named, output_file, write_file};
pub use find::{Finder, Sought};
pub use parts::{RolloutPart, TurnPart, TurnText};
pub use reader::{Rows, read_file, rows, rows_of};
pub use schema::{Part, Record, SCHEMA_VERSION};
pub use table::Table;
pub use tail::{Found, Polled, Segment, Tail};
pub use turns::{Located, Turns, TurnsItem};
pub use writer::Writer;

use crate::config::Home;
use crate::rollout::TurnId;
use errors::io;

/// Leftovers of a writer that died are removed when they are older than this.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// The tables of one home. A cheap handle: clones share nothing but the path.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of `home`, which is created if it is not there yet.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be made (a read-only home, a file in its place).
    pub fn open(home: &Home) -> Result<Self, StoreError> {
        let root = home.store();
        for dir in [root.clone(), segment::temp_dir(&root)] {
            if !dir.is_dir() {
                fs::create_dir_all(&dir).map_err(io("create the directory", &dir))?;
            }
        }
        segment::remove_leftovers(&root, LEFTOVER_AGE);
        Ok(Self { root })
    }

    /// The directory that holds the tables.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A writer with a new epoch of its own.
    ///
    /// # Errors
    /// [`StoreError::WriterName`] for a name that cannot stand in a path; [`StoreError::Io`] if
    /// the epoch's directory cannot be made.
    pub fn writer<R: Record>(&self, writer: &str) -> Result<Writer<R>, StoreError> {
        Writer::open(&self.root, writer)
    }

    /// A reader that has seen nothing yet.
    pub fn tail<R: Part>(&self) -> Tail<R> {
        Tail::new(self.root.join(R::TABLE.label()))
    }

    /// Finds the rows of single turns.
    pub fn finder<R: Part>(&self) -> Finder<R> {
        Finder::new(self.tail())
    }

    /// The rows of one turn, the newest first, without reading the rows of others.
    pub fn find<R: Part>(&self, turn: TurnId) -> Sought<R> {
        self.finder().find(turn)
    }

    /// Every row of a table, by writer, epoch and segment.
    ///
    /// # Errors
    /// The first segment that cannot be read.
    pub fn read_all<R: Part>(&self) -> Result<Vec<R>, StoreError> {
        let mut rows = Vec::new();
        for path in self.segments(R::TABLE)? {
            rows.append(&mut read_file::<R>(&path)?);
        }
        Ok(rows)
    }

    /// The segments of a table, by writer, epoch and number. Temporary files and names that are
    /// no segment's are left out.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a directory cannot be listed.
    pub fn segments(&self, table: Table) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = Vec::new();
        for epoch in segment::epochs(&self.root.join(table.label()))? {
            paths.extend(segment::numbers(&epoch)?.into_iter().map(|n| segment::path(&epoch, n)));
        }
        Ok(paths)
    }
}
