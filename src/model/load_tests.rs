use std::path::PathBuf;

use burn::tensor::Tensor;
use tempfile::TempDir;

use super::super::{Decoder, SaveDtype};
use super::*;
use crate::fault::Explain;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model")
}

fn tensors() -> Tensors {
    let bytes = std::fs::read(golden().join(WEIGHTS)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let owned = |view: &TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.iter().map(|(name, view)| (name.to_owned(), owned(&view))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A directory with the golden configuration and these weights.
fn directory(tensors: &Tensors) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(golden().join("config.json"), dir.path().join("config.json")).unwrap();
    write(&dir.path().join(WEIGHTS), tensors);
    dir
}

fn load(dir: &Path) -> Result<Decoder, ModelError> {
    Decoder::load(dir, &Device::flex())
}

fn values(decoder: &Decoder) -> Vec<(String, Vec<f32>)> {
    let all = decoder.parameters().into_iter();
    all.map(|(name, parameter)| (name, parameter.to_vec().unwrap())).collect()
}

/// The same weights in a half-precision type, and what they are worth in f32.
fn rounded(dtype: Dtype) -> (Tensors, Vec<(String, Vec<f32>)>) {
    let mut all = tensors();
    let mut expected = Vec::new();
    for (name, (kept, _, bytes)) in &mut all {
        let exact = to_f32(Dtype::F32, bytes).unwrap();
        let mut half = Vec::new();
        let mut worth = Vec::new();
        for value in exact {
            if dtype == Dtype::BF16 {
                half.extend(bf16::from_f32(value).to_le_bytes());
                worth.push(bf16::from_f32(value).to_f32());
            } else {
                half.extend(f16::from_f32(value).to_le_bytes());
                worth.push(f16::from_f32(value).to_f32());
            }
        }
        (*kept, *bytes) = (dtype, half);
        expected.push((name.clone(), worth));
    }
    (all, expected)
}

#[test]
fn weights_come_back_as_they_are_in_the_file() {
    let loaded = values(&load(&golden()).unwrap());
    for ((name, found), (expected_name, (_, _, bytes))) in loaded.iter().zip(tensors()) {
        assert_eq!(*name, expected_name);
        assert_eq!(*found, to_f32(Dtype::F32, &bytes).unwrap(), "{name}");
    }
    assert_eq!(loaded.len(), tensors().len());
}

#[test]
fn half_precision_is_widened_exactly() {
    for dtype in [Dtype::BF16, Dtype::F16] {
        let (all, expected) = rounded(dtype);
        let dir = directory(&all);
        assert_eq!(values(&load(dir.path()).unwrap()), expected, "{dtype:?}");
    }
}

/// Two shards and their index.
fn shard(dir: &Path, map_to: impl Fn(usize) -> &'static str) {
    let all = tensors();
    let half = all.len() / 2;
    let part = |first: bool| -> Tensors {
        let of = |index: usize| (index < half) == first;
        let chosen = all.clone().into_iter().enumerate().filter(|(index, _)| of(*index));
        chosen.map(|(_, tensor)| tensor).collect()
    };
    write(&dir.join("a.safetensors"), &part(true));
    write(&dir.join("b.safetensors"), &part(false));
    let file = |index: usize| map_to(usize::from(index >= half));
    let map: BTreeMap<&String, &str> =
        all.keys().enumerate().map(|(index, name)| (name, file(index))).collect();
    let index = serde_json::json!({"metadata": {}, "weight_map": map});
    std::fs::write(dir.join(INDEX), index.to_string()).unwrap();
    std::fs::remove_file(dir.join(WEIGHTS)).unwrap();
}

#[test]
fn shards_are_put_together() {
    let dir = directory(&tensors());
    shard(dir.path(), |which| ["a.safetensors", "b.safetensors"][which]);
    assert_eq!(values(&load(dir.path()).unwrap()), values(&load(&golden()).unwrap()));
}

fn message(dir: &Path) -> String {
    let error = load(dir).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn a_shard_that_is_not_there_or_holds_less_is_named() {
    let dir = directory(&tensors());
    shard(dir.path(), |which| ["a.safetensors", "c.safetensors"][which]);
    assert_names(&message(dir.path()), &["cannot read", "c.safetensors"]);

    let dir = directory(&tensors());
    shard(dir.path(), |_| "a.safetensors");
    assert_names(&message(dir.path()), &["a.safetensors has no tensor `model.layers."]);
}

#[test]
fn an_index_that_is_wrong_is_refused() {
    let wrong = [
        ("{", "not valid JSON"),
        ("{}", "`weight_map` is missing"),
        (r#"{"weight_map": {"x": 3}}"#, "`weight_map.x` is 3"),
        (r#"{"weight_map": {"x": "../elsewhere"}}"#, "no plain file name"),
    ];
    for (text, reason) in wrong {
        let dir = directory(&tensors());
        std::fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
        std::fs::write(dir.path().join(INDEX), text).unwrap();
        assert_names(&message(dir.path()), &[INDEX, reason]);
    }
}

#[test]
fn a_directory_without_weights_or_configuration_is_named() {
    let dir = directory(&tensors());
    std::fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    let at = dir.path().display().to_string();
    assert_names(&message(dir.path()), &[&at, "neither model.safetensors nor"]);
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_names(&message(dir.path()), &[&at, "config.json", "cannot read"]);
}

#[test]
fn a_file_that_was_cut_off_is_refused_at_any_length() {
    let whole = std::fs::read(golden().join(WEIGHTS)).unwrap();
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        let dir = directory(&tensors());
        std::fs::write(dir.path().join(WEIGHTS), &whole[..len]).unwrap();
        let parts = ["model.safetensors", &format!("({len} bytes)"), "not a whole"];
        assert_names(&message(dir.path()), &parts);
    }
}

/// What is said after one tensor was changed.
fn after(change: impl FnOnce(&mut Tensors)) -> String {
    let mut all = tensors();
    change(&mut all);
    message(directory(&all).path())
}

const K: &str = "model.layers.1.self_attn.k_proj.weight";

#[test]
fn a_tensor_that_is_wrong_is_named_with_what_was_expected() {
    let missing = after(|all| drop(all.remove(K)));
    assert_names(&missing, &["model.safetensors", K, "[32, 32]"]);

    let turned = after(|all| all.get_mut(K).unwrap().1 = vec![16, 64]);
    assert_names(&turned, &["model.safetensors", K, "[16, 64]", "expected [32, 32]"]);

    let integers = after(|all| all.get_mut(K).unwrap().0 = Dtype::I32);
    assert_names(&integers, &["model.safetensors", K, "I32", "expected F32, BF16 or F16"]);

    let bias = (Dtype::F32, vec![1], vec![0; 4]);
    let stranger =
        after(|all| drop(all.insert("model.layers.0.self_attn.q_proj.bias".into(), bias)));
    assert_names(&stranger, &["model.layers.0.self_attn.q_proj.bias", "Qwen3ForCausalLM"]);
}

#[test]
fn a_weight_that_is_not_finite_is_refused() {
    for (value, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let put = |all: &mut Tensors| {
            all.get_mut(K).unwrap().2[20..24].copy_from_slice(&value.to_le_bytes());
        };
        assert_names(&after(put), &["model.safetensors", K, said, "element 5"]);
    }
}

#[test]
fn a_tied_head_that_is_stored_again_is_passed_over() {
    let mut all = tensors();
    let copy = all["model.embed_tokens.weight"].clone();
    all.insert("lm_head.weight".into(), copy);
    let dir = directory(&all);
    assert_eq!(values(&load(dir.path()).unwrap()), values(&load(&golden()).unwrap()));
}

#[test]
fn what_was_saved_is_what_is_loaded() {
    let decoder = load(&golden()).unwrap();
    for dtype in [SaveDtype::F32, SaveDtype::Bf16] {
        let dir = tempfile::tempdir().unwrap();
        decoder.save(dir.path(), dtype).unwrap();
        let again = load(dir.path()).unwrap();
        assert_eq!(again.config(), decoder.config());
        let expected = match dtype {
            SaveDtype::F32 => values(&decoder),
            SaveDtype::Bf16 => rounded(Dtype::BF16).1,
        };
        assert_eq!(values(&again), expected, "{dtype:?}");
    }
    let nowhere = tempfile::tempdir().unwrap().path().join("gone");
    let error = decoder.save(&nowhere, SaveDtype::F32).unwrap_err();
    assert_names(&error.to_string(), &["cannot write", "gone"]);
}

#[test]
fn parameters_of_another_model_are_refused() {
    let decoder = load(&golden()).unwrap();
    let mut fewer = decoder.parameters();
    fewer.remove(K);
    assert_names(&decoder.with_parameters(fewer).unwrap_err().to_string(), &[K, "missing"]);
    let mut other = decoder.parameters();
    let vector = Parameter::new(vec![4], Tensor::zeros([4], decoder.device()));
    other.insert(K, vector.clone());
    assert_names(&decoder.with_parameters(other).unwrap_err().to_string(), &[K, "[4]", "[32, 32]"]);
    let mut more = decoder.parameters();
    more.insert("lm_head.weight", vector);
    assert_names(&decoder.with_parameters(more).unwrap_err().to_string(), &["lm_head.weight"]);
}
