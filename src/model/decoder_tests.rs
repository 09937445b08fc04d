use super::*;
use crate::model::Causal;

fn golden() -> Decoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    Decoder::load(&dir, &Device::flex()).unwrap()
}

/// The logits of some tokens, and the greatest of their absolute values.
fn logits(decoder: &Decoder) -> (Vec<f32>, f32) {
    let tokens: Vec<u32> = (0..70).map(|i| (i * 37 + 5) % 192).collect();
    let positions: Vec<u32> = (0..70).collect();
    let hidden = decoder.hidden(&tokens, &positions, &mut Causal::default());
    let logits: Vec<f32> = decoder.logits(hidden).try_into_vec_as().unwrap();
    let greatest = logits.iter().fold(0.0, |max: f32, logit| max.max(logit.abs()));
    (logits, greatest)
}

/// The greatest difference, relative to the greatest logit.
fn off(found: &Decoder, expected: &Decoder) -> f32 {
    let ((found, _), (expected, greatest)) = (logits(found), logits(expected));
    let pairs = found.iter().zip(&expected);
    pairs.fold(0.0, |max: f32, (a, b)| max.max((a - b).abs())) / greatest
}

#[test]
fn inference_computes_what_training_does() {
    let decoder = golden();
    let off = off(&decoder.clone().for_inference(Precision::F32).unwrap(), &decoder);
    assert!(off <= 2e-6, "{off:e}");
}

#[test]
fn what_was_made_for_inference_still_gives_its_parameters() {
    let decoder = golden();
    let inference = decoder.clone().for_inference(Precision::F32).unwrap();
    for (name, parameter) in decoder.parameters() {
        let found = inference.parameters().remove(&name).unwrap();
        assert_eq!(found.shape, parameter.shape, "{name}");
        assert_eq!(found.to_vec().unwrap(), parameter.to_vec().unwrap(), "{name}");
    }
}

#[test]
fn bf16_is_near_f32_both_with_f32_activations_and_throughout() {
    let decoder = golden();
    let weights_only = decoder.clone().for_inference(Precision::Bf16).unwrap();
    let mut throughout = decoder.clone();
    throughout.replace(&mut Cast(FloatDType::BF16));
    for (name, rounded, tolerance) in [("weights", &weights_only, 0.05), ("all", &throughout, 0.05)]
    {
        let off = off(rounded, &decoder);
        assert!(off > 1e-5 && off < tolerance, "{name}: {off:e}");
    }
}
