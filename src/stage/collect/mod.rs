//! The `collect` stage: turns in, rollouts out.
//!
//! Each turn is placed in its session and closed when its next state is known (docs/judging.md
//! names the rules). `sessions` is the pure core, `place` and `clean` its tables; this file
//! only reads, feeds and writes. A restart is a replay: every turn is fed again, and what already
//! has a rollout is not written twice.

mod clean;
mod place;
mod request;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::{CollectConfig, ConfigError, Home};
use crate::events::collect::{CollectSegmentUnread, TurnsCollected};
use crate::events::heartbeat::Pulse;
use crate::events::{emit, now_us};
use crate::fault::Explain;
use crate::rollout::{Rollout, Turn, TurnId, TurnKind};
use crate::store::{Polled, RolloutPart, Store, StoreError, Tail, Writer, read_file, write_file};

use sessions::{Limits, Sessions};

/// Sessions that are remembered at the same time.
const SESSIONS_MAX: usize = 20_000;
/// How long a turn may take from its end to its row; idle sessions are given this much more.
const GRACE_US: i64 = 10_000_000;
/// Rollouts of one segment.
const ROWS_MAX: usize = 1_000;
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);

/// What a run of `collect` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CollectSummary {
    /// Turns that were read.
    pub turns: usize,
    /// Rollouts that were written.
    pub rollouts: usize,
    /// Those of the conversation itself.
    pub main: usize,
    /// Those of the client's housekeeping.
    pub side: usize,
    /// Those that repeat another turn.
    pub retries: usize,
    /// Those with a next state.
    pub with_next_state: usize,
    /// Turns that wait for their next state.
    pub open: usize,
    /// Segments that could not be read.
    pub unread_segments: usize,
}

/// Why `collect` ended.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A value that it cannot work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Explain for CollectError {
    fn label(&self) -> &'static str {
        match self {
            Self::Config(error) => error.label(),
            Self::Store(error) => error.label(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
        }
    }
}

/// Places every turn of the store; with `follow` it stays until `shutdown`.
///
/// In one-shot use the sessions that are still open stay so, unless `close_all` is set.
///
/// # Errors
/// [`CollectError`]: a wrong value, or a store that cannot be opened or written to. A segment that
/// cannot be read is left out and counted.
pub async fn run(
    config: &CollectConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<CollectSummary, CollectError> {
    config.validate()?;
    let store = Store::open(home)?;
    let mut collector = Collector::open(config, &store)?;
    let mut pulse = Pulse::new(home.state("collect"), "collect");
    collector.catch_up()?;
    while config.follow && !shutdown.is_cancelled() {
        pulse.beat("waiting", &collector.figures());
        let beat = tokio::time::Instant::now() + BEAT;
        while tokio::time::Instant::now() < beat && !shutdown.is_cancelled() {
            let pause = tokio::time::sleep(Duration::from_millis(config.poll_ms));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = pause => {}
            }
            if collector.look(now_us())? > 0 {
                pulse.beat("working", &collector.figures());
            }
        }
    }
    if !config.follow {
        let rows = match config.close_all {
            true => collector.sessions.close_all(now_us()),
            false => collector.sessions.close_idle(now_us() - GRACE_US),
        };
        collector.write(rows)?;
    }
    collector.summary.open = collector.sessions.open_turns();
    pulse.beat("done", &collector.figures());
    Ok(collector.summary)
}

/// The same on plain files: the turns of the Parquet file or directory `input` become the rollouts
/// of the file `output`, which is replaced.
///
/// # Errors
/// [`CollectError`]: a wrong value, an input that cannot be read, an output that cannot be
/// written. Nothing is left out.
pub fn run_files(
    config: &CollectConfig,
    input: &Path,
    output: &Path,
) -> Result<CollectSummary, CollectError> {
    config.validate()?;
    let mut turns = Vec::new();
    for file in files(input)? {
        turns.append(&mut read_file::<Turn>(&file)?);
    }
    turns.sort_by_key(|turn| (turn.received_at_us, turn.turn_id));
    let mut sessions = Sessions::new(limits(config));
    let mut rows: Vec<Rollout> = turns.iter().flat_map(|turn| sessions.take(turn)).collect();
    rows.extend(match config.close_all {
        true => sessions.close_all(now_us()),
        false => sessions.close_idle(now_us() - GRACE_US),
    });
    write_file(output, &rows)?;
    let mut summary = CollectSummary { turns: turns.len(), ..CollectSummary::default() };
    summary.count(&rows);
    summary.open = sessions.open_turns();
    Ok(summary)
}

