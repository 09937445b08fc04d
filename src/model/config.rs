//! `config.json` of a Hugging Face model directory.

use std::path::Path;

use serde_json::Value;

use super::ModelError;

/// The architectures that the decoder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen3, dense: no attention biases, RMS norm of each query and key head.
    Qwen3,
}

impl Architecture {
    /// The name that stands under `architectures`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

/// Shape and constants of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which decoder.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Added to the mean square before its root.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Longest sequence, in tokens.
    pub positions_max: usize,
    /// The output head is the embedding, transposed.
    pub tied: bool,
    /// Token ids that end a reply.
    pub eos_ids: Vec<u32>,
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// A file that cannot be read, is no JSON, or holds a key that is missing, wrong or asks for
    /// something that the decoder does not do.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a `config.json`; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`ModelConfig::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let root: Value = serde_json::from_str(text)
            .map_err(|source| ModelError::Json { path: path.to_owned(), source })?;
        let keys = Keys { root: &root, path };
        let architecture = keys.architecture()?;
        keys.refuse_unsupported()?;
        let config = Self {
            architecture,
            hidden_size: keys.count("hidden_size")?,
            layers: keys.count("num_hidden_layers")?,
            heads: keys.count("num_attention_heads")?,
            kv_heads: keys.count("num_key_value_heads")?,
            head_dim: keys.count("head_dim")?,
            intermediate_size: keys.count("intermediate_size")?,
            vocab_size: keys.count("vocab_size")?,
            rms_norm_eps: keys.positive("rms_norm_eps")?,
            rope_theta: keys.rope_theta()?,
            positions_max: keys.count("max_position_embeddings")?,
            tied: keys.flag("tie_word_embeddings")?,
            eos_ids: keys.eos_ids()?,
        };
        if !config.head_dim.is_multiple_of(2) {
            return Err(keys.wrong("head_dim", "an even number"));
        }
        if !config.heads.is_multiple_of(config.kv_heads) {
            let expected = format!("a divisor of num_attention_heads ({})", config.heads);
            return Err(keys.wrong("num_key_value_heads", &expected));
        }
        Ok(config)
    }

    /// Query heads that share one key and value head.
    pub const fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// The largest count that is believed; more is a damaged file.
const COUNT_MAX: u64 = 1 << 28;

struct Keys<'a> {
    root: &'a Value,
    path: &'a Path,
}

