//! The `hint` stage: turns and rollouts in, hints out.
//!
//! Every main turn of which something is known gets a row, and a further one when more is known.
//! Where the user said what should have been done, or the judge finds an instruction, the teacher
//! gives the log-probabilities of the reply's exact tokens with and without it, both by
//! one version. While judge or teacher are down the turns wait, as in `score`.

mod teacher;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::complete::{CompleteError, Completer, Options, Patience};
use crate::config::{Acceptance, ConfigError, HintConfig, Home};
use crate::events::heartbeat::Pulse;
use crate::events::hint::{HintFailed, HintSegmentUnread, TurnsHinted};
use crate::events::{emit, now_us};
use crate::fault::Explain;
use crate::judge::{self, Case, Docket, Exchange, Judge};
pub use crate::judge::{BadCase, HintBallot, Written};
use crate::render::RenderError;
use crate::rollout::{Hint, HintCandidate, HintStatus, Likeliest, Rollout, Turn, TurnId};
use crate::store::{self, Store, StoreError, Tail, Writer};
use crate::weights::WeightsError;

use teacher::{NoRows, Rows, Teacher, Told};

/// Rows of one segment.
const ROWS_MAX: usize = 100;
/// Longest time that a finished row waits for others of its segment.
const FLUSH: Duration = Duration::from_millis(250);
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// Pause before the home is looked into again for a model.
const MODEL_PAUSE: Duration = Duration::from_secs(1);

/// What a run of `hint` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HintSummary {
    /// The judge's name and version.
    pub judge: String,
    /// Rows that were written.
    pub hints: usize,
    /// Those with an accepted hint and both log-probability rows.
    pub accepted: usize,
    /// Those without a directive.
    pub no_hint: usize,
    /// Turns given up for want of a usable vote.
    pub judge_failed: usize,
    /// Turns that the teacher could not score.
    pub teacher_failed: usize,
    /// Turns that did not render to their recorded prompt.
    pub render_mismatch: usize,
    /// Turns that do not fit into the teacher's context.
    pub too_long: usize,
    /// Turns that wait, as far as they were read.
    pub waiting: usize,
    /// Segments that could not be read.
    pub unread_segments: usize,
}

/// Why `hint` ended.
#[derive(Debug, thiserror::Error)]
pub enum HintError {
    /// A value that it cannot work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Judge or teacher cannot be asked.
    #[error("{waiting} turns wait for a server that cannot be asked")]
    Server {
        /// Turns that wait.
        waiting: usize,
        /// Why it cannot be asked.
        source: CompleteError,
    },
    /// The home holds no model to render with.
    #[error("{} holds no base model", path.display())]
    NoModel {
        /// The registry.
        path: std::path::PathBuf,
    },
    /// The model cannot render.
    #[error(transparent)]
    Model(RenderError),
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(WeightsError),
    /// It was told to stop in the middle of exchanges.
    #[error("stopped before the end")]
    Interrupted,
}

impl HintError {
    fn explained(&self) -> Option<&dyn Explain> {
        match self {
            Self::Config(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Server { source, .. } => Some(source),
            Self::NoModel { .. } | Self::Interrupted => None,
            Self::Model(error) => Some(error),
            Self::Weights(error) => Some(error),
        }
    }
}

impl Explain for HintError {
    fn label(&self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            _ => self.explained().map_or("hint_no_model", Explain::label),
        }
    }

    fn hint(&self) -> Option<String> {
        match (self, self.explained()) {
            (_, Some(error)) => error.hint(),
            (Self::Interrupted, None) => None,
            (_, None) => {
                Some("start `openclaw-rl serve` on this home once; it puts it there".to_owned())
            }
        }
    }

    fn exit_code(&self) -> u8 {
        self.explained().map_or(1, Explain::exit_code)
    }
}

/// What a model judge is asked about the hint in an exchange that somebody wrote down.
pub fn prompt(written: &Written) -> Vec<serde_json::Value> {
    written.asked(judge::HINT_PROMPT)
}

/// What the judge finds in an exchange that somebody wrote down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The hint that is accepted, if any is.
    pub hint: Option<String>,
    /// How it came about.
    #[serde(flatten)]
    pub ballot: HintBallot,
}

