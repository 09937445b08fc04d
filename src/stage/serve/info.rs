//! What the server says of itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::errors::ApiError;
use super::router::blocking;
use super::state::Server;
use crate::engine::{Emitted, EngineError, GenerateRequest};
use crate::protocol::{ModelCard, ModelInfo, ModelList};
use crate::rollout::Sampling;

/// A server that takes longer than this for one token is not well.
const HEALTH_MAX: Duration = Duration::from_secs(20);

/// `GET /health`: open to everybody, also where a key is needed.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /v1/models`.
pub(super) async fn models(State(server): State<Arc<Server>>) -> Json<ModelList> {
    let base = &server.config.model_name;
    let live = server.live();
    let card = |id: &str, parent: Option<&String>| ModelCard {
        id: id.to_owned(),
        object: "model".to_owned(),
        created: server.started_s,
        owned_by: "openclaw-rl".to_owned(),
        max_model_len: Some(server.context),
        weights_sha256: server.weights.sha256(live).filter(|_| parent.is_none()),
        parent: parent.cloned(),
    };
    let adapters = server.weights.adapters();
    let adapters = adapters.keys().map(|name| card(name, Some(base)));
    let data = std::iter::once(card(base, None)).chain(adapters).collect();
    Json(ModelList { object: "list".to_owned(), data })
}

/// `GET /model_info`.
pub(super) async fn model_info(State(server): State<Arc<Server>>) -> Json<ModelInfo> {
    let live = server.live();
    let path = server.weights.directory(live).unwrap_or_default();
    Json(ModelInfo {
        model_path: path.display().to_string(),
        served_model_name: server.config.model_name.clone(),
        weight_version: live.to_string(),
        weights_sha256: server.weights.sha256(live),
        fixed: server.config.version.is_some(),
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
    figures.insert("not_recorded".to_owned(), server.recorder.figures().not_recorded().into());
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
    figures.insert("recorded_here".to_owned(), server.recorder.figures().recorded().into());
    // What was refused, not kept, cancelled … by this process.
    figures.insert("events".to_owned(), json!(crate::events::counts()));
    Ok(Json(Value::Object(figures)))
}

/// `GET /server_info`: what the server was started with. The keys themselves are not known here.
pub(super) async fn server_info(
    State(server): State<Arc<Server>>,
) -> Result<Json<Value>, ApiError> {
    let config = serde_json::to_value(&server.config);
    let mut config = config.map_err(|error| ApiError::internal(error.to_string()))?;
    // Who is on the list concerns nobody else.
    config["do_not_train"] = server.config.do_not_train.len().into();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "weight_version": server.live().to_string(),
        "context_length": server.context,
        "vocab_size": server.vocab,
        "started": server.started_s,
        "adapters": server.weights.adapters().keys().collect::<Vec<_>>(),
        "paused": server.engine.stats().paused,
        "config": config,
    })))
}

/// `GET /health_generate`: well if one token could be sampled.
pub(super) async fn health_generate(
    State(server): State<Arc<Server>>,
) -> Result<Json<Value>, ApiError> {
    let unwell = |reason: String| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        ApiError::new(status, "server_error", reason, Some("unhealthy"))
    };
    if server.engine.stats().paused {
        return Err(unwell("generation is paused".to_owned()));
    }
    let prompt = server.renderer.stop_ids().first().copied().unwrap_or_default();
    let sampling = Sampling { max_tokens: 1, temperature: 0.0, ..Sampling::default() };
    let mut generation = server.engine.submit(GenerateRequest::new(vec![prompt], sampling))?;
    let sampled = async {
        loop {
            match generation.next().await {
                Some(Emitted::Done { .. }) => return Ok(()),
                Some(Emitted::Failed(error)) => return Err(error),
                Some(_) => {}
                None => return Err(EngineError::Stopped),
            }
        }
    };
    match tokio::time::timeout(HEALTH_MAX, sampled).await {
        Ok(Ok(())) => {
            Ok(Json(json!({"status": "ok", "weight_version": server.live().to_string()})))
        }
        Ok(Err(error)) => Err(unwell(crate::fault::chain(&error))),
        Err(_) => Err(unwell(format!("no token within {HEALTH_MAX:?}"))),
    }
}
