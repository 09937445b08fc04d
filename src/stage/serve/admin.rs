//! What the server says of itself, and how its weights change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::errors::{ApiError, chain};
use super::router::{blocking, json as read_json};
use super::state::Server;
use crate::engine::EngineError;
use crate::events::emit;
use crate::events::serve::{WeightsLive, WeightsRefused};
use crate::protocol::{BadField, ModelCard, ModelInfo, ModelList, UpdateWeights, WeightsUpdated};
use crate::rollout::Version;

/// `GET /health`: open to everybody, also where a key is needed.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /v1/models`.
pub(super) async fn models(State(server): State<Arc<Server>>) -> Json<ModelList> {
    let card = ModelCard {
        id: server.config.model_name.clone(),
        object: "model".to_owned(),
        created: server.started_s,
        owned_by: "openclaw-rl".to_owned(),
        max_model_len: Some(server.context),
    };
    Json(ModelList { object: "list".to_owned(), data: vec![card] })
}

/// `GET /model_info`.
pub(super) async fn model_info(State(server): State<Arc<Server>>) -> Json<ModelInfo> {
    let live = server.live();
    let path = server.weights.directory(live).unwrap_or_default();
    Json(ModelInfo {
        model_path: path.display().to_string(),
        served_model_name: server.config.model_name.clone(),
        weight_version: live.to_string(),
        is_generation: true,
        context_length: server.context,
        vocab_size: server.vocab,
        tokenizer_sha256: server.renderer.tokenizer_sha256().to_owned(),
    })
}

/// `GET /status`: the figures of the home, with those of this server.
pub(super) async fn status(State(server): State<Arc<Server>>) -> Result<Json<Value>, ApiError> {
    let status = Arc::clone(&server.status);
    let mut figures = match blocking(move || status()).await? {
        Value::Object(figures) => figures,
        Value::Null => Map::new(),
        other => Map::from_iter([("home".to_owned(), other)]),
    };
    let stats = server.engine.stats();
    figures.insert("live_version".to_owned(), server.live().0.into());
    figures.insert("not_recorded".to_owned(), server.recorder.not_recorded().into());
    let engine = json!({
        "running": stats.running,
        "waiting": stats.waiting,
        "scoring": stats.scoring,
        "live_version": stats.live.map(|version| version.0),
        "resident_versions": stats.resident.iter().map(|version| version.0).collect::<Vec<_>>(),
        "pending_version": stats.pending.map(|version| version.0),
        "cache_tokens": stats.cache_tokens,
        "steps": stats.steps,
        "prompt_tokens": stats.prompt_tokens,
        "generated_tokens": stats.generated_tokens,
        "scored_tokens": stats.scored_tokens,
        "completed": stats.completed,
        "cancelled": stats.cancelled,
        "failed": stats.failed,
        "swaps": stats.swaps,
    });
    figures.insert("engine".to_owned(), engine);
    figures.insert("recorded_here".to_owned(), server.recorder.recorded().into());
    // What was refused, not kept, cancelled … by this process.
    figures.insert("events".to_owned(), json!(crate::events::counts()));
    Ok(Json(Value::Object(figures)))
}

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
