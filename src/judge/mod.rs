//! Judging a reply by what came after it: by rules, or by asking a model for votes.
//!
//! `score` and `hint` share this room. It knows what a rollout means, and nothing of tables.

mod docket;
mod exchange;
mod horizon;
mod leak;
mod looked;
mod phrases;
mod prompts;
mod results;
mod rules;
mod shown;
#[cfg(test)]
mod tests;
mod votes;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use rand::RngExt;
use serde::Serialize;

use crate::complete::{Answer, CompleteError, Completer, Constraint, Options, Patience, Prompt};
use crate::config::{self, Acceptance, HintSelect, JudgeConfig, JudgeConstraint};
use crate::rollout::{BY_USER, HintVote, Rated, Rating, Spent, TurnId, Vote};

pub use docket::Docket;
pub use exchange::{Exchange, Unreadable};
pub use horizon::Case;
pub use prompts::{HINT as HINT_PROMPT, SCORE as SCORE_PROMPT};
pub use rules::Verdict;
pub use shown::{BadCase, Written};

/// Version of the rules.
const RULES: &str = "rules@4";
/// Version of the prompts and of the vote rules.
const MODEL: &str = "openai@3";

/// Who judges.
#[derive(Clone, Debug)]
pub enum Judge {
    /// The rules.
    Rules,
    /// A model.
    Model(ModelJudge),
    /// The rules where they decide, a model for the rest.
    RulesAndModel(ModelJudge),
}

/// A model that is asked for votes.
#[derive(Clone, Debug)]
pub struct ModelJudge {
    completer: Completer,
    config: JudgeConfig,
    /// The weights under training, until it is known that the judge's are others.
    trained: Arc<Mutex<Option<PathBuf>>>,
}

/// What came of asking for a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreBallot {
    /// Name and version of who decided, as the tables record it.
    pub judge: String,
    /// Every vote, in order.
    pub votes: Vec<Vote>,
    /// The majority; `None` if no vote was valid.
    pub score: Option<i8>,
    /// The text of a vote of the majority, or why there is none.
    pub reasoning: String,
}

/// What came of asking for a hint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HintBallot {
    /// Name and version of who decided, as the tables record it.
    pub judge: String,
    /// Every vote, in order.
    pub votes: Vec<HintVote>,
    /// No vote was valid; the reason.
    pub failed: Option<String>,
}

impl ScoreBallot {
    /// One vote that nobody was asked for.
    fn single(judge: &str, score: i8, reason: String) -> Self {
        let spent = Spent::default();
        let votes = vec![Vote { value: Some(score), text: reason.clone(), spent }];
        Self { judge: judge.to_owned(), votes, score: Some(score), reasoning: reason }
    }
}

impl HintBallot {
    /// One vote that nobody was asked for.
    fn single(judge: &str, hint: Option<String>, reason: String) -> Self {
        let value = Some(if hint.is_some() { 1 } else { -1 });
        let spent = Spent::default();
        let votes = vec![HintVote { value, hint, text: reason, leak: false, spent }];
        Self { judge: judge.to_owned(), votes, failed: None }
    }

    /// The longest hint of the positive votes that may be taken, or the shortest; the first of
    /// several as long. What the user has said explicitly counts whatever its length.
    pub fn accepted(&self, rule: Acceptance) -> Option<&str> {
        let chars = |hint: &str| hint.chars().count();
        let better = |hint: &str, best: &str| match rule.select {
            HintSelect::Shortest => chars(hint) < chars(best),
            HintSelect::Longest | HintSelect::All(_) => chars(hint) > chars(best),
        };
        let mut best: Option<&str> = None;
        for hint in self.usable(rule) {
            if best.is_none_or(|best| better(hint, best)) {
                best = Some(hint);
            }
        }
        best
    }

    /// Every hint that may be accepted, without repetitions, shortest first (in order where they
    /// are as long), and as many of them as are kept.
    ///
    /// Proven by `hints_are_chosen_as_the_reference_does`.
    pub fn candidates(&self, rule: Acceptance) -> Vec<String> {
        let mut hints: Vec<&str> = Vec::new();
        for hint in self.usable(rule) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints.sort_by_key(|hint| hint.chars().count());
        hints.truncate(rule.select.kept());
        hints.into_iter().map(str::to_owned).collect()
    }

