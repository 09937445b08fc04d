//! What the server says of itself, and changes of weights while requests run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use openclaw_rl::config::{Home, ServeConfig};
use openclaw_rl::engine::fake::{Fake, Gate};
use openclaw_rl::rollout::Version;
use openclaw_rl::stage::serve::{LoadError, Loaded, Parts, Sources};
use openclaw_rl::weights::{Base, NewVersion, Registry};
use serde_json::{Value, json};

use super::harness::{
    Load, Running, ask, attach, config, hashes, says, start, start_in, start_with, with,
};

/// Each directory is another model, by its name; `broken…` cannot be loaded.
fn by_name() -> Load {
    Arc::new(|dir: &Path| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.as_str() {
            name if name.starts_with("broken") => {
                Err(LoadError { message: "model.safetensors is cut off".to_owned(), hint: None })
            }
            name if name.starts_with("wide") => {
                Ok(Fake::new(9000, 2048, openclaw_rl::engine::fake::Habit::Hash(0)).into())
            }
            name => Ok(hashes(name.bytes().map(u64::from).sum()).into()),
        }
    })
}

#[tokio::test]
async fn models_health_and_status() {
    let config = ServeConfig { model_name: "my-policy".to_owned(), ..config() };
    let server = start_with(config, super::harness::always(says("x"))).await;
    let models = server.json("/v1/models").await;
    assert_eq!(models["object"], "list");
    assert_eq!(models["data"][0]["id"], "my-policy");
    assert_eq!(models["data"][0]["max_model_len"], 2048);
    assert_eq!(server.json("/health").await["status"], "ok");
    let info = server.json("/model_info").await;
    assert_eq!(info["weight_version"], "0");
    assert!(info["model_path"].as_str().unwrap().contains("weights"));
    server.plain(&ask("hi")).await;
    let status = server.json("/status").await;
    assert_eq!(status["live_version"], 0);
    assert_eq!((&status["turns"], &status["steps"]), (&json!(1), &json!(0)));
    assert_eq!(status["engine"]["completed"], 1);
}

#[tokio::test]
async fn a_version_that_is_kept_to_is_served_whatever_is_live() {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::open(&Home::new(home.path())).unwrap();
    registry.ensure_base(Base::Embedded).unwrap();
    let draft = registry.draft().unwrap();
    draft.copy_sidecars(&registry.dir(Version::BASE)).unwrap();
    let newer = registry.publish(draft, NewVersion { parent: Version::BASE, step: None }).unwrap();
    registry.set_live(newer).unwrap();
    let config = ServeConfig { version: Some(0), ..config() };
    let parts = |_| Parts { load: by_name(), attach: attach(), sources: Sources::default() };
    let server = start_in(home, config, parts).await;

    let info = server.json("/model_info").await;
    assert_eq!(info["weight_version"], "0");
    assert_eq!(info["model_path"], registry.dir(Version::BASE).display().to_string());
    server.plain(&ask("/bad")).await;
    assert_eq!(server.turns(), [], "nothing is recorded, and no command is heeded");
    let newer = json!({"model_path": registry.dir(newer).display().to_string()});
    let refused = server.post("/update_weights_from_disk", &newer).await;
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["message"], "this server keeps to version 0");
    assert_eq!(server.json("/status").await["live_version"], 0);
    assert!(server.home().state("serve-v0").exists() && !server.home().state("serve").exists());
}

#[tokio::test]
async fn weights_change_while_requests_run() {
    let server = Arc::new(start_with(config(), by_name()).await);
    let ended = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
        clients.spawn(async move {
            let mut answered = 0;
            while !ended.load(Ordering::Acquire) || answered == 0 {
                let body = with(ask(&format!("client {client}")), json!({"max_tokens": 60}));
                let (events, done) = server.events(&body).await;
                assert!(done, "cut off: {:?}", events.last());
                answered += 1;
            }
            answered
        });
    }
    for version in 1..=5 {
        let dir = server.version_dir(&format!("v{version:010}"));
        let mut body = json!({"model_path": dir});
        if version % 2 == 0 {
            body["weight_version"] = version.to_string().into();
        }
        let response = server.post("/update_weights_from_disk", &body).await;
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["success"], true);
        assert_eq!(answer["weight_version"], version.to_string());
        let info = server.json("/model_info").await;
        assert_eq!(info["weight_version"], version.to_string());
        assert_eq!(info["model_path"], json!(dir));
        assert_eq!(server.json("/status").await["live_version"], version);
    }
    server.plain(&ask("after")).await;
    ended.store(true, Ordering::Release);
    let answered: usize = clients.join_all().await.into_iter().sum();
    let turns = server.turns();
    assert_eq!(turns.len(), answered + 1);
    for turn in &turns {
        assert_eq!(turn.version_spans.len(), 1, "a request finishes on its version");
    }
    assert_eq!(turns.iter().map(|turn| turn.version_spans[0].version.0).max(), Some(5));
    assert!(turns.iter().any(|turn| turn.version_spans[0].version.0 < 5));
}

