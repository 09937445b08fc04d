//! How a running server is changed: the admin routes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::errors::ApiError;
use super::router::{blocking, json as read_json};
use super::state::Server;
use crate::engine::EngineError;
use crate::events::emit;
use crate::events::serve::{
    AdapterLoaded, AdapterUnloaded, GenerationPaused, GenerationResumed, WeightsLive,
    WeightsRefused,
};
use crate::fault::chain;
use crate::protocol::{
    BadField, Fields, LoadAdapter, UnloadAdapter, UpdateWeights, WeightsUpdated, parse_pause,
};
use crate::rollout::Version;

/// Adapters that may be loaded at the same time.
const ADAPTERS_MAX: usize = 64;

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
    let (swapping, from) = (Arc::clone(&server), dir);
    let swapped = to_its_end(&server, async move { swap(&swapping, from, version).await }).await?;
    let answer = match swapped {
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
    if let Some(kept) = server.config.version {
        return Err((StatusCode::CONFLICT, format!("this server keeps to version {kept}")));
    }
    let internal =
        |error: ApiError| (StatusCode::INTERNAL_SERVER_ERROR, error.message().to_owned());
    let answer = {
        let _turn = server.weights.turn.lock().await;
        let loading = Arc::clone(server);
        blocking(move || {
            same_tokenizer(&dir, loading.renderer.tokenizer_sha256())?;
            let loaded = loading.weights.swap(&loading.engine, &dir, version);
            loaded.map_err(|error| format!("cannot load `{}`: {error}", dir.display()))
        })
        .await
        .map_err(internal)?
        .map_err(|message| (StatusCode::BAD_REQUEST, message))?
    };
    let outcome = answer.await;
    server.weights.forget(&server.engine, outcome.is_err().then_some(version));
    outcome.map_err(|error| {
        let status = match &error {
            EngineError::OtherModel { .. } => StatusCode::BAD_REQUEST,
            EngineError::Superseded { .. } => StatusCode::CONFLICT,
            EngineError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, chain(&error))
    })
}

/// `POST /pause_generation`: no steps are taken until `/continue_generation`.
pub(super) async fn pause(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    parse_pause(read_optional(&body)?)?;
    server.engine.pause().await?;
    emit(GenerationPaused);
    Ok(done("generation is paused"))
}

/// `POST /continue_generation`.
pub(super) async fn resume(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    Fields::of_body(read_optional(&body)?)?;
    server.engine.resume().await?;
    emit(GenerationResumed);
    Ok(done("generation goes on"))
}

/// `POST /flush_cache`: empties the prefix cache, but for what replies in flight hold.
pub(super) async fn flush_cache(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    Fields::of_body(read_optional(&body)?)?;
    let freed = server.engine.flush_prefixes().await?;
    let message = format!("{freed} tokens were freed");
    Ok(Json(json!({"success": true, "message": message, "freed_tokens": freed})))
}

/// `POST /load_lora_adapter`: serves an adapter beside the live version, and beside each one that
/// comes after it.
pub(super) async fn load_adapter(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let adapter = LoadAdapter::parse(read_json(&body)?)?;
    let loading = Arc::clone(&server);
    to_its_end(&server, async move { load(&loading, adapter).await }).await?
}

async fn load(server: &Arc<Server>, adapter: LoadAdapter) -> Result<Json<Value>, ApiError> {
    let LoadAdapter { lora_name: name, lora_path } = adapter;
    let _turn = server.weights.turn.lock().await;
    let known = server.weights.adapters();
    let problem = if known.contains_key(&name) || name == server.config.model_name {
        Some("is taken: unload it first, or choose another".to_owned())
    } else if known.len() >= ADAPTERS_MAX {
        Some(format!("would be one more than the {ADAPTERS_MAX} that may be loaded"))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Err(BadField::new("lora_name", problem).into());
    }
    let dir = PathBuf::from(lora_path);
    let (loading, at, called) = (Arc::clone(server), dir.clone(), name.clone());
    let answer =
        blocking(move || loading.weights.load_adapter(&loading.engine, &called, &at)).await?;
    let answer = answer.map_err(|error| BadField::new("lora_path", chain(&error)))?;
    answer.await?;
    emit(AdapterLoaded { name: name.clone() });
    let message = format!("adapter `{name}` is served");
    server.weights.remember_adapter(name, dir);
    Ok(Json(adapters_loaded(server, &message)))
}

/// `POST /unload_lora_adapter`: answers once the last reply of the adapter has ended.
pub(super) async fn unload_adapter(
    State(server): State<Arc<Server>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let UnloadAdapter { lora_name: name } = UnloadAdapter::parse(read_json(&body)?)?;
    let answer = {
        let _turn = server.weights.turn.lock().await;
        if !server.weights.forget_adapter(&name) {
            let (status, kind) = (StatusCode::NOT_FOUND, "invalid_request_error");
            let message = format!("there is no adapter `{name}`");
            return Err(ApiError::new(status, kind, message, Some("adapter_not_found")));
        }
        server.engine.unload_adapter(&name)
    };
    answer.await?;
    emit(AdapterUnloaded { name: name.clone() });
    Ok(Json(adapters_loaded(&server, &format!("adapter `{name}` is no longer served"))))
}

/// What changes the server is not left half done where its asker goes away.
async fn to_its_end<T: Send + 'static>(
    server: &Server,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = server.replies.spawn(work).await;
    done.map_err(|error| ApiError::internal(format!("a task broke: {error}")))
}

fn adapters_loaded(server: &Server, message: &str) -> Value {
    let adapters = server.weights.adapters();
    json!({"success": true, "message": message, "loaded_adapters": adapters})
}

fn done(message: &str) -> Json<Value> {
    Json(json!({"success": true, "message": message}))
}

/// A body that may be absent.
fn read_optional(body: &Bytes) -> Result<Value, ApiError> {
    if body.is_empty() { Ok(json!({})) } else { read_json(body) }
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
