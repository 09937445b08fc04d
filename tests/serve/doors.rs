//! Who may come in, how much of it at once, and what happens to clients that stand still.

use std::path::Path;

use openclaw_rl::config::{DeployConfig, ServeConfig};
use openclaw_rl::engine::fake::Gate;
use openclaw_rl::stage::deploy;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::harness::{LONG, Running, always, ask, config, events, says, start_with, text, with};

fn key_file(dir: &Path, name: &str) -> Option<std::path::PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, format!("{name}\n")).unwrap();
    Some(path)
}

async fn dial(server: &Running) -> TcpStream {
    TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap()
}

/// What comes until the server closes.
async fn rest<S: AsyncReadExt + Unpin>(mut stream: S) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
    // A connection that is cut may be reset.
    drop(read.expect("closed in time"));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn chat_request(body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length";
    format!("{head}: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn slow_headers_end_a_connection() {
    let config = ServeConfig { header_timeout_ms: 300, ..config() };
    let server = start_with(config, always(says("x"))).await;
    assert_eq!(rest(dial(&server).await).await, "");
    let mut slow = dial(&server).await;
    slow.write_all(b"GET /health HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(rest(slow).await, "");
}

#[tokio::test]
async fn idleness_ends_a_connection_and_a_slow_body_a_request() {
    let config = ServeConfig { idle_timeout_ms: 300, body_timeout_ms: 300, ..config() };
    let server = start_with(config, always(says("x"))).await;
    let mut idle = dial(&server).await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(idle).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "`x` is no name of this machine: {answer}");
    let mut idle = dial(&server).await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = rest(idle).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"status\":\"ok\"}"));

    let mut half = dial(&server).await;
    let request = chat_request(&ask("hi"));
    half.write_all(&request.as_bytes()[..request.len() - 5]).await.unwrap();
    let answer = rest(half).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin");
    let config =
        ServeConfig { admin_socket: Some(socket.clone()), reader_timeout_ms: 200, ..config() };
    // Its buffers are smaller than the reply: what is not read stops the writer.
    let server = start_with(config, always(says(&"word ".repeat(1900)))).await;
    let mut client = UnixStream::connect(&socket).await.unwrap();
    let body = json!({"stream": true, "max_tokens": 1900, "logprobs": true,
        "return_token_ids": true});
    client.write_all(chat_request(&with(ask("hi"), body)).as_bytes()).await.unwrap();
    let turns = server.wait_for_turns(1).await;
    assert_eq!(turns[0].finish_reason.label(), "cancelled");
    let got = rest(client).await;
    assert!(got.starts_with("HTTP/1.1 200") && !got.contains("[DONE]"));
    server.plain(&with(ask("still well?"), json!({"max_tokens": 2}))).await;
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_idle() {
    let gate = Gate::default();
    let config = ServeConfig {
        header_timeout_ms: 50,
        idle_timeout_ms: 50,
        reader_timeout_ms: 50,
        alive_every_ms: 20,
        ..config()
    };
    let server = start_with(config, always(says("one two").held_by(&gate))).await;
    let mut response = server.chat(&with(ask("count"), json!({"stream": true}))).await;
    let mut seen = String::new();
    // Signs of life far beyond every limit: none of them is for a request in flight.
    while seen.matches("data: ").count() < 12 {
        seen.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
    }
    gate.open();
    seen.push_str(&response.text().await.unwrap());
    let (events, done) = events(&seen);
    assert!(done);
    assert_eq!(text(&events, "content"), "one two");
}

#[tokio::test]
async fn a_conversation_has_a_greatest_length() {
    let config = ServeConfig { messages_max: 3, ..config() };
    let server = start_with(config, always(says("x"))).await;
    let message = json!({"role": "user", "content": "hi"});
    let body = |count| json!({"messages": vec![message.clone(); count]});
    assert_eq!(server.chat(&body(3)).await.status(), 200);
    let refused = server.chat(&body(4)).await;
    assert_eq!(refused.status(), 400);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["param"], "messages");
}

#[tokio::test]
async fn headers_have_limits() {
    let server = start_with(config(), always(says("x"))).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(200 << 10));
    for headers in [many, long] {
        let mut client = dial(&server).await;
        let request = format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        // The server may close before everything was sent.
        drop(client.write_all(request.as_bytes()).await);
        let answer = rest(client).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(server.get("/health").await.status(), 200);
}

