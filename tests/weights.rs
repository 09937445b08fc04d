//! The registry on a real directory: publishing, lineage, damage, and processes side by side.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use burn::tensor::Device;
use openclaw_rl::config::Home;
use openclaw_rl::fault::Explain;
use openclaw_rl::model::{
    Adapter, Causal, Decoder, LoraSettings, ModelConfig, Parameter, Parameters,
};
use openclaw_rl::rollout::{
    RejectedTurn, Rejection, Step, TrainedTurn, TrainingSignal, TurnId, Version,
};
use openclaw_rl::weights::{Base, NewVersion, Registry, WeightsError};

fn open() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&Home::new(dir.path())).unwrap();
    (dir, registry)
}

/// A registry with a small base of version 0.
fn begun() -> (tempfile::TempDir, Registry) {
    let (dir, registry) = open();
    let model = model(&dir.path().join("model"), "a");
    registry.ensure_base(Base::Directory(&model)).unwrap();
    (dir, registry)
}

fn model(dir: &Path, content: &str) -> std::path::PathBuf {
    fs::create_dir_all(dir).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::write(dir.join(name), format!("{name} {content}")).unwrap();
    }
    dir.to_owned()
}

fn step() -> Step {
    Step {
        version: None,
        parent: Version::BASE,
        method: "combine".to_owned(),
        trained: vec![TrainedTurn {
            turn_id: TurnId(7),
            signal: TrainingSignal::Both,
            reward: 0.1,
            tokens: 12,
        }],
        rejected: vec![RejectedTurn { turn_id: TurnId(8), reason: Rejection::Stale, revision: 0 }],
        metrics: vec![
            ("loss".to_owned(), 0.1 + 0.2),
            ("third".to_owned(), 1.0 / 3.0),
            ("digits".to_owned(), 5_708_990_770_823_839_524_233_143.877_797_980_545_530_986_496),
            ("zero".to_owned(), -0.0),
            ("grad_norm".to_owned(), f64::INFINITY),
            ("tiny".to_owned(), -4.9e-324),
        ],
        detail: String::new(),
        finished_at_us: 1,
    }
}

fn publish(registry: &Registry, parent: u64) -> Result<Version, WeightsError> {
    let draft = registry.draft()?;
    fs::write(draft.dir().join("model.safetensors"), format!("built on {parent}")).unwrap();
    registry.publish(draft, NewVersion { parent: Version(parent), step: Some(step()) })
}

fn numbers(versions: impl IntoIterator<Item = Version>) -> Vec<u64> {
    versions.into_iter().map(|version| version.0).collect()
}

#[test]
fn the_base_is_published_once_and_checked_afterwards() {
    let (dir, registry) = open();
    assert!(registry.versions().unwrap().is_empty());
    assert!(matches!(registry.head(), Err(WeightsError::NoVersion { .. })));
    let a = model(&dir.path().join("a"), "a");
    fs::write(a.join("README.md"), "not a part of the model").unwrap();
    for _ in 0..3 {
        assert_eq!(registry.ensure_base(Base::Directory(&a)).unwrap(), Version::BASE);
    }
    let manifest = registry.verify(Version::BASE).unwrap();
    assert_eq!((manifest.parent, &manifest.step), (None, &None));
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);

    let copy = model(&dir.path().join("copy"), "a");
    registry.ensure_base(Base::Directory(&copy)).unwrap();
    registry.ensure_base(Base::Default).unwrap();
    let b = model(&dir.path().join("b"), "b");
    let error = registry.ensure_base(Base::Directory(&b)).unwrap_err();
    let WeightsError::OtherBase { there, asked, .. } = &error else { panic!("{error}") };
    assert_eq!(there, &manifest.base_sha256);
    assert!(error.to_string().contains(there) && error.to_string().contains(asked), "{error}");
    assert!(error.hint().unwrap().contains("--home"));
    assert_eq!(error.exit_code(), 2);

    // The directory that was known changes its content: the memory of it does not hide that.
    fs::write(a.join("model.safetensors"), "model.safetensors A").unwrap();
    let error = registry.ensure_base(Base::Directory(&a)).unwrap_err();
    assert!(matches!(error, WeightsError::OtherBase { .. }), "{error}");
}

