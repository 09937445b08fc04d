//! The objective of some samples at a model's outputs: which terms a method adds up.

use burn::tensor::{Device, Tensor, TensorData};

use super::figures::Means;
use super::prepare::Constants;
use super::samples::Sample;
use crate::config::{self, Behaviour, LossAggregation, Method, TrainConfig};
use crate::loss::{
    Clip, KlEstimator, Outputs, PolicyInput, Samples, advantage, cross_entropy, entropy_bonus,
    hybrid, kl_penalty, mean_of_sample_means, policy, reverse_kl, truncated_importance,
};

/// Some samples of a batch, with what is constant in their loss.
pub struct Group<'a> {
    samples: Vec<&'a Sample>,
    constants: Vec<&'a Constants>,
    /// Which tokens belong to which sample.
    tokens: Samples,
    config: &'a TrainConfig,
    device: Device,
}

impl<'a> Group<'a> {
    /// The samples of these places in a batch.
    pub fn new(
        batch: &'a [Sample],
        constants: &'a [Constants],
        places: &[usize],
        config: &'a TrainConfig,
        device: &Device,
    ) -> Self {
        let samples: Vec<&Sample> = places.iter().map(|&place| &batch[place]).collect();
        let lengths = samples.iter().map(|sample| sample.response_tokens()).collect();
        let tokens = Samples::part_of(batch.len(), lengths);
        let tokens = match config.loss_aggregation() {
            LossAggregation::SampleMean => tokens,
            LossAggregation::TokenMean => {
                tokens.by_token(batch.iter().map(Sample::trained_tokens).sum())
            }
        };
        Self {
            constants: places.iter().map(|&place| &constants[place]).collect(),
            tokens,
            samples,
            config,
            device: device.clone(),
        }
    }

    /// The ids that the model is asked for beside the sampled tokens, `[R, K]`.
    pub fn support_ids(&self) -> Option<Vec<u32>> {
        let each = self.constants.iter().map(|constants| constants.support.as_ref());
        let ids: Option<Vec<&[u32]>> = each.map(|s| s.map(|s| s.ids.as_slice())).collect();
        ids.map(|ids| ids.concat()).filter(|ids| !ids.is_empty())
    }

    /// The loss at a model's outputs, and the means that are worth knowing.
    pub fn loss(&self, at: Outputs) -> (Tensor<1>, Means) {
        let mask = self.each(|sample, _| sample.mask());
        let mut means = Means::new();
        let detached = at.entropy.clone().inner();
        means.put("entropy", mean_of_sample_means(detached, mask.clone(), &self.tokens));
        let mut loss = match self.config.method {
            Method::Binary | Method::Opd | Method::Combine => self.policy(&at, &mask, &mut means),
            Method::Topk => self.top_k(&at, &mask),
            Method::Hybrid => self.hybrid(&at, &mask, &mut means),
            Method::Sft => cross_entropy(at.logprobs.clone(), mask.clone(), &self.tokens).loss,
        };
        if let Some(estimator) = estimator(self.config.kl).filter(|_| self.config.has_reference()) {
            let reference = self.each(|_, constants| constants.reference.clone());
            let logprobs = at.logprobs.clone();
            let kl = kl_penalty(estimator, logprobs, reference, mask.clone(), &self.tokens).loss;
            means.put("kl_reference", kl.clone().inner());
            loss = loss + kl.mul_scalar(self.config.kl_coefficient);
        }
        let bonus = self.config.entropy_coefficient;
        if bonus != 0.0 {
            loss = loss + entropy_bonus(at.entropy, mask, &self.tokens).mul_scalar(bonus);
        }
        (loss, means)
    }

    /// Values of each sample's response tokens, one sample after the other, `[R]`.
    fn each(&self, values: impl Fn(&Sample, &Constants) -> Vec<f32>) -> Tensor<1> {
        let pairs = self.samples.iter().zip(&self.constants);
        let all: Vec<f32> =
            pairs.flat_map(|(sample, constants)| values(sample, constants)).collect();
        let count = all.len();
        Tensor::from_data(TensorData::new(all, [count]), &self.device)
    }

    fn clip(&self) -> Clip {
        Clip {
            low: self.config.clip_low,
            high: self.config.clip_high,
            dual: self.config.dual_clip,
            log_ratio_max: self.config.log_ratio_max,
        }
    }

    /// The score of each sample at each of its tokens.
    fn rewards(&self) -> Tensor<1> {
        let rewards: Vec<f32> = self.samples.iter().map(|sample| sample.reward).collect();
        advantage::binary(Tensor::from_floats(rewards.as_slice(), &self.device), &self.tokens)
    }

    /// What the hint changed at each token; 0 without one.
    fn gaps(&self) -> Tensor<1> {
        let nothing = |sample: &Sample| vec![0.0; sample.response_tokens()];
        let teacher = self.each(|sample, _| match &sample.scored {
            Some((teacher, _)) => teacher.clone(),
            None => nothing(sample),
        });
        let student = self.each(|sample, _| match &sample.scored {
            Some((_, student)) => student.clone(),
            None => nothing(sample),
        });
        advantage::opd(teacher, student)
    }

