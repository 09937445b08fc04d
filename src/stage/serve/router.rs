//! Which request goes where, who may ask, and how much.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::BytesMut;
use futures::StreamExt;
use serde_json::Value;

use super::errors::ApiError;
use super::state::Server;
use super::{admin, chat, generate};

/// A client may take this long to send its body.
const BODY_MAX: Duration = Duration::from_secs(120);
/// Bytes that are read and dropped of a body that is too large.
const EXCESS_MAX: usize = 64 << 20;

/// The routes of one server.
pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/models", get(admin::models))
        .route("/generate", post(generate::generate))
        .route("/model_info", get(admin::model_info))
        .route("/update_weights_from_disk", post(admin::update_weights))
        .route("/status", get(admin::status))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), read_body))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), with_key))
        .route("/health", get(admin::health))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        // `read_body` has a limit of its own, whose error is in our shape.
        .layer(DefaultBodyLimit::disable())
        .with_state(server)
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no `{method} {}`", uri.path());
    let kind = "invalid_request_error";
    ApiError::new(StatusCode::NOT_FOUND, kind, message, Some("unknown_url"))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("`{}` does not take {method}", uri.path());
    let kind = "invalid_request_error";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    ApiError::new(status, kind, message, Some("method_not_allowed"))
}

/// Lets a request pass that has the server's key, if the server has one.
async fn with_key(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let allowed = server.key.as_ref().is_none_or(|key| {
        chat::bearer(request.headers()).is_some_and(|presented| key.is(presented))
    });
    if allowed {
        return next.run(request).await;
    }
    let message = "a valid API key is needed: `Authorization: Bearer <key>`";
    let kind = "authentication_error";
    ApiError::new(StatusCode::UNAUTHORIZED, kind, message, Some("invalid_api_key")).into_response()
}

/// Reads the whole body, within its limits of size and time.
async fn read_body(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let limit = server.config.body_bytes_max;
    let (parts, body) = request.into_parts();
    let kind = "invalid_request_error";
    let error = match tokio::time::timeout(BODY_MAX, collect(body, limit)).await {
        Ok(Ok(Some(bytes))) => {
            return next.run(Request::from_parts(parts, Body::from(bytes))).await;
        }
        Ok(Ok(None)) => {
            let message = format!("the request's body is larger than {limit} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            ApiError::new(status, kind, message, Some("body_too_large"))
        }
        Ok(Err(error)) => {
            let message = format!("the request's body could not be read: {error}");
            ApiError::bad_request(message, Some("body_unreadable"))
        }
        Err(_) => {
            let message = format!("the request's body took longer than {BODY_MAX:?}");
            let status = StatusCode::REQUEST_TIMEOUT;
            ApiError::new(status, kind, message, Some("body_too_slow"))
        }
    };
    error.into_response()
}

/// The body, or `None` if it is larger than `limit` bytes. What is too much is read and dropped
/// within reason, since a client that still writes would not see the answer.
async fn collect(body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut frames = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut read = 0_usize;
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        read = read.saturating_add(frame.len());
        if read <= limit {
            bytes.extend_from_slice(&frame);
        } else if read > limit.saturating_add(EXCESS_MAX) {
            break;
        }
    }
    Ok((read <= limit).then(|| bytes.freeze()))
}

/// A body as JSON.
pub(super) fn json(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the request's body is not valid JSON: {error}");
        ApiError::bad_request(message, Some("invalid_json"))
    })
}

/// Does something that takes time on a thread that may be kept busy.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::internal(format!("a task broke: {error}")))
}
