//! The gate, the watch and real servers: a poisoned version never reaches a user, and one that was
//! forced past the gate is taken back, with its turns.

use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;
use openclaw_rl::config::{DeployConfig, DeviceChoice, Home, ServeConfig};
use openclaw_rl::model::{
    Adapter, Decoder, Differentiation, LoraSettings, Pack, Parameter, Parameters, SaveDtype,
    Sequence, backward, forward,
};
use openclaw_rl::render::Renderer;
use openclaw_rl::rollout::{
    Deployment, DeploymentEvent, FinishReason, Ledger, Rejection, Sampling, Score, ScoreStatus,
    Step, TrainedTurn, TrainingSignal, Turn, TurnId, TurnState, TurnStatus, Version, VersionSpan,
};
use openclaw_rl::stage::deploy::{Action, DeploySummary, act, export, run};
use openclaw_rl::stage::serve::{self, Parts, Sources};
use openclaw_rl::store::{Record, Store};
use openclaw_rl::weights::{Base, NewVersion, Registry};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::deploy::straw::Server;

/// What a first step at the usual rate moves each weight by, and a thousand times that.
const GENTLE: f32 = 1e-5;
const POISON: f32 = 1e-2;

/// A home with the embedded model.
struct Home0 {
    _dir: tempfile::TempDir,
    home: Home,
    registry: Registry,
    store: Store,
    turns: u128,
}

