//! `POST /tokenize` and `POST /detokenize` (also below `/v1`), in the form of vLLM.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;

use super::errors::ApiError;
use super::prompt::known_ids;
use super::router::{blocking, json};
use super::state::Server;
use crate::protocol::{DetokenizeRequest, Detokenized, Source, TokenizeRequest, Tokenized};
use crate::render::Told;

/// The ids of a text or of a conversation.
pub(super) async fn tokenize(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Tokenized>, ApiError> {
    let answer = blocking(move || {
        let request = TokenizeRequest::parse(json(&body)?)?;
        let renderer = &server.renderer;
        let tokens = match request.source {
            Source::Text { text, add_special_tokens: true } => renderer.encode_whole(&text)?,
            Source::Text { text, add_special_tokens: false } => renderer.encode(&text)?,
            Source::Conversation { messages, tools, add_generation_prompt, template } => {
                server.doors.check_messages(&messages)?;
                let told = Told { begin_reply: add_generation_prompt, template: &template };
                renderer.prompt_told(&messages, tools.as_ref(), told)?
            }
        };
        let text = |id: &u32| String::from_utf8_lossy(&renderer.token_bytes(*id)).into_owned();
        Ok::<_, ApiError>(Tokenized {
            count: tokens.len(),
            max_model_len: server.context,
            token_strs: request.return_token_strs.then(|| tokens.iter().map(text).collect()),
            tokens,
        })
    });
    Ok(Json(answer.await??))
}

/// The text of ids.
pub(super) async fn detokenize(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Detokenized>, ApiError> {
    let answer = blocking(move || {
        let request = DetokenizeRequest::parse(json(&body)?)?;
        known_ids(&server, "tokens", &request.tokens)?;
        Ok::<_, ApiError>(Detokenized { prompt: server.renderer.decode_whole(&request.tokens)? })
    });
    Ok(Json(answer.await??))
}
