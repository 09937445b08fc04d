//! The `serve` stage: answers requests, records turns, and never stops for a change of weights.
//!
//! [`run`] opens the registry, loads the live version and listens. A request is rendered, given to
//! the engine, and its reply told piece by piece by a task of its own (`reply`); before the last
//! piece the turn is durable (`record`). Weights change by `POST /update_weights_from_disk`: they
//! are loaded beside the live ones, and the engine takes them between two steps.

mod admin;
mod asker;
mod bodies;
mod chat;
mod choices;
mod command;
mod completions;
mod conversation;
mod defaults;
mod doors;
mod draw;
mod drawn;
mod errors;
mod feedback;
mod generate;
mod grammar;
mod info;
mod listen;
mod messages;
mod metrics;
mod opted_out;
mod prompt;
mod record;
mod replies;
mod reply;
mod router;
mod served;
mod state;
mod stop;
mod stream;
mod tally;
mod tokenize;
mod training;
mod weights;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use doors::Access;
pub use errors::{LoadError, ServeError};
pub use router::{Route, routes};
pub use state::{Attach, Load, Loaded, Lookup, Parts, Sources, Status};

use crate::config::{Home, ServeConfig};
use crate::engine::{Engine, EngineOptions, Forward};
use crate::events::heartbeat::Pulse;
use crate::events::serve::{DrainCut, ServerReady};
use crate::events::{emit, now_us};
use crate::render::{Grammars, Renderer};
use crate::rollout::Version;
use crate::store::Store;
use crate::weights::Registry;
use doors::{Door, Doors};
use listen::{Socket, Visitors};
use metrics::Metrics;
use opted_out::OptedOut;
use record::Recorder;
use state::Server;
use training::Training;
use weights::{Start, Weights};

/// What was cut off may take this long to say so and to be recorded.
const CLOSE_MAX: Duration = Duration::from_secs(5);
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What a server did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServeSummary {
    /// `serve`.
    pub stage: &'static str,
    /// Turns that were written to the store.
    pub turns: u64,
    /// Turns that were answered and could not be written.
    pub not_recorded: u64,
    /// The version that was live at the end.
    pub live_version: u64,
    /// Tokens that were sampled.
    pub generated_tokens: u64,
    /// Requests that were cut off at the end.
    pub cut_off: usize,
}

/// Serves until `shutdown`, then lets the requests in flight end (for `drain_ms` at most) and
/// writes what waits. `ready` gets the address once requests are answered.
///
/// # Errors
/// The server could not start: a busy port, a model that lacks a file, a home that cannot be
/// written to …
pub async fn run<F: Forward>(
    config: &ServeConfig,
    home: &Home,
    parts: Parts<F>,
    shutdown: CancellationToken,
    ready: oneshot::Sender<SocketAddr>,
) -> Result<ServeSummary, ServeError> {
    let (listener, address) = bind(config).await?;
    let socket = config.admin_socket.as_deref().map(Socket::bind).transpose()?;
    let opened = open(config.clone(), home.clone(), parts, shutdown.clone());
    let server = tokio::task::spawn_blocking(opened)
        .await
        .map_err(|error| ServeError::Broken { reason: error.to_string() })??;
    let server = Arc::new(server);
    let shutdown = shutdown.child_token();
    let mut beats = Beats::new(Arc::clone(&server), home);
    emit(ServerReady { address: address.to_string(), version: server.live().0 });
    // Nobody has to wait for the address.
    let _ = ready.send(address);

    let visitors = Visitors::new(config, &shutdown);
    tokio::select! {
        () = listen(&server, &visitors, (listener, socket), &shutdown) => {}
        never = beats.keep_beating() => match never {},
    }
    let cut_off = close(&server, &visitors).await;
    beats.beat(Some("done")).await;
    Ok(ServeSummary {
        stage: "serve",
        turns: server.recorder.figures().recorded(),
        not_recorded: server.recorder.figures().not_recorded(),
        live_version: server.live().0,
        generated_tokens: server.engine.stats().generated_tokens,
        cut_off,
    })
}

