//! Poison in the store: it neither moves the weights nor stops the loop.

use std::collections::BTreeMap;
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use openclaw_rl::config::{Method, TrainConfig};
use openclaw_rl::events::heartbeat;
use openclaw_rl::fault::Explain;
use openclaw_rl::model::{Decoder, Parameter, SaveDtype};
use openclaw_rl::rollout::{Rejection, Turn, Version};
use openclaw_rl::stage::train::run;
use tokio_util::sync::CancellationToken;

use crate::train::fixture::{BAD, Feedback, Fixture, GOOD, metric};

/// Records a turn that was changed, as good.
fn poison(fixture: &mut Fixture, change: impl Fn(&mut Turn)) -> u128 {
    let mut turn = fixture.turn();
    change(&mut turn);
    fixture.learn_from(&turn, &GOOD);
    turn.turn_id.0
}

#[tokio::test]
async fn absurd_log_probabilities_never_reach_a_batch() {
    let (mut clean, mut fixture) = (Fixture::new(), Fixture::new());
    let absurd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.0, -999.0];
    let ids = absurd.map(|value| poison(&mut fixture, |turn| turn.response_logprobs[2] = value));
    clean.turns = fixture.turns;
    clean.turns(2, &GOOD);
    fixture.turns(2, &GOOD);
    let config = fixture.config(Method::Combine, 2);
    assert_eq!(fixture.train(&config).await.unwrap().steps, 1);
    assert_eq!(fixture.rejected(), ids.map(|id| (id, "malformed")).into());
    clean.train(&clean.config(Method::Combine, 2)).await.unwrap();
    assert_eq!(fixture.weights(1), clean.weights(1), "as if they had not been there");
}

#[tokio::test]
async fn a_loop_of_8000_tokens_is_kept_out() {
    let mut fixture = Fixture::new();
    let looped = |period: usize| {
        move |turn: &mut Turn| {
            let pattern = turn.prompt_ids.clone();
            turn.response_ids = pattern.into_iter().take(period).cycle().take(8000).collect();
            turn.response_logprobs = vec![-0.01; 8000];
        }
    };
    let ids = [1, 5].map(|period| poison(&mut fixture, looped(period)));
    let config = fixture.config(Method::Combine, 1);
    assert_eq!(fixture.train(&config).await.unwrap().steps, 0);
    assert_eq!(fixture.rejected(), ids.map(|id| (id, "looping")).into());
}

#[tokio::test]
async fn contradicting_votes_cancel_out() {
    let mut fixture = Fixture::new();
    // the same reply, found good and bad
    let turn = fixture.turn();
    let twin = Turn { turn_id: fixture.turn().turn_id, ..turn.clone() };
    fixture.learn_from(&turn, &GOOD);
    fixture.learn_from(&twin, &BAD);
    let config = TrainConfig { weight_decay: 0.0, ..fixture.config(Method::Binary, 2) };
    assert_eq!(fixture.train(&config).await.unwrap().steps, 1);
    assert!(metric(&fixture.steps()[0], "grad_norm") < 1e-6);
    let rise = fixture.rise(&turn, 1);
    assert!(rise.iter().all(|rise| rise.abs() < 0.02), "{rise:?}");
}

#[tokio::test]
async fn a_huge_gap_to_the_teacher_is_capped_and_counted() {
    let changed = async |gap: &[f32]| {
        let mut fixture = Fixture::new();
        let turn = fixture.turns(1, &Feedback { score: 0, gap: Some(gap) }).remove(0);
        fixture.train(&fixture.config(Method::Opd, 1)).await.unwrap();
        assert!(fixture.rise(&turn, 1).iter().all(|rise| rise.is_finite()));
        (fixture.weights(1), fixture.steps().remove(0))
    };
    let (huge, step) = changed(&[-3.0e4, 0.5, -0.5, -1.0]).await;
    let (capped, _) = changed(&[-10.0, 0.5, -0.5, -1.0]).await;
    assert_eq!(huge, capped, "at --advantage-max");
    assert!((metric(&step, "mean_advantage") + 11.0 / 4.0).abs() < 1e-4);
}

