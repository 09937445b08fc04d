//! `GET /metrics`: how the server does, as figures. No message content, and no label whose values
//! a client chooses.
//!
//! Names and meanings follow vLLM where it has the same thing, with the prefix `openclaw_`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::errors::{ApiError, ErrorCode};
use super::listen::Held;
use super::record::Figures;
use super::replies::Replies;
use super::served::Served;
use super::state::Server;
use super::training::Training;
use crate::engine::{Engine, EngineStats};

/// The form that Prometheus reads.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    code: &'static str,
}

/// What one server counts and measures.
pub(super) struct Metrics {
    registry: Registry,
    http_requests: Family<ByRoute, Counter>,
    http_requests_open: Gauge,
    request_errors: Family<ByCode, Counter>,
    replies: Replies,
}

impl Metrics {
    /// Nothing measured yet.
    pub(super) fn new(
        engine: &Engine,
        turns: Arc<Figures>,
        cache_tokens_max: usize,
        training: Option<Training>,
    ) -> Self {
        let mut registry = Registry::with_prefix("openclaw");
        let http_requests = Family::default();
        let help = "Requests answered, by route and HTTP status";
        registry.register("http_requests", help, http_requests.clone());
        let http_requests_open = Gauge::default();
        let help = "Requests whose answers are being made or sent";
        registry.register("http_requests_open", help, http_requests_open.clone());
        let request_errors = Family::default();
        registry.register("request_errors", "Requests refused, by code", request_errors.clone());
        let replies = Replies::register(&mut registry);
        let sampled = Sampled { engine: engine.clone(), turns, cache_tokens_max };
        registry.register_collector(Box::new(sampled));
        if let Some(training) = training {
            registry.register_collector(Box::new(training));
        }
        Self { registry, http_requests, http_requests_open, request_errors, replies }
    }

    /// Takes the measure of a reply that has ended.
    pub(super) fn served(&self, served: &Served) {
        self.replies.observe(served);
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Figures that others keep, read when they are asked for.
struct Sampled {
    engine: Engine,
    turns: Arc<Figures>,
    cache_tokens_max: usize,
}

impl std::fmt::Debug for Sampled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sampled").finish_non_exhaustive()
    }
}

impl Sampled {
    fn gauges(&self, stats: &EngineStats) -> Vec<(&'static str, &'static str, f64)> {
        let usage = stats.cache_tokens as f64 / self.cache_tokens_max as f64;
        let flag = |holds: bool| f64::from(u8::from(holds));
        vec![
            ("num_requests_running", "Replies being made", stats.running as f64),
            ("num_requests_waiting", "Requests that wait for a place", stats.waiting as f64),
            ("num_scorings_running", "Prompts being scored", stats.scoring as f64),
            ("kv_cache_usage_perc", "Share of the key and value memory in use (0 to 1)", usage),
            (
                "prefix_cache_tokens",
                "Tokens in the prefix cache that no running sequence holds",
                stats.prefix_tokens as f64,
            ),
            (
                "weights_version",
                "The live weights version",
                stats.live.map_or(0, |version| version.0) as f64,
            ),
            ("weights_resident", "Weights versions held", stats.resident.len() as f64),
            ("adapters_loaded", "Adapters that can be asked for", stats.adapters.len() as f64),
            ("generation_paused", "1 while no steps are taken", flag(stats.paused)),
            (
                "weights_swap_seconds",
                "What the last swap took, from being asked for to being live",
                stats.swap_time.map_or(0.0, |time| time.as_secs_f64()),
            ),
            (
                "weights_pending",
                "Weights versions that wait to go live",
                flag(stats.pending.is_some()),
            ),
        ]
    }

    fn counters(&self, stats: &EngineStats) -> Vec<(&'static str, &'static str, u64)> {
        vec![
            ("engine_steps", "Steps computed", stats.steps),
            ("prompt_tokens", "Prompt tokens computed for replies", stats.prompt_tokens),
            ("generation_tokens", "Tokens sampled", stats.generated_tokens),
            ("scored_tokens", "Tokens computed for scoring", stats.scored_tokens),
            (
                "prefix_cache_queries",
                "Tokens of prompts and scorings that the prefix cache was asked for",
                stats.prompt_tokens + stats.scored_tokens + stats.cached_tokens,
            ),
            ("prefix_cache_hits", "Tokens that the prefix cache held", stats.cached_tokens),
            (
                "prefix_cache_evicted",
                "Tokens that the prefix cache gave up because their room was wanted",
                stats.evicted_tokens,
            ),
            (
                "weights_warmed_tokens",
                "Tokens computed for versions before they went live",
                stats.warmed_tokens,
            ),
            ("requests_completed", "Replies and scorings completed", stats.completed),
            ("requests_cancelled", "Requests whose client went away", stats.cancelled),
            ("requests_failed", "Requests that the engine failed", stats.failed),
            ("weights_swaps", "Versions that went live after the first", stats.swaps),
            ("turns_not_recorded", "Turns that could not be", self.turns.not_recorded()),
        ]
    }
}

/// A counter that has a label.
struct Labelled {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    /// A count for each value of the label.
    counts: Vec<(&'static str, u64)>,
}

impl Sampled {
    fn labelled(&self) -> [Labelled; 3] {
        [
            Labelled {
                name: "turns_recorded",
                help: "Turns written to the store, by who answered and whether content was kept",
                label: "status",
                counts: self.turns.turns(),
            },
            Labelled {
                name: "feedback_recorded",
                help: "Verdicts of `POST /v1/feedback` written to the store",
                label: "rating",
                counts: self.turns.feedback(),
            },
            Labelled {
                name: "events",
                help: "Named events of this process (docs/ARCHITECTURE.md)",
                label: "event",
                counts: crate::events::counts().into_iter().collect(),
            },
        ]
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let stats = self.engine.stats();
        for (name, help, value) in self.gauges(&stats) {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(metric)?;
        }
        for (name, help, value) in self.counters(&stats) {
            let counter = ConstCounter::new(value);
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode(metric)?;
        }
        for Labelled { name, help, label, counts } in self.labelled() {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in counts {
                let labels = [(label, value)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// `GET /metrics`.
pub(super) async fn show(State(server): State<Arc<Server>>) -> Result<Response, ApiError> {
    let text = server.metrics.text();
    let text = text.map_err(|_| ApiError::internal("the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// The route that gave an answer, beside the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub(super) &'static str);

/// Counts a request and how it was answered.
pub(super) async fn count(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let open = Open::new(&server.metrics.http_requests_open);
    let answer = next.run(request).await;
    let status = answer.status().as_u16();
    let route = answer.extensions().get().map_or("unknown", |At(route)| *route);
    server.metrics.http_requests.get_or_create(&ByRoute { route, status }).inc();
    if let Some(ErrorCode(code)) = answer.extensions().get() {
        server.metrics.request_errors.get_or_create(&ByCode { code }).inc();
    }
    answer.map(|body| axum::body::Body::new(Held::new(body, open)))
}

/// One more, until it is dropped.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