impl Keys<'_> {
    /// The value at a dotted key; JSON null counts as absent.
    fn find(&self, key: &str) -> Option<&Value> {
        let value = key.split('.').try_fold(self.root, |at, part| at.get(part))?;
        (!value.is_null()).then_some(value)
    }

    fn wrong(&self, key: &str, expected: &str) -> ModelError {
        let found = self.find(key).map_or_else(|| "missing".to_owned(), Value::to_string);
        ModelError::Config {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        }
    }

    fn count(&self, key: &str) -> Result<usize, ModelError> {
        self.find(key)
            .and_then(Value::as_u64)
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .map(|count| count as usize)
            .ok_or_else(|| self.wrong(key, "a whole number above 0"))
    }

    fn positive(&self, key: &str) -> Result<f64, ModelError> {
        self.find(key)
            .and_then(Value::as_f64)
            .filter(|value| value.is_finite() && *value > 0.0)
            .ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    /// A boolean that is false where it is absent, as in transformers.
    fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match self.find(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn architecture(&self) -> Result<Architecture, ModelError> {
        let expected = "[\"Qwen3ForCausalLM\"]";
        if let Some(value) = self.find("architectures") {
            let known = value.as_array().is_some_and(|names| {
                names.len() == 1 && names[0].as_str() == Some(Architecture::Qwen3.name())
            });
            if !known {
                return Err(self.wrong("architectures", expected));
            }
        } else if self.find("model_type").is_none() {
            return Err(self.wrong("architectures", expected));
        }
        match self.find("model_type").map(|kind| kind.as_str()) {
            None | Some(Some("qwen3")) => Ok(Architecture::Qwen3),
            Some(_) => Err(self.wrong("model_type", "\"qwen3\"")),
        }
    }

    /// Both styles: `rope_theta` at the top, or within `rope_parameters`.
    fn rope_theta(&self) -> Result<f64, ModelError> {
        if self.find("rope_parameters").is_some() {
            self.positive("rope_parameters.rope_theta")
        } else {
            self.positive("rope_theta")
        }
    }

    fn eos_ids(&self) -> Result<Vec<u32>, ModelError> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match self.find("eos_token_id") {
            None => Some(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(id).collect(),
            Some(value) => id(value).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wrong("eos_token_id", "a token id or a list of them"))
    }

    fn refuse_unsupported(&self) -> Result<(), ModelError> {
        for key in ["attention_bias", "use_sliding_window", "mlp_bias"] {
            if self.flag(key)? {
                return Err(self.wrong(key, "false"));
            }
        }
        for key in ["quantization_config", "rope_parameters.partial_rotary_factor"] {
            if self.find(key).is_some() {
                return Err(self.wrong(key, "absent"));
            }
        }
        let fixed = [
            ("hidden_act", "silu"),
            ("rope_parameters.rope_type", "default"),
            ("rope_scaling.rope_type", "default"),
            ("rope_scaling.type", "default"),
        ];
        for (key, only) in fixed {
            if self.find(key).is_some_and(|value| value.as_str() != Some(only)) {
                return Err(self.wrong(key, &format!("\"{only}\"")));
            }
        }
        let kind = ["rope_scaling.rope_type", "rope_scaling.type"];
        if self.find("rope_scaling").is_some() && kind.iter().all(|key| self.find(key).is_none()) {
            return Err(self.wrong("rope_scaling", "absent"));
        }
        let full = |value: &Value| {
            let full_attention = |kind: &Value| kind.as_str() == Some("full_attention");
            value.as_array().is_some_and(|kinds| kinds.iter().all(full_attention))
        };
        if self.find("layer_types").is_some_and(|value| !full(value)) {
            return Err(self.wrong("layer_types", "\"full_attention\" for every layer"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> Value {
        serde_json::json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
            "attention_bias": false, "hidden_act": "silu", "hidden_size": 1024,
            "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
            "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
            "rms_norm_eps": 1e-6, "rope_theta": 1_000_000, "rope_scaling": null,
            "max_position_embeddings": 40960, "tie_word_embeddings": true,
            "sliding_window": null, "use_sliding_window": false, "eos_token_id": 151645,
            "torch_dtype": "bfloat16",
        })
    }

    fn parse(value: &Value) -> Result<ModelConfig, ModelError> {
        ModelConfig::parse(&value.to_string(), Path::new("/models/q/config.json"))
    }

    #[test]
    fn both_styles_say_the_same() {
        let old = parse(&published()).unwrap();
        let mut value = published();
        let object = value.as_object_mut().unwrap();
        object.remove("rope_theta");
        object.remove("rope_scaling");
        let rope = serde_json::json!({"rope_theta": 1_000_000.0, "rope_type": "default"});
        object.insert("rope_parameters".into(), rope);
        object.insert("dtype".into(), "bfloat16".into());
        assert_eq!(parse(&value).unwrap(), old);
        assert_eq!((old.group(), old.rope_theta, old.tied), (2, 1e6, true));
        assert_eq!(old.eos_ids, [151_645]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let cases = [
            ("architectures", serde_json::json!(["LlamaForCausalLM"])),
            ("model_type", serde_json::json!("qwen2")),
            ("attention_bias", serde_json::json!(true)),
            ("use_sliding_window", serde_json::json!(true)),
            ("hidden_act", serde_json::json!("gelu")),
            ("layer_types", serde_json::json!(["full_attention", "sliding_attention"])),
            ("quantization_config", serde_json::json!({"bits": 4})),
            ("hidden_size", serde_json::json!(0)),
            ("vocab_size", serde_json::json!("many")),
            ("head_dim", serde_json::json!(127)),
            ("head_dim", serde_json::json!(null)),
            ("num_key_value_heads", serde_json::json!(3)),
            ("rms_norm_eps", serde_json::json!(-1.0)),
            ("rope_theta", serde_json::json!(null)),
            ("eos_token_id", serde_json::json!(-1)),
            ("tie_word_embeddings", serde_json::json!("yes")),
        ];
        for (key, wrong) in cases {
            let mut value = published();
            value.as_object_mut().unwrap().insert(key.into(), wrong.clone());
            let message = parse(&value).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{message}");
            assert!(message.contains("/models/q/config.json"), "{message}");
            let found = if wrong.is_null() { "missing".to_owned() } else { wrong.to_string() };
            assert!(message.contains(&found), "{message}");
        }
    }

    #[test]
    fn scaled_rope_is_refused_in_both_styles() {
        let mut old = published();
        let scaling = serde_json::json!({"rope_type": "yarn", "factor": 4.0});
        old.as_object_mut().unwrap().insert("rope_scaling".into(), scaling);
        assert!(parse(&old).unwrap_err().to_string().contains("`rope_scaling.rope_type`"));
        let mut new = published();
        let rope = serde_json::json!({"rope_theta": 1e6, "rope_type": "linear"});
        new.as_object_mut().unwrap().insert("rope_parameters".into(), rope);
        assert!(parse(&new).unwrap_err().to_string().contains("`rope_parameters.rope_type`"));
    }

    #[test]
    fn several_ends_of_reply_are_kept() {
        let mut value = published();
        value.as_object_mut().unwrap().insert("eos_token_id".into(), serde_json::json!([1, 2]));
        assert_eq!(parse(&value).unwrap().eos_ids, [1, 2]);
    }
}
