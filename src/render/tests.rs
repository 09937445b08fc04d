//! Tests that need small tokenizers and templates of their own.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::client::INTERNAL_BEGIN;
use crate::fault::Explain;

/// Pieces that depend on their neighbours: a word marker that is a space except at the start, and
/// single bytes, as SentencePiece vocabularies have them.
fn byte_fallback_tokenizer() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": "</s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "byte_fallback": true, "merges": [],
            "vocab": {"</s>": 0, "▁a": 1, "b": 2, "<0xF0>": 3, "<0x9F>": 4, "<0xA6>": 5,
                "<0x9E>": 6}},
    })
}

fn directory(tokenizer: &Value, files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    for (name, value) in files {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn open_error(dir: &Path) -> String {
    let error = Renderer::open(dir).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.hint().is_some());
    error.to_string()
}

#[test]
fn pieces_that_depend_on_neighbours_stream_as_they_decode() {
    let files = [("chat_template.jinja", json!("x")), ("config.json", json!({"eos_token_id": 0}))];
    let dir = directory(&byte_fallback_tokenizer(), &files);
    let renderer = Renderer::open(dir.path()).unwrap();
    let lobster = [3, 4, 5, 6];
    for ids in [
        vec![1, 2, 1, 1, 0],
        [&[1][..], &lobster, &[2, 1], &lobster, &lobster].concat(),
        vec![1, 3, 4, 2, 1],
        vec![2, 3, 4, 5],
    ] {
        let mut detokenizer = renderer.detokenizer();
        let mut text = String::new();
        for id in &ids {
            let piece = detokenizer.push(*id).unwrap_or_default();
            assert!(!piece.ends_with('\u{FFFD}'), "{ids:?}: half a character");
            text.push_str(&piece);
        }
        text.extend(detokenizer.finish());
        assert_eq!(text, renderer.decode(&ids).unwrap(), "{ids:?}");
    }
}

#[test]
fn templates_may_stand_in_the_tokenizer_configuration() {
    let templates = json!([
        {"name": "default", "template": "{{ bos_token }}plain {{ messages | length }}"},
        {"name": "tool_use", "template": "tools {{ tools | length }}"},
    ]);
    let settings = json!({
        "chat_template": templates, "eos_token": {"content": "</s>"}, "bos_token": "<s>",
    });
    let dir = directory(&byte_fallback_tokenizer(), &[("tokenizer_config.json", settings)]);
    let renderer = Renderer::open(dir.path()).unwrap();
    let messages = [json!({"role": "user", "content": "a"})];
    assert_eq!(renderer.stop_ids(), [0]);
    assert_eq!(renderer.text(&messages, None).unwrap(), "<s>plain 1");
    assert_eq!(renderer.text(&messages, Some(&json!([{}, {}]))).unwrap(), "tools 2");
    assert_eq!(renderer.text(&messages, Some(&json!([]))).unwrap(), "<s>plain 1");
}

#[test]
fn a_template_is_told_what_the_request_adds() {
    let source = "{% if enable_thinking is defined %}{{ 'y' if enable_thinking else 'n' }}\
                  {% endif %}|{{ 'y' if add_generation_prompt else 'n' }}|{{ messages | length }}";
    let files =
        [("chat_template.jinja", json!(source)), ("config.json", json!({"eos_token_id": 0}))];
    let dir = directory(&byte_fallback_tokenizer(), &files);
    let renderer = Renderer::open(dir.path()).unwrap();
    let messages = [json!({"role": "user", "content": "a"})];
    let text = |begin_reply, template: Value| {
        let template = template.as_object().unwrap();
        renderer.text_told(&messages, None, Told { begin_reply, template }).unwrap()
    };
    assert_eq!(text(true, json!({})), "|y|1");
    assert_eq!(text(false, json!({"enable_thinking": false})), "n|n|1");
    assert_eq!(text(true, json!({"messages": []})), "|y|1", "what is ours stays ours");
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    assert!(open_error(empty.path()).contains("tokenizer.json"));
    let dir = directory(&json!({"model": 1}), &[]);
    assert!(open_error(dir.path()).contains("tokenizer.json"));
    let dir = directory(&byte_fallback_tokenizer(), &[("chat_template.jinja", json!("x"))]);
    assert!(open_error(dir.path()).contains("no end-of-turn token"));
    let eos = ("config.json", json!({"eos_token_id": [0, -1]}));
    let dir = directory(&byte_fallback_tokenizer(), &[eos]);
    assert!(open_error(dir.path()).contains("`eos_token_id` holds -1"));
    let eos = ("config.json", json!({"eos_token_id": 0}));
    let dir = directory(&byte_fallback_tokenizer(), std::slice::from_ref(&eos));
    assert!(open_error(dir.path()).contains("no chat template"));
    let broken = ("chat_template.jinja", json!("{% if %}"));
    let dir = directory(&byte_fallback_tokenizer(), &[eos, broken]);
    assert!(open_error(dir.path()).contains("chat_template.jinja"));
}

#[test]
fn a_message_takes_its_canonical_form() {
    let canonical = messages::canonical(&[
        json!({"role": "developer", "content": [{"type": "text", "text": "a"}, "b"]}),
        json!({"role": "assistant", "content": null, "reasoning": "r", "tool_calls": [
            {"id": "callab", "type": "function",
             "function": {"name": "f", "arguments": "{\"x\": [1]}"}},
            {"id": "callac", "type": "function", "function": {"name": "g", "arguments": "oops"}},
            {"id": "callad", "type": "function", "function": {"name": "h"}},
        ]}),
        json!({"role": "tool", "tool_call_id": "callab", "content": "done"}),
        json!({"role": "assistant"}),
    ])
    .unwrap();
    assert_eq!(canonical[0], json!({"role": "system", "content": "a\nb"}));
    assert_eq!(canonical[1]["content"], "");
    assert_eq!(canonical[1]["reasoning_content"], "r");
    assert_eq!(canonical[1]["tool_calls"][0]["function"]["arguments"], json!({"x": [1]}));
    assert_eq!(canonical[1]["tool_calls"][1]["function"]["arguments"], "oops");
    assert_eq!(canonical[1]["tool_calls"][2]["function"]["arguments"], json!({}));
    assert_eq!(canonical[2]["role"], "tool");
    assert_eq!(canonical[2]["tool_call_id"], "callab");
    assert_eq!(canonical[3], json!({"role": "assistant", "content": ""}));
}

#[test]
fn what_cannot_be_rendered_is_named_with_its_place() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}});
    for (message, at, said) in [
        (json!({"role": "user", "content": [image]}), "messages[0].content[0].type", "image_url"),
        (json!({"role": "user", "content": 1}), "messages[0].content", "expected a string"),
        (json!({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text", ""),
        (json!({"role": "robot"}), "messages[0].role", "unknown role `robot`"),
        (json!({"content": "x"}), "messages[0].role", "is required"),
        (json!("x"), "messages[0]", "expected an object"),
        (json!({"role": "assistant", "tool_calls": {}}), "messages[0].tool_calls", "array"),
        (
            json!({"role": "assistant",
                "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}),
            "messages[0].tool_calls[0].function.arguments",
            "",
        ),
    ] {
        match messages::canonical(&[message]).unwrap_err() {
            RenderError::Request { at: place, problem } => {
                assert_eq!(place, at);
                assert!(problem.contains(said), "{problem}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_hint_goes_to_the_last_real_user_message() {
    let internal = json!({"role": "user", "content": format!("{INTERNAL_BEGIN}\nx")});
    let messages = [
        json!({"role": "user", "content": "first"}),
        json!({"role": "user", "content": "ask"}),
        json!({"role": "assistant", "content": "hm"}),
        json!({"role": "tool", "content": "t"}),
        internal.clone(),
    ];
    let hinted = with_hint(&messages, " be short \n");
    assert_eq!(hinted[1]["content"], "ask\n\n[What the user wants from this reply]\nbe short");
    for index in [0, 2, 3, 4] {
        assert_eq!(hinted[index], messages[index]);
    }
    assert_eq!(with_hint(&messages[2..4], "h"), &messages[2..4], "no user message: unchanged");
    let only_internal = with_hint(std::slice::from_ref(&internal), "h");
    assert_ne!(only_internal[0], internal);
}

#[test]
fn a_hint_renders_alike_in_text_and_in_parts() {
    let plain = with_hint(&[json!({"role": "user", "content": "ask"})], "h");
    let parts = json!({"role": "user", "content": [{"type": "text", "text": "ask"}]});
    let parts = with_hint(&[parts], "h");
    assert_eq!(messages::canonical(&plain).unwrap(), messages::canonical(&parts).unwrap());
    let empty = with_hint(&[json!({"role": "user", "content": []})], "h");
    assert!(messages::canonical(&empty).unwrap()[0]["content"].as_str().unwrap().ends_with("\nh"));
}
