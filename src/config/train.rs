//! What `train` can be told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    Behaviour, ConfigError, DeviceChoice, DtypeChoice, HubConfig, HybridSelection, HybridSupport,
    KlEstimator, LossAggregation, Method, OptimizerKind, Schedule, ScheduleKind, TrainedWeights,
    require,
};

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
    /// Where the model is computed.
    pub device: DeviceChoice,
    /// The devices among which each batch is divided, in place of `device`; each holds the whole
    /// model.
    pub devices: Vec<DeviceChoice>,
    /// Copies of the model on the CPU among which each batch is divided.
    pub workers: usize,
    /// What activations and products are computed in; masters and moments are f32 anywhere.
    pub dtype: DtypeChoice,
    /// The objective.
    pub method: Method,
    /// Tokens of a position that `topk` and `hybrid` look at; 50 and 4 if absent.
    pub top_k: Option<usize>,
    /// Which tokens `hybrid` compares at a position.
    pub hybrid_support: HybridSupport,
    /// Which of several hints `hybrid` learns from.
    pub hybrid_selection: HybridSelection,
    /// Bound on the gap between teacher and policy that `hybrid` learns from; 0 is none.
    pub gap_clip: f32,
    /// Whether `hybrid` also pulls replies without a hint to the teacher, as the reference does.
    pub opd_without_hint: bool,
    /// The version that is the teacher of `topk` and `hybrid`; the weights before the step if
    /// absent.
    pub teacher_version: Option<u64>,
    /// How the values of tokens become a loss; by the method if absent: `token-mean` for `sft`,
    /// `sample-mean` for the others.
    pub loss_aggregation: Option<LossAggregation>,
    /// How the distance to the reference is estimated.
    pub kl: KlEstimator,
    /// Weight of the distance to the reference; 0 does not compute it.
    pub kl_coefficient: f32,
    /// The version that is the reference.
    pub reference_version: u64,
    /// Weight of the entropy, which is rewarded; 0 does not compute it.
    pub entropy_coefficient: f32,
    /// What the policy's ratio is taken to.
    pub behaviour: Behaviour,
    /// Bound on the weight of a token under `decoupled`.
    pub decoupled_cap: f32,
    /// Samples per optimizer step.
    pub batch_size: usize,
    /// Distinct sessions that a batch holds at least.
    pub sessions_min: usize,
    /// Seconds after which a batch closes with fewer samples, and fewer sessions; never if absent.
    pub max_wait_s: Option<u64>,
    /// Optimizer steps over the same batch; with `input`, times that the file is gone through.
    pub epochs: usize,
    /// Which weights are trained.
    pub weights: TrainedWeights,
    /// Rank of the additions of `lora`.
    pub lora_rank: usize,
    /// The additions of `lora` are scaled by this over the rank.
    pub lora_alpha: f64,
    /// How a gradient becomes a step.
    pub optimizer: OptimizerKind,
    /// Step size, after the warm-up.
    pub learning_rate: f64,
    /// Step size at the end of a schedule that falls.
    pub learning_rate_min: f64,
    /// How the step size goes on after the warm-up.
    pub schedule: ScheduleKind,
    /// Optimizer updates over which the step size rises from 0.
    pub warmup_steps: u64,
    /// Optimizer updates after which a schedule that falls has reached its end.
    pub schedule_steps: Option<u64>,
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
    /// Bound on the loss of a punished token, as a multiple of its advantage (dual-clip PPO); none
    /// if absent.
    pub dual_clip: Option<f32>,
    /// Weight of the score in `combine` and `hybrid`.
    pub weight_rl: f32,
    /// Weight of the hint gap in `combine` and `hybrid`.
    pub weight_opd: f32,
    /// Bound on the size of an advantage; what is cut off is counted.
    pub advantage_max: f32,
    /// Bound on the size of a log-ratio; what is cut off is counted.
    pub log_ratio_max: f32,
    /// Longest prompt and reply that is trained on, in tokens.
    pub train_tokens_max: usize,
    /// Tokens that are computed at once; a longer sample is computed alone.
    pub pack_tokens: usize,
    /// The judges whose scores and hints count, as the tables name them; all if none is named. The
    /// user's own word always counts.
    pub judged_by: Vec<String>,
    /// How many versions behind the head the oldest token of a reply may be.
    pub staleness_max: u64,
    /// Replies in a row that may make the same tool calls; one more is not trained on.
    pub same_call_max: usize,
    /// Train also on turns that were drawn with penalties or a bias, whose recorded
    /// log-probabilities are not those that they were drawn with.
    pub allow_penalties: bool,
    /// A step whose gradient norm is above the median of the last steps times this is skipped.
    pub grad_norm_jump: f64,
    /// A step whose loss is further from the median of the last steps than this times their usual
    /// distance is skipped.
    pub loss_jump: f64,
    /// Steps in a row that may be skipped before training stops.
    pub skips_max: usize,
    /// With `follow`: versions that may wait to go live before the next step.
    pub versions_ahead_max: u64,
    /// Newest versions whose weights are kept.
    pub keep_last: usize,
    /// Best versions whose weights are kept, by the mean reward of their turns.
    pub keep_best: usize,
    /// Chat examples for `sft`, one JSON object a line, in place of the store.
    pub input: Option<PathBuf>,
    /// With `input`: take the examples in the file's order instead of one drawn from the seed.
    pub in_order: bool,
    /// With `input`: optimizer steps from one version to the next.
    pub steps_per_version: u64,
    /// What fresh low-rank additions and the order of examples are drawn from.
    pub seed: u64,
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
            devices: Vec::new(),
            workers: 1,
            dtype: DtypeChoice::Auto,
            method: Method::Combine,
            top_k: None,
            hybrid_support: HybridSupport::Student,
            hybrid_selection: HybridSelection::SequenceOptimal,
            gap_clip: 1.0,
            opd_without_hint: false,
            teacher_version: None,
            loss_aggregation: None,
            kl: KlEstimator::LowVarKl,
            kl_coefficient: 0.0,
            reference_version: 0,
            entropy_coefficient: 0.0,
            behaviour: Behaviour::Rollout,
            decoupled_cap: 2.0,
            batch_size: 16,
            sessions_min: 1,
            max_wait_s: None,
            epochs: 1,
            weights: TrainedWeights::All,
            lora_rank: 64,
            lora_alpha: 64.0,
            optimizer: OptimizerKind::AdamW,
            learning_rate: 1e-5,
            learning_rate_min: 0.0,
            schedule: ScheduleKind::Constant,
            warmup_steps: 0,
            schedule_steps: None,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.1,
            grad_norm_max: 1.0,
            clip_low: 0.2,
            clip_high: 0.28,
            dual_clip: None,
            weight_rl: 1.0,
            weight_opd: 1.0,
            advantage_max: 10.0,
            log_ratio_max: 20.0,
            train_tokens_max: 32_768,
            pack_tokens: 16_384,
            judged_by: Vec::new(),
            staleness_max: 4,
            same_call_max: 3,
            allow_penalties: false,
            grad_norm_jump: 20.0,
            loss_jump: 50.0,
            skips_max: 3,
            versions_ahead_max: 2,
            keep_last: 3,
            keep_best: 1,
            input: None,
            in_order: false,
            steps_per_version: 100,
            seed: 0,
            steps_max: None,
        }
    }
}

