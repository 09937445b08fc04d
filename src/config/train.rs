//! What `train` can be told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceChoice, HubConfig, require};

/// The objective (docs/math.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Judge's score as advantage of every response token.
    Binary,
    /// Gap between hinted and plain log-probability as advantage.
    Opd,
    /// The weighted sum of both.
    Combine,
}

impl Method {
    /// The stable label that stands in tables and flags.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Opd => "opd",
            Self::Combine => "combine",
        }
    }
}

/// Configuration of the `train` stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Stay and follow the store instead of handling what is there.
    pub follow: bool,
    /// Milliseconds between two looks at the store.
    pub poll_ms: u64,
    /// The base model: a Hugging Face directory, or `owner/name[@revision]` of the hub; the
    /// embedded model if absent.
    pub model: Option<PathBuf>,
    /// Where models with such names come from.
    #[serde(skip)]
    pub hub: HubConfig,
    /// Where the model is computed; in f32 anywhere.
    pub device: DeviceChoice,
    /// The objective.
    pub method: Method,
    /// Samples per optimizer step.
    pub batch_size: usize,
    /// Seconds after which a batch closes with fewer samples; never if absent.
    pub max_wait_s: Option<u64>,
    /// Optimizer steps over the same batch.
    pub epochs: usize,
    /// AdamW step size.
    pub learning_rate: f64,
    /// AdamW decay of the first moment.
    pub beta1: f64,
    /// AdamW decay of the second moment.
    pub beta2: f64,
    /// AdamW denominator guard.
    pub epsilon: f64,
    /// AdamW decoupled decay of matrices (norms and biases are not decayed).
    pub weight_decay: f64,
    /// Bound on the L2 norm of the whole gradient.
    pub grad_norm_max: f64,
    /// Lower PPO clip: the ratio counts from 1 - this.
    pub clip_low: f32,
    /// Upper PPO clip: the ratio counts up to 1 + this.
    pub clip_high: f32,
    /// Weight of the score in `combine`.
    pub weight_rl: f32,
    /// Weight of the hint gap in `combine`.
    pub weight_opd: f32,
    /// Longest prompt and reply that is trained on, in tokens.
    pub train_tokens_max: usize,
    /// Train also on turns that were drawn with penalties or a bias, whose recorded
    /// log-probabilities are not those that they were drawn with.
    pub allow_penalties: bool,
    /// Stop after this many optimizer steps.
    pub steps_max: Option<u64>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            model: None,
            hub: HubConfig::default(),
            device: DeviceChoice::Auto,
            method: Method::Combine,
            batch_size: 16,
            max_wait_s: None,
            epochs: 1,
            learning_rate: 1e-5,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.1,
            grad_norm_max: 1.0,
            clip_low: 0.2,
            clip_high: 0.28,
            weight_rl: 1.0,
            weight_opd: 1.0,
            train_tokens_max: 32_768,
            allow_penalties: false,
            steps_max: None,
        }
    }
}

impl TrainConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let above = "a number above 0";
        let fraction = "at least 0, below 1";
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, above)?;
        require((1..=4096).contains(&self.batch_size), "batch_size", self.batch_size, "1 to 4096")?;
        require((1..=64).contains(&self.epochs), "epochs", self.epochs, "1 to 64")?;
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate, "above 0, at most 1")?;
        require((0.0..1.0).contains(&self.beta1), "beta1", self.beta1, fraction)?;
        require((0.0..1.0).contains(&self.beta2), "beta2", self.beta2, fraction)?;
        require(self.epsilon > 0.0, "epsilon", self.epsilon, above)?;
        require(
            (0.0..1.0).contains(&self.weight_decay),
            "weight_decay",
            self.weight_decay,
            fraction,
        )?;
        require(self.grad_norm_max > 0.0, "grad_norm_max", self.grad_norm_max, above)?;
        require((0.0..1.0).contains(&self.clip_low), "clip_low", self.clip_low, fraction)?;
        require((0.0..10.0).contains(&self.clip_high), "clip_high", self.clip_high, "0 to 10")?;
        require(self.weight_rl.is_finite(), "weight_rl", self.weight_rl, "a finite number")?;
        require(self.weight_opd.is_finite(), "weight_opd", self.weight_opd, "a finite number")?;
        require(
            self.train_tokens_max >= 2,
            "train_tokens_max",
            self.train_tokens_max,
            "at least 2",
        )?;
        require(self.steps_max != Some(0), "steps_max", 0, above)
    }
}
