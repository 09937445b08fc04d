//! Losses, their terms, their gradients and AdamW against values made with torch.

use burn::tensor::{Device, Tensor};
use openclaw_rl::loss::{
    Clip, KlEstimator, Outputs, PolicyInput, PolicyLoss, Samples, advantage, kl_penalty, policy,
    reverse_kl, slope,
};
use openclaw_rl::model::{
    Decoder, Differentiation, Gradients, Pack, Parameter, Parameters, Sequence, Slopes, Support,
    backward, forward,
};
use openclaw_rl::stage::train::adamw::{AdamW, AdamWOptions};

use crate::golden::{self, Golden, difference};

/// Float errors of a few operations on values of order 1, where the manifest notes no floor.
const TERM_TOLERANCE: f32 = 5e-6;

/// Every golden set that has the policy cases.
fn golden_sets() -> Vec<Golden> {
    let sets = golden::sets().into_iter();
    let sets: Vec<Golden> = sets.filter(|set| set.manifest["losses"]["ppo"].is_number()).collect();
    assert!(!sets.is_empty(), "no golden set found");
    sets
}

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn values(tensor: Tensor<1>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

/// Outputs of which only the log-probabilities matter.
fn outputs(logprobs: Tensor<1>) -> Outputs {
    Outputs { support: None, entropy: logprobs.zeros_like(), logprobs }
}

impl Golden {
    fn input(&self, name: &str) -> Tensor<1> {
        tensor(&self.inputs[name].values)
    }

    fn batch(&self) -> Samples {
        Samples::batch(self.samples().iter().map(|sample| sample.responses.len()).collect())
    }

    fn hyper(&self, key: &str) -> f32 {
        self.manifest["hyper"][key].as_f64().unwrap() as f32
    }

    /// The tolerance of a loss whose log-probabilities are computed here too: one floor of theirs
    /// on top, since a mean is no worse than its worst term.
    fn loss_tolerance(&self, case: &str) -> f32 {
        self.tolerance(&format!("loss.{case}")) + self.tolerance("logprobs") / 10.0
    }

    fn loss(&self, case: &str) -> f32 {
        self.manifest["losses"][case].as_f64().unwrap() as f32
    }

    /// The advantages of a case.
    fn advantages(&self, case: &str) -> Tensor<1> {
        let input = |name| self.input(name);
        let samples = self.batch();
        match case {
            "ppo" | "ppo_t06" => advantage::binary(input("rewards"), &samples),
            "opd" => advantage::opd(input("teacher_logprobs"), input("old_logprobs")),
            "combined" => advantage::combine(
                advantage::opd(input("combined_teacher_logprobs"), input("old_logprobs")),
                advantage::binary(input("combined_rewards"), &samples),
                advantage::Weights { opd: 1.0, rl: 1.0 },
            ),
            other => panic!("no case {other}"),
        }
    }

    /// The case's loss at `logprobs`.
    fn policy(&self, case: &str, logprobs: Tensor<1>) -> PolicyLoss {
        let old = if case == "ppo_t06" { "old_logprobs_t06" } else { "old_logprobs" };
        policy(PolicyInput {
            logprobs,
            old: self.input(old),
            advantages: self.advantages(case),
            mask: self.input("loss_mask"),
            samples: &self.batch(),
            importance: None,
            clip: Clip {
                low: self.hyper("eps_clip"),
                high: self.hyper("eps_clip_high"),
                dual: None,
                log_ratio_max: 20.0,
            },
        })
    }
}

#[track_caller]
fn assert_close(what: &str, error: f32, tolerance: f32) {
    assert!(error <= tolerance, "{what}: off by {error:e}, allowed {tolerance:e}");
}

#[test]
fn parity_advantages() {
    for set in golden_sets() {
        for (case, name) in [("ppo", "adv_ppo"), ("opd", "adv_opd"), ("combined", "adv_combined")] {
            let error = difference(&values(set.advantages(case)), &set.expected[name].values);
            assert_close(&format!("{} {name}", set.name()), error, 1e-6);
        }
    }
}

#[test]
fn parity_policy_losses() {
    for set in golden_sets() {
        for case in ["ppo", "ppo_t06", "opd", "combined"] {
            let what = format!("{} {case}", set.name());
            let logprobs = if case == "ppo_t06" { "logprobs_t06" } else { "logprobs" };
            let result = set.policy(case, tensor(&set.expected[logprobs].values));
            let error = (values(result.loss)[0] - set.loss(case)).abs();
            assert_close(&what, error, set.tolerance(&format!("loss.{case}")));
            if let Some(terms) = set.expected.get(&format!("pg_{case}")) {
                let error = difference(&values(result.per_token), &terms.values);
                assert_close(&format!("{what} terms"), error, TERM_TOLERANCE);
            }
            let samples = set.samples().len() as f32;
            let reported = &set.manifest["reference_metrics_sum_of_sample_mean"][case];
            let metrics = [
                ("pg_clipfrac", values(result.metrics.clip_fraction)[0]),
                ("ppo_kl", values(result.metrics.kl)[0]),
            ];
            for (name, got) in metrics {
                let error = (got * samples - reported[name].as_f64().unwrap() as f32).abs();
                assert_close(&format!("{what} {name}"), error, 2e-5);
            }
        }
    }
}

#[test]
fn parity_kl_penalties() {
    let estimators = [
        ("kl_k1", KlEstimator::K1),
        ("kl_k2", KlEstimator::K2),
        ("kl_k3", KlEstimator::K3),
        ("kl_low_var_kl", KlEstimator::LowVar),
    ];
    for set in golden_sets() {
        for (case, estimator) in estimators {
            let what = format!("{} {case}", set.name());
            let logprobs = tensor(&set.expected["logprobs"].values);
            let (reference, mask) = (set.input("ref_logprobs"), set.input("loss_mask"));
            let result = kl_penalty(estimator, logprobs, reference, mask, &set.batch());
            let loss = values(result.loss)[0] * set.hyper("kl_coef");
            let tolerance = set.tolerance(&format!("loss.{case}"));
            assert_close(&what, (loss - set.loss(case)).abs(), tolerance);
            let terms = &set.expected[case].values;
            let scale = terms.iter().fold(1.0f32, |max, term| max.max(term.abs()));
            let error = difference(&values(result.per_token), terms) / scale;
            assert_close(&format!("{what} terms"), error, TERM_TOLERANCE);
        }
    }
}

#[test]
fn parity_masked_tokens_have_no_slope() {
    for set in golden_sets() {
        let at = tensor(&set.expected["logprobs"].values);
        let grad = slope(outputs(at), |at| (set.policy("combined", at.logprobs).loss, ()));
        let grad = values(grad.by.logprobs);
        let mask = &set.inputs["loss_mask"].values;
        let mut masked = grad.iter().zip(mask).filter(|(_, mask)| **mask == 0.0);
        assert!(mask.contains(&0.0) && masked.all(|(grad, _)| *grad == 0.0));
        assert!(grad.iter().any(|grad| *grad != 0.0));
    }
}

/// Deltas of ill-conditioned entries (g/(|g| + ε) with a tiny g) are not compared.
const GRAD_MIN: f32 = 1e-7;
/// As the golden README advises: deltas are about 1e-5, the parameters' own f32 grid is coarser.
const DELTA_TOLERANCE: f32 = 2e-7;

fn adamw_options(set: &Golden, decay_vectors: bool) -> AdamWOptions {
    let hyper = &set.manifest["hyper"]["adamw"];
    AdamWOptions {
        learning_rate: hyper["lr"].as_f64().unwrap(),
        beta1: hyper["betas"][0].as_f64().unwrap(),
        beta2: hyper["betas"][1].as_f64().unwrap(),
        epsilon: hyper["eps"].as_f64().unwrap(),
        weight_decay: hyper["weight_decay"].as_f64().unwrap(),
        decay_vectors,
        muon: false,
    }
}

#[test]
fn parity_adamw_first_step() {
    for set in golden_sets() {
        let file = |name: &str| golden::read(&set.dir.join(name));
        let (deltas, grads) = (file("adamw.safetensors"), file("grads.safetensors"));
        let decoder = Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap();
        for (case, decay_vectors) in [("step1_delta", true), ("step1_delta_nodecay1d", false)] {
            let mut optimizer = AdamW::new(adamw_options(&set, decay_vectors));
            optimizer.begin_step();
            let mut compared = 0;
            for (name, before) in decoder.parameters() {
                let Some(expected) = deltas.get(&format!("{case}/{name}")) else { continue };
                let grad = &grads[&format!("ppo/{name}")].values;
                let slope = Parameter::new(before.shape.clone(), tensor(grad));
                let after = optimizer.update(&name, before.clone(), slope).unwrap();
                let got = values(after.values.sub(before.values));
                let error = delta_error(&got, &expected.values, grad);
                assert_close(&format!("{} {case} {name}", set.name()), error, DELTA_TOLERANCE);
                compared += 1;
            }
            assert!(compared > 0);
        }
    }
}

/// The largest error of a change, where the gradient is large enough to tell.
fn delta_error(got: &[f32], expected: &[f32], grads: &[f32]) -> f32 {
    let told = |values: &[f32]| -> Vec<f32> {
        let pairs = values.iter().zip(grads).filter(|(_, grad)| grad.abs() >= GRAD_MIN);
        pairs.map(|(value, _)| *value).collect()
    };
    difference(&told(got), &told(expected))
}

/// The gradient of a case's loss by every parameter, sample by sample as the trainer forms it.
fn gradient(set: &Golden, case: &str, decoder: &Decoder) -> (Parameters, f32) {
    let temperature = if case == "ppo_t06" { set.hyper("temperature_t06") } else { 1.0 };
    let mut taped = Vec::new();
    for sample in set.samples() {
        let start = sample.response_start;
        let sequence = Sequence::new(decoder.config(), sample.tokens, start).unwrap();
        let pack = Pack::new(decoder.config(), &[sequence], &[temperature]).unwrap();
        taped.push(forward(decoder, &pack, None, Differentiation::default()));
    }
    let logprobs = taped.iter().map(|(answers, _)| answers.logprobs.clone()).collect();
    let at = outputs(Tensor::cat(logprobs, 0));
    let slope = slope(at, |at| (set.policy(case, at.logprobs).loss, ()));
    let mut gradients = Gradients::new();
    for (sample, (_, tape)) in set.samples().iter().zip(taped) {
        let part =
            slope.by.logprobs.clone().narrow(0, sample.responses.start, sample.responses.len());
        gradients.accumulate(backward(decoder, tape, part));
    }
    (gradients.into_parameters(), values(slope.loss)[0])
}

#[test]
fn parity_model_gradients() {
    for set in golden_sets() {
        let grads = golden::read(&set.dir.join("grads.safetensors"));
        let decoder = Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap();
        for case in ["ppo", "ppo_t06", "opd", "combined"] {
            let (gradients, loss) = gradient(&set, case, &decoder);
            let what = format!("{} {case}", set.name());
            let tolerance = set.loss_tolerance(case);
            assert_close(&what, (loss - set.loss(case)).abs(), tolerance);
            assert_eq!(gradients.len(), decoder.parameters().len());
            for (name, gradient) in gradients {
                let expected = &grads[&format!("{case}/{name}")].values;
                let error = difference(&values(gradient.values), expected);
                assert_close(
                    &format!("{what} {name}"),
                    error,
                    set.tolerance(&format!("grad.{case}")),
                );
            }
        }
    }
}

/// `topk`: the divergence's terms at the expected logits' own values, its loss, and the gradient of
/// every parameter.
#[test]
fn parity_top_k() {
    for set in golden_sets() {
        let decoder = Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap();
        let grads = golden::read(&set.dir.join("grads.safetensors"));
        let indices = &set.inputs["teacher_topk_indices"].values;
        let samples = set.samples();
        let sequences: Vec<Sequence> = samples
            .iter()
            .map(|sample| {
                let (tokens, start) = (sample.tokens.clone(), sample.response_start);
                Sequence::new(decoder.config(), tokens, start).unwrap()
            })
            .collect();
        let temperatures = vec![1.0; sequences.len()];
        let pack = Pack::new(decoder.config(), &sequences, &temperatures).unwrap();
        let k = indices.len() / pack.response_tokens();
        let support = Support::new(k, indices.iter().map(|id| *id as u32).collect());
        let (answers, tape) = forward(&decoder, &pack, Some(&support), Differentiation::default());
        let (logprobs, entropy) = (answers.logprobs, answers.entropy);
        let outputs = Outputs { logprobs, support: answers.support, entropy };
        let result = slope(outputs, |at| {
            let student = at.support.unwrap();
            let teacher = set.input("teacher_topk_logprobs").reshape(student.dims());
            let loss = reverse_kl(student, teacher, set.input("loss_mask"), &set.batch());
            (loss.loss, loss.per_token)
        });
        let what = format!("{} topk", set.name());
        let terms = difference(&values(result.other), &set.expected["topk_kl"].values);
        assert_close(&format!("{what} terms"), terms, set.tolerance("logprobs"));
        let error = (values(result.loss)[0] - set.loss("topk")).abs();
        assert_close(&what, error, set.loss_tolerance("topk"));
        let by = result.by;
        let slopes = Slopes { logprobs: by.logprobs, support: by.support, entropy: by.entropy };
        for (name, gradient) in backward(&decoder, tape, slopes) {
            let error =
                difference(&values(gradient.values), &grads[&format!("topk/{name}")].values);
            assert_close(&format!("{what} {name}"), error, set.tolerance("grad.topk"));
        }
    }
}

#[test]
fn parity_adamw_three_steps() {
    for set in golden_sets() {
        let deltas = golden::read(&set.dir.join("adamw.safetensors"));
        let base = Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap();
        let mut optimizer = AdamW::new(adamw_options(&set, true));
        let (mut decoder, mut slopes) = (base.clone(), Parameters::new());
        let losses = set.manifest["adamw_ppo_losses_at_step"].as_array().unwrap();
        for (step, expected) in losses.iter().enumerate() {
            let (gradients, loss) = gradient(&set, "ppo", &decoder);
            let error = (loss - expected.as_f64().unwrap() as f32).abs();
            assert_close(
                &format!("{} loss at {step}", set.name()),
                error,
                set.loss_tolerance("ppo"),
            );
            if step == 3 {
                break;
            }
            optimizer.begin_step();
            let updated = decoder.parameters().into_iter().map(|(name, parameter)| {
                let grad = gradients.get(&name).unwrap().clone();
                let after = optimizer.update(&name, parameter, grad).unwrap();
                (name, after)
            });
            decoder = decoder.with_parameters(updated.collect()).unwrap();
            slopes = gradients;
        }
        let after = decoder.parameters();
        for (name, before) in base.parameters() {
            let got = values(after.get(&name).unwrap().values.clone().sub(before.values));
            let grads = values(slopes.get(&name).unwrap().values.clone());
            let expected = &deltas[&format!("step3_delta/{name}")].values;
            let error = delta_error(&got, expected, &grads);
            assert_close(&format!("{} step3 {name}", set.name()), error, 3.0 * DELTA_TOLERANCE);
        }
    }
}
