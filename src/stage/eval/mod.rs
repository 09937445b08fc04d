//! Simulated users: they talk to any server by its API, react to its replies as people do, and
//! measure what comes of it.
//!
//! A run holds sessions, one persona after the other, and asks every weights version that went
//! live for first replies to held-out prompts (nothing of which is kept by the server): the share
//! that is as the persona wants it is the *satisfaction*. Skill that has nothing to do with it is
//! measured before and after. docs/eval.md says what each figure means.

mod figures;
mod lockstep;
mod measure;
mod pace;
mod persona;
mod plot;
mod problem;
mod server;
mod user;
mod wants;
mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use figures::{Change, Share, sessions_to_preference};
pub use persona::{Persona, TaskKind};
pub use plot::{Curve, Drawing};
pub use wants::{Form, Seen, Wants};

use crate::complete::{CompleteError, Completer, Options, Patience};
use crate::config::{ConfigError, EvalConfig};
use crate::fault::Explain;
use lockstep::Lockstep;
use pace::Pace;
use problem::Problems;
use server::Server;
use user::Setting;
use words::Words;

/// How often a version is measured anew that went away meanwhile.
const MEASURED_MAX: usize = 3;

/// Why `eval` ended.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A value that it cannot work with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A persona that cannot be played.
    #[error("persona {}: {reason}", path.display())]
    Persona {
        /// Its file, or its name.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file without problems.
    #[error("problems in {}: {reason}", path.display())]
    Problems {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key that cannot be read.
    #[error("the API key in {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No HTTP client to be had.
    #[error("no HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// The server fails every request.
    #[error("{url} fails every request: {reason}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why the first one failed.
        reason: String,
    },
    /// The server does not tell how its loop stands.
    #[error("the server does not tell how its loop stands: {reason}")]
    NoLoop {
        /// Why.
        reason: String,
    },
    /// The loop did not come to rest.
    #[error("the loop did not come to rest within {seconds} s: {standing}")]
    Waited {
        /// How long it was waited for.
        seconds: u64,
        /// How it stood at last.
        standing: String,
    },
    /// The model that plays the users cannot be asked.
    #[error(transparent)]
    Llm(#[from] CompleteError),
    /// The model that plays the users says nothing.
    #[error("{model} says nothing as a user")]
    Speechless {
        /// Its name.
        model: String,
    },
    /// It was told to stop.
    #[error("stopped before the end")]
    Interrupted,
}

impl Explain for EvalError {
    fn label(&self) -> &'static str {
        match self {
            Self::Config(error) => error.label(),
            Self::Persona { .. } => "eval_persona",
            Self::Problems { .. } => "eval_problems",
            Self::Key { .. } => "eval_key",
            Self::Client { .. } => "eval_client",
            Self::Unreachable { .. } => "eval_unreachable",
            Self::NoLoop { .. } => "eval_no_loop",
            Self::Waited { .. } => "eval_waited",
            Self::Llm(error) => error.label(),
            Self::Speechless { .. } => "eval_speechless",
            Self::Interrupted => "interrupted",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Config(error) => return error.hint(),
            Self::Llm(error) => return error.hint(),
            Self::Persona { .. } => "docs/eval.md shows the form of a persona's file",
            Self::Problems { .. } => {
                "give JSON lines with `question` and `answer`, as in testdata/eval/problems.jsonl"
            }
            Self::Key { .. } => "give a file that holds the key and nothing else",
            Self::Unreachable { .. } => {
                "start `openclaw-rl run`, or give the address of a server with --url"
            }
            Self::NoLoop { .. } => "without a loop of ours behind the server, leave out --lockstep",
            Self::Waited { .. } => {
                "look into the stages' logs; --batch-size must be the trainer's, and --timeout-s \
                 may be longer"
            }
            Self::Speechless { .. } => "try another model, or the persona's own lines",
            Self::Client { .. } | Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Persona { .. } | Self::Problems { .. } | Self::Key { .. } => 2,
            Self::Llm(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// What one version was found to be like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The version, where the server says it.
    pub version: Option<String>,
    /// Sessions that were held before.
    pub sessions: usize,
    /// Replies that were reacted to before.
    pub turns: usize,
    /// Seconds since the first session began.
    pub seconds: f64,
    /// Of all personas together.
    pub satisfaction: Share,
    /// Of each persona.
    pub personas: BTreeMap<String, Share>,
}

/// How long it took from sending the message that completed a batch, its reply included, to the
/// version that came of it, with everything else at rest too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delay {
    /// Versions.
    pub n: usize,
    /// Median, in seconds.
    pub median: f64,
    /// Longest, in seconds.
    pub max: f64,
}

impl Delay {
    fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let max = *seconds.last()?;
        Some(Self { n: seconds.len(), median: seconds[seconds.len() / 2], max })
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Who talked.
    pub personas: Vec<String>,
    /// Seed of the users.
    pub seed: u64,
    /// Sessions that were held.
    pub sessions: usize,
    /// Replies that were reacted to.
    pub turns: usize,
    /// Seconds that it all took.
    pub seconds: f64,
    /// Requests for a reply.
    pub requests: u64,
    /// Those that failed.
    pub failed_requests: u64,
    /// Why the first of them did.
    pub first_failure: Option<String>,
    /// Share of first replies to held-out prompts that were as wanted, before any session.
    pub satisfaction_first: Share,
    /// The same of the last version.
    pub satisfaction_last: Share,
    /// Number of the third of the first three sessions in a row whose first reply was as wanted.
    pub sessions_to_preference: Option<usize>,
    /// The same, counted in each persona's own sessions.
    pub sessions_to_preference_each: BTreeMap<String, Option<usize>>,
    /// Whether the first reply of each session was as wanted; null where a request failed.
    pub first_replies: Vec<Option<bool>>,
    /// Replies of sessions with a right answer, of those that can be checked.
    pub right_in_sessions: Share,
    /// Held-out problems solved, before.
    pub task_accuracy_before: Option<Share>,
    /// Held-out problems solved, after.
    pub task_accuracy_after: Option<Share>,
    /// The difference, over the same problems.
    pub task_accuracy_change: Option<Change>,
    /// Log-likelihood of replies that no persona cares about, in nats a token, before.
    pub probe_before: Option<f64>,
    /// The same, after.
    pub probe_after: Option<f64>,
    /// In lockstep: from the message that completed a batch to the version that came of it.
    /// `None` without one.
    pub feedback_to_live_s: Option<Delay>,
    /// Every version that was asked, in order.
    pub curve: Vec<Point>,
    /// Why it ended before its end, if it did: then the figures are those of what was held.
    pub ended_by: Option<String>,
}

/// What is going on, for those who wait.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Something is measured.
    Measuring(&'static str),
    /// A version was measured.
    Measured(Point),
    /// A session was held: its number from 1, and with whom.
    Held(usize, String),
}

/// Holds the sessions, and measures before, after, and in between. What was measured comes back
/// also where the sessions could not all be held, with the reason.
///
/// # Errors
/// [`EvalError`]: a wrong value, a server that cannot be asked, a loop that does not come to rest
/// before the first session.
pub async fn run(
    config: &EvalConfig,
    stop: CancellationToken,
    tell: impl FnMut(Progress),
) -> Result<(Report, Option<EvalError>), EvalError> {
    config.validate()?;
    let personas = opened(&config.persona)?;
    let problems = config.problems.as_deref().map(Problems::read).transpose()?;
    let server = Server::open(config)?;
    let words = Words::open(config)?;
    let setting = Setting { config, server: &server, problems: problems.as_ref(), words: &words };
    let scorer = Completer::open(Options {
        urls: vec![config.url.clone()],
        key_file: config.api_key_file.clone(),
        timeout: Duration::from_secs(config.timeout_s),
        patience: Patience::brief(1),
        concurrency: config.concurrency,
        role: "server",
    })?;
    let lockstep = if config.lockstep && config.sessions > 0 {
        let longest = Duration::from_secs(config.timeout_s);
        Some(Lockstep::begin(&server, config.batch_size as u64, longest).await?)
    } else {
        None
    };
    let mut course = Course {
        setting,
        personas: &personas,
        scorer: &scorer,
        stop: &stop,
        tell,
        pace: Pace::begin(lockstep, &stop).await?,
        started: Instant::now(),
        curve: Vec::new(),
        turns: 0,
        first_replies: Vec::new(),
        right: Share::default(),
    };
    course.run().await
}

/// The personas of these names and files.
fn opened(which: &[String]) -> Result<Vec<Persona>, EvalError> {
    let mut personas: Vec<Persona> = Vec::new();
    for which in which {
        let persona = Persona::open(which)?;
        if personas.iter().any(|known| known.name == persona.name) {
            let reason = format!("`{}` talks already: the names must differ", persona.name);
            return Err(EvalError::Persona { path: which.into(), reason });
        }
        personas.push(persona);
    }
    Ok(personas)
}

/// A run in its course.
struct Course<'a, F> {
    setting: Setting<'a>,
    personas: &'a [Persona],
    scorer: &'a Completer,
    stop: &'a CancellationToken,
    tell: F,
    started: Instant,
    curve: Vec<Point>,
    turns: usize,
    first_replies: Vec<Option<bool>>,
    right: Share,
    pace: Pace<'a>,
}

/// Held-out problems, and the likelihood of the probes.
type Skill = (Option<Vec<Option<bool>>>, Option<f64>);

impl<F: FnMut(Progress)> Course<'_, F> {
    async fn run(&mut self) -> Result<(Report, Option<EvalError>), EvalError> {
        let begun = Instant::now();
        self.measure(0).await?;
        let before = self.skill().await?;
        self.started = Instant::now();
        let held = self.hold_all().await;
        let after = match (&held, self.setting.config.sessions) {
            (Err(_), _) | (_, 0) => Ok((None, None)),
            (Ok(()), _) => self.skill().await,
        };
        let (after, error) = match (held, after) {
            (Ok(()), Ok(after)) => (after, None),
            (Err(error), _) | (_, Err(error)) => ((None, None), Some(error)),
        };
        let ended_by = error.as_ref().map(|error| crate::fault::chain(error));
        Ok((self.report(begun, &before, &after, ended_by), error))
    }

    /// Holds the sessions, and measures each version that answers after one of them.
    async fn hold_all(&mut self) -> Result<(), EvalError> {
        let run = uuid::Uuid::now_v7();
        let sessions = self.setting.config.sessions;
        for number in 0..sessions {
            if self.stop.is_cancelled() {
                return Err(EvalError::Interrupted);
            }
            self.session(number, &format!("eval-{run}-{number}:0")).await?;
            if self.is_new().await {
                self.measure(number + 1).await?;
            }
        }
        // A server that does not tell its version may have another one all the same.
        match self.curve.last() {
            Some(Point { version: None, .. }) if sessions > 0 => self.measure(sessions).await,
            _ => Ok(()),
        }
    }

    fn report(
        &mut self,
        begun: Instant,
        before: &Skill,
        after: &Skill,
        ended_by: Option<String>,
    ) -> Report {
        let change = before.0.as_deref().zip(after.0.as_deref());
        let (requests, failed_requests, first_failure) = self.setting.server.figures();
        let joint = |point: Option<&Point>| point.map_or(Share::of(0, 0), |at| at.satisfaction);
        Report {
            personas: self.personas.iter().map(|persona| persona.name.clone()).collect(),
            seed: self.setting.config.seed,
            sessions: self.first_replies.len(),
            turns: self.turns,
            seconds: begun.elapsed().as_secs_f64(),
            requests,
            failed_requests,
            first_failure,
            satisfaction_first: joint(self.curve.first()),
            satisfaction_last: joint(self.curve.last()),
            sessions_to_preference: sessions_to_preference(&self.first_replies),
            sessions_to_preference_each: self.each_to_preference(),
            first_replies: self.first_replies.clone(),
            right_in_sessions: self.right,
            task_accuracy_before: before.0.as_deref().map(solved),
            task_accuracy_after: after.0.as_deref().map(solved),
            task_accuracy_change: change.map(|(before, after)| Change::between(before, after)),
            probe_before: before.1,
            probe_after: after.1,
            feedback_to_live_s: Delay::of(std::mem::take(&mut self.pace.delays)),
            curve: std::mem::take(&mut self.curve),
            ended_by,
        }
    }

    async fn session(&mut self, number: usize, id: &str) -> Result<(), EvalError> {
        let persona = &self.personas[number % self.personas.len()];
        let session = self.setting.hold(persona, number, id, &mut self.pace).await?;
        self.turns += session.met.len();
        self.first_replies.push(session.met.first().copied());
        self.right = self.right.and(Share::of(session.right, session.checked));
        (self.tell)(Progress::Held(number + 1, persona.name.clone()));
        Ok(())
    }

    /// Whether another version answers than the one that was measured last. A server that does not
    /// tell just now is taken to be what it was.
    async fn is_new(&self) -> bool {
        let version = self.setting.server.version().await;
        version.is_some() && self.curve.last().is_none_or(|last| last.version != version)
    }

    async fn measure(&mut self, sessions: usize) -> Result<(), EvalError> {
        (self.tell)(Progress::Measuring("satisfaction"));
        let seconds = if sessions == 0 { 0.0 } else { self.started.elapsed().as_secs_f64() };
        let turns = self.turns;
        let mut point = Point {
            version: None,
            sessions,
            turns,
            seconds,
            satisfaction: Share::of(0, 0),
            personas: BTreeMap::new(),
        };
        for _ in 0..MEASURED_MAX {
            let version = self.setting.server.version().await;
            let measured = async {
                let mut shares = BTreeMap::new();
                for persona in self.personas {
                    let share = measure::satisfaction(&self.setting, persona).await?;
                    shares.insert(persona.name.clone(), share);
                }
                Ok::<_, EvalError>(shares)
            };
            point.personas = unless_stopped(self.stop, measured).await?;
            point.satisfaction = point.personas.values().copied().fold(Share::of(0, 0), Share::and);
            let same = self.setting.server.version().await == version;
            point.version = version;
            // While users go on talking another one may have gone live in between.
            if same {
                break;
            }
        }
        (self.tell)(Progress::Measured(point.clone()));
        self.curve.push(point);
        Ok(())
    }

    async fn skill(&mut self) -> Result<Skill, EvalError> {
        (self.tell)(Progress::Measuring("tasks"));
        let tasks = match self.setting.config.tasks {
            0 => None,
            _ => Some(unless_stopped(self.stop, measure::tasks(&self.setting)).await?),
        };
        (self.tell)(Progress::Measuring("probes"));
        let probes = async { Ok(measure::probes(&self.setting, self.scorer).await) };
        Ok((tasks, unless_stopped(self.stop, probes).await?))
    }

    fn each_to_preference(&self) -> BTreeMap<String, Option<usize>> {
        let count = self.personas.len();
        let of = |(at, persona): (usize, &Persona)| {
            let own: Vec<_> = self.first_replies.iter().skip(at).step_by(count).copied().collect();
            (persona.name.clone(), sessions_to_preference(&own))
        };
        self.personas.iter().enumerate().map(of).collect()
    }
}

