//! What `score` can be told.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Judge, JudgeConfig, Shard, require};

/// Configuration of the `score` stage; `J` is as in [`JudgeConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "J: Deserialize<'de> + Default"))]
pub struct ScoreConfig<J = Judge> {
    /// Stay and follow the store instead of handling what is there.
    pub follow: bool,
    /// Milliseconds between two looks at the store.
    pub poll_ms: u64,
    /// The part of the turns that this process judges; all if absent.
    pub shard: Option<Shard>,
    /// Judge again what only other judges, or other versions of this one, have judged.
    pub rejudge: bool,
    /// Who judges, and how.
    #[serde(flatten)]
    pub judge: JudgeConfig<J>,
}

impl<J: Default> Default for ScoreConfig<J> {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            shard: None,
            rejudge: false,
            judge: JudgeConfig::default(),
        }
    }
}

impl<J> ScoreConfig<J> {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, "a whole number above 0")?;
        self.judge.validate()
    }
}
