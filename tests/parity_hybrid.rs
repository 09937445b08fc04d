//! The hybrid objective against values made with torch, with the reference's own code.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use openclaw_rl::loss::hybrid::{
    Candidate, Selection, Support, SupportKind, TopK, choose, distill, overlap, support,
};
use openclaw_rl::loss::{
    Clip, Outputs, PolicyInput, Samples, advantage, mean_of_sample_means, policy, slope,
};
use openclaw_rl::model::{
    Decoder, Differentiation, Pack, Sequence, Slopes, Support as Asked, backward, forward,
};
use serde_json::Value;

use crate::golden::{self, Array, Golden, Sample, difference};

/// Float errors of a few operations on values of order 1.
const TERM_TOLERANCE: f32 = 1e-5;

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn matrix(values: &[f32], columns: usize) -> Tensor<2> {
    let shape = [values.len() / columns, columns];
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.inner().try_into_vec_as().unwrap()
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    let error = difference(found, expected);
    assert!(error <= tolerance, "{what}: off by {error:e}, allowed {tolerance:e}");
}

/// One case of a hybrid set.
struct Case<'a> {
    set: &'a Golden,
    name: &'a str,
    settings: &'a Value,
}

/// Every case of every set.
fn each_case(mut look: impl FnMut(&Case<'_>)) {
    for set in golden::hybrid_sets() {
        let cases = set.manifest["cases"].as_object().unwrap();
        assert!(cases.len() >= 13, "{} cases", cases.len());
        for (name, settings) in cases {
            look(&Case { set: &set, name, settings });
        }
    }
}

impl Case<'_> {
    fn text(&self, key: &str) -> &str {
        self.settings[key].as_str().unwrap()
    }

    fn number(&self, key: &str) -> f32 {
        self.settings[key].as_f64().unwrap_or(0.0) as f32
    }

    fn is_ours(&self) -> bool {
        self.settings["ours"] == true
    }

    fn temperature(&self) -> f32 {
        self.number("temperature")
    }

    fn k(&self) -> usize {
        self.set.manifest["topk"].as_u64().unwrap() as usize
    }

    fn kind(&self) -> SupportKind {
        match self.text("support") {
            "student" => SupportKind::Student,
            "teacher" => SupportKind::Teacher,
            "overlap" => SupportKind::Overlap,
            other => panic!("{other}"),
        }
    }

    fn selection(&self) -> Selection {
        match self.text("selection") {
            "shortest" => Selection::Shortest,
            "token_optimal" => Selection::TokenOptimal,
            "sequence_optimal" => Selection::SequenceOptimal,
            other => panic!("{other}"),
        }
    }

    fn clip(&self) -> Clip {
        let number = |key: &str| self.set.manifest[key].as_f64().unwrap() as f32;
        Clip {
            low: number("eps_clip"),
            high: number("eps_clip_high"),
            dual: None,
            log_ratio_max: number("log_ratio_clamp"),
        }
    }

    fn what(&self, part: &str) -> String {
        format!("{} {} {part}", self.set.name(), self.name)
    }

    fn input(&self, name: &str) -> &[f32] {
        &self.set.inputs[name].values
    }

    /// A float input at this case's temperature.
    fn at_temperature(&self, name: &str) -> &[f32] {
        match self.temperature() == 1.0 {
            true => self.input(name),
            false => self.input(&format!("{name}_t06")),
        }
    }

    fn expected(&self, part: &str) -> &[f32] {
        &self.set.expected[&format!("{}/{part}", self.name)].values
    }

    fn samples(&self) -> Samples {
        Samples::batch(self.set.samples().iter().map(|sample| sample.responses.len()).collect())
    }

    fn mask(&self) -> Tensor<1> {
        tensor(self.input("loss_mask"))
    }

    /// The mask of the distillation term: ours leaves out samples without a hint.
    fn distill_mask(&self) -> Tensor<1> {
        let mut mask = self.input("loss_mask").to_vec();
        for (sample, hinted) in self.set.samples().iter().zip(self.input("has_hint")) {
            if self.is_ours() && *hinted == 0.0 {
                mask[sample.responses.clone()].fill(0.0);
            }
        }
        tensor(&mask)
    }

    /// The old policy's likeliest ids of a reply.
    fn student(&self, responses: &Range<usize>) -> TopK {
        let rows = responses.start * self.k()..responses.end * self.k();
        TopK {
            ids: ids(&self.input("student_topk_indices")[rows.clone()]),
            logprobs: self.at_temperature("student_topk_logprobs")[rows].to_vec(),
        }
    }

    fn candidate(&self, which: usize, responses: &Range<usize>) -> Candidate {
        let tokens = self.input("loss_mask").len();
        let first = which * tokens;
        let rows = (first + responses.start) * self.k()..(first + responses.end) * self.k();
        let part = |name: &str| self.at_temperature(name)[rows.clone()].to_vec();
        Candidate {
            own: TopK {
                ids: ids(&self.input("cand_native_indices")[rows.clone()]),
                logprobs: part("cand_teacher_logprobs_native"),
            },
            at_student: part("cand_teacher_logprobs_at_student"),
            old_at_own: part("cand_old_logprobs_at_native"),
        }
    }

    /// The chosen candidate of each of a reply's tokens, and the support that comes of it.
    fn supported(&self, index: usize, sample: &Sample) -> (Vec<usize>, Support) {
        let count = self.input("num_candidates")[index] as usize;
        let candidates: Vec<Candidate> =
            (0..count).map(|which| self.candidate(which, &sample.responses)).collect();
        let student = self.student(&sample.responses);
        let overlaps: Vec<Vec<usize>> = candidates
            .iter()
            .map(|candidate| overlap(&student.ids, &candidate.own.ids, self.k()))
            .collect();
        let mask = &self.input("loss_mask")[sample.responses.clone()];
        let counted: Vec<bool> = mask.iter().map(|mask| !self.is_ours() || *mask == 1.0).collect();
        let chosen = choose(self.selection(), &overlaps, &counted);
        let support = support(self.kind(), &student, &candidates, &chosen, self.k());
        (chosen, support)
    }

    /// Choice and support of every token of the batch.
    fn all_supported(&self) -> (Vec<usize>, Support) {
        let (mut chosen, mut all) = (Vec::new(), Support::default());
        for (index, sample) in self.set.samples().iter().enumerate() {
            let (choice, part) = self.supported(index, sample);
            chosen.extend(choice);
            all.ids.extend(part.ids);
            all.mask.extend(part.mask);
            all.old.extend(part.old);
            all.teacher.extend(part.teacher);
        }
        (chosen, all)
    }

    /// Both terms at the model's outputs: the loss, L_RL and L_OPD of each token.
    fn losses(&self, at: Outputs, support: &Support) -> (Tensor<1>, [Tensor<1>; 2]) {
        let samples = self.samples();
        let rl = policy(PolicyInput {
            logprobs: at.logprobs,
            old: tensor(self.at_temperature("old_logprobs")),
            advantages: advantage::binary(tensor(self.input("rewards")), &samples),
            importance: None,
            mask: self.mask(),
            samples: &samples,
            clip: self.clip(),
        });
        let (gap, mask) = (self.number("gap_clip"), self.distill_mask());
        let opd = distill(at.support.unwrap(), support, gap, self.clip(), mask, &samples);
        let [w_rl, w_opd] = [self.number("w_rl"), self.number("w_opd")];
        let loss = rl.loss.mul_scalar(w_rl) + opd.loss.mul_scalar(w_opd);
        (loss, [rl.per_token, opd.per_token])
    }

    fn loss(&self) -> f32 {
        self.number("loss")
    }

    /// The floor of a quantity; ours has none of its own.
    fn tolerance(&self, quantity: &str) -> f32 {
        let name = self.name.trim_end_matches("_ours");
        self.set.tolerance(&format!("{quantity}.{name}"))
    }
}

