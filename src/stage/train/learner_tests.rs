//! What a step of each method does to a tiny model.

use burn::tensor::Device;

use super::*;
use crate::config::{
    Behaviour, HybridSelection, HybridSupport, KlEstimator, Method, TrainedWeights,
};
use crate::model::{LoraSettings, answers};
use crate::rollout::{Likeliest, TrainingSignal, TurnId, Version};
use crate::stage::train::adamw::AdamWOptions;
use crate::stage::train::figures::floats;
use crate::stage::train::reduce::Alone;

const VOCABULARY: u32 = 192;

fn model() -> Decoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    Decoder::load(&dir, &Device::flex()).unwrap()
}

fn optimizer(learning_rate: f64) -> AdamW {
    AdamW::new(AdamWOptions {
        learning_rate,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_vectors: false,
        muon: false,
    })
}

fn learner() -> Learner {
    Learner::new(model(), None, optimizer(1e-3)).unwrap()
}

/// Tokens that are none in particular.
fn tokens(seed: u32, count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| (seed * 31 + at * 17 + at * at * 5) % VOCABULARY).collect()
}

/// A reply of the model's own to a prompt that others begin with too, with feedback of every kind.
fn sample(decoder: &Decoder, number: u32, reward: f32) -> Sample {
    let prompt = [tokens(1, 9), tokens(number + 2, 3)].concat();
    let response = tokens(number + 40, 4 + number as usize % 3);
    let temperature = if number.is_multiple_of(2) { 1.0 } else { 0.6 };
    let all = [prompt.clone(), response.clone()].concat();
    let sequence = Sequence::new(decoder.config(), all.clone(), prompt.len()).unwrap();
    let pack = Pack::new(decoder.config(), &[sequence], &[temperature]).unwrap();
    let own = floats(answers(decoder, &pack, None).logprobs).unwrap();
    let teacher = own.iter().enumerate().map(|(at, p)| p + 0.3 - 0.2 * at as f32).collect();
    let hinted = |seed| [&prompt[..9], &tokens(seed, 2), &prompt[9..]].concat();
    Sample {
        turn_id: TurnId(u128::from(number)),
        tokens: all,
        response_start: prompt.len(),
        temperature,
        behaviour: own.clone(),
        forced: if number == 3 { vec![1] } else { Vec::new() },
        scored: Some((teacher, own)),
        teacher_top: None,
        candidates: vec![hinted(number + 70), hinted(number + 90)],
        reward,
        signal: TrainingSignal::Both,
        session: format!("session {}", number / 2),
        oldest: Version::BASE,
        ready_at_us: 0,
    }
}

fn batch(decoder: &Decoder) -> Vec<Sample> {
    (0..5).map(|number| sample(decoder, number, if number % 2 == 0 { 1.0 } else { -1.0 })).collect()
}

fn config(method: Method) -> TrainConfig {
    TrainConfig { method, learning_rate: 1e-3, top_k: Some(4), ..TrainConfig::default() }
}

fn outcome(learner: &Learner, batch: &[Sample], config: &TrainConfig) -> Outcome {
    let mut controls =
        Controls { stopped: &mut || false, allows: &|_, _| Ok(()), reduce: &mut Alone };
    learner.step(batch, config, &mut controls).unwrap()
}

fn learned(
    learner: &Learner,
    batch: &[Sample],
    config: &TrainConfig,
) -> (Learner, Vec<(String, f64)>) {
    match outcome(learner, batch, config) {
        Outcome::Learned(next, metrics) => (*next, metrics),
        other => panic!("{other:?}"),
    }
}

fn metric(metrics: &[(String, f64)], name: &str) -> f64 {
    metrics.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}: {metrics:?}")).1
}

