//! A judge's opinion of two versions' replies to the probes: off unless a judge is named.
//!
//! Each pair of differing replies is shown twice, in both orders; what is preferred in both counts.
//! The versions are not named. A judge that does not answer, or answers nothing usable, decides
//! nothing.

use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde_json::json;

use super::probes::{Probe, Reply};
use super::test::{LEVEL, worse};
use crate::complete::{Completer, Constraint, Options, Patience, Prompt};
use crate::config::DeployConfig;
use crate::fault::chain;

const TIMEOUT: Duration = Duration::from_secs(60);
const TRIES: usize = 2;
const AT_ONCE: usize = 4;
const ANSWER_TOKENS: usize = 16;
const TOLD: &str = "Two assistants answered the same request. Compare the answers for correctness \
                    and helpfulness. Reply with one letter: A if answer A is better, B if answer \
                    B is better, T if they are equally good.";

/// What the judge said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Opinion {
    /// Pairs of differing replies.
    pub pairs: usize,
    /// Pairs in which the candidate's reply was preferred, twice.
    pub won: usize,
    /// Pairs in which the live version's reply was preferred, twice.
    pub lost: usize,
    /// Pairs that could not be judged.
    pub unjudged: usize,
    /// Chance of so many losses where the candidate is as good.
    pub p: f64,
    /// Why nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Opinion {
    /// Why the candidate must not go live.
    pub fn refusal(&self) -> Option<String> {
        let Self { lost, won, .. } = self;
        (self.p < LEVEL).then(|| {
            format!("the judge prefers the live version {lost} times, the candidate {won} times")
        })
    }

    /// Of pairs: the candidate's win, its loss, or neither.
    fn of(pairs: &[Option<Option<bool>>]) -> Self {
        let count = |wanted| pairs.iter().filter(|pair| **pair == wanted).count();
        let (won, lost) = (count(Some(Some(true))), count(Some(Some(false))));
        let p = worse(lost, won);
        Self { pairs: pairs.len(), won, lost, unjudged: count(None), p, skipped: None }
    }
}

/// Asks the judge about each pair of differing replies.
pub async fn ask(
    config: &DeployConfig,
    probes: &[Probe],
    live: &[Reply],
    candidate: &[Reply],
) -> Opinion {
    let options = Options {
        urls: config.gate_judge.iter().cloned().collect(),
        key_file: config.api_key_file.clone(),
        timeout: TIMEOUT,
        patience: Patience::brief(TRIES),
        concurrency: AT_ONCE,
        role: "judge",
    };
    let completer = match Completer::open(options) {
        Ok(completer) => completer,
        Err(error) => {
            return Opinion { p: 1.0, skipped: Some(chain(&error)), ..Opinion::default() };
        }
    };
    let differ = |(_, (live, candidate)): &(&Probe, (&Reply, &Reply))| live != candidate;
    let pairs = probes.iter().zip(live.iter().zip(candidate)).filter(differ);
    let asked = pairs.map(|(probe, (live, candidate))| {
        let (completer, model) = (&completer, config.gate_judge_model.as_str());
        async move {
            let first = prefers(completer, model, probe, [live, candidate]).await?;
            let second = prefers(completer, model, probe, [candidate, live]).await?;
            Some(match (first, second) {
                (Some(1), Some(0)) => Some(true),
                (Some(0), Some(1)) => Some(false),
                _ => None,
            })
        }
    });
    let judged: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
    Opinion::of(&judged)
}

/// Which of two replies is better, if either; `None` if nothing usable was said.
async fn prefers(
    completer: &Completer,
    model: &str,
    probe: &Probe,
    replies: [&Reply; 2],
) -> Option<Option<usize>> {
    let [a, b] = replies.map(Reply::shown);
    let request = json!(probe.messages);
    let text = format!("{TOLD}\n\nRequest: {request}\n\nAnswer A: {a}\n\nAnswer B: {b}");
    let prompt = Prompt {
        model: model.to_owned(),
        messages: vec![json!({"role": "user", "content": text})],
        temperature: 0.0,
        max_tokens: ANSWER_TOKENS,
        seed: 0,
        constraint: Constraint::None,
    };
    let said = completer.complete(&prompt).await.ok()?;
    letter(&said.text)
}

fn letter(said: &str) -> Option<Option<usize>> {
    match said.trim().trim_start_matches(['*', '"', '`']).chars().next()? {
        'A' | 'a' => Some(Some(0)),
        'B' | 'b' => Some(Some(1)),
        'T' | 't' => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_counts() {
        assert_eq!(letter(" **A**"), Some(Some(0)));
        assert_eq!(letter("B is better"), Some(Some(1)));
        assert_eq!(letter("T"), Some(None));
        assert_eq!(letter("I cannot say"), None);
        assert_eq!(letter(""), None);
    }

    #[test]
    fn a_clear_preference_refuses_and_silence_does_not() {
        let of = |won: usize, lost: usize, silent: usize| {
            let pairs =
                [vec![Some(Some(true)); won], vec![Some(Some(false)); lost], vec![None; silent]];
            Opinion::of(&pairs.concat()).refusal()
        };
        assert!(of(1, 12, 0).unwrap().contains("12 times"));
        assert_eq!(of(5, 8, 0), None);
        assert_eq!(of(12, 1, 0), None);
        assert_eq!(of(0, 0, 40), None);
    }
}