#[tokio::test]
async fn a_step_that_explodes_is_skipped_and_the_next_one_is_taken() {
    let mut fixture = Fixture::new();
    let small = Feedback { score: 0, gap: Some(&[0.01, 0.0, -0.01, 0.01]) };
    fixture.turns(5, &small);
    let config = TrainConfig {
        staleness_max: 99,
        grad_norm_jump: 5.0,
        grad_norm_max: 1e-3,
        learning_rate: 1e-6,
        ..fixture.config(Method::Opd, 1)
    };
    assert_eq!(fixture.train(&config).await.unwrap().version, 5);
    let huge = fixture.turns(1, &Feedback { score: 0, gap: Some(&[-10.0; 4]) }).remove(0);
    fixture.turns(1, &small);
    // the bound stands in the version: another process knows it
    let summary = fixture.train(&config).await.unwrap();
    assert_eq!((summary.steps, summary.version), (1, 6));
    assert_eq!(fixture.rejected(), BTreeMap::from([(huge.turn_id.0, "exploding")]));
    let row = fixture.steps().into_iter().find(|row| !row.rejected.is_empty()).unwrap();
    assert!(row.detail.contains("gradient norm"), "{}", row.detail);
    let lines = std::fs::read_to_string(fixture.home.root().join("metrics.jsonl")).unwrap();
    assert!(lines.contains("\"set_aside\":1"), "{lines}");
}

/// A home whose model computes nothing but NaN, with turns that look sound.
fn broken(turns: usize) -> Fixture {
    let mut fixture = Fixture::new();
    let turns: Vec<Turn> = (0..turns).map(|_| fixture.turn()).collect();
    let mut parameters = fixture.decoder.parameters();
    let norm = parameters.remove("model.norm.weight").unwrap();
    let huge = Tensor::full([norm.shape[0]], 3.0e38, &Device::flex());
    parameters.insert("model.norm.weight", Parameter::new(norm.shape, huge));
    let decoder: Decoder = fixture.decoder.with_parameters(parameters).unwrap();
    decoder.save(&fixture.dir.path().join("base"), SaveDtype::F32).unwrap();
    turns.iter().for_each(|turn| fixture.learn_from(turn, &GOOD));
    fixture
}

#[tokio::test]
async fn three_steps_in_a_row_that_are_not_finite_stop_the_trainer() {
    let fixture = broken(4);
    let error = fixture.train(&fixture.config(Method::Combine, 1)).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("train_not_finite", 1));
    assert!(error.hint().unwrap().contains("--learning-rate"));
    let not_finite = Rejection::NotFinite.label();
    assert_eq!(fixture.rejected(), [1, 2, 3].map(|id| (id, not_finite)).into());
    assert_eq!(fixture.registry().versions().unwrap(), [Version(0)]);
}

#[tokio::test]
async fn a_follower_stays_and_says_that_it_stopped() {
    let fixture = broken(4);
    let shutdown = CancellationToken::new();
    let config = TrainConfig { follow: true, ..fixture.config(Method::Combine, 1) };
    let (home, token) = (fixture.home.clone(), shutdown.clone());
    let trainer = async move { run(&config, &home, token).await };
    let user = async {
        let state = fixture.home.state("train");
        let stopped = || heartbeat::read(&state).filter(|beat| beat.doing.starts_with("stopped: "));
        while stopped().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rows = fixture.steps().len();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(fixture.steps().len(), rows, "it tries no more");
        shutdown.cancel();
        stopped().unwrap()
    };
    let both = async { tokio::join!(trainer, user) };
    let (summary, beat) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!((summary.unwrap().steps, fixture.rejected().len()), (0, 3));
    assert!(
        beat.doing.contains("3 steps in a row") && beat.doing.contains("not finite"),
        "{beat:?}"
    );
}
