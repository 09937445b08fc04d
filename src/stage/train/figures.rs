//! The figures of a step.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::error::TrainError;
use super::samples::Sample;
use crate::rollout::TrainingSignal;

/// Means over the samples of a batch, by name; parts of a batch add up to the whole.
#[derive(Debug, Default)]
pub struct Means(Vec<(&'static str, Tensor<1>)>);

impl Means {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a mean, `[1]`, outside autodiff.
    pub fn put(&mut self, name: &'static str, mean: Tensor<1>) {
        self.0.push((name, mean));
    }
}

/// The sums over all parts of one pass over a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    means: BTreeMap<&'static str, f64>,
    difference_sum: f64,
    difference_max: f64,
    /// Rows that were computed: tokens that several samples begin with count once.
    pub rows: usize,
}

impl Figures {
    /// Adds what came of a part: its loss and its means.
    ///
    /// # Errors
    /// The device gives nothing back.
    pub fn add(&mut self, loss: Tensor<1>, means: Means) -> Result<(), TrainError> {
        let mut names = vec!["loss"];
        let mut values = vec![loss];
        for (name, mean) in means.0 {
            names.push(name);
            values.push(mean);
        }
        for (name, value) in names.into_iter().zip(host(Tensor::cat(values, 0))?) {
            *self.means.entry(name).or_default() += value;
        }
        Ok(())
    }

    /// Notes how far the trainer's log-probabilities are from those that were recorded, where there
    /// are any.
    ///
    /// # Errors
    /// The device gives nothing back.
    pub fn compare<'a>(
        &mut self,
        logprobs: &Tensor<1>,
        samples: impl Iterator<Item = &'a Sample>,
    ) -> Result<(), TrainError> {
        let found = host(logprobs.clone())?;
        let mut at = 0;
        for sample in samples {
            let own = &found[at..at + sample.response_tokens()];
            at += own.len();
            let trained = sample.mask();
            let pairs = own.iter().zip(&sample.behaviour).zip(&trained);
            for ((own, recorded), _) in pairs.filter(|(_, mask)| **mask > 0.0) {
                let difference = (own - f64::from(*recorded)).abs();
                self.difference_sum += difference;
                self.difference_max = self.difference_max.max(difference);
            }
        }
        Ok(())
    }

    /// Adds the figures of another part.
    pub fn merge(&mut self, other: &Self) {
        for (name, value) in &other.means {
            *self.means.entry(name).or_default() += value;
        }
        self.difference_sum += other.difference_sum;
        self.difference_max = self.difference_max.max(other.difference_max);
        self.rows += other.rows;
    }

    /// The loss.
    pub fn loss(&self) -> f64 {
        self.means.get("loss").copied().unwrap_or_default()
    }

    /// Every figure of a batch by its name (docs/math.md).
    pub fn metrics(&self, batch: &[Sample]) -> Vec<(String, f64)> {
        let scored = batch.iter().filter(|sample| sample.signal != TrainingSignal::Hint);
        let rewards: Vec<f64> = scored.map(|sample| f64::from(sample.reward)).collect();
        let count = |of: fn(&Sample) -> usize| batch.iter().map(of).sum::<usize>();
        let responses = count(Sample::response_tokens);
        let trained = count(Sample::trained_tokens);
        // an empty sum is -0.0
        let mean_reward = rewards.iter().fold(0.0, |sum, r| sum + r) / rewards.len().max(1) as f64;
        let difference_mean = self.difference_sum / trained.max(1) as f64;
        let mut metrics: Vec<(String, f64)> =
            vec![("loss".to_owned(), self.loss()), ("mean_reward".to_owned(), mean_reward)];
        let rest = self.means.iter().filter(|(name, _)| **name != "loss");
        metrics.extend(rest.map(|(name, value)| ((*name).to_owned(), *value)));
        let counted = [
            ("train_rollout_logprob_abs_diff_mean", difference_mean),
            ("train_rollout_logprob_abs_diff_max", self.difference_max),
            ("samples", batch.len() as f64),
            ("response_tokens", responses as f64),
            ("forced_tokens", (responses - trained) as f64),
            ("tokens", count(|sample| sample.tokens.len()) as f64),
            ("rows", self.rows as f64),
        ];
        metrics.extend(counted.map(|(name, value)| (name.to_owned(), value)));
        metrics
    }
}

/// The values of a tensor.
///
/// # Errors
/// The device gives nothing back.
pub fn host(tensor: Tensor<1>) -> Result<Vec<f64>, TrainError> {
    Ok(floats(tensor)?.into_iter().map(f64::from).collect())
}

/// The values of a tensor, as they are.
///
/// # Errors
/// The device gives nothing back.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let device = |reason| TrainError::Device { reason };
    tensor.try_into_vec_as().map_err(|error| device(format!("{error:?}")))
}
