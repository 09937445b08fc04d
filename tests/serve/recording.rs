//! What is recorded is what was sent and sampled.

use std::time::Duration;

use futures::StreamExt;
use openclaw_rl::config::ServeConfig;
use openclaw_rl::engine::fake::Gate;
use openclaw_rl::engine::sampler;
use openclaw_rl::rollout::{FinishReason, Turn, TurnStatus, Version, VersionSpan};
use serde_json::{Value, json};

use super::harness::{
    always, ask, config, hashes, renderer, says, script, start, start_with, with,
};

#[tokio::test]
async fn a_turn_is_what_was_sent() {
    let fake = hashes(5);
    let server = start(fake.clone()).await;
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "héllo"}], "zeta": 1, "alpha": 2},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "look", "description": "d"}}]);
    let body = json!({
        "model": "asked-for", "messages": messages, "tools": tools, "max_tokens": 25,
        "temperature": 0.7, "top_p": 0.95, "top_k": 50, "seed": 9,
        "logprobs": true, "return_token_ids": true,
    });
    let plain = server.plain(&body).await;
    let turn = server.turns().pop().expect("durable before the reply ends");
    let choice = &plain["choices"][0];
    assert_eq!(plain["id"], format!("chatcmpl-{}", turn.turn_id));
    assert_eq!(json!(turn.prompt_ids), plain["prompt_token_ids"]);
    assert_eq!(json!(turn.response_ids), choice["token_ids"]);
    let rendered = renderer().prompt(messages.as_array().unwrap(), Some(&tools)).unwrap();
    assert_eq!(turn.prompt_ids, rendered);
    let logprobs = choice["logprobs"]["content"].as_array().unwrap();
    let told: Vec<f32> =
        logprobs.iter().map(|entry| entry["logprob"].as_f64().unwrap() as f32).collect();
    assert_eq!(turn.response_logprobs, told);
    let mut sequence = turn.prompt_ids.clone();
    for (id, logprob) in turn.response_ids.iter().zip(&turn.response_logprobs) {
        let logits = fake.logits(&sequence, turn.prompt_ids.len());
        assert_eq!(sampler::logprob(&logits, *id, 0.7).unwrap(), *logprob);
        sequence.push(*id);
    }
    assert_eq!(turn.version_spans, [VersionSpan { start: 0, version: Version(0) }]);
    assert_eq!(turn.model, "asked-for");
    assert_eq!(serde_json::from_str::<Value>(&turn.messages).unwrap(), messages);
    assert!(turn.messages.find("zeta") < turn.messages.find("alpha"), "keys keep their order");
    assert_eq!(serde_json::from_str::<Value>(&turn.tools).unwrap(), tools);
    assert_eq!(serde_json::from_str::<Value>(&turn.reply).unwrap(), choice["message"]);
    let sampling = turn.sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.7, 0.95, 50));
    assert_eq!((sampling.seed, sampling.max_tokens), (9, 25));
    assert!(turn.received_at_us <= turn.finished_at_us && turn.received_at_us > 0);
}

#[tokio::test]
async fn scoring_gives_the_recorded_log_probabilities() {
    let server = start(hashes(6)).await;
    let body = with(ask("hello"), json!({"max_tokens": 30, "temperature": 0.6}));
    server.plain(&body).await;
    let turn = server.turns().pop().unwrap();
    let ids = [turn.prompt_ids.as_slice(), &turn.response_ids].concat();
    let start = turn.prompt_ids.len();
    let score = |start: i64, temperature: f32| {
        json!({"input_ids": ids, "return_logprob": true, "logprob_start_len": start,
            "sampling_params": {"max_new_tokens": 0, "temperature": temperature}})
    };
    let answer = server.post("/generate", &score(start as i64, 0.6)).await;
    let answer: Value = answer.json().await.unwrap();
    let meta = &answer["meta_info"];
    let scores = meta["input_token_logprobs"].as_array().unwrap();
    let logprobs: Vec<f32> = scores.iter().map(|s| s[0].as_f64().unwrap() as f32).collect();
    assert_eq!(logprobs, turn.response_logprobs);
    let scored: Vec<u64> = scores.iter().map(|s| s[1].as_u64().unwrap()).collect();
    assert_eq!(json!(scored), json!(turn.response_ids));
    assert_eq!((&meta["prompt_tokens"], &meta["weight_version"]), (&json!(ids.len()), &json!("0")));
    assert_eq!((&answer["text"], &meta["completion_tokens"]), (&json!(""), &json!(0)));

    let other = server.post("/generate", &score(start as i64, 1.0)).await;
    let other: Value = other.json().await.unwrap();
    assert_ne!(other["meta_info"]["input_token_logprobs"], meta["input_token_logprobs"]);
    let all: Value = server.post("/generate", &score(0, 0.6)).await.json().await.unwrap();
    let all = all["meta_info"]["input_token_logprobs"].as_array().unwrap();
    assert_eq!(all.len(), ids.len());
    assert_eq!(all[0], json!([null, ids[0], null]));
    let none: Value = server.post("/generate", &score(-1, 0.6)).await.json().await.unwrap();
    assert_eq!(none["meta_info"]["input_token_logprobs"], json!([]));
    assert_eq!(server.turns().len(), 1, "/generate records nothing");
}

