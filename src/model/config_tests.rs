use super::*;

fn published() -> Value {
    serde_json::json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
        "attention_bias": false, "hidden_act": "silu", "hidden_size": 1024,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
        "rms_norm_eps": 1e-6, "rope_theta": 1_000_000, "rope_scaling": null,
        "max_position_embeddings": 40960, "tie_word_embeddings": true,
        "sliding_window": null, "use_sliding_window": false, "eos_token_id": 151645,
        "torch_dtype": "bfloat16",
    })
}

fn parse(value: &Value) -> Result<ModelConfig, ModelError> {
    ModelConfig::parse(&value.to_string(), Path::new("/models/q/config.json"))
}

#[test]
fn both_styles_say_the_same() {
    let old = parse(&published()).unwrap();
    let mut value = published();
    let object = value.as_object_mut().unwrap();
    object.remove("rope_theta");
    object.remove("rope_scaling");
    let rope = serde_json::json!({"rope_theta": 1_000_000.0, "rope_type": "default"});
    object.insert("rope_parameters".into(), rope);
    object.insert("dtype".into(), "bfloat16".into());
    assert_eq!(parse(&value).unwrap(), old);
    assert_eq!((old.group(), old.rope_theta, old.tied), (2, 1e6, true));
    assert_eq!(old.eos_ids, [151_645]);
}

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        ("architectures", serde_json::json!(["MistralForCausalLM"])),
        ("architectures", serde_json::json!(["Qwen3ForCausalLM", "LlamaForCausalLM"])),
        ("model_type", serde_json::json!("qwen2")),
        ("model_type", serde_json::json!("qwen3_moe")),
        ("attention_bias", serde_json::json!("yes")),
        ("partial_rotary_factor", serde_json::json!(0.5)),
        ("use_sliding_window", serde_json::json!(true)),
        ("hidden_act", serde_json::json!("gelu")),
        ("layer_types", serde_json::json!(["full_attention", "sliding_attention"])),
        ("quantization_config", serde_json::json!({"bits": 4})),
        ("hidden_size", serde_json::json!(0)),
        ("vocab_size", serde_json::json!("many")),
        ("head_dim", serde_json::json!(127)),
        ("head_dim", serde_json::json!(null)),
        ("num_key_value_heads", serde_json::json!(3)),
        ("rms_norm_eps", serde_json::json!(-1.0)),
        ("rope_theta", serde_json::json!(null)),
        ("eos_token_id", serde_json::json!(-1)),
        ("tie_word_embeddings", serde_json::json!("yes")),
    ];
    for (key, wrong) in cases {
        let mut value = published();
        value.as_object_mut().unwrap().insert(key.into(), wrong.clone());
        let message = parse(&value).unwrap_err().to_string();
        assert!(message.contains(&format!("`{key}`")), "{message}");
        assert!(message.contains("/models/q/config.json"), "{message}");
        let found = if wrong.is_null() { "missing".to_owned() } else { wrong.to_string() };
        assert!(message.contains(&found), "{message}");
    }
}

/// The published configuration with other values; null takes a key away.
fn with(changes: Value) -> Value {
    let mut value = published();
    for (key, changed) in changes.as_object().unwrap() {
        value[key] = changed.clone();
    }
    value
}

/// The same scaling in the old style and in the new one.
fn scaled(scaling: &Value) -> [Value; 2] {
    let mut new = scaling.clone();
    new["rope_theta"] = 1e6.into();
    [
        with(serde_json::json!({ "rope_scaling": scaling })),
        with(serde_json::json!({"rope_parameters": new, "rope_theta": null})),
    ]
}

#[test]
fn every_scaling_is_read_in_both_styles() {
    let cases = [
        (serde_json::json!({"rope_type": "default"}), RopeScaling::Default),
        (serde_json::json!({"type": "linear", "factor": 2}), RopeScaling::Linear { factor: 2.0 }),
        (
            serde_json::json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
            }),
            RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192 },
        ),
        (
            serde_json::json!({"type": "yarn", "factor": 4.0, "attention_factor": 1.25}),
            RopeScaling::Yarn(Yarn {
                factor: 4.0,
                original: 40_960,
                attention_factor: 1.25,
                beta_fast: 32.0,
                beta_slow: 1.0,
                truncate: true,
            }),
        ),
    ];
    for (scaling, expected) in cases {
        for value in scaled(&scaling) {
            let config = parse(&value).unwrap();
            assert_eq!(config.rope_scaling, expected);
            assert_eq!(config.rope_theta, 1e6);
            let stretched = if matches!(expected, RopeScaling::Yarn(_)) { 4 } else { 1 };
            assert_eq!(config.positions_max, 40_960 * stretched);
        }
    }
}

