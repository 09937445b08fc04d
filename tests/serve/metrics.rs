//! What the server shows of itself in figures.

use std::collections::BTreeMap;

use openclaw_rl::engine::fake::{Fake, Habit};
use serde_json::{Value, json};

use super::harness::{Running, ask, says, start, with};

/// Every sample by its name and labels. Also holds the text to the format's rules.
async fn scrape(server: &Running) -> BTreeMap<String, f64> {
    let response = server.get("/metrics").await;
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("openclaw_"), "{line}");
        let (name, value) = line.rsplit_once(' ').unwrap();
        let known = samples.insert(name.to_owned(), value.parse().unwrap());
        assert!(known.is_none(), "{name} comes twice");
    }
    samples
}

#[tokio::test]
async fn a_reply_is_counted_and_measured() {
    let server = start(says("one two three")).await;
    server.plain(&ask("a secret question")).await;
    let (events, done) = server.events(&ask("count")).await;
    assert!(done && !events.is_empty());
    server.plain(&with(ask("count"), json!({"max_tokens": 1}))).await;
    server.plain(&with(ask("count"), json!({"stop": "two"}))).await;
    let samples = scrape(&server).await;
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(value("openclaw_request_success_total{finished_reason=\"stop\"}"), 3.0);
    assert_eq!(value("openclaw_request_success_total{finished_reason=\"length\"}"), 1.0);
    for histogram in [
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_prompt_tokens",
        "request_generation_tokens",
        "request_params_max_tokens",
    ] {
        assert_eq!(value(&format!("openclaw_{histogram}_count")), 4.0, "{histogram}");
    }
    let tokens = value("openclaw_request_generation_tokens_sum");
    assert_eq!(value("openclaw_inter_token_latency_seconds_count"), tokens - 4.0);
    // The engine may be a step ahead of a stop string.
    assert!(value("openclaw_generation_tokens_total") >= tokens);
    assert!(value("openclaw_prompt_tokens_total") > 0.0);
    assert_eq!(value("openclaw_num_requests_running"), 0.0);
    assert_eq!(value("openclaw_turns_recorded_total{status=\"answered\"}"), 4.0);
    assert_eq!(value("openclaw_turns_recorded_total{status=\"command\"}"), 0.0);
    assert_eq!(value("openclaw_weights_version"), 0.0);
    let asked = "openclaw_http_requests_total{route=\"/v1/chat/completions\",status=\"200\"}";
    assert_eq!(value(asked), 4.0);
    assert_eq!(value("openclaw_http_requests_open"), 1.0, "this one");
    assert!(samples.keys().any(|name| name.contains("event=\"turn_recorded\"")));
    assert!(!samples.keys().any(|name| name.contains("secret")), "no content");
}

#[tokio::test]
async fn what_goes_wrong_is_counted() {
    let server = start(Fake::new(4096, 2048, Habit::Fail)).await;
    assert_eq!(server.chat(&ask("hi")).await.status(), 500);
    assert_eq!(server.chat(&json!({})).await.status(), 400);
    assert_eq!(server.get("/no/such/<route>").await.status(), 404);
    let unhealthy = server.get("/health_generate").await;
    assert_eq!(unhealthy.status(), 503);
    assert_eq!(unhealthy.json::<Value>().await.unwrap()["error"]["code"], "unhealthy");
    let samples = scrape(&server).await;
    for name in [
        "openclaw_request_success_total{finished_reason=\"failed\"}",
        "openclaw_request_errors_total{code=\"internal_error\"}",
        "openclaw_request_errors_total{code=\"invalid_value\"}",
        "openclaw_request_errors_total{code=\"unknown_url\"}",
        "openclaw_http_requests_total{route=\"unknown\",status=\"404\"}",
        "openclaw_http_requests_total{route=\"/health_generate\",status=\"503\"}",
    ] {
        assert_eq!(samples.get(name), Some(&1.0), "{name}: {samples:?}");
    }
}

#[tokio::test]
async fn health_that_generates_and_information() {
    let server = start(says("x")).await;
    let health = server.json("/health_generate").await;
    assert_eq!(health, json!({"status": "ok", "weight_version": "0"}));
    assert!(server.turns().is_empty(), "it is no turn");
    let info = server.json("/server_info").await;
    assert_eq!(info["config"]["running_max"], 16);
    assert_eq!(info["weight_version"], "0");
    assert_eq!(server.json("/get_model_info").await, server.json("/model_info").await);
}
