//! Deployment against servers of straw: the gate, the swap, rollbacks, crashes, servers that fail.

mod actions;
pub mod straw;

use std::time::Duration;

use openclaw_rl::config::{DeployConfig, Home};
use openclaw_rl::events::heartbeat;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{DeploymentEvent, Version};
use openclaw_rl::stage::deploy::{DeployError, DeploySummary, run};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use straw::{Fixture, Server};

#[tokio::test]
async fn the_newest_version_goes_live_on_every_server() {
    let fixture = Fixture::new();
    fixture.versions(2);
    let servers = [Server::start("0").await, Server::start("0").await];
    let config = fixture.config(&[&servers[0], &servers[1]]);
    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((summary.live_version, summary.deployed), (2, vec![2]));
    assert_eq!(fixture.live(), Version(2));
    for server in &servers {
        assert_eq!((server.serves().as_str(), server.updates()), ("2", 1));
    }
    let row = fixture.rows().remove(0);
    assert_eq!((row.event, row.version), (DeploymentEvent::Live, Version(2)));
    assert_eq!((row.previous, row.servers), (Some(Version(0)), config.server.clone()));
    let gate: Value = serde_json::from_str(&row.gate).unwrap();
    assert!(gate["weights"].as_u64().unwrap() > 10_000 && gate["files"] == 3, "{gate}");
    let beat = heartbeat::read(&fixture.home.state("deploy")).unwrap();
    assert_eq!((beat.figures["live_version"], beat.figures["lag_versions"]), (2.0, 0.0));

    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((summary.deployed, fixture.rows().len()), (vec![], 1), "nothing is done twice");
}

#[tokio::test]
async fn a_server_that_is_down_changes_nothing() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let gone = Server::start("0").await;
    let config = fixture.config(&[&gone]);
    drop(gone);
    let error = fixture.deploy(&config).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_swap", 1));
    assert!(error.hint().unwrap().contains("openclaw-rl serve"));
    assert_eq!((fixture.live(), fixture.rows().len()), (Version(0), 0));
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let server = Server::start("0").await;
    server.refuse(1);
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!((fixture.live(), server.updates()), (Version(1), 2));
}

#[tokio::test]
async fn if_one_server_fails_the_others_get_the_old_version_back() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let (good, bad) = (Server::start("0").await, Server::start("0").await);
    bad.refuse(99);
    let error = fixture.deploy(&fixture.config(&[&good, &bad])).await.unwrap_err();
    let DeployError::Swap { version, live, source } = &error else { panic!("{error}") };
    assert_eq!((*version, *live), (Version(1), Version(0)));
    assert!(source.to_string().contains(&bad.url), "{source}");
    assert_eq!((good.serves().as_str(), good.updates()), ("0", 2));
    assert_eq!((fixture.live(), fixture.rows().len()), (Version(0), 0));
}

/// Turns the last weight of a model file into NaN.
fn not_a_number(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() - 4);
    bytes.extend(f32::NAN.to_le_bytes());
}

#[tokio::test]
async fn what_the_gate_refuses_no_server_ever_hears_of() {
    let fixture = Fixture::new();
    fixture.publish(|_| {});
    fixture.publish(not_a_number);
    let server = Server::start("0").await;
    let summary = fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!((summary.refused, summary.deployed), (vec![2], vec![1]));
    assert_eq!((server.serves().as_str(), server.updates()), ("1", 1));
    let rows = fixture.rows();
    assert_eq!((rows[0].event, rows[0].version), (DeploymentEvent::Refused, Version(2)));
    assert_eq!(rows[0].retired, [Version(2)]);
    assert!(rows[0].gate.contains("not finite"), "{}", rows[0].gate);
    assert_eq!(fixture.registry.head().unwrap(), Version(1), "training goes on from here");
}

#[tokio::test]
async fn a_damaged_version_is_refused() {
    let fixture = Fixture::new();
    let version = fixture.publish(|_| {});
    let path = fixture.registry.dir(version).join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let server = Server::start("0").await;
    let summary = fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    assert_eq!((summary.refused, summary.live_version), (vec![1], 0));
    assert_eq!(server.updates(), 0);
    assert!(fixture.rows()[0].gate.contains("SHA-256"), "{}", fixture.rows()[0].gate);
}

#[tokio::test]
async fn an_older_version_is_put_back_and_the_newer_ones_are_a_dead_branch() {
    let fixture = Fixture::new();
    fixture.versions(3);
    let server = Server::start("0").await;
    let config = fixture.config(&[&server]);
    fixture.deploy(&config).await.unwrap();
    let back = DeployConfig { version: Some(1), ..config.clone() };
    let summary = fixture.deploy(&back).await.unwrap();
    assert_eq!((summary.live_version, summary.retired), (1, vec![2, 3]));
    assert_eq!(server.serves(), "1");
    let row = fixture.rows().remove(1);
    assert_eq!((row.event, row.version), (DeploymentEvent::RolledBack, Version(1)));
    assert_eq!((row.previous, row.retired), (Some(Version(3)), vec![Version(2), Version(3)]));
    assert_eq!(fixture.registry.head().unwrap(), Version(1));

    let dead = DeployConfig { version: Some(3), ..config.clone() };
    let error = fixture.deploy(&dead).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_dead_version", 2));
    let none = DeployConfig { version: Some(9), ..config.clone() };
    let error = fixture.deploy(&none).await.unwrap_err();
    assert_eq!((error.label(), error.exit_code()), ("deploy_no_such_version", 2));
    assert_eq!(error.to_string(), "there is no version 9; there are 0, 1, 2, 3");

    let next = fixture.publish(|_| {});
    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((next, summary.live_version), (Version(4), 4));
}

