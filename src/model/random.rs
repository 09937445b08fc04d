//! Decoders of random weights, for measurements and comparisons.

use burn::tensor::{Device, Distribution, Tensor};
use rand::{RngExt, SeedableRng};

use super::{Decoder, ModelConfig, ModelError, Parameter, ParameterSpec, Parameters};

/// Standard deviation of a matrix's values, as models begin with.
const DEVIATION: f64 = 0.02;

/// Where random weights are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomWeights {
    /// On the host: the same on every device.
    Seeded(u64),
    /// On the device itself: fast, and never the same twice.
    OnDevice,
}

impl Decoder {
    /// A decoder of random matrices, and of vectors of ones.
    ///
    /// # Errors
    /// As [`Decoder::from_parameters`].
    pub fn random(
        config: ModelConfig,
        weights: RandomWeights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        // Uniform within ±√3 deviations: it has that deviation too, and costs least.
        let bound = DEVIATION * 3f64.sqrt();
        let mut rng = match weights {
            RandomWeights::Seeded(seed) => Some(rand_chacha::ChaCha8Rng::seed_from_u64(seed)),
            RandomWeights::OnDevice => None,
        };
        let mut values = |spec: &ParameterSpec| match &mut rng {
            _ if spec.shape.len() == 1 => Tensor::ones([spec.len()], device),
            Some(rng) => {
                let (low, high) = (-bound as f32, bound as f32);
                let values: Vec<f32> =
                    (0..spec.len()).map(|_| rng.random_range(low..high)).collect();
                Tensor::from_floats(values.as_slice(), device)
            }
            None => Tensor::random([spec.len()], Distribution::Uniform(-bound, bound), device),
        };
        let parameters: Parameters = config
            .parameters()
            .iter()
            .map(|spec| (spec.name.clone(), Parameter::new(spec.shape.clone(), values(spec))))
            .collect();
        Self::from_parameters(config, parameters, device)
    }
}
