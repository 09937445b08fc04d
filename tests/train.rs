//! The trainer on a real home with a tiny model: versions, rows, rejections, crashes.

pub mod fixture;

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use fixture::{BAD, Feedback, Fixture, GOOD, metric, rollout, trained};
use openclaw_rl::config::{Method, ScheduleKind, TrainConfig, TrainedWeights};
use openclaw_rl::events::heartbeat;
use openclaw_rl::fault::Explain;
use openclaw_rl::model::Decoder;
use openclaw_rl::rollout::{
    ConstraintKind, Deployment, DeploymentEvent, FinishReason, Rollout, Turn, TurnId, TurnKind,
    Version,
};
use openclaw_rl::stage::train::{TrainSummary, run};
use openclaw_rl::weights::Pruning;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_full_batch_makes_a_version_and_the_surplus_waits() {
    let mut fixture = Fixture::new();
    fixture.turns(3, &GOOD);
    let summary = fixture.train(&fixture.config(Method::Combine, 2)).await.unwrap();
    let expected = TrainSummary {
        steps: 1,
        trained: 2,
        version: 1,
        ready: 1,
        waiting: 1,
        rejected: BTreeMap::new(),
    };
    assert_eq!(summary, expected);
    let rows = fixture.steps();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].version, rows[0].parent), (Some(Version(1)), Version(0)));
    assert_eq!(trained(&rows[0]), [1, 2]);
    let manifest = fixture.registry().verify(Version(1)).unwrap();
    assert_eq!(manifest.step.as_ref(), Some(&rows[0]));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    for name in ["config.json", "model.safetensors", "optimizer.safetensors", "tokenizer.json"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_ne!(fixture.weights(0), fixture.weights(1));
    assert!(metric(&rows[0], "weights_changed") > 0.9);
    assert!(metric(&rows[0], "grad_norm") > 0.0);
    assert!(metric(&rows[0], "train_rollout_logprob_abs_diff_max") < 1e-4);
    assert!((metric(&rows[0], "mean_reward") - 1.0).abs() < 1e-9);
    assert!((metric(&rows[0], "loss") + 1.0).abs() < 1e-3, "ratio 1, advantage 1");
    let beat = heartbeat::read(&fixture.home.state("train")).unwrap();
    assert_eq!((beat.figures["version"], beat.figures["ready"]), (1.0, 1.0));

    fixture.turns(1, &BAD);
    let summary = fixture.train(&fixture.config(Method::Combine, 2)).await.unwrap();
    assert_eq!((summary.steps, summary.version, summary.ready), (1, 2, 0));
    assert_eq!(trained(&fixture.steps()[1]), [3, 4]);
}

#[tokio::test]
async fn what_was_rewarded_becomes_likelier_and_what_was_punished_less_likely() {
    let mut fixture = Fixture::new();
    let good = fixture.turns(1, &GOOD).remove(0);
    let bad = fixture.turns(1, &BAD).remove(0);
    fixture.train(&fixture.config(Method::Binary, 2)).await.unwrap();
    let (up, down) = (fixture.rise(&good, 1), fixture.rise(&bad, 1));
    assert!(up.iter().sum::<f32>() > 0.05, "{up:?}");
    assert!(down.iter().sum::<f32>() < -0.05, "{down:?}");
}

#[tokio::test]
async fn a_hint_pulls_each_token_towards_the_teacher() {
    let mut fixture = Fixture::new();
    let gap = [2.0, 0.0, 0.0, -2.0];
    let turn = fixture.turns(1, &Feedback { score: 0, gap: Some(&gap) }).remove(0);
    fixture.train(&fixture.config(Method::Opd, 1)).await.unwrap();
    let rise = fixture.rise(&turn, 1);
    assert!(rise[0] > 0.05 && rise[3] < -0.05, "{rise:?}");
    assert!((metric(&fixture.steps()[0], "mean_advantage")).abs() < 1e-5);
}