#[tokio::test]
async fn a_crash_between_servers_registry_and_row_is_made_good() {
    let fixture = Fixture::new();
    fixture.versions(2);
    // it died after the server had taken version 2
    let server = Server::start("2").await;
    let config = fixture.config(&[&server]);
    let summary = fixture.deploy(&config).await.unwrap();
    assert_eq!((summary.live_version, server.updates()), (2, 0), "the server has it already");
    assert_eq!(fixture.rows().len(), 1);

    // it died after the registry knew of the rollback, before the row
    fixture.registry.roll_back(Version(1)).unwrap();
    fixture.deploy(&config).await.unwrap();
    let rows = fixture.rows();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[1].event, rows[1].version), (DeploymentEvent::RolledBack, Version(1)));
    assert_eq!(rows[1].retired, [Version(2)]);
    assert_eq!(server.serves(), "1");
    fixture.deploy(&config).await.unwrap();
    assert_eq!(fixture.rows().len(), 2, "and only once");
}

#[tokio::test]
async fn a_live_version_without_its_row_gets_one() {
    let fixture = Fixture::new();
    fixture.versions(1);
    fixture.registry.set_live(Version(1)).unwrap();
    let server = Server::start("1").await;
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    let rows = fixture.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].event, rows[0].version), (DeploymentEvent::Live, Version(1)));
}

#[tokio::test]
async fn a_refusal_without_its_row_gets_one() {
    let fixture = Fixture::new();
    fixture.versions(1);
    fixture.registry.refuse(Version(1)).unwrap();
    let server = Server::start("0").await;
    fixture.deploy(&fixture.config(&[&server])).await.unwrap();
    let rows = fixture.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].event, rows[0].version), (DeploymentEvent::Refused, Version(1)));
}

#[tokio::test]
async fn the_key_is_sent_and_its_absence_explained() {
    let fixture = Fixture::new();
    fixture.versions(1);
    let server = Server::start("0").await;
    server.straw.lock().unwrap().key = Some("secret".to_owned());
    let config = fixture.config(&[&server]);
    let error = fixture.deploy(&config).await.unwrap_err();
    assert!(error.hint().unwrap().contains("--api-key-file"));
    assert_eq!(server.updates(), 0, "a refusal for want of a key is not tried again");
    let file = fixture.dir.path().join("key");
    std::fs::write(&file, "secret\n").unwrap();
    let config = DeployConfig { api_key_file: Some(file), ..config };
    assert_eq!(fixture.deploy(&config).await.unwrap().live_version, 1);
    let missing = DeployConfig { api_key_file: Some("/no/key".into()), ..config };
    let error = fixture.deploy(&missing).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("/no/key"), "{error}");
}

#[tokio::test]
async fn following_a_home_without_a_model_it_waits_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path());
    let config = DeployConfig { follow: true, poll_ms: 10, ..DeployConfig::default() };
    let shutdown = CancellationToken::new();
    let (summary, ()) = tokio::join!(run(&config, &home, shutdown.clone()), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        shutdown.cancel();
    });
    assert_eq!(summary.unwrap(), DeploySummary::default());
    let config = DeployConfig { follow: false, ..config };
    let error = run(&config, &home, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.label(), "weights_no_version");
}

/// Waits, within bounds, until something holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn following_it_deploys_outlasts_a_server_that_is_down_and_sees_restarts() {
    let fixture = Fixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let first = Server::on(listener, "0");
    let config = DeployConfig { follow: true, ..fixture.config(&[&first]) };
    let shutdown = CancellationToken::new();
    let (home, token) = (fixture.home.clone(), shutdown.clone());
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move { run(&config, &home, token).await });

    fixture.versions(1);
    until("version 1 is live", || fixture.live() == Version(1)).await;
    drop(first);
    fixture.versions(1);
    let state = fixture.home.state("deploy");
    let doing = || heartbeat::read(&state).map(|beat| beat.doing).unwrap_or_default();
    until("the failure shows", || doing() == "failing: deploy_swap").await;
    let beat = heartbeat::read(&state).unwrap();
    assert_eq!((beat.figures["live_version"], beat.figures["lag_versions"]), (1.0, 1.0));

    let again = Server::on(tokio::net::TcpListener::bind(address).await.unwrap(), "0");
    until("version 2 is live", || fixture.live() == Version(2)).await;
    assert_eq!(again.serves(), "2");
    again.straw.lock().unwrap().version = "0".to_owned();
    until("a restarted server catches up", || again.serves() == "2").await;
    shutdown.cancel();
    let summary = task.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(summary.deployed, [1, 2]);
}
