use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::model::{
    Adapter, Causal, Decoder, Differentiation, LoraSettings, Parameters, Precision, RandomWeights,
    Recompute, Slopes, Support, answers, backward, forward, top,
};

fn config() -> ModelConfig {
    let json = serde_json::json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "vocab_size": 96,
        "rms_norm_eps": 1e-6, "rope_theta": 10_000.0, "max_position_embeddings": 128,
        "tie_word_embeddings": true, "eos_token_id": 0,
    });
    ModelConfig::parse(&json.to_string(), Path::new("the test's")).unwrap()
}

/// Random weights are small: enlarged, so that attention is not the same everywhere.
fn decoder() -> Decoder {
    let plain = Decoder::random(config(), RandomWeights::Seeded(7), &Device::flex()).unwrap();
    let larger = |(name, parameter): (String, super::super::Parameter)| {
        let factor = if parameter.shape.len() == 2 { 8.0 } else { 1.1 };
        let values = parameter.values.mul_scalar(factor);
        (name, super::super::Parameter::new(parameter.shape, values))
    };
    plain.with_parameters(plain.parameters().into_iter().map(larger).collect()).unwrap()
}

fn adapted(decoder: &Decoder) -> Decoder {
    let settings = LoraSettings { rank: 3, alpha: 6.0, rank_stabilized: false };
    let fresh = Adapter::fresh(settings, decoder.config(), 5, decoder.device());
    let mut rng = 0u32;
    let trained = |(name, parameter): (String, super::super::Parameter)| {
        let values: Vec<f32> = (0..parameter.shape.iter().product::<usize>())
            .map(|_| {
                rng = rng.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (rng >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        let device = Device::flex();
        (name, super::super::Parameter::from_values(parameter.shape, values, &device))
    };
    let trained = fresh.parameters().into_iter().map(trained).collect();
    let adapter = Adapter::from_parameters(settings, &trained, decoder.config()).unwrap();
    decoder.with_adapter(&adapter).unwrap()
}

/// Ids that differ from place to place, and from salt to salt.
fn ids(count: usize, salt: usize) -> Vec<u32> {
    (0..count).map(|i| ((i * 37 + salt * 11 + i * i) % 96) as u32).collect()
}

fn sequence(tokens: &[&[u32]], start: usize) -> Sequence {
    Sequence::new(&config(), tokens.concat(), start).unwrap()
}

/// Turns of one session, each the beginning of the next, two branches from within a prefix, one
/// sample twice at another temperature, and one that has nothing in common with the others.
fn samples() -> (Vec<Sequence>, Vec<f32>) {
    let [a, b, c, d] = [ids(7, 1), ids(5, 2), ids(9, 3), ids(4, 4)];
    let sequences = vec![
        sequence(&[&a, &b], 7),
        sequence(&[&ids(6, 9)], 2),
        sequence(&[&a, &b, &c, &d], 21),
        sequence(&[&a[..4], &c, &b], 10),
        sequence(&[&a, &b, &c, &d], 21),
        sequence(&[&a, &b, &c[..3], &[90], &d], 16),
        sequence(&[&a, &b, &c], 12),
    ];
    (sequences, vec![1.0, 0.7, 1.0, 0.0, 0.5, 1.3, 1.0])
}

fn pack(shared: bool) -> Pack {
    let (sequences, temperatures) = samples();
    let new = if shared { Pack::new } else { Pack::unshared };
    new(&config(), &sequences, &temperatures).unwrap()
}

/// Three ids for each position, the target among them in every other one.
fn support(pack: &Pack) -> Support {
    let ids = pack.targets.iter().enumerate().flat_map(|(position, target)| {
        let other = (position as u32 * 13 + 5) % 96;
        let first = if position % 2 == 0 { *target } else { (*target + 2) % 96 };
        [first, (first + 1 + other % 90) % 96, (first + 95) % 96]
    });
    Support::new(3, ids.collect())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn slopes(rows: usize, k: usize) -> Slopes {
    let wave = |count: usize, step: f32| -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin() * 0.3).collect()
    };
    let tensor = |values: Vec<f32>| Tensor::from_floats(values.as_slice(), &Device::flex());
    let support = TensorData::new(wave(rows * k, 0.7), [rows, k]);
    Slopes {
        logprobs: tensor(wave(rows, 1.3)),
        support: Some(Tensor::from_data(support, &Device::flex())),
        entropy: Some(tensor(wave(rows, 2.1))),
    }
}

/// Everything that comes out of a pack.
fn all(decoder: &Decoder, pack: &Pack, how: Differentiation) -> (Vec<Vec<f32>>, Parameters) {
    let (answers, tape) = forward(decoder, pack, Some(&support(pack)), how);
    let gradient = backward(decoder, tape, slopes(pack.response_tokens(), 3));
    let support = host(answers.support.unwrap());
    (vec![host(answers.logprobs), host(answers.entropy), support], gradient)
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1f32, |max, value| max.max(value.abs()));
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 2e-5 * scale, "{what}: {a} {b}");
    }
}

