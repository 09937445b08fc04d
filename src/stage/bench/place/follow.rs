//! How soon a turn has its row while turns are recorded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::super::{BenchError, broken};
use super::talk::Talk;
use crate::config::{FollowConfig, Home};
use crate::events::now_us;
use crate::rollout::{Turn, TurnId};
use crate::stage::bench::calibrate::{Calibration, calibrate};
use crate::stage::bench::child::{Child, temporary};
use crate::store::{RolloutPart, Store};

/// What has to hold: 95 of 100 turns are placed within this time of their reply.
const P95_MS_MAX: f64 = 1_500.0;
/// Time between two looks for new rows.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for the last rows.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon turns had their rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Follow {
    /// `follow`.
    pub bench: &'static str,
    /// Turns a second that were asked for.
    pub rate: f64,
    /// Turns that were recorded.
    pub turns: usize,
    /// `chat` or `agent`.
    pub size: String,
    /// Milliseconds from a turn's `finished_at` until its row was in the table: the median.
    pub p50_ms: f64,
    /// 95 of 100 turns were faster.
    pub p95_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// The most memory that `collect` had resident, in MiB.
    pub peak_rss_mib: Option<f64>,
    /// `p95_ms` is small enough.
    pub within: bool,
    /// The command's own summary, after it was told to leave.
    pub collect: Value,
    /// How fast this machine is.
    pub calibration: Calibration,
}

/// Records turns as a server does while `collect --follow` runs, and watches the table.
///
/// # Errors
/// A home that cannot be made, or a `collect` that fails or places nothing.
pub fn follow(config: &FollowConfig) -> Result<Follow, BenchError> {
    let dir = temporary(config.dir.as_deref())?;
    let store = Store::open(&Home::new(dir.path()))?;
    let calibration = calibrate(dir.path())?;
    let child = Child::start(&config.program, "collect", dir.path(), &["--follow"])?;
    let begun = Instant::now();
    while !Home::new(dir.path()).state("collect").exists() {
        if begun.elapsed() > PATIENCE {
            return Err(broken("collect does not begin"));
        }
        std::thread::sleep(LOOK);
    }
    let done = AtomicBool::new(false);
    let (recorded, seen) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&store, &done));
        let recorded = record(config, &store);
        if let Ok(turns) = &recorded {
            wait_for(&store, turns.len());
        }
        done.store(true, Ordering::Release);
        let seen = watch.join().unwrap_or_default();
        recorded.map(|recorded| (recorded, seen))
    })?;
    child.stop()?;
    let ended = child.finish()?;
    let lag = |(turn, at): (&TurnId, &i64)| {
        let finished_at = recorded.get(turn)?;
        Some((at - finished_at) as f64 / 1e3)
    };
    let mut lags: Vec<f64> = seen.iter().filter_map(lag).collect();
    lags.sort_by(f64::total_cmp);
    if lags.len() < recorded.len() {
        return Err(broken(format!("{} of {} turns placed", lags.len(), recorded.len())));
    }
    let at = |percent: usize| lags[(lags.len() * percent).div_ceil(100) - 1];
    Ok(Follow {
        bench: "follow",
        rate: config.rate,
        turns: recorded.len(),
        size: config.size.to_string(),
        p50_ms: at(50),
        p95_ms: at(95),
        max_ms: at(100),
        peak_rss_mib: ended.peak_rss_mib,
        within: at(95) < P95_MS_MAX,
        collect: ended.summary,
        calibration,
    })
}

/// Records turns at the rate, each in a segment of its own; gives when each was finished.
fn record(config: &FollowConfig, store: &Store) -> Result<HashMap<TurnId, i64>, BenchError> {
    let turns = ((config.rate * config.seconds as f64) as usize).max(config.sessions);
    let mut writer = store.writer::<Turn>("serve")?;
    let begun = Instant::now();
    let mut recorded = HashMap::new();
    let talk = Talk::new(turns, config.sessions, config.size, 1, now_us());
    for (number, told) in talk.enumerate() {
        let due = begun + Duration::from_secs_f64(number as f64 / config.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = now_us();
        let took = told.turn.finished_at_us - told.turn.received_at_us;
        let turn = Turn { received_at_us: now - took, finished_at_us: now, ..told.turn };
        recorded.insert(turn.turn_id, now);
        writer.append(&[turn])?;
    }
    Ok(recorded)
}

/// When the first row of each turn was seen in the table.
fn watch(store: &Store, done: &AtomicBool) -> HashMap<TurnId, i64> {
    let mut tail = store.tail::<RolloutPart>();
    let mut seen = HashMap::new();
    loop {
        let last = done.load(Ordering::Acquire);
        let polled = tail.poll();
        let now = now_us();
        polled.rows.iter().for_each(|row| {
            seen.entry(row.turn_id).or_insert(now);
        });
        if last {
            return seen;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until so many turns have a row, or until it takes too long.
fn wait_for(store: &Store, turns: usize) {
    let begun = Instant::now();
    let mut tail = store.tail::<RolloutPart>();
    let mut seen = std::collections::HashSet::new();
    while seen.len() < turns && begun.elapsed() < PATIENCE {
        seen.extend(tail.poll().rows.iter().map(|row| row.turn_id));
        std::thread::sleep(Duration::from_millis(20));
    }
}
