//! What `serve` can be told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceChoice, DtypeChoice, HubConfig, require};

/// Configuration of the `serve` stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// The base model: a Hugging Face directory, or `owner/name[@revision]` of the hub; the
    /// embedded model if absent.
    pub model: Option<PathBuf>,
    /// The version of the home to serve, whichever is live: nothing is recorded then, and other
    /// weights are refused. The live one if absent.
    pub version: Option<u64>,
    /// Where models with such names come from.
    #[serde(skip)]
    pub hub: HubConfig,
    /// Where the model is computed.
    pub device: DeviceChoice,
    /// What it is computed in.
    pub dtype: DtypeChoice,
    /// Name of the policy in `/v1/models`; any requested name is answered by it.
    pub model_name: String,
    /// Longest prompt and reply together, in tokens; the model's own limit if absent.
    pub context_tokens: Option<usize>,
    /// Most tokens of a reply where the request does not say.
    pub reply_tokens: usize,
    /// Sampling temperature where the request does not say; if absent, that of the model's
    /// generation_config.json, else 0.6.
    pub temperature: Option<f32>,
    /// Nucleus mass where the request does not say; if absent, the model's, else 1.
    pub top_p: Option<f32>,
    /// Most probable tokens kept where the request does not say, 0 keeps all; if absent, the
    /// model's, else 0.
    pub top_k: Option<u32>,
    /// Least probability beside the most probable token where the request does not say; if
    /// absent, the model's, else 0.
    pub min_p: Option<f32>,
    /// Repetition penalty where the request does not say. If absent, 1 while turns are recorded,
    /// since no turn with a penalty is trained on; else the model's.
    pub repetition_penalty: Option<f32>,
    /// Requests decoded at the same time.
    pub running_max: usize,
    /// Requests that may wait for a place; one more is answered 429.
    pub waiting_max: usize,
    /// Prompt tokens computed between two decode steps, so that streams keep flowing.
    pub prefill_chunk: usize,
    /// Key and value memory, in tokens: running sequences and the prefix cache together.
    pub cache_tokens: usize,
    /// Whether prompts that begin alike are computed once.
    pub prefix_cache: bool,
    /// LoRA adapters beside the base, as `name=directory`; a request that names one as its model
    /// is answered by it.
    pub adapters: Vec<String>,
    /// Connections that may be open; one more waits to be accepted.
    pub connections_max: usize,
    /// Requests that may be in flight; one more is answered 429.
    pub requests_max: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Most messages of one conversation.
    pub messages_max: usize,
    /// Milliseconds that a client may take to send a request's headers.
    pub header_timeout_ms: u64,
    /// Milliseconds that a client may take to send a request's body.
    pub body_timeout_ms: u64,
    /// Milliseconds that a client may take nothing of its answer before it is cut off.
    pub reader_timeout_ms: u64,
    /// Milliseconds that a connection without a request stays open.
    pub idle_timeout_ms: u64,
    /// Milliseconds after which a stream that has nothing to say shows that it lives.
    pub alive_every_ms: u64,
    /// Milliseconds that requests in flight may take to end once the server is to stop.
    pub drain_ms: u64,
    /// File that holds the API key; required where `host` is not a loopback address.
    pub api_key_file: Option<PathBuf>,
    /// File that holds the key of the admin routes. Without it they take the API key on a
    /// loopback address, and are not there on any other.
    pub admin_key_file: Option<PathBuf>,
    /// Unix socket that takes every request without a key. Without an `admin_key_file`, the admin
    /// routes are there only.
    pub admin_socket: Option<PathBuf>,
    /// Whether turns are recorded in the store, if it is the live version that is served.
    pub record: bool,
    /// Whether `/good` and `/bad` in a conversation are answered by the server, while turns are
    /// recorded.
    pub chat_commands: bool,
    /// Users of whom nothing is kept: a user's name, `key-…` as in the tables, or `@file` with one
    /// user's name or API key per line.
    pub do_not_train: Vec<String>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            host: IpAddr::from([127, 0, 0, 1]),
            port: 30_000,
            model: None,
            version: None,
            hub: HubConfig::default(),
            device: DeviceChoice::Auto,
            dtype: DtypeChoice::Auto,
            model_name: "openclaw".to_owned(),
            context_tokens: None,
            reply_tokens: 8_192,
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            running_max: 16,
            waiting_max: 256,
            prefill_chunk: 256,
            cache_tokens: 131_072,
            prefix_cache: true,
            adapters: Vec::new(),
            connections_max: 1024,
            requests_max: 512,
            body_bytes_max: 32 << 20,
            messages_max: 4096,
            header_timeout_ms: 15_000,
            body_timeout_ms: 120_000,
            reader_timeout_ms: 300_000,
            idle_timeout_ms: 120_000,
            alive_every_ms: 15_000,
            drain_ms: 20_000,
            api_key_file: None,
            admin_key_file: None,
            admin_socket: None,
            record: true,
            chat_commands: true,
            do_not_train: Vec::new(),
        }
    }
}

