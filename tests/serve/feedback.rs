//! What users say of replies, and how a reply's id leads to its turn.

use openclaw_rl::config::ServeConfig;
use openclaw_rl::rollout::{Feedback, Rating, TurnId};
use openclaw_rl::stage::serve::Parts;
use serde_json::{Value, json};

use super::harness::{
    Running, always, ask, attach, config, says, start, start_in, start_with, with,
};

const NOBODY: &str = "0193e0f3-9c5a-7c3d-8e2f-0123456789ab";

async fn rate(server: &Running, body: Value) -> (u16, Value) {
    let response = server.post("/v1/feedback", &body).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The id of a new reply, as it came.
async fn replied(server: &Running) -> String {
    server.plain(&ask("hi")).await["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn feedback_is_durable_before_it_is_answered() {
    let server = start(says("x")).await;
    let id = replied(&server).await;
    let turn = server.turns().pop().unwrap().turn_id;
    let body = json!({"response_id": id, "rating": "down", "text": " Say it in French. ",
        "user": "ann"});
    let (status, answer) = rate(&server, body).await;
    assert_eq!(status, 200, "{answer}");
    let expected = json!({"turn_id": turn.to_string(), "rating": "down", "recorded": true,
        "state": "answered"});
    assert_eq!(answer, expected);
    let feedback = server.feedback();
    let [Feedback { turn_id, user, rated }] = &feedback[..] else { panic!("{feedback:?}") };
    assert_eq!((*turn_id, user.as_str()), (turn, "ann"));
    assert_eq!((rated.rating, rated.text.as_deref()), (Rating::Down, Some("Say it in French.")));
    assert!(rated.given_at_us > server.turns()[0].finished_at_us);

    // A second thought is a second row; whose it is comes from the key where no user is named.
    let url = format!("{}/v1/feedback", server.base);
    let again = server.client.post(url).bearer_auth("sk-a");
    let again = again.json(&json!({"turn_id": turn.to_string(), "rating": 1})).send().await;
    assert_eq!(again.unwrap().status(), 200);
    let last = server.feedback().pop().unwrap();
    assert_eq!((last.rated.rating, last.rated.text), (Rating::Up, None));
    assert!(last.user.starts_with("key-") && !last.user.contains("sk-a"));
}

#[tokio::test]
async fn every_dialects_id_leads_to_its_turn() {
    let server = start(says("x")).await;
    let chat = replied(&server).await;
    let body = json!({"model": "m", "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]});
    let message: Value = server.post("/v1/messages", &body).await.json().await.unwrap();
    let message = message["id"].as_str().unwrap().to_owned();
    let (events, _) = server.events(&ask("hi")).await;
    let streamed = events[0]["id"].as_str().unwrap().to_owned();
    let mut rated: Vec<TurnId> = Vec::new();
    for id in [chat, message, streamed] {
        let turn = server.json(&format!("/v1/turns/{id}")).await;
        assert_eq!((&turn["state"], &turn["status"]), (&json!("answered"), &json!("answered")));
        let uuid = turn["turn_id"].as_str().unwrap();
        assert!(id.ends_with(uuid), "{turn}");
        assert_eq!(turn, server.json(&format!("/v1/turns/{uuid}")).await);
        let (status, answer) = rate(&server, json!({"id": id, "rating": "good"})).await;
        assert_eq!((status, answer["turn_id"].as_str()), (200, Some(uuid)));
        rated.push(uuid.parse().unwrap());
    }
    let turns: Vec<TurnId> = server.turns().iter().map(|turn| turn.turn_id).collect();
    assert_eq!(rated, turns);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_its_reason() {
    let server = start(says("x")).await;
    let id = replied(&server).await;
    for (more, status, param, code) in [
        (json!({"turn_id": "no-id"}), 400, json!("turn_id"), "invalid_value"),
        (json!({"id": NOBODY}), 400, json!("id"), "invalid_value"),
        (json!({"turn_id": null}), 400, json!("turn_id"), "invalid_value"),
        (json!({"rating": "so-so"}), 400, json!("rating"), "invalid_value"),
        (json!({"rating": null}), 400, json!("rating"), "invalid_value"),
        (json!({"text": "x".repeat(8193)}), 400, json!("text"), "invalid_value"),
        (json!({"text": ["x"]}), 400, json!("text"), "invalid_value"),
        (json!({"turn_id": NOBODY}), 404, Value::Null, "turn_not_found"),
        (json!({"no_train": true}), 409, Value::Null, "do_not_train"),
    ] {
        let (got, answer) =
            rate(&server, with(json!({"turn_id": id, "rating": "up"}), more.clone())).await;
        let error = &answer["error"];
        assert_eq!(
            (got, &error["param"], &error["code"]),
            (status, &param, &json!(code)),
            "{more}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    let unread = server.client.post(format!("{}/v1/feedback", server.base)).body("{").send().await;
    assert_eq!(unread.unwrap().status(), 400);
    for (id, status) in [(NOBODY, 404), ("no-id", 400), ("chatcmpl-", 400)] {
        assert_eq!(server.get(&format!("/v1/turns/{id}")).await.status(), status, "{id}");
    }
    assert!(server.feedback().is_empty());
    let body = json!({"turn_id": id, "rating": "up", "text": "é".repeat(8192)});
    assert_eq!(rate(&server, body).await.0, 200, "as long as it may be");
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error() {
    let mut server = start(says("x")).await;
    let body = json!({"id": replied(&server).await, "rating": "up"});
    let table = server.home().store().join("feedback");
    std::fs::write(&table, "a file in its place").unwrap();
    let (status, answer) = rate(&server, body.clone()).await;
    assert_eq!((status, &answer["error"]["code"]), (500, &json!("not_recorded")));
    std::fs::remove_file(&table).unwrap();
    assert_eq!(rate(&server, body.clone()).await.0, 200, "it writes again once it can");
    assert_eq!(server.feedback().len(), 1);

    server.stop().await;
    let off = ServeConfig { record: false, ..config() };
    let server = start_in(server.home, off, |sources| Parts {
        load: always(says("x")),
        attach: attach(),
        sources,
    });
    let server = server.await;
    let (status, answer) = rate(&server, body).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("not_recording")));
    assert_eq!(server.feedback().len(), 1);
}

#[tokio::test]
async fn a_server_that_was_restarted_finds_older_turns() {
    let mut server = start(says("x")).await;
    let id = replied(&server).await;
    server.stop().await;
    let parts = |sources| Parts { load: always(says("y")), attach: attach(), sources };
    let server = start_in(server.home, config(), parts).await;
    assert_eq!(rate(&server, json!({"id": id, "rating": "down"})).await.0, 200);
    assert_eq!(server.feedback()[0].turn_id, server.turns()[0].turn_id);
}

#[tokio::test]
async fn feedback_needs_the_key_and_is_counted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sk-secret\n").unwrap();
    let locked = ServeConfig { api_key_file: Some(file.path().to_owned()), ..config() };
    let server = start_with(locked, always(says("x"))).await;
    let asked =
        |path: &str, body: &Value| server.client.post(format!("{}{path}", server.base)).json(body);
    let reply = asked("/v1/chat/completions", &ask("hi")).bearer_auth("sk-secret").send().await;
    let reply: Value = reply.unwrap().json().await.unwrap();
    let body = json!({"id": reply["id"], "rating": "down"});
    assert_eq!(asked("/v1/feedback", &body).send().await.unwrap().status(), 401);
    let turn = format!("{}/v1/turns/{}", server.base, reply["id"].as_str().unwrap());
    assert_eq!(server.client.get(turn).send().await.unwrap().status(), 401);
    assert!(server.feedback().is_empty());
    let rated = asked("/v1/feedback", &body).header("x-api-key", "sk-secret").send().await;
    assert_eq!(rated.unwrap().status(), 200);
    let metrics = server.client.get(format!("{}/metrics", server.base)).bearer_auth("sk-secret");
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for line in [
        "openclaw_feedback_recorded_total{rating=\"down\"} 1",
        "openclaw_feedback_recorded_total{rating=\"up\"} 0",
        "openclaw_turns_recorded_total{status=\"answered\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let server = start(says("x")).await;
    let id = replied(&server).await;
    let all = (0..40).map(|n| {
        let body = json!({"id": id, "rating": "up", "text": n.to_string()});
        let server = &server;
        async move { rate(server, body).await.0 }
    });
    assert_eq!(futures::future::join_all(all).await, vec![200; 40]);
    let texts = server.feedback().into_iter().map(|row| row.rated.text.unwrap());
    let mut texts: Vec<u32> = texts.map(|text| text.parse().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, (0..40).collect::<Vec<_>>());
}