#[tokio::test]
async fn what_a_grammar_forced_teaches_nothing() {
    let trained = async |forced: &[u32], gap: f32, logprob: Option<f32>| {
        let mut fixture = Fixture::new();
        let mut turn = fixture.turn();
        turn.constraint = Some(ConstraintKind::ToolCalls);
        turn.forced = forced.to_vec();
        let recorded = turn.response_logprobs.clone();
        if let Some(logprob) = logprob {
            turn.response_logprobs[1] = logprob;
        }
        fixture.learn_from(&turn, &Feedback { score: 0, gap: Some(&[0.5, gap, -0.5, 1.0]) });
        fixture.train(&fixture.config(Method::Opd, 1)).await.unwrap();
        let step = fixture.steps().remove(0);
        turn.response_logprobs = recorded;
        (fixture.rise(&turn, 1), step, fixture.weights(1))
    };
    let (up, step, weights) = trained(&[1], 3.0, None).await;
    assert_eq!(step.trained[0].tokens, 3);
    assert_eq!((metric(&step, "response_tokens"), metric(&step, "forced_tokens")), (4.0, 1.0));
    assert!((metric(&step, "mean_advantage") - 1.0 / 3.0).abs() < 1e-5, "of the three others");
    let (_, _, other) = trained(&[1], -9.0, None).await;
    assert_eq!(weights, other, "whatever the teacher thinks of it");
    let (_, _, other) = trained(&[1], 3.0, Some(-900.0)).await;
    assert_eq!(weights, other, "however improbable it was: exp(900) is not a number");
    let (free, step, _) = trained(&[], 3.0, None).await;
    assert_eq!((step.trained[0].tokens, metric(&step, "forced_tokens")), (4, 0.0));
    assert!(free[1] > up[1] + 0.01, "{free:?} {up:?}");
}

#[tokio::test]
async fn combine_weighs_both_signals() {
    let mut fixture = Fixture::new();
    fixture.turns(1, &Feedback { score: 1, gap: Some(&[1.0; 4]) });
    fixture.turns(1, &Feedback { score: 0, gap: Some(&[1.0; 4]) });
    fixture.turns(1, &BAD);
    let config =
        TrainConfig { weight_opd: 0.5, weight_rl: 2.0, ..fixture.config(Method::Combine, 3) };
    fixture.train(&config).await.unwrap();
    let step = &fixture.steps()[0];
    let signals: Vec<&str> = step.trained.iter().map(|turn| turn.signal.label()).collect();
    assert_eq!(signals, ["both", "hint", "score"]);
    let mean = (2.5 + 0.5 - 2.0) / 3.0;
    assert!((metric(step, "mean_advantage") - mean).abs() < 1e-5);
    assert!(metric(step, "mean_reward").abs() < 1e-9, "one +1, one -1, one without a verdict");
}

#[tokio::test]
async fn a_row_lost_in_a_crash_is_written_again_and_nothing_is_trained_twice() {
    let mut fixture = Fixture::new();
    fixture.turns(2, &GOOD);
    let config = fixture.config(Method::Combine, 2);
    fixture.train(&config).await.unwrap();
    let row = fixture.steps().remove(0);
    std::fs::remove_dir_all(fixture.home.store().join("steps")).unwrap();
    // what a process that died while publishing leaves behind
    let torn = fixture.home.weights().join(".draft-torn");
    std::fs::create_dir(&torn).unwrap();
    std::fs::write(torn.join("model.safetensors"), "half").unwrap();
    let summary = fixture.train(&config).await.unwrap();
    assert_eq!((summary.steps, summary.version, summary.ready), (0, 1, 0));
    assert_eq!(fixture.steps(), [row]);
}

/// Two steps at once, and one after the other with a restart in between.
async fn restarted(change: impl Fn(TrainConfig) -> TrainConfig) -> [Fixture; 2] {
    let (mut whole, mut halves) = (Fixture::new(), Fixture::new());
    let both = Feedback { score: 1, gap: Some(&[0.5, -0.25, 0.0, 1.0]) };
    whole.turns(4, &both);
    let summary = whole.train(&change(whole.config(Method::Combine, 2))).await.unwrap();
    assert_eq!(summary.steps, 2);
    halves.turns(4, &both);
    let one = TrainConfig { steps_max: Some(1), ..change(halves.config(Method::Combine, 2)) };
    for _ in 0..2 {
        assert_eq!(halves.train(&one).await.unwrap().steps, 1);
    }
    for name in ["optimizer.safetensors", "trainer.json"] {
        assert_eq!(whole.file(2, name), halves.file(2, name), "{name}");
    }
    [whole, halves]
}