#[test]
fn the_embedded_model_is_a_base() {
    let (_dir, registry) = open();
    registry.ensure_base(Base::Default).unwrap();
    registry.ensure_base(Base::Embedded).unwrap();
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
    registry.ensure_base(Base::Directory(&testdata)).unwrap();
    assert_eq!(registry.verify(Version::BASE).unwrap().files.len(), 6);
}

#[test]
fn a_directory_that_is_no_model_is_named() {
    let (dir, registry) = open();
    let refused = |path: &Path, what: &str| {
        let error = registry.ensure_base(Base::Directory(path)).unwrap_err();
        assert!(matches!(error, WeightsError::NotAModel { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains(what), "{text}");
        assert_eq!(error.exit_code(), 2);
    };
    refused(&dir.path().join("nowhere"), "does not exist");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file, "is not a directory");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = model(&dir.path().join(name), "a");
        fs::remove_file(path.join(name)).unwrap();
        refused(&path, if name.starts_with("model") { "*.safetensors" } else { name });
    }
    let path = model(&dir.path().join("shards"), "a");
    let index = r#"{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}"#;
    fs::write(path.join("model.safetensors.index.json"), index).unwrap();
    refused(&path, "model-2.safetensors");
    assert!(registry.versions().unwrap().is_empty());
    assert_eq!(drafts(&registry), 0);
}

fn drafts(registry: &Registry) -> usize {
    let names = fs::read_dir(registry.root()).unwrap();
    names.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().contains("draft")).count()
}

#[test]
fn the_manifest_tells_the_step_exactly() {
    let (_dir, registry) = begun();
    let version = publish(&registry, 0).unwrap();
    let manifest = registry.manifest(version).unwrap();
    let expected = Step { version: Some(version), parent: Version::BASE, ..step() };
    assert_eq!(manifest.step, Some(expected));
    assert_eq!(manifest.parent, Some(Version::BASE));
    assert_eq!(manifest.base_sha256, registry.manifest(Version::BASE).unwrap().base_sha256);
    assert!(registry.dir(version).ends_with("v0000000001"));
}

#[test]
fn a_draft_that_is_dropped_at_any_stage_leaves_no_version() {
    let (_dir, registry) = begun();
    drop(registry.draft().unwrap());
    let draft = registry.draft().unwrap();
    fs::write(draft.dir().join("model.safetensors"), "half").unwrap();
    // What a killed process leaves: the directory, with or without a manifest in it.
    let left = registry.root().join(".draft-killed");
    fs::create_dir(&left).unwrap();
    fs::copy(registry.dir(Version::BASE).join("manifest.json"), left.join("manifest.json"))
        .unwrap();
    fs::create_dir(registry.dir(Version(5))).unwrap();
    assert_eq!(numbers(registry.versions().unwrap()), [0]);
    assert_eq!(registry.head().unwrap(), Version::BASE);
    drop(draft);
    assert_eq!(drafts(&registry), 1);
    assert_eq!(publish(&registry, 0).unwrap(), Version(6), "a taken number is left alone");
    assert_eq!(numbers(registry.versions().unwrap()), [0, 6]);
}

#[test]
fn only_old_leftovers_are_cleaned_away() {
    let (dir, registry) = begun();
    let left = registry.root().join(".draft-killed");
    fs::create_dir(&left).unwrap();
    let reopen = || Registry::open(&Home::new(dir.path())).unwrap();
    reopen();
    assert!(left.is_dir(), "it may belong to a process that is at work");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    fs::File::open(&left).unwrap().set_modified(old).unwrap();
    reopen();
    assert!(!left.exists());
    assert_eq!(numbers(registry.versions().unwrap()), [0]);
}

