//! The decoder itself: embedding, blocks, final norm, head. Forward only.

use std::path::Path;

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use super::block::{Block, Each};
use super::fused::norm;
use super::matrix::Matrix;
use super::parameters::{EMBEDDING, FINAL_NORM, HEAD};
use super::rope::{Rope, Rotation};
use super::{Attend, ModelConfig, ModelError, Parameter, Parameters, save};

/// What weights, activations, keys and values are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits throughout.
    F32,
    /// Weights rounded to bf16. On a GPU everything between them is bf16 too, except for norms,
    /// rotary embedding and softmax; on the CPU the arithmetic stays f32.
    Bf16,
}

/// A causal language model, all weights on one device; f32 until [`Decoder::for_inference`].
///
/// Cloning is cheap: tensors are shared. Matrices are kept `[in, out]`, contiguous, which is the
/// layout that a matrix product reads; the head is a copy of its own even where it is tied,
/// because a product with the transposed embedding is an order of magnitude slower on a CPU.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: ModelConfig,
    device: Device,
    rope: Rope,
    /// `[vocab, hidden]`.
    pub(super) embedding: Tensor<2>,
    pub(super) blocks: Vec<Block>,
    /// `[hidden]`.
    pub(super) norm: Tensor<1>,
    /// `[hidden, vocab]`.
    pub(super) head: Matrix,
}

/// Puts every tensor into another precision.
struct Cast(FloatDType);

impl Each for Cast {
    fn tensor<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        tensor.clone().cast(self.0)
    }

    fn added(&mut self, tensor: &Tensor<2>) -> Tensor<2> {
        tensor.clone().cast(self.0)
    }
}

/// Puts every matrix into panels; keeps the error, if there is one.
struct Packing(Option<ModelError>);

impl Each for Packing {
    fn tensor<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        tensor.clone()
    }

    fn matrix(&mut self, matrix: &Matrix) -> Matrix {
        matrix.packed().unwrap_or_else(|error| {
            self.0 = Some(error);
            matrix.clone()
        })
    }

    fn added(&mut self, tensor: &Tensor<2>) -> Tensor<2> {
        tensor.clone()
    }
}

/// Token ids or indices as a tensor.
pub(super) fn indices(ids: impl Iterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i64> = ids.map(i64::from).collect();
    let len = ids.len();
    Tensor::from_data(TensorData::new(ids, [len]), device)
}

impl Decoder {
    /// Builds a decoder of these parameters.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if they are not exactly those of `config`.
    pub fn from_parameters(
        config: ModelConfig,
        mut parameters: Parameters,
        device: &Device,
    ) -> Result<Self, ModelError> {
        parameters.check(&config)?;
        let mut take = |name: &str| {
            parameters.remove(name).ok_or_else(|| ModelError::Parameter {
                name: name.to_owned(),
                found: "missing".to_owned(),
                expected: "there".to_owned(),
            })
        };
        let embedding = take(EMBEDDING)?;
        let head = if config.tied { embedding.input_major() } else { take(HEAD)?.input_major() };
        let [vocab, hidden] = [config.vocab_size, config.hidden_size];
        let blocks = (0..config.layers).map(|layer| Block::take(&config, layer, &mut take));
        Ok(Self {
            embedding: embedding.values.reshape([vocab, hidden]),
            blocks: blocks.collect::<Result<_, _>>()?,
            norm: take(FINAL_NORM)?.values,
            head: head.into(),
            rope: Rope::new(&config),
            config,
            device: device.clone(),
        })
    }

    /// The same model, made to answer rather than to be trained: in this precision, and on the
    /// CPU with matrices in the layout that its own products read. Training such a decoder works,
    /// and copies each matrix each time.
    ///
    /// # Errors
    /// [`ModelError::Device`] if the device does not give a matrix back.
    pub fn for_inference(mut self, precision: Precision) -> Result<Self, ModelError> {
        if precision == Precision::Bf16 {
            self.replace(&mut Cast(FloatDType::BF16));
        }
        if self.device == Device::flex() {
            // Rounded, the weights are bf16s; the arithmetic is f32.
            self.replace(&mut Cast(FloatDType::F32));
            let mut packing = Packing(None);
            self.replace(&mut packing);
            if let Some(error) = packing.0 {
                return Err(error);
            }
        }
        Ok(self)
    }

