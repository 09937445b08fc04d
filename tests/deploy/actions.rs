//! What somebody decides by hand, and what servers show of what they serve.

use openclaw_rl::config::DeployConfig;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{DeploymentEvent, Ledger, Version};
use openclaw_rl::stage::deploy::{Action, export, list};
use serde_json::Value;

use super::straw::{Fixture, Server};

fn numbers(versions: &[Version]) -> Vec<u64> {
    versions.iter().map(|version| version.0).collect()
}

#[tokio::test]
async fn a_pinned_version_stays_and_newer_ones_live_on() {
    let fixture = Fixture::new();
    fixture.versions(3);
    let server = Server::start("0").await;
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    let summary = fixture.act(&server, Action::Pin(1)).await.unwrap();
    assert_eq!((summary.live_version, summary.pinned), (1, Some(1)));
    assert_eq!((server.serves().as_str(), fixture.live()), ("1", Version(1)));
    assert_eq!(fixture.registry.head().unwrap(), Version(3), "training goes on from the head");
    fixture.versions(1);
    let summary = fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!((summary.live_version, summary.deployed.len()), (1, 0));

    let summary = fixture.act(&server, Action::Unpin).await.unwrap();
    assert_eq!((summary.live_version, summary.pinned), (1, None));
    let summary = fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!(summary.live_version, 4);
    let events: Vec<_> = fixture.rows().iter().map(|row| (row.event, row.version.0)).collect();
    use DeploymentEvent::{Live, Pinned, Unpinned};
    assert_eq!(events, [(Live, 3), (Pinned, 1), (Unpinned, 1), (Live, 4)]);
    assert!(fixture.rows().iter().all(|row| row.retired.is_empty()));

    // a newer version is pinned by way of the gate
    fixture.versions(2);
    let summary = fixture.act(&server, Action::Pin(5)).await.unwrap();
    assert_eq!((summary.live_version, summary.pinned, summary.deployed), (5, Some(5), vec![5]));
    let state = fixture.registry.state().unwrap();
    assert_eq!((state.head, state.pinned), (Version(6), Some(Version(5))));
    // what is rolled back cannot stay pinned
    fixture.act(&server, Action::RollBack(None)).await.unwrap();
    assert_eq!(fixture.registry.state().unwrap().pinned, None);
}

#[tokio::test]
async fn versions_wait_for_approval_where_they_are_told_to() {
    let fixture = Fixture::new();
    fixture.versions(3);
    let server = Server::start("0").await;
    let config = DeployConfig { wait_for_approval: true, ..fixture.config(&[&server]) };
    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((summary.live_version, summary.waiting), (0, Some(3)));
    assert_eq!((server.updates(), fixture.rows().len()), (0, 0));
    // what is approved goes live, and nothing newer
    let summary = fixture.act(&server, Action::Approve(Some(2))).await.unwrap();
    assert_eq!((summary.approved, summary.live_version), (Some(2), 0));
    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((summary.live_version, server.serves().as_str()), (2, "2"));
    let listing = list(&fixture.home).unwrap();
    let states: Vec<_> = listing.versions.iter().map(|line| (line.version, line.state)).collect();
    assert_eq!(states, [(3, "waiting"), (2, "live"), (1, "old"), (0, "old")]);
    fixture.act(&server, Action::Approve(None)).await.unwrap();
    assert_eq!(fixture.deploy(&config).await.unwrap().live_version, 3);
    let error = fixture.act(&server, Action::Approve(Some(9))).await.unwrap_err();
    assert_eq!(error.label(), "deploy_no_such_version");
}

