//! What `hint` can be told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Judge, JudgeConfig, require, require_url};

/// Configuration of the `hint` stage; `J` is as in [`JudgeConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "J: Deserialize<'de> + Default"))]
pub struct HintConfig<J = Judge> {
    /// Stay and follow the store instead of handling what is there.
    pub follow: bool,
    /// Milliseconds between two looks at the store.
    pub poll_ms: u64,
    /// Address of the server that scores replies by ids; the policy's own by default.
    pub teacher: String,
    /// File that holds the teacher's API key.
    pub teacher_key_file: Option<PathBuf>,
    /// Characters that a hint must exceed to be accepted.
    pub hint_chars_min: usize,
    /// Who finds hints, and how.
    #[serde(flatten)]
    pub judge: JudgeConfig<J>,
}

impl<J: Default> Default for HintConfig<J> {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            teacher: "http://127.0.0.1:30000".to_owned(),
            teacher_key_file: None,
            hint_chars_min: 10,
            judge: JudgeConfig::default(),
        }
    }
}

impl<J> HintConfig<J> {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, "a whole number above 0")?;
        require_url("teacher", &self.teacher)?;
        self.judge.validate()
    }
}
