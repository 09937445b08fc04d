//! Continued and scored ids as SGLang tells them: each event of a stream is the answer so far.

use axum::body::Bytes;
use serde_json::Value;

use crate::engine::{SampledToken, TopLogprobs};
use crate::protocol::{
    FinishInfo, GenerateAnswer, GenerateRequest, MetaInfo, TokenScore, TopScores, sse,
};
use crate::render::ReplyPart;
use crate::rollout::{FinishReason, TurnId, Version};
use crate::stage::serve::errors::ApiError;
use crate::stage::serve::prompt::Scores;
use crate::stage::serve::reply::Finished;
use crate::stage::serve::stream::Dialect;

/// Answers that are being told.
pub(super) struct Generated {
    answers: Vec<GenerateAnswer>,
    logprobs: bool,
    top: bool,
}

impl Generated {
    /// Answers to prompts by the version that is live, unless tokens say otherwise.
    pub(super) fn new(
        request: &GenerateRequest,
        prompts: &[Vec<u32>],
        list: bool,
        live: Version,
    ) -> Self {
        let (logprobs, top) = wanted(request);
        let n = request.sampling.n;
        let answer = |index: usize| GenerateAnswer {
            text: String::new(),
            output_ids: Vec::new(),
            meta_info: MetaInfo {
                id: TurnId::now().to_string(),
                prompt_tokens: prompts[index / n].len(),
                weight_version: live.to_string(),
                output_token_logprobs: logprobs.then(Vec::new),
                output_top_logprobs: top.then(Vec::new),
                ..MetaInfo::default()
            },
            index: (list && request.stream).then_some(index),
        };
        Self { answers: (0..prompts.len() * n).map(answer).collect(), logprobs, top }
    }

    /// The answers once they are complete.
    pub(super) fn whole(mut self, replies: &[Finished]) -> Vec<GenerateAnswer> {
        for (index, finished) in replies.iter().enumerate() {
            self.answers[index].text = finished.message.content.clone().unwrap_or_default();
            self.take(index, &finished.tokens);
            self.finish(index, finished);
        }
        self.answers
    }

    fn take(&mut self, index: usize, tokens: &[SampledToken]) {
        let GenerateAnswer { output_ids, meta_info, .. } = &mut self.answers[index];
        output_ids.extend(tokens.iter().map(|token| token.id));
        meta_info.completion_tokens = output_ids.len();
        if let Some(token) = tokens.last() {
            meta_info.weight_version = token.version.to_string();
        }
        if self.logprobs {
            let scores = tokens.iter().map(|token| TokenScore(Some(token.logprob), token.id, None));
            meta_info.output_token_logprobs.get_or_insert_default().extend(scores);
        }
        if self.top {
            let scores = tokens.iter().map(|token| Some(top_scores(&token.top)));
            meta_info.output_top_logprobs.get_or_insert_default().extend(scores);
        }
    }

    fn finish(&mut self, index: usize, finished: &Finished) {
        let meta_info = &mut self.answers[index].meta_info;
        meta_info.cached_tokens = finished.cached_tokens;
        let matched = || match &finished.stopped_by {
            Some(text) => Some(Value::from(text.as_str())),
            None => finished.tokens.last().map(|token| Value::from(token.id)),
        };
        meta_info.finish_reason = Some(FinishInfo {
            kind: finished.reason.label().to_owned(),
            matched: (finished.reason == FinishReason::Stop).then(matched).flatten(),
            length: (finished.reason == FinishReason::Length).then_some(finished.tokens.len()),
        });
    }
}

/// Whether log-probabilities are wanted, and the most probable tokens as well.
fn wanted(request: &GenerateRequest) -> (bool, bool) {
    (request.return_logprob, request.return_logprob && request.top_logprobs > 0)
}

fn top_scores(top: &TopLogprobs) -> Vec<TokenScore> {
    top.iter().map(|(id, logprob)| TokenScore(Some(*logprob), *id, None)).collect()
}

/// The answer to a prompt that was only to be scored.
pub(super) fn scored(request: &GenerateRequest, ids: &[u32], scores: Scores) -> GenerateAnswer {
    let (logprobs, top) = wanted(request);
    let first = ids.len() - scores.logprobs.len();
    let token_scores = scores.logprobs.iter().zip(&ids[first..]);
    let token_scores = token_scores.map(|(logprob, id)| TokenScore(*logprob, *id, None)).collect();
    let tops: TopScores = scores.top.iter().map(|top| top.as_ref().map(top_scores)).collect();
    GenerateAnswer {
        text: String::new(),
        output_ids: Vec::new(),
        meta_info: MetaInfo {
            id: TurnId::now().to_string(),
            prompt_tokens: ids.len(),
            weight_version: scores.version.to_string(),
            input_token_logprobs: logprobs.then_some(token_scores),
            input_top_logprobs: top.then_some(tops),
            ..MetaInfo::default()
        },
        index: None,
    }
}

impl Dialect for Generated {
    fn first(&mut self) -> Bytes {
        Bytes::new()
    }

    fn more(&mut self, index: usize, parts: Vec<ReplyPart>, tokens: &[SampledToken]) -> Bytes {
        for part in parts {
            if let ReplyPart::Content(text) = part {
                self.answers[index].text.push_str(&text);
            }
        }
        self.take(index, tokens);
        sse::event(&self.answers[index])
    }

    fn alive(&mut self, index: usize) -> Bytes {
        sse::event(&self.answers[index])
    }

    fn end(&mut self, index: usize, finished: &Finished) -> Bytes {
        self.take(index, finished.unsent());
        self.finish(index, finished);
        sse::event(&self.answers[index])
    }

    fn last(&mut self) -> Bytes {
        sse::DONE
    }

    fn failed(&mut self, error: &ApiError) -> Bytes {
        sse::event(&error.body())
    }
}
