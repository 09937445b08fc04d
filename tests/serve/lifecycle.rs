//! Starting, ending, and what keeps the server from starting.

use openclaw_rl::config::{Home, ServeConfig};
use openclaw_rl::engine::fake::Gate;
use openclaw_rl::events::heartbeat;
use openclaw_rl::fault::Explain;
use openclaw_rl::stage::serve::{self, Parts, ServeError, Sources};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::harness::{always, ask, attach, config, events, says, start, start_parts, text, with};

/// Why a server does not start.
async fn refusal(config: ServeConfig, home: &Home) -> ServeError {
    let (ready, _address) = tokio::sync::oneshot::channel();
    let parts = Parts { load: always(says("x")), attach: attach(), sources: Sources::default() };
    let outcome = serve::run(&config, home, parts, CancellationToken::new(), ready).await;
    outcome.expect_err("it must not start")
}

#[tokio::test]
async fn a_stream_in_flight_ends_before_the_server_does() {
    let gate = Gate::default();
    let mut server = start(says("one two three").held_by(&gate)).await;
    let stream = server.chat(&with(ask("count"), json!({"stream": true}))).await;
    let home = server.home();
    let beat = heartbeat::read(&home.state("serve")).expect("a heartbeat");
    assert_eq!((beat.stage.as_str(), beat.figures["live_version"]), ("serve", 0.0));
    server.shutdown.cancel();
    let base = server.base.clone();
    let reading = tokio::spawn(async move { stream.text().await.unwrap() });
    // Nobody new is let in, while the one that is in goes on.
    let address = base.trim_start_matches("http://").to_owned();
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    gate.open();
    let (events, done) = events(&reading.await.unwrap());
    assert!(done);
    assert_eq!(text(&events, "content"), "one two three");
    let turns = server.turns();
    let summary = server.stop().await;
    assert_eq!((summary.turns, summary.cut_off, turns.len()), (1, 0, 1));
    let beat = heartbeat::read(&home.state("serve")).expect("a last heartbeat");
    assert_eq!((beat.doing.as_str(), beat.figures["turns"]), ("done", 1.0));
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let home = tempfile::tempdir().unwrap();
    let error = refusal(ServeConfig { port, ..config() }, &Home::new(home.path())).await;
    assert_eq!(error.to_string(), format!("port {port} is in use"));
    assert_eq!(error.exit_code(), 2);
    assert!(error.hint().unwrap().contains("--port"));
}

#[tokio::test]
async fn what_is_missing_at_the_start_is_named() {
    let home = tempfile::tempdir().unwrap();
    let root = Home::new(home.path());
    let empty = tempfile::tempdir().unwrap();
    let with_model = ServeConfig { model: Some(empty.path().to_owned()), ..config() };
    let error = refusal(with_model, &root).await;
    assert!(error.to_string().contains(&*empty.path().to_string_lossy()), "{error}");
    assert_eq!(error.exit_code(), 2);

    let no_key = ServeConfig { api_key_file: Some(empty.path().join("key")), ..config() };
    let error = refusal(no_key, &root).await;
    assert!(error.to_string().contains("key"), "{error}");
    assert_eq!(error.exit_code(), 2);

    let key = empty.path().join("key");
    std::fs::write(&key, "same").unwrap();
    let same =
        ServeConfig { api_key_file: Some(key.clone()), admin_key_file: Some(key), ..config() };
    let error = refusal(same, &root).await;
    assert!(error.to_string().contains("one of their own"), "{error}");
    assert_eq!(error.exit_code(), 2);

    let occupied = ServeConfig { admin_socket: Some(empty.path().join("key")), ..config() };
    let error = refusal(occupied, &root).await;
    assert!(error.to_string().contains("no socket"), "{error}");
    let stale = empty.path().join("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let too_long =
        ServeConfig { admin_socket: Some(stale.clone()), context_tokens: Some(9999), ..config() };
    let error = refusal(too_long, &root).await;
    assert!(error.to_string().contains("context"), "a dead socket is replaced: {error}");
    assert!(!stale.exists());

    let adapters = vec!["ann=/somewhere/broken".to_owned()];
    let error = refusal(ServeConfig { adapters, ..config() }, &root).await;
    let said = error.to_string() + &std::error::Error::source(&error).unwrap().to_string();
    assert!(said.contains("`ann`") && said.contains("/somewhere/broken"), "{said}");

    let too_long = ServeConfig { context_tokens: Some(9999), ..config() };
    let error = refusal(too_long, &root).await;
    assert!(error.to_string().contains("`context_tokens` is 9999"), "{error}");
    assert_eq!(error.exit_code(), 2);

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refusal(config(), &Home::new(file.path())).await;
    assert_eq!(error.exit_code(), 2, "{error}");
}

/// The embedded model itself: no fake can show that the rooms fit together.
#[tokio::test]
async fn the_embedded_model_answers_and_scores_alike() {
    let server = start_parts(config(), |sources| Parts::decoder(&config(), sources).unwrap()).await;
    let body = with(ask("hello"), json!({"max_tokens": 12, "seed": 4, "return_token_ids": true}));
    let plain = server.plain(&body).await;
    let (events, done) = server.events(&body).await;
    assert!(done);
    let content = plain["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text(&events, "content"), content);
    let turn = server.turns().pop().unwrap();
    let ids = [turn.prompt_ids.as_slice(), &turn.response_ids].concat();
    let score = json!({"input_ids": ids, "return_logprob": true,
        "logprob_start_len": turn.prompt_ids.len(),
        "sampling_params": {"max_new_tokens": 0, "temperature": turn.sampling.temperature}});
    let answer: Value = server.post("/generate", &score).await.json().await.unwrap();
    let scores = answer["meta_info"]["input_token_logprobs"].as_array().unwrap();
    assert_eq!(scores.len(), turn.response_logprobs.len());
    for (score, recorded) in scores.iter().zip(&turn.response_logprobs) {
        let scored = score[0].as_f64().unwrap() as f32;
        assert!((scored - recorded).abs() < 1e-4, "{scored} and {recorded}");
    }
    // The same weights as another version: they load beside the live ones.
    let dir = server.home().weights().join("v0000000000");
    let swap = json!({"model_path": dir, "weight_version": "1"});
    assert_eq!(server.post("/update_weights_from_disk", &swap).await.status(), 200);
    let again = server.plain(&body).await;
    assert_eq!(again["system_fingerprint"], "weights-1");
    assert_eq!(again["choices"][0]["token_ids"], plain["choices"][0]["token_ids"]);
}