#[tokio::test]
async fn a_request_in_flight_keeps_its_version() {
    let gate = Gate::default();
    let held = hashes(1).held_by(&gate);
    let load: Load = Arc::new(move |dir: &Path| {
        Ok(if dir.ends_with("v0000000001") { says("new") } else { held.clone() }.into())
    });
    let server = Arc::new(start_with(config(), load).await);
    let asking = Arc::clone(&server);
    gate.allow(2);
    let old =
        tokio::spawn(
            async move { asking.plain(&with(ask("old"), json!({"max_tokens": 20}))).await },
        );
    while server.json("/status").await["engine"]["generated_tokens"] == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let dir = server.version_dir("v0000000001");
    let swapping = Arc::clone(&server);
    let swap = tokio::spawn(async move {
        swapping.post("/update_weights_from_disk", &json!({"model_path": dir})).await.status()
    });
    gate.open();
    assert_eq!(swap.await.unwrap(), 200);
    assert_eq!(server.plain(&ask("new")).await["system_fingerprint"], "weights-1");
    assert_eq!(old.await.unwrap()["system_fingerprint"], "weights-0");
}

#[tokio::test]
async fn versions_of_one_base_share_it() {
    let loads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&loads);
    let load: Load = Arc::new(move |dir: &Path| {
        counted.fetch_add(1, Ordering::AcqRel);
        let mut content = openclaw_rl::weights::Content::default();
        content.note("model.safetensors", &std::fs::read(dir.join("model.safetensors")).unwrap());
        Ok(Loaded { content, ..says("base").into() })
    });
    let server = start_with(config(), load).await;
    let begun = server.json("/model_info").await["weights_sha256"].clone();
    assert!(begun.is_string());
    for (version, name) in [(1, "first"), (2, "second")] {
        let dir = server.version_dir(name);
        let settings = json!({"base_model_name_or_path": "../weights/v0000000000"});
        std::fs::write(dir.join("adapter_config.json"), settings.to_string()).unwrap();
        let body = json!({"model_path": dir, "weight_version": version});
        assert_eq!(server.post("/update_weights_from_disk", &body).await.status(), 200);
        let reply = server.plain(&ask("hi")).await;
        assert_eq!(reply["choices"][0]["message"]["content"], name);
    }
    assert_eq!(loads.load(Ordering::Acquire), 1, "the base was read once, at the start");
    // whoever puts the same version on again doubts what is there
    let dir = server.home.path().join("second");
    let body = json!({"model_path": dir, "weight_version": 2});
    assert_eq!(server.post("/update_weights_from_disk", &body).await.status(), 200);
    assert_eq!(loads.load(Ordering::Acquire), 2);
    // an adapter without its base changes nothing
    let lost = server.version_dir("lost");
    std::fs::write(lost.join("adapter_config.json"), "{}").unwrap();
    let body = json!({"model_path": lost, "weight_version": 3});
    let response = server.post("/update_weights_from_disk", &body).await;
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("base_model_name_or_path"));
    assert_eq!(server.json("/model_info").await["weight_version"], "2");
}

#[tokio::test]
async fn weights_that_are_no_good_change_nothing() {
    let server = start_with(config(), by_name()).await;
    let other_tokenizer = server.version_dir("other");
    std::fs::write(other_tokenizer.join("tokenizer.json"), "{}").unwrap();
    let broken = server.version_dir("broken");
    let wide = server.version_dir("wide");
    let missing = server.home.path().join("missing");
    for (dir, said) in [
        (&broken, "cut off"),
        (&wide, "vocabulary"),
        (&missing, "missing"),
        (&other_tokenizer, "tokenizer"),
    ] {
        let body = json!({"model_path": dir, "weight_version": "7"});
        let response = server.post("/update_weights_from_disk", &body).await;
        assert_eq!(response.status(), 400, "{}", dir.display());
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["success"], false);
        assert_eq!(answer["weight_version"], "0");
        for message in [&answer["message"], &answer["error"]["message"]] {
            assert!(message.as_str().unwrap().contains(said), "{message}");
        }
        assert_eq!(server.json("/model_info").await["weight_version"], "0");
    }
    let body = json!({"model_path": broken});
    let unnamed = server.post("/update_weights_from_disk", &body).await;
    let answer: Value = unnamed.json().await.unwrap();
    assert_eq!(answer["error"]["param"], "weight_version");
    server.plain(&ask("still well?")).await;
}

