//! Rendering with the embedded model's own tokenizer and template.

use std::path::Path;

use openclaw_rl::render::{RenderError, Renderer, ReplyParser, ReplyPart, with_hint};
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

fn renderer() -> Renderer {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
    Renderer::open(&dir).expect("the embedded model renders")
}

fn streamed(renderer: &Renderer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = renderer.detokenizer();
    let mut pieces: Vec<String> = ids.iter().filter_map(|id| detokenizer.push(*id)).collect();
    pieces.extend(detokenizer.finish());
    pieces
}

#[test]
fn a_prompt_ends_where_the_assistant_begins() {
    let renderer = renderer();
    let messages = [
        json!({"role": "developer", "content": "Be kind."}),
        json!({"role": "user", "content": [{"type": "text", "text": "Grüße 🦞"}]}),
    ];
    let text = renderer.text(&messages, None).unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nGrüße 🦞<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    let ids = renderer.prompt(&messages, None).unwrap();
    assert_eq!(ids, renderer.encode(&text).unwrap());
    let marker = renderer.encode("<|im_start|>").unwrap();
    assert_eq!(marker.len(), 1, "a special token is one id");
    assert_eq!(ids.iter().filter(|id| **id == marker[0]).count(), 3);
    let end = renderer.encode("<|im_end|>").unwrap();
    assert!(renderer.stop_ids().contains(&end[0]));
    assert!(!renderer.reply_options(&ids, true, String::new()).thinking);
    let opened = renderer.encode("<|im_start|>assistant\n<think>\n").unwrap();
    assert!(renderer.reply_options(&opened, true, String::new()).thinking);
}

#[test]
fn tools_calls_and_results_are_rendered() {
    let renderer = renderer();
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {
        "type": "object", "properties": {"at": {"enum": ["<a>", "b"]}}}}}]);
    let call = json!({"id": "callab", "type": "function",
        "function": {"name": "look", "arguments": "{\"at\":\"b\",\"n\":2}"}});
    let messages = [
        json!({"role": "user", "content": "look"}),
        json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": "callab", "content": "a door"}),
    ];
    let text = renderer.text(&messages, Some(&tools)).unwrap();
    assert!(text.contains(r#"{"enum": ["<a>", "b"]}"#), "not escaped, Python's spaces: {text}");
    assert!(text.contains(r#"{"name": "look", "arguments": {"at": "b", "n": 2}}"#), "{text}");
    assert!(text.contains("a door"));
    assert!(text.contains(r#"{"type": "function", "function": {"name""#), "keys in order: {text}");
    assert!(!text.contains("None") && !text.contains("none"), "null content is empty: {text}");
}

#[test]
fn text_survives_ids_and_back() {
    let renderer = renderer();
    for text in
        ["", "plain words", "  spaces\n\n\ttabs", "ünïcödé — 日本語 🦞🇫🇷", "<think>x</think>"]
    {
        let ids = renderer.encode(text).unwrap();
        assert_eq!(renderer.decode(&ids).unwrap(), text);
        assert_eq!(streamed(&renderer, &ids).concat(), text);
    }
}

#[test]
fn any_ids_stream_as_they_decode() {
    let renderer = renderer();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let vocab = renderer.vocab_size() as u32;
    let bytes: Vec<u32> = renderer.encode("日本語🦞é").unwrap();
    for _ in 0..300 {
        let ids: Vec<u32> = (0..rng.random_range(0..40))
            .map(|_| match rng.random_bool(0.5) {
                true => bytes[rng.random_range(0..bytes.len())],
                false => rng.random_range(0..vocab),
            })
            .collect();
        assert_eq!(streamed(&renderer, &ids).concat(), renderer.decode(&ids).unwrap());
    }
}

#[test]
fn half_a_character_waits() {
    let renderer = renderer();
    let ids = renderer.encode("🦞").unwrap();
    assert!(ids.len() > 1, "the test needs a character of several tokens");
    let mut detokenizer = renderer.detokenizer();
    for id in &ids[..ids.len() - 1] {
        assert_eq!(detokenizer.push(*id), None);
    }
    assert_eq!(detokenizer.push(ids[ids.len() - 1]).as_deref(), Some("🦞"));
    assert_eq!(detokenizer.finish(), None);
    let mut cut = renderer.detokenizer();
    assert_eq!(cut.push(ids[0]), None);
    assert_eq!(cut.finish().as_deref(), Some("\u{FFFD}"));
}

#[test]
fn special_tokens_give_no_text() {
    let renderer = renderer();
    let ids = renderer.encode("a<|im_end|>b<|endoftext|>").unwrap();
    assert_eq!(ids.len(), 4);
    assert_eq!(streamed(&renderer, &ids).concat(), "ab");
}

#[test]
fn a_reply_with_a_call_renders_back_to_what_was_sampled() {
    let renderer = renderer();
    let sampled =
        "On it.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"b\"}}\n</tool_call>";
    let mut parser = ReplyParser::new(renderer.reply_options(&[], true, "t".into()));
    let mut parts = parser.push(sampled);
    parts.extend(parser.finish());
    let [
        ReplyPart::Content(content),
        ReplyPart::Call { id, name, .. },
        ReplyPart::Arguments { text: arguments, .. },
    ] = &parts[..]
    else {
        panic!("{parts:?}")
    };
    let reply = json!({"role": "assistant", "content": content, "tool_calls": [{
        "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]});
    let messages = [json!({"role": "user", "content": "look"}), reply];
    let text = renderer.text(&messages, None).unwrap();
    assert!(text.contains(&format!("<|im_start|>assistant\n{sampled}<|im_end|>")), "{text}");
}

#[test]
fn images_and_empty_conversations_are_refused_as_the_request_s_fault() {
    let renderer = renderer();
    let image: Value = json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]});
    for messages in [vec![], vec![image]] {
        let error = renderer.prompt(&messages, None).unwrap_err();
        assert!(error.is_request() && matches!(error, RenderError::Request { .. }), "{error}");
    }
}

#[test]
fn the_hint_is_all_that_changes() {
    let renderer = renderer();
    let messages = [json!({"role": "user", "content": "ask"})];
    let plain = renderer.text(&messages, None).unwrap();
    let hinted = renderer.text(&with_hint(&messages, "be short"), None).unwrap();
    let (before, after) = plain.split_once("ask").unwrap();
    assert!(hinted.starts_with(&format!("{before}ask")) && hinted.ends_with(after));
    assert!(hinted.contains("be short"));
}
