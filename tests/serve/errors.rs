//! What is wrong with a request is said, in OpenAI's shape, and leaves the server well.

use openclaw_rl::config::ServeConfig;
use openclaw_rl::engine::fake::Gate;
use serde_json::{Value, json};

use super::harness::{always, ask, config, events, says, start, start_with, text, with};

/// Status, `param` and `message` of an error.
async fn error(response: reqwest::Response) -> (u16, String, String, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("an error in JSON");
    let error = &body["error"];
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "{body} has no `{key}`");
    }
    let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
    (status, text("param"), text("message"), error["code"].clone())
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let server = start(says("x")).await;
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]);
    let cases = [
        (json!({"messages": null}), "messages", "is required"),
        (json!({"messages": []}), "messages", "at least one"),
        (json!({"messages": "hi"}), "messages", "an array"),
        (json!({"messages": [{"role": "robot", "content": ""}]}), "messages[0].role", "robot"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content", "string"),
        (json!({"messages": image}), "messages[0].content[0].type", "image_url"),
        (json!({"model": 3}), "model", "a string"),
        (json!({"stream": "yes"}), "stream", "true or false"),
        (json!({"stream_options": 1}), "stream_options", "an object"),
        (json!({"stream_options": {"include_usage": 1}}), "stream_options.include_usage", "true"),
        (json!({"temperature": -0.1}), "temperature", "0 to 10"),
        (json!({"temperature": "hot"}), "temperature", "number"),
        (json!({"top_p": 0}), "top_p", "above 0"),
        (json!({"top_k": -2}), "top_k", "-1"),
        (json!({"seed": "x"}), "seed", "whole number"),
        (json!({"max_tokens": 0}), "max_tokens", "above 0"),
        (json!({"max_completion_tokens": 1.5}), "max_completion_tokens", "above 0"),
        (json!({"stop": [""]}), "stop", "strings"),
        (json!({"n": 0}), "n", "from 1 to 128"),
        (json!({"n": 129}), "n", "got 129"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs", "from 0 to 20"),
        (json!({"top_logprobs": 3}), "top_logprobs", "`logprobs`"),
        (json!({"presence_penalty": 2.5}), "presence_penalty", "from -2 to 2"),
        (json!({"logit_bias": {"a": 1}}), "logit_bias.a", "token id"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type", "json_object"),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema.schema",
            "JSON schema",
        ),
        (json!({"chat_template_kwargs": {"tools": []}}), "chat_template_kwargs.tools", "cannot"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function.name", "name"),
        (json!({"tool_choice": "any"}), "tool_choice", "\"auto\""),
        (json!({"tool_choice": "required"}), "tool_choice", "`tools`"),
        (json!({"tool_choice": {"type": "function"}}), "tool_choice", "\"none\""),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "tool_choice",
            "no tool `f`",
        ),
    ];
    for (fields, param, said) in cases {
        let response = server.chat(&with(ask("hi"), fields.clone())).await;
        let (status, at, message, _) = error(response).await;
        assert_eq!((status, at.as_str()), (400, param), "{fields}: {message}");
        assert!(message.contains(said), "{fields}: {message}");
    }
    // What is unknown, or has no effect, is no error.
    let fine = json!({"store": false, "n": 1, "top_p": 1, "frequency_penalty": 0, "stop": null,
        "response_format": {"type": "text"}, "tool_choice": "auto", "metadata": {}});
    assert_eq!(server.plain(&with(ask("hi"), fine)).await["choices"][0]["message"]["content"], "x");
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let config = ServeConfig { body_bytes_max: 2048, ..config() };
    let server = start_with(config, always(says("x"))).await;
    let url = format!("{}/v1/chat/completions", server.base);
    let raw = |body: &str| server.client.post(&url).body(body.to_owned()).send();

    let (status, _, message, code) = error(raw("{\"messages\": [").await.unwrap()).await;
    assert_eq!((status, code), (400, json!("invalid_json")));
    assert!(message.contains("line 1"), "{message}");
    let (status, ..) = error(raw("[]").await.unwrap()).await;
    assert_eq!(status, 400);

    let (status, _, message, _) = error(raw(&"x".repeat(200_000)).await.unwrap()).await;
    assert_eq!(status, 413);
    assert!(message.contains("2048"), "{message}");

    let (status, _, message, _) = error(server.get("/v1/nothing").await).await;
    assert_eq!(status, 404);
    assert!(message.contains("/v1/nothing"), "{message}");
    let (status, ..) = error(server.get("/v1/chat/completions").await).await;
    assert_eq!(status, 405);
    let (status, ..) = error(server.post("/health", &json!({})).await).await;
    assert_eq!(status, 405);
    server.plain(&ask("still well?")).await;
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_told_so() {
    let config = ServeConfig { context_tokens: Some(64), ..config() };
    let server = start_with(config, always(says(&"word ".repeat(100)))).await;
    let response = server.chat(&ask(&"word ".repeat(100))).await;
    let (status, param, message, code) = error(response).await;
    assert_eq!((status, param.as_str()), (400, "messages"));
    assert_eq!(code, "context_length_exceeded");
    assert!(message.contains("64"), "{message}");

    // What fits is answered, as far as there is room.
    let plain = server.plain(&with(ask("hi"), json!({"max_tokens": 5000}))).await;
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
    assert_eq!(plain["usage"]["total_tokens"], 64);
    let plain = server.plain(&with(ask("hi"), json!({"max_completion_tokens": 3}))).await;
    assert_eq!(plain["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn a_full_queue_sends_away_and_serves_the_rest() {
    let gate = Gate::default();
    let config = ServeConfig { running_max: 1, waiting_max: 1, ..config() };
    let server = start_with(config, always(says("served").held_by(&gate))).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let body = with(ask("hi"), json!({"stream": true}));
        let response = server.chat(&body).await;
        assert_eq!(response.status(), 200);
        streams.push(response);
    }
    let refused = server.chat(&ask("hi")).await;
    assert!(refused.headers().contains_key("retry-after"));
    let (status, .., code) = error(refused).await;
    assert_eq!((status, code), (429, json!("queue_full")));
    gate.open();
    for stream in streams {
        let (events, done) = events(&stream.text().await.unwrap());
        assert!(done);
        assert_eq!(text(&events, "content"), "served");
    }
    server.plain(&ask("hi")).await;
}

#[tokio::test]
async fn a_key_is_needed_where_one_is_set() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-secret\n").unwrap();
    let config = ServeConfig { api_key_file: Some(file.path().to_owned()), ..config() };
    let server = start_with(config, always(says("x"))).await;
    let url = format!("{}/v1/chat/completions", server.base);
    for (key, expected) in [(None, 401), (Some("sk-wrong"), 401), (Some("sk-secret"), 200)] {
        let mut request = server.client.post(&url).json(&ask("hi"));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{key:?}");
    }
    for path in ["/v1/models", "/status", "/model_info"] {
        assert_eq!(error(server.get(path).await).await.0, 401, "{path}");
    }
    assert_eq!(server.get("/health").await.status(), 200);
}

#[tokio::test]
async fn generate_names_what_is_wrong() {
    let server = start(says("x")).await;
    for (body, param) in [
        (json!({}), "input_ids"),
        (json!({"input_ids": []}), "input_ids"),
        (json!({"input_ids": [["x"]]}), "input_ids"),
        (json!({"input_ids": [5000]}), "input_ids"),
        (json!({"input_ids": [1], "text": "x"}), "text"),
        (json!({"input_ids": [1], "stream": 1}), "stream"),
        (json!({"input_ids": [1], "sampling_params": 1}), "sampling_params"),
        (
            json!({"input_ids": [1], "sampling_params": {"temperature": -1}}),
            "sampling_params.temperature",
        ),
        (
            json!({"input_ids": [1], "return_logprob": true, "logprob_start_len": 5,
                "sampling_params": {"max_new_tokens": 0}}),
            "logprob_start_len",
        ),
        (
            json!({"input_ids": [1, 2], "return_logprob": true, "logprob_start_len": 0}),
            "logprob_start_len",
        ),
    ] {
        let (status, at, message, _) = error(server.post("/generate", &body).await).await;
        assert_eq!((status, at.as_str()), (400, param), "{body}: {message}");
    }
    let long = json!({"input_ids": vec![1; 3000], "sampling_params": {"max_new_tokens": 0}});
    let (status, .., code) = error(server.post("/generate", &long).await).await;
    assert_eq!((status, code), (400, json!("context_length_exceeded")));
}
