//! What `deploy` can be told.

use serde::{Deserialize, Serialize};

use super::{ConfigError, require, require_url};

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
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, "seconds above 0")?;
        require(
            !(self.follow && self.version.is_some()),
            "version",
            self.version.unwrap_or_default(),
            "not both `follow` and `version`",
        )
    }
}
