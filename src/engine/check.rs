//! What can be said of options and requests without looking at the engine.

use super::request::{EngineError, EngineOptions, GenerateRequest, TOP_LOGPROBS_MAX};
use crate::rollout::Sampling;

/// Penalties on what was said already are within this of 0, as OpenAI has it.
const PENALTY_MAX: f32 = 2.0;
/// A repetition penalty is at most this, and at least its inverse.
const REPETITION_MAX: f32 = 10.0;
/// A bias is within this of 0: it allows or forbids, whatever the model says.
const BIAS_MAX: f32 = 100.0;

/// Whether an engine can run with these, its blocks being of `block` tokens.
pub(super) fn check_options(options: &EngineOptions, block: usize) -> Result<(), EngineError> {
    let limits = [
        ("running_max", options.running_max),
        ("scoring_max", options.scoring_max),
        ("waiting_max", options.waiting_max),
        ("prefill_chunk", options.prefill_chunk),
        ("cache_tokens_max", options.cache_tokens_max),
    ];
    if let Some((field, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
        return Err(EngineError::Invalid { field, reason: "0".to_owned() });
    }
    if options.cache_tokens_max < block {
        let reason = format!("{}, expected a block of {block} or more", options.cache_tokens_max);
        return Err(EngineError::Invalid { field: "cache_tokens_max", reason });
    }
    Ok(())
}

/// One that follows a grammar needs an id by which it can end.
pub(super) fn check_constraint(request: &GenerateRequest) -> Result<(), EngineError> {
    if request.constraint.is_some() && request.stop_ids.is_empty() {
        let reason = "none, and a reply that follows a grammar ends with one".to_owned();
        return Err(EngineError::Invalid { field: "stop_ids", reason });
    }
    Ok(())
}

/// Whether one can draw like this from a vocabulary of `vocab`.
pub(super) fn check_sampling(sampling: &Sampling, vocab: usize) -> Result<(), EngineError> {
    check_temperature(sampling.temperature)?;
    let Sampling { top_p, min_p, max_tokens, min_tokens, .. } = sampling;
    let (presence, frequency) = (sampling.presence_penalty, sampling.frequency_penalty);
    let repetition = sampling.repetition_penalty;
    let penalties = -PENALTY_MAX..=PENALTY_MAX;
    let repetitions = REPETITION_MAX.recip()..=REPETITION_MAX;
    let checks = [
        ("top_p", *top_p > 0.0 && *top_p <= 1.0, top_p.to_string(), "above 0, at most 1"),
        ("min_p", (0.0..=1.0).contains(min_p), min_p.to_string(), "0 to 1"),
        (
            "repetition_penalty",
            repetitions.contains(&repetition),
            repetition.to_string(),
            "0.1 to 10 (1 changes nothing)",
        ),
        ("presence_penalty", penalties.contains(&presence), presence.to_string(), "-2 to 2"),
        ("frequency_penalty", penalties.contains(&frequency), frequency.to_string(), "-2 to 2"),
        ("max_tokens", *max_tokens > 0, max_tokens.to_string(), "1 or more"),
        ("min_tokens", min_tokens <= max_tokens, min_tokens.to_string(), "at most `max_tokens`"),
    ];
    if let Some((field, _, got, expected)) = checks.into_iter().find(|(_, fits, ..)| !fits) {
        return Err(EngineError::Invalid { field, reason: format!("{got}, expected {expected}") });
    }
    let fits =
        |(id, bias): &&(u32, f32)| (*id as usize) < vocab && (-BIAS_MAX..=BIAS_MAX).contains(bias);
    match sampling.logit_bias.iter().find(|entry| !fits(entry)) {
        None => Ok(()),
        Some((id, bias)) => {
            let reason = format!(
                "{bias} for token {id}, expected -100 to 100 for one of the {vocab} of the model"
            );
            Err(EngineError::Invalid { field: "logit_bias", reason })
        }
    }
}

pub(super) fn check_top(count: usize) -> Result<(), EngineError> {
    if count <= TOP_LOGPROBS_MAX {
        return Ok(());
    }
    let reason = format!("{count}, expected at most {TOP_LOGPROBS_MAX}");
    Err(EngineError::Invalid { field: "top_logprobs", reason })
}

pub(super) fn check_temperature(temperature: f32) -> Result<(), EngineError> {
    if temperature.is_finite() && temperature >= 0.0 {
        return Ok(());
    }
    let reason = format!("{temperature}, expected 0 or more");
    Err(EngineError::Invalid { field: "temperature", reason })
}