#[tokio::test]
async fn a_rollback_goes_to_what_was_live_before_and_its_turns_can_be_given_back() {
    let fixture = Fixture::new();
    let server = Server::start("0").await;
    let config = fixture.config(&[&server]);
    for _ in 0..2 {
        fixture.versions(2);
        fixture.deploy(&config).await.unwrap();
    }
    // 2 was live before 4; 3 never was
    let summary = fixture.act(&server, Action::RollBack(None)).await.unwrap();
    assert_eq!((summary.live_version, summary.retired), (2, vec![3, 4]));
    let error = fixture.act(&server, Action::RollBack(Some(2))).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_not_older", 2));
    let error = fixture.act(&server, Action::Requeue(vec![2])).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_not_dead", 2));
    assert!(error.to_string().contains("3, 4"), "{error}");
    let summary = fixture.act(&server, Action::Requeue(vec![4])).await.unwrap();
    assert_eq!(summary.requeued, [4]);
    let summary = fixture.act(&server, Action::Requeue(Vec::new())).await.unwrap();
    assert_eq!((summary.requeued, summary.live_version), (vec![3, 4], 2));
    let row = fixture.rows().pop().unwrap();
    assert_eq!((row.event, row.version), (DeploymentEvent::Requeued, Version(2)));
    assert_eq!(numbers(&row.retired), [3, 4]);
    let mut ledger = Ledger::new();
    fixture.rows().iter().for_each(|row| ledger.deployment(row));
    assert!(ledger.is_dead(Version(4)), "the versions stay dead");
    // and nothing of it counts as a change of what is live
    let rows = fixture.rows().len();
    fixture.deploy(&config).await.unwrap();
    assert_eq!((fixture.rows().len(), server.serves().as_str()), (rows, "2"));
    fixture.act(&server, Action::RollBack(None)).await.unwrap();
    assert_eq!(fixture.live(), Version(0));
    let error = fixture.act(&server, Action::RollBack(None)).await.unwrap_err();
    assert_eq!(error.label(), "deploy_not_older");
}

#[tokio::test]
async fn a_server_that_read_other_weights_gets_the_right_ones() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let right = fixture.registry.weights_sha256(Version(1)).unwrap();
    let wrong = "0".repeat(64);
    let server = Server::start("0").await;
    server.straw.lock().unwrap().shows = vec![wrong.clone(), right.clone()];
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!((server.serves().as_str(), server.updates()), ("1", 2), "tried again");
    let gate: Value = serde_json::from_str(&fixture.rows()[0].gate).unwrap();
    assert_eq!(gate["served"]["by_checksum"], 1, "{gate}");

    // later it turns out to hold something else, by the right name
    server.straw.lock().unwrap().sha256 = Some(wrong.clone());
    server.straw.lock().unwrap().shows = vec![right.clone()];
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!(server.updates(), 3);
    assert_eq!(server.straw.lock().unwrap().sha256.as_ref(), Some(&right));

    // where it never gets right, nothing goes live
    fixture.versions(1);
    server.straw.lock().unwrap().shows = vec![wrong; 9];
    let error = fixture.deploy(&fixture.config(&[&server])).await.unwrap_err();
    assert_eq!(error.label(), "deploy_swap");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains(&"0".repeat(64)) && cause.contains(&server.url), "{cause}");
    assert_eq!(fixture.live(), Version(1));
}

#[tokio::test]
async fn a_server_without_a_checksum_is_named_in_the_row() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let server = Server::start("0").await;
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    let gate: Value = serde_json::from_str(&fixture.rows()[0].gate).unwrap();
    assert_eq!(gate["served"]["by_checksum"], 0);
    assert_eq!(gate["served"]["by_version_only"], serde_json::json!([server.url]));
}

#[test]
fn a_version_is_exported_without_what_is_the_trainers() {
    let fixture = Fixture::new();
    let draft = fixture.registry.draft().unwrap();
    let base = fixture.registry.dir(Version::BASE);
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(base.join(name), draft.dir().join(name)).unwrap();
    }
    std::fs::write(draft.dir().join("optimizer.safetensors"), "moments").unwrap();
    let new = openclaw_rl::weights::NewVersion { parent: Version::BASE, step: None };
    fixture.registry.publish(draft, new).unwrap();
    let to = fixture.dir.path().join("out");
    let exported = export(&fixture.home, &to, Some(1)).unwrap();
    assert_eq!((exported.version, exported.adapter), (1, None));
    let mut names: Vec<_> = std::fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    let error = export(&fixture.home, &to, Some(1)).unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_export", 2));
    assert!(export(&fixture.home, &fixture.dir.path().join("other"), Some(7)).is_err());
}
