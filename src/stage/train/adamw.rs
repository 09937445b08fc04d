//! AdamW on named parameters, with the f32 master weights that persist in a version.
//!
//! Proven by `parity_adamw`. On one machine with a CPU device, the same parameters, gradients and
//! state give the same bits, however many threads there are.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::muon::{MOMENTUM, direction};
use crate::config::Schedule;
use crate::model::{Parameter, Parameters};

/// Elements whose squares one reduction sums up: below the size from which the CPU backend sums in
/// an order that depends on timing.
const SUM_ELEMENTS_MAX: usize = 1 << 20;

/// Stands in the names of what belongs to a layer.
const LAYERS: &str = "layers.";

/// The key of the number of steps in the file's metadata.
const STEP_KEY: &str = "step";
/// The same where Muon steps the matrices of the layers. The metadata has no other key: of two the
/// order in the file would be another each time.
const MUON_STEP_KEY: &str = "muon_step";

/// Hyper-parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWOptions {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Denominator guard.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Whether norms and biases (parameters of one dimension) decay as well.
    pub decay_vectors: bool,
    /// Whether the matrices of the layers are stepped by Muon; embeddings, head, norms and biases
    /// never are.
    pub muon: bool,
}

/// An optimizer state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AdamWError {
    /// The file could not be read or written.
    #[error("cannot access the optimizer state {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is no optimizer state.
    #[error("{path} is not an optimizer state: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A moment has another size than its parameter.
    #[error("the optimizer state of `{name}` has {got} elements, the parameter has {expected}")]
    Size {
        /// The parameter.
        name: String,
        /// Elements of the state.
        got: usize,
        /// Elements of the parameter.
        expected: usize,
    },
}

/// First and second moment of one parameter, flat.
#[derive(Clone, Debug)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// The optimizer: its hyper-parameters, the number of steps taken and the moments by parameter.
#[derive(Clone, Debug)]
pub struct AdamW {
    options: AdamWOptions,
    schedule: Schedule,
    /// Updates before these moments began: where they were lost, the schedule goes on.
    past: u64,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// A fresh optimizer: no step taken, all moments 0.
    pub fn new(options: AdamWOptions) -> Self {
        Self::with_moments(options, 0, BTreeMap::new())
    }

    fn with_moments(options: AdamWOptions, steps: u64, moments: BTreeMap<String, Moments>) -> Self {
        let schedule = Schedule::constant(options.learning_rate);
        Self { options, schedule, past: 0, steps, moments }
    }

    /// The same optimizer with a rate that changes, `updates` updates into the schedule.
    #[must_use]
    pub fn scheduled(mut self, schedule: Schedule, updates: u64) -> Self {
        self.schedule = schedule;
        self.past = updates.saturating_sub(self.steps);
        self
    }

    /// Number of steps that these moments took in.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of updates of the schedule.
    pub fn updates(&self) -> u64 {
        self.past + self.steps
    }

    /// The rate of the step that was begun last.
    pub fn rate(&self) -> f64 {
        self.options.learning_rate
    }

    /// Bytes of the moments.
    pub fn bytes(&self) -> u64 {
        let elements = |moments: &Moments| moments.first.dims()[0] + moments.second.dims()[0];
        4 * self.moments.values().map(elements).sum::<usize>() as u64
    }

    /// Begins the next step; [`Self::update`] then takes each parameter once.
    pub fn begin_step(&mut self) {
        self.steps += 1;
        self.options.learning_rate = self.schedule.rate(self.updates());
    }

    /// The parameter after the step that [`Self::begin_step`] began:
    ///
    /// m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²,
    /// θ ← θ − η·(λθ + (m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)).
    ///
    /// Source: Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2, as torch.optim.AdamW
    /// evaluates it. λ = 0 for parameters of one dimension, unless `decay_vectors` is set.
    ///
    /// # Shapes
    /// `parameter` and `grad` alike; f32.
    ///
    /// # Errors
    /// The kept moments have another size than the parameter.
    pub fn update(
        &mut self,
        name: &str,
        parameter: Parameter,
        grad: Parameter,
    ) -> Result<Parameter, AdamWError> {
        let moments = self.take_moments(name, &parameter.values)?;
        let (parameter, moments) = self.advanced(name, parameter, grad, moments);
        self.moments.insert(name.to_owned(), moments);
        Ok(parameter)
    }

