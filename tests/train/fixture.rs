//! A home with a tiny model, and turns with feedback in it.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use openclaw_rl::config::{Home, Method, TrainConfig};
use openclaw_rl::model::{Decoder, score};
use openclaw_rl::rollout::{
    ClosedBy, FinishReason, Hint, HintStatus, Likeliest, Rollout, Sampling, Score, ScoreStatus,
    Step, Turn, TurnId, TurnKind, TurnStatus, Version, VersionSpan,
};
use openclaw_rl::stage::train::{TrainError, TrainSummary, run};
use openclaw_rl::store::{Record, Store};
use openclaw_rl::weights::Registry;
use tokio_util::sync::CancellationToken;

pub const TEMPERATURE: f32 = 0.7;

/// A home with the golden model as its base.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub home: Home,
    pub store: Store,
    pub decoder: Decoder,
    pub turns: u128,
}

/// The feedback of a turn: its score, and how far the hint lifts each response token.
pub struct Feedback<'a> {
    pub score: i8,
    pub gap: Option<&'a [f32]>,
}

pub const GOOD: Feedback<'static> = Feedback { score: 1, gap: None };
pub const BAD: Feedback<'static> = Feedback { score: -1, gap: None };

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
        std::fs::create_dir(&base).unwrap();
        for name in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(golden.join(name), base.join(name)).unwrap();
        }
        std::fs::write(base.join("tokenizer.json"), "{}").unwrap();
        let home = Home::new(dir.path().join("home"));
        let store = Store::open(&home).unwrap();
        let decoder = Decoder::load(&base, &Device::flex()).unwrap();
        Self { dir, home, store, decoder, turns: 0 }
    }

    pub fn config(&self, method: Method, batch_size: usize) -> TrainConfig {
        TrainConfig {
            model: Some(self.dir.path().join("base")),
            method,
            batch_size,
            poll_ms: 10,
            learning_rate: 1e-3,
            ..TrainConfig::default()
        }
    }

    pub fn put<R: Record>(&self, row: R) {
        self.store.writer::<R>("test").unwrap().append(&[row]).unwrap();
    }

    /// A recorded turn of four response tokens, with the log-probabilities that the base gives.
    pub fn turn(&mut self) -> Turn {
        self.turns += 1;
        let word = |i: usize| ((self.turns as usize * 37 + i * 11) % 180 + 5) as u32;
        let prompt_ids: Vec<u32> = (0..6).map(word).collect();
        let response_ids: Vec<u32> = (6..10).map(word).collect();
        let tokens = [prompt_ids.clone(), response_ids.clone()].concat();
        let response_logprobs = score(&self.decoder, &tokens, 6, TEMPERATURE).unwrap();
        Turn {
            turn_id: TurnId(self.turns),
            received_at_us: 0,
            finished_at_us: 0,
            user: String::new(),
            policy: "default".to_owned(),
            model: "tiny".to_owned(),
            session_keys: "{}".to_owned(),
            messages: "[]".to_owned(),
            tools: String::new(),
            reply: "{}".to_owned(),
            prompt_ids,
            response_ids,
            response_logprobs,
            drawn_logprobs: Vec::new(),
            forced: Vec::new(),
            constraint: None,
            version_spans: vec![VersionSpan { start: 0, version: Version(0) }],
            sampling: Sampling {
                temperature: TEMPERATURE,
                top_p: 1.0,
                top_k: 0,
                seed: 1,
                max_tokens: 9,
                ..Sampling::default()
            },
            finish_reason: FinishReason::Stop,
            status: TurnStatus::Answered,
        }
    }

    /// Records a turn with its rollout and its feedback.
    pub fn learn_from(&self, turn: &Turn, feedback: &Feedback<'_>) {
        let turn_id = turn.turn_id;
        let student_logprobs = turn.response_logprobs.clone();
        let gap = feedback.gap.map(|gap| gap.iter().zip(&student_logprobs));
        let teacher_logprobs: Option<Vec<f32>> =
            gap.map(|pairs| pairs.map(|(g, p)| g + p).collect());
        self.put(turn.clone());
        self.put(rollout(turn_id));
        self.put(Score {
            turn_id,
            revision: 0,
            judge: "rules@1".to_owned(),
            status: ScoreStatus::Judged,
            votes: Vec::new(),
            score: feedback.score,
            reasoning: String::new(),
            judged_at_us: 1,
        });
        let accepted = teacher_logprobs.is_some();
        self.put(Hint {
            turn_id,
            revision: 0,
            judge: "rules@1".to_owned(),
            status: if accepted { HintStatus::Accepted } else { HintStatus::NoHint },
            votes: Vec::new(),
            hint: String::new(),
            scored_by: accepted.then_some(Version(0)),
            student_logprobs: if accepted { student_logprobs } else { Vec::new() },
            teacher_logprobs: teacher_logprobs.unwrap_or_default(),
            top_k: 0,
            teacher_top: Likeliest::default(),
            student_top: Likeliest::default(),
            candidates: Vec::new(),
            detail: String::new(),
            hinted_at_us: 1,
        });
    }

    pub fn turns(&mut self, count: usize, feedback: &Feedback<'_>) -> Vec<Turn> {
        let turns: Vec<Turn> = (0..count).map(|_| self.turn()).collect();
        turns.iter().for_each(|turn| self.learn_from(turn, feedback));
        turns
    }

    pub async fn train(&self, config: &TrainConfig) -> Result<TrainSummary, TrainError> {
        run(config, &self.home, CancellationToken::new()).await
    }

    pub fn registry(&self) -> Registry {
        Registry::open(&self.home).unwrap()
    }

    pub fn steps(&self) -> Vec<Step> {
        let mut rows: Vec<Step> = self.store.read_all().unwrap();
        rows.sort_by_key(|row| row.finished_at_us);
        rows
    }

    pub fn weights(&self, version: u64) -> Vec<u8> {
        self.file(version, "model.safetensors")
    }

    pub fn file(&self, version: u64, name: &str) -> Vec<u8> {
        std::fs::read(self.registry().dir(Version(version)).join(name)).unwrap()
    }

    /// How much the log-probability of each response token rose from the base to a version.
    pub fn rise(&self, turn: &Turn, version: u64) -> Vec<f32> {
        let dir = self.registry().dir(Version(version));
        let decoder = Decoder::load(&dir, &Device::flex()).unwrap();
        let tokens = [turn.prompt_ids.clone(), turn.response_ids.clone()].concat();
        let after = score(&decoder, &tokens, turn.prompt_ids.len(), TEMPERATURE).unwrap();
        after.iter().zip(&turn.response_logprobs).map(|(after, before)| after - before).collect()
    }

    /// The reasons that stand in the steps table.
    pub fn rejected(&self) -> BTreeMap<u128, &'static str> {
        let rows = self.steps();
        let turns = rows.iter().flat_map(|row| &row.rejected);
        turns.map(|turn| (turn.turn_id.0, turn.reason.label())).collect()
    }
}

pub fn rollout(turn_id: TurnId) -> Rollout {
    Rollout {
        turn_id,
        revision: 0,
        session_id: "s".to_owned(),
        generation: "0".to_owned(),
        turn_index: 0,
        kind: TurnKind::Main,
        placed_by: "header".to_owned(),
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        next_state: Some("[]".to_owned()),
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(0),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}

pub fn trained(step: &Step) -> Vec<u128> {
    step.trained.iter().map(|turn| turn.turn_id.0).collect()
}

pub fn metric(step: &Step, name: &str) -> f64 {
    step.metrics.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
}
