//! One step: the gradient of a batch, sample by sample, and the optimizer's updates. No I/O.

use burn::tensor::{Device, Tensor};

use super::adamw::{AdamW, clip_factor, sum_of_squares};
use super::error::TrainError;
use super::samples::Sample;
use crate::config::{Method, TrainConfig};
use crate::loss::{
    Clip, Outputs, PolicyInput, PolicyLoss, PolicyMetrics, Samples, Slope, advantage, policy, slope,
};
use crate::model::{
    Decoder, Gradients, Parameter, Parameters, Sequence, backward, response_logprobs,
};
use crate::rollout::TrainingSignal;

/// A model and the optimizer that goes with it.
#[derive(Debug)]
pub struct Learner {
    /// The model; f32 masters.
    pub decoder: Decoder,
    /// The optimizer's state.
    pub optimizer: AdamW,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// The learner after the step, and the step's metrics by name.
    Learned(Box<Learner>, Vec<(String, f64)>),
    /// Something was not finite: nothing may change.
    NotFinite(&'static str),
    /// The process is to end: the half-done step is dropped.
    Stopped,
}

/// Figures of one pass over the batch; those of the samples add up to those of the batch.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    loss: f64,
    advantage: f64,
    clip_fraction: f64,
    kl: f64,
    difference_sum: f64,
    difference_max: f64,
}

/// The gradient of the batch's loss, and its figures.
struct Pass {
    gradients: Parameters,
    figures: Figures,
}

