//! docs/openapi.json is what the server does: the same routes, and answers that follow it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use openclaw_rl::config::ServeConfig;
use openclaw_rl::engine::fake::{Fake, Gate, Habit};
use openclaw_rl::stage::serve::{Access, routes};
use serde_json::{Value, json};

use super::harness::{Load, Running, always, ask, config, says, start_with, with};

/// The page, and what was held against it.
struct Page {
    doc: Value,
    checked: BTreeSet<(&'static str, String, u16)>,
}

/// One answer.
struct Answer {
    status: u16,
    kind: String,
    text: String,
}

impl Page {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let text = std::fs::read_to_string(path).unwrap();
        Self { doc: serde_json::from_str(&text).unwrap(), checked: BTreeSet::new() }
    }

    /// Fails unless `value` follows a schema of the page.
    fn validate(&self, what: &str, schema: &Value, value: &Value) {
        let schema = json!({"allOf": [schema], "components": self.doc["components"]});
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let problems: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{} at `{}`", error, error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{what}: {problems:#?}\n{value:#}");
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(at) => self.doc.pointer(at.trim_start_matches('#')).expect("a reference"),
            None => value,
        }
    }

    /// Fails unless the answer follows the page.
    fn check(&mut self, method: &'static str, path: &str, answer: &Answer) {
        let path = on_page(path);
        let Answer { status, kind, text } = answer;
        let what = format!("{method} {path}: {status}");
        let operation = &self.doc["paths"][&path][method.to_lowercase()];
        assert!(operation.is_object(), "{what}: the route is not on the page");
        let response = self.resolve(&operation["responses"][status.to_string()]);
        assert!(response.is_object(), "{what} is not on the page: {text}");
        let media = &response["content"][kind.as_str()];
        assert!(media.is_object(), "{what}: `{kind}` is not on the page");
        match kind.as_str() {
            "application/json" => {
                let value = serde_json::from_str(text).expect("JSON");
                self.validate(&what, &media["schema"], &value);
            }
            "text/event-stream" => {
                let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
                for data in data.filter(|data| *data != "[DONE]") {
                    let value = serde_json::from_str(data).expect("JSON");
                    let schema = &media["schema"]["properties"]["data"]["contentSchema"];
                    self.validate(&what, schema, &value);
                }
            }
            _ => {}
        }
        self.checked.insert((method, path, *status));
    }

    async fn ask(
        &mut self,
        server: &Running,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let url = format!("{}{path}", server.base);
        let mut request = server.client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap();
        let answer = Answer {
            status: response.status().as_u16(),
            kind: kind.split(';').next().unwrap().to_owned(),
            text: response.text().await.unwrap(),
        };
        self.check(method, path, &answer);
        answer
    }

    /// Asks, and holds the answer against the page and against the status expected.
    async fn post(&mut self, server: &Running, path: &str, body: Value, status: u16) {
        let answer = self.ask(server, "POST", path, Some(&body)).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
    }
}

/// A path as the page has it.
fn on_page(path: &str) -> String {
    match path.strip_prefix("/v1/turns/") {
        Some(_) => "/v1/turns/{id}".to_owned(),
        None => path.to_owned(),
    }
}

#[test]
fn the_page_has_the_routes_of_the_server_and_no_others() {
    let page = Page::open();
    let on_page: BTreeSet<(String, String)> = page.doc["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let served: BTreeSet<(String, String)> =
        routes().iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(on_page, served);
    for route in routes() {
        let operation = &page.doc["paths"][route.path][route.method.to_lowercase()];
        let keys = match route.access {
            Access::Open => json!([]),
            Access::Key => json!([{"apiKey": []}, {"xApiKey": []}]),
            Access::Admin => json!([{"adminKey": []}]),
        };
        assert_eq!(operation["security"], keys, "{}", route.path);
    }
}

/// Bodies that are answered well, by path.
fn good_bodies() -> Vec<(&'static str, Value)> {
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {}}}]);
    let chat = with(
        ask("hi"),
        json!({"logprobs": true, "top_logprobs": 2, "return_token_ids": true, "tools": tools,
            "max_tokens": 30}),
    );
    let their_tools = json!([{"name": "look", "input_schema": {"type": "object"}}]);
    let message = json!({"model": "m", "max_tokens": 30, "tools": their_tools,
        "messages": [{"role": "user", "content": "hi"}]});
    let completion = json!({"prompt": ["one", "two"], "max_tokens": 4, "logprobs": 2});
    let generate = json!({"text": "one", "return_logprob": true, "top_logprobs_num": 2,
        "sampling_params": {"max_new_tokens": 4}});
    let streamed = |body: &Value| with(body.clone(), json!({"stream": true}));
    vec![
        ("/v1/chat/completions", streamed(&with(chat.clone(), json!({"n": 2})))),
        ("/v1/chat/completions", chat),
        ("/v1/messages", streamed(&message)),
        ("/v1/messages", message.clone()),
        ("/v1/messages/count_tokens", message),
        (
            "/v1/completions",
            json!({"prompt": [1, 2], "echo": true, "max_tokens": 0, "logprobs": 1}),
        ),
        ("/v1/completions", streamed(&completion)),
        ("/v1/completions", completion),
        ("/generate", streamed(&generate)),
        ("/generate", generate),
        (
            "/generate",
            json!({"input_ids": [[1, 2, 3], [4, 5]], "return_logprob": true,
            "logprob_start_len": 0, "sampling_params": {"max_new_tokens": 0}}),
        ),
        ("/tokenize", json!({"prompt": "hi", "return_token_strs": true})),
        ("/v1/tokenize", ask("hi")),
        ("/detokenize", json!({"tokens": [1, 2]})),
        ("/v1/detokenize", json!({"tokens": [1, 2]})),
        ("/pause_generation", json!({})),
        ("/continue_generation", json!({})),
        ("/flush_cache", json!({})),
        ("/load_lora_adapter", json!({"lora_name": "ann", "lora_path": "/ann"})),
        ("/unload_lora_adapter", json!({"lora_name": "ann"})),
    ]
}