async fn bind(config: &ServeConfig) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = SocketAddr::new(config.host, config.port);
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => ServeError::PortInUse { address },
        _ => ServeError::Bind { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Everything that is needed to answer, made on a thread that may block.
fn open<F: Forward>(
    config: ServeConfig,
    home: Home,
    parts: Parts<F>,
    shutdown: CancellationToken,
) -> impl FnOnce() -> Result<Server, ServeError> {
    move || {
        let doors = Doors::open(&config)?;
        let opted_out = OptedOut::open(&config)?;
        let registry = Registry::open(&home)?;
        let is_stopped = || shutdown.is_cancelled();
        registry.ensure_model(config.model.as_deref(), &config.hub, &is_stopped)?;
        let store = if config.records() { Some(Store::open(&home)?) } else { None };
        let recorder = Recorder::start(store)?;
        let live = match config.version {
            Some(kept) => registry.manifest(Version(kept))?.version,
            None => registry.state()?.live,
        };
        let dir = registry.dir(live);
        let renderer = Renderer::open(&dir)?;
        let adapters =
            config.adapter_dirs().map(|(name, dir)| (name.to_owned(), dir.to_owned())).collect();
        let Start { weights, set, vocab, context } =
            Weights::open(&parts, (live, dir.clone()), adapters)
                .map_err(|source| ServeError::Model { dir, source })?;
        let (sampling, told) = defaults::sampling(&config, renderer.generation_defaults());
        emit(told);
        fits_together(&config, &renderer, vocab, context)?;
        let engine = Engine::start(set, live, engine_options(&config))?;
        let training = config.version.is_none().then(|| Training { path: home.state("train") });
        let context = engine.sequence_tokens_max();
        Ok(Server {
            context: config.context_tokens.unwrap_or(context).min(context),
            weights,
            metrics: Metrics::new(
                &engine,
                Arc::clone(recorder.figures()),
                config.cache_tokens,
                training,
            ),
            config,
            grammars: Grammars::new(&renderer)?,
            sampling,
            renderer: Arc::new(renderer),
            engine,
            recorder,
            replies: TaskTracker::new(),
            status: parts.sources.status,
            turns: parts.sources.turns,
            opted_out,
            doors,
            vocab,
            started_s: now_us() / 1_000_000,
        })
    }
}

fn engine_options(config: &ServeConfig) -> EngineOptions {
    EngineOptions {
        running_max: config.running_max,
        waiting_max: config.waiting_max,
        prefill_chunk: config.prefill_chunk,
        cache_tokens_max: config.cache_tokens,
        prefix_cache: config.prefix_cache,
        ..EngineOptions::default()
    }
}

fn fits_together(
    config: &ServeConfig,
    renderer: &Renderer,
    vocab: usize,
    context: usize,
) -> Result<(), ServeError> {
    let problem = if renderer.vocab_size() > vocab {
        format!(
            "tokenizer.json has {} token ids, but the model has only {vocab}",
            renderer.vocab_size()
        )
    } else if let Some(wanted) = config.context_tokens.filter(|wanted| *wanted > context) {
        format!("`context_tokens` is {wanted}, but the model's own limit is {context}")
    } else {
        return Ok(());
    };
    Err(ServeError::Mismatch { problem })
}

/// Answers requests until `shutdown`, and those that are in flight then, as long as they may take.
async fn listen(
    server: &Arc<Server>,
    visitors: &Visitors,
    (listener, socket): (TcpListener, Option<Socket>),
    shutdown: &CancellationToken,
) {
    let network = visitors.welcome(listener, router::router(server, Door::Network));
    let socket = async {
        if let Some(socket) = socket {
            visitors.welcome(socket, router::router(server, Door::Socket)).await;
        }
    };
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_millis(server.config.drain_ms)).await;
    };
    tokio::select! {
        _ = async { tokio::join!(network, socket) } => {}
        () = late => {}
    }
}

/// Ends the engine and the replies, then writes what waits. How many requests were cut off.
async fn close(server: &Server, visitors: &Visitors) -> usize {
    // Whoever is left has had its time.
    let cut_off = server.engine.drain(Duration::ZERO).await;
    if cut_off > 0 {
        emit(DrainCut { requests: cut_off });
    }
    server.replies.close();
    // A reply that does not end now waits for a reader that does not read.
    drop(tokio::time::timeout(CLOSE_MAX, server.replies.wait()).await);
    visitors.put_out().await;
    server.recorder.close().await;
    cut_off
}

/// Shows that the server lives.
struct Beats {
    server: Arc<Server>,
    pulse: Pulse,
    /// Turns of the home, as of when this process had recorded so many.
    turns: Option<(f64, u64)>,
}

impl Beats {
    fn new(server: Arc<Server>, home: &Home) -> Self {
        let stage = match server.config.version {
            Some(kept) => format!("serve-v{kept}"),
            None => "serve".to_owned(),
        };
        let pulse = Pulse::new(home.state(&stage), &stage);
        Self { server, pulse, turns: None }
    }

    async fn keep_beating(&mut self) -> std::convert::Infallible {
        loop {
            self.beat(None).await;
            tokio::time::sleep(BEAT_EVERY).await;
        }
    }

    async fn beat(&mut self, doing: Option<&str>) {
        let turns = self.turns().await;
        let stats = self.server.engine.stats();
        let busy = stats.running + stats.scoring > 0;
        let doing = doing.unwrap_or(if busy { "working" } else { "waiting" });
        let figures = [
            ("turns", turns),
            ("running", stats.running as f64),
            ("waiting", stats.waiting as f64),
            ("live_version", self.server.live().0 as f64),
            ("generated_tokens", stats.generated_tokens as f64),
            ("not_recorded", self.server.recorder.figures().not_recorded() as f64),
        ];
        self.pulse.beat(doing, &figures);
    }

    /// The home's turns: asked for again only when this process has recorded one.
    async fn turns(&mut self) -> f64 {
        let recorded = self.server.recorder.figures().recorded();
        match self.turns {
            Some((turns, then)) if then == recorded => turns,
            _ => {
                let status = Arc::clone(&self.server.status);
                let figures = router::blocking(move || status()).await;
                let known = figures.ok().and_then(|figures| figures["turns"].as_f64());
                let turns = known.unwrap_or(recorded as f64);
                self.turns = Some((turns, recorded));
                turns
            }
        }
    }
}