#[tokio::test]
async fn only_so_many_requests_are_in_flight() {
    let gate = Gate::default();
    let config = ServeConfig { requests_max: 1, ..config() };
    let server = start_with(config, always(says("served").held_by(&gate))).await;
    let stream = server.chat(&with(ask("hi"), json!({"stream": true}))).await;
    let refused = server.get("/v1/models").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "too_many_requests");
    assert_eq!(server.get("/health").await.status(), 200, "open to everybody, always");
    gate.open();
    let (events, done) = events(&stream.text().await.unwrap());
    assert!(done && text(&events, "content") == "served");
    // The place is free once the last byte was sent.
    while server.get("/v1/models").await.status() == 429 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn only_so_many_connections_are_open() {
    let config = ServeConfig { connections_max: 1, idle_timeout_ms: 60_000, ..config() };
    let server = start_with(config, always(says("x"))).await;
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let first = dial(&server).await;
    let mut second = dial(&server).await;
    second.write_all(request).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), second.read(&mut byte));
    assert!(early.await.is_err(), "it waits for the first to leave");
    drop(first);
    assert!(rest(second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn admin_routes_take_the_admin_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = ServeConfig {
        api_key_file: key_file(dir.path(), "api"),
        admin_key_file: key_file(dir.path(), "admin"),
        ..config()
    };
    let server = start_with(config.clone(), always(says("x"))).await;
    let version = server.version_dir("v0000000001");
    let update = json!({"model_path": version});
    let url = |path: &str| format!("{}{path}", server.base);
    for (key, expected) in [(None, 401), (Some("wrong"), 401), (Some("api"), 403)] {
        let mut request = server.client.post(url("/update_weights_from_disk")).json(&update);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{key:?}");
    }
    let request = server.client.post(url("/update_weights_from_disk")).json(&update);
    let updated = request.header("x-api-key", "admin").send().await.unwrap();
    assert_eq!(updated.status(), 200);
    let models = server.client.get(url("/v1/models")).bearer_auth("admin").send().await.unwrap();
    assert_eq!(models.status(), 200, "it opens the rest too");

    // `deploy` asks with it.
    let deploy = DeployConfig {
        server: vec![server.base.clone()],
        api_key_file: config.api_key_file,
        admin_key_file: config.admin_key_file,
        version: Some(0),
        ..DeployConfig::default()
    };
    deploy::run(&deploy, &server.home(), CancellationToken::new()).await.unwrap();
    let info = server.client.get(url("/model_info")).bearer_auth("api").send().await.unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(info["weight_version"], "0", "put back where the registry says");
}

#[tokio::test]
async fn a_socket_takes_the_admin_routes_away_from_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin");
    let config = ServeConfig {
        api_key_file: key_file(dir.path(), "api"),
        admin_socket: Some(socket.clone()),
        ..config()
    };
    let mut server = start_with(config, always(says("x"))).await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let update = json!({"model_path": server.version_dir("v0000000002")});
    let url = format!("{}/update_weights_from_disk", server.base);
    let over_network = server.client.post(url).bearer_auth("api").json(&update).send().await;
    assert_eq!(over_network.unwrap().status(), 404);

    let client = reqwest::Client::builder().unix_socket(socket.as_path()).build().unwrap();
    let request = client.post("http://localhost/update_weights_from_disk").json(&update);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let deploy = DeployConfig {
        server: vec![format!("unix:{}", socket.display())],
        version: Some(0),
        ..DeployConfig::default()
    };
    deploy.validate().unwrap();
    deploy::run(&deploy, &server.home(), CancellationToken::new()).await.unwrap();
    let info = client.get("http://localhost/model_info").send().await.unwrap();
    assert_eq!(info.json::<Value>().await.unwrap()["weight_version"], "0");
    server.stop().await;
    assert!(!socket.exists(), "it goes with the server");
}

#[tokio::test]
async fn no_page_of_another_site_may_ask() {
    let server = start_with(config(), always(says("x"))).await;
    let url = format!("{}/v1/chat/completions", server.base);
    let preflight = server
        .client
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "https://example.org")
        .header("access-control-request-method", "POST");
    let asked = server.client.post(&url).header("origin", "https://example.org").json(&ask("hi"));
    for (request, status) in [(preflight, 405), (asked, 403)] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let cors = answer.headers().keys().find(|name| name.as_str().starts_with("access-control"));
        assert!(cors.is_none(), "{cors:?}");
    }
    assert!(server.turns().is_empty(), "a page that cannot read the answer changes nothing either");
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_off_and_told_so() {
    let gate = Gate::default();
    let config = ServeConfig { drain_ms: 200, ..config() };
    let mut server = start_with(config, always(says("one two three").held_by(&gate))).await;
    gate.allow(2);
    let mut stream = server.chat(&with(ask("count"), json!({"stream": true}))).await;
    let first = stream.chunk().await.unwrap().unwrap();
    let reading = tokio::spawn(async move { stream.text().await });
    server.shutdown.cancel();
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    // The model computes one more step, and finds that its server has ended.
    gate.open();
    let summary = server.stop().await;
    assert_eq!(summary.cut_off, 1);
    let rest = reading.await.unwrap().expect("the answer ends, with an error event");
    let (events, done) = events(&format!("{}{rest}", String::from_utf8_lossy(&first)));
    assert!(!done);
    assert_eq!(events.last().unwrap()["error"]["code"], "stopping");
}
