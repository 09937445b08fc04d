//! Whether everything in a home holds together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::InspectError;
use crate::config::Home;
use crate::rollout::{
    Deployment, Feedback, Hint, HintStatus, Ledger, Rollout, Score, Step, Tally, Turn, TurnId,
    TurnState, TurnStatus, Version,
};
use crate::store::{Part, Store, Table};
use crate::weights::{Manifest, Registry};

/// So many problems are told in words; the others are counted.
const PROBLEMS_MAX: usize = 200;
/// A log-probability may exceed 0 by this much: the rounding of a log-softmax in f32.
const ROUNDING: f32 = 1e-5;

/// What a check of a home found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub ok: bool,
    /// Number of rows that were checked, by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Number of weights versions whose files were compared with their checksums.
    pub versions: u64,
    /// Turns that are recorded: `trained` + `waiting` + the sum of `rejected`.
    pub turns: u64,
    /// Turns that a batch of the surviving lineage consumed.
    pub trained: u64,
    /// Turns that may still be trained on.
    pub waiting: u64,
    /// Turns that will not be trained on, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// What is wrong, each naming the file, the turn or the version.
    pub problems: Vec<String>,
    /// Number of problems, also of those that are not in `problems`.
    pub problems_total: u64,
    /// What is unusual, but mends itself.
    pub notes: Vec<String>,
}

/// Checks every segment, every reference between tables, the accounting, and every version.
///
/// Later stages are read first, so that the check can run while the stages do: what a row names
/// was written before it.
///
/// # Errors
/// [`InspectError::NoHome`]; the store or the registry cannot be opened. What is wrong inside is
/// in the report.
pub fn verify(home: &Home) -> Result<Report, InspectError> {
    let (store, registry) = super::open(home)?;
    let mut check = Check::new(store, registry);
    check.versions();
    check.deployments();
    check.steps();
    check.hints();
    check.scores();
    check.rollouts();
    check.feedback();
    check.turns();
    check.references();
    Ok(check.finish())
}

struct Check {
    store: Store,
    registry: Registry,
    ledger: Ledger,
    report: Report,
    manifests: BTreeMap<Version, Manifest>,
    /// Number of log-probabilities in an accepted hint, and of trained tokens, by turn.
    hint_lengths: HashMap<TurnId, usize>,
    trained_tokens: HashMap<TurnId, u32>,
    rejected: BTreeSet<TurnId>,
    retries: Vec<(TurnId, TurnId)>,
    /// Turns that were placed, and those that were rated.
    placed: BTreeSet<TurnId>,
    rated: BTreeSet<TurnId>,
}

impl Check {
    fn new(store: Store, registry: Registry) -> Self {
        Self {
            store,
            registry,
            ledger: Ledger::new(),
            report: Report::default(),
            manifests: BTreeMap::new(),
            hint_lengths: HashMap::new(),
            trained_tokens: HashMap::new(),
            rejected: BTreeSet::new(),
            retries: Vec::new(),
            placed: BTreeSet::new(),
            rated: BTreeSet::new(),
        }
    }

