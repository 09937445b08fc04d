//! `POST /v1/messages`: a conversation in the form of Anthropic. It is read into the form of
//! OpenAI, answered as one, recorded as one, and told as Anthropic tells it.

mod dialect;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::errors::ApiError;
use super::router::{blocking, json as read_json};
use super::state::Server;
use super::{chat, stream};
use crate::protocol::{MessageError, MessageErrorDetail, parse_count_tokens, parse_messages};
use dialect::Messages;

/// Answers a conversation.
pub(super) async fn messages(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let begun = chat::begin(&server, headers, body, "messages", parse_messages).await?;
    let stream = begun.request.stream;
    let (dialect, choices) = Messages::new(begun);
    if stream {
        return Ok(stream::respond(dialect, choices));
    }
    let reply = choices.whole().await?.pop();
    let reply = reply.ok_or_else(|| ApiError::internal("the reply was lost"))?;
    Ok(Json(dialect.whole(&reply)).into_response())
}

/// How many tokens a conversation is.
pub(super) async fn count_tokens(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let counted = blocking(move || {
        let request = parse_count_tokens(read_json(&body)?)?;
        Ok::<_, ApiError>(chat::prompt(&server, &request)?.len())
    });
    Ok(Json(json!({"input_tokens": counted.await??})))
}

/// Errors of these routes in the form of Anthropic, wherever they come from.
pub(super) async fn errors(request: Request, next: Next) -> Response {
    let theirs = request.uri().path().starts_with("/v1/messages");
    let response = next.run(request).await;
    if !theirs {
        return response;
    }
    match response.extensions().get::<ApiError>().map(error) {
        None => response,
        Some(error) => {
            let (mut parts, _) = response.into_parts();
            parts.headers.remove(axum::http::header::CONTENT_LENGTH);
            parts.headers.remove(axum::http::header::CONTENT_TYPE);
            let mut answer = Json(error).into_response();
            *answer.status_mut() = parts.status;
            answer.headers_mut().extend(parts.headers);
            *answer.extensions_mut() = parts.extensions;
            answer
        }
    }
}

fn error(error: &ApiError) -> MessageError {
    MessageError { kind: "error".to_owned(), error: detail(error) }
}

/// What went wrong, in the families that Anthropic has.
fn detail(error: &ApiError) -> MessageErrorDetail {
    let kind = match error.status().as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    MessageErrorDetail { kind: kind.to_owned(), message: error.message().to_owned() }
}
