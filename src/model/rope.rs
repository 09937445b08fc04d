//! Rotary position embedding, in Hugging Face's half-rotation form (arXiv 2104.09864), with the
//! scalings that stretch a model beyond the length it was trained at.

use std::f64::consts::PI;
use std::sync::Arc;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::ModelConfig;

/// How the rotary frequencies differ from those of `rope_theta` alone.
///
/// `dynamic` is not among them: its frequencies change as a sequence grows, so that keys that
/// were cached before would have to be turned again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// They do not.
    Default,
    /// Every frequency divided by `factor` (arXiv 2306.15595).
    Linear {
        /// How many times longer a sequence may be.
        factor: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// How many times longer a sequence may be.
        factor: f64,
        /// Turns within the original length below which a frequency is low.
        low: f64,
        /// Turns within the original length above which a frequency is high.
        high: f64,
        /// The length trained at before, in tokens.
        original: usize,
    },
    /// YaRN (arXiv 2309.00071): blended along the dimensions, and attention's scores enlarged.
    Yarn(Yarn),
}

/// The constants of [`RopeScaling::Yarn`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How many times longer a sequence may be.
    pub factor: f64,
    /// The length trained at before, in tokens.
    pub original: usize,
    /// What queries and keys are multiplied by.
    pub attention_factor: f64,
    /// Turns within the original length above which a frequency is kept.
    pub beta_fast: f64,
    /// Turns within the original length below which a frequency is divided by `factor`.
    pub beta_slow: f64,
    /// Whether the bounds of the blend are rounded outwards to whole dimensions.
    pub truncate: bool,
}

impl Yarn {
    /// The attention factor where the configuration has none: `0.1 ln(factor) + 1`, or the ratio
    /// of two such terms with weights of their own.
    pub(super) fn attention_factor(factor: f64, mscales: Option<[f64; 2]>) -> f64 {
        let term = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        mscales.map_or(term(1.0), |[scale, all_dim]| term(scale) / term(all_dim))
    }

    /// The share of each pair's own frequency, against the one divided by `factor`.
    fn kept(&self, pair: usize, head_dim: usize, theta: f64) -> f64 {
        let dimension = |turns: f64| {
            let per_radian = self.original as f64 / (turns * 2.0 * PI);
            head_dim as f64 * per_radian.ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (dimension(self.beta_fast), dimension(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The rotary frequencies of a model.
#[derive(Clone, Debug)]
pub(super) struct Rope {
    /// Radians per position of each pair of dimensions.
    frequencies: Arc<[f64]>,
    /// What cosines and sines are multiplied by.
    amplitude: f64,
}

impl Rope {
    pub(super) fn new(config: &ModelConfig) -> Self {
        let (head_dim, theta) = (config.head_dim, config.rope_theta);
        let frequency = |pair: usize| {
            let plain = theta.powf(-2.0 * pair as f64 / head_dim as f64);
            match config.rope_scaling {
                RopeScaling::Default => plain,
                RopeScaling::Linear { factor } => plain / factor,
                RopeScaling::Llama3 { factor, low, high, original } => {
                    let turns = original as f64 * plain / (2.0 * PI);
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    plain * kept + plain / factor * (1.0 - kept)
                }
                RopeScaling::Yarn(yarn) => {
                    let kept = yarn.kept(pair, head_dim, theta);
                    plain * kept + plain / yarn.factor * (1.0 - kept)
                }
            }
        };
        let amplitude = match config.rope_scaling {
            RopeScaling::Yarn(yarn) => yarn.attention_factor,
            _ => 1.0,
        };
        Self { frequencies: (0..head_dim / 2).map(frequency).collect(), amplitude }
    }

    /// The rotation at each of `positions`.
    ///
    /// Angles are formed in f64: at position 30,000 an f32 product would be off by a milliradian.
    pub(super) fn rotation(&self, positions: &[u32], device: &Device) -> Rotation {
        let half = self.frequencies.len();
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        for &position in positions {
            for frequency in &*self.frequencies {
                let (s, c) = (f64::from(position) * frequency).sin_cos();
                cos.push((c * self.amplitude) as f32);
                sin.push((s * self.amplitude) as f32);
            }
        }
        let shape = [positions.len(), 1, half];
        let tensor = |values| Tensor::from_data(TensorData::new(values, shape), device);
        let tensors = [tensor(cos.clone()), tensor(sin.clone())];
        Rotation { tensors, values: Arc::new([cos, sin]) }
    }
}

/// Cosines and sines of a batch of positions.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// `[n, 1, head_dim / 2]` each.
    tensors: [Tensor<3>; 2],
    /// The same on the host.
    values: Arc<[Vec<f32>; 2]>,
}

impl Rotation {
    /// Rotates each pair (i, i + head_dim / 2), in f32.
    ///
    /// # Shapes
    /// `x` and the result: `[n, heads, head_dim]`.
    pub(super) fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let dtype = x.dtype();
        let x = x.cast(FloatDType::F32);
        let first = x.clone().narrow(2, 0, width / 2);
        let second = x.narrow(2, width / 2, width / 2);
        let [cos, sin] = &self.tensors;
        let rotated = [
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            second * cos.clone() + first * sin.clone(),
        ];
        Tensor::cat(rotated.to_vec(), 2).cast(dtype)
    }

    /// The transpose of [`Self::apply`]: its gradient.
    pub(super) fn undo(&self, x: Tensor<3>) -> Tensor<3> {
        let [cos, sin] = self.tensors.clone();
        Self { tensors: [cos, sin.neg()], values: self.values.clone() }.apply(x)
    }

    /// Cosines and sines, `[n, head_dim / 2]`.
    pub(super) fn values(&self) -> (&[f32], &[f32]) {
        let [cos, sin] = &*self.values;
        (cos, sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_turns_by_its_position_times_its_frequency() {
        let device = Device::flex();
        let rope = Rope { frequencies: [1.0, 0.1].into(), amplitude: 1.0 };
        let rotation = rope.rotation(&[0, 3], &device);
        let row = [1.0, 0.0, 0.0, 1.0];
        let x = Tensor::<3>::from_data([[row], [row]], &device);
        let turned = rotation.apply(x).try_into_vec_as::<f32>().unwrap();
        assert_eq!(turned[..4], row);
        // Pairs (0, 2) and (1, 3).
        let (s, c) = 3f32.sin_cos();
        let (slow_s, slow_c) = 0.3f32.sin_cos();
        for (found, expected) in turned[4..].iter().zip([c, -slow_s, s, slow_c]) {
            assert!((found - expected).abs() < 1e-6, "{turned:?}");
        }
    }

    #[test]
    fn yarn_keeps_fast_pairs_and_slows_the_rest() {
        let yarn = Yarn {
            factor: 4.0,
            original: 32_768,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
        };
        let kept: Vec<f64> = (0..64).map(|pair| yarn.kept(pair, 128, 1e6)).collect();
        assert_eq!((kept[0], kept[63]), (1.0, 0.0));
        assert!(kept.is_sorted_by(|a, b| a >= b) && kept.iter().any(|k| *k > 0.0 && *k < 1.0));
        assert_eq!(Yarn::attention_factor(1.0, None), 1.0);
        assert!((Yarn::attention_factor(4.0, None) - 1.138_629).abs() < 1e-6);
        assert_eq!(Yarn::attention_factor(40.0, Some([0.7, 0.7])), 1.0);
    }
}