#[test]
fn damage_is_detected() {
    let (_dir, registry) = begun();
    let version = publish(&registry, 0).unwrap();
    let file = registry.dir(version).join("model.safetensors");
    let whole = fs::read(&file).unwrap();
    let damaged = |what: &str| {
        let error = registry.verify(version).unwrap_err();
        assert!(matches!(error, WeightsError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.hint().unwrap().contains("deploy"));
    };
    let mut tampered = whole.clone();
    tampered[3] ^= 1;
    fs::write(&file, &tampered).unwrap();
    damaged("SHA-256");
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    damaged("bytes");
    fs::remove_file(&file).unwrap();
    damaged("missing");
    fs::write(&file, &whole).unwrap();
    registry.verify(version).unwrap();
}

#[test]
fn an_unusable_manifest_is_named_and_can_be_refused() {
    let (dir, registry) = begun();
    publish(&registry, 0).unwrap();
    let path = registry.dir(Version(1)).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let cases = [
        (text[..text.len() / 2].to_owned(), "EOF"),
        (text.replace("\"schema_version\": 1", "\"schema_version\": 2"), "version 2"),
        (text.replace("\"version\": 1", "\"version\": 9"), "version 9"),
        (text.replace("\"model.safetensors\"", "\"../../etc/passwd\""), "leads out"),
        (text.replace("\"parent\": 0", "\"parent\": 1"), "parent"),
        (text.replace("\"stale\"", "\"odd\""), "odd"),
    ];
    for (text, what) in cases {
        fs::write(&path, text).unwrap();
        let registry = Registry::open(&Home::new(dir.path())).unwrap();
        let error = registry.head().unwrap_err();
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains(what), "{message}");
        assert!(error.hint().is_some());
    }
    let registry = Registry::open(&Home::new(dir.path())).unwrap();
    assert_eq!(numbers(registry.refuse(Version(1)).unwrap()), [1]);
    assert_eq!(registry.head().unwrap(), Version::BASE);
}

#[test]
fn what_is_built_on_something_else_than_the_head_is_not_published() {
    let (_dir, registry) = begun();
    publish(&registry, 0).unwrap();
    let error = publish(&registry, 0).unwrap_err();
    assert!(matches!(error, WeightsError::NotOnHead { .. }), "{error}");
    assert!(matches!(publish(&registry, 9), Err(WeightsError::NoVersion { .. })));
    assert_eq!(drafts(&registry), 0);
}

#[test]
fn rolling_back_retires_what_the_old_version_was_not_built_on() {
    let (_dir, registry) = begun();
    for parent in 0..4 {
        publish(&registry, parent).unwrap();
        registry.set_live(Version(parent + 1)).unwrap();
    }
    let state = registry.state().unwrap();
    assert_eq!((state.live, state.head), (Version(4), Version(4)));
    assert_eq!(numbers(registry.roll_back(Version(2)).unwrap()), [3, 4]);
    let state = registry.state().unwrap();
    assert_eq!((state.live, state.head), (Version(2), Version(2)));
    assert_eq!(numbers(state.dead), [3, 4]);

    // A dead branch is never built on nor made live; numbers are not used again.
    assert!(matches!(publish(&registry, 4), Err(WeightsError::Dead { .. })));
    assert!(matches!(registry.set_live(Version(3)), Err(WeightsError::Dead { .. })));
    assert!(matches!(registry.roll_back(Version(4)), Err(WeightsError::Dead { .. })));
    assert_eq!(publish(&registry, 2).unwrap(), Version(5));
    assert_eq!(numbers(registry.lineage(Version(5)).unwrap()), [5, 2, 1, 0]);
    assert_eq!(registry.head().unwrap(), Version(5));
    assert_eq!(numbers(registry.roll_back(Version(1)).unwrap()), [2, 5], "the dead die once");
    assert_eq!(registry.head().unwrap(), Version(1));
}

