//! The judge that `run` starts by itself: the base model, which stays as it is.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use openclaw_rl::config::Home;
use openclaw_rl::rollout::{Score, Version};
use openclaw_rl::store::Store;
use openclaw_rl::weights::Registry;
use serde_json::{Value, json};

use crate::support::{
    Conversation, PATIENCE, Running, client, command, last_json, one_shot, summary,
};

/// A judge of few words, since what it says is no matter here.
const BRIEF: &[&str] = &["--judge-port", "0", "--votes", "2", "--judge-tokens", "12"];

/// Starts the loop with its own judge; the judge's address without `/v1`.
fn start(home: &Path, more: &[&str]) -> (Running, String) {
    let mut running = Running::start(home, &[BRIEF, more].concat());
    let line = running.line_with("judge at ");
    let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    (running, url.trim_end_matches("/v1").to_owned())
}

/// An exchange that the user says nothing explicit about, and its follow-up.
async fn talk(url: &str) {
    let mut conversation = Conversation::new(url);
    conversation.say("Where is Lisbon?").await;
    conversation.say("And what is the capital of France?").await;
}

async fn get(url: &str) -> Value {
    client().get(url).send().await.unwrap().json().await.unwrap()
}

/// Waits for the verdict of the model, by which it answered: one that it failed to give says why.
async fn verdicts(home: &Path, count: usize) -> Vec<Score> {
    let store = Store::open(&Home::new(home)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut scores = store.read_all::<Score>().unwrap();
        scores
            .retain(|score| score.judge.starts_with("openai@") && score.judge.ends_with(":judge"));
        if scores.len() >= count {
            return scores;
        }
        assert!(Instant::now() < deadline, "{} of {count} verdicts", scores.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether each of them has votes: an answer of the judge, whatever it says.
fn assert_answered(verdicts: &[Score]) {
    for verdict in verdicts {
        assert!(verdict.votes.len() >= 2, "{verdict:?}");
        assert!(verdict.votes.iter().any(|vote| !vote.text.is_empty()), "{verdict:?}");
    }
}

#[tokio::test]
async fn the_base_judges_also_when_another_version_is_live() {
    let home = tempfile::tempdir().unwrap();
    let more = ["--tries", "1", "--method", "binary", "--batch-size", "2"];
    let (running, judge) = start(home.path(), &more);
    // What the user says outright trains the first version, whatever the judge thinks.
    let mut turns = 0;
    while get(&format!("{}/status", running.url)).await["live_version"] == 0 {
        let mut conversation = Conversation::new(&running.url);
        // Never the same question: the same one again would be a wish for another reply.
        conversation.say(&format!("What is {turns} plus 4?")).await;
        conversation.say("/bad in one word, please").await;
        turns += 2;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    talk(&running.url).await;
    turns += 2;
    assert_answered(&verdicts(home.path(), 1).await);

    let registry = Registry::open(&Home::new(home.path())).unwrap();
    let base = registry.weights_sha256(Version::BASE).unwrap();
    let model = get(&format!("{judge}/model_info")).await;
    assert_eq!(
        (&model["weight_version"], &model["served_model_name"]),
        (&json!("0"), &"judge".into())
    );
    assert_eq!(model["weights_sha256"], base.as_str());
    let policy = get(&format!("{}/model_info", running.url)).await;
    assert_ne!(policy["weight_version"], "0");
    assert_ne!(policy["weights_sha256"], base.as_str());

    let other = json!({"model_path": registry.dir(Version(1)).display().to_string()});
    let swap = client().post(format!("{judge}/update_weights_from_disk")).json(&other);
    let refused = swap.send().await.unwrap();
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    assert!(refused["message"].as_str().unwrap().contains("keeps to version 0"), "{refused}");
    let metrics = client().get(format!("{judge}/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("openclaw_weights_version 0.0"), "{metrics}");
    assert!(metrics.contains("turns_recorded_total{status=\"answered\"} 0"), "{metrics}");
    assert!(!metrics.contains("openclaw_train_"), "{metrics}");

    running.signal("TERM", false);
    let output = running.finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(last_json(&output.stdout)["turns"], turns, "what the judge is asked is no turn");
    assert!(client().get(format!("{judge}/health")).send().await.is_err());
    let verified = summary(home.path(), &["store", "verify"]);
    assert_eq!(verified["problems"], json!([]), "{verified}");
}

#[tokio::test]
async fn a_judge_that_dies_is_started_again_and_no_verdict_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let (mut running, judge) = start(home.path(), &[]);
    let deadline = Instant::now() + PATIENCE;
    let beat = loop {
        match std::fs::read(home.path().join("state/serve-v0.json")) {
            Ok(beat) => break beat,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let beat: Value = serde_json::from_slice(&beat).unwrap();
    let pid = beat["pid"].to_string();
    assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    assert!(running.line_with("judge ended").contains("signal: 9"));
    talk(&running.url).await;
    assert_answered(&verdicts(home.path(), 1).await);
    assert_eq!(get(&format!("{judge}/model_info")).await["weight_version"], "0");

    running.signal("KILL", false);
    let deadline = Instant::now() + PATIENCE;
    while client().get(format!("{judge}/health")).send().await.is_ok() {
        assert!(Instant::now() < deadline, "the judge outlived its supervisor");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn refused(home: &Path, args: &[&str]) -> String {
    let output = one_shot(home, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_busy_port_and_the_policy_as_its_own_judge_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    let stderr = refused(home.path(), &["run", "--port", "0", "--judge-port", &port]);
    assert!(stderr.contains(&port) && stderr.contains("choose with --judge-port"), "{stderr}");
    let own = ["run", "--dry-run", "--port", "31999", "--judge", "http://localhost:31999/v1"];
    let stderr = refused(home.path(), &own);
    assert!(stderr.contains("whose model is trained"), "{stderr}");
    assert!(stderr.contains("--judge base"), "{stderr}");
}

/// What a dry run prints, and its lines on children.
fn dry_run(home: &Path, args: &[&str]) -> (String, Vec<String>) {
    let output = command(home, &[&["run", "--dry-run"], args].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    toml::from_str::<toml::Table>(&text).expect("what is printed is a configuration file");
    let children = text.lines().filter(|line| line.contains(": openclaw-rl "));
    let children = children.map(str::to_owned).collect();
    (text, children)
}

#[test]
fn a_dry_run_says_who_would_judge() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let (text, children) = dry_run(&home, &["--api-key-file", "/key"]);
    assert_eq!(text.matches("judge = \"base\"  # default").count(), 2, "{text}");
    let of = |name: &str| {
        let line = children.iter().find(|line| line.starts_with(&format!("# {name}: ")));
        line.unwrap_or_else(|| panic!("no {name}: {text}")).clone()
    };
    for told in
        ["serve ", "--version 0", "--port 30001", "--model-name judge", "--api-key-file /key"]
    {
        assert!(of("judge").contains(told), "no `{told}`: {}", of("judge"));
    }
    for stage in ["score", "hint"] {
        let told = "--judge http://127.0.0.1:30001/v1 --judge-key-file /key";
        assert!(of(stage).contains(told), "{}", of(stage));
    }
    let file = dir.path().join("config.toml");
    std::fs::write(&file, &text).unwrap();
    let (_, again) = dry_run(&home, &["--config", file.to_str().unwrap()]);
    assert_eq!(again.len(), children.len(), "what was printed starts the same: {again:?}");

    let (_, by_rules) = dry_run(&home, &["--judge", "rules"]);
    assert!(by_rules.iter().all(|line| !line.starts_with("# judge:")), "{by_rules:?}");
    std::fs::write(&file, "[score]\njudge = \"rules\"\n").unwrap();
    let (_, one) = dry_run(&home, &["--config", file.to_str().unwrap()]);
    let score = one.iter().find(|line| line.starts_with("# score:")).unwrap();
    assert!(!score.contains("--judge"), "{score}");
    assert!(one.iter().any(|line| line.starts_with("# judge:")), "hint asks it: {one:?}");
    assert!(!home.exists(), "a dry run leaves nothing behind");
}