impl ServeConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_sampling()?;
        let positive = "a whole number above 0";
        for (key, value) in [
            ("running_max", self.running_max),
            ("waiting_max", self.waiting_max),
            ("prefill_chunk", self.prefill_chunk),
            ("cache_tokens", self.cache_tokens),
            ("connections_max", self.connections_max),
            ("requests_max", self.requests_max),
            ("messages_max", self.messages_max),
        ] {
            require(value > 0, key, value, positive)?;
        }
        for (key, value) in [
            ("header_timeout_ms", self.header_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("reader_timeout_ms", self.reader_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("alive_every_ms", self.alive_every_ms),
        ] {
            require(value > 0, key, value, "milliseconds above 0")?;
        }
        require(
            self.body_bytes_max >= 1024,
            "body_bytes_max",
            self.body_bytes_max,
            "at least 1024",
        )?;
        require(!self.model_name.is_empty(), "model_name", "", "a name")?;
        self.validate_adapters()?;
        for who in &self.do_not_train {
            let fits = !who.trim().is_empty() && who != "@";
            require(fits, "do_not_train", who, "a user's name, key-…, or @file")?;
        }
        require(
            self.host.is_loopback() || self.api_key_file.is_some(),
            "host",
            self.host,
            "a loopback address, or an `api_key_file` beside it",
        )
    }

    fn validate_sampling(&self) -> Result<(), ConfigError> {
        let positive = "a whole number above 0";
        require(self.context_tokens != Some(0), "context_tokens", 0, positive)?;
        require(self.reply_tokens > 0, "reply_tokens", self.reply_tokens, positive)?;
        let number = |key, value: Option<f32>, fits: fn(f32) -> bool, expected| match value {
            Some(value) => require(fits(value), key, value, expected),
            None => Ok(()),
        };
        let penalty = self.repetition_penalty;
        number("temperature", self.temperature, |t| (0.0..=10.0).contains(&t), "0 (greedy) to 10")?;
        number("top_p", self.top_p, |p| p > 0.0 && p <= 1.0, "above 0, at most 1")?;
        number("min_p", self.min_p, |p| (0.0..=1.0).contains(&p), "0 to 1")?;
        number("repetition_penalty", penalty, |p| (0.1..=10.0).contains(&p), "0.1 to 10")
    }

    fn validate_adapters(&self) -> Result<(), ConfigError> {
        let mut names = std::collections::BTreeSet::new();
        for text in &self.adapters {
            let named = adapter(text).filter(|(name, _)| *name != self.model_name);
            let new = named.is_some_and(|(name, _)| names.insert(name));
            let expected = "name=directory, each name once and none of them `model_name`";
            require(new, "adapters", text, expected)?;
        }
        Ok(())
    }

    /// Whether turns are recorded: those of the live version, if they are to be.
    pub fn records(&self) -> bool {
        self.record && self.version.is_none()
    }

    /// Names and directories of the adapters.
    pub fn adapter_dirs(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.adapters.iter().filter_map(|text| adapter(text))
    }

    /// Whether the admin routes are reached over the network: with a key of their own anywhere,
    /// without one on a loopback address only, unless a socket takes them.
    pub fn admin_over_network(&self) -> bool {
        self.admin_key_file.is_some() || (self.host.is_loopback() && self.admin_socket.is_none())
    }
}

/// `name=directory`, neither of them empty.
fn adapter(text: &str) -> Option<(&str, &Path)> {
    let (name, dir) = text.split_once('=')?;
    let fits = !name.is_empty() && !name.contains(char::is_whitespace) && !dir.is_empty();
    fits.then(|| (name, Path::new(dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_a_name_and_a_directory() {
        let with = |adapters: &[&str]| ServeConfig {
            adapters: adapters.iter().map(ToString::to_string).collect(),
            ..ServeConfig::default()
        };
        let two = with(&["a=/x", "b=/y=z"]);
        two.validate().unwrap();
        let dirs: Vec<_> = two.adapter_dirs().collect();
        assert_eq!(dirs, [("a", Path::new("/x")), ("b", Path::new("/y=z"))]);
        for wrong in [&["a"][..], &["=/x"], &["a="], &["a b=/x"], &["a=/x", "a=/y"]] {
            assert_eq!(with(wrong).validate().unwrap_err().key, "adapters", "{wrong:?}");
        }
        assert_eq!(with(&["openclaw=/x"]).validate().unwrap_err().key, "adapters");
    }

    #[test]
    fn whoever_is_not_to_be_trained_on_has_a_name() {
        let with = |who: &str| ServeConfig {
            do_not_train: vec!["ann".to_owned(), who.to_owned()],
            ..ServeConfig::default()
        };
        with("@list").validate().unwrap();
        for wrong in ["", " ", "@"] {
            assert_eq!(with(wrong).validate().unwrap_err().key, "do_not_train", "{wrong:?}");
        }
    }

    #[test]
    fn admin_routes_need_a_door_of_their_own_beyond_loopback() {
        let open = ServeConfig { host: [0, 0, 0, 0].into(), ..ServeConfig::default() };
        assert_eq!(open.validate().unwrap_err().key, "host");
        let open = ServeConfig { api_key_file: Some("key".into()), ..open };
        open.validate().unwrap();
        assert!(!open.admin_over_network());
        assert!(ServeConfig { admin_key_file: Some("a".into()), ..open }.admin_over_network());
        let local = ServeConfig::default();
        assert!(local.admin_over_network());
        let socket = ServeConfig { admin_socket: Some("s".into()), ..local };
        assert!(!socket.admin_over_network());
    }
}
