//! `POST /v1/completions`: text or ids continued as they are. Nothing that comes here is recorded
//! as a turn.

mod dialect;

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;

use super::choices::Choices;
use super::errors::ApiError;
use super::prompt::{Scores, known_ids, score};
use super::reply::{Asked, Finished};
use super::router::{blocking, json};
use super::state::Server;
use super::{draw, grammar, stream};
use crate::engine::ScoreRequest;
use crate::protocol::{CompletionRequest, Prompt};
use crate::render::{Grammar, Reasoning};
use crate::rollout::TurnId;
use dialect::Text;

/// How often prompt and reply are computed again because weights changed between them.
const ATTEMPTS_MAX: usize = 3;

/// Continues prompts.
pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let reading = Arc::clone(&server);
    let (request, prompts, grammar) = blocking(move || {
        let request = CompletionRequest::parse(json(&body)?)?;
        let prompts = request.prompts.iter().map(|prompt| ids(&reading, prompt));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        let grammar = grammar::of_text(&reading, request.shape.as_ref(), Reasoning::None)?;
        Ok::<_, ApiError>((request, prompts, grammar))
    })
    .await??;
    if request.stream {
        let asked = ask(&server, &request, &prompts, (grammar.as_ref(), received))?;
        let choices = Choices::start(&server, asked)?;
        return Ok(stream::respond(Text::new(&server, &request, prompts), choices));
    }
    let (scores, replies) =
        whole(&server, &request, &prompts, (grammar.as_ref(), received)).await?;
    let answer = Text::new(&server, &request, prompts).whole(&scores, replies);
    Ok(Json(answer).into_response())
}

/// A prompt's ids; a text's with those that the tokenizer adds to a text of its own.
fn ids(server: &Server, prompt: &Prompt) -> Result<Vec<u32>, ApiError> {
    let ids = match prompt {
        Prompt::Text(text) => server.renderer.encode_whole(text)?,
        Prompt::Ids(ids) => ids.clone(),
    };
    known_ids(server, "prompt", &ids)?;
    if ids.len() > server.context {
        return Err(ApiError::context_length(ids.len(), server.context));
    }
    Ok(ids)
}

/// The replies that a request wants: to the first prompt, then to the second …
fn ask(
    server: &Server,
    request: &CompletionRequest,
    prompts: &[Vec<u32>],
    (grammar, received): (Option<&Grammar>, Instant),
) -> Result<Vec<Asked>, ApiError> {
    let fields = &request.sampling;
    let stop_ids = draw::stop_ids(server, fields);
    let mut asked = Vec::with_capacity(prompts.len() * request.n);
    for prompt in prompts {
        let sampling = draw::sampling(server, fields, prompt.len(), request.max_tokens as usize)?;
        for choice in 0..request.n {
            let mut sampling = sampling.clone();
            sampling.seed = sampling.seed.wrapping_add(choice as u64);
            asked.push(Asked {
                turn_id: TurnId::now(),
                route: "completions",
                received,
                prompt: prompt.clone(),
                sampling,
                stops: fields.stop.clone(),
                stop_ids: Arc::clone(&stop_ids),
                adapter: draw::adapter(server, request.model.as_deref()),
                top_logprobs: request.logprobs.unwrap_or_default(),
                constraint: grammar.map(Grammar::constraint),
                reading: None,
                conversation: None,
            });
        }
    }
    Ok(asked)
}

/// Prompts' scores, where they are wanted, and replies, all of one prompt by one version.
async fn whole(
    server: &Arc<Server>,
    request: &CompletionRequest,
    prompts: &[Vec<u32>],
    (grammar, received): (Option<&Grammar>, Instant),
) -> Result<(Vec<Scores>, Vec<Finished>), ApiError> {
    for _ in 0..ATTEMPTS_MAX {
        let scores = scores(server, request, prompts).await?;
        if request.max_tokens == 0 {
            return Ok((scores, Vec::new()));
        }
        let asked = ask(server, request, prompts, (grammar, received))?;
        let replies = Choices::start(server, asked)?.whole().await?;
        let version = |index: usize| scores.get(index / request.n).map(|scores| scores.version);
        let by_one = replies.iter().enumerate().all(|(index, reply)| {
            version(index).is_none_or(|version| reply.version.is_none_or(|by| by == version))
        });
        if by_one {
            return Ok((scores, replies));
        }
    }
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "server_error",
        "the weights changed between the prompt's log-probabilities and the reply, again and again",
        Some("weights_changed"),
    ))
}

async fn scores(
    server: &Server,
    request: &CompletionRequest,
    prompts: &[Vec<u32>],
) -> Result<Vec<Scores>, ApiError> {
    let Some(top_logprobs) = request.logprobs.filter(|_| request.echo) else {
        return Ok(Vec::new());
    };
    let temperature = request.sampling.temperature.unwrap_or(server.sampling.temperature);
    let adapter = draw::adapter(server, request.model.as_deref());
    let scored = prompts.iter().map(|ids| {
        let (ids, adapter) = (ids.clone(), adapter.clone());
        let request =
            ScoreRequest { ids, temperature, adapter, top_logprobs, ..ScoreRequest::default() };
        score(server, request, 0)
    });
    try_join_all(scored).await
}
