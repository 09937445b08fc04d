//! Of whom nothing is kept: served as everybody, and a row that holds nothing of what was said.

use std::path::Path;

use openclaw_rl::config::{Home, ServeConfig};
use openclaw_rl::engine::fake::Gate;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{FinishReason, Sampling, Turn, TurnStatus};
use openclaw_rl::stage::serve::{self, Parts};
use openclaw_rl::store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::harness::{
    Running, always, ask, attach, config, says, sources, start, start_with, with,
};
use crate::support;

const SECRET: &str = "aardvark";

/// A request that says the secret wherever something can be said.
fn telling() -> Value {
    json!({
        "model": SECRET, "user": "ann", "session_id": SECRET, "prompt_cache_key": SECRET,
        "turn_type": SECRET, "conversation": SECRET, "metadata": {"session_id": SECRET},
        "stop": [SECRET], "logit_bias": {"77": 1}, "max_tokens": 40,
        "messages": [{"role": "system", "content": SECRET},
            {"role": "user", "content": format!("say {SECRET}")}],
        "tools": [{"type": "function", "function": {"name": SECRET, "description": SECRET}}],
        "response_format": {"type": "text"},
    })
}

async fn post(server: &Running, body: &Value, headers: &[(&str, &str)]) -> Value {
    let url = format!("{}/v1/chat/completions", server.base);
    let mut request = server.client.post(url).header("x-session-id", SECRET).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// Fails unless the row is empty of everything but who and when.
fn is_a_mark(turn: &Turn, user: &str, why: &str) {
    assert_eq!(turn.status, TurnStatus::DoNotTrain);
    assert_eq!((turn.user.as_str(), turn.policy.as_str()), (user, "default"));
    assert_eq!(turn.session_keys, json!({"do_not_train": why}).to_string());
    let texts = [&turn.messages, &turn.tools, &turn.reply, &turn.model].map(String::as_str);
    assert_eq!(texts, ["[]", "", "{}", ""]);
    assert!(turn.prompt_ids.is_empty() && turn.response_ids.is_empty());
    assert!(turn.response_logprobs.is_empty() && turn.drawn_logprobs.is_empty());
    assert!(turn.forced.is_empty() && turn.version_spans.is_empty());
    assert_eq!((&turn.sampling, turn.constraint), (&Sampling::default(), None));
    assert!(!format!("{turn:?}").contains(SECRET));
}

#[tokio::test]
async fn a_request_can_ask_that_nothing_be_kept() {
    let server = start(says("a reply")).await;
    let mut told = Vec::new();
    for (headers, more, why) in [
        (vec![("x-no-train", "1")], json!({}), "header"),
        (vec![("x-no-train", "TRUE")], json!({"no_train": false}), "header"),
        (vec![("x-no-train", "0")], json!({"no_train": true}), "body"),
        (vec![], json!({"no_train": "yes"}), "body"),
    ] {
        let plain = post(&server, &with(telling(), more), &headers).await;
        assert_eq!(plain["choices"][0]["message"]["content"], "a reply");
        let turn = server.turns().pop().expect("durable before the reply ends");
        assert_eq!(plain["id"], format!("chatcmpl-{}", turn.turn_id));
        is_a_mark(&turn, "ann", why);
        assert_eq!(turn.finish_reason, FinishReason::Stop);
        assert!(0 < turn.received_at_us && turn.received_at_us <= turn.finished_at_us);
        told.push(turn);
    }
    post(&server, &with(telling(), json!({"no_train": false})), &[("x-no-train", "no")]).await;
    let turn = server.turns().pop().unwrap();
    assert_eq!(turn.status, TurnStatus::Answered);
    assert!(format!("{turn:?}").contains(SECRET), "what would have been kept");
    assert_eq!(server.chat(&with(ask("hi"), json!({"no_train": "perhaps"}))).await.status(), 400);

    let standing = server.json(&format!("/v1/turns/{}", told[0].turn_id)).await;
    let expected = json!({"turn_id": told[0].turn_id.to_string(), "status": "do_not_train",
        "state": "rejected", "reason": "do_not_train"});
    assert_eq!(standing, expected);
    let rated = json!({"id": told[0].turn_id.to_string(), "rating": "up"});
    let refused = server.post("/v1/feedback", &rated).await;
    assert_eq!(refused.status(), 409);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "do_not_train");
    assert!(error["error"]["message"].as_str().unwrap().contains("not to be learned from"));
    let metrics = server.get("/metrics").await.text().await.unwrap();
    for line in ["{status=\"do_not_train\"} 4", "{status=\"answered\"} 1"] {
        assert!(metrics.contains(&format!("openclaw_turns_recorded_total{line}\n")), "{metrics}");
    }
    assert!(!metrics.contains(SECRET));
    assert!(!server.json("/status").await.to_string().contains(SECRET));
}

