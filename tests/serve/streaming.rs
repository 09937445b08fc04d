//! What a stream looks like, and that it says what the whole reply says.

use futures::StreamExt;
use openclaw_rl::engine::fake::Gate;
use serde_json::{Value, json};

use super::harness::{ask, events, hashes, renderer, says, script, start, text, with};

fn all<T: Clone>(events: &[Value], key: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    let choices = events.iter().map(|event| &event["choices"][0]);
    let lists = choices.filter_map(|choice| match key {
        "logprobs" => choice["logprobs"]["content"].as_array(),
        key => choice[key].as_array(),
    });
    lists.flatten().map(read).collect()
}

/// A usage but for what was cached, which depends on what was asked before.
fn counts(usage: &Value) -> [u64; 3] {
    ["prompt_tokens", "completion_tokens", "total_tokens"].map(|key| usage[key].as_u64().unwrap())
}

#[tokio::test]
async fn a_stream_says_what_the_whole_reply_says() {
    let server = start(hashes(3)).await;
    let body = with(
        ask("hello"),
        json!({"seed": 11, "max_tokens": 40, "temperature": 0.9, "logprobs": true,
            "return_token_ids": true, "stream_options": {"include_usage": true}}),
    );
    let plain = server.plain(&body).await;
    let (events, done) = server.events(&body).await;
    assert!(done);
    let choice = &plain["choices"][0];
    assert_eq!(text(&events, "content"), choice["message"]["content"].as_str().unwrap());
    let ids = all(&events, "token_ids", Clone::clone);
    assert_eq!(Value::from(ids.clone()), choice["token_ids"]);
    assert_eq!(events[0]["prompt_token_ids"], plain["prompt_token_ids"]);
    let logprobs = all(&events, "logprobs", Clone::clone);
    assert_eq!(Value::from(logprobs), choice["logprobs"]["content"]);
    assert_eq!(counts(&events.last().unwrap()["usage"]), counts(&plain["usage"]));
    let cached = |usage: &Value| usage["prompt_tokens_details"]["cached_tokens"].as_u64();
    assert_eq!(cached(&plain["usage"]), Some(0));
    assert!(cached(&events.last().unwrap()["usage"]) > Some(0), "it was asked before");
    assert_eq!(plain["usage"]["completion_tokens"], ids.len());
    let prompt = plain["prompt_token_ids"].as_array().unwrap().len();
    assert_eq!(plain["usage"]["prompt_tokens"], prompt);
    assert_eq!(plain["usage"]["total_tokens"], prompt + ids.len());
    let other = server.plain(&with(body, json!({"seed": 12}))).await;
    assert_ne!(other["choices"][0]["token_ids"], choice["token_ids"], "the seed has no effect");
}