#[tokio::test]
async fn a_restart_between_steps_changes_no_bit() {
    let [whole, halves] = restarted(|config| config).await;
    assert_eq!(whole.weights(2), halves.weights(2));
}

#[tokio::test]
async fn a_restart_changes_no_bit_of_an_adapter_in_a_schedule() {
    let lora = |config| TrainConfig {
        weights: TrainedWeights::Lora,
        lora_rank: 4,
        lora_alpha: 8.0,
        schedule: ScheduleKind::Cosine,
        warmup_steps: 1,
        schedule_steps: Some(3),
        seed: 7,
        ..config
    };
    let [whole, halves] = restarted(lora).await;
    let name = "adapter_model.safetensors";
    assert_eq!(whole.file(2, name), halves.file(2, name));
    assert_ne!(whole.file(2, name), whole.file(1, name));
    let dir = whole.registry().dir(Version(2));
    assert!(!dir.join("model.safetensors").exists());
    let settings: serde_json::Value =
        serde_json::from_slice(&whole.file(2, "adapter_config.json")).unwrap();
    assert_eq!(settings["base_model_name_or_path"], "../v0000000000");
    assert_eq!((settings["r"].as_u64(), settings["lora_alpha"].as_f64()), (Some(4), Some(8.0)));
    let rates: Vec<f64> = whole.steps().iter().map(|step| metric(step, "learning_rate")).collect();
    assert!((rates[0] - 1e-3).abs() < 1e-12 && (rates[1] - 5e-4).abs() < 1e-9, "{rates:?}");
    // what is served is the base with the adapter beside it
    let turn = TurnId(1);
    let rows: Vec<Turn> = whole.store.read_all().unwrap();
    let turn = rows.into_iter().find(|row| row.turn_id == turn).unwrap();
    assert!(whole.rise(&turn, 2).iter().sum::<f32>() > 0.001);
    for (change, said) in [
        (
            TrainConfig { weights: TrainedWeights::All, ..lora(whole.config(Method::Combine, 2)) },
            "is an adapter",
        ),
        (TrainConfig { lora_rank: 8, ..lora(whole.config(Method::Combine, 2)) }, "rank 4"),
    ] {
        let error = whole.train(&change).await.unwrap_err();
        assert_eq!((error.label(), error.exit_code()), ("train_unfit", 2));
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn several_workers_come_to_what_one_comes_to() {
    let trained = async |workers: usize| {
        let mut fixture = Fixture::new();
        let both = Feedback { score: 1, gap: Some(&[0.5, -0.25, 0.0, 1.0]) };
        fixture.turns(5, &both);
        fixture.turns(3, &BAD);
        let config = TrainConfig { workers, epochs: 2, ..fixture.config(Method::Combine, 4) };
        assert_eq!(fixture.train(&config).await.unwrap().steps, 2);
        let dir = fixture.registry().dir(Version(2));
        let decoder = Decoder::load(&dir, &Device::flex()).unwrap();
        let values = decoder.parameters();
        let values: Vec<f32> = values.iter().flat_map(|(_, p)| p.to_vec().unwrap()).collect();
        (values, fixture.steps())
    };
    let (one, steps) = trained(1).await;
    for workers in [2, 3] {
        let (several, rows) = trained(workers).await;
        let apart = one.iter().zip(&several).map(|(a, b)| (a - b).abs());
        // AdamW's first updates are signs of gradients: those near 0 may turn
        let far = apart.filter(|apart| *apart > 1e-4).count();
        assert!(far * 1000 <= one.len(), "{workers} workers: {far} of {} differ", one.len());
        for (one, several) in steps.iter().zip(&rows) {
            for name in ["loss", "grad_norm", "tokens", "mean_advantage"] {
                let (one, several) = (metric(one, name), metric(several, name));
                assert!((one - several).abs() <= 1e-3 * one.abs().max(1.0), "{name}");
            }
        }
        assert_eq!(trained(workers).await.0, several, "the same again, bit for bit");
    }
}

#[tokio::test]
async fn several_epochs_are_several_updates_of_one_step() {
    let mut fixture = Fixture::new();
    let turn = fixture.turns(1, &GOOD).remove(0);
    let config = TrainConfig { epochs: 3, clip_high: 9.0, ..fixture.config(Method::Binary, 1) };
    fixture.train(&config).await.unwrap();
    let three: f32 = fixture.rise(&turn, 1).iter().sum();
    assert_eq!(fixture.steps().len(), 1);
    let mut single = Fixture::new();
    let turn = single.turns(1, &GOOD).remove(0);
    single.train(&single.config(Method::Binary, 1)).await.unwrap();
    let one: f32 = single.rise(&turn, 1).iter().sum();
    assert!(three > 1.5 * one, "{three} against {one}");
}

#[tokio::test]
async fn what_only_the_trainer_knows_is_recorded_with_its_reason() {
    let mut fixture = Fixture::new();
    let mut record = |expected: &'static str, change: &dyn Fn(&mut Turn)| {
        let mut turn = fixture.turn();
        change(&mut turn);
        fixture.learn_from(&turn, &GOOD);
        (turn.turn_id.0, expected)
    };
    let expected = [
        record("greedy", &|turn| turn.sampling.temperature = 0.0),
        record("malformed", &|turn| turn.response_logprobs.truncate(2)),
        record("malformed", &|turn| turn.response_logprobs[1] = f32::NAN),
        record("malformed", &|turn| turn.response_ids[0] = 4000),
        record("too_long", &|turn| turn.prompt_ids = vec![7; 600]),
        record("cut_off", &|turn| turn.finish_reason = FinishReason::Cancelled),
        record("empty", &|turn| {
            turn.response_ids.truncate(1);
            turn.response_logprobs.truncate(1);
        }),
    ];
    let neutral = fixture.turns(1, &Feedback { score: 0, gap: Some(&[1.0; 4]) }).remove(0);
    let side = fixture.turn();
    fixture.put(side.clone());
    fixture.put(Rollout { kind: TurnKind::Side, ..rollout(side.turn_id) });
    let open = fixture.turn();
    fixture.put(open);
    let mut expected = BTreeMap::from(expected);
    expected.insert(neutral.turn_id.0, "neutral");

    let summary = fixture.train(&fixture.config(Method::Binary, 1)).await.unwrap();
    assert_eq!(fixture.rejected(), expected, "what the ledger derives by itself has no row");
    assert_eq!((summary.steps, summary.version, summary.waiting), (0, 0, 1));
    assert_eq!(summary.rejected["side"], 1);
    assert_eq!(summary.rejected["malformed"], 3);
    assert_eq!(summary.rejected.values().sum::<u64>(), 9);
    let rows = fixture.steps().len();
    fixture.train(&fixture.config(Method::Binary, 1)).await.unwrap();
    assert_eq!(fixture.steps().len(), rows, "nothing is rejected twice");
}

#[tokio::test]
async fn after_a_rollback_the_older_version_is_built_on() {
    let mut fixture = Fixture::new();
    fixture.turns(2, &GOOD);
    let config = fixture.config(Method::Combine, 2);
    fixture.train(&config).await.unwrap();
    let retired = fixture.registry().roll_back(Version(0)).unwrap();
    fixture.put(Deployment {
        event: DeploymentEvent::RolledBack,
        version: Version(0),
        previous: Some(Version(1)),
        retired,
        servers: Vec::new(),
        gate: "{}".to_owned(),
        deployed_at_us: 1,
    });
    fixture.turns(2, &BAD);
    let summary = fixture.train(&config).await.unwrap();
    assert_eq!((summary.steps, summary.version), (1, 2));
    assert_eq!(summary.rejected["quarantined"], 2, "the poison is not trained on again");
    let row = fixture.steps().remove(1);
    assert_eq!((row.parent, trained(&row)), (Version(0), vec![3, 4]));
}

#[tokio::test]
async fn one_trainer_per_home() {
    let fixture = Fixture::new();
    let path = fixture.home.lock("train");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = std::fs::File::create(&path).unwrap();
    lock.try_lock().unwrap();
    let error = fixture.train(&fixture.config(Method::Combine, 1)).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("train_locked", 2));
    assert!(error.to_string().contains("train.lock"), "{error}");
    drop(lock);
    fixture.train(&fixture.config(Method::Combine, 1)).await.unwrap();
}

