//! `/good` and `/bad` in a conversation: the server answers, and the model is never asked.

use openclaw_rl::client::INTERNAL_BEGIN;
use openclaw_rl::config::ServeConfig;
use openclaw_rl::engine::fake::Gate;
use openclaw_rl::rollout::{FinishReason, Turn, TurnStatus};
use serde_json::{Value, json};

use super::harness::{Running, always, ask, config, says, start, start_with, text, with};

/// A conversation with one reply, and then a command.
fn rating(command: &str) -> Value {
    json!({"model": "any", "messages": [
        {"role": "user", "content": "Say it in French."},
        {"role": "assistant", "content": "It."},
        {"role": "user", "content": command},
    ]})
}

async fn nothing_was_asked_of_the_engine(server: &Running) {
    let engine = server.json("/status").await["engine"].clone();
    for figure in ["completed", "prompt_tokens", "generated_tokens", "running", "waiting"] {
        assert_eq!(engine[figure], 0, "{figure}");
    }
}

fn reply(turn: &Turn) -> String {
    let reply: Value = serde_json::from_str(&turn.reply).unwrap();
    reply["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_command_is_answered_and_recorded_as_one() {
    let server = start(says("the model")).await;
    let body = with(
        rating("/bad in French, please"),
        json!({"user": "ann", "session_id": "s", "n": 3, "logprobs": true, "max_tokens": 1,
            "return_token_ids": true, "tool_choice": "required",
            "tools": [{"type": "function", "function": {"name": "look"}}]}),
    );
    let plain = server.plain(&body).await;
    let turn = server.turns().pop().expect("durable before the answer");
    assert_eq!(plain["id"], format!("chatcmpl-{}", turn.turn_id));
    assert_eq!((&plain["model"], plain["choices"].as_array().unwrap().len()), (&json!("any"), 1));
    let choice = &plain["choices"][0];
    let said = "Noted: the last reply was not good, and what should have been done.";
    assert_eq!(choice["message"], json!({"role": "assistant", "content": said}));
    assert_eq!(choice["finish_reason"], "stop");
    for figure in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(plain["usage"][figure], 0, "{figure}");
    }
    assert_eq!((turn.status, turn.finish_reason), (TurnStatus::Command, FinishReason::Stop));
    assert_eq!(serde_json::from_str::<Value>(&turn.messages).unwrap(), body["messages"]);
    assert_eq!(serde_json::from_str::<Value>(&turn.reply).unwrap(), choice["message"]);
    let keys: Value = serde_json::from_str(&turn.session_keys).unwrap();
    assert_eq!(keys, json!({"body.user": "ann", "body.session_id": "s"}));
    assert_eq!(turn.user, "ann");
    assert!(turn.prompt_ids.is_empty() && turn.response_ids.is_empty());
    assert!(turn.version_spans.is_empty());
    nothing_was_asked_of_the_engine(&server).await;
    let standing = server.json(&format!("/v1/turns/{}", turn.turn_id)).await;
    assert_eq!(standing["status"], "command");
    let rated = json!({"turn_id": turn.turn_id.to_string(), "rating": "up"});
    let refused = server.post("/v1/feedback", &rated).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "no_reply");
}

#[tokio::test]
async fn what_was_noted_is_said() {
    let server = start(says("the model")).await;
    for (command, said) in [
        ("/good", "Noted: the last reply was good."),
        ("/good thanks", "Noted: the last reply was good."),
        ("/bad", "Noted: the last reply was not good."),
        ("say /good", "the model"),
        ("/goodness", "the model"),
    ] {
        let plain = server.plain(&rating(command)).await;
        assert_eq!(plain["choices"][0]["message"]["content"], said, "{command}");
    }
    let plain = server.plain(&ask("/good")).await;
    assert_eq!(plain["choices"][0]["message"]["content"], "There is no reply yet to rate.");
    let statuses: Vec<TurnStatus> = server.turns().iter().map(|turn| turn.status).collect();
    let (command, answered) = (TurnStatus::Command, TurnStatus::Answered);
    assert_eq!(statuses, [command, command, command, answered, answered, command]);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("openclaw_turns_recorded_total{status=\"command\"} 4\n"), "{metrics}");
}