fn ids(values: &[f32]) -> Vec<u32> {
    values.iter().map(|id| *id as u32).collect()
}

/// Log-probabilities at some ids of each row.
fn gathered(logits: &Array, vocab: usize, temperature: f32, ids: &[u32], k: usize) -> Tensor<2> {
    let logprobs = log_softmax(matrix(&logits.values, vocab).div_scalar(temperature), 1);
    let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    let shape = [ids.len() / k, k];
    let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(ids, shape), &Device::flex());
    logprobs.gather(1, ids)
}

#[test]
fn parity_hybrid_overlap_and_choice() {
    each_case(|case| {
        let (chosen, _) = case.all_supported();
        let chosen: Vec<f32> = chosen.iter().map(|choice| *choice as f32).collect();
        assert_close(&case.what("k*"), &chosen, case.expected("k_star"), 0.0);
        let tokens = case.input("loss_mask").len();
        let expected = &case.set.expected["overlap"].values;
        for (index, sample) in case.set.samples().iter().enumerate() {
            let student = case.student(&sample.responses);
            for which in 0..case.input("num_candidates")[index] as usize {
                let own = case.candidate(which, &sample.responses).own.ids;
                let counts = overlap(&student.ids, &own, case.k());
                let counts: Vec<f32> = counts.iter().map(|count| *count as f32).collect();
                let first = which * tokens;
                let row = first + sample.responses.start..first + sample.responses.end;
                assert_eq!(counts, expected[row], "{}", case.what("overlap"));
            }
        }
    });
}