#[tokio::test]
async fn a_stream_has_the_shape_that_clients_read() {
    let server = start(says("one two three")).await;
    let (events, done) = server
        .events(&with(ask("count"), json!({"stream_options": {"include_usage": true}})))
        .await;
    assert!(done);
    let first = &events[0]["choices"][0];
    assert_eq!(first["delta"], json!({"role": "assistant", "content": ""}));
    assert!(events.len() > 4, "several content deltas: {}", events.len());
    let (usage, chunks) = events.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["completion_tokens"].as_u64().unwrap() > 3);
    let (end, before) = chunks.split_last().unwrap();
    assert_eq!(end["choices"][0]["finish_reason"], "stop");
    assert_eq!(end["choices"][0]["delta"], json!({}));
    assert_eq!(end["system_fingerprint"], "weights-0");
    for chunk in before {
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
    }
    for chunk in chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["usage"], Value::Null);
        assert_eq!(chunk["id"], events[0]["id"]);
        assert_eq!(chunk["model"], "any");
    }
    assert!(events[0]["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(text(&events, "content"), "one two three");
    let (quiet, done) = server.events(&ask("count")).await;
    assert!(done && quiet.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn tokens_are_sent_as_they_are_sampled() {
    let gate = Gate::default();
    let server = start(says("one two three four").held_by(&gate)).await;
    gate.allow(2);
    let response = server.chat(&with(ask("count"), json!({"stream": true}))).await;
    let mut body = response.bytes_stream();
    let mut seen = String::new();
    while !seen.contains("one") {
        seen.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    // The model stands still: nothing of the rest can have been sampled.
    assert!(!seen.contains("four") && !seen.contains("[DONE]"), "{seen}");
    gate.open();
    while let Some(bytes) = body.next().await {
        seen.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    let (events, done) = events(&seen);
    assert!(done);
    assert_eq!(text(&events, "content"), "one two three four");
}

#[tokio::test]
async fn no_character_is_ever_cut() {
    let said = "Grüße 🦞 an 日本語 🇫🇷!";
    let server = start(says(said)).await;
    let (events, _) = server.events(&ask("hi")).await;
    for event in &events {
        let delta = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        assert!(!delta.contains('\u{FFFD}'), "{delta:?}");
    }
    assert_eq!(text(&events, "content"), said);
    assert_eq!(server.plain(&ask("hi")).await["choices"][0]["message"]["content"], said);
}

#[tokio::test]
async fn stop_strings_end_a_reply_and_are_not_shown() {
    let server = start(says("one two END three")).await;
    for (stop, shown) in [
        (json!("END"), "one two "),
        (json!(["three", "two EN"]), "one "),
        (json!(["absent"]), "one two END three"),
        (json!("e"), "on"),
    ] {
        let body = with(ask("count"), json!({"stop": stop, "return_token_ids": true}));
        let plain = server.plain(&body).await;
        assert_eq!(plain["choices"][0]["message"]["content"], shown, "{stop}");
        assert_eq!(plain["choices"][0]["finish_reason"], "stop");
        let (events, done) = server.events(&body).await;
        assert!(done);
        assert_eq!(text(&events, "content"), shown);
        // What was sampled is told and recorded as it was, beyond what is shown.
        let ids = plain["choices"][0]["token_ids"].as_array().unwrap();
        let sampled: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert!(script("one two END three").starts_with(&sampled));
        let turn = server.turns().pop().unwrap();
        assert_eq!(turn.response_ids, sampled);
    }
}

#[tokio::test]
async fn tool_calls_come_as_calls() {
    let reply = "Let me see.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"<b>\"}}\n\
                 </tool_call>\n<tool_call>\n{\"name\": \"wait\"}\n</tool_call>";
    let server = start(says(reply)).await;
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let body = with(ask("look"), json!({"tools": tools, "tool_choice": "auto"}));
    let plain = server.plain(&body).await;
    let message = &plain["choices"][0]["message"];
    assert_eq!(plain["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(message["content"], "Let me see.");
    let calls = message["tool_calls"].as_array().unwrap();
    assert_eq!(calls[0]["function"], json!({"name": "look", "arguments": "{\"at\": \"<b>\"}"}));
    assert_eq!(calls[1]["function"], json!({"name": "wait", "arguments": "{}"}));
    assert_ne!(calls[0]["id"], calls[1]["id"]);

    let (events, done) = server.events(&body).await;
    assert!(done);
    assert_eq!(text(&events, "content"), "Let me see.");
    let deltas = call_deltas(&events);
    assert!(deltas.len() > 5, "in fragments: {deltas:?}");
    for (index, call) in calls.iter().enumerate() {
        let of_call: Vec<&&Value> = deltas.iter().filter(|d| d["index"] == index).collect();
        let (first, rest) = of_call.split_first().unwrap();
        assert!(first["id"].as_str().unwrap().starts_with("call_"));
        assert_eq!(first["type"], "function");
        assert_eq!(first["function"], json!({"name": call["function"]["name"], "arguments": ""}));
        let fragment =
            |delta: &&&Value| delta["function"]["arguments"].as_str().unwrap().to_owned();
        assert!(rest.iter().all(|delta| delta.get("id").is_none()));
        assert_eq!(rest.iter().map(fragment).collect::<String>(), call["function"]["arguments"]);
    }
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    // Without tools, or with tools that may not be called, it is text.
    for body in [ask("look"), with(body, json!({"tool_choice": "none"}))] {
        let plain = server.plain(&body).await;
        assert_eq!(plain["choices"][0]["message"]["content"], reply);
        assert_eq!(plain["choices"][0]["finish_reason"], "stop");
        assert_eq!(server.turns().pop().unwrap().tools, "", "tools that were not shown");
    }
}

fn call_deltas(events: &[Value]) -> Vec<&Value> {
    let deltas = events.iter().filter_map(|e| e["choices"][0]["delta"]["tool_calls"].as_array());
    deltas.flatten().collect()
}

#[tokio::test]
async fn what_is_no_call_comes_back_as_text_and_is_counted() {
    let reply = "Hm.\n<tool_call>\n{\"name\": \"look\", \"arguments\": oops}\n</tool_call> so";
    let server = start(says(reply)).await;
    let tools = json!([{"type": "function", "function": {"name": "look"}}]);
    let body = with(ask("look"), json!({"tools": tools}));
    let counted =
        || async { server.json("/status").await["events"]["tool_call_malformed"].as_u64() };
    let before = counted().await.unwrap_or_default();
    let plain = server.plain(&body).await;
    assert_eq!(plain["choices"][0]["message"]["content"], reply);
    assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    let (events, done) = server.events(&body).await;
    assert!(done);
    assert_eq!(text(&events, "content"), reply);
    assert!(call_deltas(&events).is_empty());
    assert!(counted().await.unwrap() >= before + 2);
}

#[tokio::test]
async fn a_request_may_want_several_replies() {
    let server = start(hashes(8)).await;
    let more = json!({"n": 3, "seed": 5, "max_tokens": 12, "temperature": 0.9, "logprobs": true,
        "return_token_ids": true, "stream_options": {"include_usage": true}});
    let body = with(ask("hello"), more);
    let plain = server.plain(&body).await;
    let choices = plain["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    let ids = |index: usize| choices[index]["token_ids"].clone();
    assert!(ids(0) != ids(1) && ids(1) != ids(2), "each has a stream of its own");
    let prompt = plain["prompt_token_ids"].as_array().unwrap().len();
    let sampled: usize =
        (0..3).map(|index| choices[index]["token_ids"].as_array().unwrap().len()).sum();
    assert_eq!(plain["usage"]["prompt_tokens"], prompt, "read once");
    assert_eq!(plain["usage"]["completion_tokens"], sampled);
    // The first is what it would have been alone.
    let alone = server.plain(&with(body.clone(), json!({"n": 1}))).await;
    assert_eq!(alone["choices"][0]["token_ids"], ids(0));
    let (events, done) = server.events(&body).await;
    assert!(done);
    for (index, choice) in choices.iter().enumerate() {
        let of_choice: Vec<Value> =
            events.iter().filter(|event| event["choices"][0]["index"] == index).cloned().collect();
        assert_eq!(of_choice[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(text(&of_choice, "content"), choice["message"]["content"].as_str().unwrap());
        let last = &of_choice.last().unwrap()["choices"][0];
        assert_eq!(last["finish_reason"], choice["finish_reason"]);
    }
    assert_eq!(counts(&events.last().unwrap()["usage"]), counts(&plain["usage"]));
    assert_eq!(server.turns().len(), 3 + 1 + 3, "each reply is a turn");
}

#[tokio::test]
async fn usage_tells_what_was_reasoning() {
    let said = "<think>\nhm, 2\n</think>\n\nTwo.";
    let server = start(says(said)).await;
    let usage = server.plain(&ask("1+1")).await["usage"].take();
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    let all = script(said).len() as u64;
    assert_eq!(usage["completion_tokens"], all);
    let answer = script("\n\nTwo.").len() as u64;
    assert!(reasoning > 3 && reasoning + answer >= all - 1 && reasoning + 2 < all, "{usage}");
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
}

#[tokio::test]
async fn further_ids_end_a_reply_and_the_own_ones_may_not() {
    let server = start(says("one two three")).await;
    let two = renderer().encode(" two").unwrap();
    let body = with(ask("count"), json!({"stop_token_ids": two}));
    let plain = server.plain(&body).await;
    assert_eq!(plain["choices"][0]["message"]["content"], "one");
    assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    let said = script("one two three").len();
    let on = json!({"ignore_eos": true, "max_tokens": said + 3});
    let plain = server.plain(&with(ask("count"), on)).await;
    assert_eq!(plain["choices"][0]["finish_reason"], "length");
    assert_eq!(plain["usage"]["completion_tokens"], said + 3);
}

#[tokio::test]
async fn reasoning_is_told_apart() {
    let server = start(says("<think>\nhm, 2\n</think>\n\nTwo.")).await;
    let message = server.plain(&ask("1+1")).await["choices"][0]["message"].take();
    assert_eq!(message["reasoning_content"], "hm, 2");
    assert_eq!(message["content"], "Two.");
    let (events, _) = server.events(&ask("1+1")).await;
    assert_eq!(text(&events, "reasoning_content"), "hm, 2");
    assert_eq!(text(&events, "content"), "Two.");
}

#[tokio::test]
async fn a_failure_within_a_stream_is_told_and_not_ended_cleanly() {
    let broken = openclaw_rl::engine::fake::Habit::Fail;
    let server = start(openclaw_rl::engine::fake::Fake::new(4096, 2048, broken)).await;
    let (events, done) = server.events(&ask("hi")).await;
    assert!(!done, "a broken stream has no [DONE]");
    assert_eq!(events.last().unwrap()["error"]["type"], "server_error");
    let response = server.chat(&ask("hi")).await;
    assert_eq!(response.status(), 500);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["type"], "server_error");
    assert!(server.turns().is_empty(), "what failed was not answered");
}
