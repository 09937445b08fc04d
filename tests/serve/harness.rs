//! A server on a free port of the loopback, and a client for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openclaw_rl::config::{Home, ServeConfig};
use openclaw_rl::engine::Forward;
use openclaw_rl::engine::fake::{Fake, Habit};
use openclaw_rl::fault::Explain;
use openclaw_rl::render::Renderer;
use openclaw_rl::rollout::{Feedback, Turn};
use openclaw_rl::stage::inspect::StatusTail;
use openclaw_rl::stage::serve::{
    self, LoadError, Loaded, Parts, ServeError, ServeSummary, Sources,
};
use openclaw_rl::store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const VOCAB: usize = 4096;
pub const CONTEXT: usize = 2048;

/// Nothing here takes this long unless it hangs.
pub const LONG: Duration = Duration::from_secs(30);

/// Loads a version's directory.
pub type Load = Arc<dyn Fn(&Path) -> Result<Loaded<Fake>, LoadError> + Send + Sync>;

pub struct Running {
    pub base: String,
    pub home: tempfile::TempDir,
    pub client: reqwest::Client,
    pub shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<Result<ServeSummary, ServeError>>>,
}

pub fn config() -> ServeConfig {
    ServeConfig { port: 0, ..ServeConfig::default() }
}

pub fn renderer() -> Renderer {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
    Renderer::open(&dir).expect("the embedded model renders")
}

/// A model that answers `text` and ends its turn.
pub fn says(text: &str) -> Fake {
    Fake::new(VOCAB, CONTEXT, Habit::Script(script(text)))
}

/// The ids of `text` and of the end of the turn.
pub fn script(text: &str) -> Vec<u32> {
    let renderer = renderer();
    let mut ids = renderer.encode(text).expect("text has ids");
    ids.extend(renderer.encode("<|im_end|>").expect("the end has an id"));
    ids
}

/// A model whose logits depend on every token.
pub fn hashes(salt: u64) -> Fake {
    Fake::new(VOCAB, CONTEXT, Habit::Hash(salt))
}

pub fn always(fake: Fake) -> Load {
    Arc::new(move |_: &Path| Ok(fake.clone().into()))
}

/// An adapter answers with the name of its directory; `broken…` cannot be loaded.
pub fn attach() -> Arc<serve::Attach<Fake>> {
    Arc::new(|_: &Fake, dir: &Path| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.starts_with("broken") {
            true => {
                Err(LoadError { message: "adapter_config.json: no `r`".to_owned(), hint: None })
            }
            false => Ok(says(&name).into()),
        }
    })
}

pub async fn start(fake: Fake) -> Running {
    start_with(config(), always(fake)).await
}

pub async fn start_with(config: ServeConfig, load: Load) -> Running {
    start_parts(config, |sources| Parts { load, attach: attach(), sources }).await
}

pub async fn start_parts<F: Forward>(
    config: ServeConfig,
    parts: impl FnOnce(Sources) -> Parts<F>,
) -> Running {
    start_in(tempfile::tempdir().expect("a home"), config, parts).await
}

/// The same in a home that may hold something already.
pub async fn start_in<F: Forward>(
    home: tempfile::TempDir,
    config: ServeConfig,
    parts: impl FnOnce(Sources) -> Parts<F>,
) -> Running {
    let (ready, address) = tokio::sync::oneshot::channel();
    let shutdown = CancellationToken::new();
    let (stop, root) = (shutdown.clone(), Home::new(home.path()));
    let parts = parts(sources(&root));
    let task = tokio::spawn(async move { serve::run(&config, &root, parts, stop, ready).await });
    let address = tokio::time::timeout(LONG, address).await.expect("ready in time");
    let base = match address {
        Ok(address) => format!("http://{address}"),
        Err(_) => match task.await.expect("no panic") {
            Err(error) => panic!("not started: {error} ({:?})", error.hint()),
            Ok(_) => panic!("ended"),
        },
    };
    // The client insists on one, also for plain HTTP; another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(LONG).build().expect("a client");
    Running { base, home, client, shutdown, task: Some(task) }
}

