//! How long placing recorded turns takes, how much memory, and whether it is right: the real
//! `collect`, as a process of its own, on conversations of which it is known what belongs where.

mod follow;
mod talk;

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

pub use follow::{Follow, follow};

use super::BenchError;
use super::calibrate::{Calibration, calibrate};
use super::child::{Child, temporary};
use crate::config::{Home, PlaceConfig};
use crate::events::now_us;
use crate::rollout::{Rollout, TurnId, TurnKind};
use crate::store::{Store, Table, Writer, rows};

use talk::{Talk, Truth, digest_of};

/// The sessions begin so long ago.
const AGO_US: i64 = 30 * 86_400 * 1_000_000;
/// Writers of turns at the same time.
const SERVERS: usize = 2;

/// What placing took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// `place`.
    pub bench: &'static str,
    /// Recorded turns.
    pub turns: usize,
    /// Sessions that they belong to.
    pub sessions: usize,
    /// `chat` or `agent`.
    pub size: String,
    /// Segments that they lie in, and their bytes.
    pub segments: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Wall time of the command from its start to its end.
    pub seconds: f64,
    /// Turns a second.
    pub turns_s: f64,
    /// Time that it was computed for, on all cores together; `None` where the system does not say.
    pub cpu_seconds: Option<f64>,
    /// The most memory that the command had resident, in MiB; `None` where the system does not
    /// say.
    pub peak_rss_mib: Option<f64>,
    /// Wall time of the same command again, when there is nothing left to do.
    pub again_seconds: f64,
    /// Rows that the second run wrote.
    pub again_rollouts: u64,
    /// The command's own summary.
    pub collect: Value,
    /// What is wrong, by kind.
    pub wrong: Wrong,
    /// Nothing is.
    pub right: bool,
    /// How fast this machine is.
    pub calibration: Calibration,
}

/// Turns that were not placed as they should have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// No row, or an open one.
    pub missing: usize,
    /// Main taken for side, or the other way round.
    pub kind: usize,
    /// In another session than the turns it belongs with.
    pub session: usize,
    /// With another next state than there was, or none.
    pub next_state: usize,
    /// A repeated request not known as such, or one taken for it.
    pub retry: usize,
}

/// Makes turns, has them placed, and checks the result.
///
/// # Errors
/// A home that cannot be made, or a `collect` that fails.
pub fn place(config: &PlaceConfig) -> Result<Place, BenchError> {
    let dir = temporary(config.dir.as_deref())?;
    let home = Home::new(dir.path());
    let store = Store::open(&home)?;
    let calibration = calibrate(dir.path())?;
    let truths = record(config, &store)?;
    let segments = store.segments(Table::Turns)?;
    let bytes = segments.iter().filter_map(|path| std::fs::metadata(path).ok());
    let bytes = bytes.map(|metadata| metadata.len()).sum();
    let begin = Instant::now();
    let first = Child::start(&config.program, "collect", dir.path(), &[])?.finish()?;
    let seconds = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    let again = Child::start(&config.program, "collect", dir.path(), &[])?.finish()?;
    let again_seconds = begin.elapsed().as_secs_f64();
    let wrong = check(&truths, &placed(&store)?);
    Ok(Place {
        bench: "place",
        turns: config.turns,
        sessions: config.sessions,
        size: config.size.to_string(),
        segments: segments.len(),
        bytes,
        seconds,
        turns_s: config.turns as f64 / seconds,
        cpu_seconds: first.cpu_seconds,
        peak_rss_mib: first.peak_rss_mib,
        again_seconds,
        again_rollouts: again.summary["rollouts"].as_u64().unwrap_or_default(),
        collect: first.summary,
        wrong,
        right: wrong == Wrong::default(),
        calibration,
    })
}

/// Writes the turns as servers would, and gives what is to be found of each.
fn record(config: &PlaceConfig, store: &Store) -> Result<HashMap<TurnId, Truth>, BenchError> {
    let talk =
        Talk::new(config.turns, config.sessions, config.size, config.seed, now_us() - AGO_US);
    let mut writers = Vec::new();
    for server in 0..SERVERS {
        let writer: Writer<_> = store.writer(&format!("serve-{server}"))?;
        writers.push((writer, Vec::new()));
    }
    let mut truths: HashMap<TurnId, Truth> = HashMap::with_capacity(config.turns);
    for told in talk {
        if let Some((turn, next)) = told.next_of
            && let Some(truth) = truths.get_mut(&turn)
        {
            truth.next = Some(next);
        }
        truths.insert(told.turn.turn_id, told.truth);
        let (writer, turns) = &mut writers[told.truth.session % SERVERS];
        turns.push(told.turn);
        if turns.len() == config.segment_turns {
            writer.append(turns)?;
            turns.clear();
        }
    }
    for (writer, turns) in &mut writers {
        writer.append(turns)?;
    }
    Ok(truths)
}

/// What `collect` found of a turn.
struct Placed {
    revision: u32,
    session: String,
    closed: bool,
    kind: TurnKind,
    next: Option<u64>,
    retry_of: Option<TurnId>,
}

/// The newest row of each turn.
fn placed(store: &Store) -> Result<HashMap<TurnId, Placed>, BenchError> {
    let mut placed: HashMap<TurnId, Placed> = HashMap::new();
    for segment in store.segments(Table::Rollouts)? {
        read(&segment, &mut placed)?;
    }
    Ok(placed)
}

fn read(segment: &Path, placed: &mut HashMap<TurnId, Placed>) -> Result<(), BenchError> {
    for batch in rows::<Rollout>(segment)? {
        for row in batch? {
            if placed.get(&row.turn_id).is_some_and(|known| known.revision >= row.revision) {
                continue;
            }
            let known = Placed {
                revision: row.revision,
                session: format!("{}/{}", row.session_id, row.generation),
                closed: row.closed_by.is_some(),
                kind: row.kind,
                next: row.next_state.as_deref().and_then(digest_of),
                retry_of: row.retry_of,
            };
            placed.insert(row.turn_id, known);
        }
    }
    Ok(())
}

fn check(truths: &HashMap<TurnId, Truth>, placed: &HashMap<TurnId, Placed>) -> Wrong {
    let mut wrong = Wrong::default();
    // Each session is known by one name, and each name means one session.
    let mut names: HashMap<usize, &str> = HashMap::new();
    let mut sessions: HashMap<&str, usize> = HashMap::new();
    let mut order: Vec<_> = truths.iter().collect();
    order.sort_by_key(|(id, _)| **id);
    for (id, truth) in order {
        let Some(row) = placed.get(id).filter(|row| row.closed) else {
            wrong.missing += 1;
            continue;
        };
        if row.kind != truth.kind {
            wrong.kind += 1;
        } else if truth.kind == TurnKind::Main {
            let name = *names.entry(truth.session).or_insert(&row.session);
            let session = *sessions.entry(&row.session).or_insert(truth.session);
            wrong.session += usize::from(name != row.session || session != truth.session);
        }
        wrong.next_state += usize::from(row.next != truth.next);
        wrong.retry += usize::from(row.retry_of != truth.retry_of);
    }
    wrong
}
