//! What nobody learns from: first replies to held-out prompts, held-out problems, and the
//! likelihood of replies that no persona cares about.

use std::collections::HashSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::Value;

use super::EvalError;
use super::figures::Share;
use super::persona::Persona;
use super::problem::{Answer, Part, Problem, arithmetic, one_of};
use super::server::{Asker, Sampled, Server};
use super::user::{Setting, said};
use super::wants::Seen;
use crate::complete::Completer;

/// Conversations by whose likelihood forgetting is seen: one JSON object a line, `messages`, of
/// which the last is the assistant's.
const PROBES: &str = include_str!("personas/probes.jsonl");
/// Requests for sums, where the personas have none that can be checked.
const SUMS: [&str; 8] = [
    "What is {term}?",
    "Please calculate {term}.",
    "How much is {term}?",
    "Tell me the result of {term}.",
    "I need to know {term}.",
    "Can you work out {term}?",
    "{term} = ?",
    "Compute {term}, please.",
];
/// Requests to compare numbers.
const COMPARISONS: [&str; 4] = [
    "Which number is larger, {a} or {b}?",
    "Which is bigger: {a} or {b}?",
    "{a} or {b}, which is greater?",
    "Tell me the larger number: {a} or {b}.",
];

/// The first replies to `n` held-out prompts of a persona: how many are as they should be. The
/// same prompts and seeds for every version.
///
/// # Errors
/// [`EvalError::Unreachable`].
pub async fn satisfaction(setting: &Setting<'_>, persona: &Persona) -> Result<Share, EvalError> {
    let config = setting.config;
    let mut random = ChaCha8Rng::seed_from_u64(config.seed ^ 0x0e1d_0000);
    let prompts: Vec<(Problem, u64)> = (0..config.held_out)
        .map(|_| (setting.problem(persona, Part::HeldOut, &mut random), random.random()))
        .collect();
    let asked = prompts.iter().map(|(problem, seed)| {
        let sampled = Sampled { temperature: config.temperature, seed: *seed };
        ask(setting.server, &problem.request, sampled)
    });
    let replies = stream::iter(asked).buffered(config.concurrency);
    let replies: Vec<Option<Seen>> = replies.try_collect().await?;
    let met = replies.iter().flatten().filter(|reply| persona.wants.are_met(reply));
    Ok(Share::of(met.count(), replies.iter().flatten().count()))
}

/// Whether each held-out problem is solved, greedily: half of them sums and differences, half
/// comparisons; of a problem file its own. None is asked twice, so that there may be fewer than are
/// wanted. `None` where the request failed.
///
/// # Errors
/// [`EvalError::Unreachable`].
pub async fn tasks(setting: &Setting<'_>) -> Result<Vec<Option<bool>>, EvalError> {
    let config = setting.config;
    let mut random = ChaCha8Rng::seed_from_u64(config.seed ^ 0x7a5c_0000);
    let problems: Vec<Problem> = match setting.problems {
        Some(problems) => {
            let mut held_out = problems.held_out();
            held_out.shuffle(&mut random);
            held_out.truncate(config.tasks);
            held_out
        }
        None => {
            let mut known = HashSet::new();
            let drawn = (0..config.tasks).map(|at| skill(at, &mut random));
            drawn.filter(|problem| known.insert(problem.request.clone())).collect()
        }
    };
    let sampled = Sampled { temperature: 0.0, seed: 0 };
    let asked = problems.iter().map(|problem| ask(setting.server, &problem.request, sampled));
    let replies = stream::iter(asked).buffered(config.concurrency);
    let replies: Vec<Option<Seen>> = replies.try_collect().await?;
    let solved = |(reply, problem): (&Option<Seen>, &Problem)| {
        reply.as_ref().map(|reply| problem.answer.is_given(&reply.text))
    };
    Ok(replies.iter().zip(&problems).map(solved).collect())
}

/// Problem number `at`: a calculation or a comparison.
fn skill(at: usize, random: &mut ChaCha8Rng) -> Problem {
    if !at.is_multiple_of(2) {
        return comparison(random);
    }
    let line = one_of(&SUMS, random);
    arithmetic(line, Part::HeldOut, random)
}

fn comparison(random: &mut ChaCha8Rng) -> Problem {
    loop {
        let (a, b) = (random.random_range(10..=99_u32), random.random_range(10..=99_u32));
        if a == b {
            continue;
        }
        let line = one_of(&COMPARISONS, random);
        let request = line.replace("{a}", &a.to_string()).replace("{b}", &b.to_string());
        return Problem { request, answer: Answer::Number(i64::from(a.max(b))) };
    }
}

async fn ask(server: &Server, request: &str, sampled: Sampled) -> Result<Option<Seen>, EvalError> {
    server.reply(&[said("user", request)], Asker::Nobody, sampled).await
}

#[derive(Deserialize)]
struct Probe {
    messages: Vec<Value>,
}

/// Log-likelihood of the probes' replies, in nats a token; `None` where the server cannot tell.
pub async fn probes(setting: &Setting<'_>, scorer: &Completer) -> Option<f64> {
    let (mut sum, mut tokens) = (0.0_f64, 0_usize);
    for line in PROBES.lines().filter(|line| !line.trim().is_empty()) {
        let Probe { messages } = serde_json::from_str(line).ok()?;
        let (_, before) = messages.split_last()?;
        let whole = setting.server.ids(&messages, false).await.ok()?;
        let prompt = setting.server.ids(before, true).await.ok()?;
        let start = prompt.len();
        // A template may put something else where a reply begins than where one stands.
        if start >= whole.len() || !whole.starts_with(&prompt) {
            return None;
        }
        let scored = scorer.score(&whole, start, 1.0, 0).await.ok()?;
        sum += scored.logprobs.iter().map(|logprob| f64::from(*logprob)).sum::<f64>();
        tokens += scored.logprobs.len();
    }
    (tokens > 0).then(|| sum / tokens as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_ends_with_a_reply() {
        let mut count = 0;
        for line in PROBES.lines() {
            let Probe { messages } = serde_json::from_str(line).unwrap();
            assert_eq!(messages.last().unwrap()["role"], "assistant", "{line}");
            assert!(messages.len() > 1);
            count += 1;
        }
        assert!(count >= 30, "{count}");
    }

    #[test]
    fn comparisons_have_one_answer() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let problem = comparison(&mut random);
            let numbers: Vec<i64> = problem
                .request
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect();
            assert_ne!(numbers[0], numbers[1]);
            let most = numbers.iter().max().unwrap();
            assert!(problem.answer.is_given(&format!("It is {most}.")), "{problem:?}");
        }
    }
}
