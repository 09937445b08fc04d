//! Models by name, from a small hub on this machine.

#[path = "hub/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use openclaw_rl::config::{Home, HubConfig};
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::Version;
use openclaw_rl::weights::{HubError, HubModel, HubNote, Registry, Snapshot, WeightsError, fetch};

use crate::support::{command, last_json};
use server::{COMMIT, Faults, Hub, MODEL};

const WEIGHTS: &str = "model.safetensors";

fn files() -> BTreeMap<String, Vec<u8>> {
    let weights: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"a\": 1}".to_vec()),
        ("chat_template.jinja", b"{{ x }}".to_vec()),
        ("README.md", b"not needed".to_vec()),
        ("pytorch_model.bin", b"not needed".to_vec()),
        (WEIGHTS, weights),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .into()
}

struct Case {
    hub: Hub,
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Self { hub: Hub::start(files()), dir: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> HubConfig {
        HubConfig {
            endpoint: Some(self.hub.url()),
            cache: Some(self.dir.path().join("cache")),
            retry: Duration::from_millis(1),
            ..HubConfig::default()
        }
    }

    fn fetch(&self) -> Result<Snapshot, HubError> {
        quietly(&self.config())
    }

    fn blob_names(&self) -> Vec<String> {
        let blobs = self.dir.path().join("cache/models--acme--tiny/blobs");
        let entries = fs::read_dir(blobs).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn model() -> HubModel {
    HubModel::parse(MODEL).unwrap()
}

fn quietly(config: &HubConfig) -> Result<Snapshot, HubError> {
    fetch(&model(), config, &mut |_| ControlFlow::Continue(()))
}

/// The files that a model needs are there, and no others.
fn assert_whole(snapshot: &Snapshot) {
    assert_eq!(snapshot.commit, COMMIT);
    let expected = files();
    let mut found: Vec<String> = fs::read_dir(&snapshot.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, ["chat_template.jinja", "config.json", WEIGHTS, "tokenizer.json"]);
    for name in found {
        assert_eq!(fs::read(snapshot.dir.join(&name)).unwrap(), expected[&name], "{name}");
    }
}

#[test]
fn a_model_is_fetched_once() {
    let case = Case::new();
    let mut fetched = Vec::new();
    let snapshot = fetch(&model(), &case.config(), &mut |note| {
        if let HubNote::Fetched { file, bytes } = note {
            fetched.push((file.to_owned(), bytes));
        }
        ControlFlow::Continue(())
    });
    assert_whole(&snapshot.unwrap());
    assert_eq!(fetched.last().unwrap(), &(WEIGHTS.to_owned(), 300_000));
    assert_whole(&case.fetch().unwrap());
    assert_eq!(case.hub.transfers(), [0]);
    // A commit is a revision like another.
    let pinned = HubModel::parse(&format!("{MODEL}@{COMMIT}")).unwrap();
    let config = HubConfig { offline: true, ..case.config() };
    assert_whole(&fetch(&pinned, &config, &mut |_| ControlFlow::Continue(())).unwrap());
}

#[test]
fn a_transfer_that_breaks_off_is_taken_up_where_it_stopped() {
    let case = Case::new();
    case.hub.fail(Faults { breaks: [1000, 0, 5000].into(), ..Faults::default() });
    assert_whole(&case.fetch().unwrap());
    assert_eq!(case.hub.transfers(), [0, 1000, 1000, 6000]);
}

#[test]
fn a_program_that_was_stopped_goes_on_where_it_was() {
    let case = Case::new();
    case.hub.fail(Faults { breaks: [7000, 0, 0, 0, 0].into(), ..Faults::default() });
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(WEIGHTS) && error.hint().unwrap().contains("kept"));
    assert_eq!(error.exit_code(), 1);
    assert_whole(&case.fetch().unwrap());
    assert_eq!(case.hub.transfers(), [0, 7000, 7000, 7000, 7000, 7000]);
}

#[test]
fn a_part_that_is_whole_or_too_long_already_does_no_harm() {
    for more in [&b""[..], b"stray"] {
        let case = Case::new();
        let snapshot = case.fetch().unwrap();
        let pointer = snapshot.dir.join(WEIGHTS);
        let blob = fs::canonicalize(&pointer).unwrap();
        fs::remove_file(&pointer).unwrap();
        let whole = [&fs::read(&blob).unwrap(), more].concat();
        fs::write(blob.with_extension("part"), whole).unwrap();
        fs::remove_file(blob).unwrap();
        assert_whole(&case.fetch().unwrap());
        let from = if more.is_empty() { 299_999 } else { 0 };
        assert_eq!(case.hub.transfers(), [0, from]);
    }
}

#[test]
fn content_that_does_not_fit_its_hash_is_refused() {
    let case = Case::new();
    case.hub.fail(Faults { corrupt: true, ..Faults::default() });
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(WEIGHTS) && error.to_string().contains("SHA-256"));
    assert_eq!(case.hub.transfers(), [0, 0]);
    // Nothing of it is left to be taken for the model.
    assert!(
        case.blob_names()
            .iter()
            .all(|name| !name.starts_with(char::is_alphabetic) || name.len() != 64)
    );
    let offline = HubConfig { offline: true, ..case.config() };
    assert!(matches!(quietly(&offline).unwrap_err(), HubError::NotCached { .. }));
    case.hub.fail(Faults::default());
    assert_whole(&case.fetch().unwrap());
}

#[test]
fn a_cache_that_was_damaged_is_mended_online_and_refused_offline() {
    let case = Case::new();
    let offline = HubConfig { offline: true, ..case.config() };
    let pointer = case.fetch().unwrap().dir.join(WEIGHTS);
    let damage = || {
        let blob = fs::canonicalize(&pointer).unwrap();
        let mut bytes = fs::read(&blob).unwrap();
        bytes[17] ^= 1;
        fs::write(blob, bytes).unwrap();
    };
    damage();
    assert_whole(&case.fetch().unwrap());
    damage();
    let error = quietly(&offline).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
}

#[test]
fn a_model_in_several_files_is_fetched_whole() {
    let case = Case::new();
    case.hub.remove(WEIGHTS);
    case.hub.put("a.safetensors", b"first");
    case.hub.put("b.safetensors", b"second");
    let index = |second: &str| {
        let index = serde_json::json!({"weight_map": {"x": "a.safetensors", "y": second}});
        case.hub.put("model.safetensors.index.json", index.to_string().as_bytes());
    };
    for stray in ["c.safetensors", "../b.safetensors"] {
        index(stray);
        let error = case.fetch().unwrap_err();
        assert!(matches!(error, HubError::NotAModel { .. }), "{error}");
        assert!(error.to_string().contains(stray), "{error}");
        fs::remove_dir_all(case.dir.path().join("cache")).unwrap();
    }
    index("b.safetensors");
    let snapshot = case.fetch().unwrap();
    for (name, content) in [("a.safetensors", "first"), ("b.safetensors", "second")] {
        assert_eq!(fs::read_to_string(snapshot.dir.join(name)).unwrap(), content);
    }
}

#[test]
fn a_repository_that_is_no_model_is_named_with_what_it_lacks() {
    for missing in ["config.json", "tokenizer.json", WEIGHTS] {
        let case = Case::new();
        case.hub.remove(missing);
        let error = case.fetch().unwrap_err();
        let lacks = if missing == WEIGHTS { "*.safetensors" } else { missing };
        assert!(error.to_string().contains(&format!("lacks {lacks}")), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn what_the_hub_refuses_is_said() {
    let case = Case::new();
    let unknown = HubModel::parse("acme/unknown").unwrap();
    let error = fetch(&unknown, &case.config(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("acme/unknown@main"), "{error}");
    for status in [401, 403] {
        case.hub.fail(Faults { status: Some(status), ..Faults::default() });
        let error = case.fetch().unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert!(error.hint().unwrap().contains("HF_TOKEN"));
        assert_eq!(error.exit_code(), 2);
    }
    case.hub.fail(Faults { status: Some(503), ..Faults::default() });
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    case.hub.fail(Faults { status: Some(418), ..Faults::default() });
    assert!(matches!(case.fetch().unwrap_err(), HubError::Protocol { .. }));
}

#[test]
fn a_token_opens_what_is_closed() {
    let case = Case::new();
    case.hub.fail(Faults { token: Some("hf_right"), ..Faults::default() });
    assert!(matches!(case.fetch().unwrap_err(), HubError::Refused { status: 401, .. }));
    let config = HubConfig { token: Some("hf_right".to_owned()), ..case.config() };
    assert_whole(&quietly(&config).unwrap());
    // Where the hub's own tools keep it.
    fs::remove_dir_all(case.dir.path().join("cache")).unwrap();
    fs::write(case.dir.path().join("token"), "hf_right\n").unwrap();
    assert_whole(&case.fetch().unwrap());
}

#[test]
fn a_complete_cache_serves_where_the_hub_cannot_be_reached() {
    let case = Case::new();
    case.fetch().unwrap();
    let nobody = HubConfig { endpoint: Some("http://127.0.0.1:1".to_owned()), ..case.config() };
    let mut reasons = Vec::new();
    let snapshot = fetch(&model(), &nobody, &mut |note| {
        if let HubNote::FromCache { reason } = note {
            reasons.push(reason.to_owned());
        }
        ControlFlow::Continue(())
    });
    assert_whole(&snapshot.unwrap());
    assert_eq!(reasons.len(), 1);
    let folder = case.dir.path().join("cache/models--acme--tiny/snapshots").join(COMMIT);
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    assert!(matches!(quietly(&nobody).unwrap_err(), HubError::Unreachable { .. }));
    let offline = HubConfig { offline: true, ..nobody };
    let error = quietly(&offline).unwrap_err();
    assert!(matches!(error, HubError::NotCached { .. }), "{error}");
    assert!(error.hint().unwrap().contains("HF_HUB_OFFLINE"));
}

#[test]
fn a_transfer_that_hangs_or_is_to_stop_ends() {
    let case = Case::new();
    case.hub.fail(Faults { stall: true, ..Faults::default() });
    let mut looks = 0;
    let error = fetch(&model(), &case.config(), &mut |note| {
        let hanging = matches!(note, HubNote::Fetching { file: WEIGHTS, .. });
        looks += usize::from(hanging);
        if looks > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(error.unwrap_err(), HubError::Stopped { .. }));
    let case = Case::new();
    case.hub.fail(Faults { stall: true, ..Faults::default() });
    let impatient = HubConfig { stall: Duration::from_millis(300), ..case.config() };
    let error = quietly(&impatient).unwrap_err();
    assert!(matches!(error, HubError::Stalled { .. }), "{error}");
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let case = Case::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(|| case.fetch().unwrap())).collect();
        all.into_iter().for_each(|one| assert_whole(&one.join().unwrap()));
    });
    assert_eq!(case.hub.transfers(), [0]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let case = Case::new();
    fs::write(case.dir.path().join("cache"), "a file").unwrap();
    let error = case.fetch().unwrap_err();
    assert!(matches!(error, HubError::Cache { .. }), "{error}");
    assert!(error.hint().unwrap().contains("HF_HOME"));
    let none = HubConfig { cache: None, ..case.config() };
    assert!(matches!(quietly(&none).unwrap_err(), HubError::NoCache { .. }));
}

#[test]
fn a_home_that_was_begun_with_a_name_does_not_ask_again() {
    let case = Case::new();
    let home = case.dir.path().join("home");
    let registry = Registry::open(&Home::new(&home)).unwrap();
    let ensure =
        |model: &str| registry.ensure_model(Some(Path::new(model)), &case.config(), &|| false);
    assert_eq!(ensure(MODEL).unwrap(), Version::BASE);
    let there = fs::read(registry.dir(Version::BASE).join(WEIGHTS)).unwrap();
    assert_eq!(there, files()[WEIGHTS]);
    fs::remove_dir_all(case.dir.path().join("cache")).unwrap();
    case.hub.fail(Faults { status: Some(404), ..Faults::default() });
    assert_eq!(ensure(MODEL).unwrap(), Version::BASE);
    assert!(matches!(ensure("acme/other").unwrap_err(), WeightsError::Hub(_)));
    case.hub.fail(Faults::default());
    case.hub.put(WEIGHTS, b"other weights");
    let pinned = format!("{MODEL}@{COMMIT}");
    assert!(matches!(ensure(&pinned).unwrap_err(), WeightsError::OtherBase { .. }));
}

#[test]
fn a_directory_goes_before_a_name() {
    let case = Case::new();
    let dir = case.dir.path().join("acme");
    fs::create_dir(&dir).unwrap();
    assert_eq!(HubModel::named_by(&dir), None);
    assert_eq!(HubModel::named_by(Path::new("testdata/model")), None);
    assert_eq!(HubModel::named_by(Path::new(MODEL)), Some(model()));
    assert_eq!(HubModel::named_by(Path::new("./acme/tiny")), None);
}

#[test]
fn the_program_takes_a_name_and_heeds_the_variables() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    };
    let hub = Hub::start(fs::read_dir(model).unwrap().map(read).collect());
    hub.fail(Faults { token: Some("hf_right"), ..Faults::default() });
    let dir = tempfile::tempdir().unwrap();
    let run = |token: &str| {
        command(&dir.path().join("home"), &["train", "--model", MODEL])
            .env("HF_ENDPOINT", hub.url())
            .env("HF_HOME", dir.path().join("hf"))
            .env("HF_TOKEN", token)
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_HUB_OFFLINE")
            .output()
            .unwrap()
    };
    let refused = run("hf_wrong");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(MODEL) && stderr.contains("hint") && !stderr.contains("hf_wrong"));
    let output = run("hf_right");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(last_json(&output.stdout)["version"], 0);
    assert!(stderr.contains("model.safetensors is there"), "{stderr}");
    assert!(dir.path().join("hf/hub/models--acme--tiny").is_dir());
}
