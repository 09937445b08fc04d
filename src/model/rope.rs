//! Rotary position embedding, in Hugging Face's half-rotation form (arXiv 2104.09864).

use burn::tensor::{Device, Tensor, TensorData};

/// Cosines and sines of a batch of positions.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// `[n, 1, head_dim / 2]`.
    cos: Tensor<3>,
    /// `[n, 1, head_dim / 2]`.
    sin: Tensor<3>,
}

impl Rotation {
    /// The rotation at each of `positions`.
    ///
    /// Angles are formed in f64: at position 30,000 an f32 product would be off by a milliradian.
    pub(super) fn new(positions: &[u32], head_dim: usize, theta: f64, device: &Device) -> Self {
        let half = head_dim / 2;
        let frequency = |pair: usize| theta.powf(-2.0 * pair as f64 / head_dim as f64);
        let frequencies: Vec<f64> = (0..half).map(frequency).collect();
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        for &position in positions {
            for frequency in &frequencies {
                let (s, c) = (f64::from(position) * frequency).sin_cos();
                cos.push(c as f32);
                sin.push(s as f32);
            }
        }
        let shape = [positions.len(), 1, half];
        let tensor = |values| Tensor::from_data(TensorData::new(values, shape), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }

    /// Rotates each pair (i, i + head_dim / 2).
    ///
    /// # Shapes
    /// `x` and the result: `[n, heads, head_dim]`.
    pub(super) fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let first = x.clone().narrow(2, 0, width / 2);
        let second = x.narrow(2, width / 2, width / 2);
        let rotated = [
            first.clone() * self.cos.clone() - second.clone() * self.sin.clone(),
            second * self.cos.clone() + first * self.sin.clone(),
        ];
        Tensor::cat(rotated.to_vec(), 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_turns_by_its_position_times_its_frequency() {
        let device = Device::flex();
        let rotation = Rotation::new(&[0, 3], 4, 100.0, &device);
        let row = [1.0, 0.0, 0.0, 1.0];
        let x = Tensor::<3>::from_data([[row], [row]], &device);
        let turned = rotation.apply(x).try_into_vec_as::<f32>().unwrap();
        assert_eq!(turned[..4], row);
        // Frequencies 1 and 1/10; pairs (0, 2) and (1, 3).
        let (s, c) = 3f32.sin_cos();
        let (slow_s, slow_c) = 0.3f32.sin_cos();
        for (found, expected) in turned[4..].iter().zip([c, -slow_s, s, slow_c]) {
            assert!((found - expected).abs() < 1e-6, "{turned:?}");
        }
    }
}