    fn problem(&mut self, text: impl std::fmt::Display) {
        self.report.problems_total += 1;
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(text.to_string());
        }
    }

    /// The readable rows of a table.
    fn rows<R: Part>(&mut self) -> Vec<R> {
        let polled = self.store.tail::<R>().poll();
        polled.broken.iter().for_each(|error| self.problem(error));
        self.report.rows.insert(R::TABLE.label(), polled.rows.len() as u64);
        polled.rows
    }

    fn versions(&mut self) {
        let versions = self.registry.versions().unwrap_or_default();
        let dead = match self.registry.state() {
            Ok(state) => state.dead,
            Err(_) if versions.is_empty() => BTreeSet::new(),
            Err(error) => {
                self.problem(error);
                BTreeSet::new()
            }
        };
        for version in versions {
            // so that it is not let go while it is looked at
            let _held = self.registry.hold(version);
            let manifest = if dead.contains(&version) || !self.registry.is_whole(version) {
                self.registry.manifest(version)
            } else {
                self.report.versions += 1;
                self.registry.verify(version)
            };
            match manifest {
                Ok(manifest) => {
                    if let Some(step) = &manifest.step {
                        self.ledger.step(step);
                    }
                    self.manifests.insert(version, manifest);
                }
                Err(_) if dead.contains(&version) => {}
                Err(error) => self.problem(error),
            }
        }
        self.ledger.retire(dead);
    }

    /// Whether a version exists, or was published since the check began.
    fn knows(&self, version: Version) -> bool {
        self.manifests.contains_key(&version) || self.registry.dir(version).is_dir()
    }

    fn deployments(&mut self) {
        for row in self.rows::<Deployment>() {
            for version in row.retired.iter().chain([&row.version]).chain(&row.previous) {
                if !self.knows(*version) {
                    self.problem(format_args!(
                        "deployments: {} of version {version}, which does not exist",
                        row.event
                    ));
                }
            }
            self.ledger.deployment(&row);
        }
    }

    fn steps(&mut self) {
        let mut told = BTreeSet::new();
        for row in self.rows::<Step>() {
            self.ledger.step(&row);
            for turn in &row.trained {
                self.trained_tokens.insert(turn.turn_id, turn.tokens);
            }
            self.rejected.extend(row.rejected.iter().map(|turn| turn.turn_id));
            let Some(version) = row.version else { continue };
            told.insert(version);
            // As text, so that a metric that is no number equals itself.
            let stored =
                self.manifests.get(&version).map(|manifest| format!("{:?}", manifest.step));
            match stored {
                Some(stored) if stored != format!("{:?}", Some(&row)) => self.problem(
                    format_args!("steps: the row of version {version} differs from its manifest"),
                ),
                None if !self.knows(version) => self
                    .problem(format_args!("steps: version {version} was made, but does not exist")),
                _ => {}
            }
        }
        for (version, manifest) in &self.manifests {
            if manifest.step.is_some() && !told.contains(version) {
                self.report.notes.push(format!(
                    "steps: no row for version {version} yet; the trainer writes it when it starts"
                ));
            }
        }
    }

    fn hints(&mut self) {
        for row in self.rows::<Hint>() {
            let (teacher, student) = (&row.teacher_logprobs, &row.student_logprobs);
            let turn = row.turn_id;
            if teacher.len() != student.len() {
                self.problem(format_args!(
                    "hints: turn {turn} has {} teacher and {} student log-probabilities",
                    teacher.len(),
                    student.len()
                ));
            }
            for (whose, top) in [("teacher", &row.teacher_top), ("student", &row.student_top)] {
                let whole = row.top_k as usize * teacher.len();
                if top.ids.len() != whole || top.logprobs.len() != whole {
                    self.problem(format_args!(
                        "hints: turn {turn} has {} ids and {} log-probabilities of what its \
                         {whose} finds likeliest, {whole} belong there",
                        top.ids.len(),
                        top.logprobs.len()
                    ));
                }
            }
            if !teacher.iter().chain(student).all(|logprob| is_logprob(*logprob)) {
                self.problem(format_args!(
                    "hints: turn {turn} has no log-probability in its place"
                ));
            }
            if row.status == HintStatus::Accepted {
                if row.scored_by.is_none() || row.hint.is_empty() {
                    self.problem(format_args!(
                        "hints: turn {turn} is accepted without a hint or a version"
                    ));
                }
                self.hint_lengths.insert(turn, teacher.len());
            }
            if let Some(version) = row.scored_by.filter(|version| !self.knows(*version)) {
                self.problem(format_args!(
                    "hints: turn {turn} was scored by version {version}, which does not exist"
                ));
            }
            self.ledger.hint(&row);
        }
    }

    fn scores(&mut self) {
        for row in self.rows::<Score>() {
            if !(-1..=1).contains(&row.score) {
                self.problem(format_args!("scores: turn {} has score {}", row.turn_id, row.score));
            }
            self.ledger.score(&row);
        }
    }

    fn feedback(&mut self) {
        let rows = self.rows::<Feedback>();
        self.rated.extend(rows.iter().map(|row| row.turn_id));
    }

    fn rollouts(&mut self) {
        let mut revisions = BTreeSet::new();
        for row in self.rows::<Rollout>() {
            let (turn, revision) = (row.turn_id, row.revision);
            if !revisions.insert((turn, revision)) {
                self.problem(format_args!("rollouts: turn {turn} has revision {revision} twice"));
            }
            self.placed.insert(turn);
            self.retries.extend(row.retry_of.map(|original| (row.turn_id, original)));
            for (name, text) in [
                ("messages", Some(&row.messages)),
                ("reply", Some(&row.reply)),
                ("next_state", row.next_state.as_ref()),
            ] {
                if text.is_some_and(|text| !is_json(text)) {
                    self.problem(format_args!("rollouts: turn {turn}: `{name}` is no JSON"));
                }
            }
            self.ledger.rollout(&row);
        }
    }

    fn turns(&mut self) {
        let mut seen = BTreeSet::new();
        for row in self.rows::<Turn>() {
            let turn = row.turn_id;
            if !seen.insert(turn) {
                self.problem(format_args!("turns: turn {turn} is recorded twice"));
            }
            for text in turn_problems(&row) {
                self.problem(format_args!("turns: turn {turn} {text}"));
            }
            if row.status == TurnStatus::DoNotTrain && self.placed.contains(&turn) {
                self.problem(format_args!("rollouts: turn {turn} is not to be learned from"));
            }
            for span in &row.version_spans {
                if !self.knows(span.version) {
                    self.problem(format_args!(
                        "turns: turn {turn} was sampled by version {}, which does not exist",
                        span.version
                    ));
                }
            }
            let length = row.response_ids.len();
            if let Some(got) = self.hint_lengths.get(&turn).copied().filter(|got| *got != length) {
                self.problem(format_args!(
                    "hints: turn {turn} has {got} log-probabilities for {length} response tokens"
                ));
            }
            let trained = self.trained_tokens.get(&turn).copied();
            if let Some(tokens) = trained.filter(|tokens| *tokens as usize > length) {
                self.problem(format_args!(
                    "steps: turn {turn} was trained on {tokens} tokens, but has {length}"
                ));
            }
            self.ledger.turn(&row);
        }
        for turn in std::mem::take(&mut self.rated) {
            if !seen.contains(&turn) {
                self.problem(format_args!("feedback: turn {turn} is not recorded"));
            }
        }
        for (turn, original) in std::mem::take(&mut self.retries) {
            if !seen.contains(&original) {
                self.problem(format_args!(
                    "rollouts: turn {turn} repeats turn {original}, which is not recorded"
                ));
            }
        }
    }

    fn references(&mut self) {
        for turn in self.ledger.orphans() {
            self.problem(format_args!("turn {turn} is named by other tables, but not recorded"));
        }
        for (turn, versions) in self.ledger.trained_twice() {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            self.problem(format_args!(
                "turn {turn} is in the batches of versions {}",
                versions.join(", ")
            ));
        }
        for turn in std::mem::take(&mut self.rejected) {
            if let Some(TurnState::Trained(version)) = self.ledger.state(turn) {
                self.problem(format_args!(
                    "steps: turn {turn} is rejected, but also in the batch of version {version}"
                ));
            }
        }
    }

    fn finish(mut self) -> Report {
        let Tally { turns, trained, waiting, rejected, .. } = self.ledger.tally();
        if turns != trained + waiting + rejected.values().sum::<u64>() {
            self.problem(format_args!(
                "{turns} turns are recorded, but {trained} are trained, {waiting} waiting and \
                 {rejected:?} rejected"
            ));
        }
        let rows = self.report.rows.get(Table::Turns.label()).copied().unwrap_or_default();
        if turns > rows {
            self.problem(format_args!("{turns} turns are accounted for, but {rows} are recorded"));
        }
        let ok = self.report.problems_total == 0;
        Report { ok, turns, trained, waiting, rejected, ..self.report }
    }
}

