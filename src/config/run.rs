//! What `run` can be told.

use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceChoice, require};

/// Configuration of the supervisor. What its children are told stands in their own sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// End after this many optimizer steps have gone live; never if absent.
    pub exit_after_steps: Option<u64>,
    /// Port of the base model's server where it is the judge; 0 takes a free one.
    pub judge_port: u16,
    /// Where that judge is computed; as the policy if absent.
    pub judge_device: Option<DeviceChoice>,
    /// Key and value memory of that judge, in tokens; half of the policy's if absent, and 16,384
    /// at least.
    pub judge_cache_tokens: Option<usize>,
    /// Milliseconds that a child waits before its first restart; doubles with each one.
    pub restart_ms_min: u64,
    /// Longest wait before a restart, in milliseconds.
    pub restart_ms_max: u64,
    /// Restarts of one child within a minute before `run` gives up.
    pub restarts_max: usize,
    /// Seconds that children may take to flush and leave.
    pub drain_s: u64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            exit_after_steps: None,
            judge_port: 30_001,
            judge_device: None,
            judge_cache_tokens: None,
            restart_ms_min: 500,
            restart_ms_max: 30_000,
            restarts_max: 10,
            drain_s: 30,
        }
    }
}

impl RunConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.exit_after_steps != Some(0), "exit_after_steps", 0, "a number above 0")?;
        let tokens = self.judge_cache_tokens;
        require(tokens != Some(0), "judge_cache_tokens", 0, "a whole number above 0")?;
        require(self.restart_ms_min > 0, "restart_ms_min", self.restart_ms_min, "above 0")?;
        require(
            self.restart_ms_max >= self.restart_ms_min,
            "restart_ms_max",
            self.restart_ms_max,
            "at least `restart_ms_min`",
        )?;
        require(self.restarts_max > 0, "restarts_max", self.restarts_max, "above 0")?;
        require(self.drain_s > 0, "drain_s", self.drain_s, "seconds above 0")
    }
}
