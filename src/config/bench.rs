//! What `bench` can be told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{ConfigError, DeviceChoice, DtypeChoice, require};

/// A decoder's dimensions, for random weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 2 layers of width 64, for tests.
    Tiny,
    /// 8 layers of width 256, 10M weights.
    S,
    /// That of Qwen3-0.6B.
    Qwen3Small,
    /// That of Qwen3-4B.
    Qwen3Medium,
}

impl FromStr for Shape {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tiny" => Ok(Self::Tiny),
            "s" => Ok(Self::S),
            "0.6b" => Ok(Self::Qwen3Small),
            "4b" => Ok(Self::Qwen3Medium),
            _ => Err(ConfigError {
                key: "shape",
                got: text.to_owned(),
                expected: "tiny, s, 0.6b or 4b",
            }),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tiny => "tiny",
            Self::S => "s",
            Self::Qwen3Small => "0.6b",
            Self::Qwen3Medium => "4b",
        })
    }
}

/// Configuration of `bench`.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchConfig {
    /// Where the model is computed.
    pub device: DeviceChoice,
    /// What it is computed in.
    pub dtype: DtypeChoice,
    /// The random model's shape, where no model is named.
    pub shape: Shape,
    /// Hugging Face directory of the model.
    pub model: Option<PathBuf>,
    /// Replies decoded together, one figure for each.
    pub batches: Vec<usize>,
    /// Tokens before the reply.
    pub context: usize,
    /// Decode steps that are timed.
    pub steps: u32,
    /// Tokens of the prompt that is timed.
    pub prefill: usize,
}

impl BenchConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fit = self.batches.iter().all(|batch| (1..=64).contains(batch));
        let batches = format!("{:?}", self.batches);
        require(fit && !self.batches.is_empty(), "batch", batches, "1 to 64, at least one")?;
        require((1..=8192).contains(&self.context), "context", self.context, "1 to 8192")?;
        require((1..=4096).contains(&self.steps), "steps", self.steps, "1 to 4096")?;
        require((1..=8192).contains(&self.prefill), "prefill", self.prefill, "1 to 8192")
    }
}