#[tokio::test]
async fn a_damaged_version_is_a_clear_error() {
    let mut fixture = Fixture::new();
    fixture.turns(1, &GOOD);
    let config = fixture.config(Method::Combine, 1);
    fixture.train(&config).await.unwrap();
    let path: PathBuf = fixture.registry().dir(Version(1)).join("optimizer.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = fixture.train(&config).await.unwrap_err();
    assert!(error.to_string().contains("optimizer.safetensors"), "{error}");
}

#[tokio::test]
async fn fewer_samples_close_a_batch_after_the_longest_wait() {
    let mut fixture = Fixture::new();
    fixture.turns(1, &GOOD);
    let patient = fixture.config(Method::Combine, 16);
    assert_eq!(fixture.train(&patient).await.unwrap().steps, 0);
    let config = TrainConfig { max_wait_s: Some(60), ..patient };
    assert_eq!(fixture.train(&config).await.unwrap().steps, 1, "it was judged long ago");
}

#[tokio::test]
async fn following_it_trains_as_feedback_comes_in_and_ends_when_told() {
    let mut fixture = Fixture::new();
    let shutdown = CancellationToken::new();
    let config = TrainConfig { follow: true, ..fixture.config(Method::Combine, 1) };
    let (home, token) = (fixture.home.clone(), shutdown.clone());
    let trainer = async move { run(&config, &home, token).await };
    let user = async {
        for version in 1..=2 {
            fixture.turns(1, &GOOD);
            while !fixture.registry().versions().unwrap().contains(&Version(version)) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        shutdown.cancel();
    };
    let bounded = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        tokio::join!(trainer, user).0
    });
    let summary = bounded.await.unwrap().unwrap();
    assert_eq!((summary.steps, summary.version), (2, 2));
    let beat = heartbeat::read(&fixture.home.state("train")).unwrap();
    assert_eq!(beat.doing, "done");
}

