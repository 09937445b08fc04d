//! The `score` stage: rollouts in, scores out.
//!
//! Every main turn of which something is known (a next state, a rating, that another reply was
//! asked for) gets a row, and a further one when more is known. While a model judge is down the
//! turns wait; as a daemon it insists for more than a minute before it gives a turn up as
//! `judge_failed`, as a command it ends with an error and writes nothing for the turns that it
//! could not ask about.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::complete::{CompleteError, Patience};
use crate::config::{ConfigError, Home, ScoreConfig};
use crate::events::heartbeat::Pulse;
use crate::events::score::{RepliesScored, ScoreJudgeFailed, ScoreSegmentUnread};
use crate::events::{emit, now_us};
use crate::fault::Explain;
use crate::judge::{self, Case, Docket, Exchange, Judge};
pub use crate::judge::{BadCase, ScoreBallot, Written};
use crate::rollout::{Rollout, Score, ScoreStatus, TurnId};
use crate::store::{
    FileWriter, RolloutPart, Store, StoreError, Table, Tail, Writer, files, output_file, rows,
};

/// Rows of one segment.
const ROWS_MAX: usize = 500;
/// Longest time that a finished row waits for others of its segment.
const FLUSH: Duration = Duration::from_millis(250);
/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(1);
/// Turns that the rules judge at the same time.
const RULES_AT_ONCE: usize = 64;

/// What a run of `score` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScoreSummary {
    /// The judge's name and version.
    pub judge: String,
    /// Scores that were written.
    pub scores: usize,
    /// Those of +1.
    pub positive: usize,
    /// Those of -1.
    pub negative: usize,
    /// Those of 0.
    pub neutral: usize,
    /// Turns given up for want of a usable vote.
    pub judge_failed: usize,
    /// Turns that wait for the judge, as far as they were read.
    pub waiting: usize,
    /// Segments that could not be read.
    pub unread_segments: usize,
}

/// Why `score` ended.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A value that it cannot work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The judge cannot be asked.
    #[error("{waiting} turns wait: the judge cannot be asked")]
    Judge {
        /// Turns that wait.
        waiting: usize,
        /// Why it cannot be asked.
        source: CompleteError,
    },
    /// It was told to stop in the middle of plain files or of exchanges.
    #[error("stopped before the end")]
    Interrupted,
}

impl Explain for ScoreError {
    fn label(&self) -> &'static str {
        match self {
            Self::Config(error) => error.label(),
            Self::Store(error) => error.label(),
            Self::Judge { source, .. } => source.label(),
            Self::Interrupted => "interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Judge { source, .. } => source.hint(),
            Self::Interrupted => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Judge { source, .. } => source.exit_code(),
            Self::Interrupted => 1,
        }
    }
}

/// Scores every rollout that has no score yet; with `follow` it stays until `shutdown`.
///
/// # Errors
/// [`ScoreError`]: a wrong value, a store that cannot be opened or written to, or a judge that
/// refuses every request; in one-shot use also a judge that is down.
pub async fn run(
    config: &ScoreConfig,
    home: &Home,
    shutdown: CancellationToken,
) -> Result<ScoreSummary, ScoreError> {
    config.validate()?;
    let store = Store::open(home)?;
    let mut scorer = Scorer::open(config, home, &store)?;
    let mut pulse = Pulse::new(home.state(&process(config)), "score");
    let ended = scorer.work(config, &mut pulse, &shutdown).await;
    scorer.flush()?;
    // The case whose error ended the work is on the docket no more, and waits all the same.
    let waiting = if ended.is_err() { scorer.left() + 1 } else { scorer.docket.len() };
    scorer.summary.waiting = waiting;
    match ended {
        Ok(()) => {
            pulse.beat("done", &scorer.figures());
            Ok(scorer.summary)
        }
        Err(source) => {
            pulse.beat(&format!("failing: {}", source.label()), &scorer.figures());
            Err(ScoreError::Judge { waiting, source })
        }
    }
}

/// The name of a process that judges by this configuration, for its lock, heartbeat and segments:
/// each part of the turns has its own.
pub fn process(config: &ScoreConfig) -> String {
    match config.shard {
        None => "score".to_owned(),
        Some(shard) => format!("score-{}", shard.to_string().replace('/', "of")),
    }
}

