//! What `collect` can be told.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Configuration of the `collect` stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Stay and follow the store instead of handling what is there.
    pub follow: bool,
    /// Milliseconds between two looks at the store.
    pub poll_ms: u64,
    /// Seconds after which a session without a new request is closed.
    pub idle_timeout_s: u64,
    /// Sessions that are remembered; beyond it the one that was quiet longest is closed and
    /// forgotten.
    pub sessions_max: usize,
    /// In one-shot use: close every open session as if it had idled out.
    pub close_all: bool,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            idle_timeout_s: 1_800,
            sessions_max: 20_000,
            close_all: false,
        }
    }
}

impl CollectConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, "a whole number above 0")?;
        require(self.idle_timeout_s > 0, "idle_timeout_s", self.idle_timeout_s, "seconds above 0")?;
        let sessions = self.sessions_max;
        require(sessions > 0, "sessions_max", sessions, "a whole number above 0")?;
        require(
            !(self.follow && self.close_all),
            "close_all",
            true,
            "not both `follow` and `close_all`",
        )
    }
}