#[tokio::test]
async fn a_command_streams_as_the_dialect_streams() {
    let server = start(says("the model")).await;
    let options = json!({"stream_options": {"include_usage": true}, "n": 2});
    let (events, done) = server.events(&with(rating("/good"), options)).await;
    assert!(done);
    let said = "Noted: the last reply was good.";
    assert_eq!(text(&events, "content"), said);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
    let reasons: Vec<&Value> = choices.map(|choice| &choice["finish_reason"]).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == "stop").count(), 1);
    assert_eq!(*reasons.last().unwrap(), "stop");
    assert_eq!(events.last().unwrap()["usage"]["total_tokens"], 0);
    assert_eq!(events[0]["id"], format!("chatcmpl-{}", server.turns()[0].turn_id));

    let body = json!({"model": "m", "max_tokens": 9, "stream": true, "system": "Be kind.",
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
            {"role": "user", "content": [{"type": "text", "text": "/good"}]}]});
    let stream = server.post("/v1/messages", &body).await.text().await.unwrap();
    let names: Vec<&str> = stream.lines().filter_map(|l| l.strip_prefix("event: ")).collect();
    let expected = ["message_start", "content_block_start", "content_block_delta"];
    let ended = ["content_block_stop", "message_delta", "message_stop"];
    assert_eq!(names, [expected, ended].concat());
    let data: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let turn = server.turns().pop().unwrap();
    assert_eq!(data[0]["message"]["id"], format!("msg_{}", turn.turn_id));
    assert_eq!(data[0]["message"]["usage"]["input_tokens"], 0);
    assert_eq!(data[2]["delta"]["text"], said);
    assert_eq!(data[4]["delta"]["stop_reason"], "end_turn");
    assert_eq!((turn.status, reply(&turn).as_str()), (TurnStatus::Command, said));
    let whole = with(body, json!({"stream": false}));
    let whole: Value = server.post("/v1/messages", &whole).await.json().await.unwrap();
    assert_eq!(whole["content"], json!([{"type": "text", "text": said}]));
    assert_eq!(
        (&whole["stop_reason"], &whole["usage"]["output_tokens"]),
        (&json!("end_turn"), &json!(0))
    );
    nothing_was_asked_of_the_engine(&server).await;
}

#[tokio::test]
async fn a_command_is_found_behind_internal_context() {
    let server = start(says("the model")).await;
    let internal = format!("{INTERNAL_BEGIN}\nremember this\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>");
    let mut body = rating("[Sun 2026-11-22 06:16 UTC] /bad do it again");
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "user", "content": [{"type": "text", "text": internal}]}));
    let sent = Value::from(messages.clone());
    let plain = server.plain(&body).await;
    let said = plain["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains("what should have been done"), "{said}");
    let turn = server.turns().pop().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&turn.messages).unwrap(), sent);

    // What a tool gave after it is no command any more.
    let messages = body["messages"].as_array_mut().unwrap();
    messages.insert(3, json!({"role": "tool", "tool_call_id": "a", "content": "x"}));
    let plain = server.plain(&body).await;
    assert_eq!(plain["choices"][0]["message"]["content"], "the model");
}

#[tokio::test]
async fn a_command_passes_where_the_engine_is_full() {
    let gate = Gate::default();
    let full = ServeConfig { running_max: 1, waiting_max: 1, ..config() };
    let server = start_with(full, always(says("x").held_by(&gate))).await;
    let mut held = Vec::new();
    let mut refused = 0;
    while refused == 0 {
        let response = server.chat(&with(ask("hi"), json!({"stream": true}))).await;
        match response.status().as_u16() {
            200 => held.push(response),
            429 => refused += 1,
            other => panic!("{other}"),
        }
        assert!(held.len() < 10, "it never fills");
    }
    let plain = server.plain(&rating("/good")).await;
    assert_eq!(plain["choices"][0]["finish_reason"], "stop");
    // Nor does it have to fit into the model.
    let long = format!("/bad {}", "word ".repeat(5000));
    server.plain(&rating(&long)).await;
    assert_eq!(server.turns().len(), 2);
    gate.open();
    for response in held {
        response.text().await.unwrap();
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_recorded_is_not_called_noted() {
    let server = start(says("the model")).await;
    let turns = server.home().store().join("turns");
    std::fs::rename(&turns, server.home().store().join("away")).unwrap();
    std::fs::write(&turns, "a file in its place").unwrap();
    let plain = server.plain(&rating("/good")).await;
    let said = plain["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains("could not be recorded"), "{said}");
}

#[tokio::test]
async fn where_commands_are_not_heeded_the_model_answers_them() {
    let quiet = ServeConfig { chat_commands: false, ..config() };
    let off = ServeConfig { record: false, ..config() };
    for (config, turns) in [(quiet, 1), (off, 0)] {
        let server = start_with(config, always(says("the model"))).await;
        let plain = server.plain(&rating("/good")).await;
        assert_eq!(plain["choices"][0]["message"]["content"], "the model");
        assert_eq!(server.turns().len(), turns);
    }
    let strict = ServeConfig { messages_max: 2, ..config() };
    let server = start_with(strict, always(says("x"))).await;
    assert_eq!(server.chat(&rating("/good")).await.status(), 400, "limits hold for it as well");
}
