//! What `serve` can be told.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Configuration of the `serve` stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Hugging Face directory of the base model; the embedded model if absent.
    pub model: Option<PathBuf>,
    /// Name of the policy in `/v1/models`; any requested name is answered by it.
    pub model_name: String,
    /// Longest prompt and reply together, in tokens; the model's own limit if absent.
    pub context_tokens: Option<usize>,
    /// Most tokens of a reply where the request does not say.
    pub reply_tokens: usize,
    /// Sampling temperature where the request does not say.
    pub temperature: f32,
    /// Nucleus mass where the request does not say.
    pub top_p: f32,
    /// Most probable tokens kept where the request does not say; 0 keeps all.
    pub top_k: u32,
    /// Requests decoded at the same time.
    pub running_max: usize,
    /// Requests that may wait for a place; one more is answered 429.
    pub waiting_max: usize,
    /// Prompt tokens computed between two decode steps, so that streams keep flowing.
    pub prefill_chunk: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// File that holds the API key; required where `host` is not a loopback address.
    pub api_key_file: Option<PathBuf>,
    /// Whether turns are recorded in the store.
    pub record: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 30_000,
            model: None,
            model_name: "openclaw".to_owned(),
            context_tokens: None,
            reply_tokens: 8_192,
            temperature: 0.6,
            top_p: 1.0,
            top_k: 0,
            running_max: 16,
            waiting_max: 256,
            prefill_chunk: 256,
            body_bytes_max: 32 << 20,
            api_key_file: None,
            record: true,
        }
    }
}

impl ServeConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = "a whole number above 0";
        require(self.context_tokens != Some(0), "context_tokens", 0, positive)?;
        require(self.reply_tokens > 0, "reply_tokens", self.reply_tokens, positive)?;
        require(
            (0.0..=10.0).contains(&self.temperature),
            "temperature",
            self.temperature,
            "0 (greedy) to 10",
        )?;
        require(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", self.top_p, "above 0, at most 1")?;
        require(self.running_max > 0, "running_max", self.running_max, positive)?;
        require(self.waiting_max > 0, "waiting_max", self.waiting_max, positive)?;
        require(self.prefill_chunk > 0, "prefill_chunk", self.prefill_chunk, positive)?;
        require(
            self.body_bytes_max >= 1024,
            "body_bytes_max",
            self.body_bytes_max,
            "at least 1024",
        )?;
        require(!self.model_name.is_empty(), "model_name", "", "a name")?;
        require(
            self.host.is_loopback() || self.api_key_file.is_some(),
            "host",
            self.host,
            "a loopback address, or an `api_key_file` beside it",
        )
    }
}
