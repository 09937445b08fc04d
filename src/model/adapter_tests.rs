use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::fault::Explain;

fn parity(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/parity").join(name)
}

fn base(name: &str) -> Decoder {
    Decoder::load(&parity(name), &Device::flex()).unwrap()
}

fn config() -> ModelConfig {
    ModelConfig::load(&parity("qwen3-linear/config.json")).unwrap()
}

fn load(dir: &Path) -> Result<Adapter, ModelError> {
    Adapter::load(dir, &config(), &Device::flex())
}

/// The adapter of the script, with its settings changed.
fn changed(changes: Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let from = parity("qwen3-lora");
    std::fs::copy(from.join(WEIGHTS), dir.path().join(WEIGHTS)).unwrap();
    let text = std::fs::read_to_string(from.join(SETTINGS)).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    std::fs::write(dir.path().join(SETTINGS), settings.to_string()).unwrap();
    dir
}

fn message(changes: Value) -> String {
    let error = load(changed(changes).path()).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn settings_beyond_plain_lora_are_refused_by_name() {
    let cases = [
        ("peft_type", json!("IA3")),
        ("r", json!(0)),
        ("lora_alpha", json!(null)),
        ("use_rslora", json!("yes")),
        ("bias", json!("all")),
        ("fan_in_fan_out", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("use_dora", json!(true)),
        ("rank_pattern", json!({"q_proj": 8})),
        ("alpha_pattern", json!({"q_proj": 8})),
        ("layer_replication", json!([[0, 1]])),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("task_type", json!("SEQ_CLS")),
        ("target_modules", json!(null)),
        ("target_modules", json!(["lm_head"])),
        ("target_modules", json!([7])),
        ("layers_to_transform", json!("all")),
        ("something_new", json!(3)),
    ];
    for (key, value) in cases {
        let message = message(json!({ key: value.clone() }));
        assert!(message.contains(&format!("`{key}`")), "{message}");
        assert!(message.contains(SETTINGS), "{message}");
    }
}

#[test]
fn targets_may_be_said_in_every_way() {
    let regular = json!(r".*(q|v|o|down)_proj");
    let names = ["self_attn.q_proj", "v_proj", "o_proj", "mlp.down_proj"];
    for targets in [regular, json!(names)] {
        let same = changed(json!({ "target_modules": targets, "layers_to_transform": [0, 1] }));
        assert_eq!(load(same.path()).unwrap().added.len(), 8);
    }
    let more = message(json!({"target_modules": "all-linear"}));
    assert!(more.contains("no tensor") && more.contains("self_attn.k_proj.lora_A"), "{more}");
    let fewer = message(json!({"target_modules": ["q_proj", "v_proj", "o_proj"]}));
    assert!(fewer.contains("mlp.down_proj.lora_A.weight"), "{fewer}");
    let one = message(json!({"layers_to_transform": 1}));
    assert!(one.contains("layers.0.") && one.contains("no place for"), "{one}");
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let rank = message(json!({"r": 5}));
    assert!(rank.contains("has shape") && rank.contains("lora_"), "{rank}");
    let dir = changed(json!({}));
    let error = Adapter::load(dir.path(), base("llama").config(), &Device::flex()).unwrap_err();
    assert!(error.to_string().contains("lora_"), "{error}");
    std::fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains(WEIGHTS));
    std::fs::write(dir.path().join(WEIGHTS), b"no safetensors").unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains("not a whole"));
    std::fs::write(dir.path().join(SETTINGS), b"{").unwrap();
    assert!(load(dir.path()).unwrap_err().to_string().contains("not valid JSON"));
}

#[test]
fn half_an_addition_is_refused() {
    let whole = load(&parity("qwen3-lora")).unwrap();
    let mut parameters = whole.parameters();
    let [_, up] = half_names((1, Projection::Value));
    parameters.remove(&up);
    let error = Adapter::from_parameters(whole.settings(), &parameters, &config()).unwrap_err();
    assert!(error.to_string().contains(&up) && error.to_string().contains("missing"), "{error}");
    let stranger = Parameter::new(vec![1], burn::tensor::Tensor::zeros([1], &Device::flex()));
    let mut parameters = whole.parameters();
    parameters.insert("base_model.model.lm_head.lora_A.weight", stranger);
    let error = Adapter::from_parameters(whole.settings(), &parameters, &config()).unwrap_err();
    assert!(error.to_string().contains("lm_head"), "{error}");
}

#[test]
fn an_adapter_of_another_model_or_a_second_one_is_refused() {
    let adapter = load(&parity("qwen3-lora")).unwrap();
    let error = base("llama").with_adapter(&adapter).unwrap_err().to_string();
    assert!(error.contains("lora_B") && error.contains("features"), "{error}");
    let adapted = base("qwen3-linear").with_adapter(&adapter).unwrap();
    assert!(adapted.is_adapted() && !base("qwen3-linear").is_adapted());
    let error = adapted.with_adapter(&adapter).unwrap_err().to_string();
    assert!(error.contains("a second one"), "{error}");
}

#[test]
fn an_adapter_of_some_layers_is_saved_by_whole_names() {
    let adapter =
        Adapter::load(&parity("qwen2-lora"), base("qwen2").config(), &Device::flex()).unwrap();
    let names = ["model.layers.1.mlp.up_proj", "model.layers.1.self_attn.k_proj"];
    assert!(adapter.target_modules().iter().eq(names.iter()), "{:?}", adapter.target_modules());
    let uniform = load(&parity("qwen3-lora")).unwrap();
    assert!(uniform.target_modules().iter().eq(&["down_proj", "o_proj", "q_proj", "v_proj"]));
}
