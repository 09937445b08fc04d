//! The trainer's loop around the computation: what to build on, publishing, and the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::TrainSummary;
use super::batch::{Closing, Pool};
use super::beats::Beats;
use super::checkpoint::{self, State};
use super::course::Course;
use super::curves::Curves;
use super::error::TrainError;
use super::examples::Examples;
use super::memory;
use super::replicas::{self, Replicas, Stepped};
use super::retention::{Keeping, Retention};
use super::rows::Rows;
use super::samples::{Limits, Sample};
use crate::config::{Home, Method, TrainConfig};
use crate::events::train::{StepDone, StepRecovered, StepSkipped, TrainingStopped, TurnsRejected};
use crate::events::{emit, now_us};
use crate::render::Renderer;
use crate::rollout::{RejectedTurn, Rejection, Step, TrainedTurn, TurnState, Version};
use crate::store::{Store, Writer};
use crate::weights::{NewVersion, Registry, RegistryState, WeightsError};

/// What a look at the store came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// A batch was trained on, or put aside.
    Stepped,
    /// There is no batch.
    Idle,
    /// The process is to end.
    Stopped,
}

/// What a version is made of.
pub(super) struct Made {
    pub(super) trained: Vec<TrainedTurn>,
    pub(super) replicas: Replicas,
    pub(super) state: State,
    pub(super) metrics: Vec<(String, f64)>,
}

/// A trainer at work on one home.
pub struct Trainer {
    pub(super) config: TrainConfig,
    store: Store,
    registry: Registry,
    rows: Rows,
    pool: Pool,
    pub(super) replicas: Replicas,
    pub(super) state: State,
    pub(super) head: Version,
    live: Version,
    pub(super) steps: u64,
    pub(super) trained: u64,
    pub(super) skipped: usize,
    /// Why nothing is trained on any more, while the process stays.
    halted: Option<String>,
    last: Vec<(String, f64)>,
    pub(super) home: Home,
    pub(super) curves: Curves,
    retention: Retention,
    /// Examples that are trained on in place of the store.
    course: Option<Course>,
    writer: Option<Writer<Step>>,
    pub(super) beats: Beats,
    pub(super) shutdown: CancellationToken,
    /// Held as long as the trainer lives.
    _lock: File,
}

impl Trainer {
    /// Takes the home's trainer lock, makes sure of the base model, loads the head and catches up
    /// with the tables.
    pub fn open(
        config: TrainConfig,
        home: &Home,
        shutdown: CancellationToken,
    ) -> Result<Self, TrainError> {
        let store = Store::open(home)?;
        let lock = lock(&home.lock("train"))?;
        let registry = Registry::open(home)?;
        let is_stopped = || shutdown.is_cancelled();
        registry.ensure_model(config.model.as_deref(), &config.hub, &is_stopped)?;
        let RegistryState { head, live, .. } = registry.state()?;
        memory::require(&registry, head, &config)?;
        let (replicas, state) = Replicas::load(&registry, head, &config)?;
        let model = replicas.first().decoder().config();
        let limits = Limits {
            method: config.method,
            tokens_max: config.train_tokens_max.min(model.positions_max),
            vocab: model.vocab_size,
            allow_penalties: config.allow_penalties,
            same_call_max: config.same_call_max,
            staleness_max: config.staleness_max,
            kept_top: match (config.method, config.teacher_version) {
                (Method::Topk, None) => config.support().clamp(1, model.vocab_size),
                _ => 0,
            },
        };
        let course = config.input.as_ref().map(|input| -> Result<Course, TrainError> {
            let renderer = Renderer::open(&registry.dir(head))?;
            let examples = Examples::open(input, renderer, limits.tokens_max)?;
            Ok(Course::new(examples, state.cursor.as_ref(), &config))
        });
        let course = course.transpose()?;
        let mut trainer = Self {
            rows: Rows::new(&store, &config.judged_by),
            pool: Pool::new(limits),
            steps: 0,
            trained: 0,
            skipped: 0,
            halted: None,
            last: Vec::new(),
            writer: None,
            beats: Beats::new(home),
            curves: Curves::open(home, &registry)?,
            retention: Retention::default(),
            course,
            home: home.clone(),
            _lock: lock,
            config,
            store,
            registry,
            replicas,
            state,
            head,
            live,
            shutdown,
        };
        trainer.pool.head(trainer.registry.lineage(head)?);
        trainer.recover()?;
        Ok(trainer)
    }