#[test]
fn yarn_derives_its_attention_factor() {
    let mut scaling = serde_json::json!({
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768,
    });
    let factor = |scaling: &Value| match parse(&scaled(scaling)[0]).unwrap() {
        ModelConfig { rope_scaling: RopeScaling::Yarn(yarn), positions_max: 131_072, .. } => {
            yarn.attention_factor
        }
        other => panic!("{other:?}"),
    };
    let plain = 0.1 * 4f64.ln() + 1.0;
    assert_eq!(factor(&scaling), plain);
    scaling["mscale"] = 0.5.into();
    assert_eq!(factor(&scaling), plain);
    scaling["mscale_all_dim"] = 1.0.into();
    assert_eq!(factor(&scaling), (0.05 * 4f64.ln() + 1.0) / plain);
}

#[test]
fn a_scaling_that_is_not_known_or_not_whole_is_named() {
    let cases = [
        (serde_json::json!({"rope_type": "dynamic", "factor": 2.0}), "rope_type"),
        (serde_json::json!({"type": "longrope", "factor": 2.0}), "type"),
        (serde_json::json!({"rope_type": 7}), "rope_type"),
        (serde_json::json!({"rope_type": "linear"}), "factor"),
        (serde_json::json!({"rope_type": "linear", "factor": 0.5}), "factor"),
        (serde_json::json!({"rope_type": "yarn", "factor": "4"}), "factor"),
        (serde_json::json!({"rope_type": "yarn", "factor": 4, "beta_fast": 0}), "beta_fast"),
        (serde_json::json!({"rope_type": "yarn", "factor": 4, "truncate": 1}), "truncate"),
        (
            serde_json::json!({
                "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1,
                "original_max_position_embeddings": 8192,
            }),
            "high_freq_factor",
        ),
        (
            serde_json::json!({
                "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
            }),
            "original_max_position_embeddings",
        ),
    ];
    for (scaling, key) in cases {
        for (value, at) in scaled(&scaling).iter().zip(["rope_scaling", "rope_parameters"]) {
            let message = parse(value).unwrap_err().to_string();
            assert!(message.contains(&format!("`{at}.{key}`")), "{message}");
        }
    }
    let untyped = with(serde_json::json!({"rope_scaling": {"factor": 2.0}}));
    assert!(parse(&untyped).unwrap_err().to_string().contains("`rope_scaling.rope_type`"));
}

#[test]
fn each_family_has_its_own_biases_norms_and_defaults() {
    let qwen2 = with(serde_json::json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "head_dim": null,
        "attention_bias": null, "sliding_window": 32_768, "max_window_layers": 21,
    }));
    let qwen2 = parse(&qwen2).unwrap();
    assert_eq!((qwen2.qkv_bias, qwen2.output_bias, qwen2.mlp_bias), (true, false, false));
    assert_eq!(qwen2.head_dim, 64);
    assert!(!qwen2.architecture.has_head_norms());
    let llama = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": null,
        "num_key_value_heads": null, "rope_theta": null,
    });
    let mut llama = with(llama);
    let plain = parse(&llama).unwrap();
    assert_eq!((plain.qkv_bias, plain.output_bias, plain.mlp_bias), (false, false, false));
    assert_eq!((plain.kv_heads, plain.head_dim, plain.rope_theta), (16, 64, 10_000.0));
    llama["attention_bias"] = true.into();
    llama["mlp_bias"] = true.into();
    let biased = parse(&llama).unwrap();
    assert_eq!((biased.qkv_bias, biased.output_bias, biased.mlp_bias), (true, true, true));
    llama["num_attention_heads"] = 15.into();
    assert!(parse(&llama).unwrap_err().to_string().contains("`num_attention_heads`"));
    let qwen3 = parse(&with(serde_json::json!({"attention_bias": true}))).unwrap();
    assert!(qwen3.qkv_bias && qwen3.output_bias && qwen3.architecture.has_head_norms());
}

#[test]
fn several_ends_of_reply_are_kept() {
    let mut value = published();
    value.as_object_mut().unwrap().insert("eos_token_id".into(), serde_json::json!([1, 2]));
    assert_eq!(parse(&value).unwrap().eos_ids, [1, 2]);
}