#[tokio::test]
async fn generate_continues_ids_and_text() {
    let server = start(says("one two three")).await;
    let ids = renderer().encode("hello").unwrap();
    let body = json!({"input_ids": ids, "return_logprob": true,
        "sampling_params": {"max_new_tokens": 50, "temperature": 0}});
    let answer: Value = server.post("/generate", &body).await.json().await.unwrap();
    assert_eq!(answer["text"], "one two three");
    assert_eq!(answer["output_ids"], json!(script("one two three")));
    assert_eq!(answer["meta_info"]["finish_reason"]["type"], "stop");
    let scores = answer["meta_info"]["output_token_logprobs"].as_array().unwrap();
    assert_eq!(scores.len(), script("one two three").len());
    let body = json!({"text": "hello", "sampling_params": {"max_new_tokens": 50, "stop": "two"}});
    let answer: Value = server.post("/generate", &body).await.json().await.unwrap();
    assert_eq!(answer["text"], "one ");
    let body = json!({"text": "hello", "sampling_params": {"max_new_tokens": 2}});
    let answer: Value = server.post("/generate", &body).await.json().await.unwrap();
    assert_eq!(answer["meta_info"]["finish_reason"]["type"], "length");
    assert_eq!(answer["meta_info"]["completion_tokens"], 2);
}

#[tokio::test]
async fn what_places_a_turn_is_recorded() {
    let server = start(says("x")).await;
    let url = format!("{}/v1/chat/completions", server.base);
    let keyed = with(
        ask("hi"),
        json!({"session_id": "s", "turn_type": "main", "session_done": true, "user": "ann",
            "prompt_cache_key": "p:1"}),
    );
    let request =
        server.client.post(&url).header("X-Session-Id", "h:3").header("X-Turn-Type", "side");
    request.header("session_id", "aff").header("x-other", "no").json(&keyed).send().await.unwrap();
    let turn = server.turns().pop().unwrap();
    assert_eq!(turn.user, "ann");
    assert_eq!(
        serde_json::from_str::<Value>(&turn.session_keys).unwrap(),
        json!({"x-session-id": "h:3", "x-turn-type": "side", "session_id": "aff",
            "body.session_id": "s", "body.turn_type": "main", "body.session_done": "true",
            "body.user": "ann", "body.prompt_cache_key": "p:1"})
    );

    let request = server.client.post(&url).bearer_auth("sk-a").json(&ask("hi"));
    request.send().await.unwrap();
    let turn = server.turns().pop().unwrap();
    assert!(turn.user.starts_with("key-") && turn.user.len() == 20, "{}", turn.user);
    assert!(!turn.user.contains("sk-a"));
    assert_eq!(turn.session_keys, "{}");
    server.plain(&ask("hi")).await;
    assert_eq!(server.turns().pop().unwrap().user, "");
}

#[tokio::test]
async fn other_clients_say_what_places_their_turns() {
    let server = start(says("x")).await;
    let url = format!("{}/v1/chat/completions", server.base);
    let headers = [
        ("x-stainless-retry-count", "2"),
        ("session-id", "codex"),
        ("x-openwebui-chat-id", "chat"),
        ("x-openwebui-user-id", "web"),
        ("x-openwebui-message-id", "m2"),
        ("x-openwebui-user-message-id", "m1"),
        ("x-litellm-session-id", "lite"),
        ("x-claude-code-session-id", "cc"),
        ("x-conversation-id", "libre"),
    ];
    let mut request = server.client.post(&url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = with(
        ask("hi"),
        json!({"conversation": {"id": "conv"}, "metadata": {"session_id": "meta", "x": "no"},
            "litellm_session_id": "l2"}),
    );
    request.json(&body).send().await.unwrap();
    let turn = server.turns().pop().unwrap();
    let mut expected: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    expected.insert("body.conversation".to_owned(), json!("conv"));
    expected.insert("body.litellm_session_id".to_owned(), json!("l2"));
    expected.insert("body.metadata.session_id".to_owned(), json!("meta"));
    assert_eq!(serde_json::from_str::<Value>(&turn.session_keys).unwrap(), json!(expected));
    assert_eq!(turn.user, "web");

    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "metadata": {"user_id": "user_a1_account__session_c3-d4"}});
    assert_eq!(server.post("/v1/messages", &body).await.status(), 200);
    let turn = server.turns().pop().unwrap();
    assert_eq!(turn.user, "user_a1_account_");
    let keys: Value = serde_json::from_str(&turn.session_keys).unwrap();
    assert_eq!(keys["body.metadata.session_id"], "c3-d4");
}

