//! What can be wrong with a model directory or with what is asked of a model.

use std::path::PathBuf;

use crate::fault::Explain;

/// A model that cannot be loaded, saved, or used as asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{} is not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A key of `config.json` or `adapter_config.json` is missing, wrong, or asks for what is not
    /// supported.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key, dotted where nested.
        key: String,
        /// Its value as JSON, or `missing`.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// The directory has neither `model.safetensors` nor an index of shards.
    #[error(
        "{} has neither model.safetensors nor model.safetensors.index.json",
        path.display()
    )]
    NoWeights {
        /// The directory.
        path: PathBuf,
    },
    /// The base of an adapter version is not there.
    #[error(transparent)]
    Base(#[from] crate::weights::WeightsError),
    /// The index of shards is not what it should be.
    #[error("{}: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file is truncated, or its header is wrong.
    #[error("{} ({bytes} bytes) is not a whole safetensors file: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
        /// What the parser found.
        reason: String,
    },
    /// A tensor that the configuration asks for is in none of the files.
    #[error("{} has no tensor `{tensor}` (expected shape {expected:?})", path.display())]
    MissingTensor {
        /// The file or the directory.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor that the architecture has no place for.
    #[error("{} holds `{tensor}`, which {architecture} has no place for", path.display())]
    UnexpectedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The architecture of `config.json`, or that it is an adapter's.
        architecture: &'static str,
    },
    /// The same tensor stands in two files.
    #[error("{} holds `{tensor}`, which another shard holds too", path.display())]
    DuplicateTensor {
        /// The second file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor does not have the shape that the configuration asks for.
    #[error("{}: `{tensor}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor has a dtype that is not read.
    #[error("{}: `{tensor}` has dtype {found}, expected F32, BF16 or F16", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The dtype in the file.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: `{tensor}` holds {found} at element {index}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Flat index of the first such element.
        index: usize,
        /// Its value.
        found: f32,
    },
    /// A set of parameters is not the one that the model has.
    #[error("parameter `{name}` is {found}, expected {expected}")]
    Parameter {
        /// The Hugging Face name.
        name: String,
        /// Its shape, or `missing`.
        found: String,
        /// What the model has.
        expected: String,
    },
    /// Tokens that the model cannot take.
    #[error("{what} is {found}, expected {expected}")]
    Sequence {
        /// Which quantity.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: String,
    },
    /// The device that was asked for is not there.
    #[error("cannot compute on {wanted}: {reason}")]
    NoDevice {
        /// The device.
        wanted: String,
        /// Why not.
        reason: &'static str,
    },
    /// The device could not give a tensor back.
    #[error("cannot read a tensor from the device: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },
}

impl Explain for ModelError {
    fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "model_read",
            Self::Write { .. } => "model_write",
            Self::Json { .. } | Self::Config { .. } => "model_config",
            Self::NoWeights { .. } | Self::Index { .. } => "model_files",
            Self::Base(_) => "model_base",
            Self::Safetensors { .. } => "model_safetensors",
            Self::MissingTensor { .. }
            | Self::UnexpectedTensor { .. }
            | Self::DuplicateTensor { .. }
            | Self::Shape { .. }
            | Self::Dtype { .. }
            | Self::NotFinite { .. } => "model_tensor",
            Self::Parameter { .. } => "model_parameter",
            Self::Sequence { .. } => "model_sequence",
            Self::NoDevice { .. } | Self::Device { .. } => "model_device",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config { .. } => {
                "Qwen3, Qwen2 and Llama models in the Hugging Face layout are supported, and plain \
                 LoRA adapters in PEFT's"
            }
            Self::NoWeights { .. } => {
                "give a Hugging Face directory: config.json, model.safetensors, tokenizer.json"
            }
            Self::Safetensors { .. } => "was the download or the copy cut off? fetch it again",
            Self::MissingTensor { .. } | Self::UnexpectedTensor { .. } | Self::Shape { .. } => {
                "the configuration and the weights must be of the same model"
            }
            Self::NoDevice { .. } => {
                "use `--device cpu` or `auto`, or a binary built with `--features cuda` on a \
                 machine with an NVIDIA driver"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Write { .. } | Self::Sequence { .. } | Self::Device { .. } => 1,
            _ => 2,
        }
    }
}
