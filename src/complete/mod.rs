//! Asking a model over HTTP: for a chat completion (OpenAI's form) or for the log-probabilities of
//! given ids (SGLang's `/generate`).
//!
//! What may pass (no connection, a time-out, 408, 429, 5xx) is tried again with growing, jittered
//! pauses that honour `Retry-After`; what will not (400, 401, 404 …) is an error at once. An
//! answer that is incomplete is an error, never filled up. Of several addresses the one with the
//! fewest requests under way is asked; one that fails rests, and another is asked at once.

mod error;
mod http;
mod score;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub use error::CompleteError;
pub use http::{client, read_key, root};
pub use score::Scored;

use http::Http;

/// How long to insist on an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// Tries in all.
    pub tries: usize,
    /// Pause after the first of them.
    pub first: Duration,
    /// Each pause is this many times the one before.
    pub growth: u32,
    /// No pause is longer; a `Retry-After` is cut to this too.
    pub longest: Duration,
}

impl Patience {
    /// For a command that somebody waits for: seconds.
    pub const fn brief(tries: usize) -> Self {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(8));
        Self { tries, first, growth: 2, longest }
    }

    /// For a daemon: four tries outlast a server that is gone for a minute.
    pub const fn long(tries: usize) -> Self {
        let (first, longest) = (Duration::from_secs(2), Duration::from_secs(60));
        Self { tries, first, growth: 6, longest }
    }

    /// The pause after try number `done` (from 1), without jitter.
    pub fn pause(&self, done: usize) -> Duration {
        let exponent = u32::try_from(done.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(self.growth.saturating_pow(exponent)).min(self.longest)
    }
}

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of the servers that share the load, with or without `/v1`.
    pub urls: Vec<String>,
    /// File that holds the API key.
    pub key_file: Option<PathBuf>,
    /// Longest time of one try.
    pub timeout: Duration,
    /// How often to try.
    pub patience: Patience,
    /// Requests at the same time; more wait.
    pub concurrency: usize,
    /// What the server is to the user (`judge`, `teacher`), for messages.
    pub role: &'static str,
}

/// What to complete.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The model's name.
    pub model: String,
    /// Messages in OpenAI's form.
    pub messages: Vec<Value>,
    /// Sampling temperature.
    pub temperature: f32,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Seed of the sampling.
    pub seed: u64,
    /// What the answer must look like, for servers that can be told.
    pub constraint: Constraint,
}

/// How a server is told that only some texts will do, as a regular expression of the whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Constraint {
    /// It is told nothing.
    #[default]
    None,
    /// As SGLang takes it: `regex`.
    Sglang(String),
    /// As vLLM takes it: `structured_outputs`, and `guided_regex` before version 0.12.
    Vllm(String),
}

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its text; empty if it said nothing.
    pub text: String,
    /// From the request that was answered to the end of the answer.
    pub latency: Duration,
    /// Tokens of the prompt, if the server counts them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer, if the server counts them.
    pub completion_tokens: Option<u32>,
}

/// A server that completes and scores, or several of the same model. A cheap handle.
#[derive(Clone, Debug)]
pub struct Completer {
    http: Arc<Http>,
}

impl Completer {
    /// A handle; nothing is sent yet.
    ///
    /// # Errors
    /// A key file that cannot be read, or no HTTP client to be had.
    pub fn open(options: Options) -> Result<Self, CompleteError> {
        Ok(Self { http: Arc::new(Http::open(options)?) })
    }

    /// One chat completion.
    ///
    /// # Errors
    /// [`CompleteError`], after the tries that the options allow.
    pub async fn complete(&self, prompt: &Prompt) -> Result<Answer, CompleteError> {
        let mut body = json!({
            "model": prompt.model,
            "messages": prompt.messages,
            "temperature": f64::from(prompt.temperature),
            "max_tokens": prompt.max_tokens,
            // Some servers read the seed as a signed 32-bit number.
            "seed": prompt.seed & 0x7fff_ffff,
            "stream": false,
        });
        match &prompt.constraint {
            Constraint::None => {}
            Constraint::Sglang(regex) => body["regex"] = json!(regex),
            Constraint::Vllm(regex) => {
                body["structured_outputs"] = json!({ "regex": regex });
                body["guided_regex"] = json!(regex);
            }
        }
        let (answer, latency) = self.http.post("/v1/chat/completions", &body).await?;
        let message = &answer["choices"][0]["message"];
        let text = match &message["content"] {
            Value::String(text) => text.clone(),
            Value::Null if message.is_object() => String::new(),
            _ => return Err(self.http.malformed("it has no `choices[0].message.content`")),
        };
        let tokens = |name| u32::try_from(answer["usage"][name].as_u64()?).ok();
        let (prompt_tokens, completion_tokens) =
            (tokens("prompt_tokens"), tokens("completion_tokens"));
        Ok(Answer { text, latency, prompt_tokens, completion_tokens })
    }

    /// Whether every server can be told apart from the one whose weights change under training: an
    /// `openclaw-rl serve` that follows what goes live in `weights`. `false` where one of them did
    /// not say anything.
    ///
    /// # Errors
    /// [`CompleteError::Trained`]: one of them is that server.
    pub async fn is_apart_from(&self, weights: &Path) -> Result<bool, CompleteError> {
        let mut heard_all = true;
        for (url, info) in self.http.each("/model_info").await {
            let path = info.as_ref().and_then(|info| info["model_path"].as_str());
            let is_fixed = info.as_ref().is_none_or(|info| info["fixed"] != Value::Bool(false));
            heard_all &= info.is_some();
            if let Some(path) = path.filter(|path| !is_fixed && is_within(path, weights)) {
                let (role, path) = (self.http.role(), path.to_owned());
                return Err(CompleteError::Trained { role, url, path });
            }
        }
        Ok(heard_all)
    }

    /// Whether every server was heard, and none tells of another tokenizer than the one of this
    /// SHA-256 (of its `tokenizer.json`). Of a server that tells of none, only the ids that come
    /// back with their log-probabilities show it.
    ///
    /// # Errors
    /// [`CompleteError::Tokenizer`]: one of them has another.
    pub async fn has_tokenizer(&self, sha256: &str) -> Result<bool, CompleteError> {
        let mut heard_all = true;
        for (url, info) in self.http.each("/model_info").await {
            let own = info.as_ref().and_then(|info| info["tokenizer_sha256"].as_str());
            heard_all &= info.is_some();
            if own.is_some_and(|own| own != sha256) {
                return Err(CompleteError::Tokenizer { role: self.http.role(), url });
            }
        }
        Ok(heard_all)
    }

    /// `log p(ids[i] | ids[..i])` for every i from `start`, at `temperature`, by one version; with
    /// `top_k` above 0 the likeliest ids of each of these positions as well.
    ///
    /// # Errors
    /// [`CompleteError`]; an answer of another length, with other ids, or with null where a number
    /// belongs, is malformed.
    pub async fn score(
        &self,
        ids: &[u32],
        start: usize,
        temperature: f32,
        top_k: usize,
    ) -> Result<Scored, CompleteError> {
        score::score(&self.http, ids, start, temperature, top_k).await
    }
}

/// Whether a path leads into a directory, whatever links lead there.
fn is_within(path: &str, dir: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(Path::new(path)).starts_with(real(dir))
}
