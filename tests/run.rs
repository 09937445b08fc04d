//! The whole loop by the real binary: it learns, it survives `kill -9`, it leaves cleanly.

use std::process::Command;

use serde_json::Value;

use crate::support::{Conversation, Running, last_json, one_shot, status_until, summary};

/// Six exchanges in two sessions, five of which carry explicit feedback on the one before.
async fn talk(url: &str) {
    for question in ["What is 3 plus 4?", "What is 5 plus 2?"] {
        let mut conversation = Conversation::new(url);
        conversation.say(question).await;
        conversation.say("No, that is wrong. You should have answered with the number only.").await;
        conversation.say("Thanks, that is perfect!").await;
    }
}

fn assert_accounted(status: &Value) {
    let count = |value: &Value| value.as_u64().unwrap();
    let rejected: u64 = status["rejected"].as_object().unwrap().values().map(count).sum();
    let sum = count(&status["trained"]) + count(&status["waiting"]) + rejected;
    assert_eq!(count(&status["turns"]), sum, "{status}");
}

#[tokio::test]
async fn a_conversation_becomes_a_version_that_answers() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(
        home.path(),
        &["--judge", "rules", "--batch-size", "2", "--exit-after-steps", "1"],
    );
    talk(&running.url).await;
    let output = running.finish();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let end = last_json(&output.stdout);
    assert!(end["live_version"].as_u64().unwrap() >= 1, "{end}");
    assert!(end["steps"].as_u64().unwrap() >= 1, "{end}");
    assert_accounted(&end);
    assert!(!home.path().join("logs/judge.log").exists(), "rules need no judge");
    let verified = summary(home.path(), &["store", "verify"]);
    assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
}

#[tokio::test]
async fn killed_whole_and_started_again_it_goes_on_from_the_last_version() {
    let home = tempfile::tempdir().unwrap();
    let first = Running::start(home.path(), &["--judge", "rules", "--batch-size", "2"]);
    talk(&first.url).await;
    let before = status_until(&first.url, |s| s["live_version"].as_u64() >= Some(1)).await;
    first.signal("KILL", true);
    drop(first);

    let again = Running::start(home.path(), &["--judge", "rules", "--batch-size", "2"]);
    let after = status_until(&again.url, |s| s["turns"].as_u64() >= before["turns"].as_u64()).await;
    assert!(after["live_version"].as_u64() >= before["live_version"].as_u64(), "{after}");
    talk(&again.url).await;
    let live = after["live_version"].as_u64();
    status_until(&again.url, |s| s["live_version"].as_u64() > live).await;
    again.signal("TERM", false);
    let output = again.finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_accounted(&last_json(&output.stdout));
    let verified = summary(home.path(), &["store", "verify"]);
    assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
}

#[tokio::test]
async fn children_leave_when_the_supervisor_is_killed_alone() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(home.path(), &["--judge", "rules"]);
    let url = running.url.clone();
    running.signal("KILL", false);
    let client = crate::support::client();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while client.get(format!("{url}/health")).send().await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the server outlived its supervisor");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn one_home_has_one_supervisor_and_one_port_one_server() {
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(home.path(), &["--judge", "rules"]);
    let second = one_shot(home.path(), &["run", "--port", "0", "--judge", "rules"]);
    assert_eq!(second.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(stderr.contains("another `run`") && stderr.contains("hint:"), "{stderr}");

    for stage in ["collect", "score", "hint", "train"] {
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        while !home.path().join(format!("state/{stage}.json")).exists() {
            assert!(std::time::Instant::now() < deadline, "{stage} has no heartbeat");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let twin = one_shot(home.path(), &[stage]);
        let stderr = String::from_utf8_lossy(&twin.stderr).into_owned();
        assert!(!twin.status.success() && stderr.contains("hint:"), "{stage}: {stderr}");
        assert!(twin.stdout.is_empty(), "{stage} worked beside its twin");
    }

    let port = running.url.rsplit(':').next().unwrap().to_owned();
    let other = tempfile::tempdir().unwrap();
    for stage in ["run", "serve"] {
        let busy = one_shot(other.path(), &[stage, "--port", &port]);
        let stderr = String::from_utf8_lossy(&busy.stderr).into_owned();
        assert_eq!(busy.status.code(), Some(2), "{stage}: {stderr}");
        assert!(stderr.contains(&port) && stderr.contains("--port"), "{stage}: {stderr}");
    }
}

#[tokio::test]
async fn a_dead_stage_is_started_again() {
    let home = tempfile::tempdir().unwrap();
    let mut running = Running::start(home.path(), &["--judge", "rules"]);
    let beat = home.path().join("state/collect.json");
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let pid = loop {
        let text = std::fs::read_to_string(&beat).unwrap_or_default();
        if let Ok(beat) = serde_json::from_str::<Value>(&text) {
            break beat["pid"].to_string();
        }
        assert!(std::time::Instant::now() < deadline, "collect has no heartbeat");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert!(Command::new("kill").args(["-s", "KILL", &pid]).status().unwrap().success());
    let line = running.line_with("collect ended");
    assert!(line.contains("signal: 9"), "{line}");
    let line = running.line_with("collect started");
    assert!(!line.contains(&format!("pid {pid})")), "{line}");
}