#[track_caller]
fn assert_same(found: (Vec<Vec<f32>>, Parameters), expected: &(Vec<Vec<f32>>, Parameters)) {
    for (index, (found, expected)) in found.0.iter().zip(&expected.0).enumerate() {
        assert_close(&format!("answer {index}"), found, expected);
    }
    assert!(found.1.names().eq(expected.1.names()));
    for (name, gradient) in expected.1.iter() {
        let found = found.1.get(name).unwrap().to_vec().unwrap();
        assert_close(name, &found, &gradient.to_vec().unwrap());
    }
}

#[test]
fn every_distinct_beginning_is_one_row() {
    let (shared, unshared) = (pack(true), pack(false));
    assert_eq!(unshared.rows(), 11 + 5 + 24 + 17 + 24 + 19 + 20);
    // The longest has 24 rows; the branches add 5, 13 and 4 to it.
    assert_eq!(shared.rows(), 24 + 5 + 13 + 4);
    assert_eq!(shared.response_tokens(), unshared.response_tokens());
    assert_eq!(shared.targets, unshared.targets);
    assert_eq!(shared.temperatures, unshared.temperatures);
    for segment in &shared.segments {
        let places: Vec<u32> =
            segment.keys().into_iter().flatten().map(|row| shared.positions[row]).collect();
        let past: usize = segment.past.iter().map(Range::len).sum();
        let all = past + segment.rows.len();
        assert_eq!(places, (0..all as u32).collect::<Vec<_>>(), "{segment:?}");
    }
}

#[test]
fn what_is_shared_changes_neither_answers_nor_gradients() {
    let plain = decoder();
    for decoder in [adapted(&plain), plain] {
        let how = Differentiation::default();
        assert_same(all(&decoder, &pack(true), how), &all(&decoder, &pack(false), how));
    }
}

#[test]
fn a_pack_gives_what_its_samples_give_alone() {
    let decoder = decoder();
    let (sequences, temperatures) = samples();
    let together = answers(&decoder, &pack(true), None);
    let (mut logprobs, mut entropy) = (Vec::new(), Vec::new());
    for (sequence, temperature) in sequences.into_iter().zip(temperatures) {
        let alone = Pack::new(&config(), &[sequence], &[temperature]).unwrap();
        let alone = answers(&decoder, &alone, None);
        logprobs.extend(host(alone.logprobs));
        entropy.extend(host(alone.entropy));
    }
    assert_close("logprobs", &host(together.logprobs), &logprobs);
    assert_close("entropy", &host(together.entropy), &entropy);
}

#[test]
fn the_order_of_samples_changes_nothing_but_the_order_of_answers() {
    let decoder = decoder();
    let (sequences, temperatures) = samples();
    let order = [3, 0, 6, 5, 1, 4, 2];
    let pick = |index: &usize| (sequences[*index].clone(), temperatures[*index]);
    let (moved, moved_temperatures): (Vec<_>, Vec<_>) = order.iter().map(pick).unzip();
    let moved = Pack::new(&config(), &moved, &moved_temperatures).unwrap();
    let straight = pack(true);
    let weights = |pack: &Pack| -> Vec<f32> {
        // By token and temperature, so that it moves with its sample.
        let pairs = pack.targets.iter().zip(&pack.temperatures);
        pairs.map(|(target, t)| (*target as f32 * 0.1 + t).sin()).collect()
    };
    let gradient = |pack: &Pack| {
        let (_, tape) = forward(&decoder, pack, None, Differentiation::default());
        let weights = weights(pack);
        backward(&decoder, tape, Tensor::from_floats(weights.as_slice(), &Device::flex()))
    };
    let pair = (Vec::new(), gradient(&moved));
    assert_same(pair, &(Vec::new(), gradient(&straight)));
    let found = host(answers(&decoder, &moved, None).logprobs);
    let by_sample = |pack: &Pack, values: Vec<f32>, order: &[usize]| {
        let mut first = 0;
        let mut parts = vec![Vec::new(); order.len()];
        for &index in order {
            let len = sequences[index].response().len();
            parts[index] = values[first..first + len].to_vec();
            first += len;
        }
        assert_eq!(first, pack.response_tokens());
        parts.concat()
    };
    let expected = host(answers(&decoder, &straight, None).logprobs);
    assert_close("logprobs", &by_sample(&moved, found, &order), &expected);
}

#[test]
fn how_it_is_cut_and_what_is_kept_changes_nothing() {
    let plain = decoder();
    for decoder in [adapted(&plain), plain] {
        let expected = all(&decoder, &pack(true), Differentiation::default());
        for recompute in [Recompute::Never, Recompute::Blocks, Recompute::Auto] {
            for (queries, rows) in [(1, 1), (3, 5), (64, 64)] {
                let attention = Causal::with_chunk(queries);
                let how = Differentiation { recompute, attention, head_rows: Some(rows) };
                assert_same(all(&decoder, &pack(true), how), &expected);
            }
        }
    }
}

#[test]
fn with_an_adapter_only_its_own_gradient_is_there() {
    let decoder = adapted(&decoder());
    let (_, gradient) = all(&decoder, &pack(true), Differentiation::default());
    assert_eq!(gradient.len(), 2 * 7 * 2);
    assert!(gradient.names().all(|name| name.contains(".lora_")));
}

