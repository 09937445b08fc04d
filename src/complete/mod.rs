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

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

pub use error::CompleteError;
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

    /// The text of one chat completion; empty if the model said nothing.
    ///
    /// # Errors
    /// [`CompleteError`], after the tries that the options allow.
    pub async fn complete(&self, prompt: &Prompt) -> Result<String, CompleteError> {
        let body = json!({
            "model": prompt.model,
            "messages": prompt.messages,
            "temperature": f64::from(prompt.temperature),
            "max_tokens": prompt.max_tokens,
            // Some servers read the seed as a signed 32-bit number.
            "seed": prompt.seed & 0x7fff_ffff,
            "stream": false,
        });
        let answer = self.http.post("/v1/chat/completions", &body).await?;
        let message = &answer["choices"][0]["message"];
        match &message["content"] {
            Value::String(text) => Ok(text.clone()),
            Value::Null if message.is_object() => Ok(String::new()),
            _ => Err(self.http.malformed("it has no `choices[0].message.content`")),
        }
    }

    /// `log p(ids[i] | ids[..i])` for every i from `start`, at `temperature`, by one version.
    ///
    /// # Errors
    /// [`CompleteError`]; an answer of another length, with other ids, or with null where a number
    /// belongs, is malformed.
    pub async fn score(
        &self,
        ids: &[u32],
        start: usize,
        temperature: f32,
    ) -> Result<Scored, CompleteError> {
        score::score(&self.http, ids, start, temperature).await
    }
}
