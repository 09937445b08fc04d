//! A reply on the wire: in pieces, or whole.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::mpsc;

use super::errors::ApiError;
use super::reply::{Finished, Piece, Sampled};
use crate::protocol::{
    ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta, FunctionCall, Logprobs,
    TokenLogprob, ToolCallDelta, Usage, sse,
};
use crate::render::{Renderer, ReplyPart};

/// What the request wants to see of its reply.
pub(super) struct Wanted {
    /// `chatcmpl-<turn id>`.
    pub(super) id: String,
    /// Seconds since the Unix epoch.
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) include_usage: bool,
    pub(super) logprobs: bool,
    /// Token ids of reply and prompt (these here), if they are wanted.
    pub(super) token_ids: Option<Vec<u32>>,
    pub(super) renderer: Arc<Renderer>,
}

impl Wanted {
    /// The reply as it comes. Without a clean end there is an `error` event, and no `[DONE]`.
    pub(super) fn stream(mut self, pieces: mpsc::Receiver<Piece>) -> Response {
        let first = self.first();
        let rest = stream::unfold((self, pieces), |(wanted, mut pieces)| async move {
            let frames = match pieces.recv().await? {
                Piece::More { parts, tokens } => wanted.more(parts, &tokens),
                Piece::Alive => wanted.delta(content(String::new()), &[]),
                Piece::End(finished) => wanted.end(&finished),
                Piece::Failed(error) => sse::event(&error.body()),
            };
            Some((Ok::<_, Infallible>(frames), (wanted, pieces)))
        });
        let body = Body::from_stream(stream::iter([Ok(first)]).chain(rest));
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        (headers, body).into_response()
    }

    /// The reply once it is complete.
    pub(super) async fn whole(mut self, mut pieces: mpsc::Receiver<Piece>) -> Response {
        loop {
            match pieces.recv().await {
                Some(Piece::More { .. } | Piece::Alive) => {}
                Some(Piece::End(finished)) => {
                    return axum::Json(self.completion(*finished)).into_response();
                }
                Some(Piece::Failed(error)) => return error.into_response(),
                None => return ApiError::internal("the reply was lost").into_response(),
            }
        }
    }

    fn completion(&mut self, finished: Finished) -> ChatCompletion {
        let usage = usage(&finished);
        let choice = ChatChoice {
            index: 0,
            logprobs: self.logprobs(&finished.tokens),
            finish_reason: Some(finished.reason.label().to_owned()),
            token_ids: self.ids(&finished.tokens),
            message: finished.message,
        };
        ChatCompletion {
            id: self.id.clone(),
            object: "chat.completion".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices: vec![choice],
            usage: Some(usage),
            system_fingerprint: finished.version.map(|version| format!("weights-{version}")),
            prompt_token_ids: self.token_ids.take(),
        }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage: self.include_usage.then_some(Value::Null),
            system_fingerprint: None,
            prompt_token_ids: None,
        }
    }

    fn choice(&self, delta: Delta, tokens: &[Sampled]) -> ChunkChoice {
        ChunkChoice {
            index: 0,
            delta,
            logprobs: self.logprobs(tokens),
            finish_reason: None,
            token_ids: self.ids(tokens),
        }
    }

    fn delta(&self, delta: Delta, tokens: &[Sampled]) -> Bytes {
        sse::event(&self.chunk(vec![self.choice(delta, tokens)]))
    }

    fn first(&mut self) -> Bytes {
        let delta = Delta { role: Some("assistant".to_owned()), ..content(String::new()) };
        let mut chunk = self.chunk(vec![self.choice(delta, &[])]);
        if let Some(ids) = &mut self.token_ids {
            chunk.prompt_token_ids = Some(std::mem::take(ids));
        }
        sse::event(&chunk)
    }

    /// One event per part; the tokens go with the first.
    fn more(&self, parts: Vec<ReplyPart>, tokens: &[Sampled]) -> Bytes {
        let mut frames = Vec::new();
        for (index, part) in parts.into_iter().enumerate() {
            let tokens = if index == 0 { tokens } else { &[] };
            frames.extend_from_slice(&self.delta(delta(part), tokens));
        }
        frames.into()
    }

    fn end(&self, finished: &Finished) -> Bytes {
        let unsent = &finished.tokens[finished.tokens.len() - finished.unsent..];
        let mut choice = self.choice(Delta::default(), unsent);
        choice.finish_reason = Some(finished.reason.label().to_owned());
        let mut chunk = self.chunk(vec![choice]);
        chunk.system_fingerprint = finished.version.map(|version| format!("weights-{version}"));
        let mut frames = sse::event(&chunk).to_vec();
        if self.include_usage {
            let mut chunk = self.chunk(Vec::new());
            chunk.usage = serde_json::to_value(usage(finished)).ok();
            frames.extend_from_slice(&sse::event(&chunk));
        }
        frames.extend_from_slice(&sse::DONE);
        frames.into()
    }

    fn ids(&self, tokens: &[Sampled]) -> Option<Vec<u32>> {
        let ids = || tokens.iter().map(|token| token.id).collect();
        self.token_ids.as_ref().map(|_| ids())
    }

    fn logprobs(&self, tokens: &[Sampled]) -> Option<Logprobs> {
        if !self.logprobs || tokens.is_empty() {
            return None;
        }
        let content = tokens.iter().map(|token| {
            let bytes = self.renderer.token_bytes(token.id);
            TokenLogprob {
                token: String::from_utf8_lossy(&bytes).into_owned(),
                logprob: token.logprob,
                bytes: Some(bytes),
                top_logprobs: Vec::new(),
            }
        });
        Some(Logprobs { content: content.collect() })
    }
}

fn content(text: String) -> Delta {
    Delta { content: Some(text), ..Delta::default() }
}

fn delta(part: ReplyPart) -> Delta {
    match part {
        ReplyPart::Content(text) => content(text),
        ReplyPart::Reasoning(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
        ReplyPart::ToolCall { index, id, name, arguments } => {
            let call = ToolCallDelta {
                index,
                id: Some(id),
                kind: Some("function".to_owned()),
                function: FunctionCall { name, arguments },
            };
            Delta { tool_calls: Some(vec![call]), ..Delta::default() }
        }
    }
}

fn usage(finished: &Finished) -> Usage {
    let (prompt_tokens, completion_tokens) = (finished.prompt_tokens, finished.tokens.len());
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}