#[test]
fn parity_hybrid_terms() {
    each_case(|case| {
        let (_, support) = case.all_supported();
        let k = case.k();
        let inside = |found: Vec<f32>| -> Vec<f32> {
            found.iter().zip(&support.mask).map(|(value, mask)| value * mask).collect()
        };
        let found: Vec<f32> = support.ids.iter().map(|id| *id as f32).collect();
        assert_close(&case.what("mask"), &support.mask, case.expected("support_mask"), 0.0);
        let expected = inside(case.expected("support_ids").to_vec());
        assert_close(&case.what("ids"), &inside(found), &expected, 0.0);
        let logits = &case.set.expected["logits_response"];
        let vocab = logits.values.len() / case.input("loss_mask").len();
        let current = gathered(logits, vocab, case.temperature(), &support.ids, k);
        let samples = case.samples();
        let (gap, mask) = (case.number("gap_clip"), case.distill_mask());
        let loss = distill(current, &support, gap, case.clip(), mask, &samples);
        assert_close(
            &case.what("weight"),
            &values(loss.weights),
            case.expected("weight"),
            TERM_TOLERANCE,
        );
        assert_close(
            &case.what("gap"),
            &inside(values(loss.gaps)),
            case.expected("gap"),
            TERM_TOLERANCE,
        );
        let mut terms = values(loss.per_token);
        for (sample, hinted) in case.set.samples().iter().zip(case.input("has_hint")) {
            if case.is_ours() && *hinted == 0.0 {
                terms[sample.responses.clone()].fill(0.0);
            }
        }
        assert_close(&case.what("opd"), &terms, case.expected("opd"), TERM_TOLERANCE);
        let size = values(loss.metrics.support_size)[0] * samples_of(case) as f32;
        let reported = &case.settings["metrics_sum_of_sample_mean"]["opd_subset_size"];
        if !case.is_ours() {
            assert_close(&case.what("size"), &[size], &[reported.as_f64().unwrap() as f32], 1e-3);
        }
    });
}

fn samples_of(case: &Case<'_>) -> usize {
    case.input("rewards").len()
}

#[test]
fn parity_hybrid_losses() {
    each_case(|case| {
        let (_, support) = case.all_supported();
        let logits = &case.set.expected["logits_response"];
        let vocab = logits.values.len() / case.input("loss_mask").len();
        let outputs = Outputs {
            logprobs: tensor(case.expected("logprobs")),
            support: Some(gathered(logits, vocab, case.temperature(), &support.ids, case.k())),
            entropy: tensor(&vec![0.0; case.input("loss_mask").len()]),
        };
        let (loss, [rl, opd]) = case.losses(outputs, &support);
        assert_close(&case.what("rl"), &values(rl), case.expected("rl"), TERM_TOLERANCE);
        let part = values(mean_of_sample_means(opd, case.distill_mask(), &case.samples()));
        assert_close(&case.what("loss_opd"), &part, &[case.number("loss_opd")], TERM_TOLERANCE);
        let tolerance = case.tolerance("loss") + TERM_TOLERANCE;
        assert_close(&case.what("loss"), &values(loss), &[case.loss()], tolerance);
    });
}

