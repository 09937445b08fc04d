//! `POST /generate`: continuing and scoring token ids, in the form of SGLang. Nothing that comes
//! here is recorded as a turn.

mod dialect;

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;

use super::choices::Choices;
use super::errors::ApiError;
use super::prompt::{Scores, known_ids, score};
use super::reply::Asked;
use super::router::{blocking, json};
use super::state::Server;
use super::{draw, grammar, stream};
use crate::engine::ScoreRequest;
use crate::protocol::{BadField, GenerateAnswer, GenerateRequest, Prompt};
use crate::render::{Grammar, Reasoning};
use crate::rollout::TurnId;
use dialect::Generated;

/// Continues or scores prompts.
pub(super) async fn generate(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let reading = Arc::clone(&server);
    let (request, prompts, grammar) = blocking(move || {
        let request = GenerateRequest::parse(json(&body)?)?;
        let prompts = request.prompts.iter().map(|prompt| ids(&reading, prompt));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        check_start(&request, &prompts)?;
        let shape = request.sampling.shape.as_ref();
        let grammar = grammar::of_text(&reading, shape, Reasoning::None)?;
        Ok::<_, ApiError>((request, prompts, grammar))
    })
    .await??;
    let list = request.list || request.sampling.n > 1;
    let answers = if request.sampling.max_new_tokens == 0 {
        scores(&server, &request, &prompts).await?
    } else {
        let asked = ask(&server, &request, &prompts, (grammar.as_ref(), received))?;
        let choices = Choices::start(&server, asked)?;
        let generated = Generated::new(&request, &prompts, list, server.live());
        if request.stream {
            return Ok(stream::respond(generated, choices));
        }
        generated.whole(&choices.whole().await?)
    };
    Ok(match <[GenerateAnswer; 1]>::try_from(answers) {
        Ok([answer]) if !list => Json(answer).into_response(),
        Ok(answers) => Json(answers).into_response(),
        Err(answers) => Json(answers).into_response(),
    })
}

/// A prompt's ids; a text's without any that the tokenizer would add.
fn ids(server: &Server, prompt: &Prompt) -> Result<Vec<u32>, ApiError> {
    let (field, ids) = match prompt {
        Prompt::Ids(ids) => ("input_ids", ids.clone()),
        Prompt::Text(text) => ("text", server.renderer.encode(text)?),
    };
    if ids.is_empty() {
        return Err(BadField::new(field, "has no tokens").into());
    }
    known_ids(server, field, &ids)?;
    if ids.len() > server.context {
        return Err(ApiError::context_length(ids.len(), server.context));
    }
    Ok(ids)
}

fn check_start(request: &GenerateRequest, prompts: &[Vec<u32>]) -> Result<(), BadField> {
    let Some(start) = request.logprob_start_len.filter(|_| request.return_logprob) else {
        return Ok(());
    };
    let scores_only = request.sampling.max_new_tokens == 0;
    let problem = |ids: &Vec<u32>| match start {
        start if start > ids.len() => {
            Some(format!("lies behind the {} ids of the prompt", ids.len()))
        }
        start if start < ids.len() && !scores_only => {
            let problem = "log-probabilities of the prompt come with `max_new_tokens` 0 only, so \
                           that they and the reply cannot come from two versions";
            Some(problem.to_owned())
        }
        _ => None,
    };
    match prompts.iter().find_map(problem) {
        None => Ok(()),
        Some(problem) => Err(BadField::new("logprob_start_len", problem)),
    }
}

/// Log-probabilities of the prompts' own ids from `logprob_start_len` on, each by one version.
async fn scores(
    server: &Server,
    request: &GenerateRequest,
    prompts: &[Vec<u32>],
) -> Result<Vec<GenerateAnswer>, ApiError> {
    let adapter = draw::named_adapter(server, request.adapter.as_deref())?;
    let scored = prompts.iter().map(async |ids| {
        let first = request.logprob_start_len.filter(|_| request.return_logprob);
        let Some(first) = first else {
            return Ok(Scores::none(server.live()));
        };
        let wanted = ScoreRequest {
            ids: ids.clone(),
            start: 0,
            temperature: request.sampling.fields.temperature.unwrap_or(1.0),
            adapter: adapter.clone(),
            top_logprobs: request.top_logprobs,
        };
        score(server, wanted, first).await
    });
    let scored: Vec<Scores> = try_join_all(scored).await?;
    let answers = prompts.iter().zip(scored);
    Ok(answers.map(|(ids, scores)| dialect::scored(request, ids, scores)).collect())
}

/// The replies that a request wants: to the first prompt, then to the second …
fn ask(
    server: &Server,
    request: &GenerateRequest,
    prompts: &[Vec<u32>],
    (grammar, received): (Option<&Grammar>, Instant),
) -> Result<Vec<Asked>, ApiError> {
    let params = &request.sampling;
    let stop_ids = draw::stop_ids(server, &params.fields);
    let adapter = draw::named_adapter(server, request.adapter.as_deref())?;
    let mut asked = Vec::with_capacity(prompts.len() * params.n);
    for prompt in prompts {
        let limit = params.max_new_tokens as usize;
        let sampling = draw::sampling(server, &params.fields, prompt.len(), limit)?;
        for choice in 0..params.n {
            let mut sampling = sampling.clone();
            sampling.seed = sampling.seed.wrapping_add(choice as u64);
            asked.push(Asked {
                turn_id: TurnId::now(),
                route: "generate",
                received,
                prompt: prompt.clone(),
                sampling,
                stops: params.fields.stop.clone(),
                stop_ids: Arc::clone(&stop_ids),
                adapter: adapter.clone(),
                top_logprobs: request.top_logprobs,
                constraint: grammar.map(Grammar::constraint),
                reading: None,
                conversation: None,
            });
        }
    }
    Ok(asked)
}
