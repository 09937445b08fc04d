//! What a request leaves open, settled: how its reply is drawn, and what ends it.

use std::sync::Arc;

use rand::RngExt;

use super::errors::ApiError;
use super::state::Server;
use crate::protocol::{BadField, SamplingFields};
use crate::rollout::Sampling;

/// How a reply to a prompt of so many tokens is drawn, of `max_tokens` at most.
pub(super) fn sampling(
    server: &Server,
    fields: &SamplingFields,
    prompt_tokens: usize,
    max_tokens: usize,
) -> Result<Sampling, ApiError> {
    let room = server.context.saturating_sub(prompt_tokens);
    if room == 0 {
        return Err(ApiError::context_length(prompt_tokens, server.context));
    }
    let left_open = &server.sampling;
    let max_tokens = u32::try_from(max_tokens.min(room)).unwrap_or(u32::MAX);
    Ok(Sampling {
        temperature: fields.temperature.unwrap_or(left_open.temperature),
        top_p: fields.top_p.unwrap_or(left_open.top_p),
        top_k: fields.top_k.unwrap_or(left_open.top_k),
        min_p: fields.min_p.unwrap_or(left_open.min_p),
        repetition_penalty: fields.repetition_penalty.unwrap_or(left_open.repetition_penalty),
        presence_penalty: fields.presence_penalty.unwrap_or(0.0),
        frequency_penalty: fields.frequency_penalty.unwrap_or(0.0),
        logit_bias: fields.logit_bias.clone(),
        seed: fields.seed.unwrap_or_else(|| rand::rng().random()),
        max_tokens,
        // What does not fit is not asked for.
        min_tokens: fields.min_tokens.min(max_tokens),
    })
}

/// The adapter that a model's name stands for; every other name stands for the base.
pub(super) fn adapter(server: &Server, model: Option<&str>) -> Option<Arc<str>> {
    let model = model?;
    server.engine.stats().adapters.into_iter().find(|name| **name == *model)
}

/// The adapter of this name, which has to be there.
pub(super) fn named_adapter(
    server: &Server,
    name: Option<&str>,
) -> Result<Option<Arc<str>>, ApiError> {
    match (name, adapter(server, name)) {
        (Some(name), None) => {
            let problem = format!("there is no adapter `{name}`");
            Err(BadField::new("lora_path", problem).into())
        }
        (_, adapter) => Ok(adapter),
    }
}

/// The ids that end a reply: the model's own, unless they are to be ignored, and the request's.
pub(super) fn stop_ids(server: &Server, fields: &SamplingFields) -> Arc<[u32]> {
    let own = if fields.ignore_eos { &[][..] } else { server.renderer.stop_ids() };
    own.iter().chain(&fields.stop_token_ids).copied().collect()
}