fn weights(learner: &Learner) -> Vec<f32> {
    learner.parameters().into_iter().flat_map(|(_, p)| p.to_vec().unwrap()).collect()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Every method, and every way of `hybrid`.
fn ways() -> Vec<TrainConfig> {
    let mut ways: Vec<TrainConfig> = Method::ALL.iter().map(|method| config(*method)).collect();
    for support in HybridSupport::ALL {
        for selection in HybridSelection::ALL {
            ways.push(TrainConfig {
                hybrid_support: *support,
                hybrid_selection: *selection,
                ..config(Method::Hybrid)
            });
        }
    }
    ways.push(TrainConfig { behaviour: Behaviour::Decoupled, ..config(Method::Combine) });
    ways.push(TrainConfig { opd_without_hint: true, ..config(Method::Hybrid) });
    ways
}

#[test]
fn a_step_of_every_method_lowers_its_loss() {
    let learner = learner();
    let batch = batch(learner.decoder());
    for way in ways().into_iter().filter(|way| way.method != Method::Hybrid) {
        let (next, before) = learned(&learner, &batch, &way);
        // The proximal policy and the teacher are those of the step's start: look at the same loss.
        let fixed = next.clone().beside(Some(learner.decoder().clone()), None);
        let way = TrainConfig { behaviour: Behaviour::Rollout, ..way };
        let (_, after) = learned(&fixed, &batch, &way);
        let (before, after) = (metric(&before, "loss"), metric(&after, "loss"));
        assert!(after < before, "{:?}: {before} then {after}", way.method);
    }
}

#[test]
fn several_updates_over_one_batch_lower_the_loss_of_every_way_of_hybrid() {
    let learner = learner();
    let batch = batch(learner.decoder());
    for way in ways().into_iter().filter(|way| way.method == Method::Hybrid) {
        let loss = |epochs: usize| {
            // Its constants are those of the step's start; the last update's loss tells.
            let mut seen = Vec::new();
            let collected = std::cell::RefCell::new(&mut seen);
            let allows = |loss: f64, _: f64| {
                collected.borrow_mut().push(loss);
                Ok(())
            };
            let way = TrainConfig { epochs, ..way.clone() };
            let mut controls =
                Controls { stopped: &mut || false, allows: &allows, reduce: &mut Alone };
            let done = learner.step(&batch, &way, &mut controls).unwrap();
            assert!(matches!(done, Outcome::Learned(..)));
            seen
        };
        let losses = loss(4);
        assert_eq!(losses.len(), 4);
        assert!(
            losses[3] < losses[0],
            "{:?} {:?}: {losses:?}",
            way.hybrid_support,
            way.hybrid_selection
        );
    }
}

#[test]
fn neither_packing_nor_order_changes_a_step() {
    let learner = learner();
    let batch = batch(learner.decoder());
    for way in ways() {
        let (whole, figures) = learned(&learner, &batch, &way);
        assert!(
            metric(&figures, "rows") < metric(&figures, "tokens"),
            "what is common counts once"
        );
        let alone = TrainConfig { pack_tokens: 2, ..way.clone() };
        let (single, others) = learned(&learner, &batch, &alone);
        let mut turned = batch.clone();
        turned.reverse();
        let (reversed, _) = learned(&learner, &turned, &way);
        // One update of AdamW turns the least difference of a tiny gradient into one of the rate.
        for (name, other) in [("alone", &single), ("reversed", &reversed)] {
            let (a, b) = (weights(&whole), weights(other));
            let off = a.iter().zip(&b).filter(|(a, b)| (*a - *b).abs() > 2e-5).count();
            assert!(off * 200 < a.len(), "{:?} {name}: {off} of {}", way.method, a.len());
        }
        let off = (metric(&figures, "loss") - metric(&others, "loss")).abs();
        assert!(off < 1e-5, "{:?}: {off}", way.method);
        let norms = [metric(&figures, "grad_norm"), metric(&others, "grad_norm")];
        assert!((norms[0] - norms[1]).abs() < 1e-4 * norms[0].max(0.1), "{norms:?}");
    }
}

#[test]
fn the_policy_is_its_own_teacher_where_the_hint_says_nothing() {
    let learner = learner();
    let mut batch = batch(learner.decoder());
    for sample in &mut batch {
        sample.candidates = vec![sample.tokens[..sample.response_start].to_vec()];
    }
    let (_, figures) = learned(&learner, &batch, &config(Method::Topk));
    assert!(metric(&figures, "loss").abs() < 1e-5, "{figures:?}");
    assert!(metric(&figures, "grad_norm") < 1e-3, "{figures:?}");
    let hybrid = TrainConfig { weight_rl: 0.0, ..config(Method::Hybrid) };
    let (_, figures) = learned(&learner, &batch, &hybrid);
    assert!(metric(&figures, "gap").abs() < 1e-5 && metric(&figures, "grad_norm") < 1e-3);
}

/// What the teacher thought likeliest when the hint was found is as good as asking it again, while
/// it thinks the same; and what another teacher thought is learned.
#[test]
fn the_likeliest_ids_of_a_teacher_may_be_brought_along() {
    let learner = learner();
    let batch = batch(learner.decoder());
    let config = config(Method::Topk);
    let frozen = Frozen { policy: learner.decoder(), teacher: learner.decoder(), reference: None };
    let constants =
        Preparation { frozen, config: &config, stopped: &mut || false }.constants(&batch);
    let mut bringing = batch.clone();
    for (sample, constants) in bringing.iter_mut().zip(constants.unwrap().unwrap()) {
        let support = constants.support.unwrap();
        sample.teacher_top = Some(Likeliest { ids: support.ids, logprobs: support.teacher });
    }
    let (computed, figures) = learned(&learner, &batch, &config);
    let (brought, others) = learned(&learner, &bringing, &config);
    assert_eq!(weights(&computed), weights(&brought));
    assert_eq!(metric(&figures, "loss"), metric(&others, "loss"));
    // only some of a batch, and from a teacher who prefers what the policy does not
    let top = bringing[1].teacher_top.as_mut().unwrap();
    top.logprobs.chunks_mut(4).for_each(|row| row.rotate_left(1));
    bringing[2].teacher_top = None;
    let (_, figures) = learned(&learner, &bringing, &config);
    assert!(metric(&figures, "loss") > metric(&others, "loss"), "{figures:?}");
}

#[test]
fn on_policy_the_decoupled_step_is_the_plain_one() {
    let learner = learner();
    let batch = batch(learner.decoder());
    let (plain, _) = learned(&learner, &batch, &config(Method::Combine));
    let decoupled = TrainConfig { behaviour: Behaviour::Decoupled, ..config(Method::Combine) };
    let (other, figures) = learned(&learner, &batch, &decoupled);
    assert!((metric(&figures, "importance") - 1.0).abs() < 1e-4, "{figures:?}");
    let (a, b) = (weights(&plain), weights(&other));
    let off = a.iter().zip(&b).filter(|(a, b)| (*a - *b).abs() > 2e-5).count();
    assert!(off * 100 < a.len(), "{off} of {}", a.len());
    let mut behind = batch;
    behind[0].behaviour.iter_mut().for_each(|p| *p -= 5.0);
    let (_, figures) = learned(&learner, &behind, &decoupled);
    assert!(metric(&figures, "importance") > 1.1, "capped at 2: {figures:?}");
}

#[test]
fn the_distance_to_a_reference_holds_the_policy_back() {
    let start = learner();
    let batch = batch(start.decoder());
    for kl in [KlEstimator::K2, KlEstimator::K3, KlEstimator::LowVarKl] {
        let way = |kl_coefficient| TrainConfig { kl, kl_coefficient, ..config(Method::Sft) };
        let reference = || Some(start.decoder().clone());
        let (moved, figures) = learned(&start.clone().beside(None, reference()), &batch, &way(1.0));
        assert!(metric(&figures, "kl_reference").abs() < 1e-6, "{kl:?} begins at 0");
        let (_, figures) = learned(&moved.beside(None, reference()), &batch, &way(1.0));
        assert!(metric(&figures, "kl_reference") > 1e-6, "{kl:?}: {figures:?}");
    }
}

#[test]
fn an_adapter_learns_beside_a_base_that_stays() {
    let base = model();
    let settings = LoraSettings { rank: 4, alpha: 4.0, rank_stabilized: false };
    let adapter = Adapter::fresh(settings, base.config(), 7, &Device::flex());
    let learner = Learner::new(base.clone(), Some(adapter), optimizer(1e-2)).unwrap();
    let batch = batch(&base);
    let way = TrainConfig { weights: TrainedWeights::Lora, ..config(Method::Combine) };
    let (first, figures) = learned(&learner, &batch, &way);
    let off = metric(&figures, "train_rollout_logprob_abs_diff_max");
    assert!(off < 1e-5, "a fresh adapter changes nothing: {off}");
    let (second, _) = learned(&first, &batch, &way);
    assert!(furthest(&weights(&first), &weights(&second)) > 1e-4);
    let names: Vec<String> = second.parameters().names().map(str::to_owned).collect();
    assert!(names.iter().all(|name| name.contains("lora_")), "{names:?}");
    let dir = tempfile::tempdir().unwrap();
    second.save(dir.path(), "../base").unwrap();
    let loaded = Adapter::load(dir.path(), base.config(), &Device::flex()).unwrap();
    let sequence = Sequence::new(base.config(), tokens(3, 12), 5).unwrap();
    let pack = Pack::new(base.config(), &[sequence], &[1.0]).unwrap();
    let asked = |decoder: &Decoder| floats(answers(decoder, &pack, None).logprobs).unwrap();
    let served = base.with_adapter(&loaded).unwrap();
    assert_eq!(asked(&served), asked(second.decoder()));
    assert!(furthest(&asked(&served), &asked(&base)) > 1e-3, "it has learned");
}

#[test]
fn in_bf16_the_masters_take_steps_that_bf16_could_not_tell_apart() {
    let exact = Learner::new(model(), None, optimizer(1e-6)).unwrap();
    let rounded = exact.clone().computing_in(Precision::Bf16).unwrap();
    let batch = batch(exact.decoder());
    let (next, figures) = learned(&rounded, &batch, &config(Method::Combine));
    assert!(metric(&figures, "weights_changed") > 0.5, "{figures:?}");
    let moved = furthest(&weights(&rounded), &weights(&next));
    assert!(moved > 0.0 && moved < 1e-5, "{moved}");
    let (_, in_f32) = learned(&exact, &batch, &config(Method::Combine));
    let norms = [metric(&figures, "grad_norm"), metric(&in_f32, "grad_norm")];
    assert!((norms[0] - norms[1]).abs() < 0.05 * norms[1], "{norms:?}");
}

#[test]
fn an_extreme_advantage_is_capped_and_counted() {
    let learner = learner();
    let mut batch = batch(learner.decoder());
    let (_, calm) = learned(&learner, &batch, &config(Method::Combine));
    let (teacher, _) = batch[0].scored.as_mut().unwrap();
    teacher[0] = -4000.0;
    let (_, figures) = learned(&learner, &batch, &config(Method::Combine));
    let share = 1.0 / batch[0].response_tokens() as f64 / batch.len() as f64;
    assert!((metric(&figures, "advantage_capped") - share).abs() < 1e-6, "{figures:?}");
    let moved = (metric(&figures, "loss") - metric(&calm, "loss")).abs();
    assert!(moved < 12.0 * share, "one token moves the loss by its cap at most: {moved}");
}

#[test]
fn a_ratio_beyond_all_measure_is_capped_and_counted() {
    let learner = learner();
    let mut batch = batch(learner.decoder());
    batch[1].behaviour[0] = -900.0;
    let (next, figures) = learned(&learner, &batch, &config(Method::Binary));
    assert!(metric(&figures, "ratio_capped") > 0.0, "{figures:?}");
    assert!(metric(&figures, "loss").is_finite() && weights(&next).iter().all(|w| w.is_finite()));
}

#[test]
fn what_is_refused_or_not_finite_changes_nothing() {
    let learner = learner();
    let batch = batch(learner.decoder());
    let way = TrainConfig { epochs: 3, ..config(Method::Combine) };
    let asked = std::cell::Cell::new(0);
    let allows = |_: f64, _: f64| {
        asked.set(asked.get() + 1);
        if asked.get() == 2 { Err("too much".to_owned()) } else { Ok(()) }
    };
    let mut controls = Controls { stopped: &mut || false, allows: &allows, reduce: &mut Alone };
    let before = weights(&learner);
    match learner.step(&batch, &way, &mut controls).unwrap() {
        Outcome::SetAside(Rejection::Exploding, why) => assert_eq!(why, "too much"),
        other => panic!("{other:?}"),
    }
    assert_eq!((weights(&learner), learner.optimizer.steps()), (before, 0));
    let mut poisoned = batch;
    poisoned[2].reward = f32::NAN;
    match outcome(&learner, &poisoned, &way) {
        Outcome::SetAside(Rejection::NotFinite, why) => {
            assert_eq!(why, "the loss is not finite");
        }
        other => panic!("{other:?}"),
    }
}

/// At how many of the places where a step looks whether it is to end it was dropped.
fn places_to_end() -> usize {
    let learner = learner();
    let batch = batch(learner.decoder());
    let way = TrainConfig { pack_tokens: 2, epochs: 2, ..config(Method::Hybrid) };
    let mut ends = 0;
    for at in 1.. {
        let mut calls = 0;
        let mut stopped = || {
            calls += 1;
            calls >= at
        };
        let mut controls =
            Controls { stopped: &mut stopped, allows: &|_, _| Ok(()), reduce: &mut Alone };
        match learner.step(&batch, &way, &mut controls).unwrap() {
            Outcome::Stopped => ends += 1,
            Outcome::Learned(..) => break,
            other => panic!("{other:?}"),
        }
    }
    ends
}

#[test]
fn told_to_end_a_step_is_dropped_wherever_it_is() {
    let ends = super::on_one_thread(places_to_end);
    assert!(ends > 20, "{ends}");
    // several lanes look by the clock while they compute: before the first of their packs at least
    let ends = places_to_end();
    assert!(ends > 10, "{ends}");
}