impl Home0 {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let registry = Registry::open(&home).unwrap();
        registry.ensure_base(Base::Embedded).unwrap();
        let store = Store::open(&home).unwrap();
        Self { _dir: dir, home, registry, store, turns: 0 }
    }

    fn put<R: Record>(&self, rows: &[R]) {
        self.store.writer::<R>("test").unwrap().append(rows).unwrap();
    }

    /// A version on the head as a first step of AdamW at this rate makes it: each weight is `by`
    /// away from the base's, against its gradient. It makes one reply less likely; trained on
    /// these turns.
    fn publish(&self, by: f32, trained: &[TurnId]) -> Version {
        let parent = self.registry.head().unwrap();
        let base = self.registry.dir(Version::BASE);
        let device = Device::flex();
        let decoder = Decoder::load(&base, &device).unwrap();
        let tokens = (5..45).map(|token| token * 7).collect();
        let sequence = Sequence::new(decoder.config(), tokens, 20).unwrap();
        let pack = Pack::new(decoder.config(), &[sequence], &[1.0]).unwrap();
        let (answers, tape) = forward(&decoder, &pack, None, Differentiation::default());
        let gradient = backward(&decoder, tape, answers.logprobs.ones_like());
        let mut moved = Parameters::new();
        for (name, Parameter { shape, values }) in decoder.parameters() {
            let slope = gradient.get(&name).unwrap().values.clone();
            moved.insert(name, Parameter::new(shape, values - slope.sign().mul_scalar(by)));
        }
        let draft = self.registry.draft().unwrap();
        draft.copy_sidecars(&base).unwrap();
        decoder.with_parameters(moved).unwrap().save(draft.dir(), SaveDtype::F32).unwrap();
        self.registry.publish(draft, NewVersion { parent, step: Some(step(trained)) }).unwrap()
    }

    /// A version that is an adapter of the base.
    fn publish_adapter(&self, value: f32) -> Version {
        let parent = self.registry.head().unwrap();
        let base = self.registry.dir(Version::BASE);
        let config = Decoder::load(&base, &Device::flex()).unwrap().config().clone();
        let (inputs, outputs) = (config.hidden_size, config.heads * config.head_dim);
        let mut halves = Parameters::new();
        for (half, shape) in [("A", vec![2, inputs]), ("B", vec![outputs, 2])] {
            let name =
                format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight");
            let values = vec![value; shape.iter().product()];
            halves.insert(name, Parameter::from_values(shape, values, &Device::flex()));
        }
        let settings = LoraSettings { rank: 2, alpha: 2.0, rank_stabilized: false };
        let draft = self.registry.draft().unwrap();
        draft.copy_sidecars(&base).unwrap();
        let adapter = Adapter::from_parameters(settings, &halves, &config).unwrap();
        adapter.save(draft.dir(), Some("../v0000000000")).unwrap();
        self.registry.publish(draft, NewVersion { parent, step: None }).unwrap()
    }

    /// Records turns of a version, received from `at_us` on, each with this reward if any.
    fn record(&mut self, count: usize, by: Version, at_us: i64, reward: Option<i8>) -> Vec<TurnId> {
        let renderer = Renderer::open(&self.registry.dir(Version::BASE)).unwrap();
        let prompt = [serde_json::json!({"role": "user", "content": "What is a lighthouse for?"})];
        let prompt_ids = renderer.prompt(&prompt, None).unwrap();
        let response_ids =
            renderer.encode("It shows ships where the coast is, also at night.").unwrap();
        let mut turns = Vec::new();
        for index in 0..count as i64 {
            self.turns += 1;
            let received_at_us = at_us + index * 1_000;
            turns.push(Turn {
                turn_id: TurnId(((received_at_us / 1_000) as u128) << 80 | self.turns),
                received_at_us,
                finished_at_us: received_at_us,
                user: String::new(),
                policy: "default".to_owned(),
                model: "openclaw".to_owned(),
                session_keys: "{}".to_owned(),
                messages: "[]".to_owned(),
                tools: String::new(),
                reply: "{}".to_owned(),
                prompt_ids: prompt_ids.clone(),
                response_logprobs: vec![-1.0; response_ids.len()],
                response_ids: response_ids.clone(),
                drawn_logprobs: Vec::new(),
                forced: Vec::new(),
                constraint: None,
                version_spans: vec![VersionSpan { start: 0, version: by }],
                sampling: Sampling { temperature: 0.6, max_tokens: 64, ..Sampling::default() },
                finish_reason: FinishReason::Stop,
                status: TurnStatus::Answered,
            });
        }
        let ids: Vec<TurnId> = turns.iter().map(|turn| turn.turn_id).collect();
        self.put(&turns);
        if let Some(score) = reward {
            let rows = ids.iter().map(|turn_id| Score {
                turn_id: *turn_id,
                revision: 0,
                judge: "test@1".to_owned(),
                status: ScoreStatus::Judged,
                votes: Vec::new(),
                score,
                reasoning: String::new(),
                judged_at_us: now_us(),
            });
            self.put(&rows.collect::<Vec<_>>());
        }
        ids
    }

    fn rows(&self) -> Vec<Deployment> {
        let mut rows: Vec<Deployment> = self.store.read_all().unwrap();
        rows.sort_by_key(|row| row.deployed_at_us);
        rows
    }

    fn state_of(&self, turn: TurnId) -> Option<TurnState> {
        let mut ledger = Ledger::new();
        self.store.read_all::<Turn>().unwrap().iter().for_each(|row| ledger.turn(row));
        for version in self.registry.versions().unwrap() {
            if let Some(step) = self.registry.manifest(version).unwrap().step {
                ledger.step(&step);
            }
        }
        self.rows().iter().for_each(|row| ledger.deployment(row));
        ledger.state(turn)
    }

    async fn deploy(&self, config: &DeployConfig) -> DeploySummary {
        run(config, &self.home, CancellationToken::new()).await.unwrap()
    }
}

fn step(trained: &[TurnId]) -> Step {
    let trained = trained.iter().map(|turn_id| TrainedTurn {
        turn_id: *turn_id,
        signal: TrainingSignal::Score,
        reward: 1.0,
        tokens: 9,
    });
    Step {
        version: None,
        parent: Version::BASE,
        method: "binary".to_owned(),
        trained: trained.collect(),
        rejected: Vec::new(),
        metrics: Vec::new(),
        detail: String::new(),
        finished_at_us: 1,
    }
}

fn now_us() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_micros() as i64
}

