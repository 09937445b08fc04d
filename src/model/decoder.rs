//! The decoder itself: embedding, blocks, final norm, head. Forward only.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::block::{Block, rms_norm};
use super::parameters::{EMBEDDING, FINAL_NORM, HEAD};
use super::rope::{Rope, Rotation};
use super::{Attend, ModelConfig, ModelError, Parameter, Parameters, load, save};

/// A causal language model, all weights f32 on one device.
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
    pub(super) head: Tensor<2>,
}

/// Token ids or indices as a tensor.
pub(super) fn indices(ids: impl Iterator<Item = u32>, device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i64> = ids.map(i64::from).collect();
    let len = ids.len();
    Tensor::from_data(TensorData::new(ids, [len]), device)
}

impl Decoder {
    /// Loads a Hugging Face model directory: `config.json` and `model.safetensors`, or
    /// `model.safetensors.index.json` with its shards; f32, bf16 or f16.
    ///
    /// # Errors
    /// Anything missing, truncated, misshapen, of an unknown dtype, not finite, or of an
    /// architecture that is not supported; each names the file and the key or tensor.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = ModelConfig::load(&dir.join("config.json"))?;
        let parameters = load::parameters(dir, &config, device)?;
        Self::from_parameters(config, parameters, device)
    }

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
            head,
            rope: Rope::new(&config),
            config,
            device: device.clone(),
        })
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
            x = block.after.forward(x, attended, self.config.rms_norm_eps);
        }
        rms_norm(x, &self.norm, self.config.rms_norm_eps)
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// `[n, hidden]` to `[n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.head.clone())
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
            parameters.insert(HEAD, Parameter::from_input_major(self.head.clone()));
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
