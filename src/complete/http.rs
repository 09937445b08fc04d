//! One POST, insisted upon.

use std::time::Duration;

use rand::RngExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{CompleteError, Options};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest part of a server's message that is repeated.
const MESSAGE_CHARS_MAX: usize = 300;

#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    options: Options,
    /// The address without `/v1` and slash.
    url: String,
    key: Option<String>,
    slots: Semaphore,
}

/// How a try ended without an answer.
enum Failed {
    /// It may go better next time, not before the given pause.
    Passing(String, Option<Duration>),
    For(CompleteError),
}

impl Http {
    pub fn open(options: Options) -> Result<Self, CompleteError> {
        // The client wants a provider even where only http is spoken; a second one is refused.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(Duration::from_secs(10)))
            .build()
            .map_err(|source| CompleteError::Client { source })?;
        let key = read_key(&options)?;
        let bare = options.url.trim_end_matches('/');
        let url = bare.strip_suffix("/v1").unwrap_or(bare).to_owned();
        let slots = Semaphore::new(options.concurrency.max(1));
        Ok(Self { client, options, url, key, slots })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn malformed(&self, problem: impl Into<String>) -> CompleteError {
        let problem = problem.into();
        CompleteError::Malformed { role: self.options.role, url: self.url.clone(), problem }
    }

    /// The JSON answer to `body`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, CompleteError> {
        let patience = self.options.patience;
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = {
                // The semaphore is never closed; without a permit the request goes out all the
                // same, one too many.
                let _slot = self.slots.acquire().await.ok();
                self.try_once(path, body).await
            };
            let (reason, wait) = match answer {
                Ok(answer) => return Ok(answer),
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Passing(reason, wait)) => (reason, wait),
            };
            if tries >= patience.tries.max(1) {
                let (role, url) = (self.options.role, self.url.clone());
                return Err(CompleteError::Unavailable { role, url, tries, reason });
            }
            let pause = wait.unwrap_or_else(|| patience.pause(tries)).min(patience.longest);
            let jitter = rand::rng().random_range(0.95..1.25);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
        }
    }

    async fn try_once(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        let mut request = self.client.post(format!("{}{path}", self.url)).json(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let passing = |error: reqwest::Error| Failed::Passing(chain(&error), None);
        let mut response = request.send().await.map_err(passing)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failed::For(self.malformed("it is longer than 64 MiB")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| Failed::For(self.malformed(format!("no JSON ({error})"))));
        }
        let (code, message) = complaint(&bytes);
        if matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error() {
            return Err(Failed::Passing(format!("{status}: {message}"), retry_after(&headers)));
        }
        let (role, url) = (self.options.role, self.url.clone());
        let status = status.as_u16();
        Err(Failed::For(CompleteError::Refused { role, url, status, code, message }))
    }
}

fn read_key(options: &Options) -> Result<Option<String>, CompleteError> {
    let Some(path) = &options.key_file else { return Ok(None) };
    let failed =
        |reason: String| CompleteError::Key { role: options.role, path: path.clone(), reason };
    let key = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let key = key.trim().to_owned();
    let sendable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if sendable { Ok(Some(key)) } else { Err(failed("it holds no key".to_owned())) }
}

/// Code and message of an error body, in OpenAI's form or any other.
fn complaint(bytes: &[u8]) -> (String, String) {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let error = if body["error"].is_object() { &body["error"] } else { &body };
    let code = error["code"].as_str().unwrap_or_default().to_owned();
    let text = match error["message"].as_str().or_else(|| body["error"].as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (code, line.chars().take(MESSAGE_CHARS_MAX).collect())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
use crate::fault::chain;