    fn policy(&self, at: &Outputs, mask: &Tensor<1>, means: &mut Means) -> Tensor<1> {
        let advantages = match self.config.method {
            Method::Opd => self.gaps(),
            Method::Combine => {
                let Weights { opd, rl } = Weights::of(self.config);
                advantage::combine(self.gaps(), self.rewards(), advantage::Weights { opd, rl })
            }
            _ => self.rewards(),
        };
        self.ratio(at, mask, advantages, means)
    }

    /// PPO's loss with these advantages.
    fn ratio(
        &self,
        at: &Outputs,
        mask: &Tensor<1>,
        advantages: Tensor<1>,
        means: &mut Means,
    ) -> Tensor<1> {
        let (advantages, capped) = advantage::capped(advantages, self.config.advantage_max);
        let logprobs = at.logprobs.clone();
        let behaviour = self.each(|sample, _| sample.behaviour.clone());
        // What a grammar forced may be so improbable that nothing can be said of its ratio.
        let untrained = mask.clone().equal_elem(0.0);
        let behaviour = behaviour.mask_where(untrained, logprobs.clone().inner());
        let (old, importance) = match self.config.behaviour {
            Behaviour::Rollout => (behaviour, None),
            Behaviour::Decoupled => {
                let proximal = self.each(|_, constants| constants.proximal.clone());
                let cap = self.config.decoupled_cap;
                let weights = truncated_importance(proximal.clone(), behaviour, cap);
                means.put(
                    "importance",
                    mean_of_sample_means(weights.clone(), mask.clone(), &self.tokens),
                );
                (proximal, Some(weights))
            }
        };
        let loss = policy(PolicyInput {
            logprobs,
            old,
            advantages,
            importance,
            mask: mask.clone(),
            samples: &self.tokens,
            clip: self.clip(),
        });
        let metrics = loss.metrics;
        means.put("mean_advantage", metrics.advantage);
        means.put("clip_fraction", metrics.clip_fraction);
        means.put("ppo_kl", metrics.kl);
        means.put("ratio_capped", metrics.ratio_capped);
        means.put("advantage_capped", mean_of_sample_means(capped, mask.clone(), &self.tokens));
        if self.config.dual_clip.is_some() {
            means.put("dual_clip_fraction", metrics.dual_fraction);
        }
        loss.loss
    }

    /// The parts of the samples' supports as one.
    fn support(&self) -> hybrid::Support {
        let mut all = hybrid::Support::default();
        for support in self.constants.iter().filter_map(|constants| constants.support.as_ref()) {
            all.ids.extend(&support.ids);
            all.mask.extend(&support.mask);
            all.old.extend(&support.old);
            all.teacher.extend(&support.teacher);
        }
        all
    }

    fn top_k(&self, at: &Outputs, mask: &Tensor<1>) -> Tensor<1> {
        let Some(student) = &at.support else { return mask.zeros_like().sum() };
        let teacher = TensorData::new(self.support().teacher, student.dims());
        let teacher = Tensor::from_data(teacher, &self.device);
        reverse_kl(student.clone(), teacher, mask.clone(), &self.tokens).loss
    }

    fn hybrid(&self, at: &Outputs, mask: &Tensor<1>, means: &mut Means) -> Tensor<1> {
        let Weights { opd, rl } = Weights::of(self.config);
        let mut loss = mask.zeros_like().sum();
        if rl != 0.0 {
            loss = self.ratio(at, mask, self.rewards(), means).mul_scalar(rl) + loss;
        }
        let Some(current) = at.support.clone().filter(|_| opd != 0.0) else { return loss };
        let (support, clip) = (self.support(), self.clip());
        let (gap, mask) = (self.config.gap_clip, mask.clone());
        let term = hybrid::distill(current, &support, gap, clip, mask, &self.tokens);
        means.put("opd_loss", term.loss.clone().inner());
        means.put("support_size", term.metrics.support_size);
        means.put("support_empty", term.metrics.empty);
        means.put("gap", term.metrics.gap);
        means.put("gap_clipped", term.metrics.gap_clipped);
        means.put("support_clipped", term.metrics.clipped);
        term.loss.mul_scalar(opd) + loss
    }
}

/// Weights of the two signals.
struct Weights {
    opd: f32,
    rl: f32,
}

impl Weights {
    fn of(config: &TrainConfig) -> Self {
        Self { opd: config.weight_opd, rl: config.weight_rl }
    }
}

fn estimator(chosen: config::KlEstimator) -> Option<KlEstimator> {
    match chosen {
        config::KlEstimator::None => None,
        config::KlEstimator::K1 => Some(KlEstimator::K1),
        config::KlEstimator::K2 => Some(KlEstimator::K2),
        config::KlEstimator::K3 => Some(KlEstimator::K3),
        config::KlEstimator::LowVarKl => Some(KlEstimator::LowVar),
    }
}
