//! What `deploy` can be told.

use serde::{Deserialize, Serialize};

use super::{ConfigError, DeviceChoice, require, require_url};

/// Configuration of the `deploy` stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeployConfig {
    /// Stay and deploy each new version as it appears.
    pub follow: bool,
    /// Milliseconds between two looks at the registry.
    pub poll_ms: u64,
    /// Addresses of the servers that take the weights; `unix:` and a path for an admin socket.
    pub server: Vec<String>,
    /// The version to put live; the newest of the lineage if absent.
    pub version: Option<u64>,
    /// Put `version` live without asking the gate.
    pub force: bool,
    /// Hold each version until somebody approves it.
    pub wait_for_approval: bool,
    /// Where the gate computes.
    pub device: DeviceChoice,
    /// Most held-out turns that the gate measures the divergence on.
    pub gate_turns: usize,
    /// Most tokens that these turns may have together, prompts included.
    pub gate_tokens: usize,
    /// Greatest mean divergence from the live version, in nats per response token.
    pub gate_kl_max: f64,
    /// Most of the program's own probes that are asked.
    pub gate_probes: usize,
    /// Longest reply to a probe, in tokens.
    pub gate_probe_tokens: usize,
    /// Further probes: a file of JSON lines.
    pub probes: Option<std::path::PathBuf>,
    /// Address of a judge that compares replies to the probes; nobody is asked if absent.
    pub gate_judge: Option<String>,
    /// The judge's model name.
    pub gate_judge_model: String,
    /// Turns of a version that are watched after it went live; none with 0.
    pub watch_turns: usize,
    /// Pairs of turns before which the watch does nothing.
    pub watch_turns_min: usize,
    /// Chance that a version which is as good as the one before it is rolled back.
    pub watch_alarm: f64,
    /// Drop of the mean reward, and rise of the error rate, that is not held against a version.
    pub watch_margin: f64,
    /// Tries per server before a deployment is given up.
    pub tries: usize,
    /// Seconds that one try may take.
    pub timeout_s: u64,
    /// File that holds the server's API key.
    pub api_key_file: Option<std::path::PathBuf>,
    /// File that holds the key of the server's admin routes, where they have one of their own.
    pub admin_key_file: Option<std::path::PathBuf>,
}

impl Default for DeployConfig {
    fn default() -> Self {
        Self {
            follow: false,
            poll_ms: 250,
            server: vec!["http://127.0.0.1:30000".to_owned()],
            version: None,
            force: false,
            wait_for_approval: false,
            device: DeviceChoice::Auto,
            gate_turns: 32,
            gate_tokens: 65_536,
            gate_kl_max: 0.25,
            gate_probes: 44,
            gate_probe_tokens: 96,
            probes: None,
            gate_judge: None,
            gate_judge_model: "judge".to_owned(),
            watch_turns: 200,
            watch_turns_min: 8,
            watch_alarm: 0.01,
            watch_margin: 0.1,
            tries: 5,
            timeout_s: 120,
            api_key_file: None,
            admin_key_file: None,
        }
    }
}

impl DeployConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        require(self.poll_ms > 0, "poll_ms", self.poll_ms, "a whole number above 0")?;
        require(!self.server.is_empty(), "server", "[]", "at least one address")?;
        for server in &self.server {
            match server.strip_prefix("unix:") {
                Some(path) => require(!path.is_empty(), "server", server, "a path after `unix:`")?,
                None => require_url("server", server)?,
            }
        }
        require((1..=100).contains(&self.tries), "tries", self.tries, "1 to 100")?;
        self.validate_gate()?;
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "seconds above 0")?;
        require(
            !(self.follow && self.version.is_some()),
            "version",
            self.version.unwrap_or_default(),
            "not both `follow` and `version`",
        )?;
        require(!self.force || self.version.is_some(), "force", true, "a `version` beside it")
    }

    fn validate_gate(&self) -> Result<(), ConfigError> {
        let above = "a number above 0";
        require(self.gate_turns <= 4096, "gate_turns", self.gate_turns, "at most 4096")?;
        require(self.gate_tokens > 0, "gate_tokens", self.gate_tokens, above)?;
        require(self.gate_kl_max > 0.0, "gate_kl_max", self.gate_kl_max, above)?;
        let tokens = self.gate_probe_tokens;
        require((1..=4096).contains(&tokens), "gate_probe_tokens", tokens, "1 to 4096")?;
        if let Some(url) = &self.gate_judge {
            require_url("gate_judge", url)?;
        }
        require(self.watch_turns <= 100_000, "watch_turns", self.watch_turns, "at most 100000")?;
        require(self.watch_turns_min > 0, "watch_turns_min", self.watch_turns_min, above)?;
        let alarm = self.watch_alarm;
        require(alarm > 0.0 && alarm < 1.0, "watch_alarm", alarm, "above 0, below 1")?;
        let margin = self.watch_margin;
        require((0.0..1.0).contains(&margin), "watch_margin", margin, "at least 0, below 1")
    }
}