    /// Whether a hint was found that hands over the answer.
    pub fn has_leak(&self) -> bool {
        self.votes.iter().any(|vote| vote.leak && vote.value == Some(1))
    }

    /// The hints of the positive votes, without white space around them.
    fn usable(&self, rule: Acceptance) -> impl Iterator<Item = &str> {
        let chars_min = if self.judge == BY_USER { 0 } else { rule.chars_min };
        let may = move |vote: &&HintVote| vote.value == Some(1) && (rule.leaks || !vote.leak);
        let positive = self.votes.iter().filter(may);
        let hints = positive.filter_map(|vote| vote.hint.as_deref()).map(str::trim);
        hints.filter(move |hint| hint.chars().count() > chars_min)
    }
}

/// Votes of one written exchange have seeds apart from those of the next.
const SEEDS_APART: u32 = 12;

impl Judge {
    /// The judge of a configuration. `patience` says how long to insist on a model's answer.
    ///
    /// # Errors
    /// A key file that cannot be read.
    pub fn open(config: &JudgeConfig, patience: Patience) -> Result<Self, CompleteError> {
        let judge: fn(ModelJudge) -> Self = match &config.judge {
            config::Judge::Rules => return Ok(Self::Rules),
            config::Judge::Model(_) => Self::Model,
            config::Judge::RulesAndModel(_) => Self::RulesAndModel,
        };
        let completer = Completer::open(Options {
            urls: config.judge.addresses().to_vec(),
            key_file: config.judge_key_file.clone(),
            timeout: Duration::from_secs(config.timeout_s),
            patience,
            concurrency: config.concurrency.saturating_mul(config.votes),
            role: "judge",
        })?;
        let trained = Arc::default();
        Ok(judge(ModelJudge { completer, config: config.clone(), trained }))
    }

    /// A judge that refuses to be the model whose weights in `weights` are being trained, unless
    /// its configuration lets it.
    pub fn apart_from(self, weights: PathBuf) -> Self {
        if let Self::Model(judge) | Self::RulesAndModel(judge) = &self
            && !judge.config.judge_may_be_trained
        {
            *judge.trained.lock().unwrap_or_else(PoisonError::into_inner) = Some(weights);
        }
        self
    }

    /// Name and version, as the tables record it.
    pub fn name(&self) -> String {
        match self {
            Self::Rules => RULES.to_owned(),
            Self::Model(judge) => judge.name(),
            Self::RulesAndModel(judge) => format!("{RULES}+{}", judge.name()),
        }
    }

    /// Whether a row of this judge and version, as the tables name it, would be the same today; the
    /// user's own word is nobody's to judge again.
    pub fn has_judged(&self, judge: &str) -> bool {
        let model = |model: &ModelJudge| model.name() == judge;
        judge == BY_USER
            || match self {
                Self::Rules => judge == RULES,
                Self::Model(own) => model(own),
                Self::RulesAndModel(own) => judge == RULES || model(own),
            }
    }