#[tokio::test]
async fn told_to_end_it_begins_nothing() {
    let mut fixture = Fixture::new();
    fixture.turns(2, &GOOD);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let config = fixture.config(Method::Combine, 1);
    let summary = run(&config, &fixture.home, shutdown).await.unwrap();
    assert_eq!((summary.steps, summary.version), (0, 0));
}

#[tokio::test]
async fn turns_that_were_put_back_are_trained_on_again() {
    let mut fixture = Fixture::new();
    fixture.turns(2, &GOOD);
    let config = fixture.config(Method::Combine, 2);
    fixture.train(&config).await.unwrap();
    let retired = fixture.registry().roll_back(Version(0)).unwrap();
    let event = |event, deployed_at_us| Deployment {
        event,
        version: Version(0),
        previous: Some(Version(1)),
        retired: retired.clone(),
        servers: Vec::new(),
        gate: "{}".to_owned(),
        deployed_at_us,
    };
    fixture.put(event(DeploymentEvent::RolledBack, 1));
    assert_eq!(fixture.train(&config).await.unwrap().steps, 0);
    // while the trainer looks on: it has let go of their rows
    let shutdown = CancellationToken::new();
    let follow = TrainConfig { follow: true, ..config };
    let (home, token) = (fixture.home.clone(), shutdown.clone());
    let trainer = async move { run(&follow, &home, token).await };
    let user = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        fixture.put(event(DeploymentEvent::Requeued, 2));
        while !fixture.registry().versions().unwrap().contains(&Version(2)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        shutdown.cancel();
    };
    let both = async { tokio::join!(trainer, user).0 };
    let summary = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    assert_eq!(summary.unwrap().version, 2);
    let row = fixture.steps().pop().unwrap();
    assert_eq!((row.parent, trained(&row)), (Version(0), vec![1, 2]));
}