    /// The same model in the precision that training computes in, for an optimizer that keeps f32
    /// masters of its own and rounds them to it after every update. Gradients are handed out in
    /// f32 whatever the precision. An adapter is best put beside the copy: it then stays f32.
    pub fn compute_copy(&self, precision: Precision) -> Self {
        let mut copy = self.clone();
        let dtype = match precision {
            Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
        };
        copy.replace(&mut Cast(dtype));
        copy
    }

    /// Replaces every tensor, block by block.
    fn replace(&mut self, each: &mut impl Each) {
        self.embedding = each.tensor(&self.embedding);
        self.head = each.matrix(&self.head);
        self.norm = each.tensor(&self.norm);
        for block in &mut self.blocks {
            block.before = block.before.map(each);
            block.after = block.after.map(each);
        }
    }

    /// Shape and constants.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs a flat batch of tokens, of any number of sequences, through every block and the final
    /// norm. `positions[i]` is token i's place in its own sequence; `attend` knows which tokens
    /// see which.
    ///
    /// # Shapes
    /// `[n]` and `[n]` to `[n, hidden]`.
    ///
    /// # Panics
    /// If there is no token, a token is not below the vocabulary's size, or the lengths differ.
    pub fn hidden(&self, tokens: &[u32], positions: &[u32], attend: &mut dyn Attend) -> Tensor<2> {
        assert_eq!(tokens.len(), positions.len(), "one position for each token");
        let rotation = self.rotation(positions);
        let mut x = self.embed(tokens);
        for (layer, block) in self.blocks.iter().enumerate() {
            let [q, k, v] = block.before.forward(x.clone(), &self.config, &rotation);
            let attended = attend.attend(layer, q, k, v);
            x = block.after.forward(x, attended, &self.config);
        }
        norm(x, &self.norm, self.config.rms_norm_eps).1
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// `[n, hidden]` to `[n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.head.apply(hidden)
    }

    /// `[n]` to `[n, hidden]`.
    pub(super) fn embed(&self, tokens: &[u32]) -> Tensor<2> {
        let vocab = self.config.vocab_size;
        let known = tokens.iter().all(|&token| (token as usize) < vocab);
        assert!(known, "a token id is not below the vocabulary's size {vocab}");
        self.embedding.clone().select(0, indices(tokens.iter().copied(), &self.device))
    }

    pub(super) fn rotation(&self, positions: &[u32]) -> Rotation {
        self.rope.rotation(positions, &self.device)
    }

    /// Every parameter by its Hugging Face name, in Hugging Face layout. Matrices are copied.
    pub fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::new();
        parameters.insert(EMBEDDING, Parameter::from_rows(self.embedding.clone()));
        for (layer, block) in self.blocks.iter().enumerate() {
            block.clone().give(layer, &mut parameters);
        }
        parameters.insert(FINAL_NORM, Parameter::from_vector(self.norm.clone()));
        if !self.config.tied {
            parameters.insert(HEAD, Parameter::from_input_major(self.head.tensor()));
        }
        parameters
    }

    /// A decoder of the same configuration with other weights.
    ///
    /// # Errors
    /// [`ModelError::Parameter`] if they are not exactly those of the configuration.
    pub fn with_parameters(&self, parameters: Parameters) -> Result<Self, ModelError> {
        Self::from_parameters(self.config.clone(), parameters, &self.device)
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, which must exist. Not atomic.
    ///
    /// # Errors
    /// A file that cannot be written, or a tensor that the device does not give back.
    pub fn save(&self, dir: &Path, dtype: super::SaveDtype) -> Result<(), ModelError> {
        save::directory(self, dir, dtype)
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