/// The whole way: the model's outputs, both terms, and the gradient of every parameter.
#[test]
fn parity_hybrid_model_gradients() {
    each_case(|case| {
        let decoder = Decoder::load(&case.set.model(), &Device::flex()).unwrap();
        let grads = golden::read(&case.set.dir.join("grads.safetensors"));
        let samples = case.set.samples();
        let sequences: Vec<Sequence> = samples
            .iter()
            .map(|sample| {
                let (tokens, start) = (sample.tokens.clone(), sample.response_start);
                Sequence::new(decoder.config(), tokens, start).unwrap()
            })
            .collect();
        let temperatures = vec![case.temperature(); sequences.len()];
        let pack = Pack::new(decoder.config(), &sequences, &temperatures).unwrap();
        let (_, support) = case.all_supported();
        let asked = Asked::new(case.k(), support.ids.clone());
        let (answers, tape) = forward(&decoder, &pack, Some(&asked), Differentiation::default());
        let outputs = Outputs {
            logprobs: answers.logprobs,
            support: answers.support,
            entropy: answers.entropy,
        };
        let result = slope(outputs, |at| case.losses(at, &support));
        let tolerance = case.tolerance("loss") + TERM_TOLERANCE;
        assert_close(&case.what("loss"), &values(result.loss), &[case.loss()], tolerance);
        let by = result.by;
        let slopes = Slopes { logprobs: by.logprobs, support: by.support, entropy: by.entropy };
        let gradients = backward(&decoder, tape, slopes);
        assert_eq!(gradients.len(), decoder.parameters().len());
        for (name, gradient) in gradients {
            let expected = &grads[&format!("{}/{name}", case.name)].values;
            let found = values(gradient.values);
            assert_close(&case.what(&name), &found, expected, case.tolerance("grad"));
        }
    });
}

/// Rows made for the corners: no id shared, log-ratios beyond the clamp, tiny weights.
#[test]
fn parity_hybrid_corners() {
    for set in golden::hybrid_sets() {
        let unit = golden::read(&set.dir.join("unit.safetensors"));
        let (rows, vocab) = (8, 24);
        let k = unit["student_topk_indices"].values.len() / rows;
        let student = TopK {
            ids: ids(&unit["student_topk_indices"].values),
            logprobs: unit["student_topk_logprobs"].values.clone(),
        };
        let candidate = Candidate {
            own: TopK {
                ids: ids(&unit["teacher_native_indices"].values),
                logprobs: unit["teacher_native_logprobs"].values.clone(),
            },
            at_student: unit["teacher_logprobs_at_student"].values.clone(),
            old_at_own: Vec::new(),
        };
        for (name, kind) in [("student", SupportKind::Student), ("overlap", SupportKind::Overlap)] {
            let support = support(kind, &student, std::slice::from_ref(&candidate), &[0; 8], k);
            let expected = |part: &str| &unit[&format!("{name}/{part}")].values;
            let clip = Clip { low: 0.2, high: 0.28, dual: None, log_ratio_max: 20.0 };
            let logprobs = log_softmax(matrix(&unit["logits"].values, vocab), 1);
            let current = gathered(&unit["logits"], vocab, 1.0, &support.ids, k);
            let zeros = tensor(&[0.0; 8]);
            let at = Outputs { logprobs: zeros.clone(), support: Some(current), entropy: zeros };
            let samples = Samples::batch(vec![rows]);
            let result = slope(at, |at| {
                let mask = tensor(&[1.0; 8]);
                let loss = distill(at.support.unwrap(), &support, 1.0, clip, mask, &samples);
                (loss.per_token.clone().sum(), loss.per_token)
            });
            let what = format!("{} unit {name}", set.name());
            let scale = expected("opd").iter().fold(1.0f32, |max, term| max.max(term.abs()));
            let found: Vec<f32> = values(result.other).iter().map(|term| term / scale).collect();
            let wanted: Vec<f32> = expected("opd").iter().map(|term| term / scale).collect();
            assert_close(&what, &found, &wanted, TERM_TOLERANCE);
            let by_support = values(result.by.support.unwrap());
            let p = values(logprobs.exp());
            let mut by_logits = vec![0f32; rows * vocab];
            let pairs = by_support.chunks_exact(k).zip(support.ids.chunks_exact(k)).enumerate();
            for (row, (slopes, ids)) in pairs {
                for (slope, support) in slopes.iter().zip(ids) {
                    for id in 0..vocab {
                        let hit = f32::from(u8::from(*support as usize == id));
                        by_logits[row * vocab + id] += slope * (hit - p[row * vocab + id]);
                    }
                }
            }
            let grads = expected("grad_logits");
            let scale = grads.iter().fold(1.0f32, |max, grad| max.max(grad.abs()));
            let found: Vec<f32> = by_logits.iter().map(|grad| grad / scale).collect();
            let wanted: Vec<f32> = grads.iter().map(|grad| grad / scale).collect();
            assert_close(&format!("{what} gradient"), &found, &wanted, TERM_TOLERANCE);
        }
    }
}
