//! Replies that have to have a form, by a model that would say anything.

use openclaw_rl::rollout::ConstraintKind;
use serde_json::{Value, json};

use super::harness::{Running, ask, events, hashes, start, with};

fn tools() -> Value {
    let parameters = json!({"type": "object", "additionalProperties": false, "required": ["at"],
        "properties": {"at": {"type": "string", "maxLength": 8}}});
    json!([
        {"type": "function", "function": {"name": "look", "parameters": parameters}},
        {"type": "function", "function": {"name": "wait",
            "parameters": {"type": "object", "properties": {}, "additionalProperties": false}}},
    ])
}

fn calls(choice: &Value) -> Vec<(String, Value)> {
    let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
    let call = |call: &Value| {
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let arguments = serde_json::from_str(arguments).expect("arguments are JSON");
        (call["function"]["name"].as_str().unwrap().to_owned(), arguments)
    };
    calls.iter().map(call).collect()
}

async fn reply(server: &Running, more: Value) -> Value {
    let body = with(ask("hello"), json!({"max_tokens": 400, "temperature": 1}));
    server.plain(&with(body, more)).await["choices"][0].take()
}

#[tokio::test]
async fn a_call_can_be_forced() {
    let server = start(hashes(21)).await;
    let named = json!({"type": "function", "function": {"name": "look"}});
    for (seed, choice) in (0..6).map(|n| (n, if n < 3 { named.clone() } else { json!("required") }))
    {
        let more = json!({"tools": tools(), "tool_choice": choice, "seed": seed,
            "parallel_tool_calls": false});
        let choice = reply(&server, more).await;
        assert_eq!(choice["finish_reason"], "tool_calls", "{choice}");
        let calls = calls(&choice);
        assert_eq!(calls.len(), 1);
        if seed < 3 {
            assert_eq!(calls[0].0, "look");
            assert!(calls[0].1["at"].is_string(), "{calls:?}");
        }
        let turn = server.turns().pop().unwrap();
        assert_eq!(turn.constraint, Some(ConstraintKind::ToolCalls));
        assert!(!turn.forced.is_empty(), "the name leaves no choice");
    }
}

#[tokio::test]
async fn a_forced_call_streams_as_it_is_whole() {
    let server = start(hashes(22)).await;
    let more = json!({"tools": tools(), "seed": 4, "parallel_tool_calls": false,
        "tool_choice": {"type": "function", "function": {"name": "look"}}});
    let whole = reply(&server, more.clone()).await;
    let body = with(ask("hello"), json!({"max_tokens": 400, "temperature": 1}));
    let (events, done) = server.events(&with(body, more)).await;
    assert!(done);
    let fragments: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"][0].as_object())
        .filter_map(|call| call["function"]["arguments"].as_str())
        .collect();
    assert_eq!(fragments, whole["message"]["tool_calls"][0]["function"]["arguments"]);
}

#[tokio::test]
async fn a_format_is_kept_whoever_asks() {
    let server = start(hashes(23)).await;
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["n"],
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}});
    let fits = |text: &str| {
        let value: Value = serde_json::from_str(text).expect("JSON");
        (0..10).contains(&value["n"].as_i64().expect("a number")).then_some(()).expect("in range");
    };
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let choice = reply(&server, json!({"response_format": format})).await;
    fits(choice["message"]["content"].as_str().unwrap());
    let turn = server.turns().pop().unwrap();
    assert_eq!(turn.constraint, Some(ConstraintKind::JsonSchema));

    let picked = json!({"structured_outputs": {"choice": ["yes", "no"]}});
    let choice = reply(&server, picked.clone()).await;
    assert!(["yes", "no"].contains(&choice["message"]["content"].as_str().unwrap()));

    let body = with(json!({"prompt": "x", "max_tokens": 50}), picked);
    let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
    assert!(["yes", "no"].contains(&answer["choices"][0]["text"].as_str().unwrap()));

    let params = json!({"max_new_tokens": 200, "json_schema": schema.to_string()});
    let body = json!({"text": "x", "sampling_params": params});
    let answer: Value = server.post("/generate", &body).await.json().await.unwrap();
    fits(answer["text"].as_str().unwrap());

    let body = json!({"max_tokens": 200, "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let answer: Value = server.post("/v1/messages", &body).await.json().await.unwrap();
    fits(answer["content"][0]["text"].as_str().unwrap());
}

#[tokio::test]
async fn anthropics_clients_can_force_a_call() {
    let server = start(hashes(24)).await;
    let schema = json!({"type": "object", "additionalProperties": false, "properties": {}});
    let body = json!({"max_tokens": 300, "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": "wait", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "wait"}});
    let answer: Value = server.post("/v1/messages", &body).await.json().await.unwrap();
    assert_eq!(answer["stop_reason"], "tool_use", "{answer}");
    let call = answer["content"].as_array().unwrap().last().unwrap();
    assert_eq!((&call["type"], &call["name"]), (&json!("tool_use"), &json!("wait")));
    assert_eq!(call["input"], json!({}));
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_by_its_name() {
    let server = start(hashes(25)).await;
    let schema = json!({"type": "json_schema",
        "json_schema": {"name": "x", "strict": true, "schema": {"type": "nonsense"}}});
    for (more, at) in [
        (json!({"response_format": schema}), "response_format.json_schema.schema"),
        (json!({"structured_outputs": {"regex": "("}}), "structured_outputs.regex"),
        (
            json!({"tools": tools(), "tool_choice": "required",
                "response_format": {"type": "json_object"}}),
            "response_format",
        ),
    ] {
        let response = server.chat(&with(ask("x"), more)).await;
        assert_eq!(response.status(), 400);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["param"], at, "{answer}");
    }
    let stream = with(ask("x"), json!({"stream": true, "structured_outputs": {"regex": "a{3}"}}));
    let (events, done) = events(&server.chat(&stream).await.text().await.unwrap());
    assert!(done);
    assert_eq!(super::harness::text(&events, "content"), "aaa");
}
