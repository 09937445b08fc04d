//! The `collect` stage: turns in, rollouts out.
//!
//! Each turn is placed in its session, gets its row at once, and a further one whenever more is
//! known of it (docs/sessions.md names the rules). `sessions` is the pure core, `place` and `clean`
//! its tables; `collector` reads and feeds, `rows` says what is written. A restart is a replay:
//! every turn is fed again, and what the table says already is not written twice.

mod change;
mod clean;
mod collector;
mod files;
mod kept;
mod place;
mod point;
mod quotes;
#[cfg(test)]
mod replay_tests;
mod request;
mod rows;
#[cfg(test)]
mod rows_tests;
mod session;
mod sessions;
mod summary;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{CollectConfig, ConfigError, Home};
use crate::fault::Explain;
use crate::rollout::ClosedBy;
use crate::store::{Store, StoreError};

pub use change::{Change, Late};
pub use files::run_files;
pub use sessions::{Limits, Sessions};
pub use summary::CollectSummary;

use collector::Collector;

/// Bytes of text that are held for turns that may still change.
const TEXT_BYTES_MAX: usize = 512 << 20;
/// How long a turn may take from its end to its row; idle sessions are given this much more.
const GRACE_US: i64 = 10_000_000;
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);

/// Why `collect` ended.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A value that it cannot work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was told to stop in the middle of plain files.
    #[error("stopped before the end: nothing was written")]
    Interrupted,
}

impl Explain for CollectError {
    fn label(&self) -> &'static str {
        match self {
            Self::Config(error) => error.label(),
            Self::Store(error) => error.label(),
            Self::Interrupted => "interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Interrupted => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Interrupted => 1,
        }
    }
}

/// Places every turn of the store; with `follow` it stays until `shutdown`, and then closes what
/// is open.
///
/// In one-shot use the sessions that are still open stay so, unless `close_all` is set.
///
/// # Errors
/// [`CollectError`]: a wrong value, or a store that cannot be opened or written to; then nothing is
/// closed. A segment that cannot be read is left out and counted.
pub async fn run(
    config: &CollectConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<CollectSummary, CollectError> {
    config.validate()?;
    let store = Store::open(home)?;
    let mut collector = Collector::open(config, home, &store)?;
    collector.beat("catching up");
    let ended = work(config, &mut collector, &shutdown).await;
    match ended {
        Ok(()) => Ok(collector.end()),
        Err(error) => {
            collector.beat(&format!("failing: {}", error.label()));
            Err(error.into())
        }
    }
}

async fn work(
    config: &CollectConfig,
    collector: &mut Collector,
    shutdown: &CancellationToken,
) -> Result<(), StoreError> {
    collector.recall()?;
    collector.look(shutdown)?;
    if shutdown.is_cancelled() {
        // Not everything was read: what looks open may have gone on.
        return collector.flush();
    }
    if config.close_all {
        return collector.close_all(ClosedBy::IdleTimeout);
    }
    collector.keep_up()?;
    if !config.follow {
        return Ok(());
    }
    let pause = Duration::from_millis(config.poll_ms);
    let on = CancellationToken::new();
    while !shutdown.is_cancelled() {
        collector.beat_if_due("waiting");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
        // Also after it was told to leave: what was answered until then has its row.
        if collector.look(&on)? {
            collector.beat_if_due("working");
        }
    }
    collector.close_all(ClosedBy::Shutdown)
}

fn limits(config: &CollectConfig) -> Limits {
    let idle_s = i64::try_from(config.idle_timeout_s).unwrap_or(i64::MAX);
    Limits {
        idle_us: idle_s.saturating_mul(1_000_000),
        sessions: config.sessions_max,
        text_bytes: TEXT_BYTES_MAX,
    }
}