/// What is known of a home.
pub fn sources(home: &Home) -> Sources {
    let root = home.clone();
    let status = move || {
        let turns = Store::open(&root).and_then(|store| store.read_all::<Turn>());
        json!({"turns": turns.map(|turns| turns.len()).unwrap_or_default(), "steps": 0})
    };
    let tail = Mutex::new(StatusTail::new(home).expect("a readable home"));
    let turns = move |turn| {
        let standing = tail.lock().expect("no panic").standing(turn)?;
        Some(serde_json::to_value(standing).expect("JSON"))
    };
    Sources { status: Arc::new(status), turns: Arc::new(turns) }
}

impl Running {
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.expect("an answer")
    }

    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        request.send().await.expect("an answer")
    }

    pub async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("JSON")
    }

    pub async fn chat(&self, body: &Value) -> reqwest::Response {
        self.post("/v1/chat/completions", body).await
    }

    /// A whole reply.
    pub async fn plain(&self, body: &Value) -> Value {
        let response = self.chat(body).await;
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap_or_default());
        response.json().await.expect("JSON")
    }

    /// The data of every event of a streamed reply, and whether `[DONE]` came last.
    pub async fn events(&self, body: &Value) -> (Vec<Value>, bool) {
        let mut body = body.clone();
        body["stream"] = true.into();
        let response = self.chat(&body).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        events(&response.text().await.expect("a body"))
    }

    pub fn home(&self) -> Home {
        Home::new(self.home.path())
    }

    pub fn feedback(&self) -> Vec<Feedback> {
        let store = Store::open(&self.home()).expect("a store");
        store.read_all().expect("readable feedback")
    }

    pub fn turns(&self) -> Vec<Turn> {
        let store = Store::open(&self.home()).expect("a store");
        store.read_all().expect("readable turns")
    }

    /// Waits until that many turns are recorded.
    pub async fn wait_for_turns(&self, count: usize) -> Vec<Turn> {
        for _ in 0..600 {
            let turns = self.turns();
            if turns.len() >= count {
                return turns;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} of {count} turns were recorded", self.turns().len());
    }

    /// A directory beside the registry that holds what a version holds.
    pub fn version_dir(&self, name: &str) -> PathBuf {
        let dir = self.home.path().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model");
        std::fs::copy(model.join("tokenizer.json"), dir.join("tokenizer.json")).expect("a copy");
        dir
    }

    pub async fn stop(&mut self) -> ServeSummary {
        self.shutdown.cancel();
        let task = self.task.take().expect("stopped once");
        let ended = tokio::time::timeout(LONG, task).await.expect("ends in time");
        ended.expect("no panic").expect("no error")
    }
}

/// The data of every event, and whether `[DONE]` came last.
pub fn events(text: &str) -> (Vec<Value>, bool) {
    let mut data: Vec<&str> = text
        .split("\n\n")
        .filter(|frame| !frame.is_empty())
        .map(|frame| frame.strip_prefix("data: ").expect("an event's data"))
        .collect();
    let done = data.last() == Some(&"[DONE]");
    if done {
        data.pop();
    }
    (data.iter().map(|data| serde_json::from_str(data).expect("JSON")).collect(), done)
}

/// The text of a kind of delta, of all events.
pub fn text(events: &[Value], kind: &str) -> String {
    let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"][kind].as_str());
    deltas.collect()
}

pub fn ask(content: &str) -> Value {
    json!({"model": "any", "messages": [{"role": "user", "content": content}]})
}

/// `body` with more fields.
pub fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(body_map), Value::Object(more)) = (&mut body, more) else {
        panic!("two objects")
    };
    body_map.extend(more);
    body
}
