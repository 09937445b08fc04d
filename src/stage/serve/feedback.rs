//! `POST /v1/feedback` and `GET /v1/turns/{id}`: what users say of replies, and what became of
//! those.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::asker::Asker;
use super::errors::ApiError;
use super::router::{blocking, json as read_json};
use super::state::Server;
use crate::events::now_us;
use crate::protocol::{BadField, FeedbackRequest, FeedbackTaken};
use crate::rollout::{Feedback, Rated, TurnId, TurnStatus};

/// Takes a verdict on a reply. It is durable before the answer.
pub(super) async fn feedback(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<FeedbackTaken>, ApiError> {
    let FeedbackRequest { turn_id, rating, text, session } =
        FeedbackRequest::parse(read_json(&body)?)?;
    let asker = Asker::of(&session, &headers, &server.opted_out);
    if !server.config.records() {
        return Err(conflict("this server records nothing", "not_recording"));
    }
    if asker.opted_out.is_some() {
        let message = "nothing was recorded: who asks is not to be learned from, or this request";
        return Err(conflict(message, "do_not_train"));
    }
    let turn = find(&server, turn_id).await?;
    rateable(&turn, turn_id)?;
    let rated = Rated { rating, text, given_at_us: now_us() };
    let recording = Arc::clone(&server);
    // Owned by the server, so that it counts also when its client goes away.
    let written = server.replies.spawn(async move {
        recording.recorder.rate(Feedback { turn_id, user: asker.user, rated }).await
    });
    let written = written.await.map_err(|error| ApiError::internal(error.to_string()))?;
    written.map_err(|reason| {
        let message = format!("the feedback could not be written: {reason}");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::new(status, "server_error", message, Some("not_recorded"))
    })?;
    Ok(Json(FeedbackTaken {
        turn_id: turn_id.to_string(),
        rating: rating.label().to_owned(),
        recorded: true,
        state: turn["state"].as_str().unwrap_or_default().to_owned(),
        reason: turn["reason"].as_str().map(str::to_owned),
    }))
}

/// What became of a turn, by its id or its reply's. No content.
pub(super) async fn turn(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let turn_id = TurnId::of_reply(&id)
        .map_err(|_| BadField::new("id", "expected a turn's or a reply's id"))?;
    let mut answer = json!({"turn_id": turn_id.to_string()});
    if let (Some(answer), Value::Object(turn)) =
        (answer.as_object_mut(), find(&server, turn_id).await?)
    {
        answer.extend(turn);
    }
    Ok(Json(answer))
}

/// What is known of a turn.
async fn find(server: &Arc<Server>, turn: TurnId) -> Result<Value, ApiError> {
    let lookup = Arc::clone(&server.turns);
    blocking(move || lookup(turn)).await?.ok_or_else(|| {
        let message = format!("no turn `{turn}` is recorded");
        let status = StatusCode::NOT_FOUND;
        ApiError::new(status, "invalid_request_error", message, Some("turn_not_found"))
    })
}

/// Refuses turns that hold no reply of the model's.
fn rateable(turn: &Value, turn_id: TurnId) -> Result<(), ApiError> {
    match turn["status"].as_str().and_then(TurnStatus::from_label) {
        Some(TurnStatus::DoNotTrain) => {
            let message =
                format!("turn `{turn_id}` is not to be learned from: nothing of it is kept");
            Err(conflict(message, "do_not_train"))
        }
        Some(TurnStatus::Command) => {
            let message = format!("turn `{turn_id}` was answered by the server, not by the model");
            Err(conflict(message, "no_reply"))
        }
        Some(TurnStatus::Answered) | None => Ok(()),
    }
}

fn conflict(message: impl Into<String>, code: &'static str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "invalid_request_error", message, Some(code))
}
