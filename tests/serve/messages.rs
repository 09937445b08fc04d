//! Conversations in the form of Anthropic.

use openclaw_rl::config::ServeConfig;
use openclaw_rl::engine::fake::{Fake, Habit};
use serde_json::{Value, json};

use super::harness::{Running, always, config, says, start, start_with, with};

const REPLY: &str = "<think>\nhm\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"look\", \
                     \"arguments\": {\"at\": \"<b>\"}}\n</tool_call>";

fn ask() -> Value {
    json!({
        "model": "any", "max_tokens": 100, "system": "Be kind.",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "a"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "a door"}]},
        ],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    })
}

/// The named events of a stream.
async fn stream(server: &Running, body: &Value) -> Vec<(String, Value)> {
    let body = with(body.clone(), json!({"stream": true}));
    let response = server.post("/v1/messages", &body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let frames = text.split("\n\n").filter(|frame| !frame.is_empty());
    let event = |frame: &str| {
        let (name, data) = frame.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        assert_eq!(data["type"], name.as_str());
        (name, data)
    };
    frames.map(event).collect()
}

#[tokio::test]
async fn a_reply_comes_in_blocks_and_is_recorded_as_a_turn() {
    let server = start(says(REPLY)).await;
    let response = server.post("/v1/messages", &ask()).await;
    let message: Value = response.json().await.unwrap();
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(message["stop_sequence"], Value::Null);
    let [thinking, text, call] = &message["content"].as_array().unwrap()[..] else {
        panic!("{message}")
    };
    assert_eq!(*thinking, json!({"type": "thinking", "thinking": "hm", "signature": ""}));
    assert_eq!(*text, json!({"type": "text", "text": "Let me see."}));
    assert_eq!((&call["name"], &call["input"]), (&json!("look"), &json!({"at": "<b>"})));
    let turn = server.turns().pop().unwrap();
    assert_eq!(message["id"], format!("msg_{}", turn.turn_id));
    assert_eq!(message["usage"]["input_tokens"], turn.prompt_ids.len());
    assert_eq!(message["usage"]["cache_read_input_tokens"], 0);
    assert_eq!(message["usage"]["output_tokens"], turn.response_ids.len());
    // What is kept is in the form that the other stages read, and renders to the same prompt.
    let messages: Vec<Value> = serde_json::from_str(&turn.messages).unwrap();
    let tools: Value = serde_json::from_str(&turn.tools).unwrap();
    let rendered = super::harness::renderer().prompt(&messages, Some(&tools)).unwrap();
    assert_eq!(rendered, turn.prompt_ids);
    assert_eq!(messages[3]["role"], "tool");

    let counted = server.post("/v1/messages/count_tokens", &ask()).await;
    let counted: Value = counted.json().await.unwrap();
    assert_eq!(counted, json!({"input_tokens": turn.prompt_ids.len()}));
}

#[tokio::test]
async fn a_stream_has_anthropics_sequence_of_events() {
    let server = start(says(REPLY)).await;
    let events = stream(&server, &ask()).await;
    let message: Value = server.post("/v1/messages", &ask()).await.json().await.unwrap();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[0], "message_start");
    assert_eq!(events[0].1["message"]["content"], json!([]));
    assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
    let end = &events[names.len() - 2].1;
    assert_eq!(end["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
    let read = |usage: &Value| {
        let keys = ["input_tokens", "cache_read_input_tokens"];
        keys.map(|key| usage[key].as_u64().unwrap()).iter().sum::<u64>()
    };
    assert_eq!(read(&end["usage"]), read(&message["usage"]));
    assert_eq!(end["usage"]["output_tokens"], message["usage"]["output_tokens"]);
    assert!(message["usage"]["cache_read_input_tokens"].as_u64() > Some(0), "asked before");
    let (mut open, mut blocks) = (None, Vec::new());
    for (name, data) in &events[1..events.len() - 2] {
        match name.as_str() {
            "content_block_start" => {
                assert_eq!((open, &data["index"]), (None, &json!(blocks.len())));
                open = Some(blocks.len());
                blocks.push((data["content_block"].clone(), String::new()));
            }
            "content_block_delta" => {
                assert_eq!(data["index"], open.unwrap());
                let delta = &data["delta"];
                let key = match delta["type"].as_str().unwrap() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "input_json_delta" => "partial_json",
                    other => panic!("{other}"),
                };
                blocks.last_mut().unwrap().1.push_str(delta[key].as_str().unwrap());
            }
            "content_block_stop" => assert_eq!(data["index"], open.take().unwrap()),
            other => panic!("{other}"),
        }
    }
    assert_eq!(open, None);
    let whole = message["content"].as_array().unwrap();
    assert_eq!(blocks.len(), whole.len());
    assert_eq!(blocks[0].1, whole[0]["thinking"]);
    assert_eq!(blocks[1].1, whole[1]["text"]);
    assert_eq!(blocks[2].0["name"], whole[2]["name"]);
    assert_eq!(serde_json::from_str::<Value>(&blocks[2].1).unwrap(), whole[2]["input"]);
}

#[tokio::test]
async fn why_it_stopped_is_told() {
    let server = start(says("one two END three")).await;
    let plain = json!({"model": "m", "max_tokens": 100,
        "messages": [{"role": "user", "content": "count"}]});
    for (more, reason, sequence) in [
        (json!({}), "end_turn", Value::Null),
        (json!({"stop_sequences": ["no", "END"]}), "stop_sequence", json!("END")),
        (json!({"max_tokens": 2}), "max_tokens", Value::Null),
    ] {
        let body = with(plain.clone(), more);
        let message: Value = server.post("/v1/messages", &body).await.json().await.unwrap();
        assert_eq!(message["stop_reason"], reason);
        assert_eq!(message["stop_sequence"], sequence);
        let events = stream(&server, &body).await;
        let end = &events[events.len() - 2].1["delta"];
        assert_eq!((&end["stop_reason"], &end["stop_sequence"]), (&json!(reason), &sequence));
    }
}

#[tokio::test]
async fn errors_have_anthropics_shape_wherever_they_come_from() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-secret\n").unwrap();
    let key = Some(file.path().to_owned());
    let config = ServeConfig { api_key_file: key, body_bytes_max: 2048, ..config() };
    let server = start_with(config, always(says("x"))).await;
    let url = format!("{}/v1/messages", server.base);
    let post = |body: Value, key: &str| {
        server.client.post(&url).header("x-api-key", key).json(&body).send()
    };
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]});
    let large = json!({"system": "x".repeat(5000)});
    for (more, key, status, kind, said) in [
        (json!({}), "sk-wrong", 401, "authentication_error", "API key"),
        (json!({"max_tokens": null}), "sk-secret", 400, "invalid_request_error", "max_tokens"),
        (image, "sk-secret", 400, "invalid_request_error", "messages[0].content[0].type"),
        (large, "sk-secret", 413, "request_too_large", "2048"),
    ] {
        let response = post(with(ask(), more), key).await.unwrap();
        assert_eq!(response.status(), status);
        let answer: Value = response.json().await.unwrap();
        assert_eq!((&answer["type"], &answer["error"]["type"]), (&json!("error"), &json!(kind)));
        assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{answer}");
    }
    assert_eq!(post(ask(), "sk-secret").await.unwrap().status(), 200);

    let server = start(Fake::new(4096, 2048, Habit::Fail)).await;
    let response = server.post("/v1/messages", &ask()).await;
    assert_eq!(response.status(), 500);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["error"]["type"], "api_error");
    let events = stream(&server, &ask()).await;
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["error"]["type"]), ("error", &json!("api_error")));
    assert!(events.iter().all(|(name, _)| name != "message_stop"));
}
