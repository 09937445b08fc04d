//! The handle by which everyone else reaches the engine's thread.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::check::{check_constraint, check_options, check_sampling, check_temperature, check_top};
use super::forward::{Forward, Model, ModelSet};
use super::request::{
    Answer, Emitted, EngineError, EngineOptions, EngineStats, GenerateRequest, Generation,
    ScoreRequest, Scored,
};
use super::scheduler::Line;
use super::worker::Worker;
use crate::rollout::Version;

/// Swaps and the like that may be under way to the thread beside the requests that the limits
/// allow.
const ADMIN_MAX: usize = 64;

/// A handle to a running engine; clones share it. The thread ends after [`Engine::drain`], or
/// once every handle is gone and everything asked for has been done.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    /// Closed by the thread when it ends.
    ended: watch::Receiver<()>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What handles and thread both see.
pub(super) struct Shared {
    pub(super) options: EngineOptions,
    pub(super) block: usize,
    context: usize,
    vocab: usize,
    phase: AtomicU8,
    replies: AtomicUsize,
    scorings: AtomicUsize,
    stats: Mutex<EngineStats>,
}

/// How the engine takes what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Takes requests.
    Open,
    /// Finishes what it has, takes no more.
    Draining,
    /// Gives up what it has.
    Stopping,
}

/// What a handle asks of the thread.
pub(super) enum Command {
    Generate {
        request: GenerateRequest,
        channel: mpsc::Sender<Emitted>,
        /// To be told when it gets its place.
        placed: Arc<OnceLock<Instant>>,
        seat: Seat,
    },
    Score {
        request: ScoreRequest,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
        seat: Seat,
    },
    Swap {
        models: ModelSet,
        version: Version,
        answer: oneshot::Sender<Result<(), EngineError>>,
    },
    LoadAdapter {
        name: Arc<str>,
        model: Model,
        version: Version,
        answer: oneshot::Sender<Result<(), EngineError>>,
    },
    UnloadAdapter {
        name: Arc<str>,
        answer: oneshot::Sender<Result<(), EngineError>>,
    },
    Pause {
        paused: bool,
        answer: oneshot::Sender<Result<(), EngineError>>,
    },
    Flush {
        answer: oneshot::Sender<Result<usize, EngineError>>,
    },
    /// The phase has changed.
    Wake,
}

/// A request's place among those that run or wait, given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    line: Line,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.taken(self.line).fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn taken(&self, line: Line) -> &AtomicUsize {
        match line {
            Line::Reply => &self.replies,
            Line::Score => &self.scorings,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    pub(super) fn publish(&self, stats: &EngineStats) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone_from(stats);
    }
}

