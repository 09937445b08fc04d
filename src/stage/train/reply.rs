//! What is kept of a recorded turn until it is trained on, and what is wrong with it by itself.

use serde_json::Value;

use super::looping::loops;
use super::samples::Limits;
use crate::rollout::{FinishReason, Rejection, Turn, TurnId, Version};

/// Below this temperature sampling is greedy in all but name: logits / T overflow, and the
/// recorded log-probabilities say nothing of the behaviour.
const TEMPERATURE_MIN: f32 = 0.01;
/// The room that rounding needs above log 1 = 0.
const LOGPROB_MAX: f32 = 1e-3;
/// A token that was really drawn in f32 has a probability above 0, the least of which is e^-103.3;
/// what a grammar, a bias or a least length pushed through may have less.
const SAMPLED_LOGPROB_MIN: f32 = -104.0;

/// The policy that is trained; the others are adapters, which have weights of their own.
const POLICY: &str = "default";

/// A recorded turn: its tokens, and nothing of its text.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The turn.
    pub turn_id: TurnId,
    /// The prompt that the model read.
    pub prompt_ids: Vec<u32>,
    /// What it said.
    pub response_ids: Vec<u32>,
    /// Log-probability of each response token when it was sampled.
    pub logprobs: Vec<f32>,
    /// Positions of the response tokens that a grammar forced.
    pub forced: Vec<u32>,
    /// Temperature at which it was sampled.
    pub temperature: f32,
    /// The oldest version that sampled one of its tokens, if that was recorded.
    pub oldest: Option<Version>,
    /// Whether a grammar, penalties or a bias came between the policy and what was drawn.
    constrained: bool,
    shifted: bool,
    /// Whether another policy than the one that is trained answered.
    other_policy: bool,
    finish_reason: FinishReason,
    /// Whether it repeats itself.
    loops: bool,
    calls: Calls,
}

/// How often a reply's tool calls were made before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    /// Two of the reply's own are the same.
    within: bool,
    /// Replies right before it, since the user last spoke, that made the same.
    before: usize,
}

impl From<Turn> for Reply {
    fn from(turn: Turn) -> Self {
        Self {
            turn_id: turn.turn_id,
            loops: loops(&turn.response_ids),
            calls: Calls::of(&turn.reply, &turn.messages),
            oldest: turn.version_spans.iter().map(|span| span.version).min(),
            prompt_ids: turn.prompt_ids,
            response_ids: turn.response_ids,
            logprobs: turn.response_logprobs,
            forced: turn.forced,
            constrained: turn.constraint.is_some() || turn.sampling.min_tokens > 0,
            shifted: turn.sampling.shifts_logits(),
            other_policy: turn.policy != POLICY,
            temperature: turn.sampling.temperature,
            finish_reason: turn.finish_reason,
        }
    }
}

impl Calls {
    fn of(reply: &str, messages: &str) -> Self {
        let own = serde_json::from_str(reply).map_or_else(|_| Vec::new(), |reply| calls(&reply));
        if own.is_empty() {
            return Self::default();
        }
        let within = (1..own.len()).any(|at| own[..at].contains(&own[at]));
        let messages: Vec<Value> = serde_json::from_str(messages).unwrap_or_default();
        let role = |message: &Value, role: &str| message["role"] == role;
        let since = messages.iter().rev().take_while(|message| !role(message, "user"));
        let replies = since.filter(|message| role(message, "assistant"));
        Self { within, before: replies.take_while(|message| calls(message) == own).count() }
    }
}

/// Name and arguments of each tool call of an assistant message. Arguments that are JSON are
/// compared as JSON.
fn calls(message: &Value) -> Vec<(Value, Value)> {
    let calls = message["tool_calls"].as_array();
    let one = |call: &Value| {
        let arguments = &call["function"]["arguments"];
        let parsed = arguments.as_str().and_then(|text| serde_json::from_str(text).ok());
        (call["function"]["name"].clone(), parsed.unwrap_or_else(|| arguments.clone()))
    };
    calls.map_or_else(Vec::new, |calls| calls.iter().map(one).collect())
}

