//! `/v1/models`, `/model_info`, and the admin routes in the form of SGLang.

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
    /// One hash over the files that the live weights were read from, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// The model that it is an adapter of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
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
    /// One hash over the files that the live weights were read from; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// Whether this version is served whatever goes live.
    #[serde(default)]
    pub fixed: bool,
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
            model_path: model_path
                .filter(|path| !path.is_empty())
                .ok_or_else(|| fields.bad("model_path", "is required"))?,
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

/// Longest name of an adapter, in bytes.
const ADAPTER_NAME_MAX: usize = 256;

/// `POST /load_lora_adapter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadAdapter {
    /// The name that requests will choose it by.
    pub lora_name: String,
    /// A PEFT directory.
    pub lora_path: String,
}

impl LoadAdapter {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing or wrong.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let lora_name = adapter_name(&mut fields)?;
        let path = fields.get::<String>("lora_path", "a directory")?;
        let path = path.filter(|path| !path.is_empty());
        let lora_path = path.ok_or_else(|| fields.bad("lora_path", "is required"))?;
        Ok(Self { lora_name, lora_path })
    }
}

/// `POST /unload_lora_adapter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnloadAdapter {
    /// Its name.
    pub lora_name: String,
}

impl UnloadAdapter {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing or wrong.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        Ok(Self { lora_name: adapter_name(&mut Fields::of_body(body)?)? })
    }
}

fn adapter_name(fields: &mut Fields) -> Result<String, BadField> {
    let name = fields.get::<String>("lora_name", "a name")?;
    let name = name.ok_or_else(|| fields.bad("lora_name", "is required"))?;
    if name.is_empty() || name.len() > ADAPTER_NAME_MAX || name.contains(char::is_whitespace) {
        let problem = format!("expected a name of up to {ADAPTER_NAME_MAX} bytes without spaces");
        return Err(fields.bad("lora_name", &problem));
    }
    Ok(name)
}

/// Reads the body of `POST /pause_generation`, of which nothing is taken: replies always stand
/// still where they are.
///
/// # Errors
/// Another `mode` is asked for.
pub fn parse_pause(body: Value) -> Result<(), BadField> {
    let mut fields = Fields::of_body(body)?;
    match fields.get::<String>("mode", "a string")?.as_deref() {
        None | Some("in_place") => Ok(()),
        Some(_) => Err(fields.bad("mode", "only \"in_place\" is supported: replies stand still")),
    }
}
