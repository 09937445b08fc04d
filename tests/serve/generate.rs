//! `/generate`: what SGLang's clients ask of it.

use serde_json::{Value, json};

use super::harness::{Running, events, hashes, renderer, says, start};

async fn generate(server: &Running, body: &Value) -> Value {
    let response = server.post("/generate", body).await;
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn several_prompts_and_replies_are_a_list() {
    let server = start(hashes(2)).await;
    let one = renderer().encode("one").unwrap();
    let two = renderer().encode("two three").unwrap();
    let sampling = json!({"max_new_tokens": 6, "n": 2, "sampling_seed": 7});
    let body = json!({"input_ids": [one, two], "sampling_params": sampling});
    let answers = generate(&server, &body).await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 4);
    assert_ne!(answers[0]["output_ids"], answers[1]["output_ids"]);
    for (index, answer) in answers.iter().enumerate() {
        let prompt = if index < 2 { &one } else { &two };
        assert_eq!(answer["meta_info"]["prompt_tokens"], prompt.len());
    }
    let alone = json!({"input_ids": two,
        "sampling_params": {"max_new_tokens": 6, "sampling_seed": 7}});
    assert_eq!(generate(&server, &alone).await["output_ids"], answers[2]["output_ids"]);
    let list = json!({"input_ids": [two], "sampling_params": {"max_new_tokens": 1}});
    assert_eq!(generate(&server, &list).await.as_array().unwrap().len(), 1);

    let scores = json!({"input_ids": [one, two], "return_logprob": true, "logprob_start_len": 0,
        "sampling_params": {"max_new_tokens": 0}});
    let scores = generate(&server, &scores).await;
    for (answer, ids) in scores.as_array().unwrap().iter().zip([&one, &two]) {
        let entries = answer["meta_info"]["input_token_logprobs"].as_array().unwrap();
        assert_eq!(entries.len(), ids.len());
        assert_eq!(entries[0], json!([null, ids[0], null]));
    }
    assert!(server.turns().is_empty());
}

#[tokio::test]
async fn a_stream_is_the_answer_so_far() {
    let server = start(says("one two three")).await;
    let body = json!({"text": "count", "stream": true, "return_logprob": true,
        "sampling_params": {"max_new_tokens": 50, "temperature": 0}});
    let response = server.post("/generate", &body).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (events, done) = events(&response.text().await.unwrap());
    assert!(done && events.len() > 3);
    for pair in events.windows(2) {
        let text = |event: &Value| event["text"].as_str().unwrap().to_owned();
        assert!(text(&pair[1]).starts_with(&text(&pair[0])));
        assert_eq!(pair[0]["meta_info"]["finish_reason"], Value::Null);
        assert_eq!(pair[0]["meta_info"]["id"], pair[1]["meta_info"]["id"]);
    }
    let mut whole = body.clone();
    whole["stream"] = json!(false);
    let whole = generate(&server, &whole).await;
    let last = events.last().unwrap();
    for key in ["text", "output_ids"] {
        assert_eq!(last[key], whole[key]);
    }
    let meta = |answer: &Value, key: &str| answer["meta_info"][key].clone();
    for key in ["finish_reason", "output_token_logprobs", "completion_tokens", "cached_tokens"] {
        assert_eq!(meta(last, key), meta(&whole, key), "{key}");
    }
    let end = renderer().encode("<|im_end|>").unwrap()[0];
    assert_eq!(meta(&whole, "finish_reason"), json!({"type": "stop", "matched": end}));
}

#[tokio::test]
async fn what_ended_a_reply_is_told() {
    let server = start(says("one two three")).await;
    for (sampling, reason) in [
        (json!({"stop": ["x", "two"]}), json!({"type": "stop", "matched": "two"})),
        (json!({"max_new_tokens": 2}), json!({"type": "length", "length": 2})),
    ] {
        let body = json!({"text": "count", "sampling_params": sampling});
        assert_eq!(generate(&server, &body).await["meta_info"]["finish_reason"], reason);
    }
    for (body, param) in [
        (json!({"text": "x", "lora_path": "none"}), "lora_path"),
        (json!({"text": "x", "top_logprobs_num": 1000}), "top_logprobs_num"),
        (json!({"text": "x", "stream": true, "sampling_params": {"max_new_tokens": 0}}), "stream"),
    ] {
        let response = server.post("/generate", &body).await;
        assert_eq!(response.status(), 400);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["param"], param);
    }
}
