//! Turns, rollouts and stub servers for the tests of `collect`, `score` and `hint`.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use openclaw_rl::config::Home;
use openclaw_rl::rollout::{
    ClosedBy, FinishReason, Rollout, Sampling, Turn, TurnId, TurnKind, TurnStatus, Version,
    VersionSpan,
};
use openclaw_rl::store::{Record, Store};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub const SECOND: i64 = 1_000_000;

/// A home of its own, with a store.
pub struct House {
    pub home: Home,
    pub store: Store,
    _dir: tempfile::TempDir,
}

pub fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    let store = Store::open(&home).unwrap();
    House { home, store, _dir: dir }
}

impl House {
    pub fn write<R: Record>(&self, rows: &[R]) {
        self.store.writer::<R>("test").unwrap().append(rows).unwrap();
    }

    pub fn read<R: Record>(&self) -> Vec<R> {
        self.store.read_all().unwrap()
    }
}

pub fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

pub fn assistant(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

/// Turn number `number`, read that many seconds after `start_us`.
pub fn turn(number: u128, start_us: i64, messages: &Value, reply: &str) -> Turn {
    let received_at_us = start_us + number as i64 * SECOND;
    Turn {
        turn_id: TurnId(number + 1),
        received_at_us,
        finished_at_us: received_at_us + SECOND / 2,
        user: String::new(),
        policy: "default".to_owned(),
        model: "m".to_owned(),
        session_keys: "{}".to_owned(),
        messages: messages.to_string(),
        tools: String::new(),
        reply: assistant(reply).to_string(),
        prompt_ids: vec![1, 2],
        response_ids: vec![3, 4],
        response_logprobs: vec![-0.5, -0.25],
        drawn_logprobs: Vec::new(),
        forced: Vec::new(),
        constraint: None,
        version_spans: vec![VersionSpan { start: 0, version: Version(0) }],
        sampling: Sampling {
            temperature: 0.5,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
            max_tokens: 9,
            ..Sampling::default()
        },
        finish_reason: FinishReason::Stop,
        status: TurnStatus::Answered,
    }
}

/// The rollout of turn number `number`, whose user then said `next`.
pub fn rollout(number: u128, messages: &Value, reply: &str, next: Option<&str>) -> Rollout {
    Rollout {
        turn_id: TurnId(number + 1),
        revision: 0,
        session_id: "s".to_owned(),
        generation: "0".to_owned(),
        turn_index: number as u32,
        kind: TurnKind::Main,
        placed_by: "test".to_owned(),
        messages: messages.to_string(),
        reply: assistant(reply).to_string(),
        next_state: next.map(|next| json!([user(next)]).to_string()),
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(0),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}

/// A server that lives as long as this.
pub struct Stub {
    pub url: String,
    /// The bodies that it was sent.
    pub asked: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    pub fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// A server that answers the call with this number and body.
pub async fn stub(answer: impl Fn(usize, &Value) -> (u16, String) + Send + Sync + 'static) -> Stub {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
    let app = Router::new().fallback(move |method: Method, body: String| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move {
            if method == Method::GET {
                return StatusCode::NOT_FOUND.into_response();
            }
            let body: Value = serde_json::from_str(&body).unwrap_or_default();
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(body.clone());
                seen.len() - 1
            };
            let (status, text) = answer(number, &body);
            (StatusCode::from_u16(status).unwrap(), [("retry-after", "0")], text).into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "it is aborted when the stub is dropped")]
    let task = tokio::spawn(async move {
        axum::serve(listener, app).await.unwrap();
    });
    Stub { url, asked, task }
}

/// A judge whose call number `n` says `say(n)`.
pub async fn judge(say: impl Fn(usize) -> (u16, String) + Send + Sync + 'static) -> Stub {
    stub(move |number, _| {
        let (status, text) = say(number);
        if status != 200 {
            return (status, text);
        }
        (200, json!({"choices": [{"message": {"content": text}}]}).to_string())
    })
    .await
}

/// An address where nobody listens.
pub async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
