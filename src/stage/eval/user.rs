//! A simulated user in a session: asks, looks at the reply, and reacts as people do.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use std::time::Instant;

use super::EvalError;
use super::pace::Pace;
use super::persona::Persona;
use super::problem::{self, Part, Problem, Problems, one_of};
use super::server::{Asker, Sampled, Server};
use super::wants::Seen;
use super::words::Words;
use crate::config::EvalConfig;

/// How often a user who is content says so, instead of going on.
const SAYS_THANKS: f64 = 0.6;
/// How often a user who is not content says what should have been done.
const SAYS_WHAT: f64 = 0.7;

/// How a user reacts to a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Thanks, and the next request.
    Thanks,
    /// The next request.
    GoesOn,
    /// The same once more, without a word of what is missing.
    Again,
    /// What should have been done.
    Directive,
    /// What should have been done, and was said before.
    Insists,
}

impl Reaction {
    /// Whether it says that the reply was as it should be.
    pub const fn is_content(self) -> bool {
        matches!(self, Self::Thanks | Self::GoesOn)
    }

    /// A reaction to a reply that was (not) as it should be; the user says the opposite with
    /// probability `noise`. `told`: they said in this session what they want.
    fn draw(met: bool, told: bool, noise: f64, random: &mut ChaCha8Rng) -> Self {
        let content = met != random.random_bool(noise);
        let (thanks, what) = (random.random_bool(SAYS_THANKS), random.random_bool(SAYS_WHAT));
        match (content, thanks, what) {
            (true, true, _) => Self::Thanks,
            (true, false, _) => Self::GoesOn,
            (false, _, false) => Self::Again,
            (false, _, true) if told => Self::Insists,
            (false, _, true) => Self::Directive,
        }
    }
}

/// How a session went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Whether each reply that was reacted to was as the user wants it, in order; fewer where a
    /// request failed.
    pub met: Vec<bool>,
    /// Replies with a right answer, of those that can be checked.
    pub right: usize,
    /// Replies whose answer can be checked.
    pub checked: usize,
}

/// What sessions are held with.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The configuration.
    pub config: &'a EvalConfig,
    /// The server.
    pub server: &'a Server,
    /// The problems of a file, in place of the personas' own.
    pub problems: Option<&'a Problems>,
    /// Who finds the words: the persona's lines, or a model.
    pub words: &'a Words,
}

impl Setting<'_> {
    /// A problem of a part.
    pub fn problem(&self, persona: &Persona, part: Part, random: &mut ChaCha8Rng) -> Problem {
        match self.problems {
            Some(problems) => problems.draw(part, random),
            None => problem::draw(persona, part, random),
        }
    }

    /// Holds session number `number` of this run, called `id`, with `persona`.
    ///
    /// # Errors
    /// [`EvalError`]: the server has been given up, or the model that plays the users has.
    pub async fn hold(
        &self,
        persona: &Persona,
        number: usize,
        id: &str,
        pace: &mut Pace<'_>,
    ) -> Result<Session, EvalError> {
        let mut random = ChaCha8Rng::seed_from_u64(self.config.seed ^ 0x005e_5510);
        random.set_stream(number as u64);
        let mut session = Session::default();
        let mut problem = self.problem(persona, Part::Sessions, &mut random);
        let mut messages = vec![said("user", &problem.request)];
        let mut told = false;
        for turn in 0..=self.config.turns {
            let done = turn == self.config.turns;
            let asker = Asker::User { name: &persona.name, session: id, done };
            let sampled = Sampled { temperature: self.config.temperature, seed: random.random() };
            let sent = Instant::now();
            let Some(reply) = self.server.reply(&messages, asker, sampled).await? else {
                break;
            };
            if turn > 0 {
                pace.learned(sent).await?;
            }
            if done {
                // Nobody reads what is said to the last reaction.
                break;
            }
            let met = session.take(&reply, persona, &problem);
            messages.push(said("assistant", &reply.text));
            let reaction = Reaction::draw(met, told, self.config.noise, &mut random);
            told |= matches!(reaction, Reaction::Directive | Reaction::Insists);
            let ends = turn + 1 == self.config.turns;
            if reaction.is_content() && !ends {
                problem = self.problem(persona, Part::Sessions, &mut random);
            }
            let next = (reaction.is_content() && !ends).then_some(problem.request.as_str());
            let words = self.words.of(persona, reaction, next, &messages, &mut random).await?;
            messages.push(said("user", &words));
        }
        Ok(session)
    }
}