    /// The votes on a reply. The user's explicit word outranks the judge, who is not asked then.
    ///
    /// # Errors
    /// The judge gave no answer, or refuses every request; nonsense is no error.
    pub async fn score(
        &self,
        turn: TurnId,
        exchange: &Exchange,
    ) -> Result<ScoreBallot, CompleteError> {
        if let Some(rated) = &exchange.rated {
            return Ok(ScoreBallot::single(BY_USER, rated.rating.score(), told(rated)));
        }
        let by_rules = || {
            let Verdict { score, reason, .. } = rules::verdict(exchange);
            ScoreBallot::single(RULES, score, reason)
        };
        let judge = match self {
            Self::Rules => return Ok(by_rules()),
            Self::Model(judge) => judge,
            Self::RulesAndModel(judge) => match by_rules() {
                decided if decided.score != Some(0) => return Ok(decided),
                _ => judge,
            },
        };
        let valid = |text: &str| votes::boxed(text, &[-1, 0, 1]);
        let (answers, failed) =
            judge.ask(turn, prompts::SCORE, exchange, valid, votes::settled).await?;
        let vote = |answer: Answer| {
            let (value, spent) = (valid(&answer.text), spent(&answer));
            Vote { value, text: answer.text, spent }
        };
        let votes: Vec<Vote> = answers.into_iter().map(vote).collect();
        let score = votes::majority(votes.iter().map(|vote| vote.value));
        let of_majority = votes.iter().find(|vote| vote.value == score && score.is_some());
        let reasoning = match (of_majority, score) {
            (Some(vote), _) => vote.text.clone(),
            (None, Some(_)) => "the votes are tied".to_owned(),
            (None, None) => failed.unwrap_or_else(|| "no vote held a verdict".to_owned()),
        };
        Ok(ScoreBallot { judge: judge.name(), votes, score, reasoning })
    }

    /// The votes on written exchanges, in their order; `at_once` are worked on at the same time.
    pub fn scores<'a>(
        &'a self,
        exchanges: &'a [Written],
        at_once: usize,
    ) -> impl Stream<Item = Result<ScoreBallot, CompleteError>> + 'a {
        let one = |(at, written): (usize, &'a Written)| {
            self.score(TurnId((at as u128) << SEEDS_APART), &written.exchange)
        };
        stream::iter(exchanges.iter().enumerate()).map(one).buffered(at_once.max(1))
    }

    /// As [`Judge::scores`], for hints.
    pub fn hints<'a>(
        &'a self,
        exchanges: &'a [Written],
        at_once: usize,
    ) -> impl Stream<Item = Result<HintBallot, CompleteError>> + 'a {
        let one = |(at, written): (usize, &'a Written)| {
            self.hint(TurnId((at as u128) << SEEDS_APART), &written.exchange)
        };
        stream::iter(exchanges.iter().enumerate()).map(one).buffered(at_once.max(1))
    }

    /// The votes on whether, and how, a reply should have been different. Where the user has said
    /// so explicitly, that is the hint, word for word.
    ///
    /// # Errors
    /// The judge gave no answer, or refuses every request; nonsense is no error.
    pub async fn hint(
        &self,
        turn: TurnId,
        exchange: &Exchange,
    ) -> Result<HintBallot, CompleteError> {
        if let Some(rated) = &exchange.rated {
            let hint = rated.text.clone().filter(|_| rated.rating == Rating::Down);
            if hint.is_some() || exchange.next_state.is_empty() {
                return Ok(HintBallot::single(BY_USER, hint, told(rated)));
            }
        }
        let Verdict { score, reason, hint } = match self {
            Self::Rules | Self::RulesAndModel(_) => rules::verdict(exchange),
            Self::Model(_) => Verdict { score: 0, reason: String::new(), hint: None },
        };
        let judge = match self {
            Self::Rules => return Ok(HintBallot::single(RULES, hint, reason)),
            Self::Model(judge) => judge,
            // their word for how, or plain praise
            Self::RulesAndModel(_) if hint.is_some() || score > 0 => {
                return Ok(HintBallot::single(RULES, hint, reason));
            }
            Self::RulesAndModel(judge) => judge,
        };
        let valid = |text: &str| votes::boxed(text, &[-1, 1]);
        // each vote may hold the hint that is chosen
        let all = |_: &[Option<i8>], _| false;
        let (answers, failed) = judge.ask(turn, prompts::HINT, exchange, valid, all).await?;
        let known = leak::Known::of(exchange);
        let vote = |answer: Answer| {
            let (value, hint, spent) =
                (valid(&answer.text), votes::hint(&answer.text), spent(&answer));
            let leak = hint.as_deref().is_some_and(|hint| known.lacks(hint).is_some());
            HintVote { value, hint, text: answer.text, leak, spent }
        };
        let votes: Vec<HintVote> = answers.into_iter().map(vote).collect();
        let failed = match votes.iter().any(|vote| vote.value.is_some()) {
            true => None,
            false => Some(failed.unwrap_or_else(|| "no vote held a decision".to_owned())),
        };
        Ok(HintBallot { judge: judge.name(), votes, failed })
    }
}

