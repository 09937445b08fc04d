//! `POST /generate`: continuing and scoring token ids, in the form of SGLang. Nothing that comes
//! here is recorded as a turn.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use rand::RngExt;

use super::errors::ApiError;
use super::router::{blocking, json};
use super::state::Server;
use super::stop::Stops;
use crate::engine::{Emitted, GenerateRequest as EngineRequest, SampledToken, ScoreRequest};
use crate::protocol::{
    BadField, FinishInfo, GenerateAnswer, GenerateRequest, MetaInfo, Prompt, TokenScore,
};
use crate::rollout::{FinishReason, Sampling, TurnId, Version};

/// Continues or scores a prompt.
pub(super) async fn generate(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<GenerateAnswer>, ApiError> {
    let reading = Arc::clone(&server);
    let (request, ids) = blocking(move || {
        let request = GenerateRequest::parse(json(&body)?)?;
        let ids = match &request.prompt {
            Prompt::Ids(ids) => ids.clone(),
            Prompt::Text(text) => reading.renderer.encode(text)?,
        };
        Ok::<_, ApiError>((request, ids))
    })
    .await??;
    if ids.len() > server.context {
        return Err(ApiError::context_length(ids.len(), server.context));
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= server.vocab) {
        let problem = format!("token id {id} is not below {}", server.vocab);
        return Err(BadField::new("input_ids", problem).into());
    }
    let answer = match request.sampling.max_new_tokens {
        0 => score(&server, &request, ids).await?,
        _ => continued(&server, &request, ids).await?,
    };
    Ok(Json(answer))
}

/// Log-probabilities of the prompt's own ids from `logprob_start_len` on, by one version.
async fn score(
    server: &Server,
    request: &GenerateRequest,
    ids: Vec<u32>,
) -> Result<GenerateAnswer, ApiError> {
    let count = ids.len();
    let wanted = request.logprob_start_len.filter(|_| request.return_logprob);
    let Some(first) = wanted.filter(|first| *first < count) else {
        if wanted.is_some_and(|first| first > count) {
            let problem = format!("lies behind the {count} ids of the prompt");
            return Err(BadField::new("logprob_start_len", problem).into());
        }
        let scores = request.return_logprob.then(Vec::new);
        return Ok(answer(server.live(), count, scores, Output::default()));
    };
    let temperature = request.sampling.temperature;
    let start = first.max(1);
    let (logprobs, version) = if start < count {
        let scored =
            ScoreRequest { ids: ids.clone(), start, temperature, ..ScoreRequest::default() };
        let scored = server.engine.score(scored).await?;
        (scored.logprobs, scored.version)
    } else {
        (Vec::new(), server.live())
    };
    let nothing_before = (first == 0).then_some(None);
    let logprobs = nothing_before.into_iter().chain(logprobs.into_iter().map(Some));
    let scores = logprobs.zip(&ids[first..]).map(|(lp, id)| TokenScore(lp, *id, None));
    Ok(answer(version, count, Some(scores.collect()), Output::default()))
}

/// What was sampled.
#[derive(Default)]
struct Output {
    text: String,
    ids: Vec<u32>,
    /// If they are wanted.
    scores: Option<Vec<TokenScore>>,
    reason: Option<FinishReason>,
}

async fn continued(
    server: &Server,
    request: &GenerateRequest,
    ids: Vec<u32>,
) -> Result<GenerateAnswer, ApiError> {
    let count = ids.len();
    if request.return_logprob && request.logprob_start_len.is_some_and(|start| start < count) {
        let problem = "log-probabilities of the prompt come with `max_new_tokens` 0 only, so that \
                       they and the reply cannot come from two versions";
        return Err(BadField::new("logprob_start_len", problem).into());
    }
    let room = server.context - count;
    if room == 0 {
        return Err(ApiError::context_length(count, server.context));
    }
    let params = &request.sampling;
    let mut stop_ids = params.stop_token_ids.clone();
    if !params.ignore_eos {
        stop_ids.extend(server.renderer.stop_ids());
    }
    let sampling = Sampling {
        temperature: params.temperature,
        top_p: params.top_p,
        top_k: params.top_k,
        seed: params.seed.unwrap_or_else(|| rand::rng().random()),
        max_tokens: params.max_new_tokens.min(u32::try_from(room).unwrap_or(u32::MAX)),
        ..Sampling::default()
    };
    let stops = stop_ids.clone().into();
    let engine_request = EngineRequest { stop_ids: stops, ..EngineRequest::new(ids, sampling) };
    let mut generation = server.engine.submit(engine_request)?;
    let mut detokenizer = server.renderer.detokenizer();
    let mut stops = Stops::new(params.stop.clone());
    let mut output = Output { scores: request.return_logprob.then(Vec::new), ..Output::default() };
    let mut by = server.live();
    loop {
        match generation.next().await {
            Some(Emitted::Begun { .. }) => {}
            Some(Emitted::Token(SampledToken { id, logprob, version, .. })) => {
                by = version;
                output.ids.push(id);
                if let Some(scores) = &mut output.scores {
                    scores.push(TokenScore(Some(logprob), id, None));
                }
                let text = if stop_ids.contains(&id) { None } else { detokenizer.push(id) };
                let (text, stopped) = stops.push(&text.unwrap_or_default());
                output.text.push_str(&text);
                if stopped {
                    output.reason = Some(FinishReason::Stop);
                    return Ok(answer(by, count, None, output));
                }
            }
            Some(Emitted::Done { reason }) => {
                let (text, _) = stops.push(&detokenizer.finish().unwrap_or_default());
                output.text.push_str(&text);
                output.text.push_str(&stops.finish());
                output.reason = Some(reason);
                return Ok(answer(by, count, None, output));
            }
            Some(Emitted::Failed(error)) => return Err(error.into()),
            None => return Err(ApiError::internal("the reply has no end")),
        }
    }
}

fn answer(
    version: Version,
    prompt_tokens: usize,
    scores: Option<Vec<TokenScore>>,
    output: Output,
) -> GenerateAnswer {
    GenerateAnswer {
        text: output.text,
        meta_info: MetaInfo {
            id: TurnId::now().to_string(),
            finish_reason: output.reason.map(|reason| FinishInfo { kind: reason.label().into() }),
            prompt_tokens,
            completion_tokens: output.ids.len(),
            weight_version: version.to_string(),
            input_token_logprobs: scores,
            output_token_logprobs: output.scores,
        },
        output_ids: output.ids,
    }
}
