//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use rand::RngExt;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::errors::ApiError;
use super::reply::{Asked, PIECES_MAX, Reply};
use super::router::{blocking, json};
use super::state::Server;
use super::stream::Wanted;
use crate::engine::GenerateRequest;
use crate::events::now_us;
use crate::protocol::{ChatRequest, ToolChoice};
use crate::rollout::{Sampling, TurnId};

/// Headers that place a turn in its session, or that say how to treat it.
const SESSION_HEADERS: &[&str] = &[
    "x-session-id",
    "x-session-affinity",
    "session_id",
    "x-client-request-id",
    "x-turn-type",
    "x-session-done",
    "x-no-train",
];

/// Characters of a session key that are kept.
const SESSION_KEY_MAX: usize = 512;

/// Answers a conversation.
pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received_at_us = now_us();
    let reading = Arc::clone(&server);
    // Reading and tokenising a long conversation takes milliseconds.
    let (request, asked) = blocking(move || {
        let request = ChatRequest::parse(json(&body)?)?;
        let asked = ask(&reading, &request, &headers, received_at_us)?;
        Ok::<_, ApiError>((request, asked))
    })
    .await??;
    let generation = server.engine.submit(GenerateRequest {
        stop_ids: server.renderer.stop_ids().into(),
        ..GenerateRequest::new(asked.prompt.clone(), asked.sampling.clone())
    })?;
    let wanted = Wanted {
        id: format!("chatcmpl-{}", asked.turn_id),
        created: received_at_us / 1_000_000,
        model: asked.model.clone(),
        include_usage: request.include_usage,
        logprobs: request.logprobs,
        token_ids: request.return_token_ids.then(|| asked.prompt.clone()),
        renderer: Arc::clone(&server.renderer),
    };
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let reply = Reply::new(Arc::clone(&server), asked, sender);
    // Owned by the server, so that a turn is recorded also when its client goes away.
    server.replies.spawn(reply.run(generation));
    match request.stream {
        true => Ok(wanted.stream(pieces)),
        false => Ok(wanted.whole(pieces).await),
    }
}

/// Renders a request, and settles what it leaves open.
fn ask(
    server: &Server,
    request: &ChatRequest,
    headers: &HeaderMap,
    received_at_us: i64,
) -> Result<Asked, ApiError> {
    let config = &server.config;
    let tools = request.tools.as_ref().filter(|_| request.tool_choice == ToolChoice::Auto);
    let prompt = server.renderer.prompt(&request.messages, tools)?;
    let room = server.context.saturating_sub(prompt.len());
    if room == 0 {
        return Err(ApiError::context_length(prompt.len(), server.context));
    }
    let wished = request.max_tokens.map_or(config.reply_tokens, |limit| limit as usize);
    let sampling = Sampling {
        temperature: request.temperature.unwrap_or(config.temperature),
        top_p: request.top_p.unwrap_or(config.top_p),
        top_k: request.top_k.unwrap_or(config.top_k),
        seed: request.seed.unwrap_or_else(|| rand::rng().random()),
        max_tokens: u32::try_from(wished.min(room)).unwrap_or(u32::MAX),
        ..Sampling::default()
    };
    let no_train = header_text(headers, "x-no-train").is_some_and(|text| is_yes(&text));
    Ok(Asked {
        turn_id: TurnId::now(),
        received_at_us,
        user: user(request, headers),
        model: request.model.clone().unwrap_or_else(|| config.model_name.clone()),
        session_keys: session_keys(request, headers),
        messages: Value::from(request.messages.clone()).to_string(),
        tools: tools.map(Value::to_string).unwrap_or_default(),
        prompt,
        sampling,
        constraint: None,
        stops: request.stop.clone(),
        keep: config.record && !no_train,
    })
}

fn is_yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes")
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The key that a client presents.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}

/// Who asks: the body's `user`, else a digest of the API key that it came with.
fn user(request: &ChatRequest, headers: &HeaderMap) -> String {
    let named = request.session.iter().find(|(name, _)| *name == "user");
    if let Some((_, user)) = named {
        return shortened(user);
    }
    let digest = |key: &str| {
        let digest = Sha256::digest(key);
        let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("key-{hex}")
    };
    bearer(headers).map(digest).unwrap_or_default()
}

/// The headers and body fields that place a turn, as a JSON object of strings.
fn session_keys(request: &ChatRequest, headers: &HeaderMap) -> String {
    let from_headers = SESSION_HEADERS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), header_text(headers, name)?)));
    let from_body =
        request.session.iter().map(|(name, text)| (format!("body.{name}"), text.clone()));
    let keys: Map<String, Value> = from_headers
        .chain(from_body)
        .map(|(name, text)| (name, Value::from(shortened(&text))))
        .collect();
    Value::Object(keys).to_string()
}

fn shortened(text: &str) -> String {
    text.chars().take(SESSION_KEY_MAX).collect()
}
