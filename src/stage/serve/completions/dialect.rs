//! Continued text as OpenAI tells it.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Map, Value};

use crate::engine::{SampledToken, TopLogprobs};
use crate::events::now_us;
use crate::protocol::{
    Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, Prompt, sse,
};
use crate::render::{Renderer, ReplyPart};
use crate::rollout::{FinishReason, TurnId};
use crate::stage::serve::errors::ApiError;
use crate::stage::serve::prompt::Scores;
use crate::stage::serve::reply::Finished;
use crate::stage::serve::state::Server;
use crate::stage::serve::stream::Dialect;
use crate::stage::serve::tally::Tally;

/// Replies that are being told.
pub(super) struct Text {
    id: String,
    created_s: i64,
    model: String,
    renderer: Arc<Renderer>,
    prompts: Vec<Vec<u32>>,
    /// The prompts' texts, if they stand before the replies.
    echo: Option<Vec<String>>,
    /// Replies to each prompt.
    n: usize,
    /// Whether log-probabilities are wanted.
    logprobs: bool,
    include_usage: bool,
    token_ids: bool,
    /// Characters of each choice that were told with log-probabilities.
    told: Vec<usize>,
    tally: Tally,
}

impl Text {
    pub(super) fn new(
        server: &Server,
        request: &CompletionRequest,
        prompts: Vec<Vec<u32>>,
    ) -> Self {
        let renderer = Arc::clone(&server.renderer);
        let text = |(prompt, ids): (&Prompt, &Vec<u32>)| match prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Ids(_) => renderer.decode_whole(ids).unwrap_or_default(),
        };
        let texts = || request.prompts.iter().zip(&prompts).map(text).collect();
        let model = request.model.clone().unwrap_or_else(|| server.config.model_name.clone());
        Self {
            id: format!("cmpl-{}", TurnId::now()),
            created_s: now_us() / 1_000_000,
            model,
            echo: request.echo.then(texts),
            renderer,
            n: request.n,
            told: vec![0; prompts.len() * request.n],
            prompts,
            logprobs: request.logprobs.is_some(),
            include_usage: request.include_usage,
            token_ids: request.return_token_ids,
            tally: Tally::new(request.n),
        }
    }

    /// The replies once they are complete; none where only the prompts are wanted.
    pub(super) fn whole(mut self, scores: &[Scores], replies: Vec<Finished>) -> Completion {
        let fingerprint = replies.first().and_then(Finished::fingerprint);
        let fingerprint = fingerprint
            .or_else(|| scores.first().map(|scores| format!("weights-{}", scores.version)));
        let mut choices = Vec::with_capacity(self.told.len());
        if replies.is_empty() {
            for index in 0..self.prompts.len() {
                let text = self.prompt_text(index);
                let logprobs = self.list(index, scores.get(index), &[]);
                choices.push(self.choice(index, text, logprobs, Some(FinishReason::Length), &[]));
            }
        }
        for (index, finished) in replies.into_iter().enumerate() {
            self.tally.add(index, &finished);
            let mut text = self.prompt_text(index);
            text.push_str(finished.message.content.as_deref().unwrap_or_default());
            let scores = scores.get(index / self.n);
            let logprobs = self.list(index, scores, &finished.tokens);
            let reason = Some(finished.reason);
            choices.push(self.choice(index, text, logprobs, reason, &finished.tokens));
        }
        let mut usage = self.tally.usage();
        if usage.prompt_tokens == 0 {
            usage.prompt_tokens = self.prompts.iter().map(Vec::len).sum();
            usage.total_tokens = usage.prompt_tokens;
        }
        let mut answer = self.answer(choices);
        answer.usage = Some(usage);
        answer.system_fingerprint = fingerprint;
        answer
    }

    /// The text of the prompt that a choice continues, if it is wanted.
    fn prompt_text(&self, choice: usize) -> String {
        self.echo.as_ref().map(|texts| texts[choice / self.n].clone()).unwrap_or_default()
    }

    fn answer(&self, choices: Vec<CompletionChoice>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion".to_owned(),
            created: self.created_s,
            model: self.model.clone(),
            choices,
            usage: None,
            system_fingerprint: None,
        }
    }

    fn choice(
        &self,
        index: usize,
        text: String,
        logprobs: Option<CompletionLogprobs>,
        reason: Option<FinishReason>,
        tokens: &[SampledToken],
    ) -> CompletionChoice {
        let ids = || tokens.iter().map(|token| token.id).collect();
        CompletionChoice {
            index,
            text,
            logprobs,
            finish_reason: reason.map(|reason| reason.label().to_owned()),
            token_ids: self.token_ids.then(ids),
            prompt_token_ids: None,
        }
    }

    /// The log-probabilities of a prompt, if it was scored, and of more of a choice's tokens.
    fn list(
        &mut self,
        index: usize,
        scores: Option<&Scores>,
        tokens: &[SampledToken],
    ) -> Option<CompletionLogprobs> {
        if !self.logprobs {
            return None;
        }
        let mut list = CompletionLogprobs::default();
        if let Some(scores) = scores {
            let prompt = std::mem::take(&mut self.prompts[index / self.n]);
            for (place, (id, logprob)) in prompt.iter().zip(&scores.logprobs).enumerate() {
                let top = scores.top.get(place).and_then(Option::as_ref);
                self.put(&mut list, index, (*id, *logprob), top);
            }
            self.prompts[index / self.n] = prompt;
        }
        for token in tokens {
            self.put(&mut list, index, (token.id, Some(token.logprob)), Some(&token.top));
        }
        Some(list)
    }

    fn put(
        &mut self,
        list: &mut CompletionLogprobs,
        index: usize,
        (id, logprob): (u32, Option<f32>),
        top: Option<&TopLogprobs>,
    ) {
        let text = self.text(id);
        list.text_offset.push(self.told[index]);
        self.told[index] += text.chars().count();
        list.top_logprobs.push(logprob.map(|logprob| {
            let own = std::iter::once((text.clone(), logprob));
            let others = top.into_iter().flatten().map(|(id, logprob)| (self.text(*id), *logprob));
            let mut map = Map::new();
            // Two ids may have one text: the more probable stands for both.
            for (text, logprob) in others.chain(own) {
                map.entry(text).or_insert_with(|| Value::from(logprob));
            }
            map
        }));
        list.token_logprobs.push(logprob);
        list.tokens.push(text);
    }

    fn text(&self, id: u32) -> String {
        String::from_utf8_lossy(&self.renderer.token_bytes(id)).into_owned()
    }

    fn event(&self, choice: CompletionChoice) -> Bytes {
        sse::event(&self.answer(vec![choice]))
    }
}

