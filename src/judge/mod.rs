//! Judging a reply by what came after it: by rules, or by asking a model for votes.
//!
//! `score` and `hint` share this room. It knows what a rollout means, and nothing of tables.

mod docket;
mod exchange;
mod looked;
mod phrases;
mod prompts;
mod results;
mod rules;
mod shown;
#[cfg(test)]
mod tests;
mod votes;

use std::time::Duration;

use futures::stream::{self, FuturesUnordered, Stream, StreamExt};
use rand::RngExt;
use serde::Serialize;

use crate::complete::{CompleteError, Completer, Options, Patience, Prompt};
use crate::config::{self, HintSelect, JudgeConfig};
use crate::rollout::{HintVote, Rated, Rating, TurnId, Vote};

pub use docket::Docket;
pub use exchange::{Exchange, Unreadable};
pub use looked::Looked;
pub use prompts::{HINT as HINT_PROMPT, SCORE as SCORE_PROMPT};
pub use rules::Verdict;
pub use shown::{BadCase, Written};

/// Version of the rules.
const RULES: &str = "rules@3";
/// Version of the prompts and of the vote rules.
const MODEL: &str = "openai@3";
/// The user's own explicit word, which outranks any judge.
const USER: &str = "user@1";

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
        let votes = vec![Vote { value: Some(score), text: reason.clone() }];
        Self { judge: judge.to_owned(), votes, score: Some(score), reasoning: reason }
    }
}

impl HintBallot {
    /// One vote that nobody was asked for.
    fn single(judge: &str, hint: Option<String>, reason: String) -> Self {
        let value = Some(if hint.is_some() { 1 } else { -1 });
        let votes = vec![HintVote { value, hint, text: reason }];
        Self { judge: judge.to_owned(), votes, failed: None }
    }

    /// The longest hint of the positive votes with more than `chars_min` characters, or the
    /// shortest; the first of several as long. What the user has said explicitly counts whatever
    /// its length.
    pub fn accepted(&self, chars_min: usize, select: HintSelect) -> Option<&str> {
        let chars = |hint: &str| hint.chars().count();
        let better = |hint: &str, best: &str| match select {
            HintSelect::Shortest => chars(hint) < chars(best),
            HintSelect::Longest | HintSelect::All(_) => chars(hint) > chars(best),
        };
        let mut best: Option<&str> = None;
        for hint in self.usable(chars_min) {
            if best.is_none_or(|best| better(hint, best)) {
                best = Some(hint);
            }
        }
        best
    }

    /// Every hint that may be accepted, without repetitions, shortest first (in order where they
    /// are as long), and at most `count` of them.
    ///
    /// Proven by `hints_are_chosen_as_the_reference_does`.
    pub fn candidates(&self, chars_min: usize, count: usize) -> Vec<String> {
        let mut hints: Vec<&str> = Vec::new();
        for hint in self.usable(chars_min) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        hints.sort_by_key(|hint| hint.chars().count());
        hints.truncate(count);
        hints.into_iter().map(str::to_owned).collect()
    }

    /// The hints of the positive votes, without white space around them.
    fn usable(&self, chars_min: usize) -> impl Iterator<Item = &str> {
        let chars_min = if self.judge == USER { 0 } else { chars_min };
        let positive = self.votes.iter().filter(|vote| vote.value == Some(1));
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
        Ok(judge(ModelJudge { completer, config: config.clone() }))
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
        judge == USER
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
            return Ok(ScoreBallot::single(USER, rated.rating.score(), told(rated)));
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
        let (texts, failed) =
            judge.ask(turn, prompts::SCORE, exchange, valid, votes::settled).await?;
        let votes: Vec<Vote> =
            texts.into_iter().map(|text| Vote { value: valid(&text), text }).collect();
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
                return Ok(HintBallot::single(USER, hint, told(rated)));
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
        let (texts, failed) = judge.ask(turn, prompts::HINT, exchange, valid, all).await?;
        let votes: Vec<HintVote> = texts
            .into_iter()
            .map(|text| HintVote { value: valid(&text), hint: votes::hint(&text), text })
            .collect();
        let failed = match votes.iter().any(|vote| vote.value.is_some()) {
            true => None,
            false => Some(failed.unwrap_or_else(|| "no vote held a decision".to_owned())),
        };
        Ok(HintBallot { judge: judge.name(), votes, failed })
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
        format!("{MODEL}:{}", self.config.judge_model)
    }

    /// The texts of m votes, asked for at the same time, in their order; asked again, up to the
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
    ) -> Result<(Vec<String>, Option<String>), CompleteError> {
        let (nonce, budget) = (rand::rng().random(), self.config.judge_prompt_tokens);
        let messages = prompts::ask(system, exchange, nonce, budget);
        let (mut texts, mut failed) = (Vec::new(), None);
        for round in 0..self.config.tries {
            let votes = (0..self.config.votes).map(|vote| {
                let number = round * self.config.votes + vote;
                let prompt = Prompt {
                    model: self.config.judge_model.clone(),
                    messages: messages.clone(),
                    temperature: self.config.judge_temperature,
                    max_tokens: self.config.judge_tokens,
                    seed: (turn.0 as u64).wrapping_add(number as u64),
                };
                async move { (number, self.completer.complete(&prompt).await) }
            });
            let mut votes: FuturesUnordered<_> = votes.collect();
            let mut gone = None;
            while let Some((number, answer)) = votes.next().await {
                match answer {
                    Ok(text) => texts.push((number, text)),
                    Err(error) if error.is_down() || error.is_misconfigured() => gone = Some(error),
                    Err(error) => failed = Some(error.to_string()),
                }
                let values: Vec<_> = texts.iter().map(|(_, text)| valid(text)).collect();
                if settled(&values, votes.len()) {
                    break;
                }
            }
            if texts.iter().any(|(_, text)| valid(text).is_some()) {
                break;
            }
            if let Some(error) = gone {
                return Err(error);
            }
        }
        texts.sort_by_key(|(number, _)| *number);
        Ok((texts.into_iter().map(|(_, text)| text).collect(), failed))
    }
}
