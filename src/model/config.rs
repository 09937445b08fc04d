//! `config.json` of a Hugging Face model directory.

use std::path::Path;

use serde_json::Value;

use super::{ModelError, RopeScaling, Yarn};

/// The architectures that the decoder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen3, dense: RMS norm of each query and key head.
    Qwen3,
    /// Qwen2 and Qwen2.5: biases of the query, key and value projections.
    Qwen2,
    /// Llama 2 and 3: neither, unless `attention_bias` or `mlp_bias` is set.
    Llama,
}

impl Architecture {
    const ALL: [Self; 3] = [Self::Qwen3, Self::Qwen2, Self::Llama];

    /// The name that stands under `architectures`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Llama => "LlamaForCausalLM",
        }
    }

    /// The name that stands under `model_type`.
    pub const fn model_type(self) -> &'static str {
        match self {
            Self::Qwen3 => "qwen3",
            Self::Qwen2 => "qwen2",
            Self::Llama => "llama",
        }
    }

    /// Whether each query and key head has an RMS norm.
    pub const fn has_head_norms(self) -> bool {
        matches!(self, Self::Qwen3)
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
    /// How they are stretched.
    pub rope_scaling: RopeScaling,
    /// Longest sequence, in tokens: `max_position_embeddings`, or what YaRN stretches to if that
    /// is more.
    pub positions_max: usize,
    /// The query, key and value projections have biases.
    pub qkv_bias: bool,
    /// The output projection of attention has a bias.
    pub output_bias: bool,
    /// The projections of the feed-forward part have biases.
    pub mlp_bias: bool,
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
        let keys = Keys::new(&root, path);
        let architecture = keys.architecture()?;
        keys.refuse_unsupported()?;
        let hidden_size = keys.count("hidden_size")?;
        let heads = keys.count("num_attention_heads")?;
        let [kv_heads, head_dim] = keys.head_shape(architecture, hidden_size, heads)?;
        let trained_positions = keys.count("max_position_embeddings")?;
        let rope_scaling = keys.rope_scaling(trained_positions)?;
        let attention_bias = architecture != Architecture::Qwen2 && keys.flag("attention_bias")?;
        let config = Self {
            architecture,
            hidden_size,
            layers: keys.count("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            intermediate_size: keys.count("intermediate_size")?,
            vocab_size: keys.count("vocab_size")?,
            rms_norm_eps: keys.positive("rms_norm_eps")?,
            rope_theta: keys.rope_theta(architecture)?,
            rope_scaling,
            positions_max: match rope_scaling {
                RopeScaling::Yarn(yarn) => {
                    trained_positions.max((yarn.original as f64 * yarn.factor) as usize)
                }
                _ => trained_positions,
            },
            qkv_bias: attention_bias || architecture == Architecture::Qwen2,
            output_bias: attention_bias,
            mlp_bias: architecture == Architecture::Llama && keys.flag("mlp_bias")?,
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

/// A JSON file of settings, whose errors name file and key.
pub(super) struct Keys<'a> {
    root: &'a Value,
    path: &'a Path,
}

impl<'a> Keys<'a> {
    pub(super) fn new(root: &'a Value, path: &'a Path) -> Self {
        Self { root, path }
    }

    /// Every key at the top.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.root.as_object().into_iter().flatten()
    }

    /// The value at a dotted key; JSON null counts as absent.
    pub(super) fn find(&self, key: &str) -> Option<&Value> {
        let value = key.split('.').try_fold(self.root, |at, part| at.get(part))?;
        (!value.is_null()).then_some(value)
    }

    pub(super) fn wrong(&self, key: &str, expected: &str) -> ModelError {
        let found = self.find(key).map_or_else(|| "missing".to_owned(), Value::to_string);
        ModelError::Config {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        }
    }

    pub(super) fn count(&self, key: &str) -> Result<usize, ModelError> {
        self.find(key)
            .and_then(Value::as_u64)
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .map(|count| count as usize)
            .ok_or_else(|| self.wrong(key, "a whole number above 0"))
    }

    pub(super) fn positive(&self, key: &str) -> Result<f64, ModelError> {
        self.find(key)
            .and_then(Value::as_f64)
            .filter(|value| value.is_finite() && *value > 0.0)
            .ok_or_else(|| self.wrong(key, "a number above 0"))
    }

    /// A boolean that is false where it is absent, as in transformers.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ModelError> {
        match self.find(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn architecture(&self) -> Result<Architecture, ModelError> {
        let known = |value: Option<&str>, name: fn(Architecture) -> &'static str| {
            Architecture::ALL.into_iter().find(|one| value == Some(name(*one)))
        };
        let listed = |name: fn(Architecture) -> &'static str| {
            Architecture::ALL.map(|one| format!("{:?}", name(one))).join(" or ")
        };
        let named = match self.find("architectures") {
            None => None,
            Some(value) => {
                let names = value.as_array().filter(|names| names.len() == 1);
                let name = names.and_then(|names| names[0].as_str());
                let expected = || format!("a list of one of {}", listed(Architecture::name));
                let named = known(name, Architecture::name);
                Some(named.ok_or_else(|| self.wrong("architectures", &expected()))?)
            }
        };
        let kind = match self.find("model_type") {
            None => None,
            Some(value) => {
                let kind = known(value.as_str(), Architecture::model_type);
                let expected = || listed(Architecture::model_type);
                Some(kind.ok_or_else(|| self.wrong("model_type", &expected()))?)
            }
        };
        match (named, kind) {
            (Some(named), Some(kind)) if named != kind => {
                Err(self.wrong("model_type", &format!("{:?}", named.model_type())))
            }
            (Some(one), _) | (None, Some(one)) => Ok(one),
            (None, None) => {
                let expected = format!("a list of one of {}", listed(Architecture::name));
                Err(self.wrong("architectures", &expected))
            }
        }
    }

    /// Key and value heads, and the width of a head. Llama and Qwen2 files may leave out what
    /// follows from other keys.
    fn head_shape(
        &self,
        architecture: Architecture,
        hidden: usize,
        heads: usize,
    ) -> Result<[usize; 2], ModelError> {
        let derived = architecture != Architecture::Qwen3;
        let kv_heads = match self.find("num_key_value_heads") {
            None if architecture == Architecture::Llama => heads,
            _ => self.count("num_key_value_heads")?,
        };
        let head_dim = match self.find("head_dim") {
            None if derived && hidden.is_multiple_of(heads) => hidden / heads,
            None if derived => {
                let expected = format!("a divisor of hidden_size ({hidden}), or a `head_dim`");
                return Err(self.wrong("num_attention_heads", &expected));
            }
            _ => self.count("head_dim")?,
        };
        Ok([kv_heads, head_dim])
    }

    /// Both styles: `rope_theta` at the top, or within `rope_parameters`. Files of the first
    /// Llama models leave it out.
    fn rope_theta(&self, architecture: Architecture) -> Result<f64, ModelError> {
        const LLAMA_THETA: f64 = 10_000.0;
        let nested = "rope_parameters.rope_theta";
        let key = match self.find("rope_parameters") {
            Some(_) if self.find(nested).is_some() || self.find("rope_theta").is_none() => nested,
            _ => "rope_theta",
        };
        match self.find(key) {
            None if architecture == Architecture::Llama => Ok(LLAMA_THETA),
            _ => self.positive(key),
        }
    }

    /// Both styles: `rope_scaling`, or within `rope_parameters`.
    fn rope_scaling(&self, trained_positions: usize) -> Result<RopeScaling, ModelError> {
        let new = self.find("rope_parameters").is_some();
        let at = if new { "rope_parameters" } else { "rope_scaling" };
        if self.find(at).is_none() {
            return Ok(RopeScaling::Default);
        }
        let key = |name: &str| format!("{at}.{name}");
        let kinds = ["rope_type", "type"].map(key);
        let kind = kinds.iter().find(|kind| self.find(kind).is_some());
        let Some(kind) = kind else {
            // The new style always holds the base of the frequencies, the old one only a scaling.
            let default = Ok(RopeScaling::Default);
            let expected = "\"default\", \"linear\", \"llama3\" or \"yarn\"";
            return if new { default } else { Err(self.wrong(&kinds[0], expected)) };
        };
        let factor = || self.at_least_one(&key("factor"));
        let original = || match self.find(&key("original_max_position_embeddings")) {
            None => Ok(trained_positions),
            Some(_) => self.count(&key("original_max_position_embeddings")),
        };
        match self.find(kind).and_then(Value::as_str) {
            Some("default") => Ok(RopeScaling::Default),
            Some("linear") => Ok(RopeScaling::Linear { factor: factor()? }),
            Some("llama3") => {
                let low = self.positive(&key("low_freq_factor"))?;
                let high = self.positive(&key("high_freq_factor"))?;
                if high <= low {
                    let expected = format!("above low_freq_factor ({low})");
                    return Err(self.wrong(&key("high_freq_factor"), &expected));
                }
                let original = self.count(&key("original_max_position_embeddings"))?;
                Ok(RopeScaling::Llama3 { factor: factor()?, low, high, original })
            }
            Some("yarn") => self.yarn(&key, factor()?, original()?).map(RopeScaling::Yarn),
            _ => Err(self.wrong(kind, "\"default\", \"linear\", \"llama3\" or \"yarn\"")),
        }
    }

    fn yarn(
        &self,
        key: &dyn Fn(&str) -> String,
        factor: f64,
        original: usize,
    ) -> Result<Yarn, ModelError> {
        let optional = |name: &str| match self.find(&key(name)) {
            None => Ok(None),
            Some(_) => self.positive(&key(name)).map(Some),
        };
        let mscales = optional("mscale")?.zip(optional("mscale_all_dim")?);
        let derived = || Yarn::attention_factor(factor, mscales.map(<[f64; 2]>::from));
        let truncate = self.find(&key("truncate")).is_none() || self.flag(&key("truncate"))?;
        Ok(Yarn {
            factor,
            original,
            attention_factor: optional("attention_factor")?.unwrap_or_else(derived),
            beta_fast: optional("beta_fast")?.unwrap_or(32.0),
            beta_slow: optional("beta_slow")?.unwrap_or(1.0),
            truncate,
        })
    }

    fn at_least_one(&self, key: &str) -> Result<f64, ModelError> {
        let value = self.positive(key)?;
        if value < 1.0 { Err(self.wrong(key, "a number of at least 1")) } else { Ok(value) }
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
        if self.flag("use_sliding_window")? {
            return Err(self.wrong("use_sliding_window", "false"));
        }
        if self.find("quantization_config").is_some() {
            return Err(self.wrong("quantization_config", "absent"));
        }
        let partial = "partial_rotary_factor";
        for key in [partial, &format!("rope_parameters.{partial}")] {
            if self.find(key).is_some_and(|value| value.as_f64() != Some(1.0)) {
                return Err(self.wrong(key, "absent"));
            }
        }
        if self.find("hidden_act").is_some_and(|value| value.as_str() != Some("silu")) {
            return Err(self.wrong("hidden_act", "\"silu\""));
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
#[path = "config_tests.rs"]
mod tests;