impl Dialect for Text {
    fn first(&mut self) -> Bytes {
        let mut frames = Vec::new();
        if self.echo.is_some() || self.token_ids {
            for index in 0..self.told.len() {
                let mut choice = self.choice(index, self.prompt_text(index), None, None, &[]);
                choice.prompt_token_ids =
                    self.token_ids.then(|| self.prompts[index / self.n].clone());
                frames.extend_from_slice(&self.event(choice));
            }
        }
        frames.into()
    }

    fn more(&mut self, index: usize, parts: Vec<ReplyPart>, tokens: &[SampledToken]) -> Bytes {
        let text = parts.into_iter().filter_map(|part| match part {
            ReplyPart::Content(text) => Some(text),
            _ => None,
        });
        let text = text.collect();
        let logprobs = self.list(index, None, tokens);
        self.event(self.choice(index, text, logprobs, None, tokens))
    }

    fn alive(&mut self, index: usize) -> Bytes {
        self.event(self.choice(index, String::new(), None, None, &[]))
    }

    fn end(&mut self, index: usize, finished: &Finished) -> Bytes {
        self.tally.add(index, finished);
        let unsent = finished.unsent();
        let logprobs = self.list(index, None, unsent);
        let choice = self.choice(index, String::new(), logprobs, Some(finished.reason), unsent);
        let mut answer = self.answer(vec![choice]);
        answer.system_fingerprint = finished.fingerprint();
        sse::event(&answer)
    }

    fn last(&mut self) -> Bytes {
        let mut frames = Vec::new();
        if self.include_usage {
            let mut answer = self.answer(Vec::new());
            answer.usage = Some(self.tally.usage());
            frames.extend_from_slice(&sse::event(&answer));
        }
        frames.extend_from_slice(&sse::DONE);
        frames.into()
    }

    fn failed(&mut self, error: &ApiError) -> Bytes {
        sse::event(&error.body())
    }
}