/// The file itself, or the Parquet files of a directory in order of their names.
fn files(input: &Path) -> Result<Vec<PathBuf>, StoreError> {
    if !input.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    let failed =
        |source| StoreError::Io { doing: "list the directory", path: input.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(input).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn limits(config: &CollectConfig) -> Limits {
    let idle_s = i64::try_from(config.idle_timeout_s).unwrap_or(i64::MAX);
    Limits { idle_us: idle_s.saturating_mul(1_000_000), sessions: SESSIONS_MAX }
}

impl CollectSummary {
    fn count(&mut self, rows: &[Rollout]) {
        let count = |holds: fn(&Rollout) -> bool| rows.iter().filter(|row| holds(row)).count();
        self.rollouts += rows.len();
        self.main += count(|row| row.kind == TurnKind::Main);
        self.side += count(|row| row.kind == TurnKind::Side);
        self.retries += count(|row| row.retry_of.is_some());
        self.with_next_state += count(|row| row.next_state.is_some());
    }
}

struct Collector {
    sessions: Sessions,
    turns: Tail<Turn>,
    rollouts: Tail<RolloutPart>,
    writer: Writer<Rollout>,
    /// Turns that have their rollout.
    written: HashSet<TurnId>,
    summary: CollectSummary,
}

impl Collector {
    fn open(config: &CollectConfig, store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            sessions: Sessions::new(limits(config)),
            turns: store.tail(),
            rollouts: store.tail(),
            writer: store.writer("collect")?,
            written: HashSet::new(),
            summary: CollectSummary::default(),
        })
    }

    /// Reads what is there already.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let polled = self.rollouts.poll();
        let rollouts = self.readable(polled);
        self.written.extend(rollouts.iter().map(|row| row.turn_id));
        self.feed()?;
        Ok(())
    }

    /// Reads what is new and closes what is idle; gives the number of turns and rollouts.
    fn look(&mut self, now_us: i64) -> Result<usize, StoreError> {
        let fed = self.feed()?;
        let idle = self.sessions.close_idle(now_us - GRACE_US);
        Ok(fed + self.write(idle)?)
    }

    fn feed(&mut self) -> Result<usize, StoreError> {
        let polled = self.turns.poll();
        let mut turns = self.readable(polled);
        turns.sort_by_key(|turn| (turn.received_at_us, turn.turn_id));
        let mut closed = Vec::new();
        let mut written = 0;
        for turn in &turns {
            closed.extend(self.sessions.take(turn));
            if closed.len() >= ROWS_MAX {
                written += self.write(std::mem::take(&mut closed))?;
            }
        }
        written += self.write(closed)?;
        self.summary.turns += turns.len();
        if !turns.is_empty() {
            let open = self.sessions.open_turns();
            emit(TurnsCollected { turns: turns.len(), rollouts: written, open });
        }
        Ok(turns.len() + written)
    }

    /// Writes the rollouts that are not in the table yet.
    fn write(&mut self, mut rows: Vec<Rollout>) -> Result<usize, StoreError> {
        rows.retain(|row| !self.written.contains(&row.turn_id));
        for rows in rows.chunks(ROWS_MAX) {
            self.writer.append(rows)?;
            self.written.extend(rows.iter().map(|row| row.turn_id));
        }
        self.summary.count(&rows);
        Ok(rows.len())
    }

    fn readable<R>(&mut self, polled: Polled<R>) -> Vec<R> {
        for error in polled.broken {
            self.summary.unread_segments += 1;
            emit(CollectSegmentUnread { error: error.to_string() });
        }
        polled.rows
    }

    /// Totals of this home.
    fn figures(&self) -> [(&'static str, f64); 6] {
        [
            ("turns", self.summary.turns as f64),
            ("rollouts", self.written.len() as f64),
            ("open", self.sessions.open_turns() as f64),
            ("sessions", self.sessions.len() as f64),
            ("side", self.summary.side as f64),
            ("unread_segments", self.summary.unread_segments as f64),
        ]
    }
}
