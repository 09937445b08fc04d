//! From values per token to one number: the mean over each sample's tokens, then over the samples;
//! or, where it is so chosen, the mean over all tokens.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// How the tokens of a flat `[R]` tensor belong to samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    lengths: Vec<usize>,
    batch: usize,
    /// Tokens of the whole batch that are trained on, where each of them counts the same.
    alike: Option<usize>,
}

impl Samples {
    /// A whole batch: `lengths[i]` response tokens of sample `i`, in order.
    pub fn batch(lengths: Vec<usize>) -> Self {
        let batch = lengths.len().max(1);
        Self { lengths, batch, alike: None }
    }

    /// Some samples of a batch of `batch`: the sum of the losses of all parts is the loss of the
    /// whole batch, so that gradients can be accumulated with the memory of one part.
    pub fn part_of(batch: usize, lengths: Vec<usize>) -> Self {
        Self { lengths, batch: batch.max(1), alike: None }
    }

    /// The same samples, but every token counts the same: the mean is over the `trained` tokens of
    /// the whole batch that are not masked, and a long sample weighs more than a short one.
    pub fn by_token(self, trained: usize) -> Self {
        Self { alike: Some(trained.max(1)), ..self }
    }

    /// Number of response tokens, R.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The sample of each token, `[R]`.
    pub(super) fn owners(&self, device: &Device) -> Tensor<1, Int> {
        let owners: Vec<i64> = (0i64..)
            .zip(&self.lengths)
            .flat_map(|(sample, &length)| std::iter::repeat_n(sample, length))
            .collect();
        let tokens = owners.len();
        Tensor::from_data(TensorData::new(owners, [tokens]), device)
    }

    /// The weight of each token in the mean of sample means, `[R]`: m_t / (N · max(Σ m, 1)); in the
    /// mean of tokens m_t over the tokens of the batch.
    fn weights(&self, mask: Tensor<1>) -> Tensor<1> {
        if let Some(trained) = self.alike {
            return mask.div_scalar(trained as f64);
        }
        let device = mask.device();
        let counts: Vec<Tensor<1>> =
            split(mask.clone(), &self.lengths).map(|of_sample| of_sample.sum()).collect();
        if counts.is_empty() {
            return mask;
        }
        let counts = Tensor::cat(counts, 0).clamp_min(1.0).mul_scalar(self.batch as f64);
        mask.div(counts.select(0, self.owners(&device)))
    }
}

/// The tokens of each sample in turn.
fn split(values: Tensor<1>, lengths: &[usize]) -> impl Iterator<Item = Tensor<1>> {
    let mut start = 0;
    lengths.iter().map(move |&length| {
        let of_sample = values.clone().narrow(0, start, length);
        start += length;
        of_sample
    })
}

/// Σ_i \[ Σ_t x_t·m_t / max(Σ_t m_t, 1) \] / N over the samples i of a batch of N.
///
/// A sample that is masked altogether adds 0 and counts in N. With [`Samples::by_token`] it is
/// Σ_i Σ_t x_t·m_t over the number of tokens in the batch that are not masked (`token-mean` in
/// verl, `calculate_per_token_loss` in slime). Source: slime's `sum_of_sample_mean`,
/// divided by the number of samples. Proven by the losses of `parity_policy_losses` and
/// `parity_kl_penalties`.
///
/// # Shapes
/// `values`, `mask` `[R]`, R = `samples.tokens()`; result `[1]`.
pub fn mean_of_sample_means(values: Tensor<1>, mask: Tensor<1>, samples: &Samples) -> Tensor<1> {
    let [tokens] = values.dims();
    assert_eq!(tokens, samples.tokens(), "one value per response token");
    values.mul(samples.weights(mask)).sum()
}