impl Engine {
    /// Starts the thread `engine`, serving `models` as `version`.
    ///
    /// # Errors
    /// A limit is 0, an adapter is not of its base's sizes, or no thread can be had.
    pub fn start(
        models: impl Into<ModelSet>,
        version: Version,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let (mut engine, worker, ending) = Self::assemble(models.into(), version, options)?;
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let _ending = ending;
            worker.run();
        });
        let thread = thread.map_err(|error| EngineError::Thread { reason: error.to_string() })?;
        engine.thread = Arc::new(Mutex::new(Some(thread)));
        Ok(engine)
    }

    /// Everything but the thread: the handle, what the thread runs, and what it drops at its end.
    pub(super) fn assemble(
        models: ModelSet,
        version: Version,
        options: EngineOptions,
    ) -> Result<(Self, Worker, watch::Sender<()>), EngineError> {
        let base = &models.base;
        check_options(&options, base.block_tokens())?;
        let requests = options.running_max + options.scoring_max + 2 * options.waiting_max;
        let (commands, inbox) = sync_channel(requests + ADMIN_MAX);
        let (ending, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            block: base.block_tokens(),
            context: base.context(),
            vocab: base.vocab(),
            options,
            phase: AtomicU8::new(Phase::Open as u8),
            replies: AtomicUsize::new(0),
            scorings: AtomicUsize::new(0),
            stats: Mutex::new(EngineStats::default()),
        });
        let engine = Self { shared, commands, ended, thread: Arc::default() };
        engine.check_models(&models, version)?;
        let worker = Worker::new(engine.shared.clone(), inbox, models, version);
        Ok((engine, worker, ending))
    }

    /// Asks for a reply.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::TooLong`], [`EngineError::UnknownAdapter`],
    /// [`EngineError::Stopped`], or [`EngineError::Invalid`] where the request makes no sense.
    pub fn submit(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        check_sampling(&request.sampling, self.shared.vocab)?;
        check_constraint(&request)?;
        check_top(request.top_logprobs)?;
        self.check_adapter(request.adapter.as_deref())?;
        self.check_ids("prompt", &request.prompt)?;
        let reply = request.sampling.max_tokens as usize;
        self.check_length(request.prompt.len().saturating_add(reply))?;
        let seat = self.seat(Line::Reply)?;
        // The reply, its beginning and its end, so that sending never has to wait.
        let (channel, receiver) = mpsc::channel(reply + 3);
        let placed = Arc::default();
        let generation = Generation {
            channel: receiver,
            ended: false,
            asked: Instant::now(),
            placed: Arc::clone(&placed),
        };
        self.send(Command::Generate { request, channel, placed, seat })?;
        Ok(generation)
    }

    /// Asks for log-probabilities. They come from one version, computed in chunks between the
    /// steps of running replies. Errors are those of [`Engine::submit`].
    pub fn score(&self, request: ScoreRequest) -> Answer<Scored> {
        let (future, answer) = Answer::channel();
        match self.check_score(&request).and_then(|()| self.seat(Line::Score)) {
            // An answer that could not be asked for is dropped with its command: `Stopped`.
            Ok(seat) => drop(self.send(Command::Score { request, answer, seat })),
            Err(error) => drop(answer.send(Err(error))),
        }
        future
    }

    /// Lets `version` go live between two steps; resolves once it is. Sequences in flight finish
    /// on theirs. At most two versions are held: while two are in flight, `models` wait until the
    /// older one's replies have ended, and a version that comes meanwhile displaces them.
    ///
    /// What the conversations of the live version have in the prefix cache is computed on the new
    /// one first, beside the replies in flight, within the limits of [`EngineOptions`]; a version
    /// that fails at this never goes live. Adapters that are not among `models` are gone then.
    ///
    /// A version is immutable: where `version` is held already, its weights are not replaced.
    /// Errors: [`EngineError::Superseded`], [`EngineError::OtherModel`], [`EngineError::Forward`],
    /// [`EngineError::Stopped`].
    pub fn swap(&self, models: impl Into<ModelSet>, version: Version) -> Answer<()> {
        let models = models.into();
        match self.check_models(&models, version) {
            Ok(()) => self.ask(|answer| Command::Swap { models, version, answer }),
            Err(error) => Answer::failed(error),
        }
    }

    /// Serves `model`, which is an adapter beside the base of the live `version`, to requests that
    /// name it.
    ///
    /// Errors: [`EngineError::Adapter`] where one of this name is loaded or still being unloaded,
    /// `version` is not live, or another one is about to be; [`EngineError::OtherModel`],
    /// [`EngineError::Stopped`].
    pub fn load_adapter<F: Forward>(
        &self,
        name: &str,
        model: Arc<F>,
        version: Version,
    ) -> Answer<()> {
        let (name, model): (Arc<str>, Model) = (Arc::from(name), model);
        match self.check_model(&model, version) {
            Ok(()) => self.ask(|answer| Command::LoadAdapter { name, model, version, answer }),
            Err(error) => Answer::failed(error),
        }
    }

    /// Takes an adapter away. New requests that name it are refused at once; those that run or
    /// wait are still answered, and this resolves once they have been.
    ///
    /// Errors: [`EngineError::UnknownAdapter`], [`EngineError::Stopped`].
    pub fn unload_adapter(&self, name: &str) -> Answer<()> {
        let name = Arc::from(name);
        self.ask(|answer| Command::UnloadAdapter { name, answer })
    }

    /// Takes no more steps until [`Engine::resume`]: replies stand still, requests wait (as many
    /// as may), a swap still goes live, unwarmed. A drain goes on all the same. Resolves when the
    /// step in hand is done. Errors: [`EngineError::Stopped`].
    pub fn pause(&self) -> Answer<()> {
        self.ask(|answer| Command::Pause { paused: true, answer })
    }

    /// Goes on after [`Engine::pause`]. Errors: [`EngineError::Stopped`].
    pub fn resume(&self) -> Answer<()> {
        self.ask(|answer| Command::Pause { paused: false, answer })
    }

    /// Empties the prefix cache, but for what sequences in flight hold; how many tokens that
    /// freed. Errors: [`EngineError::Stopped`].
    pub fn flush_prefixes(&self) -> Answer<usize> {
        self.ask(|answer| Command::Flush { answer })
    }

    /// What the engine is doing, as of its last step or change.
    pub fn stats(&self) -> EngineStats {
        let mut stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let taken = [Line::Reply, Line::Score].map(|line| self.taken(line));
        stats.waiting = taken.iter().sum::<usize>().saturating_sub(stats.running + stats.scoring);
        stats
    }

    /// Longest sequence that can be asked for: prompt and reply together, in tokens.
    pub fn sequence_tokens_max(&self) -> usize {
        let options = &self.shared.options;
        let context = options.context_tokens_max.unwrap_or(usize::MAX);
        let cache = options.cache_tokens_max / self.shared.block * self.shared.block;
        self.shared.context.min(context).min(cache)
    }

    /// Takes no more requests, finishes those it has, and ends the thread. After `timeout` the
    /// rest are cut off as [`EngineError::Stopped`]; returns how many that were.
    pub async fn drain(&self, timeout: Duration) -> usize {
        self.enter(Phase::Draining);
        let mut ended = self.ended.clone();
        let mut cut = 0;
        if tokio::time::timeout(timeout, ended.changed()).await.is_err() {
            cut = self.taken(Line::Reply) + self.taken(Line::Score);
            self.enter(Phase::Stopping);
            // The thread ends after the step that it is in; the error is the closed channel.
            drop(ended.changed().await);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
        cut
    }

    fn enter(&self, phase: Phase) {
        self.shared.phase.fetch_max(phase as u8, Ordering::AcqRel);
        // A full channel wakes the thread as well, a closed one needs no waking.
        drop(self.commands.try_send(Command::Wake));
    }

    fn taken(&self, line: Line) -> usize {
        self.shared.taken(line).load(Ordering::Acquire)
    }

    fn seat(&self, line: Line) -> Result<Seat, EngineError> {
        let options = &self.shared.options;
        let places = match line {
            Line::Reply => options.running_max,
            Line::Score => options.scoring_max,
        };
        let requests = places + options.waiting_max;
        let add = |taken: usize| (taken < requests).then_some(taken + 1);
        let taken = self.shared.taken(line);
        match taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, add) {
            Ok(_) => Ok(Seat { shared: self.shared.clone(), line }),
            Err(_) => Err(EngineError::Full { requests }),
        }
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Command,
    ) -> Answer<T> {
        let (future, answer) = Answer::channel();
        match self.send(command(answer)) {
            Ok(()) => future,
            Err(error) => Answer::failed(error),
        }
    }

    fn send(&self, command: Command) -> Result<(), EngineError> {
        if self.shared.phase() != Phase::Open {
            return Err(EngineError::Stopped);
        }
        self.commands.try_send(command).map_err(|refused| match refused {
            // Requests have seats, fewer than the channel holds: these are swaps and the like.
            TrySendError::Full(_) => EngineError::Full { requests: ADMIN_MAX },
            TrySendError::Disconnected(_) => EngineError::Stopped,
        })
    }

    fn check_models(&self, models: &ModelSet, version: Version) -> Result<(), EngineError> {
        let mut all = std::iter::once(&models.base).chain(models.adapters.values());
        all.try_for_each(|model| self.check_model(model, version))
    }

    /// Whether a model is of the sizes of the one that is served.
    fn check_model(&self, model: &Model, version: Version) -> Result<(), EngineError> {
        let sizes = [
            ("a vocabulary of", model.vocab(), self.shared.vocab),
            ("a context of", model.context(), self.shared.context),
            ("blocks of", model.block_tokens(), self.shared.block),
        ];
        match sizes.into_iter().find(|(_, got, expected)| got != expected) {
            Some((what, got, expected)) => {
                Err(EngineError::OtherModel { version, what, got, expected })
            }
            None => Ok(()),
        }
    }

    fn check_adapter(&self, name: Option<&str>) -> Result<(), EngineError> {
        let Some(name) = name else { return Ok(()) };
        let stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if stats.adapters.iter().any(|known| **known == *name) {
            return Ok(());
        }
        Err(EngineError::UnknownAdapter { name: name.to_owned() })
    }

    fn check_score(&self, request: &ScoreRequest) -> Result<(), EngineError> {
        check_temperature(request.temperature)?;
        check_top(request.top_logprobs)?;
        self.check_adapter(request.adapter.as_deref())?;
        self.check_ids("ids", &request.ids)?;
        if request.start == 0 || request.start >= request.ids.len() {
            let reason =
                format!("{} of {} ids, expected 1 to the last", request.start, request.ids.len());
            return Err(EngineError::Invalid { field: "start", reason });
        }
        self.check_length(request.ids.len())
    }

    fn check_length(&self, needed: usize) -> Result<(), EngineError> {
        let limit = self.sequence_tokens_max();
        if needed > limit { Err(EngineError::TooLong { needed, limit }) } else { Ok(()) }
    }

    fn check_ids(&self, field: &'static str, ids: &[u32]) -> Result<(), EngineError> {
        let vocab = self.shared.vocab;
        let reason = match ids.iter().find(|id| **id as usize >= vocab) {
            Some(id) => format!("token {id} is not one of the {vocab} of the model"),
            None if ids.is_empty() => "no tokens".to_owned(),
            None => return Ok(()),
        };
        Err(EngineError::Invalid { field, reason })
    }
}