#[test]
fn in_bf16_gradients_are_near_those_of_the_same_weights_in_f32_and_handed_out_in_it() {
    let rounded = decoder().compute_copy(Precision::Bf16);
    let wide = rounded.compute_copy(Precision::F32);
    for (narrow, wide) in [(adapted(&rounded), adapted(&wide)), (rounded, wide)] {
        let (answers, gradient) = all(&narrow, &pack(true), Differentiation::default());
        let (answers_wide, gradient_wide) = all(&wide, &pack(true), Differentiation::default());
        let off = answers[0].iter().zip(&answers_wide[0]).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0f32, f32::max) < 0.5, "{:?} {:?}", answers[0], answers_wide[0]);
        let (mut off, mut norm) = (0.0, 0.0);
        for (name, expected) in gradient_wide.iter() {
            let found = &gradient.get(name).unwrap().values;
            assert_eq!(found.dtype(), burn::tensor::DType::F32, "{name}");
            let pairs = host(found.clone()).into_iter().zip(expected.to_vec().unwrap());
            for (a, b) in pairs {
                off += f64::from(a - b).powi(2);
                norm += f64::from(b).powi(2);
            }
        }
        let off = (off / norm).sqrt();
        assert!(off > 1e-5 && off < 0.08, "{off}");
    }
}

#[test]
fn a_fresh_adapter_does_nothing_and_is_the_same_again() {
    let decoder = decoder();
    let settings = LoraSettings { rank: 4, alpha: 4.0, rank_stabilized: false };
    let fresh = |seed| Adapter::fresh(settings, decoder.config(), seed, decoder.device());
    let with = decoder.with_adapter(&fresh(1)).unwrap();
    let logprobs = |decoder: &Decoder| host(answers(decoder, &pack(true), None).logprobs);
    assert_eq!(logprobs(&with), logprobs(&decoder));
    let down = |seed| {
        let name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight";
        fresh(seed).parameters().get(name).unwrap().to_vec().unwrap()
    };
    assert_eq!(down(1), down(1));
    assert_ne!(down(1), down(2));
    let bound = 48f32.sqrt().recip();
    let most = down(1).iter().fold(0f32, |max, value| max.max(value.abs()));
    assert!(most <= bound && most > 0.9 * bound, "{most} {bound}");
}

#[test]
fn top_is_a_sort_of_all_log_probabilities() {
    let decoder = decoder();
    let pack = pack(true);
    let rows = pack.response_tokens();
    let every = Support::new(96, (0..rows).flat_map(|_| 0..96).collect());
    let every = host(answers(&decoder, &pack, Some(&every)).support.unwrap());
    let found = top(&decoder, &pack, 5).unwrap();
    assert_eq!(found.ids.len(), rows * 5);
    for (row, logprobs) in every.chunks_exact(96).enumerate() {
        let mut ids: Vec<u32> = (0..96).collect();
        ids.sort_by(|a, b| logprobs[*b as usize].total_cmp(&logprobs[*a as usize]));
        let [ids_found, logprobs_found] = [&found.ids[row * 5..][..5], &ids[..5]];
        assert_eq!(ids_found, logprobs_found, "row {row}");
        let expected: Vec<f32> = ids[..5].iter().map(|id| logprobs[*id as usize]).collect();
        assert_close("top", &found.logprobs[row * 5..][..5], &expected);
    }
}

#[test]
fn packs_are_planned_by_what_they_share() {
    let (sequences, _) = samples();
    let packs = plan(&sequences, 30);
    let mut all: Vec<usize> = packs.concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
    for pack in &packs {
        let chosen: Vec<Sequence> = pack.iter().map(|i| sequences[*i].clone()).collect();
        let rows = Pack::new(&config(), &chosen, &vec![1.0; chosen.len()]).unwrap().rows();
        assert!(rows <= 30, "{packs:?}");
    }
    // The four turns of one session cost as much as the longest, and are together.
    assert!(packs.iter().any(|pack| [0, 2, 4, 6].iter().all(|i| pack.contains(i))), "{packs:?}");
    assert_eq!(plan(&sequences, 1000).len(), 1);
    assert_eq!(plan(&sequences[..1], 1), [[0]]);
    assert!(plan(&[], 10).is_empty());
}

#[test]
fn what_cannot_be_laid_out_is_refused() {
    let (sequences, _) = samples();
    let message = |sequences: &[Sequence], temperatures: &[f32]| {
        Pack::new(&config(), sequences, temperatures).unwrap_err().to_string()
    };
    assert!(message(&[], &[]).contains("number of sequences is 0"));
    assert!(message(&sequences[..1], &[]).contains("number of temperatures is 0"));
    assert!(message(&sequences[..1], &[-1.0]).contains("a temperature is -1"));
    assert!(message(&sequences[..1], &[f32::NAN]).contains("a temperature is NaN"));
    let smaller = ModelConfig { vocab_size: 10, ..config() };
    let refused = Pack::new(&smaller, &sequences, &[1.0; 7]).unwrap_err().to_string();
    assert!(refused.contains("a token id is"), "{refused}");
}
