//! Every named event: emitted from one place, it is both a log line and a counter.
//!
//! Message content never stands in an event. One file per stage; [`heartbeat`] is the small file
//! by which a stage shows the others that it lives.

pub mod collect;
pub mod deploy;
pub mod heartbeat;
pub mod hint;
pub mod hub;
pub mod inspect;
pub mod run;
pub mod score;
pub mod serve;
pub mod train;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of use when looking for a fault.
    Debug,
    /// Ordinary progress.
    Info,
    /// Something was given up, put off or refused.
    Warn,
    /// Work failed.
    Error,
}

/// A named event.
pub trait Event {
    /// Name of the event and of its counter, `snake_case`.
    const NAME: &'static str;
    /// How loud it is.
    const LEVEL: Level;

    /// The log line: figures and names, no message content.
    fn line(&self) -> String;
}

static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Counts the event and logs its line.
pub fn emit<E: Event>(event: E) {
    *COUNTS
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .entry(E::NAME)
        .or_default() += 1;
    let (name, line) = (E::NAME, event.line());
    match E::LEVEL {
        Level::Debug => tracing::debug!(event = name, "{line}"),
        Level::Info => tracing::info!(event = name, "{line}"),
        Level::Warn => tracing::warn!(event = name, "{line}"),
        Level::Error => tracing::error!(event = name, "{line}"),
    }
}

/// How often each event happened in this process.
pub fn counts() -> BTreeMap<&'static str, u64> {
    COUNTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
