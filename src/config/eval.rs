//! What `eval` can be told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, require, require_url};

/// Configuration of `eval`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Address of the server that is talked to.
    pub url: String,
    /// File that holds its API key.
    pub api_key_file: Option<PathBuf>,
    /// Name of the model in the requests.
    pub model: String,
    /// Who talks, in turns: `student`, `grader`, `teacher`, or paths of persona files.
    pub persona: Vec<String>,
    /// How many sessions are held; 0 measures only.
    pub sessions: usize,
    /// Replies of a session that the user reacts to.
    pub turns: usize,
    /// Share of the reactions that say the opposite of what the user feels.
    pub noise: f64,
    /// Held-out first prompts of each persona, asked of every version.
    pub held_out: usize,
    /// Held-out problems that are solved greedily, before and after.
    pub tasks: usize,
    /// Sampling temperature of every reply that is not greedy.
    pub temperature: f32,
    /// Most tokens of a reply.
    pub max_tokens: usize,
    /// Seed of the users and of the sampling.
    pub seed: u64,
    /// Wait after each session until everything in the loop has been learned from.
    pub lockstep: bool,
    /// Replies of a training batch: in lockstep fewer of them may be left waiting.
    pub batch_size: usize,
    /// Requests at the same time where prompts are held out.
    pub concurrency: usize,
    /// Longest time of one request, and of one wait in lockstep, in seconds.
    pub timeout_s: u64,
    /// Problems in place of the personas' own: JSON lines with `question` and `answer`.
    pub problems: Option<PathBuf>,
    /// Address of a model that plays the users.
    pub user_llm: Option<String>,
    /// Name of that model.
    pub user_llm_model: String,
    /// File that holds that model's API key.
    pub user_llm_key_file: Option<PathBuf>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:30000".to_owned(),
            api_key_file: None,
            model: "openclaw".to_owned(),
            persona: ["student", "grader", "teacher"].map(str::to_owned).into(),
            sessions: 0,
            turns: 3,
            noise: 0.07,
            held_out: 96,
            tasks: 1000,
            temperature: 0.6,
            max_tokens: 160,
            seed: 1,
            lockstep: false,
            batch_size: 16,
            concurrency: 8,
            timeout_s: 120,
            problems: None,
            user_llm: None,
            user_llm_model: "user".to_owned(),
            user_llm_key_file: None,
        }
    }
}

impl EvalConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first key whose value cannot be worked with.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let above_0 = "a whole number above 0";
        require_url("url", &self.url)?;
        if let Some(url) = &self.user_llm {
            require_url("user_llm", url)?;
        }
        require(!self.persona.is_empty(), "persona", "none", "one persona or more")?;
        require((1..=64).contains(&self.turns), "turns", self.turns, "1 to 64")?;
        require((0.0..=1.0).contains(&self.noise), "noise", self.noise, "0 to 1")?;
        require(self.held_out > 0, "held_out", self.held_out, above_0)?;
        let warm = self.temperature > 0.0 && self.temperature <= 2.0;
        require(warm, "temperature", self.temperature, "above 0, at most 2")?;
        require(self.max_tokens > 0, "max_tokens", self.max_tokens, above_0)?;
        require(self.batch_size > 0, "batch_size", self.batch_size, above_0)?;
        let few = (1..=256).contains(&self.concurrency);
        require(few, "concurrency", self.concurrency, "1 to 256")?;
        require(self.timeout_s > 0, "timeout_s", self.timeout_s, above_0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_worked_with_is_named() {
        let wrong = |change: fn(&mut EvalConfig)| {
            let mut config = EvalConfig::default();
            change(&mut config);
            config.validate().unwrap_err().key
        };
        assert_eq!(EvalConfig::default().validate(), Ok(()));
        assert_eq!(wrong(|config| config.url = "localhost".to_owned()), "url");
        assert_eq!(wrong(|config| config.user_llm = Some("x".to_owned())), "user_llm");
        assert_eq!(wrong(|config| config.persona.clear()), "persona");
        assert_eq!(wrong(|config| config.turns = 0), "turns");
        assert_eq!(wrong(|config| config.noise = f64::NAN), "noise");
        assert_eq!(wrong(|config| config.held_out = 0), "held_out");
        assert_eq!(wrong(|config| config.temperature = 0.0), "temperature");
        assert_eq!(wrong(|config| config.concurrency = 0), "concurrency");
    }
}