impl TrainConfig {
    /// Tokens of a position that the method looks at; 0 for a method that looks at the sampled one
    /// only.
    pub const fn support(&self) -> usize {
        match (self.method, self.top_k) {
            (Method::Topk | Method::Hybrid, Some(top_k)) => top_k,
            (Method::Topk, None) => 50,
            (Method::Hybrid, None) => 4,
            _ => 0,
        }
    }

    /// Whether the distance to the reference counts.
    pub fn has_reference(&self) -> bool {
        self.kl != KlEstimator::None && self.kl_coefficient != 0.0
    }

    /// The learning rate by number of updates.
    pub fn rates(&self) -> Schedule {
        Schedule {
            kind: self.schedule,
            warmup_steps: self.warmup_steps,
            steps: self.schedule_steps.unwrap_or(0),
            max: self.learning_rate,
            min: self.learning_rate_min,
        }
    }

    /// How the values of tokens become a loss.
    pub fn loss_aggregation(&self) -> LossAggregation {
        self.loss_aggregation.unwrap_or(match self.method {
            Method::Sft => LossAggregation::TokenMean,
            _ => LossAggregation::SampleMean,
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, ABOVE)?;
        require(self.steps_max != Some(0), "steps_max", 0, ABOVE)?;
        self.validate_place()?;
        self.validate_batch()?;
        self.validate_objective()?;
        self.validate_optimizer()?;
        self.validate_guards()?;
        self.validate_input()
    }

    fn validate_place(&self) -> Result<(), ConfigError> {
        require((1..=256).contains(&self.workers), "workers", self.workers, "1 to 256")?;
        let several = self.devices.len() > 1 && self.workers > 1;
        require(!several, "workers", self.workers, "1 where `devices` names several")?;
        for (at, device) in self.devices.iter().enumerate() {
            let known = !matches!(device, DeviceChoice::Auto);
            require(known, "devices", device, "cpu, cuda or cuda:N")?;
            let once = !self.devices[..at].contains(device);
            require(once, "devices", device, "each device once")?;
        }
        let on_cpu = self.devices.contains(&DeviceChoice::Cpu) && self.devices.len() > 1;
        require(!on_cpu, "devices", "cpu", "CUDA devices, or `workers` for several on the CPU")
    }

    fn validate_batch(&self) -> Result<(), ConfigError> {
        require((1..=4096).contains(&self.batch_size), "batch_size", self.batch_size, "1 to 4096")?;
        let sessions = self.sessions_min;
        let fits = (1..=self.batch_size).contains(&sessions);
        require(fits, "sessions_min", sessions, "1 to `batch_size`")?;
        require((1..=64).contains(&self.epochs), "epochs", self.epochs, "1 to 64")?;
        let tokens = self.train_tokens_max;
        require(tokens >= 2, "train_tokens_max", tokens, "at least 2")?;
        require(self.pack_tokens >= 2, "pack_tokens", self.pack_tokens, "at least 2")
    }

    fn validate_objective(&self) -> Result<(), ConfigError> {
        let finite = "a finite number";
        let positive = |x: f32| x.is_finite() && x > 0.0;
        let at_least_0 = |x: f32| x.is_finite() && x >= 0.0;
        let support = self.support();
        require(support <= 1024 && self.top_k != Some(0), "top_k", support, "1 to 1024")?;
        require(at_least_0(self.gap_clip), "gap_clip", self.gap_clip, NOT_BELOW)?;
        let coefficient = self.kl_coefficient;
        require(at_least_0(coefficient), "kl_coefficient", coefficient, NOT_BELOW)?;
        let entropy = self.entropy_coefficient;
        require(entropy.is_finite(), "entropy_coefficient", entropy, finite)?;
        let cap = self.decoupled_cap;
        require(positive(cap), "decoupled_cap", cap, ABOVE)?;
        require((0.0..1.0).contains(&self.clip_low), "clip_low", self.clip_low, FRACTION)?;
        require((0.0..10.0).contains(&self.clip_high), "clip_high", self.clip_high, "0 to 10")?;
        let dual = self.dual_clip.unwrap_or(2.0);
        require(dual.is_finite() && dual > 1.0, "dual_clip", dual, "above 1")?;
        require(self.weight_rl.is_finite(), "weight_rl", self.weight_rl, finite)?;
        require(self.weight_opd.is_finite(), "weight_opd", self.weight_opd, finite)?;
        require(positive(self.advantage_max), "advantage_max", self.advantage_max, ABOVE)?;
        let ratio = self.log_ratio_max;
        // exp of more is no number in f32
        require(positive(ratio) && ratio <= 80.0, "log_ratio_max", ratio, "above 0, at most 80")
    }

    fn validate_optimizer(&self) -> Result<(), ConfigError> {
        let rate = self.learning_rate;
        require(rate > 0.0 && rate <= 1.0, "learning_rate", rate, "above 0, at most 1")?;
        let least = self.learning_rate_min;
        let falls = (0.0..=rate).contains(&least);
        require(falls, "learning_rate_min", least, "0 to `learning_rate`")?;
        let ends = self.schedule == ScheduleKind::Constant
            || self.schedule_steps.is_some_and(|steps| steps > self.warmup_steps);
        let steps = self.schedule_steps.unwrap_or(0);
        require(ends, "schedule_steps", steps, "more than `warmup_steps`, where a schedule falls")?;
        require((0.0..1.0).contains(&self.beta1), "beta1", self.beta1, FRACTION)?;
        require((0.0..1.0).contains(&self.beta2), "beta2", self.beta2, FRACTION)?;
        require(self.epsilon > 0.0, "epsilon", self.epsilon, ABOVE)?;
        let decay = self.weight_decay;
        require((0.0..1.0).contains(&decay), "weight_decay", decay, FRACTION)?;
        require(self.grad_norm_max > 0.0, "grad_norm_max", self.grad_norm_max, ABOVE)?;
        require((1..=4096).contains(&self.lora_rank), "lora_rank", self.lora_rank, "1 to 4096")?;
        let alpha = self.lora_alpha;
        require(alpha.is_finite() && alpha > 0.0, "lora_alpha", alpha, ABOVE)
    }

    fn validate_guards(&self) -> Result<(), ConfigError> {
        require(self.same_call_max > 0, "same_call_max", self.same_call_max, ABOVE)?;
        require(self.grad_norm_jump > 1.0, "grad_norm_jump", self.grad_norm_jump, "above 1")?;
        require(self.loss_jump > 1.0, "loss_jump", self.loss_jump, "above 1")?;
        require(self.skips_max > 0, "skips_max", self.skips_max, ABOVE)?;
        require(self.versions_ahead_max > 0, "versions_ahead_max", self.versions_ahead_max, ABOVE)?;
        require(self.keep_last > 0, "keep_last", self.keep_last, ABOVE)
    }

    fn validate_input(&self) -> Result<(), ConfigError> {
        let steps = self.steps_per_version;
        require(steps > 0, "steps_per_version", steps, ABOVE)?;
        let Some(input) = &self.input else { return Ok(()) };
        let shown = input.display();
        require(self.method == Method::Sft, "input", shown, "a file with the method `sft` only")?;
        require(!self.follow, "input", input.display(), "not both `follow` and `input`")
    }
}

const ABOVE: &str = "a number above 0";
const NOT_BELOW: &str = "a number, at least 0";
const FRACTION: &str = "at least 0, below 1";

#[cfg(test)]
mod tests {
    use super::*;