#[test]
fn refusing_retires_what_was_built_on_it() {
    let (_dir, registry) = begun();
    for parent in 0..3 {
        publish(&registry, parent).unwrap();
    }
    registry.set_live(Version(1)).unwrap();
    for (version, what) in [(0, "base"), (1, "live")] {
        let error = registry.refuse(Version(version)).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(numbers(registry.refuse(Version(2)).unwrap()), [2, 3]);
    assert_eq!(registry.head().unwrap(), Version(1));
    assert!(registry.refuse(Version(2)).unwrap().is_empty());
    assert!(matches!(registry.refuse(Version(9)), Err(WeightsError::NoVersion { .. })));
}

#[test]
fn a_broken_state_is_named() {
    let (_dir, registry) = begun();
    let path = registry.root().join("state.json");
    for text in ["", "{", "{}", r#"{"schema_version":9,"live":0,"dead":[]}"#] {
        fs::write(&path, text).unwrap();
        let error = registry.state().unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(matches!(registry.set_live(Version(0)), Err(WeightsError::State { .. })));
    }
    fs::write(&path, r#"{"schema_version":1,"live":7,"dead":[]}"#).unwrap();
    assert!(matches!(registry.state(), Err(WeightsError::NoVersion { .. })));
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("home");
    fs::write(&file, "").unwrap();
    let error = Registry::open(&Home::new(&file)).unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    assert_eq!(error.exit_code(), 2);
    assert!(error.hint().unwrap().contains("--home"));
}

/// Publishes on the head until it succeeded `count` times, whoever else does so.
fn publish_some(registry: &Registry, count: usize) -> Vec<Version> {
    let mut made = Vec::new();
    while made.len() < count {
        match publish(registry, registry.head().unwrap().0) {
            Ok(version) => made.push(version),
            Err(WeightsError::NotOnHead { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    made
}

#[test]
fn threads_that_publish_get_different_numbers() {
    let (dir, _registry) = open();
    let home = Home::new(dir.path().join("fresh"));
    let made: Vec<Version> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let registry = Registry::open(&home).unwrap();
                    registry.ensure_base(Base::Embedded).unwrap();
                    publish_some(&registry, 5)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: BTreeSet<Version> = made.iter().copied().collect();
    assert_eq!(numbers(distinct), (1..=20).collect::<Vec<_>>());
    let registry = Registry::open(&home).unwrap();
    assert_eq!(registry.lineage(Version(20)).unwrap().len(), 21);
    assert_eq!(drafts(&registry), 0);
}

const CHILD_HOME: &str = "OPENCLAW_RL_TEST_PUBLISH_IN";

/// Not a test of its own: the process that the next test kills.
#[test]
fn child_publishes_until_it_is_killed() {
    let Some(home) = std::env::var_os(CHILD_HOME) else { return };
    let registry = Registry::open(&Home::new(home)).unwrap();
    publish_some(&registry, 10_000);
}

#[test]
fn a_killed_process_leaves_whole_versions_only() {
    let (dir, registry) = begun();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "weights::child_publishes_until_it_is_killed"])
            .env(CHILD_HOME, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    for round in 1..=4 {
        let mut children = [child(), child()];
        let enough = registry.versions().unwrap().len() + 3 * round;
        while registry.versions().unwrap().len() < enough {
            assert!(children.iter_mut().all(|child| child.try_wait().unwrap().is_none()));
            std::thread::yield_now();
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        for version in registry.versions().unwrap() {
            registry.verify(version).unwrap();
        }
        let head = registry.head().unwrap();
        assert_eq!(publish(&registry, head.0).unwrap(), Version(head.0 + 1));
    }
}

/// A registry with the golden model, an adapter of it as version 1, and one of that as version 2.
fn adapted() -> (tempfile::TempDir, Registry) {
    let (dir, registry) = open();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
    let model = dir.path().join("model");
    fs::create_dir_all(&model).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(name), model.join(name)).unwrap();
    }
    fs::write(model.join("tokenizer.json"), "{}").unwrap();
    registry.ensure_base(Base::Directory(&model)).unwrap();
    for version in 1..=2_u64 {
        let draft = registry.draft().unwrap();
        draft.copy_sidecars(&registry.dir(Version::BASE)).unwrap();
        adapter(&registry.dir(Version::BASE), version as f32).save(draft.dir(), None).unwrap();
        names_base(draft.dir(), "../v0000000000");
        fs::write(draft.dir().join("optimizer.safetensors"), "moments").unwrap();
        let new = NewVersion { parent: Version(version - 1), step: None };
        registry.publish(draft, new).unwrap();
    }
    (dir, registry)
}

/// An adapter of the first layer's queries whose every half is `value`.
fn adapter(base: &Path, value: f32) -> Adapter {
    let config = ModelConfig::load(&base.join("config.json")).unwrap();
    let settings = LoraSettings { rank: 2, alpha: 2.0, rank_stabilized: false };
    let mut halves = Parameters::new();
    let (inputs, outputs) = (config.hidden_size, config.heads * config.head_dim);
    for (half, shape) in [("A", vec![2, inputs]), ("B", vec![outputs, 2])] {
        let name = format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight");
        let values = vec![value; shape.iter().product()];
        halves.insert(name, Parameter::from_values(shape, values, &Device::flex()));
    }
    Adapter::from_parameters(settings, &halves, &config).unwrap()
}

fn names_base(dir: &Path, base: &str) {
    let path = dir.join("adapter_config.json");
    let mut settings: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    settings["base_model_name_or_path"] = base.into();
    fs::write(path, settings.to_string()).unwrap();
}

fn logits(decoder: &Decoder) -> Vec<f32> {
    let hidden = decoder.hidden(&[1, 2, 3], &[0, 1, 2], &mut Causal::default());
    decoder.logits(hidden).try_into_vec_as().unwrap()
}

#[test]
fn an_adapter_version_is_its_base_and_the_adapter() {
    let (_dir, registry) = adapted();
    let device = Device::flex();
    let base = Decoder::load(&registry.dir(Version::BASE), &device).unwrap();
    let first = Decoder::load(&registry.dir(Version(1)), &device).unwrap();
    let expected = base.with_adapter(&adapter(&registry.dir(Version::BASE), 1.0)).unwrap();
    assert_eq!(logits(&first), logits(&expected));
    assert_ne!(logits(&first), logits(&base));
    assert_eq!(registry.base_of(Version::BASE).unwrap(), None);
    assert_eq!(registry.base_of(Version(2)).unwrap(), Some(Version::BASE));
}

#[test]
fn what_is_read_has_the_hash_that_the_manifests_give() {
    let (_dir, registry) = adapted();
    let device = Device::flex();
    let (base, whole) = Decoder::read(&registry.dir(Version::BASE), &device).unwrap();
    assert_eq!(whole.sha256().unwrap(), registry.weights_sha256(Version::BASE).unwrap());
    for version in [1, 2].map(Version) {
        let (_, own) = Adapter::read(&registry.dir(version), base.config(), &device).unwrap();
        let served = own.on(&whole).sha256().unwrap();
        assert_eq!(served, registry.weights_sha256(version).unwrap());
    }
    let of = |version| registry.weights_sha256(Version(version)).unwrap();
    assert!(of(0) != of(1) && of(1) != of(2));
    // what a server would read now is no longer what was published
    let path = registry.dir(Version::BASE).join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, other) = Decoder::read(&registry.dir(Version::BASE), &device).unwrap();
    assert_ne!(other.sha256().unwrap(), of(0));
}

#[test]
fn an_adapter_of_anything_else_is_refused_by_name() {
    let (dir, registry) = adapted();
    let version = Version(2);
    for (base, said) in [
        ("../v0000000001", "which is an adapter itself"),
        ("../v0000000007", "which holds no weights"),
        ("", "without base_model_name_or_path"),
    ] {
        names_base(&registry.dir(version), base);
        let error = Decoder::load(&registry.dir(version), &Device::flex()).unwrap_err();
        assert_eq!((error.label(), error.exit_code()), ("model_base", 2));
        assert!(error.to_string().contains(said), "{error}");
        assert!(registry.base_of(version).is_err());
    }
    // weights from elsewhere are none of this lineage
    names_base(&registry.dir(version), dir.path().join("model").to_str().unwrap());
    assert!(Decoder::load(&registry.dir(version), &Device::flex()).is_ok());
    let error = registry.base_of(version).unwrap_err().to_string();
    assert!(error.contains("no older version"), "{error}");
}

#[test]
fn pins_and_approvals_are_kept_and_older_states_open() {
    let (dir, registry) = begun();
    for parent in 0..3 {
        publish(&registry, parent).unwrap();
    }
    let path = dir.path().join("weights/state.json");
    fs::write(&path, r#"{"schema_version": 1, "live": 1, "dead": []}"#).unwrap();
    let state = registry.state().unwrap();
    assert_eq!((state.live, state.pinned, state.approved.len()), (Version(1), None, 0));
    registry.approve(Version(3)).unwrap();
    registry.pin(Version(2)).unwrap();
    let state = registry.state().unwrap();
    assert_eq!((state.live, state.pinned), (Version(2), Some(Version(2))));
    assert_eq!((state.head, numbers(state.approved)), (Version(3), vec![3]));
    registry.refuse(Version(3)).unwrap();
    for refused in [registry.pin(Version(3)), registry.approve(Version(3))] {
        assert!(matches!(refused, Err(WeightsError::Dead { version: Version(3) })));
    }
    assert!(matches!(registry.pin(Version(9)), Err(WeightsError::NoVersion { .. })));
    assert_eq!(registry.unpin().unwrap(), Some(Version(2)));
    assert_eq!(registry.unpin().unwrap(), None);
    // what is pinned and dies is pinned no longer
    registry.pin(Version(2)).unwrap();
    registry.roll_back(Version(1)).unwrap();
    assert_eq!(registry.state().unwrap().pinned, None);
}
