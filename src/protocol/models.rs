//! `/v1/models`, `/model_info` and `/update_weights_from_disk`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadField, Fields};

/// `GET /v1/models`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList {
    /// `list`.
    pub object: String,
    /// The models.
    pub data: Vec<ModelCard>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The name to ask for.
    pub id: String,
    /// `model`.
    pub object: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// Who serves it.
    pub owned_by: String,
    /// Longest prompt and reply together, in tokens.
    #[serde(default)]
    pub max_model_len: Option<usize>,
}

/// `GET /model_info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The directory of the live weights.
    pub model_path: String,
    /// The model's name in `/v1/models`.
    pub served_model_name: String,
    /// The live version.
    pub weight_version: String,
    /// Whether the model writes text.
    pub is_generation: bool,
    /// Longest prompt and reply together, in tokens.
    pub context_length: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// SHA-256 of the tokenizer's file, in hexadecimal.
    pub tokenizer_sha256: String,
}

/// `POST /update_weights_from_disk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateWeights {
    /// The directory to load.
    pub model_path: String,
    /// The number it gets; read from the directory's name (`v0000000003`) where absent.
    pub weight_version: Option<String>,
}

impl UpdateWeights {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing or wrong.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let model_path = fields.get::<String>("model_path", "a string")?;
        let version = match fields.raw("weight_version") {
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text),
            None => None,
            Some(_) => return Err(fields.bad("weight_version", "expected a version number")),
        };
        Ok(Self {
            model_path: model_path.ok_or_else(|| fields.bad("model_path", "is required"))?,
            weight_version: version,
        })
    }
}

/// The answer to [`UpdateWeights`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsUpdated {
    /// Whether the version is live now.
    pub success: bool,
    /// What happened.
    pub message: String,
    /// The version that is live now.
    pub weight_version: String,
}
