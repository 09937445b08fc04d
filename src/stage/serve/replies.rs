//! What is measured of replies: times in seconds, lengths in tokens, by the names of vLLM.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::served::{Outcome, Served};
use crate::rollout::FinishReason;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    finished_reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
}

/// Counters and histograms of replies.
pub(super) struct Replies {
    finished: Family<ByReason, Counter>,
    malformed_calls: Family<ByRoute, Counter>,
    queue_time: Histogram,
    prefill_time: Histogram,
    time_to_first_token: Histogram,
    inter_token_latency: Histogram,
    time_per_output_token: Histogram,
    decode_time: Histogram,
    e2e_latency: Histogram,
    prompt_tokens: Histogram,
    generation_tokens: Histogram,
    max_tokens: Histogram,
}

impl Replies {
    /// None yet.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let finished = Family::default();
        let help = "Replies by how they ended: as the API says it, cancelled, or failed";
        registry.register("request_success", help, finished.clone());
        let malformed_calls = Family::default();
        let help = "Tool calls that began and were none, or were cut off";
        registry.register("malformed_tool_calls", help, malformed_calls.clone());
        let mut histogram = |name: &str, help: &str, first: f64, buckets: u16| {
            let histogram = Histogram::new(exponential_buckets(first, 2.0, buckets));
            registry.register(name, help, histogram.clone());
            histogram
        };
        // 1 ms to 262 s.
        let mut seconds = |name: &str, help: &str| histogram(name, help, 0.001, 19);
        let queue_time =
            seconds("request_queue_time_seconds", "From asking the engine to getting a place");
        let prefill_time = seconds(
            "request_prefill_time_seconds",
            "From getting a place until the prompt was read",
        );
        let time_to_first_token =
            seconds("time_to_first_token_seconds", "From the request to its first token");
        let inter_token_latency =
            seconds("inter_token_latency_seconds", "Between two tokens of a reply");
        let time_per_output_token = seconds(
            "request_time_per_output_token_seconds",
            "Mean time between the tokens of a reply",
        );
        let decode_time =
            seconds("request_decode_time_seconds", "From the first token of a reply to its last");
        let e2e_latency =
            seconds("e2e_request_latency_seconds", "From the request to the end of its reply");
        let mut tokens = |name: &str, help: &str| histogram(name, help, 1.0, 18);
        Self {
            finished,
            malformed_calls,
            queue_time,
            prefill_time,
            time_to_first_token,
            inter_token_latency,
            time_per_output_token,
            decode_time,
            e2e_latency,
            prompt_tokens: tokens("request_prompt_tokens", "Tokens of a prompt"),
            generation_tokens: tokens("request_generation_tokens", "Tokens of a reply"),
            max_tokens: tokens("request_params_max_tokens", "Most tokens that a reply may have"),
        }
    }

    /// Takes the measure of a reply that has ended.
    pub(super) fn observe(&self, served: &Served) {
        let reason = ByReason { finished_reason: served.outcome.label() };
        self.finished.get_or_create(&reason).inc();
        if served.malformed_calls > 0 {
            let route = ByRoute { route: served.route };
            self.malformed_calls.get_or_create(&route).inc_by(served.malformed_calls as u64);
        }
        self.prompt_tokens.observe(served.prompt_tokens as f64);
        self.generation_tokens.observe(served.tokens() as f64);
        self.max_tokens.observe(f64::from(served.max_tokens));
        let seen = |histogram: &Histogram, time: Option<Duration>| {
            if let Some(time) = time {
                histogram.observe(time.as_secs_f64());
            }
        };
        seen(&self.queue_time, served.queued);
        let queued = served.queued.unwrap_or_default();
        seen(&self.prefill_time, served.prefilled.map(|read| read.saturating_sub(queued)));
        seen(&self.time_to_first_token, served.first_token);
        for gap in &served.gaps {
            seen(&self.inter_token_latency, Some(*gap));
        }
        let given_up =
            matches!(served.outcome, Outcome::Failed | Outcome::Finished(FinishReason::Cancelled));
        if given_up || served.first_token.is_none() {
            return;
        }
        let decoding: Duration = served.gaps.iter().sum();
        seen(&self.decode_time, Some(decoding));
        seen(&self.e2e_latency, Some(served.whole));
        let gaps = u32::try_from(served.gaps.len()).unwrap_or(u32::MAX);
        seen(&self.time_per_output_token, decoding.checked_div(gaps));
    }
}
