//! The handle by which everyone else reaches the engine's thread.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::check::{check_constraint, check_options, check_sampling, check_temperature, check_top};
use super::forward::{Forward, Model};
use super::request::{
    Answer, Emitted, EngineError, EngineOptions, EngineStats, GenerateRequest, Generation,
    ScoreRequest, Scored,
};
use super::scheduler::Line;
use super::worker::Worker;
use crate::rollout::Version;

/// Swaps that may be under way to the thread beside the requests that the limits allow.
const SWAPS_MAX: usize = 64;

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
        seat: Seat,
    },
    Score {
        request: ScoreRequest,
        answer: oneshot::Sender<Result<Scored, EngineError>>,
        seat: Seat,
    },
    Swap {
        model: Model,
        version: Version,
        answer: oneshot::Sender<Result<(), EngineError>>,
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
    /// Starts the thread `engine`, serving `forward` as `version`.
    ///
    /// # Errors
    /// A limit is 0, or no thread can be had.
    pub fn start<F: Forward>(
        forward: Arc<F>,
        version: Version,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        check_options(&options)?;
        let requests = options.running_max + options.scoring_max + 2 * options.waiting_max;
        let (commands, inbox) = sync_channel(requests + SWAPS_MAX);
        let (ending, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            context: Forward::context(&*forward),
            vocab: Forward::vocab(&*forward),
            options,
            phase: AtomicU8::new(Phase::Open as u8),
            replies: AtomicUsize::new(0),
            scorings: AtomicUsize::new(0),
            stats: Mutex::new(EngineStats::default()),
        });
        let worker = Worker::new(shared.clone(), inbox, forward, version);
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let _ending = ending;
            worker.run();
        });
        let thread = thread.map_err(|error| EngineError::Thread { reason: error.to_string() })?;
        Ok(Self { shared, commands, ended, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Asks for a reply.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::TooLong`], [`EngineError::Stopped`], or
    /// [`EngineError::Invalid`] where the request makes no sense.
    pub fn submit(&self, request: GenerateRequest) -> Result<Generation, EngineError> {
        check_sampling(&request.sampling, self.shared.vocab)?;
        check_constraint(&request)?;
        check_top(request.top_logprobs)?;
        check_adapter(request.adapter.as_deref())?;
        self.check_ids("prompt", &request.prompt)?;
        let reply = request.sampling.max_tokens as usize;
        self.check_length(request.prompt.len().saturating_add(reply))?;
        let seat = self.seat(Line::Reply)?;
        // The reply, its beginning and its end, so that sending never has to wait.
        let (channel, receiver) = mpsc::channel(reply + 3);
        self.send(Command::Generate { request, channel, seat })?;
        Ok(Generation { channel: receiver, ended: false })
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
    /// on theirs. At most two versions are held: while two are in flight, `forward` waits until
    /// the older one's replies have ended, and a version that comes meanwhile displaces it.
    ///
    /// A version is immutable: where `version` is held already, its weights are not replaced.
    /// Errors: [`EngineError::Superseded`], [`EngineError::OtherModel`], [`EngineError::Stopped`].
    pub fn swap<F: Forward>(&self, forward: Arc<F>, version: Version) -> Answer<()> {
        let (future, answer) = Answer::channel();
        let sizes = [
            ("a vocabulary of", Forward::vocab(&*forward), self.shared.vocab),
            ("a context of", Forward::context(&*forward), self.shared.context),
        ];
        match sizes.into_iter().find(|(_, got, expected)| got != expected) {
            Some((what, got, expected)) => {
                let error = EngineError::OtherModel { version, what, got, expected };
                drop(answer.send(Err(error)));
            }
            None => drop(self.send(Command::Swap { model: forward, version, answer })),
        }
        future
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
        self.shared.context.min(context).min(options.cache_tokens_max)
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

    fn send(&self, command: Command) -> Result<(), EngineError> {
        if self.shared.phase() != Phase::Open {
            return Err(EngineError::Stopped);
        }
        match self.commands.try_send(command) {
            Ok(()) => Ok(()),
            // Requests have seats, fewer than the channel holds: these are swaps.
            Err(TrySendError::Full(command)) => {
                let error = EngineError::Full { requests: SWAPS_MAX };
                if let Command::Swap { answer, .. } = command {
                    drop(answer.send(Err(error.clone())));
                }
                Err(error)
            }
            Err(TrySendError::Disconnected(_)) => Err(EngineError::Stopped),
        }
    }

    fn check_score(&self, request: &ScoreRequest) -> Result<(), EngineError> {
        check_temperature(request.temperature)?;
        check_top(request.top_logprobs)?;
        check_adapter(request.adapter.as_deref())?;
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

fn check_adapter(name: Option<&str>) -> Result<(), EngineError> {
    match name {
        None => Ok(()),
        Some(name) => Err(EngineError::UnknownAdapter { name: name.to_owned() }),
    }
}