fn is_logprob(value: f32) -> bool {
    value.is_finite() && value <= ROUNDING
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// What is wrong within one turn row, as predicates.
fn turn_problems(turn: &Turn) -> Vec<String> {
    let mut problems = Vec::new();
    let (ids, logprobs) = (turn.response_ids.len(), turn.response_logprobs.len());
    if ids != logprobs {
        problems.push(format!("has {logprobs} log-probabilities for {ids} response tokens"));
    }
    if !turn.response_logprobs.iter().all(|logprob| is_logprob(*logprob)) {
        problems.push("has a log-probability that is none".to_owned());
    }
    let drawn = &turn.drawn_logprobs;
    if !(drawn.is_empty() || drawn.len() == ids) {
        problems.push(format!(
            "has {} log-probabilities of what was drawn for {ids} response tokens",
            drawn.len()
        ));
    }
    if !drawn.iter().all(|logprob| is_logprob(*logprob)) {
        problems.push("has a log-probability of what was drawn that is none".to_owned());
    }
    let forced = &turn.forced;
    if !forced.is_sorted_by(|a, b| a < b) || forced.last().is_some_and(|at| *at as usize >= ids) {
        problems.push(format!("has forced tokens that are not among its {ids}"));
    }
    let starts: Vec<u32> = turn.version_spans.iter().map(|span| span.start).collect();
    let ascends = starts.windows(2).all(|pair| pair[0] < pair[1]);
    let begins = if ids == 0 { true } else { starts.first() == Some(&0) };
    let ends = starts.last().is_none_or(|start| (*start as usize) < ids.max(1));
    if !(ascends && begins && ends) {
        problems.push(format!("has version spans that start at {starts:?} of {ids} tokens"));
    }
    if turn.status != TurnStatus::Answered && !(turn.prompt_ids.is_empty() && ids == 0) {
        problems.push(format!("has tokens, although its status is `{}`", turn.status));
    }
    let content = [(&turn.messages, "[]"), (&turn.reply, "{}"), (&turn.tools, "")];
    if turn.status == TurnStatus::DoNotTrain && content.iter().any(|(text, none)| text != none) {
        problems.push("holds content, although it is not to be learned from".to_owned());
    }
    let texts = [
        ("messages", &turn.messages),
        ("reply", &turn.reply),
        ("session_keys", &turn.session_keys),
        ("tools", &turn.tools),
    ];
    for (name, text) in texts {
        let absent = name == "tools" && text.is_empty();
        if !absent && !is_json(text) {
            problems.push(format!("has `{name}` that is no JSON"));
        }
    }
    problems
}