impl Session {
    /// Notes a reply; whether it is as the user wants it.
    fn take(&mut self, reply: &Seen, persona: &Persona, problem: &Problem) -> bool {
        let met = persona.wants.are_met(reply);
        self.met.push(met);
        if problem.answer != problem::Answer::Open {
            self.checked += 1;
            self.right += usize::from(problem.answer.is_given(&reply.text));
        }
        met
    }
}

/// A message.
pub fn said(role: &str, text: &str) -> Value {
    json!({"role": role, "content": text})
}

/// What a persona's lines say: the reaction, and the next request where there is one.
pub fn by_lines(
    persona: &Persona,
    reaction: Reaction,
    next: Option<&str>,
    random: &mut ChaCha8Rng,
) -> String {
    let line = match reaction {
        Reaction::Thanks => one_of(&persona.thanks, random),
        // Half of those who go on do so without a word.
        Reaction::GoesOn if next.is_some() && random.random_bool(0.5) => "",
        Reaction::GoesOn => one_of(&persona.goes_on, random),
        Reaction::Again => one_of(&persona.again, random),
        Reaction::Directive => one_of(&persona.directives, random),
        Reaction::Insists => one_of(&persona.insists, random),
    };
    match (line, next) {
        ("", Some(next)) => next.to_owned(),
        (line, Some(next)) => format!("{line} {next}"),
        (line, None) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_react_as_they_feel_but_for_the_noise() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let draws = |met, told, noise, random: &mut ChaCha8Rng| -> Vec<Reaction> {
            (0..2000).map(|_| Reaction::draw(met, told, noise, random)).collect()
        };
        let share = |draws: &[Reaction], of: Reaction| {
            draws.iter().filter(|reaction| **reaction == of).count() as f64 / draws.len() as f64
        };
        let content = draws(true, false, 0.0, &mut random);
        assert!(content.iter().all(|reaction| reaction.is_content()));
        assert!((share(&content, Reaction::Thanks) - SAYS_THANKS).abs() < 0.04);
        let not = draws(false, false, 0.0, &mut random);
        assert!(not.iter().all(|reaction| !reaction.is_content()));
        assert!((share(&not, Reaction::Directive) - SAYS_WHAT).abs() < 0.04);
        assert_eq!(share(&not, Reaction::Insists), 0.0, "nothing was said before");
        let told = draws(false, true, 0.0, &mut random);
        assert_eq!(share(&told, Reaction::Directive), 0.0, "it was said before");
        let noisy = draws(false, false, 0.07, &mut random);
        let wrong = noisy.iter().filter(|reaction| reaction.is_content()).count();
        assert!((90..200).contains(&wrong), "7 % of 2,000: {wrong}");
    }

    #[test]
    fn words_hold_the_next_request_where_there_is_one() {
        let persona = Persona::open("student").unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut bare = 0;
        for _ in 0..200 {
            let text = by_lines(&persona, Reaction::GoesOn, Some("What is 2?"), &mut random);
            assert!(text.ends_with("What is 2?"));
            bare += usize::from(text == "What is 2?");
            let last = by_lines(&persona, Reaction::GoesOn, None, &mut random);
            assert!(persona.goes_on.contains(&last));
            let told = by_lines(&persona, Reaction::Directive, None, &mut random);
            assert!(persona.directives.contains(&told));
        }
        assert!((60..140).contains(&bare), "{bare}");
    }
}
