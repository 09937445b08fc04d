//! Who finds a user's words: the lines of their persona, or a model that plays them.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::EvalError;
use super::persona::Persona;
use super::user::{Reaction, by_lines, said};
use crate::complete::{Completer, Constraint, Options, Patience, Prompt};
use crate::config::EvalConfig;

/// Times that a model is asked anew which says nothing.
const ASKED_MAX: usize = 3;
/// Most tokens of a user's message.
const TOKENS_MAX: usize = 200;
/// Longest message that is taken, in characters.
const CHARS_MAX: usize = 1_000;
/// A model plays people at this temperature.
const TEMPERATURE: f32 = 0.8;

/// Who finds the words.
#[derive(Debug)]
pub enum Words {
    /// The persona's own lines.
    Lines,
    /// A model.
    Model {
        /// Its server.
        completer: Completer,
        /// Its name.
        model: String,
    },
}

impl Words {
    /// As the configuration says.
    ///
    /// # Errors
    /// [`EvalError::Llm`]: its key cannot be read.
    pub fn open(config: &EvalConfig) -> Result<Self, EvalError> {
        let Some(url) = &config.user_llm else { return Ok(Self::Lines) };
        let completer = Completer::open(Options {
            urls: vec![url.clone()],
            key_file: config.user_llm_key_file.clone(),
            timeout: Duration::from_secs(config.timeout_s),
            patience: Patience::brief(3),
            concurrency: config.concurrency,
            role: "user model",
        })?;
        Ok(Self::Model { completer, model: config.user_llm_model.clone() })
    }

    /// What `persona` says to the last of `messages`, with the request `next` in it.
    ///
    /// # Errors
    /// [`EvalError::Llm`], [`EvalError::Speechless`]: the model cannot be asked, or says nothing.
    pub async fn of(
        &self,
        persona: &Persona,
        reaction: Reaction,
        next: Option<&str>,
        messages: &[Value],
        random: &mut ChaCha8Rng,
    ) -> Result<String, EvalError> {
        let Self::Model { completer, model } = self else {
            return Ok(by_lines(persona, reaction, next, random));
        };
        for _ in 0..ASKED_MAX {
            let prompt = Prompt {
                model: model.clone(),
                messages: asked(persona, reaction, messages),
                temperature: TEMPERATURE,
                max_tokens: TOKENS_MAX,
                seed: random.random(),
                constraint: Constraint::None,
            };
            let text = completer.complete(&prompt).await?.text;
            let text: String = without_reasoning(&text).chars().take(CHARS_MAX).collect();
            match (text.is_empty(), next) {
                (true, _) => {}
                (false, Some(next)) => return Ok(format!("{text} {next}")),
                (false, None) => return Ok(text),
            }
        }
        Err(EvalError::Speechless { model: model.clone() })
    }
}

/// What a model is asked that plays a persona.
fn asked(persona: &Persona, reaction: Reaction, messages: &[Value]) -> Vec<Value> {
    let feels = match reaction {
        Reaction::Thanks => "The last reply is as the user wants it. They say so in a few words.",
        Reaction::GoesOn => {
            "The last reply is as the user wants it. They do not comment on it: write a few words \
             with which they move on to something else, without naming what."
        }
        Reaction::Again => {
            "The last reply is not as the user wants it. They are unhappy and want it done again, \
             but do not say what is missing."
        }
        Reaction::Directive => {
            "The last reply is not as the user wants it. They say plainly what should have been \
             done."
        }
        Reaction::Insists => {
            "The last reply is not as the user wants it, although they said before what they want. \
             They say it again, plainly."
        }
    };
    let system = format!(
        "You play the user of an AI assistant, and write the user's next message. The user {}. \
         {feels} Write one or two short sentences, as people type them, and nothing else: no \
         quotation marks, no explanation.",
        persona.about
    );
    let line = |message: &Value| {
        let who = if message["role"] == "user" { "User" } else { "Assistant" };
        format!("{who}: {}", message["content"].as_str().unwrap_or_default())
    };
    let talk = messages.iter().map(line).collect::<Vec<_>>().join("\n\n");
    vec![said("system", &system), said("user", &format!("{talk}\n\nThe user's next message:"))]
}

/// An answer without the reasoning before it, quotation marks around it, and line breaks.
fn without_reasoning(text: &str) -> String {
    let text = text.rsplit("</think>").next().unwrap_or(text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.strip_prefix("User:").unwrap_or(&words).trim();
    let inside = words.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.unwrap_or(words).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_answer_is_cleaned() {
        for (text, clean) in [
            ("<think>They are angry.</think>\n\"Do it\nagain.\"", "Do it again."),
            ("User: plain text, please", "plain text, please"),
            (" \n", ""),
            ("He said \"no\"", "He said \"no\""),
        ] {
            assert_eq!(without_reasoning(text), clean);
        }
    }

    #[test]
    fn a_model_is_told_what_the_user_wants_and_feels() {
        let persona = Persona::open("grader").unwrap();
        let talk = [said("user", "Is 2 + 2 = 4?"), said("assistant", "Yes.")];
        let messages = asked(&persona, Reaction::Directive, &talk);
        let system = messages[0]["content"].as_str().unwrap();
        assert!(system.contains(&persona.about) && system.contains("should have been done"));
        let user = messages[1]["content"].as_str().unwrap();
        assert!(user.starts_with("User: Is 2 + 2 = 4?\n\nAssistant: Yes."), "{user}");
    }
}