    /// The key that is refused.
    fn refused(config: &TrainConfig) -> Option<&'static str> {
        config.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_hold_and_what_cannot_be_worked_with_is_named() {
        let default = TrainConfig::default;
        assert_eq!(refused(&default()), None);
        let cases = [
            ("sessions_min", TrainConfig { sessions_min: 17, ..default() }),
            ("top_k", TrainConfig { method: Method::Topk, top_k: Some(0), ..default() }),
            ("dual_clip", TrainConfig { dual_clip: Some(1.0), ..default() }),
            ("log_ratio_max", TrainConfig { log_ratio_max: 89.0, ..default() }),
            ("advantage_max", TrainConfig { advantage_max: f32::NAN, ..default() }),
            ("kl_coefficient", TrainConfig { kl_coefficient: -0.1, ..default() }),
            ("schedule_steps", TrainConfig { schedule: ScheduleKind::Cosine, ..default() }),
            ("learning_rate_min", TrainConfig { learning_rate_min: 1.0, ..default() }),
            ("grad_norm_jump", TrainConfig { grad_norm_jump: 1.0, ..default() }),
            ("keep_last", TrainConfig { keep_last: 0, ..default() }),
            ("devices", TrainConfig { devices: vec![DeviceChoice::Auto], ..default() }),
            ("devices", TrainConfig { devices: vec![DeviceChoice::Cuda(1); 2], ..default() }),
            ("input", TrainConfig { input: Some("x.jsonl".into()), ..default() }),
        ];
        for (key, config) in cases {
            assert_eq!(refused(&config), Some(key));
        }
    }

    #[test]
    fn the_support_is_that_of_the_method() {
        let with = |method, top_k| TrainConfig { method, top_k, ..TrainConfig::default() };
        assert_eq!(with(Method::Topk, None).support(), 50);
        assert_eq!(with(Method::Hybrid, None).support(), 4);
        assert_eq!(with(Method::Hybrid, Some(9)).support(), 9);
        assert_eq!(with(Method::Combine, Some(9)).support(), 0);
    }
}
