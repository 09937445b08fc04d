use std::path::Path;

use super::*;
use burn::tensor::Device;

fn golden() -> Decoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    Decoder::load(&dir, &Device::flex()).unwrap()
}

/// The same function with a head of its own.
fn untied(decoder: &Decoder) -> Decoder {
    let mut parameters = decoder.parameters();
    let head = parameters.get(EMBEDDING).unwrap().clone();
    parameters.insert(HEAD, head);
    let config = ModelConfig { tied: false, ..decoder.config().clone() };
    Decoder::from_parameters(config, parameters, decoder.device()).unwrap()
}

const TOKENS: [u32; 12] = [5, 9, 5, 100, 191, 0, 9, 9, 5, 17, 23, 42];

fn sequence(decoder: &Decoder) -> Sequence {
    Sequence::new(decoder.config(), TOKENS.to_vec(), 5).unwrap()
}

fn gradient(decoder: &Decoder, how: Differentiation) -> Parameters {
    let pack = Pack::new(decoder.config(), &[sequence(decoder)], &[0.8]).unwrap();
    let (answers, tape) = forward(decoder, &pack, None, how);
    let grad: Vec<f32> = (0..answers.logprobs.dims()[0]).map(|t| 1.0 - 0.3 * t as f32).collect();
    backward(decoder, tape, Tensor::from_floats(grad.as_slice(), decoder.device()))
}

fn host(parameters: &Parameters, name: &str) -> Vec<f32> {
    parameters.get(name).unwrap().to_vec().unwrap()
}

#[test]
fn a_tied_embedding_has_the_sum_of_both_gradients() {
    let tied = golden();
    let both = gradient(&untied(&tied), Differentiation::default());
    let one = gradient(&tied, Differentiation::default());
    assert_eq!(both.len(), one.len() + 1);
    let sum: Vec<f32> = host(&both, EMBEDDING)
        .iter()
        .zip(host(&both, HEAD))
        .map(|(looked_up, head)| looked_up + head)
        .collect();
    for (name, _) in one.iter() {
        let expected = if name == EMBEDDING { sum.clone() } else { host(&both, name) };
        for (a, b) in host(&one, name).iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
        }
    }
    // Only tokens of the sequence were looked up.
    let looked_up = host(&both, EMBEDDING);
    let row = |id: usize| &looked_up[id * 32..][..32];
    assert!(row(6).iter().all(|value| *value == 0.0) && row(5).iter().any(|v| *v != 0.0));
}

#[test]
fn what_is_kept_and_how_it_is_cut_does_not_change_the_gradient() {
    let decoder = untied(&golden());
    let whole = gradient(&decoder, Differentiation::default());
    for recompute in [Recompute::Never, Recompute::Blocks] {
        for (queries, rows) in [(1, 1), (5, 3), (12, 7)] {
            let attention = Causal::with_chunk(queries);
            let how = Differentiation { recompute, attention, head_rows: Some(rows) };
            let cut = gradient(&decoder, how);
            for name in whole.names() {
                for (a, b) in host(&whole, name).iter().zip(host(&cut, name)) {
                    assert!((a - b).abs() < 1e-5, "{name} {how:?}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn a_response_does_not_depend_on_what_comes_after_it() {
    let decoder = golden();
    let all = score(&decoder, &TOKENS, 3, 1.0).unwrap();
    let cut = score(&decoder, &TOKENS[..8], 3, 1.0).unwrap();
    assert_eq!(all.len(), 9);
    for (a, b) in cut.iter().zip(&all) {
        assert!((a - b).abs() < 1e-5, "{cut:?} {all:?}");
    }
}

#[test]
fn gradients_add_up() {
    let decoder = golden();
    let mut twice = Gradients::new();
    assert!(twice.is_empty());
    twice.accumulate(gradient(&decoder, Differentiation::default()));
    twice.accumulate(gradient(&decoder, Differentiation::default()));
    let (twice, once) = (twice.into_parameters(), gradient(&decoder, Differentiation::default()));
    for name in once.names() {
        for (a, b) in host(&twice, name).iter().zip(host(&once, name)) {
            assert_eq!(*a, 2.0 * b, "{name}");
        }
    }
}

#[test]
fn long_sequences_are_recomputed() {
    let config = golden().config().clone();
    assert!(Recompute::Auto.keeps_all(&config, 512));
    assert!(!Recompute::Auto.keeps_all(&config, 1 << 20));
    assert!(!Recompute::Blocks.keeps_all(&config, 1) && Recompute::Never.keeps_all(&config, 1));
}

#[test]
fn a_sequence_that_the_model_cannot_take_is_refused() {
    let config = golden().config().clone();
    let message =
        |tokens: Vec<u32>, start| Sequence::new(&config, tokens, start).unwrap_err().to_string();
    assert!(message(vec![1, 2], 0).contains("start is 0"));
    assert!(message(vec![1, 2], 2).contains("below the sequence's length 2"));
    assert!(message(vec![], 1).contains("start is 1"));
    assert!(message(vec![1, 192], 1).contains("a token id is 192, expected below"));
    assert!(message(vec![1; 513], 1).contains("is 513, expected at most 512"));
    assert!(score(&golden(), &[1, 192], 1, 1.0).is_err());
}