#[tokio::test]
async fn each_of_several_replies_is_a_turn() {
    let server = start(hashes(8)).await;
    let body = with(
        ask("hello"),
        json!({"n": 3, "max_tokens": 9, "temperature": 1, "seed": 3, "return_token_ids": true,
            "session_id": "s"}),
    );
    let plain = server.plain(&body).await;
    let turns = server.turns();
    assert_eq!(turns.len(), 3);
    for (k, choice) in plain["choices"].as_array().unwrap().iter().enumerate() {
        let own = |turn: &&Turn| turn.session_keys.contains(&format!("\"choice\":\"{k}\""));
        let turn = turns.iter().find(own).expect("a turn of each choice");
        let keys: Value = serde_json::from_str(&turn.session_keys).unwrap();
        assert_eq!(keys, json!({"body.session_id": "s", "choice": k.to_string()}));
        assert_eq!(json!(turn.response_ids), choice["token_ids"]);
        assert_eq!(json!(turn.prompt_ids), plain["prompt_token_ids"]);
        assert_eq!(serde_json::from_str::<Value>(&turn.reply).unwrap(), choice["message"]);
        assert_eq!(serde_json::from_str::<Value>(&turn.messages).unwrap(), body["messages"]);
        assert_eq!((turn.sampling.seed, turn.status), (3 + k as u64, TurnStatus::Answered));
        let named = plain["id"] == format!("chatcmpl-{}", turn.turn_id);
        assert_eq!(named, k == 0, "the reply's id is that of the first");
    }
    assert!(turns.iter().all(|turn| turn.received_at_us == turns[0].received_at_us));
    let rated = json!({"id": plain["id"], "choice": 2, "rating": "down"});
    assert_eq!(server.post("/v1/feedback", &rated).await.status(), 200);
    let rated = server.feedback().pop().unwrap().turn_id;
    let third = turns.iter().find(|turn| turn.turn_id == rated).unwrap();
    assert!(third.session_keys.contains("\"choice\":\"2\""), "{}", third.session_keys);
    let none = json!({"id": plain["id"], "choice": 3, "rating": "down"});
    assert_eq!(server.post("/v1/feedback", &none).await.status(), 404);
    let mut streamed = body.clone();
    streamed["n"] = json!(2);
    let (events, done) = server.events(&streamed).await;
    assert!(done && !events.is_empty());
    assert_eq!(server.turns().len(), 5);
    server.plain(&with(body, json!({"n": 1}))).await;
    let one = server.turns().pop().unwrap();
    assert_eq!(one.session_keys, json!({"body.session_id": "s"}).to_string());
}

