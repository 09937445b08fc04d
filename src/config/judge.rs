//! The judge that `score` and `hint` ask.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require, require_url};

/// Who judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Judge {
    /// Deterministic rules over explicit feedback (docs/judging.md).
    Rules,
    /// A model behind an OpenAI-compatible address (`http://host:port/v1`).
    Url(String),
}

impl FromStr for Judge {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "rules" {
            return Ok(Self::Rules);
        }
        require_url("judge", text)
            .map(|()| Self::Url(text.trim_end_matches('/').to_owned()))
            .map_err(|error| ConfigError {
                expected: "`rules` or an address such as http://127.0.0.1:30001/v1",
                ..error
            })
    }
}

impl TryFrom<String> for Judge {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Judge> for String {
    fn from(judge: Judge) -> Self {
        judge.to_string()
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules => f.write_str("rules"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// How the judge is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig {
    /// Rules, or the address of a model.
    pub judge: Judge,
    /// The model name to ask for.
    pub judge_model: String,
    /// File that holds the judge's API key.
    pub judge_key_file: Option<PathBuf>,
    /// Votes per turn (m).
    pub votes: usize,
    /// Sampling temperature of the votes.
    pub judge_temperature: f32,
    /// Most tokens of one vote.
    pub judge_tokens: usize,
    /// Turns judged at the same time.
    pub concurrency: usize,
    /// Tries per vote before it counts as lost.
    pub tries: usize,
    /// Seconds that one try may take.
    pub timeout_s: u64,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            judge: Judge::Rules,
            judge_model: "judge".to_owned(),
            judge_key_file: None,
            votes: 3,
            judge_temperature: 0.6,
            judge_tokens: 1_024,
            concurrency: 4,
            tries: 4,
            timeout_s: 120,
        }
    }
}

impl JudgeConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require((1..=64).contains(&self.votes), "votes", self.votes, "1 to 64")?;
        let temperature = self.judge_temperature;
        require((0.0..=10.0).contains(&temperature), "judge_temperature", temperature, "0 to 10")?;
        require(self.judge_tokens > 0, "judge_tokens", self.judge_tokens, "above 0")?;
        require(
            (1..=256).contains(&self.concurrency),
            "concurrency",
            self.concurrency,
            "1 to 256",
        )?;
        require((1..=32).contains(&self.tries), "tries", self.tries, "1 to 32")?;
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "seconds above 0")
    }
}