    /// Every parameter after the step that [`Self::begin_step`] began, with the gradient times
    /// `factor`; those without a gradient stay. On the CPU parameters are taken several at once,
    /// which changes no bit of the result.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn update_all(
        &mut self,
        mut parameters: Parameters,
        gradient: Parameters,
        factor: f64,
    ) -> Result<Parameters, AdamWError> {
        let mut taken = Vec::with_capacity(gradient.len());
        for (name, grad) in gradient {
            let Some(parameter) = parameters.remove(&name) else { continue };
            let moments = self.take_moments(&name, &parameter.values)?;
            taken.push((name, parameter, grad, moments));
        }
        let on_cpu = taken.first().is_some_and(|of| of.1.values.device() == Device::flex());
        let one = |(name, parameter, grad, moments): (String, Parameter, Parameter, Moments)| {
            let grad = Parameter::new(grad.shape, grad.values.mul_scalar(factor));
            let (parameter, moments) = self.advanced(&name, parameter, grad, moments);
            (name, parameter, moments)
        };
        let advanced: Vec<_> = match on_cpu {
            true => taken.into_par_iter().map(one).collect(),
            false => taken.into_iter().map(one).collect(),
        };
        for (name, parameter, moments) in advanced {
            self.moments.insert(name.clone(), moments);
            parameters.insert(name, parameter);
        }
        Ok(parameters)
    }

    /// One parameter and its moments after the step.
    fn advanced(
        &self,
        name: &str,
        parameter: Parameter,
        grad: Parameter,
        moments: Moments,
    ) -> (Parameter, Moments) {
        let decays = parameter.is_matrix() || self.options.decay_vectors;
        if self.options.muon && parameter.is_matrix() && name.contains(LAYERS) {
            return self.orthogonal(parameter, grad, moments);
        }
        let (shape, values, grad) = (parameter.shape, parameter.values, grad.values);
        let AdamWOptions { learning_rate, beta1, beta2, epsilon, .. } = self.options;
        let first = moments.first.mul_scalar(beta1).add(grad.clone().mul_scalar(1.0 - beta1));
        let second = moments.second.mul_scalar(beta2).add(grad.square().mul_scalar(1.0 - beta2));
        let (correction1, correction2) =
            (1.0 - self.decay(beta1), (1.0 - self.decay(beta2)).sqrt());
        let root = second.clone().sqrt().div_scalar(correction2).add_scalar(epsilon);
        let mut change = first.clone().div(root).mul_scalar(learning_rate / correction1);
        if decays {
            let decay = learning_rate * self.options.weight_decay;
            change = change.add(values.clone().mul_scalar(decay));
        }
        (Parameter::new(shape, values.sub(change)), Moments { first, second })
    }

    /// A matrix and its momentum after a step of Muon, with Nesterov's look ahead:
    ///
    /// m ← μm + g, θ ← θ − η·(λθ + direction(g + μm)).
    fn orthogonal(
        &self,
        parameter: Parameter,
        grad: Parameter,
        moments: Moments,
    ) -> (Parameter, Moments) {
        let (shape, values, grad) = (parameter.shape, parameter.values, grad.values);
        let AdamWOptions { learning_rate, weight_decay, .. } = self.options;
        let Moments { first, second } = moments;
        let first = first.mul_scalar(MOMENTUM).add(grad.clone());
        let ahead = grad.add(first.clone().mul_scalar(MOMENTUM));
        let step = direction(ahead, [shape[0], shape[1]]);
        let change = step.add(values.clone().mul_scalar(weight_decay)).mul_scalar(learning_rate);
        (Parameter::new(shape, values.sub(change)), Moments { first, second })
    }

    /// βᵗ.
    fn decay(&self, beta: f64) -> f64 {
        beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX))
    }

    fn take_moments(&mut self, name: &str, like: &Tensor<1>) -> Result<Moments, AdamWError> {
        let Some(moments) = self.moments.remove(name) else {
            return Ok(Moments { first: like.zeros_like(), second: like.zeros_like() });
        };
        let ([got], [expected]) = (moments.first.dims(), like.dims());
        if got == expected {
            return Ok(moments);
        }
        Err(AdamWError::Size { name: name.to_owned(), got, expected })
    }

    /// Writes the state to `path`: `m.<name>` and `v.<name>` as f32, the number of steps as
    /// metadata.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), AdamWError> {
        let mut blobs: Vec<(String, Vec<u8>)> = Vec::with_capacity(self.moments.len() * 2);
        for (name, moments) in &self.moments {
            for (prefix, tensor) in [("m", &moments.first), ("v", &moments.second)] {
                blobs.push((format!("{prefix}.{name}"), bytes_of(tensor, path)?));
            }
        }
        let mut views = Vec::with_capacity(blobs.len());
        for (name, bytes) in &blobs {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes)
                .map_err(|error| format_error(path, &error))?;
            views.push((name.as_str(), view));
        }
        let key = if self.options.muon { MUON_STEP_KEY } else { STEP_KEY };
        let metadata = HashMap::from([(key.to_owned(), self.steps.to_string())]);
        safetensors::serialize_to_file(views, Some(metadata), path)
            .map_err(|error| format_error(path, &error))
    }

    /// Reads a state that [`Self::save`] wrote. Moments of the other optimizer mean something else:
    /// then it begins afresh.
    ///
    /// # Errors
    /// The file cannot be read, or is no optimizer state.
    pub fn load(path: &Path, options: AdamWOptions, device: &Device) -> Result<Self, AdamWError> {
        let bytes = std::fs::read(path)
            .map_err(|source| AdamWError::Io { path: path.to_owned(), source })?;
        let fail = |error: &dyn std::fmt::Display| format_error(path, error);
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| fail(&error))?;
        let told = |key: &str| header.metadata().as_ref()?.get(key)?.parse::<u64>().ok();
        let (own, other) = match options.muon {
            true => (MUON_STEP_KEY, STEP_KEY),
            false => (STEP_KEY, MUON_STEP_KEY),
        };
        let steps = match (told(own), told(other)) {
            (Some(steps), _) => steps,
            (None, Some(_)) => return Ok(Self::new(options)),
            (None, None) => return Err(fail(&"its metadata holds no `step`")),
        };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| fail(&error))?;
        let mut moments = BTreeMap::new();
        for key in tensors.names() {
            let Some(name) = key.strip_prefix("m.") else { continue };
            let read = |key: &str| {
                let view = tensors.tensor(key).map_err(|error| fail(&error))?;
                tensor_of(&view, device).ok_or_else(|| fail(&format!("`{key}` is not f32")))
            };
            let (first, second) = (read(key)?, read(&format!("v.{name}"))?);
            if first.dims() != second.dims() {
                return Err(fail(&format!("the moments of `{name}` differ in size")));
            }
            moments.insert(name.to_owned(), Moments { first, second });
        }
        Ok(Self::with_moments(options, steps, moments))
    }
}

