//! Which request goes where.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};
use serde_json::Value;

use super::doors::{self, Access, Door, Guard};
use super::errors::ApiError;
use super::state::Server;
use super::{admin, chat, completions, feedback, generate, info, messages, metrics, tokenize};

/// A route: what it is asked with, and who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
}

/// What answers a route.
type Handler = MethodRouter<Arc<Server>>;

/// Every route with its handler.
fn table() -> Vec<(Access, &'static str, &'static str, Handler)> {
    use Access::{Admin, Key, Open};
    vec![
        (Key, "POST", "/v1/chat/completions", post(chat::completions)),
        (Key, "POST", "/v1/completions", post(completions::completions)),
        (Key, "POST", "/v1/messages", post(messages::messages)),
        (Key, "POST", "/v1/messages/count_tokens", post(messages::count_tokens)),
        (Key, "POST", "/v1/feedback", post(feedback::feedback)),
        (Key, "GET", "/v1/turns/{id}", get(feedback::turn)),
        (Key, "POST", "/v1/tokenize", post(tokenize::tokenize)),
        (Key, "POST", "/v1/detokenize", post(tokenize::detokenize)),
        (Key, "POST", "/tokenize", post(tokenize::tokenize)),
        (Key, "POST", "/detokenize", post(tokenize::detokenize)),
        (Key, "GET", "/v1/models", get(info::models)),
        (Key, "POST", "/generate", post(generate::generate)),
        (Key, "GET", "/model_info", get(info::model_info)),
        (Key, "GET", "/get_model_info", get(info::model_info)),
        (Key, "GET", "/server_info", get(info::server_info)),
        (Key, "GET", "/status", get(info::status)),
        (Key, "GET", "/metrics", get(metrics::show)),
        (Open, "GET", "/health", get(info::health)),
        (Key, "GET", "/health_generate", get(info::health_generate)),
        (Admin, "POST", "/update_weights_from_disk", post(admin::update_weights)),
        (Admin, "POST", "/pause_generation", post(admin::pause)),
        (Admin, "POST", "/continue_generation", post(admin::resume)),
        (Admin, "POST", "/flush_cache", post(admin::flush_cache)),
        (Admin, "POST", "/load_lora_adapter", post(admin::load_adapter)),
        (Admin, "POST", "/unload_lora_adapter", post(admin::unload_adapter)),
    ]
}

/// Every route that a server has.
pub fn routes() -> Vec<Route> {
    let routes = table().into_iter();
    routes.map(|(access, method, path, _)| Route { method, path, access }).collect()
}

/// What one server answers to who comes by `door`.
pub(super) fn router(server: &Arc<Server>, door: Door) -> Router {
    let mut router = Router::new();
    for (access, _, path, handler) in table() {
        if server.doors.leads_to(door, access) {
            let guard = Guard { server: Arc::clone(server), door, access, route: path };
            let handler = handler.layer(middleware::from_fn_with_state(guard, doors::guard));
            router = router.route(path, handler);
        }
    }
    router
        .fallback(doors::unknown)
        .method_not_allowed_fallback(doors::wrong_method)
        .layer(middleware::from_fn(messages::errors))
        .layer(middleware::from_fn_with_state(Arc::clone(server), metrics::count))
        // `doors` has a limit of its own, whose error is in our shape.
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(server))
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
