//! The decoder against golden values that were computed in f64.

use burn::tensor::Device;
use burn::tensor::activation::log_softmax;
use openclaw_rl::model::{Causal, Decoder, ModelConfig};

use crate::golden::{self, Golden, difference};

fn load(set: &Golden) -> Decoder {
    Decoder::load(&set.dir.join("model"), &Device::flex()).unwrap()
}

fn assert_within(set: &Golden, what: &str, found: f32, tolerance: f32) {
    let name = set.name();
    assert!(found <= tolerance, "{name}: {what} is off by {found:e}, tolerance {tolerance:e}");
}

#[test]
fn parity_of_logits() {
    for set in golden::sets() {
        let decoder = load(&set);
        let vocab = decoder.config().vocab_size;
        let all = &set.expected["logits"].values;
        for sample in set.samples() {
            let len = sample.tokens.len();
            let positions: Vec<u32> = (0..len as u32).collect();
            let hidden = decoder.hidden(&sample.tokens, &positions, &mut Causal::default());
            let logits = decoder.logits(hidden).try_into_vec_as::<f32>().unwrap();
            let expected = &all[sample.first_row * vocab..][..len * vocab];
            let worst = difference(&logits, expected);
            assert_within(&set, "logits", worst, set.tolerance("logits"));
        }
    }
}

#[test]
fn parity_of_both_styles_of_config() {
    for set in golden::sets() {
        let new = ModelConfig::load(&set.dir.join("model/config.json")).unwrap();
        let old = ModelConfig::load(&set.dir.join("model/config_v4.json")).unwrap();
        assert_eq!(new, old, "{}", set.name());
    }
}

#[test]
fn parity_of_log_softmax_of_the_response() {
    for set in golden::sets() {
        let decoder = load(&set);
        let vocab = decoder.config().vocab_size;
        for sample in set.samples() {
            let len = sample.tokens.len();
            let positions: Vec<u32> = (0..len as u32).collect();
            let hidden = decoder.hidden(&sample.tokens, &positions, &mut Causal::with_chunk(5));
            let logits = log_softmax(decoder.logits(hidden), 1);
            let logits = logits.try_into_vec_as::<f32>().unwrap();
            let found: Vec<f32> = (sample.response_start..len)
                .map(|at| logits[(at - 1) * vocab + sample.tokens[at] as usize])
                .collect();
            let expected = &set.expected["logprobs"].values[sample.responses.clone()];
            let worst = difference(&found, expected);
            assert_within(&set, "logprobs", worst, set.tolerance("logprobs"));
        }
    }
}