fn format_error(path: &Path, error: &(impl std::fmt::Display + ?Sized)) -> AdamWError {
    AdamWError::Format { path: path.to_owned(), reason: error.to_string() }
}

fn bytes_of(tensor: &Tensor<1>, path: &Path) -> Result<Vec<u8>, AdamWError> {
    let values: Vec<f32> =
        tensor.try_to_vec_as().map_err(|error| format_error(path, &format!("{error:?}")))?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn tensor_of(view: &TensorView<'_>, device: &Device) -> Option<Tensor<1>> {
    if view.dtype() != Dtype::F32 {
        return None;
    }
    let values: Vec<f32> = view
        .data()
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    let count = values.len();
    Some(Tensor::from_data(TensorData::new(values, [count]), device))
}

/// Σ x² of one tensor, as partial sums that are added in a fixed order.
///
/// # Shapes
/// `[n]`; the result is a host number, NaN or infinite if an element is.
pub fn sum_of_squares(values: &Tensor<1>) -> f64 {
    let [count] = values.dims();
    let partial: Vec<Tensor<1>> = (0..count)
        .step_by(SUM_ELEMENTS_MAX)
        .map(|start| {
            let length = SUM_ELEMENTS_MAX.min(count - start);
            values.clone().narrow(0, start, length).square().sum()
        })
        .collect();
    if partial.is_empty() {
        return 0.0;
    }
    let sums: Vec<f32> = Tensor::cat(partial, 0).try_into_vec_as().unwrap_or(vec![f32::NAN]);
    sums.into_iter().map(f64::from).sum()
}

/// The factor that brings a gradient of L2 norm `norm` to at most `norm_max`, as
/// torch.nn.utils.clip_grad_norm_ computes it.
pub fn clip_factor(norm: f64, norm_max: f64) -> f64 {
    (norm_max / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: AdamWOptions = AdamWOptions {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.1,
        decay_vectors: false,
        muon: false,
    };

    fn tensor(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn vector(values: &[f32]) -> Parameter {
        Parameter::new(vec![values.len()], tensor(values))
    }

    fn values(parameter: Parameter) -> Vec<f32> {
        parameter.values.try_into_vec_as().unwrap()
    }

    fn stepped(optimizer: &mut AdamW, at: Parameter, grad: &[f32]) -> Parameter {
        optimizer.begin_step();
        optimizer.update("w", at, vector(grad)).unwrap()
    }

    #[test]
    fn the_first_step_moves_each_element_by_the_learning_rate() {
        let mut optimizer = AdamW::new(OPTIONS);
        let after = values(stepped(&mut optimizer, vector(&[1.0, 1.0, 1.0]), &[0.3, -7.0, 0.0]));
        for (got, expected) in after.iter().zip([0.9, 1.1, 1.0]) {
            assert!((got - expected).abs() < 1e-6, "{after:?}");
        }
    }

    #[test]
    fn matrices_decay_and_vectors_do_not_unless_asked() {
        let matrix = |value: f32| Parameter::new(vec![1, 1], tensor(&[value]));
        let mut optimizer = AdamW::new(OPTIONS);
        optimizer.begin_step();
        let after = values(optimizer.update("matrix", matrix(1.0), matrix(0.0)).unwrap());
        assert!((after[0] - 0.99).abs() < 1e-6, "{after:?}");
        let after = values(optimizer.update("vector", vector(&[1.0]), vector(&[0.0])).unwrap());
        assert_eq!(after, [1.0]);
        let mut all = AdamW::new(AdamWOptions { decay_vectors: true, ..OPTIONS });
        all.begin_step();
        let after = values(all.update("vector", vector(&[1.0]), vector(&[0.0])).unwrap());
        assert!((after[0] - 0.99).abs() < 1e-6, "{after:?}");
    }

    #[test]
    fn a_saved_state_goes_on_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        let mut whole = AdamW::new(OPTIONS);
        let first = stepped(&mut whole, vector(&[1.0, -2.0]), &[0.3, 0.1]);
        whole.save(&path).unwrap();
        let mut resumed = AdamW::load(&path, OPTIONS, &Device::flex()).unwrap();
        assert_eq!(resumed.steps(), 1);
        let expected = values(stepped(&mut whole, first.clone(), &[0.2, -0.1]));
        assert_eq!(values(stepped(&mut resumed, first, &[0.2, -0.1])), expected);
    }

    #[test]
    fn muon_steps_the_matrices_of_layers_and_nothing_else() {
        let matrix = |values: &[f32]| Parameter::new(vec![1, 2], tensor(values));
        let options = AdamWOptions { muon: true, weight_decay: 0.0, ..OPTIONS };
        let mut optimizer = AdamW::new(options);
        optimizer.begin_step();
        // of a matrix of one row the direction is that row over its length, which five iterations
        // bring to between 0.68 and 1.2
        let (at, grad) = (|| matrix(&[1.0, 1.0]), || matrix(&[0.3, -0.4]));
        let layer = values(optimizer.update("layers.0.w", at(), grad()).unwrap());
        let scale = 0.1 * 0.2 * 2_f32.sqrt();
        let (first, second) = ((1.0 - layer[0]) / scale, (layer[1] - 1.0) / scale);
        assert!((0.6 * 0.65..0.6 * 1.2).contains(&first), "{layer:?}");
        assert!((second / first - 4.0 / 3.0).abs() < 1e-4, "{layer:?}");
        let embedding = values(optimizer.update("embed_tokens", at(), grad()).unwrap());
        assert!((embedding[0] - 0.9).abs() < 1e-5, "AdamW: {embedding:?}");
    }

    #[test]
    fn moments_of_the_other_optimizer_are_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        let mut optimizer = AdamW::new(OPTIONS);
        let _ = stepped(&mut optimizer, vector(&[1.0]), &[1.0]);
        optimizer.save(&path).unwrap();
        let muon = AdamWOptions { muon: true, ..OPTIONS };
        assert_eq!(AdamW::load(&path, muon, &Device::flex()).unwrap().steps(), 0);
        let mut optimizer = AdamW::new(muon);
        let _ = stepped(&mut optimizer, vector(&[1.0]), &[1.0]);
        optimizer.save(&path).unwrap();
        assert_eq!(AdamW::load(&path, muon, &Device::flex()).unwrap().steps(), 1);
        assert_eq!(AdamW::load(&path, OPTIONS, &Device::flex()).unwrap().steps(), 0);
    }

    #[test]
    fn a_state_of_another_model_is_refused() {
        let mut optimizer = AdamW::new(OPTIONS);
        let _ = stepped(&mut optimizer, vector(&[1.0]), &[1.0]);
        let error = optimizer.update("w", vector(&[1.0, 2.0]), vector(&[0.0, 0.0])).unwrap_err();
        assert!(error.to_string().contains("`w` has 1 elements, the parameter has 2"), "{error}");
    }

    #[test]
    fn a_torn_state_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.safetensors");
        std::fs::write(&path, b"\x40\0\0\0\0\0\0\0{\"m.w\":").unwrap();
        let error = AdamW::load(&path, OPTIONS, &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("is not an optimizer state"), "{error}");
    }

    #[test]
    fn the_norm_covers_every_chunk_and_shows_what_is_not_finite() {
        let count = SUM_ELEMENTS_MAX + 3;
        let ones = Tensor::<1>::ones([count], &Device::flex());
        assert!((sum_of_squares(&ones) - count as f64).abs() < 1.0);
        assert!(sum_of_squares(&tensor(&[1.0, f32::NAN])).is_nan());
        assert!(clip_factor(4.0, 1.0) < 0.25 && clip_factor(0.5, 1.0) >= 1.0);
    }
}