    /// Steps of this run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Writes the rows of versions that were published by a process that died before it wrote them.
    fn recover(&mut self) -> Result<(), TrainError> {
        let rows = self.rows.read(&mut self.pool);
        let known: BTreeSet<Version> = rows.iter().filter_map(|row| row.version).collect();
        for version in self.registry.versions()? {
            if version == Version::BASE || known.contains(&version) {
                continue;
            }
            if let Some(step) = self.registry.manifest(version)?.step {
                self.record(&step)?;
                emit(StepRecovered { version: version.0 });
            }
        }
        Ok(())
    }

    /// Appends a row to `steps`, and lets the pool know.
    fn record(&mut self, step: &Step) -> Result<(), TrainError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.store.writer("train")?),
        };
        writer.append(std::slice::from_ref(step))?;
        self.pool.step(step);
        Ok(())
    }

    /// Reads what is new, and trains on one batch if there is one.
    pub fn round(&mut self) -> Result<Round, TrainError> {
        if self.shutdown.is_cancelled() {
            return Ok(Round::Stopped);
        }
        if let Some(mut course) = self.course.take() {
            let round = self.course_round(&mut course);
            self.course = Some(course);
            return round;
        }
        self.rows.read(&mut self.pool);
        self.follow_head()?;
        let rejected = self.pool.settle();
        self.note_rejections(&rejected)?;
        if let Some(why) = self.halted.clone() {
            return Ok(self.idle(&format!("stopped: {why}")));
        }
        if let Some(waiting) = self.too_far_ahead() {
            return Ok(self.idle(&waiting));
        }
        let wait_us_max = self.config.max_wait_s.map(|s| i64::try_from(s).unwrap_or(i64::MAX));
        let closing = Closing {
            size: self.config.batch_size,
            sessions_min: self.config.sessions_min,
            wait_us_max: wait_us_max.map(|s| s.saturating_mul(1_000_000)),
        };
        match self.pool.batch(closing, now_us()) {
            Some(batch) => self.train(&batch),
            None => Ok(self.idle("waiting")),
        }
    }

    fn idle(&mut self, doing: &str) -> Round {
        if self.beats.due() {
            self.beat_now(doing);
        }
        Round::Idle
    }

    /// While it follows the store: whether enough versions wait to go live already.
    fn too_far_ahead(&self) -> Option<String> {
        let ahead = self.pool.behind(self.live);
        let waits = self.config.follow && ahead >= self.config.versions_ahead_max;
        waits.then(|| format!("waiting: version {} is not live yet", self.head))
    }

    fn note_rejections(&mut self, rejected: &[RejectedTurn]) -> Result<(), TrainError> {
        if rejected.is_empty() {
            return Ok(());
        }
        let step = self.note(rejected.to_vec(), Vec::new());
        self.record(&step)?;
        emit(TurnsRejected { turns: rejected.len(), reasons: reasons(rejected) });
        Ok(())
    }

    /// A row that only tells of turns that were put aside.
    pub(super) fn note(&self, rejected: Vec<RejectedTurn>, metrics: Vec<(String, f64)>) -> Step {
        Step {
            version: None,
            parent: self.head,
            method: self.config.method.label().to_owned(),
            trained: Vec::new(),
            rejected,
            metrics,
            detail: String::new(),
            finished_at_us: now_us(),
        }
    }

    /// Loads the head anew, if it is another one than this process left (a version was refused, or
    /// rolled back).
    pub(super) fn follow_head(&mut self) -> Result<(), TrainError> {
        let RegistryState { head, live, .. } = self.registry.state()?;
        self.live = live;
        if head != self.head {
            (self.replicas, self.state) = Replicas::load(&self.registry, head, &self.config)?;
            self.head = head;
            self.pool.head(self.registry.lineage(head)?);
            (self.skipped, self.halted) = (0, None);
        }
        Ok(())
    }

    fn train(&mut self, batch: &[Sample]) -> Result<Round, TrainError> {
        let begun = Instant::now();
        self.beat_now("working");
        let (bound, config, beats) = (&self.state.bound, &self.config, &mut self.beats);
        let step = replicas::Step {
            batch,
            config,
            allows: &|loss, norm| bound.check(loss, norm, config),
            shutdown: &self.shutdown,
        };
        let stepped = self.replicas.step(&step, &mut || beats.again("working"))?;
        match stepped {
            Stepped::Stopped => Ok(Round::Stopped),
            Stepped::SetAside(reason, detail) => self.set_aside(batch, reason, detail),
            Stepped::Learned(next, mut metrics) => {
                metrics.extend(self.circumstances(batch, begun.elapsed().as_secs_f64()));
                match self.publish_batch(batch, next, metrics) {
                    // a rollback meanwhile: these weights have lost their parent, the batch has not
                    Err(TrainError::Weights(
                        WeightsError::NotOnHead { .. } | WeightsError::Dead { .. },
                    )) => self.follow_head()?,
                    other => other?,
                }
                Ok(Round::Stepped)
            }
        }
    }

    /// What a step was taken under: how old its samples were, what it took, what waits.
    pub(super) fn circumstances(&self, batch: &[Sample], seconds: f64) -> Vec<(String, f64)> {
        let behind: Vec<f64> =
            batch.iter().map(|sample| self.pool.behind(sample.oldest) as f64).collect();
        let sessions: BTreeSet<&str> = batch.iter().map(|sample| sample.session.as_str()).collect();
        let tokens: usize = batch.iter().map(|sample| sample.tokens.len()).sum();
        let figures = [
            ("staleness_mean", behind.iter().sum::<f64>() / behind.len().max(1) as f64),
            ("staleness_max", behind.into_iter().fold(0.0, f64::max)),
            ("sessions", sessions.len() as f64),
            (
                "waiting",
                self.pool.ledger().tally().waiting.saturating_sub(batch.len() as u64) as f64,
            ),
            ("memory_bytes", memory::resident() as f64),
            ("tokens_per_s", (tokens * self.config.epochs) as f64 / seconds.max(1e-9)),
            ("seconds", seconds),
        ];
        figures.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Puts a batch aside whose step must not change the weights.
    fn set_aside(
        &mut self,
        batch: &[Sample],
        reason: Rejection,
        detail: String,
    ) -> Result<Round, TrainError> {
        self.skipped += 1;
        let aside = |sample: &Sample| RejectedTurn { turn_id: sample.turn_id, reason, revision: 0 };
        let mut step = self.note(batch.iter().map(aside).collect(), Vec::new());
        step.detail.clone_from(&detail);
        self.record(&step)?;
        self.curves.step(&self.home, &step);
        emit(StepSkipped { samples: batch.len(), why: detail.clone(), in_a_row: self.skipped });
        if self.skipped < self.config.skips_max {
            return Ok(Round::Stepped);
        }
        let (in_a_row, head) = (self.skipped, self.head);
        emit(TrainingStopped { in_a_row, version: head.0 });
        if !self.config.follow {
            return Err(TrainError::NotFinite { in_a_row, head, detail });
        }
        self.halted =
            Some(format!("{in_a_row} steps in a row were skipped, the last one: {detail}"));
        Ok(Round::Idle)
    }

    /// Takes a step into the running bound.
    pub(super) fn noted(&mut self, metrics: &[(String, f64)]) {
        let figure = |name: &str| metrics.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        if let (Some(loss), Some(norm)) = (figure("loss"), figure("grad_norm")) {
            self.state.bound.note(loss, norm);
        }
    }

    /// Makes the version, then its row: the version is the commit.
    pub(super) fn publish(&mut self, made: Made) -> Result<(), TrainError> {
        let Made { trained, replicas, state, metrics } = made;
        let draft = self.registry.draft()?;
        checkpoint::save(&draft, &self.registry, self.head, replicas.first(), &state)?;
        let mut step = self.note(Vec::new(), metrics);
        step.trained = trained;
        let new = NewVersion { parent: self.head, step: Some(step.clone()) };
        let version = self.registry.publish(draft, new)?;
        step.version = Some(version);
        self.record(&step)?;
        self.curves.step(&self.home, &step);
        (self.replicas, self.state, self.head) = (replicas, state, version);
        self.pool.head(self.registry.lineage(version)?);
        self.retention.apply(&self.registry, &Keeping::from(&self.config));
        self.last = step.metrics;
        Ok(())
    }

    /// Makes a version of a batch.
    fn publish_batch(
        &mut self,
        batch: &[Sample],
        replicas: Replicas,
        metrics: Vec<(String, f64)>,
    ) -> Result<(), TrainError> {
        let trained = |sample: &Sample| TrainedTurn {
            turn_id: sample.turn_id,
            signal: sample.signal,
            reward: sample.reward,
            tokens: u32::try_from(sample.trained_tokens()).unwrap_or(u32::MAX),
        };
        let before = self.state.clone();
        self.noted(&metrics);
        let state = std::mem::replace(&mut self.state, before);
        let trained = batch.iter().map(trained).collect();
        self.publish(Made { trained, replicas, state, metrics })?;
        self.steps += 1;
        self.trained += batch.len() as u64;
        self.skipped = 0;
        emit(StepDone {
            version: self.head.0,
            samples: batch.len(),
            loss: self.metric("loss"),
            mean_reward: self.metric("mean_reward"),
            grad_norm: self.metric("grad_norm"),
            seconds: self.metric("seconds"),
        });
        self.beat_now("working");
        Ok(())
    }

    pub(super) fn metric(&self, name: &str) -> f64 {
        self.last.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, value)| *value)
    }

    pub(super) fn beat_now(&mut self, doing: &str) {
        let mut figures = vec![
            ("steps".to_owned(), self.steps as f64),
            ("trained".to_owned(), self.trained as f64),
            ("ready".to_owned(), self.pool.ready() as f64),
            ("batch_size".to_owned(), self.config.batch_size as f64),
            ("version".to_owned(), self.head.0 as f64),
        ];
        figures.extend(self.last.iter().cloned());
        self.beats.now(doing, figures);
    }

    /// Says good-bye in the heartbeat, and how things stand.
    ///
    /// # Errors
    /// A row cannot be written.
    pub fn finish(mut self) -> Result<TrainSummary, TrainError> {
        if let Some(mut course) = self.course.take() {
            self.publish_course(&mut course)?;
        }
        let rejected = self.pool.settle();
        self.note_rejections(&rejected)?;
        self.beat_now("done");
        let mut summary = TrainSummary {
            steps: self.steps,
            trained: self.trained,
            version: self.head.0,
            ready: self.pool.ready() as u64,
            ..TrainSummary::default()
        };
        for (_, state) in self.pool.ledger().states() {
            match state {
                TurnState::Rejected(reason) => {
                    *summary.rejected.entry(reason.label().to_owned()).or_default() += 1;
                }
                state if state.is_waiting() => summary.waiting += 1,
                _ => {}
            }
        }
        Ok(summary)
    }
}

/// Takes the lock that only one trainer of a home holds; it goes with the process.
fn lock(path: &Path) -> Result<File, TrainError> {
    let fail = |source| TrainError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(source)),
    }
}

/// `neutral 3, side 1`.
fn reasons(rejected: &[RejectedTurn]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for turn in rejected {
        *counts.entry(turn.reason.label()).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    parts.join(", ")
}