impl Reply {
    /// Why the recorded tokens cannot be trained on at all, if they cannot.
    pub fn check(&self, limits: &Limits) -> Result<(), Rejection> {
        if self.other_policy {
            return Err(Rejection::OtherPolicy);
        }
        self.said_something()?;
        if !self.is_whole(limits) {
            return Err(Rejection::Malformed);
        }
        if limits.method.has_ratio() {
            if self.temperature < TEMPERATURE_MIN {
                return Err(Rejection::Greedy);
            }
            if self.shifted && !limits.allow_penalties {
                return Err(Rejection::Penalties);
            }
        }
        if self.forced.len() == self.response_ids.len() {
            return Err(Rejection::Forced);
        }
        if self.loops {
            return Err(Rejection::Looping);
        }
        if self.calls.within || self.calls.before >= limits.same_call_max {
            return Err(Rejection::RepeatedCall);
        }
        let tokens = self.prompt_ids.len() + self.response_ids.len();
        if tokens > limits.tokens_max { Err(Rejection::TooLong) } else { Ok(()) }
    }

    fn said_something(&self) -> Result<(), Rejection> {
        let only_end = self.finish_reason == FinishReason::Stop && self.response_ids.len() == 1;
        if self.response_ids.is_empty() || only_end {
            return Err(Rejection::Empty);
        }
        match self.finish_reason {
            FinishReason::Length | FinishReason::Cancelled => Err(Rejection::CutOff),
            FinishReason::Stop | FinishReason::ToolCalls => Ok(()),
        }
    }

    /// Whether all that was recorded fits together.
    fn is_whole(&self, limits: &Limits) -> bool {
        let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < limits.vocab);
        let bounded = !(self.constrained || self.shifted);
        let sampled = |p: &f32| p.is_finite() && (!bounded || *p >= SAMPLED_LOGPROB_MIN);
        !self.prompt_ids.is_empty()
            && self.prompt_ids.iter().chain(&self.response_ids).all(known)
            && self.fits(&self.logprobs)
            && self.logprobs.iter().all(sampled)
            && self.forced.is_sorted_by(|a, b| a < b)
            && self.forced.last().is_none_or(|at| (*at as usize) < self.response_ids.len())
            && self.temperature.is_finite()
            && self.temperature >= 0.0
            && self.oldest.is_some()
    }

    /// Whether `logprobs` are log-probabilities of the reply's tokens.
    pub fn fits(&self, logprobs: &[f32]) -> bool {
        logprobs.len() == self.response_ids.len()
            && logprobs.iter().all(|p| p.is_finite() && *p <= LOGPROB_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = r#"{"id":"1","function":{"name":"ls","arguments":"{\"a\": 1, \"b\": 2}"}}"#;
    const SAME: &str = r#"{"id":"2","function":{"name":"ls","arguments":"{\"b\":2,\"a\":1}"}}"#;
    const OTHER: &str = r#"{"id":"3","function":{"name":"ls","arguments":"{\"a\": 2}"}}"#;

    fn reply(calls: &[&str]) -> String {
        format!(r#"{{"role":"assistant","tool_calls":[{}]}}"#, calls.join(","))
    }

    fn counted(messages: &[&str], calls: &[&str]) -> Calls {
        Calls::of(&reply(calls), &format!("[{}]", messages.join(",")))
    }

    #[test]
    fn the_same_call_twice_in_one_reply_is_seen() {
        let within = |calls: &[&str]| counted(&[], calls).within;
        assert!(within(&[CALL, OTHER, SAME]), "whatever the order of its arguments");
        assert!(!within(&[CALL, OTHER]));
        assert!(!within(&[]));
        assert!(!Calls::of("no JSON", "[]").within);
    }

    #[test]
    fn replies_that_made_the_same_calls_are_counted_back_to_the_user() {
        let user = r#"{"role":"user","content":"go"}"#;
        let result = r#"{"role":"tool","content":"same"}"#;
        let (same, other) = (reply(&[SAME]), reply(&[OTHER]));
        let before = |messages: &[&str]| counted(messages, &[CALL]).before;
        assert_eq!(before(&[user, &same, result, &same, result]), 2);
        assert_eq!(before(&[user, &same, result, &other, result, &same, result]), 1);
        assert_eq!(before(&[&same, result, user, &same, result]), 1, "the user asked again");
        assert_eq!(before(&[user]), 0);
        let words = r#"{"role":"assistant","content":"hm"}"#;
        assert_eq!(counted(&[user, words, words], &[]).before, 0, "words are no calls");
    }
}