#[tokio::test]
async fn a_follower_does_not_run_far_ahead_of_what_is_live() {
    let mut fixture = Fixture::new();
    fixture.turns(5, &GOOD);
    let shutdown = CancellationToken::new();
    let config = TrainConfig { follow: true, ..fixture.config(Method::Combine, 1) };
    let (home, token) = (fixture.home.clone(), shutdown.clone());
    let trainer = async move { run(&config, &home, token).await };
    let state = fixture.home.state("train");
    let until = async |what: &str| {
        while heartbeat::read(&state).is_none_or(|beat| !beat.doing.contains(what)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let user = async {
        until("version 2 is not live yet").await;
        assert_eq!(fixture.registry().versions().unwrap().len(), 3);
        fixture.registry().set_live(Version(1)).unwrap();
        until("version 3 is not live yet").await;
        shutdown.cancel();
    };
    let both = async { tokio::join!(trainer, user).0 };
    let summary = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    assert_eq!(summary.unwrap().steps, 3);
}

#[tokio::test]
async fn old_versions_let_go_of_their_weights_and_the_lineage_stays() {
    let mut fixture = Fixture::new();
    // the turns of version 2 were the best
    for feedback in [&BAD, &BAD, &GOOD, &BAD, &BAD, &BAD, &BAD] {
        fixture.turns(1, feedback);
    }
    let config =
        TrainConfig { keep_last: 2, staleness_max: 99, ..fixture.config(Method::Binary, 1) };
    fixture.train(&config).await.unwrap();
    let registry = fixture.registry();
    let has = |version: u64, name: &str| registry.dir(Version(version)).join(name).exists();
    let weights: Vec<u64> = (0..=7).filter(|v| has(*v, "model.safetensors")).collect();
    assert_eq!(weights, [0, 2, 6, 7], "the base and what is live, the best, the last two");
    let moments: Vec<u64> = (0..=7).filter(|v| has(*v, "optimizer.safetensors")).collect();
    assert_eq!(moments, [6, 7]);
    assert_eq!(registry.lineage(Version(7)).unwrap().len(), 8);
    assert!(registry.verify(Version(2)).is_ok(), "it can be served");
    let gone = registry.verify(Version(3)).unwrap_err().to_string();
    assert!(gone.contains("let go"), "{gone}");
    // who loads a version keeps it
    let held = registry.hold(Version(2)).unwrap();
    assert_eq!(registry.prune(Version(2), Pruning::Weights).unwrap(), 0);
    drop(held);
    for kept in [0, 7] {
        assert_eq!(registry.prune(Version(kept), Pruning::Weights).unwrap(), 0);
    }
    assert!(registry.prune(Version(2), Pruning::Weights).unwrap() > 0);
    // going back to one without moments
    fixture.turns(1, &GOOD);
    fixture.train(&config).await.unwrap();
    registry.set_live(Version(7)).unwrap();
    assert_eq!(fixture.train(&config).await.unwrap().version, 8);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_loaded() {
    let fixture = Fixture::new();
    let config = TrainConfig {
        pack_tokens: 1 << 50,
        train_tokens_max: 1 << 50,
        ..fixture.config(Method::Combine, 1)
    };
    let error = fixture.train(&config).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("train_too_large", 2));
    assert!(error.to_string().contains("MB on cpu"), "{error}");
    assert!(error.hint().unwrap().contains("--weights lora"));
}

#[tokio::test]
async fn the_figures_of_each_step_stand_in_the_home() {
    let mut fixture = Fixture::new();
    fixture.turns(2, &GOOD);
    fixture.train(&fixture.config(Method::Combine, 1)).await.unwrap();
    let text = std::fs::read_to_string(fixture.home.root().join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for name in [
        "loss",
        "mean_reward",
        "mean_advantage",
        "ppo_kl",
        "entropy",
        "clip_fraction",
        "staleness_mean",
        "staleness_max",
        "grad_norm",
        "train_rollout_logprob_abs_diff_mean",
        "train_rollout_logprob_abs_diff_max",
        "weights_changed",
        "tokens_per_s",
        "memory_bytes",
        "waiting",
        "learning_rate",
    ] {
        assert!(lines[1][name].is_number(), "{name} of {}", lines[1]);
    }
    assert_eq!((&lines[0]["waiting"], &lines[1]["waiting"]), (&1.0.into(), &0.0.into()));
    assert_eq!(lines[1]["staleness_max"], 1.0, "version 0 said it, version 1 is the head");
    let beat = heartbeat::read(&fixture.home.state("train")).unwrap();
    assert_eq!(beat.figures["tokens_per_s"], lines[1]["tokens_per_s"].as_f64().unwrap());
    let board = std::fs::read_dir(fixture.home.root().join("tensorboard")).unwrap();
    assert_eq!(board.count(), 1);
}