#[tokio::test]
async fn a_user_or_a_key_can_be_left_out_for_good() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ben\nsk-private\n").unwrap();
    let do_not_train = vec!["ann".to_owned(), format!("@{}", file.path().display())];
    let server = start_with(ServeConfig { do_not_train, ..config() }, always(says("x"))).await;
    let key = [("authorization", "Bearer sk-private")];
    let body = |user: Value| with(telling(), json!({"user": user}));
    post(&server, &body(json!("ann")), &[]).await;
    is_a_mark(&server.turns().pop().unwrap(), "ann", "user");
    post(&server, &body(json!("ben")), &[]).await;
    is_a_mark(&server.turns().pop().unwrap(), "ben", "user");
    post(&server, &body(json!(null)), &key).await;
    let mark = server.turns().pop().unwrap();
    assert!(mark.user.starts_with("key-"));
    is_a_mark(&mark, &mark.user, "user");
    // A name in the body does not undo what the key says, and any name that a request has counts.
    post(&server, &body(json!("somebody")), &key).await;
    is_a_mark(&server.turns().pop().unwrap(), "somebody", "user");
    post(&server, &body(json!("somebody")), &[("x-openwebui-user-id", "ben")]).await;
    is_a_mark(&server.turns().pop().unwrap(), "somebody", "user");
    for (user, headers) in [("Ann", vec![]), ("annabel", vec![("x-api-key", "sk-other")])] {
        post(&server, &body(json!(user)), &headers).await;
        assert_eq!(server.turns().pop().unwrap().status, TurnStatus::Answered, "{user}");
    }
    let rated = json!({"id": server.turns().pop().unwrap().turn_id.to_string(), "rating": "up"});
    let refused = server.post("/v1/feedback", &with(rated.clone(), json!({"user": "ann"}))).await;
    assert_eq!(refused.status(), 409, "what they say of a reply is theirs as well");
    assert!(server.feedback().is_empty());
    assert_eq!(server.post("/v1/feedback", &rated).await.status(), 200);
    let info = server.json("/server_info").await;
    assert_eq!(info["config"]["do_not_train"], 2, "how many, and not who");
}

#[tokio::test]
async fn messages_and_commands_are_left_out_as_well() {
    let list = vec!["ann".to_owned()];
    let server =
        start_with(ServeConfig { do_not_train: list, ..config() }, always(says("x"))).await;
    let body = json!({"model": SECRET, "max_tokens": 9, "metadata": {"user_id": "ann"},
        "system": SECRET, "messages": [{"role": "user", "content": SECRET}]});
    assert_eq!(server.post("/v1/messages", &body).await.status(), 200);
    is_a_mark(&server.turns().pop().unwrap(), "ann", "user");

    let command = json!({"model": "m", "user": "ann", "messages": [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"},
        {"role": "user", "content": format!("/bad {SECRET}")}]});
    for (more, why) in [
        (json!({}), "user"),
        (json!({"user": "eve", "no_train": 1}), "body"),
        (json!({"stream": true}), "user"),
    ] {
        let command = with(command.clone(), more);
        let said = server.chat(&command).await.text().await.unwrap();
        assert!(said.contains("Nothing was recorded"), "{said}");
        is_a_mark(&server.turns().pop().unwrap(), command["user"].as_str().unwrap(), why);
    }
    assert_eq!(server.json("/status").await["engine"]["completed"], 1, "the one message");
    // Each of several replies.
    let count = server.turns().len();
    server.plain(&with(telling(), json!({"n": 2}))).await;
    let turns = server.turns();
    assert_eq!(turns.len(), count + 2);
    turns[count..].iter().for_each(|turn| is_a_mark(turn, "ann", "user"));
}

#[tokio::test]
async fn a_list_that_cannot_be_read_keeps_the_server_from_starting() {
    let home = tempfile::tempdir().unwrap();
    let root = Home::new(home.path());
    let list = vec!["@/no/such/list".to_owned()];
    let config = ServeConfig { do_not_train: list, ..config() };
    let sources = sources(&root);
    let parts = Parts { load: always(says("x")), attach: attach(), sources };
    let (ready, _address) = tokio::sync::oneshot::channel();
    let ended = serve::run(&config, &root, parts, CancellationToken::new(), ready).await;
    let error = ended.expect_err("it must not start");
    assert!(error.to_string().contains("`/no/such/list` cannot be read"), "{error}");
    assert_eq!((error.label(), error.exit_code()), ("do_not_train_file", 2));
}

#[tokio::test]
async fn a_reply_that_nobody_waited_for_leaves_no_more() {
    let gate = Gate::default();
    let server = start(says("one two three").held_by(&gate)).await;
    gate.allow(2);
    let body = with(telling(), json!({"stream": true, "no_train": true}));
    let mut response = server.chat(&body).await;
    let mut seen = String::new();
    // The role, and then something that was sampled.
    while seen.matches("\"content\"").count() < 2 {
        seen.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    drop(response);
    let turns = server.wait_for_turns(1).await;
    is_a_mark(&turns[0], "ann", "body");
    assert_eq!(turns[0].finish_reason, FinishReason::Cancelled);
    gate.open();
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The program as a whole, which logs all that it can.
#[tokio::test]
async fn nothing_of_it_is_in_any_file() {
    let home = tempfile::tempdir().unwrap();
    let args = ["--judge", "rules", "--do-not-train", "ann", "--do-not-train", "ben"];
    let args = ["--log", "trace"].into_iter().chain(args).collect::<Vec<_>>();
    let running = support::Running::start(home.path(), &args);
    let client = support::client();
    for (user, header) in [("ann", "0"), ("ben", "0"), ("eve", "1")] {
        let body = with(telling(), json!({"user": user, "max_tokens": 4}));
        let request = client.post(format!("{}/v1/chat/completions", running.url)).json(&body);
        let request = request.header("x-session-id", SECRET).header("x-no-train", header);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    running.signal("INT", false);
    let output = running.finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let turns: Vec<Turn> = Store::open(&Home::new(home.path())).unwrap().read_all().unwrap();
    assert_eq!(turns.len(), 3);
    for (turn, (user, why)) in
        turns.iter().zip([("ann", "user"), ("ben", "user"), ("eve", "header")])
    {
        is_a_mark(turn, user, why);
    }
    let mut said = vec![("stdout".into(), output.stdout), ("stderr".into(), output.stderr)];
    said.extend(files(home.path()).into_iter().map(|path| {
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }));
    let logs = said.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log"));
    assert!(logs.count() >= 6, "each stage has a log");
    for (path, bytes) in &said {
        let holds = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!holds, "{}", path.display());
    }
}