impl Learner {
    /// Takes `config.epochs` optimizer updates over `batch`, on a copy: what is not finite, or cut
    /// off because `stopped` says so, changes nothing. Memory is that of one sample's gradient.
    ///
    /// # Errors
    /// The model or the optimizer's state cannot be worked with.
    pub fn step(
        &self,
        batch: &[Sample],
        config: &TrainConfig,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome, TrainError> {
        let mut next = Self { decoder: self.decoder.clone(), optimizer: self.optimizer.clone() };
        let mut first: Option<(Figures, f64)> = None;
        for _ in 0..config.epochs {
            let Some(pass) = next.pass(batch, config, stopped)? else {
                return Ok(Outcome::Stopped);
            };
            if !pass.figures.loss.is_finite() {
                return Ok(Outcome::NotFinite("loss"));
            }
            let norm = pass.gradients.iter().map(|(_, g)| sum_of_squares(&g.values)).sum::<f64>();
            let norm = norm.sqrt();
            if !norm.is_finite() {
                return Ok(Outcome::NotFinite("gradient"));
            }
            next.update(pass.gradients, clip_factor(norm, config.grad_norm_max))?;
            first.get_or_insert((pass.figures, norm));
        }
        let (figures, norm) = first.unwrap_or_default();
        let Some(changed) = self.share_changed(&next) else {
            return Ok(Outcome::NotFinite("weights"));
        };
        let mut metrics = metrics_of(batch, &figures);
        metrics.push(("grad_norm".to_owned(), norm));
        metrics.push(("weights_changed".to_owned(), changed));
        Ok(Outcome::Learned(Box::new(next), metrics))
    }

    /// The gradient at the present weights; `None` if the process is to end.
    fn pass(
        &self,
        batch: &[Sample],
        config: &TrainConfig,
        stopped: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Pass>, TrainError> {
        let mut gradients = Gradients::new();
        let mut figures = Figures::default();
        for sample in batch {
            if stopped() {
                return Ok(None);
            }
            let (tokens, start) = (sample.tokens.clone(), sample.response_start);
            let sequence = Sequence::new(self.decoder.config(), tokens, start)?;
            let (logprobs, tape) = response_logprobs(&self.decoder, &sequence, sample.temperature);
            let device = logprobs.device();
            let old = Tensor::from_floats(sample.behaviour.as_slice(), &device);
            figures.compare(&logprobs, &old)?;
            let entropy = tape.entropy();
            let outputs = Outputs { logprobs, support: None, entropy };
            let slope = slope(outputs, |Outputs { logprobs, .. }| {
                let samples = Samples::part_of(batch.len(), vec![sample.response_tokens()]);
                let loss = objective(sample, config, logprobs, old, &samples, &device);
                (loss.loss, loss.metrics)
            });
            figures.add(&slope)?;
            gradients.accumulate(backward(&self.decoder, tape, slope.by.logprobs));
        }
        Ok(Some(Pass { gradients: gradients.into_parameters(), figures }))
    }

    /// One AdamW update with the gradient times `factor`.
    fn update(&mut self, gradients: Parameters, factor: f64) -> Result<(), TrainError> {
        let mut parameters = self.decoder.parameters();
        self.optimizer.begin_step();
        for (name, grad) in gradients {
            let Some(parameter) = parameters.remove(&name) else { continue };
            let grad = Parameter::new(grad.shape, grad.values.mul_scalar(factor));
            let updated = self.optimizer.update(&name, parameter, grad)?;
            parameters.insert(name, updated);
        }
        self.decoder = self.decoder.with_parameters(parameters)?;
        Ok(())
    }

    /// The share of weights that differ; `None` if one of the new ones is not finite.
    fn share_changed(&self, next: &Self) -> Option<f64> {
        let (before, after) = (self.decoder.parameters(), next.decoder.parameters());
        let (mut changed, mut total) = (0.0, 0usize);
        for ((_, old), (_, new)) in before.iter().zip(after.iter()) {
            if !sum_of_squares(&new.values).is_finite() {
                return None;
            }
            let differs = old.values.clone().not_equal(new.values.clone()).float();
            changed += sum_of_squares(&differs);
            total += new.shape.iter().product::<usize>();
        }
        Some(changed / total.max(1) as f64)
    }
}

/// The configured objective at one sample's log-probabilities.
fn objective(
    sample: &Sample,
    config: &TrainConfig,
    logprobs: Tensor<1>,
    old: Tensor<1>,
    samples: &Samples,
    device: &Device,
) -> PolicyLoss {
    let reward = advantage::binary(Tensor::from_floats([sample.reward], device), samples);
    let gap = match &sample.scored {
        Some((teacher, student)) => advantage::opd(
            Tensor::from_floats(teacher.as_slice(), device),
            Tensor::from_floats(student.as_slice(), device),
        ),
        None => reward.zeros_like(),
    };
    let advantages = match config.method {
        Method::Binary => reward,
        Method::Opd | Method::Topk | Method::Hybrid | Method::Sft => gap,
        Method::Combine => {
            let weights = advantage::Weights { opd: config.weight_opd, rl: config.weight_rl };
            advantage::combine(gap, reward, weights)
        }
    };
    let mask = Tensor::from_floats(sample.mask().as_slice(), device);
    // What a grammar forced may be so improbable that its ratio overflows, and 0 · inf is not 0.
    let old = match sample.forced.is_empty() {
        true => old,
        false => old.mask_where(mask.clone().equal_elem(0.0), logprobs.clone().inner()),
    };
    policy(PolicyInput {
        mask,
        logprobs,
        old,
        advantages,
        samples,
        importance: None,
        clip: Clip {
            low: config.clip_low,
            high: config.clip_high,
            dual: None,
            log_ratio_max: 20.0,
        },
    })
}

impl Figures {
    /// Notes how far the trainer's log-probabilities are from those that were recorded.
    fn compare(&mut self, logprobs: &Tensor<1>, old: &Tensor<1>) -> Result<(), TrainError> {
        let differences = host(logprobs.clone().sub(old.clone()).abs())?;
        self.difference_sum += differences.iter().sum::<f64>();
        self.difference_max = differences.into_iter().fold(self.difference_max, f64::max);
        Ok(())
    }

    fn add(&mut self, slope: &Slope<PolicyMetrics>) -> Result<(), TrainError> {
        let PolicyMetrics { clip_fraction, kl, advantage, .. } = slope.other.clone();
        let all = Tensor::cat(vec![slope.loss.clone(), advantage, clip_fraction, kl], 0);
        if let [loss, advantage, clip_fraction, kl] = host(all)?[..] {
            self.loss += loss;
            self.advantage += advantage;
            self.clip_fraction += clip_fraction;
            self.kl += kl;
        }
        Ok(())
    }
}

fn host(tensor: Tensor<1>) -> Result<Vec<f64>, TrainError> {
    let values: Vec<f32> = tensor
        .try_into_vec_as()
        .map_err(|error| TrainError::Device { reason: format!("{error:?}") })?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// The metrics of a step, in the order in which they stand in its row (docs/math.md).
fn metrics_of(batch: &[Sample], figures: &Figures) -> Vec<(String, f64)> {
    let scored = batch.iter().filter(|sample| sample.signal != TrainingSignal::Hint);
    let rewards: Vec<f64> = scored.map(|sample| f64::from(sample.reward)).collect();
    let forced: usize = batch.iter().map(|sample| sample.forced.len()).sum();
    let responses: usize = batch.iter().map(Sample::response_tokens).sum();
    let tokens: usize = batch.iter().map(|sample| sample.tokens.len()).sum();
    let mean_reward = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
    let difference_mean = figures.difference_sum / responses.max(1) as f64;
    [
        ("loss", figures.loss),
        ("mean_reward", mean_reward),
        ("mean_advantage", figures.advantage),
        ("clip_fraction", figures.clip_fraction),
        ("ppo_kl", figures.kl),
        ("train_rollout_logprob_abs_diff_mean", difference_mean),
        ("train_rollout_logprob_abs_diff_max", figures.difference_max),
        ("samples", batch.len() as f64),
        ("response_tokens", responses as f64),
        ("forced_tokens", forced as f64),
        ("tokens", tokens as f64),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
