//! The server that is talked to, as any client sees it. Nothing is asked twice: a request that
//! fails is a figure of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::EvalError;
use super::wants::Seen;
use crate::complete::{client, read_key, root};
use crate::config::EvalConfig;
use crate::fault::chain;

/// Requests in a row that may fail before the server is given up.
const FAILURES_MAX: u64 = 20;
/// Characters of an answer that an error shows.
const SHOWN_CHARS: usize = 300;

/// A handle to the server.
#[derive(Debug)]
pub struct Server {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
    model: String,
    max_tokens: usize,
    asked: AtomicU64,
    failed: AtomicU64,
    /// Since the last request that did not fail.
    in_a_row: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// How a request is sampled.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    /// 0 is greedy.
    pub temperature: f32,
    /// Seed of the sampling.
    pub seed: u64,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A user in a session, which may end with this request; the loop may learn from it.
    User {
        /// The user's name.
        name: &'a str,
        /// The session.
        session: &'a str,
        /// Nothing follows.
        done: bool,
    },
    /// Nobody: nothing is kept of it.
    Nobody,
}

impl Server {
    /// A handle; nothing is sent yet.
    ///
    /// # Errors
    /// [`EvalError::Key`], [`EvalError::Client`].
    pub fn open(config: &EvalConfig) -> Result<Self, EvalError> {
        let client = client(Duration::from_secs(config.timeout_s))
            .map_err(|error| EvalError::Client { reason: chain(&error) })?;
        let key = config.api_key_file.as_deref().map(|path| {
            let failed = |reason| EvalError::Key { path: path.to_owned(), reason };
            read_key(path).map_err(failed)
        });
        Ok(Self {
            client,
            url: root(&config.url).to_owned(),
            key: key.transpose()?,
            model: config.model.clone(),
            max_tokens: config.max_tokens,
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_a_row: AtomicU64::new(0),
            first_failure: Mutex::new(None),
        })
    }

    /// The assistant's reply, or none where the request failed.
    ///
    /// # Errors
    /// [`EvalError::Unreachable`]: so many requests in a row have failed that it makes no sense
    /// to go on.
    pub async fn reply(
        &self,
        messages: &[Value],
        asker: Asker<'_>,
        sampled: Sampled,
    ) -> Result<Option<Seen>, EvalError> {
        let mut body = json!({
            "model": self.model,
            "messages": messages,
            "temperature": f64::from(sampled.temperature),
            "max_tokens": self.max_tokens,
            "seed": sampled.seed & 0x7fff_ffff,
        });
        let mut request = self.client.post(format!("{}/v1/chat/completions", self.url));
        match asker {
            Asker::User { name, session, done } => {
                body["user"] = json!(name);
                request = request.header("x-session-id", session);
                if done {
                    request = request.header("x-session-done", "1");
                }
            }
            Asker::Nobody => request = request.header("x-no-train", "1"),
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.sent(request.json(&body)).await.and_then(|answer| read_reply(&answer)) {
            Ok(seen) => {
                self.in_a_row.store(0, Ordering::Relaxed);
                Ok(Some(seen))
            }
            Err(reason) => self.note(reason).map(|()| None),
        }
    }

    /// The ids of a conversation, up to where the next reply begins if `begin_reply`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn ids(&self, messages: &[Value], begin_reply: bool) -> Result<Vec<u32>, String> {
        let body = json!({"model": self.model, "messages": messages,
            "add_generation_prompt": begin_reply});
        let answer = self.sent(self.client.post(format!("{}/tokenize", self.url)).json(&body));
        let answer = answer.await?;
        serde_json::from_value(answer["tokens"].clone())
            .map_err(|error| format!("`tokens` of /tokenize: {error}"))
    }

    /// What the server answers to `path`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.sent(self.client.get(format!("{}{path}", self.url))).await
    }

    /// The version that answers, where the server says it.
    pub async fn version(&self) -> Option<String> {
        let info = self.get("/model_info").await.ok()?;
        match &info["weight_version"] {
            Value::String(name) => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Requests for a reply, those of them that failed, and why the first one did.
    pub fn figures(&self) -> (u64, u64, Option<String>) {
        let first = self.first_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.asked), count(&self.failed), first.clone())
    }

    fn note(&self, reason: String) -> Result<(), EvalError> {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut first =
            self.first_failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = first.get_or_insert_with(|| reason.clone());
        if self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            return Err(EvalError::Unreachable { url: self.url.clone(), reason: first.clone() });
        }
        Ok(())
    }

    async fn sent(&self, mut request: reqwest::RequestBuilder) -> Result<Value, String> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| chain(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| chain(&error))?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes);
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            return Err(format!("{status}: {shown}"));
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("no JSON ({error})"))
    }
}

fn read_reply(answer: &Value) -> Result<Seen, String> {
    let message = &answer["choices"][0]["message"];
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Null if message.is_object() => String::new(),
        _ => return Err("the answer has no `choices[0].message.content`".to_owned()),
    };
    let usage = &answer["usage"];
    let tokens = usage["completion_tokens"].as_u64();
    let tokens = tokens.ok_or("the answer has no `usage.completion_tokens`")?;
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64();
    let tokens = tokens.saturating_sub(reasoning.unwrap_or_default());
    Ok(Seen {
        text,
        tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
        is_whole: answer["choices"][0]["finish_reason"] != "length",
    })
}
