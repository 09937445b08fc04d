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
    /// 12 layers of width 512, 42M weights.
    M,
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
            "m" => Ok(Self::M),
            "0.6b" => Ok(Self::Qwen3Small),
            "4b" => Ok(Self::Qwen3Medium),
            _ => Err(ConfigError {
                key: "shape",
                got: text.to_owned(),
                expected: "tiny, s, m, 0.6b or 4b",
            }),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tiny => "tiny",
            Self::S => "s",
            Self::M => "m",
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

/// How large the requests of made-up conversations are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TalkSize {
    /// A chat: a short system prompt, no tools to speak of.
    #[default]
    Chat,
    /// An agent: a system prompt of 45,000 characters and 10,000 of tools in each request.
    Agent,
}

impl FromStr for TalkSize {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "chat" => Ok(Self::Chat),
            "agent" => Ok(Self::Agent),
            _ => Err(ConfigError { key: "size", got: text.to_owned(), expected: "chat or agent" }),
        }
    }
}

impl fmt::Display for TalkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Agent => "agent",
        })
    }
}

/// Configuration of `bench place`.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceConfig {
    /// Recorded turns.
    pub turns: usize,
    /// Sessions that they belong to.
    pub sessions: usize,
    /// How large the requests are.
    pub size: TalkSize,
    /// Turns of one segment.
    pub segment_turns: usize,
    /// What the conversations are drawn by.
    pub seed: u64,
    /// Where the home is made, instead of the directory for temporary files.
    pub dir: Option<PathBuf>,
    /// The program that is measured: this one.
    pub program: PathBuf,
}

impl PlaceConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require((1..=10_000_000).contains(&self.turns), "turns", self.turns, "1 to 10,000,000")?;
        require(
            (1..=self.turns).contains(&self.sessions),
            "sessions",
            self.sessions,
            "1 to as many as there are turns",
        )?;
        require(
            (1..=10_000).contains(&self.segment_turns),
            "segment_turns",
            self.segment_turns,
            "1 to 10,000",
        )
    }
}

/// Configuration of `bench judge`.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeBenchConfig {
    /// Rollouts that wait.
    pub rollouts: usize,
    /// Rollouts of one segment.
    pub segment_rollouts: usize,
    /// Whether the rules judge, in place of a model that answers at once.
    pub rules: bool,
    /// Votes per turn.
    pub votes: usize,
    /// Turns judged at the same time.
    pub concurrency: usize,
    /// Where the home is made, instead of the directory for temporary files.
    pub dir: Option<PathBuf>,
    /// The program that is measured: this one.
    pub program: PathBuf,
}

impl JudgeBenchConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let most = "1 to 10,000,000";
        require((1..=10_000_000).contains(&self.rollouts), "rollouts", self.rollouts, most)?;
        let segment = self.segment_rollouts;
        require((1..=10_000).contains(&segment), "segment_rollouts", segment, "1 to 10,000")
    }
}

/// Configuration of `bench follow`.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowConfig {
    /// Turns a second.
    pub rate: f64,
    /// Seconds for which turns are recorded.
    pub seconds: u64,
    /// Sessions that they belong to.
    pub sessions: usize,
    /// How large the requests are.
    pub size: TalkSize,
    /// Where the home is made, instead of the directory for temporary files.
    pub dir: Option<PathBuf>,
    /// The program that is measured: this one.
    pub program: PathBuf,
}

impl FollowConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let rate = self.rate > 0.0 && self.rate <= 1_000.0;
        require(rate, "rate", self.rate, "turns a second, up to 1,000")?;
        require((1..=3_600).contains(&self.seconds), "seconds", self.seconds, "1 to 3,600")?;
        require((1..=100_000).contains(&self.sessions), "sessions", self.sessions, "1 to 100,000")
    }
}

/// Which weights a training step changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrainedPart {
    /// All of them.
    #[default]
    All,
    /// A LoRA adapter's.
    Lora,
}

impl FromStr for TrainedPart {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            "lora" => Ok(Self::Lora),
            _ => Err(ConfigError { key: "mode", got: text.to_owned(), expected: "all or lora" }),
        }
    }
}

impl fmt::Display for TrainedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Lora => "lora",
        })
    }
}

/// Configuration of `bench train`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainBenchConfig {
    /// Where the model is computed.
    pub device: DeviceChoice,
    /// What it is computed in.
    pub dtype: DtypeChoice,
    /// The random model's shape.
    pub shape: Shape,
    /// What is trained.
    pub mode: TrainedPart,
    /// Rank of the adapter.
    pub rank: usize,
    /// Sequences of a step.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    /// Of those, tokens that all of them begin with.
    pub shared: usize,
    /// Whether each sequence has rows of its own all the same.
    pub unshared: bool,
    /// Rows that are computed together.
    pub rows: usize,
    /// Steps that are timed, after one that is not.
    pub steps: usize,
}

impl TrainBenchConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require((1..=1024).contains(&self.rank), "rank", self.rank, "1 to 1024")?;
        require((1..=1024).contains(&self.batch), "batch", self.batch, "1 to 1024")?;
        require((2..=32_768).contains(&self.length), "length", self.length, "2 to 32768")?;
        let shared = self.shared < self.length;
        require(shared, "shared", self.shared, "below the length of a sequence")?;
        require(self.rows > 0, "rows", self.rows, "at least 1")?;
        require((1..=1000).contains(&self.steps), "steps", self.steps, "1 to 1000")
    }
}
