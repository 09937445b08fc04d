//! Training on a file of chat examples.

use openclaw_rl::config::{Home, Method, TrainConfig};
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::Version;
use openclaw_rl::stage::train::{TrainError, TrainSummary, run};
use openclaw_rl::weights::Registry;
use tokio_util::sync::CancellationToken;

struct Course {
    _dir: tempfile::TempDir,
    home: Home,
    config: TrainConfig,
}

impl Course {
    /// A home of the embedded model, and twelve examples.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("chats.jsonl");
        let chat = |n: usize| {
            serde_json::json!({"messages": [
                {"role": "user", "content": format!("What comes after {n}?")},
                {"role": "assistant", "content": format!("{} of course.", n + 1)},
            ]})
        };
        let text: String = (0..12).map(|n| format!("{}\n", chat(n))).collect();
        std::fs::write(&input, text).unwrap();
        let config = TrainConfig {
            method: Method::Sft,
            input: Some(input),
            batch_size: 3,
            learning_rate: 1e-3,
            steps_per_version: 2,
            seed: 3,
            ..TrainConfig::default()
        };
        Self { home: Home::new(dir.path().join("home")), _dir: dir, config }
    }

    async fn train(&self, steps_max: Option<u64>) -> Result<TrainSummary, TrainError> {
        let config = TrainConfig { steps_max, ..self.config.clone() };
        run(&config, &self.home, CancellationToken::new()).await
    }

    fn file(&self, version: u64, name: &str) -> Vec<u8> {
        let registry = Registry::open(&self.home).unwrap();
        std::fs::read(registry.dir(Version(version)).join(name)).unwrap()
    }

    fn losses(&self) -> Vec<f64> {
        let text = std::fs::read_to_string(self.home.root().join("metrics.jsonl")).unwrap();
        let loss = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["loss"].as_f64().unwrap()
        };
        text.lines().map(loss).collect()
    }
}

#[tokio::test]
async fn a_model_learns_its_examples_and_a_restart_changes_no_bit() {
    let (whole, parts) = (Course::new(), Course::new());
    let whole = Course { config: TrainConfig { epochs: 2, ..whole.config.clone() }, ..whole };
    let parts = Course { config: TrainConfig { epochs: 2, ..parts.config.clone() }, ..parts };
    let summary = whole.train(None).await.unwrap();
    assert_eq!((summary.steps, summary.version, summary.trained), (8, 4, 24));
    let losses = whole.losses();
    assert_eq!(losses.len(), 8);
    assert!(losses[7] < losses[0] * 0.9, "{losses:?}");
    for _ in 0..4 {
        assert_eq!(parts.train(Some(2)).await.unwrap().steps, 2);
    }
    assert_eq!(parts.train(None).await.unwrap().steps, 0, "it has gone through all of it");
    for name in ["model.safetensors", "optimizer.safetensors", "trainer.json"] {
        assert_eq!(whole.file(4, name), parts.file(4, name), "{name}");
    }
    assert_eq!(losses, parts.losses());
}

#[tokio::test]
async fn a_line_that_is_no_example_is_named() {
    let course = Course::new();
    std::fs::write(course.config.input.as_ref().unwrap(), "{\"messages\": []}\n").unwrap();
    let error = course.train(None).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("train_examples", 2));
    assert!(error.to_string().contains("line 1"), "{error}");
}