#[tokio::test]
async fn the_same_version_twice_is_fine() {
    let server = start(says("x")).await;
    let dir = server.version_dir("v0000000003");
    for _ in 0..2 {
        let response = server.post("/update_weights_from_disk", &json!({"model_path": dir})).await;
        assert_eq!(response.status(), 200);
    }
    assert_eq!(server.json("/status").await["live_version"], 3);
}

/// What the server says to an admin's request.
async fn told(server: &Running, path: &str, body: Value) -> (u16, Value) {
    let response = server.post(path, &body).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn adapters_come_and_go_and_survive_swaps() {
    let config = ServeConfig { adapters: vec!["bob=/adapters/bob".to_owned()], ..config() };
    let server = start_with(config, by_name()).await;
    let load = |name: &str| json!({"lora_name": name, "lora_path": format!("/adapters/{name}")});
    let (status, answer) = told(&server, "/load_lora_adapter", load("ann")).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)));
    let both = json!({"ann": "/adapters/ann", "bob": "/adapters/bob"});
    assert_eq!(answer["loaded_adapters"], both);
    let by = async |name: &str| {
        let asked = with(ask("who?"), json!({"model": name, "max_tokens": 20}));
        let mut answer = server.plain(&asked).await;
        answer["choices"][0]["message"]["content"].take()
    };
    assert_eq!(by("ann").await, "ann");

    for (wrong, param) in [
        (load("ann"), "lora_name"),
        (load("openclaw"), "lora_name"),
        (load("a b"), "lora_name"),
        (load("broken"), "lora_path"),
        (json!({"lora_name": "x"}), "lora_path"),
        (json!({"lora_path": "x"}), "lora_name"),
    ] {
        let (status, answer) = told(&server, "/load_lora_adapter", wrong.clone()).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{wrong}");
    }

    // A new version has them too.
    let dir = server.version_dir("v0000000001");
    let (status, _) = told(&server, "/update_weights_from_disk", json!({"model_path": dir})).await;
    assert_eq!(status, 200);
    let models = server.json("/v1/models").await;
    let ids: Vec<&Value> = models["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["openclaw", "ann", "bob"]);
    assert_eq!(models["data"][1]["parent"], "openclaw");
    assert_eq!((by("ann").await, by("bob").await), (json!("ann"), json!("bob")));
    assert_eq!(server.json("/server_info").await["adapters"], json!(["ann", "bob"]));

    let unload = json!({"lora_name": "ann"});
    let (status, answer) = told(&server, "/unload_lora_adapter", unload.clone()).await;
    assert_eq!((status, &answer["loaded_adapters"]), (200, &json!({"bob": "/adapters/bob"})));
    assert_ne!(by("ann").await, "ann", "the base answers");
    let (status, answer) = told(&server, "/unload_lora_adapter", unload).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("adapter_not_found")));
    let (status, _) = told(&server, "/load_lora_adapter", load("ann")).await;
    assert_eq!(status, 200, "it may come back");
}

#[tokio::test]
async fn generation_pauses_and_goes_on() {
    let server = Arc::new(start(says("one two")).await);
    for _ in 0..2 {
        assert_eq!(told(&server, "/pause_generation", json!({"mode": null})).await.0, 200);
    }
    assert_eq!(server.json("/server_info").await["paused"], true);
    assert_eq!(server.get("/health_generate").await.status(), 503);
    let asking = Arc::clone(&server);
    let reply = tokio::spawn(async move { asking.plain(&ask("hi")).await });
    while server.json("/status").await["engine"]["waiting"] == 0
        && server.json("/status").await["engine"]["running"] == 0
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let dir = server.version_dir("v0000000001");
    let (status, _) = told(&server, "/update_weights_from_disk", json!({"model_path": dir})).await;
    assert_eq!(status, 200, "a swap goes live all the same");
    assert!(!reply.is_finished());
    assert_eq!(told(&server, "/continue_generation", json!({})).await.0, 200);
    assert_eq!(reply.await.unwrap()["choices"][0]["message"]["content"], "one two");
    let (status, answer) = told(&server, "/pause_generation", json!({"mode": "abort"})).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("mode")));
}

#[tokio::test]
async fn the_prefix_cache_is_emptied() {
    let server = start(hashes(3)).await;
    let question = "a question that is long enough to fill several blocks ".repeat(8);
    let body = with(ask(&question), json!({"max_tokens": 4}));
    server.plain(&body).await;
    let url = format!("{}/flush_cache", server.base);
    let flushed = server.client.post(url).send().await.unwrap();
    assert_eq!(flushed.status(), 200, "without a body");
    let flushed: Value = flushed.json().await.unwrap();
    assert!(flushed["freed_tokens"].as_u64().unwrap() > 0, "{flushed}");
    let again = told(&server, "/flush_cache", json!({})).await.1;
    assert_eq!(again["freed_tokens"], 0);
}
