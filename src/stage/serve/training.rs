//! How the home's trainer does, for `GET /metrics`: read from its heartbeat when it is asked for.

use std::path::PathBuf;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::events::{heartbeat, now_us};

/// A figure of the heartbeat, and what it is. Those of a step are of the last one.
const FIGURES: &[(&str, &str)] = &[
    ("steps", "Steps of the trainer's process"),
    ("trained", "Turns that the trainer's process trained on"),
    ("ready", "Samples that wait for a batch"),
    ("batch_size", "Samples of a batch"),
    ("version", "The version that the next step builds on"),
    ("loss", "Loss"),
    ("mean_reward", "Mean score of the batch"),
    ("mean_advantage", "Mean advantage of the trained tokens"),
    ("ppo_kl", "How far the policy is from the one that sampled, in nats"),
    ("kl_reference", "How far the policy is from the reference, in nats"),
    ("entropy", "Entropy of the policy, in nats"),
    ("clip_fraction", "Share of tokens whose ratio was clipped"),
    ("advantage_capped", "Share of tokens whose advantage was cut off"),
    ("ratio_capped", "Share of tokens whose ratio was cut off"),
    ("grad_norm", "L2 norm of the gradient before it was clipped"),
    ("learning_rate", "Step size"),
    ("staleness_mean", "Versions between the head and what sampled the batch, mean"),
    ("staleness_max", "Versions between the head and what sampled the batch, most"),
    ("sessions", "Distinct sessions of the batch"),
    ("train_rollout_logprob_abs_diff_mean", "Trainer against recorded log-probability, mean"),
    ("train_rollout_logprob_abs_diff_max", "Trainer against recorded log-probability, most"),
    ("weights_changed", "Share of weights that the step changed"),
    ("tokens_per_s", "Tokens trained on a second"),
    ("memory_bytes", "Memory of the trainer's process"),
    ("waiting", "Turns of the home that may yet be trained on"),
    ("seconds", "How long the step took"),
];

/// The trainer of the server's home.
#[derive(Debug)]
pub(super) struct Training {
    /// Its heartbeat.
    pub(super) path: PathBuf,
}

impl Collector for Training {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(beat) = heartbeat::read(&self.path) else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, value: f64| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)
        };
        let age = (now_us() - beat.updated_at_us).max(0) as f64 / 1e6;
        gauge("train_heartbeat_age_seconds", "Time since the trainer last said something", age)?;
        let stopped = f64::from(u8::from(beat.doing.starts_with("stopped")));
        gauge("train_stopped", "1 if training stopped after steps that were skipped", stopped)?;
        for (name, help) in FIGURES {
            if let Some(value) = beat.figures.get(*name) {
                gauge(&format!("train_{name}"), help, *value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(path: PathBuf) -> String {
        let mut registry = Registry::with_prefix("openclaw");
        registry.register_collector(Box::new(Training { path }));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_trainers_figures_are_shown_and_nothing_where_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.json");
        assert_eq!(text(path.clone()), "# EOF\n");
        let mut pulse = heartbeat::Pulse::new(path.clone(), "train");
        pulse.beat("stopped: 3 steps", &[("loss", 0.5), ("unheard_of", 1.0)]);
        let text = text(path);
        assert!(text.contains("\nopenclaw_train_loss 0.5\n"), "{text}");
        assert!(text.contains("\nopenclaw_train_stopped 1.0\n"), "{text}");
        assert!(!text.contains("unheard_of") && !text.contains("train_entropy"), "{text}");
    }
}
