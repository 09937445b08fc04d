//! Replies to a conversation as OpenAI tells them.

use std::sync::Arc;

use axum::body::Bytes;

use super::Begun;
use crate::engine::SampledToken;
use crate::protocol::{
    ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta, FunctionDelta, Logprobs,
    TokenLogprob, ToolCallDelta, TopLogprob, sse,
};
use crate::render::{Renderer, ReplyPart};
use crate::stage::serve::choices::Choices;
use crate::stage::serve::errors::ApiError;
use crate::stage::serve::reply::Finished;
use crate::stage::serve::stream::Dialect;
use crate::stage::serve::tally::Tally;

/// What a request wants to see of its replies.
pub(super) struct Chat {
    id: String,
    created_s: i64,
    model: String,
    include_usage: bool,
    logprobs: bool,
    /// Token ids of reply and prompt (these here), if they are wanted.
    token_ids: Option<Vec<u32>>,
    renderer: Arc<Renderer>,
    /// How many replies there are.
    n: usize,
    tally: Tally,
}

impl Chat {
    pub(super) fn new(begun: Begun, renderer: Arc<Renderer>) -> (Self, Choices) {
        let Begun { request, turn_id, created_s, model, prompt, choices } = begun;
        let chat = Self {
            id: format!("chatcmpl-{turn_id}"),
            created_s,
            model,
            include_usage: request.include_usage,
            logprobs: request.logprobs,
            token_ids: request.return_token_ids.then_some(prompt),
            renderer,
            n: request.n,
            tally: Tally::new(request.n),
        };
        (chat, choices)
    }

    /// The replies once they are complete.
    pub(super) fn whole(mut self, replies: Vec<Finished>) -> ChatCompletion {
        let fingerprint = replies.first().and_then(Finished::fingerprint);
        let mut choices = Vec::with_capacity(replies.len());
        for (index, finished) in replies.into_iter().enumerate() {
            self.tally.add(index, &finished);
            choices.push(ChatChoice {
                index: index as u32,
                logprobs: self.logprobs(&finished.tokens),
                finish_reason: Some(finished.reason.label().to_owned()),
                token_ids: self.ids(&finished.tokens),
                message: finished.message,
            });
        }
        ChatCompletion {
            id: self.id,
            object: "chat.completion".to_owned(),
            created: self.created_s,
            model: self.model,
            choices,
            usage: Some(self.tally.usage()),
            system_fingerprint: fingerprint,
            prompt_token_ids: self.token_ids,
        }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".to_owned(),
            created: self.created_s,
            model: self.model.clone(),
            choices,
            usage: self.include_usage.then_some(serde_json::Value::Null),
            system_fingerprint: None,
            prompt_token_ids: None,
        }
    }

    fn choice(&self, index: usize, delta: Delta, tokens: &[SampledToken]) -> ChunkChoice {
        ChunkChoice {
            index: index as u32,
            delta,
            logprobs: self.logprobs(tokens),
            finish_reason: None,
            token_ids: self.ids(tokens),
        }
    }

    fn delta(&self, index: usize, delta: Delta, tokens: &[SampledToken]) -> Bytes {
        sse::event(&self.chunk(vec![self.choice(index, delta, tokens)]))
    }

    fn ids(&self, tokens: &[SampledToken]) -> Option<Vec<u32>> {
        let ids = || tokens.iter().map(|token| token.id).collect();
        self.token_ids.as_ref().map(|_| ids())
    }

    fn logprobs(&self, tokens: &[SampledToken]) -> Option<Logprobs> {
        if !self.logprobs || tokens.is_empty() {
            return None;
        }
        let content = tokens.iter().map(|token| {
            let (text, bytes) = self.token(token.id);
            TokenLogprob {
                token: text,
                logprob: token.logprob,
                bytes: Some(bytes),
                top_logprobs: token
                    .top
                    .iter()
                    .map(|(id, logprob)| self.top(*id, *logprob))
                    .collect(),
            }
        });
        Some(Logprobs { content: content.collect() })
    }

    fn top(&self, id: u32, logprob: f32) -> TopLogprob {
        let (token, bytes) = self.token(id);
        TopLogprob { token, logprob, bytes: Some(bytes) }
    }

    fn token(&self, id: u32) -> (String, Vec<u8>) {
        let bytes = self.renderer.token_bytes(id);
        (String::from_utf8_lossy(&bytes).into_owned(), bytes)
    }
}

impl Dialect for Chat {
    fn first(&mut self) -> Bytes {
        let mut frames = Vec::new();
        for index in 0..self.n {
            let delta = Delta { role: Some("assistant".to_owned()), ..content(String::new()) };
            let mut chunk = self.chunk(vec![self.choice(index, delta, &[])]);
            if let Some(ids) = self.token_ids.as_mut().filter(|_| index == 0) {
                chunk.prompt_token_ids = Some(std::mem::take(ids));
            }
            frames.extend_from_slice(&sse::event(&chunk));
        }
        frames.into()
    }

    /// One event per part; the tokens go with the first.
    fn more(&mut self, choice: usize, parts: Vec<ReplyPart>, tokens: &[SampledToken]) -> Bytes {
        let mut frames = Vec::new();
        for (place, part) in parts.into_iter().enumerate() {
            let tokens = if place == 0 { tokens } else { &[] };
            frames.extend_from_slice(&self.delta(choice, delta(part), tokens));
        }
        frames.into()
    }

    fn alive(&mut self, choice: usize) -> Bytes {
        self.delta(choice, content(String::new()), &[])
    }

    fn end(&mut self, index: usize, finished: &Finished) -> Bytes {
        self.tally.add(index, finished);
        let mut choice = self.choice(index, Delta::default(), finished.unsent());
        choice.finish_reason = Some(finished.reason.label().to_owned());
        let mut chunk = self.chunk(vec![choice]);
        chunk.system_fingerprint = finished.fingerprint();
        sse::event(&chunk)
    }

    fn last(&mut self) -> Bytes {
        let mut frames = Vec::new();
        if self.include_usage {
            let mut chunk = self.chunk(Vec::new());
            chunk.usage = serde_json::to_value(self.tally.usage()).ok();
            frames.extend_from_slice(&sse::event(&chunk));
        }
        frames.extend_from_slice(&sse::DONE);
        frames.into()
    }

    fn failed(&mut self, error: &ApiError) -> Bytes {
        sse::event(&error.body())
    }
}

fn content(text: String) -> Delta {
    Delta { content: Some(text), ..Delta::default() }
}

fn delta(part: ReplyPart) -> Delta {
    let call = |call| Delta { tool_calls: Some(vec![call]), ..Delta::default() };
    match part {
        ReplyPart::Content(text) => content(text),
        ReplyPart::Reasoning(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
        ReplyPart::Call { index, id, name } => call(ToolCallDelta {
            index,
            id: Some(id),
            kind: Some("function".to_owned()),
            function: FunctionDelta { name: Some(name), arguments: String::new() },
        }),
        ReplyPart::Arguments { index, text } => call(ToolCallDelta {
            index,
            id: None,
            kind: None,
            function: FunctionDelta { name: None, arguments: text },
        }),
    }
}