impl Point {
    /// One line for people.
    pub fn line(&self) -> String {
        let version = self.version.as_deref().unwrap_or("?");
        let percent = |share: &Share| format!("{:.0} %", 100.0 * share.share);
        let each = self.personas.iter().map(|(name, share)| format!("{name} {}", percent(share)));
        let each = each.collect::<Vec<_>>().join(", ");
        format!(
            "version {version:>4} | {:>3} sessions {:>4} turns | satisfied {:>5} ({each})",
            self.sessions,
            self.turns,
            percent(&self.satisfaction),
        )
    }
}

impl Report {
    /// All figures, for people.
    pub fn table(&self) -> String {
        let share = |share: Share| {
            let percent = |part: f64| format!("{:.1} %", 100.0 * part);
            let (low, high) = (percent(share.low), percent(share.high));
            format!("{} ({low} to {high}, n {})", percent(share.share), share.n)
        };
        let number = |figure: Option<f64>| {
            figure.map_or_else(|| "not measured".to_owned(), |figure| format!("{figure:.3}"))
        };
        let share_or =
            |figure: Option<Share>| figure.map_or_else(|| "not measured".to_owned(), share);
        let sessions = |count: Option<usize>| {
            count.map_or_else(|| format!("not within {}", self.sessions), |n| n.to_string())
        };
        let mut rows = vec![
            ("satisfaction, before", share(self.satisfaction_first)),
            ("satisfaction, last version", share(self.satisfaction_last)),
        ];
        if self.sessions > 0 {
            rows.push(("sessions to preference", sessions(self.sessions_to_preference)));
        }
        rows.extend([
            ("tasks solved, before", share_or(self.task_accuracy_before)),
            ("tasks solved, after", share_or(self.task_accuracy_after)),
        ]);
        if let Some(Change { change, low, high, lost, gained, .. }) = self.task_accuracy_change {
            let points = |part: f64| format!("{:+.1}", 100.0 * part);
            let (low, high) = (points(low), points(high));
            let told = format!(
                "{} points ({low} to {high}; lost {lost}, gained {gained})",
                points(change)
            );
            rows.push(("tasks solved, change", told));
        }
        rows.extend([
            ("probe log-likelihood, before", number(self.probe_before)),
            ("probe log-likelihood, after", number(self.probe_after)),
        ]);
        if let Some(Delay { n, median, max }) = self.feedback_to_live_s {
            let delay = format!("median {median:.1} s, longest {max:.1} s, n {n}");
            rows.push(("last feedback to live weights", delay));
        }
        let failed = format!("{} of {}", self.failed_requests, self.requests);
        rows.push(("failed requests", failed));
        let line = |(name, value): &(&str, String)| format!("{name:<30} {value}\n");
        let mut table: String = self.curve.iter().map(|point| point.line() + "\n").collect();
        table.push('\n');
        table.extend(rows.iter().map(line));
        table
    }
}

/// What comes of `work`, if it is not told to stop before.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, EvalError>>,
) -> Result<T, EvalError> {
    tokio::select! {
        () = stop.cancelled() => Err(EvalError::Interrupted),
        done = work => done,
    }
}

fn solved(answers: &[Option<bool>]) -> Share {
    let known = answers.iter().flatten();
    Share::of(known.clone().filter(|solved| **solved).count(), known.count())
}
