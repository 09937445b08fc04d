//! Which children are started, in which order, with which arguments.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The context that the client is told of where none is configured.
const CONTEXT_TOKENS: usize = 32_768;

/// One child process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildPlan {
    /// What it is called: the stage, or what a further child of the same stage is for.
    pub name: &'static str,
    /// The subcommand.
    pub command: &'static str,
    /// Arguments after the subcommand.
    pub args: Vec<OsString>,
    /// Where it answers requests, if it does; what comes after it starts once it does.
    pub address: Option<SocketAddr>,
    /// Its log file.
    pub log: PathBuf,
}

/// The whole loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The binary that every child runs.
    pub program: PathBuf,
    /// The server and whoever else answers requests, then the stages in the order of the data.
    pub children: Vec<ChildPlan>,
    /// The file that only one supervisor of a home may lock.
    pub lock: PathBuf,
}

/// The OpenClaw client's configuration for the server at `url`, ready to paste.
///
/// Two providers on one address, so that the client says of each request whether it belongs
/// to the conversation (`main`) or is housekeeping (`side`), and in which session it stands.
pub fn client_config(url: &str, model: &str, context_tokens: Option<usize>) -> serde_json::Value {
    let provider = |turn_type: &str| {
        serde_json::json!({
            "baseUrl": format!("{url}/v1"),
            "apiKey": "sk-local",
            "api": "openai-completions",
            "headers": { "X-Turn-Type": turn_type },
            "models": [{
                "id": model, "name": model, "reasoning": false, "input": ["text"],
                "contextWindow": context_tokens.unwrap_or(CONTEXT_TOKENS), "maxTokens": 4096,
                "compat": {
                    "requiresStringContent": true, "supportsPromptCacheKey": true,
                    "sendSessionAffinityHeaders": true, "thinkingFormat": "openrouter"
                }
            }]
        })
    };
    let (main, side) = (format!("rl/{model}"), format!("rl-side/{model}"));
    serde_json::json!({
        "agents": { "defaults": {
            "model": { "primary": main },
            "heartbeat": { "model": side },
            "compaction": { "model": side, "memoryFlush": { "model": side } },
            "subagents": { "model": side }
        } },
        "models": { "providers": { "rl": provider("main"), "rl-side": provider("side") } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_config_names_both_providers_at_the_address() {
        let config = client_config("http://127.0.0.1:30000", "openclaw", None);
        let providers = &config["models"]["providers"];
        assert_eq!(providers["rl"]["baseUrl"], "http://127.0.0.1:30000/v1");
        assert_eq!(providers["rl"]["headers"]["X-Turn-Type"], "main");
        assert_eq!(providers["rl-side"]["headers"]["X-Turn-Type"], "side");
        assert_eq!(config["agents"]["defaults"]["model"]["primary"], "rl/openclaw");
    }
}
