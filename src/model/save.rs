//! Writing a model as a Hugging Face directory.

use std::path::Path;

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::parameters::read_back;
use super::{Decoder, ModelConfig, ModelError, Parameters, RopeScaling};

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveDtype {
    /// As they are in memory: nothing is lost.
    F32,
    /// Rounded to nearest even; half the size.
    Bf16,
}

impl SaveDtype {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

pub(super) fn directory(decoder: &Decoder, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
    let config = config_json(decoder.config(), dtype);
    write(&dir.join("config.json"), &config)?;
    tensors(&dir.join("model.safetensors"), decoder.parameters(), dtype)
}

/// Writes a safetensors file.
pub(super) fn tensors(
    path: &Path,
    parameters: Parameters,
    dtype: SaveDtype,
) -> Result<(), ModelError> {
    let mut tensors = Vec::new();
    for (name, parameter) in parameters {
        let values = read_back(parameter.values)?;
        tensors.push((name, parameter.shape, to_bytes(&values, dtype)));
    }
    let stored = match dtype {
        SaveDtype::F32 => Dtype::F32,
        SaveDtype::Bf16 => Dtype::BF16,
    };
    let invalid = |error: safetensors::SafeTensorError| ModelError::Write {
        path: path.to_owned(),
        source: std::io::Error::other(error),
    };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(stored, shape.clone(), bytes).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(invalid)?;
    // transformers refuses a file without this note.
    let note = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(views, Some(note)).map_err(invalid)?;
    write(path, &bytes)
}

/// Writes a file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    std::fs::write(path, bytes)
        .map_err(|source| ModelError::Write { path: path.to_owned(), source })
}

fn to_bytes(values: &[f32], dtype: SaveDtype) -> Vec<u8> {
    match dtype {
        SaveDtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        SaveDtype::Bf16 => {
            values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
        }
    }
}

/// A `config.json` that transformers of both styles reads: `rope_theta` with `rope_scaling`, and
/// `rope_parameters`.
fn config_json(config: &ModelConfig, dtype: SaveDtype) -> Vec<u8> {
    let eos = match config.eos_ids.as_slice() {
        [] => serde_json::Value::Null,
        [id] => serde_json::json!(id),
        ids => serde_json::json!(ids),
    };
    let rope_scaling = rope_scaling_json(config.rope_scaling);
    let mut rope_parameters = match &rope_scaling {
        serde_json::Value::Null => serde_json::json!({"rope_type": "default"}),
        scaling => scaling.clone(),
    };
    rope_parameters["rope_theta"] = config.rope_theta.into();
    let json = serde_json::json!({
        "architectures": [config.architecture.name()],
        "model_type": config.architecture.model_type(),
        "attention_bias": config.output_bias,
        "attention_dropout": 0.0,
        "dtype": dtype.name(),
        "torch_dtype": dtype.name(),
        "eos_token_id": eos,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.positions_max,
        "mlp_bias": config.mlp_bias,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": rope_parameters,
        "rope_scaling": rope_scaling,
        "rope_theta": config.rope_theta,
        "sliding_window": null,
        "tie_word_embeddings": config.tied,
        "use_sliding_window": false,
        "vocab_size": config.vocab_size,
    });
    format!("{json:#}\n").into_bytes()
}

/// The value of `rope_scaling`, with what was derived from other keys spelled out.
fn rope_scaling_json(scaling: RopeScaling) -> serde_json::Value {
    match scaling {
        RopeScaling::Default => serde_json::Value::Null,
        RopeScaling::Linear { factor } => {
            serde_json::json!({"rope_type": "linear", "factor": factor})
        }
        RopeScaling::Llama3 { factor, low, high, original } => serde_json::json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        }),
        RopeScaling::Yarn(yarn) => serde_json::json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "original_max_position_embeddings": yarn.original,
            "attention_factor": yarn.attention_factor,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "truncate": yarn.truncate,
        }),
    }
}