#[tokio::test]
async fn good_answers_follow_the_page() {
    let mut page = Page::open();
    let reply = "<think>\nhm\n</think>\n\nLook.\n<tool_call>\n{\"name\": \"look\", \
                 \"arguments\": {}}\n</tool_call>";
    let server = start_with(config(), always(says(reply))).await;
    for (path, body) in good_bodies() {
        page.post(&server, path, body, 200).await;
    }
    let dir = server.version_dir("v0000000001");
    page.post(&server, "/update_weights_from_disk", json!({"model_path": dir}), 200).await;
    let turn = server.turns().pop().unwrap().turn_id;
    for stream in [true, false] {
        let command = with(ask("/good"), json!({"stream": stream, "max_tokens": 9}));
        page.post(&server, "/v1/chat/completions", command.clone(), 200).await;
        page.post(&server, "/v1/messages", command, 200).await;
    }
    let rated = json!({"response_id": format!("chatcmpl-{turn}"), "rating": "down", "text": "t"});
    page.post(&server, "/v1/feedback", rated, 200).await;
    for route in routes().into_iter().filter(|route| route.method == "GET") {
        let path = route.path.replace("{id}", &turn.to_string());
        let answer = page.ask(&server, "GET", &path, None).await;
        assert_eq!(answer.status, 200, "{}: {}", route.path, answer.text);
    }
    for route in routes() {
        let key = (route.method, route.path.to_owned(), 200);
        assert!(page.checked.contains(&key), "no good answer of {} was held against", route.path);
    }
}

#[tokio::test]
async fn refusals_follow_the_page() {
    let mut page = Page::open();
    let config = ServeConfig { body_bytes_max: 4096, ..config() };
    let load: Load = Arc::new(|dir: &Path| {
        let broken = dir.ends_with("broken");
        Ok(Fake::new(if broken { 9000 } else { 4096 }, 2048, Habit::Fail).into())
    });
    let server = start_with(config, load).await;
    for route in routes().into_iter().filter(|route| route.method == "POST") {
        page.post(&server, route.path, json!([]), 400).await;
        page.post(&server, route.path, json!({"x": "y".repeat(5000)}), 413).await;
    }
    for (path, body) in good_bodies().into_iter().take(10) {
        let stream = body["stream"] == true;
        let ids = path.contains("count_tokens") || body["max_tokens"] == 0;
        let status = if stream || ids { None } else { Some(500) };
        let answer = page.ask(&server, "POST", path, Some(&body)).await;
        assert!(status.is_none_or(|status| answer.status == status), "{path}: {}", answer.text);
    }
    let broken = server.version_dir("broken");
    let update = json!({"model_path": broken, "weight_version": "4"});
    page.post(&server, "/update_weights_from_disk", update, 400).await;
    page.post(&server, "/unload_lora_adapter", json!({"lora_name": "nobody"}), 404).await;
    let nobody = "0193e0f3-9c5a-7c3d-8e2f-0123456789ab";
    let rated = json!({"turn_id": nobody, "rating": "up"});
    page.post(&server, "/v1/feedback", rated.clone(), 404).await;
    page.post(&server, "/v1/feedback", with(rated, json!({"no_train": true})), 409).await;
    for (id, status) in [(nobody, 404), ("none", 400)] {
        let answer = page.ask(&server, "GET", &format!("/v1/turns/{id}"), None).await;
        assert_eq!(answer.status, status);
    }
    let answer = page.ask(&server, "GET", "/health_generate", None).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn those_who_are_kept_out_are_told_so_as_the_page_says() {
    let mut page = Page::open();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "secret").unwrap();
    let locked = ServeConfig { api_key_file: Some(key), ..config() };
    let server = start_with(locked, always(says("x"))).await;
    for route in routes().into_iter().filter(|route| route.access != Access::Open) {
        let body = json!({});
        let body = Some(&body).filter(|_| route.method == "POST");
        let answer = page.ask(&server, route.method, route.path, body).await;
        assert_eq!(answer.status, 401, "{}", route.path);
    }

    let gate = Gate::default();
    let full = ServeConfig { requests_max: 1, ..config() };
    let server = start_with(full, always(says("x").held_by(&gate))).await;
    let held = server.chat(&with(ask("hi"), json!({"stream": true}))).await;
    for route in routes().into_iter().filter(|route| route.access != Access::Open) {
        let body = json!({});
        let body = Some(&body).filter(|_| route.method == "POST");
        let answer = page.ask(&server, route.method, route.path, body).await;
        assert_eq!(answer.status, 429, "{}", route.path);
    }
    gate.open();
    held.text().await.unwrap();
}