#[tokio::test]
async fn nothing_is_recorded_where_recording_is_off() {
    let mut off = start_with(ServeConfig { record: false, ..config() }, always(says("x"))).await;
    off.plain(&ask("hi")).await;
    assert!(off.json("/status").await["events"]["turn_not_kept"].as_u64() > Some(0));
    off.plain(&with(ask("hi"), json!({"no_train": true}))).await;
    assert!(off.turns().is_empty());
    assert_eq!(off.stop().await.turns, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_cancelled_turn() {
    let gate = Gate::default();
    let server = start(says("one two three four five").held_by(&gate)).await;
    let allowed = renderer().encode("one two").unwrap().len();
    gate.allow(allowed);
    let response = server.chat(&with(ask("count"), json!({"stream": true}))).await;
    let mut body = response.bytes_stream();
    let mut seen = String::new();
    // The role, then one delta for each token.
    while seen.matches("\"content\"").count() <= allowed {
        seen.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    drop(body);
    let turns = server.wait_for_turns(1).await;
    assert_eq!(turns[0].finish_reason, FinishReason::Cancelled);
    let sampled = &turns[0].response_ids;
    assert_eq!(*sampled, script("one two three four five")[..allowed]);
    assert_eq!(turns[0].response_logprobs.len(), sampled.len());
    gate.open();
    // Its place is free again.
    server.plain(&ask("count")).await;
    assert_eq!(server.turns().len(), 2);
}

#[tokio::test]
async fn a_client_that_goes_away_early_leaves_nothing() {
    let gate = Gate::default();
    let server = start(says("one").held_by(&gate)).await;
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(300)).build().unwrap();
    let url = format!("{}/v1/chat/completions", server.base);
    assert!(impatient.post(&url).json(&ask("hi")).send().await.is_err());
    gate.open();
    for _ in 0..600 {
        let status = server.json("/status").await;
        if status["engine"]["running"] == 0 && status["engine"]["waiting"] == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.plain(&ask("hi")).await;
    let turns = server.turns();
    assert_eq!(turns.last().unwrap().finish_reason, FinishReason::Stop);
    // The step that was under way may have given it a token.
    assert!(turns.iter().filter(|t| t.finish_reason == FinishReason::Cancelled).count() <= 1);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_costs_no_reply() {
    let mut server = start(says("served all the same")).await;
    server.plain(&ask("one")).await;
    let turns = server.home().store().join("turns");
    let away = server.home().store().join("away");
    std::fs::rename(&turns, &away).unwrap();
    std::fs::write(&turns, "a file in its place").unwrap();
    let plain = server.plain(&ask("two")).await;
    assert_eq!(plain["choices"][0]["message"]["content"], "served all the same");
    assert_eq!(server.json("/status").await["not_recorded"], 1);
    std::fs::remove_file(&turns).unwrap();
    std::fs::rename(&away, &turns).unwrap();
    server.plain(&ask("three")).await;
    assert_eq!(server.turns().len(), 2, "it writes again once it can");
    let summary = server.stop().await;
    assert_eq!((summary.turns, summary.not_recorded), (2, 1));
}

#[tokio::test]
async fn what_a_request_leaves_open_is_the_configurations_or_the_models() {
    let model = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("testdata/model").unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.path().join(path.file_name().unwrap())).unwrap();
    }
    let wishes = json!({"eos_token_id": [4089, 4087], "temperature": 0.3, "top_p": 0.8,
        "top_k": 20, "repetition_penalty": 1.05, "max_length": 20, "do_sample": false});
    std::fs::write(model.path().join("generation_config.json"), wishes.to_string()).unwrap();
    let model = Some(model.path().to_str().unwrap().into());
    let config = ServeConfig { model, top_p: Some(0.9), ..config() };
    let server = start_with(config, always(hashes(3))).await;
    server.plain(&with(ask("hello"), json!({"max_tokens": 5}))).await;
    let sampling = server.turns().pop().unwrap().sampling;
    assert_eq!((sampling.temperature, sampling.top_p, sampling.top_k), (0.3, 0.9, 20));
    assert_eq!(sampling.repetition_penalty, 1.0, "a turn with one could not be trained on");
    let said = json!({"max_tokens": 5, "temperature": 1.5, "top_k": 7, "repetition_penalty": 1.2});
    server.plain(&with(ask("hello again"), said)).await;
    let turns = server.turns();
    let sampling = turns.iter().map(|turn| &turn.sampling).find(|s| s.top_k == 7).unwrap();
    assert_eq!((sampling.temperature, sampling.repetition_penalty), (1.5, 1.2));
}

#[tokio::test]
async fn how_a_reply_was_really_drawn_is_recorded() {
    let server = start(hashes(4)).await;
    let record = async |more: Value| {
        let body = with(ask("hello"), json!({"max_tokens": 20, "temperature": 1, "seed": 2}));
        let id = server.plain(&with(body, more)).await["id"].clone();
        let turns = server.turns();
        let own = |turn: &&openclaw_rl::rollout::Turn| id == format!("chatcmpl-{}", turn.turn_id);
        turns.iter().find(own).unwrap().clone()
    };
    let plain = record(json!({})).await;
    assert!(plain.drawn_logprobs.is_empty() && plain.forced.is_empty(), "nothing came between");
    assert_eq!(plain.constraint, None);
    let cut = record(json!({"top_k": 3})).await;
    assert_eq!(cut.drawn_logprobs.len(), cut.response_ids.len());
    for (drawn, recorded) in cut.drawn_logprobs.iter().zip(&cut.response_logprobs) {
        assert!(drawn > recorded && *drawn > -4.0, "one of three: {drawn} for {recorded}");
    }
    let penalised = record(json!({"presence_penalty": 1.5, "logit_bias": {"7": 30}})).await;
    assert_eq!(penalised.response_ids[0], 7);
    assert!(penalised.drawn_logprobs[0] > -1e-3 && penalised.response_logprobs[0] < -1.0);
    assert_eq!(penalised.sampling.logit_bias, [(7, 30.0)]);
    assert!(penalised.sampling.shifts_logits());
}
