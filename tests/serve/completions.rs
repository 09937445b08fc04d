//! Text and ids continued as they are: `/v1/completions`, and the tokenizer's own routes.

use openclaw_rl::engine::sampler;
use serde_json::{Value, json};

use super::harness::{events, hashes, renderer, says, script, start};

#[tokio::test]
async fn a_prompt_is_continued_as_it_is() {
    let server = start(says("one two three")).await;
    let ids = renderer().encode("count").unwrap();
    for prompt in [json!("count"), json!(ids), json!(["count"]), json!([ids])] {
        let body = json!({"model": "m", "prompt": prompt, "max_tokens": 50});
        let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
        assert_eq!(answer["object"], "text_completion");
        let choice = &answer["choices"][0];
        assert_eq!(
            (&choice["text"], &choice["finish_reason"]),
            (&json!("one two three"), &json!("stop"))
        );
        assert_eq!(choice["logprobs"], Value::Null);
        assert_eq!(answer["usage"]["prompt_tokens"], ids.len());
        assert_eq!(answer["usage"]["completion_tokens"], script("one two three").len());
    }
    let body = json!({"prompt": "count", "stop": "two"});
    let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["text"], "one ");
    assert!(server.turns().is_empty(), "no conversation, no turn");
}

#[tokio::test]
async fn several_prompts_and_several_replies_keep_their_places() {
    let server = start(hashes(4)).await;
    let body = json!({"prompt": ["a b", "c d e"], "n": 2, "max_tokens": 8, "seed": 3,
        "return_token_ids": true, "temperature": 0.9, "stream_options": {"include_usage": true}});
    let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    let prompt = |text: &str| renderer().encode(text).unwrap().len();
    assert_eq!(answer["usage"]["prompt_tokens"], prompt("a b") + prompt("c d e"));
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
    }
    assert_ne!(choices[0]["token_ids"], choices[1]["token_ids"]);
    let mut alone = body.clone();
    alone["prompt"] = json!("c d e");
    alone["n"] = json!(1);
    let alone: Value = server.post("/v1/completions", &alone).await.json().await.unwrap();
    assert_eq!(alone["choices"][0]["token_ids"], choices[2]["token_ids"]);

    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    streamed["echo"] = json!(true);
    let response = server.post("/v1/completions", &streamed).await;
    let (events, done) = events(&response.text().await.unwrap());
    assert!(done);
    for (index, choice) in choices.iter().enumerate() {
        let of_choice = events.iter().map(|e| &e["choices"][0]).filter(|c| c["index"] == index);
        let text: String = of_choice.filter_map(|choice| choice["text"].as_str()).collect();
        let prompt = if index < 2 { "a b" } else { "c d e" };
        assert_eq!(text, format!("{prompt}{}", choice["text"].as_str().unwrap()));
    }
    let usage = |answer: &Value| answer["usage"]["total_tokens"].clone();
    assert_eq!(usage(events.last().unwrap()), usage(&answer));
}

#[tokio::test]
async fn log_probabilities_are_those_of_the_model() {
    let fake = hashes(9);
    let server = start(fake.clone()).await;
    let prompt = renderer().encode("one two").unwrap();
    let body = json!({"prompt": prompt, "echo": true, "logprobs": 2, "max_tokens": 3,
        "temperature": 0.8, "return_token_ids": true});
    let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
    let choice = &answer["choices"][0];
    let sampled: Vec<u32> = serde_json::from_value(choice["token_ids"].clone()).unwrap();
    let ids = [prompt.as_slice(), &sampled].concat();
    let list = &choice["logprobs"];
    let logprobs = list["token_logprobs"].as_array().unwrap();
    assert_eq!(logprobs.len(), ids.len());
    assert_eq!((&logprobs[0], &list["top_logprobs"][0]), (&Value::Null, &Value::Null));
    for place in 1..ids.len() {
        let row = fake.logits(&ids[..place], prompt.len());
        let expected = sampler::logprob(&row, ids[place], 0.8).unwrap();
        let told = logprobs[place].as_f64().unwrap() as f32;
        assert!((told - expected).abs() < 1e-5, "{place}: {told} and {expected}");
        let top = list["top_logprobs"][place].as_object().unwrap();
        assert!((1..=3).contains(&top.len()), "{top:?}");
        assert!(top.contains_key(list["tokens"][place].as_str().unwrap()));
    }
    let mut offset = 0;
    for (token, told) in
        list["tokens"].as_array().unwrap().iter().zip(list["text_offset"].as_array().unwrap())
    {
        assert_eq!(*told, offset);
        offset += token.as_str().unwrap().chars().count();
    }
    // The prompt alone.
    let body = json!({"prompt": prompt, "echo": true, "logprobs": 0, "max_tokens": 0});
    let answer: Value = server.post("/v1/completions", &body).await.json().await.unwrap();
    let choice = &answer["choices"][0];
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!("one two"), &json!("length")));
    assert_eq!(choice["logprobs"]["token_logprobs"].as_array().unwrap().len(), prompt.len());
    assert_eq!(answer["usage"]["total_tokens"], prompt.len());
}

#[tokio::test]
async fn texts_and_conversations_are_tokenised() {
    let server = start(says("x")).await;
    let renderer = renderer();
    let ids = renderer.encode("Grüße<|im_end|>").unwrap();
    for path in ["/tokenize", "/v1/tokenize"] {
        let body = json!({"prompt": "Grüße<|im_end|>", "return_token_strs": true});
        let answer: Value = server.post(path, &body).await.json().await.unwrap();
        assert_eq!(answer["tokens"], json!(ids));
        assert_eq!((&answer["count"], &answer["max_model_len"]), (&json!(ids.len()), &json!(2048)));
        assert_eq!(answer["token_strs"].as_array().unwrap().last().unwrap(), "<|im_end|>");
        let body = json!({"tokens": ids});
        let back = path.replace("tokenize", "detokenize");
        let answer: Value = server.post(&back, &body).await.json().await.unwrap();
        assert_eq!(answer, json!({"prompt": "Grüße<|im_end|>"}));
    }
    let messages = [json!({"role": "user", "content": "hi"})];
    let prompt = renderer.prompt(&messages, None).unwrap();
    let body = json!({"messages": messages});
    let answer: Value = server.post("/tokenize", &body).await.json().await.unwrap();
    assert_eq!(answer["tokens"], json!(prompt));
    let body = json!({"messages": messages, "add_generation_prompt": false});
    let answer: Value = server.post("/tokenize", &body).await.json().await.unwrap();
    let shorter = answer["tokens"].as_array().unwrap();
    assert!(shorter.len() < prompt.len());
    assert_eq!(json!(prompt[..shorter.len()]), answer["tokens"]);
    for (path, body, param) in [
        ("/tokenize", json!({}), "prompt"),
        ("/tokenize", json!({"prompt": 1}), "prompt"),
        ("/tokenize", json!({"messages": [{"role": "robot"}]}), "messages[0].role"),
        ("/detokenize", json!({}), "tokens"),
        ("/detokenize", json!({"tokens": [9999]}), "tokens"),
        ("/v1/completions", json!({}), "prompt"),
        ("/v1/completions", json!({"prompt": [9999]}), "prompt"),
        ("/v1/completions", json!({"prompt": "x", "suffix": "y"}), "suffix"),
    ] {
        let response = server.post(path, &body).await;
        assert_eq!(response.status(), 400, "{path} {body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["param"], param, "{answer}");
    }
}