/// The same on plain files: the rollouts of the Parquet file or directory `input` become the
/// scores of the file `output` (or of `scores.parquet` in it), which is replaced. Of several rows
/// of a turn the one of the highest revision is judged.
///
/// # Errors
/// [`ScoreError`]: a wrong value, an input that cannot be read, an output that cannot be written,
/// or a judge that cannot be asked; then nothing is written.
pub async fn run_files(
    config: &ScoreConfig,
    input: &Path,
    output: &Path,
    shutdown: &CancellationToken,
) -> Result<ScoreSummary, ScoreError> {
    config.validate()?;
    let inputs = files(input, Table::Rollouts)?;
    let output = output_file(output, Table::Scores, &inputs)?;
    let judge = Judge::open(&config.judge, Patience::brief(config.judge.tries))
        .map_err(|source| ScoreError::Judge { waiting: 0, source })?;
    let judge_name = judge.name();
    let mut writer = FileWriter::create(&output)?;
    let mut rows = tokio::select! {
        () = shutdown.cancelled() => return Err(ScoreError::Interrupted),
        rows = judge_files(&inputs, Arc::new(judge), config) => rows?,
    };
    rows.sort_by_key(|row| row.turn_id);
    writer.write(&rows)?;
    writer.finish()?;
    let mut summary = ScoreSummary { judge: judge_name, ..ScoreSummary::default() };
    summary.count(&rows);
    Ok(summary)
}

/// What a model judge is asked about the score of a reply that somebody wrote down.
pub fn prompt(written: &Written) -> Vec<serde_json::Value> {
    written.asked(judge::SCORE_PROMPT)
}

/// What the judge says of exchanges that somebody wrote down, without a store: `tell` is given one
/// result after the other, in the order of the exchanges.
///
/// # Errors
/// [`ScoreError`]: a wrong value, or a judge that cannot be asked.
pub async fn run_written(
    config: &ScoreConfig,
    exchanges: &[Written],
    shutdown: &CancellationToken,
    mut tell: impl FnMut(ScoreBallot),
) -> Result<(), ScoreError> {
    config.validate()?;
    let failed = |waiting| move |source| ScoreError::Judge { waiting, source };
    let judge =
        Judge::open(&config.judge, Patience::brief(config.judge.tries)).map_err(failed(0))?;
    let ballots = judge.scores(exchanges, at_once(&judge, config));
    tokio::pin!(ballots);
    for told in 0..exchanges.len() {
        let ballot = tokio::select! {
            () = shutdown.cancelled() => return Err(ScoreError::Interrupted),
            Some(ballot) = ballots.next() => ballot.map_err(failed(exchanges.len() - told))?,
        };
        tell(ballot);
    }
    Ok(())
}

/// Judges the rollouts of some files; so many of them are in memory as are judged at once.
async fn judge_files(
    inputs: &[PathBuf],
    judge: Arc<Judge>,
    config: &ScoreConfig,
) -> Result<Vec<Score>, ScoreError> {
    let mut newest: HashMap<TurnId, u32> = HashMap::new();
    for file in inputs {
        for batch in rows::<RolloutPart>(file)? {
            for row in batch? {
                let revision = newest.entry(row.turn_id).or_default();
                *revision = row.placement.revision.max(*revision);
            }
        }
    }
    let at_once = at_once(&judge, config);
    let mut docket = Docket::new(at_once, None, config.judge.horizon);
    let mut scores = Vec::new();
    let start = |case| judged(Arc::clone(&judge), case, false);
    for file in inputs {
        for batch in rows::<Rollout>(file)? {
            let counts = |row: &Rollout| newest.get(&row.turn_id) == Some(&row.revision);
            docket.offer(batch?.into_iter().filter(counts));
            while docket.due() > at_once {
                scores.extend(settled(docket.next(start).await, docket.len())?);
            }
        }
    }
    docket.end();
    while !docket.is_empty() {
        scores.extend(settled(docket.next(start).await, docket.len())?);
    }
    Ok(scores)
}

fn settled(outcome: Option<Outcome>, left: usize) -> Result<Option<Score>, ScoreError> {
    let waiting = left + 1;
    outcome.transpose().map_err(|source| ScoreError::Judge { waiting, source })
}

fn at_once(judge: &Judge, config: &ScoreConfig) -> usize {
    match judge {
        Judge::Rules => RULES_AT_ONCE,
        Judge::Model(_) | Judge::RulesAndModel(_) => config.judge.concurrency,
    }
}

impl ScoreSummary {
    fn count(&mut self, rows: &[Score]) {
        let judged = |score: i8| {
            let of = |row: &&Score| row.status == ScoreStatus::Judged && row.score == score;
            rows.iter().filter(of).count()
        };
        self.scores += rows.len();
        self.positive += judged(1);
        self.negative += judged(-1);
        self.neutral += judged(0);
        self.judge_failed +=
            rows.iter().filter(|row| row.status == ScoreStatus::JudgeFailed).count();
    }
}

/// A row, or why the judge could not be asked.
type Outcome = Result<Score, CompleteError>;

struct Scorer {
    judge: Arc<Judge>,
    rollouts: Tail<Rollout>,
    writer: Writer<Score>,
    docket: Docket<Outcome>,
    finished: Vec<Score>,
    flushed_at: Instant,
    summary: ScoreSummary,
    /// Scores of this home.
    total: usize,
}

