//! How far the gradient that a device forms is from that of the CPU in f32, on the same weights.

use burn::tensor::Tensor;
use serde::Serialize;

use super::train::{packs, rounded};
use super::{BenchError, broken, shape_config};
use crate::config::{DeviceChoice, DtypeChoice, TrainBenchConfig, TrainedPart};
use crate::model::{
    Adapter, Decoder, Differentiation, Gradients, LoraSettings, Parameters, Placement, Precision,
    RandomWeights, Slopes, backward, forward,
};

/// How far two devices are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainParity {
    /// `train-parity`.
    pub bench: &'static str,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `f32` or `bf16`.
    pub dtype: &'static str,
    /// The random model's shape.
    pub shape: String,
    /// `all` or `lora`.
    pub mode: String,
    /// The greatest difference of two log-probabilities.
    pub logprobs_off: f64,
    /// The greatest difference of two entropies.
    pub entropy_off: f64,
    /// Of all gradients together: the norm of the difference beside the norm.
    pub gradient_off: f64,
    /// The parameter whose gradient is furthest off beside its own norm.
    pub worst: (String, f64),
    /// What `logprobs_off` and `gradient_off` may be.
    pub limits: [f64; 2],
    /// Whether they are.
    pub within: bool,
}

struct Found {
    logprobs: Vec<f32>,
    entropy: Vec<f32>,
    gradient: Parameters,
}

/// Compares a device with the CPU.
///
/// # Errors
/// A model or device that cannot be worked with, or a step that could not be computed.
pub fn train_parity(config: &TrainBenchConfig) -> Result<TrainParity, BenchError> {
    let at = Placement::find(config.device, config.dtype)?;
    let expected = found(config, &Placement::find(DeviceChoice::Cpu, DtypeChoice::F32)?)?;
    let found = found(config, &at)?;
    let (gradient_off, worst) = compare(&found.gradient, &expected.gradient)?;
    let logprobs_off = greatest(&found.logprobs, &expected.logprobs);
    let limits = match at.precision {
        Precision::F32 => [1e-3, 2e-3],
        Precision::Bf16 => [1e-1, 8e-2],
    };
    Ok(TrainParity {
        bench: "train-parity",
        device: at.name,
        dtype: if at.precision == Precision::Bf16 { "bf16" } else { "f32" },
        shape: config.shape.to_string(),
        mode: config.mode.to_string(),
        logprobs_off,
        entropy_off: greatest(&found.entropy, &expected.entropy),
        gradient_off,
        worst,
        limits,
        // Not a number is not within.
        within: logprobs_off <= limits[0] && gradient_off <= limits[1],
    })
}

/// Answers and the gradient, by log-probabilities and entropies of signs that take turns.
fn found(config: &TrainBenchConfig, at: &Placement) -> Result<Found, BenchError> {
    let model = shape_config(config.shape)?;
    // Both devices begin from the weights that the device rounds to.
    let decoder = rounded(Decoder::random(model, RandomWeights::Seeded(1), &at.device)?, config);
    let mut decoder = decoder.compute_copy(at.precision);
    if config.mode == TrainedPart::Lora {
        let alpha = config.rank as f64;
        let settings = LoraSettings { rank: config.rank, alpha, rank_stabilized: false };
        let adapter = Adapter::fresh(settings, decoder.config(), 1, &at.device);
        decoder = decoder.with_adapter(&adapter)?;
    }
    let (mut logprobs, mut entropy, mut gradients) = (Vec::new(), Vec::new(), Gradients::new());
    for pack in packs(config, &decoder)? {
        let (answers, tape) = forward(&decoder, &pack, None, Differentiation::default());
        let wave = |step: f32| {
            let count = pack.response_tokens();
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
            Tensor::<1>::from_floats(values.as_slice(), &at.device)
        };
        let slopes = Slopes { logprobs: wave(1.3), support: None, entropy: Some(wave(0.7)) };
        gradients.accumulate(backward(&decoder, tape, slopes));
        logprobs.extend(answers.logprobs.try_into_vec_as::<f32>().map_err(broken)?);
        entropy.extend(answers.entropy.try_into_vec_as::<f32>().map_err(broken)?);
    }
    Ok(Found { logprobs, entropy, gradient: gradients.into_parameters() })
}

/// NaN where there is one.
fn greatest(found: &[f32], expected: &[f32]) -> f64 {
    let pairs = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
    pairs.fold(0.0, |max, off| if off > max || off.is_nan() { off } else { max })
}

/// The difference's norm beside the norm, of all together; and the worst parameter's.
fn compare(found: &Parameters, expected: &Parameters) -> Result<(f64, (String, f64)), BenchError> {
    let (mut off, mut all) = (0.0, 0.0);
    let mut worst = (String::new(), 0.0);
    for (name, expected) in expected.iter() {
        let found = found.get(name).ok_or_else(|| broken(format!("no gradient of {name}")))?;
        let (found, expected) = (found.to_vec()?, expected.to_vec()?);
        let square = |x: f32| f64::from(x) * f64::from(x);
        let own: f64 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
        let norm: f64 = expected.iter().map(|x| square(*x)).sum();
        off += own;
        all += norm;
        let share = (own / norm.max(f64::MIN_POSITIVE)).sqrt();
        if norm > 0.0 && share > worst.1 {
            worst = (name.to_owned(), share);
        }
    }
    Ok(((off / all).sqrt(), worst))
}