/// What the judge finds in exchanges that somebody wrote down, without a store and without a
/// teacher: `tell` is given one result after the other, in the order of the exchanges.
///
/// # Errors
/// [`HintError`]: a wrong value, or a judge that cannot be asked.
pub async fn run_written(
    config: &HintConfig,
    exchanges: &[Written],
    shutdown: &CancellationToken,
    mut tell: impl FnMut(Found),
) -> Result<(), HintError> {
    config.validate()?;
    let failed = |waiting| move |source| HintError::Server { waiting, source };
    let judge =
        Judge::open(&config.judge, Patience::brief(config.judge.tries)).map_err(failed(0))?;
    let ballots = judge.hints(exchanges, config.judge.concurrency);
    tokio::pin!(ballots);
    for told in 0..exchanges.len() {
        let ballot = tokio::select! {
            () = shutdown.cancelled() => return Err(HintError::Interrupted),
            Some(ballot) = ballots.next() => ballot.map_err(failed(exchanges.len() - told))?,
        };
        let hint = ballot.accepted(config.acceptance()).map(str::to_owned);
        tell(Found { hint, ballot });
    }
    Ok(())
}

/// Looks for hints in every rollout that has no row yet; with `follow` it stays until `shutdown`.
///
/// # Errors
/// [`HintError`]: a wrong value, a store that cannot be opened or written to, a judge or teacher
/// that refuses every request; in one-shot use also one that is down, and a home without a model.
pub async fn run(
    config: &HintConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<HintSummary, HintError> {
    config.validate()?;
    let store = Store::open(home)?;
    let mut finder = Finder::open(config, home, &store)?;
    let mut pulse = Pulse::new(home.state(&process(config)), "hint");
    let ended = finder.work(config, &mut pulse, &shutdown).await;
    finder.flush()?;
    // The case whose error ended the work is on the docket no more, and waits all the same.
    let waiting = if ended.is_err() { finder.left() + 1 } else { finder.docket.len() };
    finder.summary.waiting = waiting;
    let error = match ended {
        Ok(()) => {
            pulse.beat("done", &finder.figures());
            return Ok(finder.summary);
        }
        Err(NoRows::Teacher(source)) => HintError::Server { waiting, source },
        Err(NoRows::Model(error)) => HintError::Model(error),
        Err(NoRows::Weights(error)) => HintError::Weights(error),
        Err(NoRows::NoModel | NoRows::Turn(..)) => HintError::NoModel { path: home.weights() },
    };
    pulse.beat(&format!("failing: {}", error.label()), &finder.figures());
    Err(error)
}

/// The name of a process that looks for hints by this configuration, for its lock, heartbeat and
/// segments: each part of the turns has its own.
pub fn process(config: &HintConfig) -> String {
    match config.shard {
        None => "hint".to_owned(),
        Some(shard) => format!("hint-{}", shard.to_string().replace('/', "of")),
    }
}

/// A row, or why the work cannot go on.
type Outcome = Result<Hint, NoRows>;

struct Finder {
    desk: Arc<Desk>,
    rollouts: Tail<Rollout>,
    writer: Writer<Hint>,
    docket: Docket<Outcome>,
    finished: Vec<Hint>,
    flushed_at: Instant,
    summary: HintSummary,
    /// Rows of this home.
    total: usize,
}

/// What each case is worked on with.
struct Desk {
    judge: Judge,
    teacher: Teacher,
    /// Finds the turns for which a hint was accepted.
    turns: Arc<Mutex<store::Finder<Turn>>>,
    acceptance: Acceptance,
    top_k: u32,
    follow: bool,
}

impl Finder {
    fn open(config: &HintConfig, home: &Home, store: &Store) -> Result<Self, HintError> {
        let tries = config.judge.tries;
        let patience = if config.follow { Patience::long(tries) } else { Patience::brief(tries) };
        let server = |source| HintError::Server { waiting: 0, source };
        let judge = Judge::open(&config.judge, patience).map_err(server)?;
        let judge = judge.apart_from(home.weights());
        let completer = Completer::open(Options {
            urls: vec![config.teacher.clone()],
            key_file: config.teacher_key_file.clone(),
            timeout: Duration::from_secs(config.judge.timeout_s),
            patience,
            concurrency: config.judge.concurrency,
            role: "teacher",
        })
        .map_err(server)?;
        let summary = HintSummary { judge: judge.name(), ..HintSummary::default() };
        let desk = Desk {
            judge,
            teacher: Teacher::new(completer, home, config.top_k as usize),
            turns: Arc::new(Mutex::new(store.finder())),
            acceptance: config.acceptance(),
            top_k: config.top_k,
            follow: config.follow,
        };
        let mut finder = Self {
            desk: Arc::new(desk),
            rollouts: store.tail(),
            writer: store.writer(&process(config))?,
            docket: Docket::new(config.judge.concurrency, config.shard, config.judge.horizon),
            finished: Vec::new(),
            flushed_at: Instant::now(),
            summary,
            total: 0,
        };
        let docket = &mut finder.docket;
        let broken = store.tail::<Hint>().each(|rows| {
            rows.iter().for_each(|hint| docket.looked_at(hint.turn_id, hint.revision));
        });
        finder.report(broken);
        finder.total = finder.docket.known();
        Ok(finder)
    }

    /// Works until there is nothing left to do, or until `shutdown`.
    async fn work(
        &mut self,
        config: &HintConfig,
        pulse: &mut Pulse,
        shutdown: &CancellationToken,
    ) -> Result<(), NoRows> {
        let mut look = tokio::time::interval(Duration::from_millis(config.poll_ms));
        let mut beat = tokio::time::interval(BEAT);
        let desk = Arc::clone(&self.desk);
        self.look();
        loop {
            while self.docket.wants_more() && self.rollouts.ahead() > 0 {
                self.look();
            }
            if !config.follow && self.rollouts.ahead() == 0 {
                self.docket.end();
            }
            if !config.follow && self.docket.is_empty() {
                return Ok(());
            }
            let start = |case| Arc::clone(&desk).look_through(case);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(outcome) = self.docket.next(start) => self.finished.push(outcome?),
                _ = look.tick() => if config.follow { self.look() },
                _ = beat.tick() => {
                    let doing = if self.docket.is_empty() { "waiting" } else { "working" };
                    pulse.beat(doing, &self.figures());
                }
            }
            self.flush_if_due();
        }
    }

    /// Puts new rollouts on the docket, as many as it has use for.
    fn look(&mut self) {
        let docket = &mut self.docket;
        let broken = self.rollouts.some(|rows| docket.offer(rows));
        self.report(broken);
    }

    /// How many turns wait, on the docket and behind it.
    fn left(&mut self) -> usize {
        let (docket, mut left) = (&mut self.docket, 0);
        let mut broken = Vec::new();
        while self.rollouts.ahead() > 0 {
            broken.extend(self.rollouts.some(|rows| {
                left += docket.pass_over(&rows);
                true
            }));
        }
        left += docket.len();
        self.report(broken);
        left
    }

    fn flush_if_due(&mut self) {
        let due = self.docket.is_empty()
            || self.finished.len() >= ROWS_MAX
            || self.flushed_at.elapsed() >= FLUSH;
        if due && let Err(error) = self.flush() {
            // The rows are kept and tried again; the last flush of the run reports the error.
            emit(HintSegmentUnread { error: error.to_string() });
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.flushed_at = Instant::now();
        if self.finished.is_empty() {
            return Ok(());
        }
        self.writer.append(&self.finished)?;
        let rows = std::mem::take(&mut self.finished);
        let accepted_before = self.summary.accepted;
        for row in &rows {
            let summary = &mut self.summary;
            let count = match row.status {
                HintStatus::Accepted => &mut summary.accepted,
                HintStatus::NoHint => &mut summary.no_hint,
                HintStatus::JudgeFailed => &mut summary.judge_failed,
                HintStatus::TeacherFailed => &mut summary.teacher_failed,
                HintStatus::RenderMismatch => &mut summary.render_mismatch,
                HintStatus::TooLong => &mut summary.too_long,
            };
            *count += 1;
            if !matches!(row.status, HintStatus::Accepted | HintStatus::NoHint) {
                let (turn, reason) = (row.turn_id.to_string(), row.detail.clone());
                emit(HintFailed { turn, status: row.status.label(), reason });
            }
        }
        self.summary.hints += rows.len();
        self.total += rows.len();
        let accepted = self.summary.accepted - accepted_before;
        emit(TurnsHinted { rows: rows.len(), accepted, waiting: self.docket.len() });
        Ok(())
    }

    fn report(&mut self, broken: Vec<StoreError>) {
        for error in broken {
            self.summary.unread_segments += 1;
            emit(HintSegmentUnread { error: error.to_string() });
        }
    }

    /// Totals of this home, and what this process did.
    fn figures(&self) -> [(&'static str, f64); 7] {
        let failed = self.summary.hints - self.summary.accepted - self.summary.no_hint;
        [
            ("hints", self.total as f64),
            ("waiting", self.docket.len() as f64),
            ("segments_ahead", self.rollouts.ahead() as f64),
            ("accepted", self.summary.accepted as f64),
            ("no_hint", self.summary.no_hint as f64),
            ("failed", failed as f64),
            ("unread_segments", self.summary.unread_segments as f64),
        ]
    }
}

impl Desk {
    /// Asks the judge for a hint, and the teacher for what it changes.
    async fn look_through(self: Arc<Self>, case: Case) -> Outcome {
        let rollout = &case.rollout;
        let mut row = nothing_found(rollout, self.judge.name());
        let exchange = match Exchange::of(&case) {
            Ok(exchange) => exchange,
            Err(error) => return Ok(failed(row, HintStatus::JudgeFailed, error.to_string())),
        };
        let ballot = match self.judge.hint(rollout.turn_id, &exchange).await {
            Ok(ballot) => ballot,
            Err(error) if self.follow && error.is_down() => {
                return Ok(failed(row, HintStatus::JudgeFailed, error.to_string()));
            }
            Err(error) => return Err(NoRows::Teacher(error)),
        };
        let accepted = ballot.accepted(self.acceptance).map(str::to_owned);
        let candidates = ballot.candidates(self.acceptance);
        let leaked = ballot.has_leak();
        row.judge = ballot.judge;
        row.votes = ballot.votes;
        if let Some(reason) = ballot.failed {
            return Ok(failed(row, HintStatus::JudgeFailed, reason));
        }
        row.hinted_at_us = now_us();
        let Some(hint) = accepted else {
            if leaked {
                row.detail = "the hint hands over the answer".to_owned();
            }
            return Ok(row);
        };
        row.hint = hint;
        let told = match self.told(row.turn_id).await {
            Ok(told) => told,
            Err(detail) => return Ok(failed(row, HintStatus::TeacherFailed, detail)),
        };
        match self.teach(&told, &row.hint, candidates).await {
            Ok((rows, candidates)) => {
                row.candidates = candidates;
                row.status = HintStatus::Accepted;
                row.scored_by = rows.scored_by;
                row.teacher_logprobs = rows.teacher;
                row.student_logprobs = rows.student;
                row.top_k = self.top_k;
                row.teacher_top = rows.teacher_top;
                row.student_top = rows.student_top;
                row.hinted_at_us = now_us();
                Ok(row)
            }
            Err(NoRows::Turn(status, detail)) => Ok(failed(row, status, detail)),
            Err(NoRows::Teacher(error)) if self.follow && error.is_down() => {
                Ok(failed(row, HintStatus::TeacherFailed, error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// What the teacher needs of a turn, or why it cannot be had.
    async fn told(&self, turn: TurnId) -> Result<Told, String> {
        let turns = Arc::clone(&self.turns);
        let search = move || turns.lock().unwrap_or_else(PoisonError::into_inner).find(turn);
        let found = tokio::task::spawn_blocking(search).await.map_err(|error| error.to_string())?;
        match found.rows.into_iter().next() {
            Some(row) => Ok(Told::from(row)),
            None => {
                let broken = found.broken.first().map(|error| format!(": {error}"));
                Err(format!("the turn's own row cannot be read{}", broken.unwrap_or_default()))
            }
        }
    }

    /// Both rows, and the prompt of each candidate; a daemon waits for the home's model to appear.
    async fn teach(
        &self,
        told: &Told,
        hint: &str,
        candidates: Vec<String>,
    ) -> Result<(Rows, Vec<HintCandidate>), NoRows> {
        let rows = loop {
            match self.teacher.rows(told, hint).await {
                Err(NoRows::NoModel) if self.follow => tokio::time::sleep(MODEL_PAUSE).await,
                other => break other?,
            }
        };
        Ok((rows, self.teacher.candidates(told, candidates).await?))
    }
}

/// The row of a turn of which nothing is known yet.
fn nothing_found(rollout: &Rollout, judge: String) -> Hint {
    Hint {
        turn_id: rollout.turn_id,
        revision: rollout.revision,
        judge,
        status: HintStatus::NoHint,
        votes: Vec::new(),
        hint: String::new(),
        scored_by: None,
        teacher_logprobs: Vec::new(),
        student_logprobs: Vec::new(),
        top_k: 0,
        teacher_top: Likeliest::default(),
        student_top: Likeliest::default(),
        candidates: Vec::new(),
        detail: String::new(),
        hinted_at_us: now_us(),
    }
}

/// The row of a turn that has no usable hint. A hint that was found stays in its vote.
fn failed(row: Hint, status: HintStatus, detail: String) -> Hint {
    Hint { status, detail, hint: String::new(), hinted_at_us: now_us(), ..row }
}
