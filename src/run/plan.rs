//! Which children are started, in which order, with which arguments.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One child process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildPlan {
    /// The stage, which is the subcommand's name too.
    pub stage: &'static str,
    /// Arguments after the subcommand.
    pub args: Vec<OsString>,
    /// Its log file.
    pub log: PathBuf,
}

/// The whole loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The binary that every child runs.
    pub program: PathBuf,
    /// Where the server will listen; the others start once it answers.
    pub address: SocketAddr,
    /// The server first, then the stages in the order of the data.
    pub children: Vec<ChildPlan>,
    /// The file that only one supervisor of a home may lock.
    pub lock: PathBuf,
}

impl Plan {
    /// The address that programs on this machine reach the server at.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The OpenClaw client's configuration for this server, ready to paste.
    ///
    /// Two providers on one address, so that the client says of each request whether it belongs
    /// to the conversation (`main`) or is housekeeping (`side`), and in which session it stands.
    pub fn client_config(&self, model: &str, context_tokens: usize) -> String {
        let provider = |turn_type: &str| {
            serde_json::json!({
                "baseUrl": format!("{}/v1", self.url()),
                "apiKey": "sk-local",
                "api": "openai-completions",
                "headers": { "X-Turn-Type": turn_type },
                "models": [{
                    "id": model, "name": model, "reasoning": false, "input": ["text"],
                    "contextWindow": context_tokens, "maxTokens": 4096,
                    "compat": {
                        "requiresStringContent": true, "supportsPromptCacheKey": true,
                        "sendSessionAffinityHeaders": true, "thinkingFormat": "openrouter"
                    }
                }]
            })
        };
        let (main, side) = (format!("rl/{model}"), format!("rl-side/{model}"));
        let config = serde_json::json!({
            "agents": { "defaults": {
                "model": { "primary": main },
                "heartbeat": { "model": side },
                "compaction": { "model": side, "memoryFlush": { "model": side } },
                "subagents": { "model": side }
            } },
            "models": { "providers": { "rl": provider("main"), "rl-side": provider("side") } }
        });
        serde_json::to_string_pretty(&config).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_config_names_both_providers_at_the_address() {
        let plan = Plan {
            program: "openclaw-rl".into(),
            address: ([127, 0, 0, 1], 30_000).into(),
            children: Vec::new(),
            lock: "lock".into(),
        };
        let config: serde_json::Value =
            serde_json::from_str(&plan.client_config("openclaw", 32_768)).unwrap();
        let providers = &config["models"]["providers"];
        assert_eq!(providers["rl"]["baseUrl"], "http://127.0.0.1:30000/v1");
        assert_eq!(providers["rl"]["headers"]["X-Turn-Type"], "main");
        assert_eq!(providers["rl-side"]["headers"]["X-Turn-Type"], "side");
        assert_eq!(config["agents"]["defaults"]["model"]["primary"], "rl/openclaw");
    }
}