impl Scorer {
    fn open(config: &ScoreConfig, home: &Home, store: &Store) -> Result<Self, ScoreError> {
        let tries = config.judge.tries;
        let patience = if config.follow { Patience::long(tries) } else { Patience::brief(tries) };
        let judge = Judge::open(&config.judge, patience)
            .map_err(|source| ScoreError::Judge { waiting: 0, source })?
            .apart_from(home.weights());
        let at_once = at_once(&judge, config);
        let summary = ScoreSummary { judge: judge.name(), ..ScoreSummary::default() };
        let mut scorer = Self {
            judge: Arc::new(judge),
            rollouts: store.tail(),
            writer: store.writer(&process(config))?,
            docket: Docket::new(at_once, config.shard, config.judge.horizon),
            finished: Vec::new(),
            flushed_at: Instant::now(),
            summary,
            total: 0,
        };
        let (docket, judge) = (&mut scorer.docket, &scorer.judge);
        let broken = store.tail::<Score>().each(|rows| {
            let counts = |row: &&Score| !config.rejudge || judge.has_judged(&row.judge);
            let known = rows.iter().filter(counts);
            known.for_each(|score| docket.looked_at(score.turn_id, score.revision));
        });
        scorer.report(broken);
        scorer.total = scorer.docket.known();
        Ok(scorer)
    }

    /// Scores until there is nothing left to do, or until `shutdown`.
    async fn work(
        &mut self,
        config: &ScoreConfig,
        pulse: &mut Pulse,
        shutdown: &CancellationToken,
    ) -> Result<(), CompleteError> {
        let mut look = tokio::time::interval(Duration::from_millis(config.poll_ms));
        let mut beat = tokio::time::interval(BEAT);
        let judge = Arc::clone(&self.judge);
        let follow = config.follow;
        self.look();
        loop {
            while self.docket.wants_more() && self.rollouts.ahead() > 0 {
                self.look();
            }
            if !follow && self.rollouts.ahead() == 0 {
                self.docket.end();
            }
            if !follow && self.docket.is_empty() {
                return Ok(());
            }
            let start = |case| judged(Arc::clone(&judge), case, follow);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(outcome) = self.docket.next(start) => self.finished.push(outcome?),
                _ = look.tick() => if follow { self.look() },
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
            emit(ScoreSegmentUnread { error: error.to_string() });
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.flushed_at = Instant::now();
        if self.finished.is_empty() {
            return Ok(());
        }
        self.writer.append(&self.finished)?;
        let rows = std::mem::take(&mut self.finished);
        self.summary.count(&rows);
        for row in rows.iter().filter(|row| row.status == ScoreStatus::JudgeFailed) {
            let (turn, reason) = (row.turn_id.to_string(), row.reasoning.clone());
            emit(ScoreJudgeFailed { turn, reason });
        }
        self.total += rows.len();
        emit(RepliesScored { rows: rows.len(), waiting: self.docket.len() });
        Ok(())
    }

    fn report(&mut self, broken: Vec<StoreError>) {
        for error in broken {
            self.summary.unread_segments += 1;
            emit(ScoreSegmentUnread { error: error.to_string() });
        }
    }

    /// Totals of this home, and what this process did.
    fn figures(&self) -> [(&'static str, f64); 7] {
        [
            ("scores", self.total as f64),
            ("waiting", self.docket.len() as f64),
            ("segments_ahead", self.rollouts.ahead() as f64),
            ("positive", self.summary.positive as f64),
            ("negative", self.summary.negative as f64),
            ("neutral", self.summary.neutral as f64),
            ("judge_failed", self.summary.judge_failed as f64),
        ]
    }
}

/// Asks the judge about one case. As a daemon, a judge that stayed away too long has failed;
/// as a command, that ends the command.
async fn judged(judge: Arc<Judge>, case: Case, follow: bool) -> Outcome {
    let rollout = &case.rollout;
    let failed = |reason: String| Score {
        turn_id: rollout.turn_id,
        revision: rollout.revision,
        judge: judge.name(),
        status: ScoreStatus::JudgeFailed,
        votes: Vec::new(),
        score: 0,
        reasoning: reason,
        judged_at_us: now_us(),
    };
    let exchange = match Exchange::of(&case) {
        Ok(exchange) => exchange,
        Err(error) => return Ok(failed(error.to_string())),
    };
    match judge.score(rollout.turn_id, &exchange).await {
        Ok(ballot) => Ok(Score {
            judge: ballot.judge,
            status: match ballot.score {
                Some(_) => ScoreStatus::Judged,
                None => ScoreStatus::JudgeFailed,
            },
            votes: ballot.votes,
            score: ballot.score.unwrap_or(0),
            reasoning: ballot.reasoning,
            ..failed(String::new())
        }),
        Err(error) if follow && error.is_down() => Ok(failed(error.to_string())),
        Err(error) => Err(error),
    }
}