/// What an answer took.
fn spent(answer: &Answer) -> Spent {
    Spent {
        latency_ms: Some(u32::try_from(answer.latency.as_millis()).unwrap_or(u32::MAX)),
        prompt_tokens: answer.prompt_tokens,
        completion_tokens: answer.completion_tokens,
    }
}

/// A user's explicit word, as the reason of a vote.
fn told(rated: &Rated) -> String {
    match &rated.text {
        Some(text) => format!("the user rated it {}: {text}", rated.rating),
        None => format!("the user rated it {}", rated.rating),
    }
}

impl ModelJudge {
    /// Name and version, as the tables record it.
    fn name(&self) -> String {
        match self.config.horizon {
            0 => format!("{MODEL}:{}", self.config.judge_model),
            horizon => format!("{MODEL}+{horizon}:{}", self.config.judge_model),
        }
    }

    /// Looks once whether the judge is the model under training.
    async fn refuse_trained(&self) -> Result<(), CompleteError> {
        let trained = || self.trained.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(weights) = trained().clone() else { return Ok(()) };
        if self.completer.is_apart_from(&weights).await? {
            *trained() = None;
        }
        Ok(())
    }

    /// What an answer to these instructions must look like, for a server that can be told.
    fn constraint(&self, system: &str) -> Constraint {
        let form = if system == prompts::HINT { votes::HINT_FORM } else { votes::SCORE_FORM };
        match self.config.judge_constraint {
            JudgeConstraint::None => Constraint::None,
            JudgeConstraint::Sglang => Constraint::Sglang(form.to_owned()),
            JudgeConstraint::Vllm => Constraint::Vllm(form.to_owned()),
        }
    }

    /// The answers of m votes, asked for at the same time, in their order; asked again, up to the
    /// configured tries, while none is valid. With them, what the last request that failed by
    /// itself met. Once `settled` says of the votes so far, and how many are to come, that nothing
    /// depends on those, they are not waited for.
    async fn ask(
        &self,
        turn: TurnId,
        system: &str,
        exchange: &Exchange,
        valid: impl Fn(&str) -> Option<i8>,
        settled: impl Fn(&[Option<i8>], usize) -> bool,
    ) -> Result<(Vec<Answer>, Option<String>), CompleteError> {
        self.refuse_trained().await?;
        let (nonce, budget) = (rand::rng().random(), self.config.judge_prompt_tokens);
        let messages = prompts::ask(system, exchange, nonce, budget);
        let constraint = self.constraint(system);
        let (mut answers, mut failed) = (Vec::new(), None);
        for round in 0..self.config.tries {
            let votes = (0..self.config.votes).map(|vote| {
                let number = round * self.config.votes + vote;
                let prompt = Prompt {
                    model: self.config.judge_model.clone(),
                    messages: messages.clone(),
                    temperature: self.config.judge_temperature,
                    max_tokens: self.config.judge_tokens,
                    seed: (turn.0 as u64).wrapping_add(number as u64),
                    constraint: constraint.clone(),
                };
                async move { (number, self.completer.complete(&prompt).await) }
            });
            let mut votes: FuturesUnordered<_> = votes.collect();
            let mut gone = None;
            while let Some((number, answer)) = votes.next().await {
                match answer {
                    Ok(answer) => answers.push((number, answer)),
                    Err(error) if error.is_down() || error.is_misconfigured() => gone = Some(error),
                    Err(error) => failed = Some(error.to_string()),
                }
                let values: Vec<_> =
                    answers.iter().map(|(_, answer)| valid(&answer.text)).collect();
                if settled(&values, votes.len()) {
                    break;
                }
            }
            if answers.iter().any(|(_, answer): &(_, Answer)| valid(&answer.text).is_some()) {
                break;
            }
            if let Some(error) = gone {
                return Err(error);
            }
        }
        answers.sort_by_key(|(number, _)| *number);
        Ok((answers.into_iter().map(|(_, answer)| answer).collect(), failed))
    }
}
