//! One POST, insisted upon.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{CompleteError, Options};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest time that a server may take to say what it is.
const ABOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest part of a server's message that is repeated.
const MESSAGE_CHARS_MAX: usize = 300;

/// A client of one or several servers of the same model.
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    options: Options,
    addresses: Vec<Address>,
    key: Option<String>,
    slots: Semaphore,
}

/// A server among those that share the load.
#[derive(Debug)]
struct Address {
    /// Without `/v1` and slash.
    url: String,
    /// Requests that it has not answered yet.
    outstanding: AtomicUsize,
    /// A failure keeps requests away from it until then, as long as there are others.
    rests_until: Mutex<Option<Instant>>,
}

/// How a try ended without an answer.
enum Failed {
    /// It may go better next time, not before the given pause.
    Passing(String, Option<Duration>),
    For(CompleteError),
}

impl Address {
    fn new(url: &str) -> Self {
        let url = root(url).to_owned();
        Self { url, outstanding: AtomicUsize::new(0), rests_until: Mutex::new(None) }
    }

    /// How much longer it rests.
    fn rest(&self) -> Duration {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn set_rest(&self, rest: Option<Duration>) {
        let until = rest.map(|rest| Instant::now() + rest);
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// A request under way; it counts until it is dropped.
struct Underway<'a>(&'a Address);

impl<'a> Underway<'a> {
    fn new(address: &'a Address) -> Self {
        address.outstanding.fetch_add(1, Ordering::Relaxed);
        Self(address)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http {
    pub fn open(options: Options) -> Result<Self, CompleteError> {
        let client = client(options.timeout).map_err(|source| CompleteError::Client { source })?;
        let key = options.key_file.as_deref().map(|path| {
            let (role, path_of) = (options.role, path.to_owned());
            read_key(path).map_err(|reason| CompleteError::Key { role, path: path_of, reason })
        });
        let key = key.transpose()?;
        let addresses = options.urls.iter().map(|url| Address::new(url)).collect();
        let slots = Semaphore::new(options.concurrency.max(1));
        Ok(Self { client, options, addresses, key, slots })
    }

    pub fn malformed(&self, problem: impl Into<String>) -> CompleteError {
        let (role, url, problem) = (self.options.role, self.name(), problem.into());
        CompleteError::Malformed { role, url, problem }
    }

    /// The addresses, for messages.
    fn name(&self) -> String {
        let urls: Vec<&str> = self.addresses.iter().map(|address| address.url.as_str()).collect();
        urls.join(", ")
    }

    /// The address that rests least, and of those that do not rest the one with the fewest
    /// requests under way; the first where that is the same. None if there is no address.
    fn chosen(&self) -> Option<&Address> {
        let load =
            |address: &&Address| (address.rest(), address.outstanding.load(Ordering::Relaxed));
        self.addresses.iter().min_by_key(load)
    }

    /// The JSON answer to `body`, and how long the try took that got it. What passes is tried
    /// again, elsewhere if there is somewhere else, and after a pause where every address rests.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(Value, Duration), CompleteError> {
        let patience = self.options.patience;
        let tries_max = patience.tries.max(1) * self.addresses.len().max(1);
        let mut tries = 0;
        loop {
            tries += 1;
            let (address, answer, took) = {
                // The semaphore is never closed; without a permit the request goes out all the
                // same, one too many.
                let _slot = self.slots.acquire().await.ok();
                let Some(address) = self.chosen() else {
                    return Err(self.malformed("there is no address to ask"));
                };
                let _underway = Underway::new(address);
                let asked_at = Instant::now();
                let answer = self.try_once(&address.url, path, body).await;
                (address, answer, asked_at.elapsed())
            };
            let (reason, wait) = match answer {
                Ok(answer) => {
                    address.set_rest(None);
                    return Ok((answer, took));
                }
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Passing(reason, wait)) => (reason, wait),
            };
            if tries >= tries_max {
                let (role, url) = (self.options.role, self.name());
                return Err(CompleteError::Unavailable { role, url, tries, reason });
            }
            let round = tries.div_ceil(self.addresses.len());
            let pause = wait.unwrap_or_else(|| patience.pause(round)).min(patience.longest);
            let jitter = rand::rng().random_range(0.95..1.25);
            address.set_rest(Some(pause.mul_f64(jitter)));
            let rest = self.addresses.iter().map(Address::rest).min().unwrap_or_default();
            tokio::time::sleep(rest).await;
        }
    }

    /// What the servers are to the user.
    pub const fn role(&self) -> &'static str {
        self.options.role
    }

    /// What each server says of itself at `path`, asked once: `None` where it cannot be reached,
    /// and null where it says nothing that can be read.
    pub async fn each(&self, path: &str) -> Vec<(String, Option<Value>)> {
        let ask = |address: &Address| {
            let mut request = self.client.get(format!("{}{path}", address.url));
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            let url = address.url.clone();
            async move {
                let said = async { request.timeout(ABOUT_TIMEOUT).send().await?.bytes().await };
                let said = said.await.ok();
                (url, said.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default()))
            }
        };
        futures::future::join_all(self.addresses.iter().map(ask)).await
    }

    async fn try_once(&self, url: &str, path: &str, body: &Value) -> Result<Value, Failed> {
        let mut request = self.client.post(format!("{url}{path}")).json(body);
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
        let (role, url) = (self.options.role, url.to_owned());
        let status = status.as_u16();
        Err(Failed::For(CompleteError::Refused { role, url, status, code, message }))
    }
}

/// A server's address without the `/v1` that many are told with.
pub fn root(url: &str) -> &str {
    let bare = url.trim_end_matches('/');
    bare.strip_suffix("/v1").unwrap_or(bare)
}

/// An HTTP client that goes to no proxy.
///
/// # Errors
/// The machine's TLS cannot be had.
pub fn client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    // The client wants a provider even where only http is spoken; a second one is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(10)))
        .build()
}

/// The API key that a file holds.
///
/// # Errors
/// Why there is none, in words.
pub fn read_key(path: &Path) -> Result<String, String> {
    let key = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let key = key.trim().to_owned();
    let sendable = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if sendable { Ok(key) } else { Err("it holds no key".to_owned()) }
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
