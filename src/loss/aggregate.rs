//! From values per token to one number: the mean over each sample's tokens, then over the samples.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// How the tokens of a flat `[R]` tensor belong to samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    lengths: Vec<usize>,
    batch: usize,
}

impl Samples {
    /// A whole batch: `lengths[i]` response tokens of sample `i`, in order.
    pub fn batch(lengths: Vec<usize>) -> Self {
        let batch = lengths.len().max(1);
        Self { lengths, batch }
    }

    /// Some samples of a batch of `batch`: the sum of the losses of all parts is the loss of the
    /// whole batch, so that gradients can be accumulated with the memory of one part.
    pub fn part_of(batch: usize, lengths: Vec<usize>) -> Self {
        Self { lengths, batch: batch.max(1) }
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

    /// The weight of each token in the mean of sample means, `[R]`: m_t / (N · max(Σ m, 1)).
    fn weights(&self, mask: Tensor<1>) -> Tensor<1> {
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
/// A sample that is masked altogether adds 0 and counts in N. Source: slime's `sum_of_sample_mean`,
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
