//! How a running server is changed: the admin routes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::errors::{ApiError, chain};
use super::router::{blocking, json as read_json};
use super::state::Server;
use crate::engine::EngineError;
use crate::events::emit;
use crate::events::serve::{WeightsLive, WeightsRefused};
use crate::protocol::{BadField, UpdateWeights, WeightsUpdated};
use crate::rollout::Version;

/// `POST /update_weights_from_disk`: answers once the version is live. On failure the version
/// that was live still is.
pub(super) async fn update_weights(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = UpdateWeights::parse(read_json(&body)?)?;
    let dir = PathBuf::from(&request.model_path);
    let version = version(&request, &dir)?;
    let begun = Instant::now();
    let answer = match swap(&server, dir, version).await {
        Ok(()) => {
            emit(WeightsLive { version: version.0, took_ms: begun.elapsed().as_millis() });
            let message = format!("weights version {version} is live");
            let weight_version = version.to_string();
            Json(WeightsUpdated { success: true, message, weight_version }).into_response()
        }
        Err((status, message)) => {
            emit(WeightsRefused { version: version.0, reason: message.clone() });
            let live = server.live().to_string();
            let kind =
                if status.is_client_error() { "invalid_request_error" } else { "server_error" };
            let error = ApiError::new(status, kind, message.clone(), Some("weights_refused"));
            let body = json!({
                "success": false,
                "message": message,
                "weight_version": live,
                "error": error.body().error,
            });
            (status, Json(body)).into_response()
        }
    };
    Ok(answer)
}

/// The number of the version: as said, or from the directory's name.
fn version(request: &UpdateWeights, dir: &Path) -> Result<Version, BadField> {
    let (text, param) = match &request.weight_version {
        Some(text) => (text.as_str(), "weight_version"),
        None => {
            let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (name.strip_prefix('v').unwrap_or_default(), "weight_version")
        }
    };
    let number = text.trim().parse().map_err(|_| {
        let problem = "expected a version number (or none, with a directory named v<number>)";
        BadField::new(param, problem)
    });
    number.map(Version)
}

async fn swap(
    server: &Arc<Server>,
    dir: PathBuf,
    version: Version,
) -> Result<(), (StatusCode, String)> {
    let internal =
        |error: ApiError| (StatusCode::INTERNAL_SERVER_ERROR, error.message().to_owned());
    let answer = {
        let _turn = server.weights.turn.lock().await;
        let loading = Arc::clone(server);
        blocking(move || {
            same_tokenizer(&dir, loading.renderer.tokenizer_sha256())?;
            let loaded = loading.weights.swap(&dir, version);
            loaded.map_err(|error| format!("cannot load `{}`: {error}", dir.display()))
        })
        .await
        .map_err(internal)?
        .map_err(|message| (StatusCode::BAD_REQUEST, message))?
    };
    answer.await.map_err(|error| {
        let status = match &error {
            EngineError::OtherModel { .. } => StatusCode::BAD_REQUEST,
            EngineError::Superseded { .. } => StatusCode::CONFLICT,
            EngineError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, chain(&error))
    })
}

/// Weights with another tokenizer are another model; a directory with weights only is none.
fn same_tokenizer(dir: &Path, served: &str) -> Result<(), String> {
    let path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let digest = Sha256::digest(bytes);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if digest == served {
        Ok(())
    } else {
        Err(format!("`{}` is not the tokenizer of the model being served", path.display()))
    }
}