fn config(url: &str) -> DeployConfig {
    DeployConfig {
        server: vec![url.to_owned()],
        device: DeviceChoice::Cpu,
        poll_ms: 10,
        tries: 2,
        gate_probes: 16,
        gate_probe_tokens: 24,
        ..DeployConfig::default()
    }
}

#[tokio::test]
async fn the_gate_lets_a_step_through_and_refuses_a_poisoned_one() {
    let mut home = Home0::new();
    let long_ago = now_us() - 3_600_000_000;
    let trained = home.record(16, Version::BASE, long_ago, Some(1));
    home.record(12, Version::BASE, long_ago + 60_000_000, None);
    let good = home.publish(GENTLE, &trained);
    let server = Server::start("0").await;
    home.deploy(&config(&server.url)).await;
    assert_eq!(home.registry.state().unwrap().live, good);
    let gate: Value = serde_json::from_str(&home.rows()[0].gate).unwrap();
    assert_eq!(gate["kl"]["on"], "turns");
    assert_eq!(gate["kl"]["figures"]["turns"], 12, "those that no batch consumed");
    let mean = gate["kl"]["figures"]["mean"].as_f64().unwrap();
    assert!(mean > 0.0 && mean < 0.1, "{gate}");
    assert_eq!(gate["probes"]["probes"], 16, "{gate}");

    let used = home.record(4, good, now_us(), Some(1));
    assert_eq!(home.state_of(used[0]), Some(TurnState::Answered));
    let poisoned = home.publish(POISON, &used);
    assert_eq!(home.state_of(used[0]), Some(TurnState::Trained(poisoned)));
    let summary = home.deploy(&config(&server.url)).await;
    assert_eq!((summary.refused, summary.live_version), (vec![poisoned.0], good.0));
    assert_eq!((server.serves().as_str(), server.updates()), ("1", 1), "no server heard of it");
    assert_eq!(home.registry.head().unwrap(), good);
    let row = home.rows().pop().unwrap();
    assert_eq!((row.event, row.retired), (DeploymentEvent::Refused, vec![poisoned]));
    let gate: Value = serde_json::from_str(&row.gate).unwrap();
    assert!(gate["refused"].as_str().unwrap().contains("nats from the live version"), "{gate}");
    let quarantined = TurnState::Rejected(Rejection::Quarantined);
    assert_eq!(home.state_of(used[0]), Some(quarantined));
}

#[tokio::test]
async fn without_turns_the_probes_decide() {
    let home = Home0::new();
    home.publish(POISON, &[]);
    let server = Server::start("0").await;
    let all = DeployConfig { gate_probes: 44, ..config(&server.url) };
    let summary = home.deploy(&all).await;
    assert_eq!((summary.refused, summary.live_version), (vec![1], 0));
    let gate: Value = serde_json::from_str(&home.rows()[0].gate).unwrap();
    assert_eq!(gate["kl"]["on"], "probes", "{gate}");
}

/// Waits, within bounds, until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn what_was_forced_past_the_gate_is_taken_back_and_its_turns_with_it() {
    let mut home = Home0::new();
    home.record(40, Version::BASE, now_us() - 60_000_000, Some(1));
    let used = home.record(4, Version::BASE, now_us() - 30_000_000, Some(1));
    let poisoned = home.publish(POISON, &used);
    let server = Server::start("0").await;
    let forced = DeployConfig { version: Some(poisoned.0), force: true, ..config(&server.url) };
    assert_eq!(home.deploy(&forced).await.live_version, poisoned.0);
    let gate: Value = serde_json::from_str(&home.rows()[0].gate).unwrap();
    assert_eq!((&gate["forced"], &gate["kl"]), (&true.into(), &Value::Null));

    // nothing is known of it yet
    let follow = DeployConfig { follow: true, ..config(&server.url) };
    let shutdown = CancellationToken::new();
    let (of_home, token) = (home.home.clone(), shutdown.clone());
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { run(&follow, &of_home, token).await });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(home.registry.state().unwrap().live, poisoned);

    // its users are not pleased
    let displeased = home.record(16, poisoned, now_us(), Some(-1));
    let registry = home.registry.clone();
    until("it is rolled back", || registry.state().unwrap().live == Version::BASE).await;
    shutdown.cancel();
    let summary = task.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!((summary.retired, server.serves().as_str()), (vec![poisoned.0], "0"));
    assert_eq!(home.registry.head().unwrap(), Version::BASE);
    let row = home.rows().pop().unwrap();
    assert_eq!((row.event, row.version), (DeploymentEvent::RolledBack, Version::BASE));
    let gate: Value = serde_json::from_str(&row.gate).unwrap();
    assert!(gate["watch"]["found"].as_str().unwrap().contains("mean reward -1.00 after 1.00"));
    assert!(gate["watch"]["rewards"]["pairs"].as_u64().unwrap() >= 8, "{gate}");
    let quarantined = TurnState::Rejected(Rejection::Quarantined);
    assert_eq!(home.state_of(used[0]), Some(quarantined));
    assert_eq!(home.state_of(displeased[0]), Some(TurnState::Answered), "no batch had them");

    let back = Action::Requeue(vec![poisoned.0]);
    act(&config(&server.url), &home.home, &back, CancellationToken::new()).await.unwrap();
    for turn in &used {
        assert_eq!(home.state_of(*turn), Some(TurnState::Answered), "it may be trained on again");
    }
}

