//! Servers of straw, and a home whose versions they are told to serve.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use openclaw_rl::config::{DeployConfig, Home};
use openclaw_rl::rollout::{Deployment, Version};
use openclaw_rl::stage::deploy::{Action, DeployError, DeploySummary, act, run};
use openclaw_rl::store::Store;
use openclaw_rl::weights::{Base, NewVersion, Registry};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What a server of straw was told, and how it answers.
#[derive(Default)]
pub struct Straw {
    pub version: String,
    updates: Vec<(String, String)>,
    refusals: usize,
    pub key: Option<String>,
    /// The checksum that it shows after each update, and whether it shows one; a straw server
    /// reads nothing.
    pub shows: Vec<String>,
    pub sha256: Option<String>,
}

pub struct Server {
    pub url: String,
    pub straw: Arc<Mutex<Straw>>,
    /// The server ends with this.
    _task: tokio::task::JoinSet<()>,
}

impl Server {
    pub async fn start(version: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, version)
    }

    pub fn on(listener: tokio::net::TcpListener, version: &str) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let straw = Straw { version: version.to_owned(), ..Straw::default() };
        let straw = Arc::new(Mutex::new(straw));
        let router = Router::new()
            .route("/model_info", get(model_info))
            .route("/update_weights_from_disk", post(update))
            .with_state(Arc::clone(&straw));
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, straw, _task: task }
    }

    pub fn serves(&self) -> String {
        self.straw.lock().unwrap().version.clone()
    }

    pub fn updates(&self) -> usize {
        self.straw.lock().unwrap().updates.len()
    }

    pub fn refuse(&self, times: usize) {
        self.straw.lock().unwrap().refusals = times;
    }
}

type Shared = State<Arc<Mutex<Straw>>>;

async fn model_info(State(straw): Shared) -> Json<Value> {
    let straw = straw.lock().unwrap();
    let mut info = json!({ "weight_version": straw.version, "model_path": "x" });
    if let Some(sha256) = &straw.sha256 {
        info["weights_sha256"] = sha256.as_str().into();
    }
    Json(info)
}

async fn update(
    State(straw): Shared,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut straw = straw.lock().unwrap();
    let given = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if straw.key.as_ref().is_some_and(|key| given != Some(format!("Bearer {key}"))) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": "no key" })));
    }
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    let (path, version) = (text("model_path"), text("weight_version"));
    assert!(Path::new(&path).is_absolute());
    straw.updates.push((path, version.clone()));
    if straw.refusals > 0 {
        straw.refusals -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "busy" })));
    }
    straw.version = version.clone();
    if !straw.shows.is_empty() {
        straw.sha256 = Some(straw.shows.remove(0));
    }
    let body = json!({ "success": true, "message": "", "weight_version": version });
    (StatusCode::OK, Json(body))
}

/// A home with the golden model as version 0.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub home: Home,
    pub registry: Registry,
}

impl Fixture {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/golden-a/model");
        std::fs::create_dir(&base).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(golden.join(name), base.join(name)).unwrap();
        }
        std::fs::write(base.join("tokenizer.json"), "{}").unwrap();
        let home = Home::new(dir.path().join("home"));
        let registry = Registry::open(&home).unwrap();
        registry.ensure_base(Base::Directory(&base)).unwrap();
        Self { dir, home, registry }
    }

    /// Publishes a version on the head; `spoil` sees the bytes of its weights.
    pub fn publish(&self, spoil: impl FnOnce(&mut Vec<u8>)) -> Version {
        let parent = self.registry.head().unwrap();
        let draft = self.registry.draft().unwrap();
        draft.copy_sidecars(&self.registry.dir(parent)).unwrap();
        let mut bytes = std::fs::read(self.dir.path().join("base/model.safetensors")).unwrap();
        spoil(&mut bytes);
        std::fs::write(draft.dir().join("model.safetensors"), bytes).unwrap();
        self.registry.publish(draft, NewVersion { parent, step: None }).unwrap()
    }

    pub fn versions(&self, count: usize) {
        for _ in 0..count {
            self.publish(|_| {});
        }
    }

    pub fn config(&self, servers: &[&Server]) -> DeployConfig {
        DeployConfig {
            server: servers.iter().map(|server| server.url.clone()).collect(),
            poll_ms: 10,
            tries: 2,
            timeout_s: 10,
            ..DeployConfig::default()
        }
    }

    pub async fn deploy(&self, config: &DeployConfig) -> Result<DeploySummary, DeployError> {
        run(config, &self.home, CancellationToken::new()).await
    }

    pub async fn act(&self, server: &Server, action: Action) -> Result<DeploySummary, DeployError> {
        act(&self.config(&[server]), &self.home, &action, CancellationToken::new()).await
    }

    pub fn live(&self) -> Version {
        self.registry.state().unwrap().live
    }

    pub fn rows(&self) -> Vec<Deployment> {
        let mut rows: Vec<Deployment> = Store::open(&self.home).unwrap().read_all().unwrap();
        rows.sort_by_key(|row| row.deployed_at_us);
        rows
    }
}
