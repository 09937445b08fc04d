//! What each stage can be told: one pure struct per stage, its defaults, and `validate()`.
//!
//! No I/O here. `cmd/` layers defaults, the TOML file and flags, and every value that reaches a
//! stage has been validated. Unknown keys are refused.

mod bench;
mod collect;
mod deploy;
mod device;
mod eval;
mod hint;
mod home;
mod hub;
mod judge;
mod objective;
mod run;
mod score;
mod serve;
mod shard;
mod train;

pub use bench::{
    BenchConfig, FollowConfig, JudgeBenchConfig, PlaceConfig, Shape, TalkSize, TrainBenchConfig,
    TrainedPart,
};
pub use collect::CollectConfig;
pub use deploy::DeployConfig;
pub use device::{DeviceChoice, DtypeChoice};
pub use eval::EvalConfig;
pub use hint::{Acceptance, HintConfig, HintSelect};
pub use home::Home;
pub use hub::HubConfig;
pub use judge::{Judge, JudgeConfig, JudgeConstraint, RunJudge, Servers};
pub use objective::{
    Behaviour, HybridSelection, HybridSupport, KlEstimator, LossAggregation, Method, OptimizerKind,
    Schedule, ScheduleKind, TrainedWeights,
};
pub use run::RunConfig;
pub use score::ScoreConfig;
pub use serve::ServeConfig;
pub use shard::Shard;
pub use train::TrainConfig;

/// A value that a stage cannot work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("invalid value `{got}` for `{key}`: expected {expected}")]
pub struct ConfigError {
    /// The key, as it stands in the file (the flag is `--` and the key with dashes).
    pub key: &'static str,
    /// What was given.
    pub got: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// `Err` unless `holds`, naming the key, what it got and what it expected.
fn require(
    holds: bool,
    key: &'static str,
    got: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError { key, got: got.to_string(), expected }) }
}

/// `Err` unless `url` is an http(s) address with a host.
fn require_url(key: &'static str, url: &str) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    require(!host.is_empty(), key, url, "an address such as http://127.0.0.1:30000")
}