#[tokio::test]
async fn a_real_server_takes_adapter_versions_and_shows_what_it_read() {
    let mut home = Home0::new();
    home.record(12, Version::BASE, now_us() - 60_000_000, None);
    let shutdown = CancellationToken::new();
    let serving = ServeConfig { port: 0, device: DeviceChoice::Cpu, ..ServeConfig::default() };
    let sources = Sources { status: Arc::new(|| Value::Null), turns: Arc::new(|_| None) };
    let parts = Parts::decoder(&serving, sources).unwrap();
    let (ready, address) = tokio::sync::oneshot::channel();
    let (of_home, token) = (home.home.clone(), shutdown.clone());
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { serve::run(&serving, &of_home, parts, token, ready).await });
    let url = format!("http://{}", address.await.unwrap());
    let client = crate::support::client();
    let info = async || -> Value {
        client.get(format!("{url}/model_info")).send().await.unwrap().json().await.unwrap()
    };
    let sha256 = |version| home.registry.weights_sha256(Version(version)).unwrap();
    assert_eq!(info().await["weights_sha256"], sha256(0));
    for value in [1e-3, 2e-3] {
        let version = home.publish_adapter(value);
        let summary = home.deploy(&config(&url)).await;
        assert_eq!(summary.live_version, version.0);
        assert_eq!(info().await["weights_sha256"], sha256(version.0));
    }
    let gate: Value = serde_json::from_str(&home.rows()[1].gate).unwrap();
    assert_eq!(gate["served"]["by_checksum"], 1, "{gate}");
    assert!(gate["weights"].as_u64().unwrap() > 0, "the adapter's own: {gate}");
    shutdown.cancel();
    task.join_next().await.unwrap().unwrap().unwrap();

    // the same version for others: merged, and as an adapter
    let to = home.home.root().join("exported");
    let exported = export(&home.home, &to, None).unwrap();
    assert_eq!(exported.version, 2);
    let device = Device::flex();
    let ours = Decoder::load(&home.registry.dir(Version(2)), &device).unwrap();
    let merged = Decoder::load(&to, &device).unwrap();
    let adapted = Decoder::load(&exported.adapter.unwrap(), &device).unwrap();
    let logits = |decoder: &Decoder| -> Vec<f32> {
        let mut causal = openclaw_rl::model::Causal::default();
        let hidden = decoder.hidden(&[5, 6, 7, 8], &[0, 1, 2, 3], &mut causal);
        decoder.logits(hidden).try_into_vec_as().unwrap()
    };
    assert_eq!(logits(&ours), logits(&adapted));
    let pairs = logits(&ours).into_iter().zip(logits(&merged));
    let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
    assert!(apart < 1e-3, "{apart}");
    assert!(!merged.is_adapted() && Renderer::open(&to).is_ok());
}
