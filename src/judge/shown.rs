//! Exchanges that somebody writes down: what a judge would be asked of them, and says of them.

use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::exchange::{Exchange, Regenerated};
use super::prompts;

/// An exchange that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("no exchange")]
pub struct BadCase(#[from] serde_json::Error);

/// An exchange in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The request's messages.
    messages: Vec<Value>,
    /// The assistant's message.
    reply: Map<String, Value>,
    /// Everything that came next.
    #[serde(default)]
    next_state: Vec<Value>,
    /// What was said after that.
    #[serde(default)]
    later: Vec<Value>,
    #[serde(default)]
    regenerated: Option<Again>,
    /// The number of the fences; drawn if absent.
    #[serde(default)]
    nonce: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Again {
    times: u32,
    replaced: bool,
}

/// An exchange that somebody wrote down.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub(super) exchange: Exchange,
    nonce: Option<u32>,
}

impl Written {
    /// The exchange in `line`: a JSON object with `messages`, `reply`, `next_state`, `later`,
    /// `regenerated` (`times`, `replaced`), and `nonce`.
    ///
    /// # Errors
    /// The line is no such object.
    pub fn read(line: &str) -> Result<Self, BadCase> {
        let case: Case = serde_json::from_str(line)?;
        let again = case.regenerated.filter(|again| again.times > 0);
        let exchange = Exchange {
            messages: case.messages,
            reply: Value::Object(case.reply),
            next_state: case.next_state,
            later: case.later,
            rated: None,
            regenerated: again.map(|Again { times, replaced }| Regenerated { times, replaced }),
        };
        Ok(Self { exchange, nonce: case.nonce })
    }

    /// The messages with which a judge is told `system` and asked about it.
    pub fn asked(&self, system: &str) -> Vec<Value> {
        let nonce = self.nonce.unwrap_or_else(|| rand::rng().random());
        prompts::ask(system, &self.exchange, nonce, prompts::TOKENS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_exchange_is_shown_as_a_recorded_one_is() {
        let line = r#"{"messages": [{"role": "user", "content": "2+2?"}], "nonce": 7,
            "reply": {"role": "assistant", "content": "5"},
            "next_state": [{"role": "user", "content": "no"}],
            "regenerated": {"times": 2, "replaced": false}}"#;
        let messages = Written::read(line).unwrap().asked(prompts::SCORE);
        assert_eq!(messages[0]["content"], prompts::SCORE);
        let text = messages[1]["content"].as_str().unwrap();
        for part in ["<<<00000007 request>>>\n[user]\n2+2?", "[assistant]\n5", "twice"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_no_exchange_is_refused() {
        for line in ["", "[]", r#"{"messages": []}"#, r#"{"messages": [], "reply": 1}"#] {
            assert!(Written::read(line).is_err(), "{line}");
        }
    }
}
