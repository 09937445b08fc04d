//! Tasks with checkable answers: what a version must not forget, whatever its style becomes.
//!
//! Each is a JSON line: `id`, `messages`, `tools` if there are any, and a `check`, one of
//! `{"equals": TEXT}` (white space and a full stop around it aside), `{"contains": TEXT}`,
//! `{"number": N}` (the last number of the reply), `{"regex": EXPRESSION}` (of the whole reply)
//! and `{"tool_call": {"name": …, "arguments": {…}}}` (these arguments among others, none
//! needed). Replies are greedy, and template switches ask for none of the reasoning.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::drift::Sample;
use super::test::{LEVEL, worse};
use crate::engine::{Emitted, Engine, EngineOptions, GenerateRequest};
use crate::fault::chain;
use crate::model::Decoder;
use crate::render::{Grammars, Reasoning, Renderer, ReplyParser, ReplyPart, Shape, Told};
use crate::rollout::{FinishReason, Sampling, Version};
use crate::stage::deploy::error::DeployError;

/// The probes that are part of the program.
const OWN: &str = include_str!("probes.jsonl");
/// More than these are not read from a file.
const PROBES_MAX: usize = 2_000;
/// Replies that are made at the same time.
const AT_ONCE: usize = 16;
/// Key and value memory beside the replies in progress, in tokens.
const CACHE_TOKENS: usize = 32_768;
/// How often a stretch of tokens has to come in a row to be a loop, and how long all of it is.
const LOOP_TIMES: usize = 4;
const LOOP_TOKENS_MIN: usize = 16;

/// A task.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name, for figures.
    pub id: String,
    /// The conversation, in OpenAI's form.
    pub messages: Vec<Value>,
    /// The tools that may be called.
    #[serde(default)]
    pub tools: Option<Value>,
    /// How the reply is checked.
    pub check: Check,
}

/// What a right reply is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Check {
    /// This text.
    Equals(String),
    /// It holds this text.
    Contains(String),
    /// Its last number is this.
    Number(f64),
    /// All of it matches.
    Regex(String),
    /// It calls this tool.
    ToolCall {
        /// The tool.
        name: String,
        /// Arguments that the call must have.
        #[serde(default)]
        arguments: Map<String, Value>,
    },
}

/// What was answered to a probe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    /// What was said, trimmed.
    pub content: String,
    calls: Vec<(String, String)>,
    cut_off: bool,
    solved: bool,
}

/// At most so many of the program's own probes, from all over, and those of a file.
///
/// # Errors
/// The file cannot be read, a line of it is none, or names come twice.
pub fn all(own_max: usize, more: Option<&Path>) -> Result<Vec<Probe>, DeployError> {
    let own = parse(OWN).map_err(|reason| DeployError::Gate { reason })?;
    let count = own_max.min(own.len());
    let mut probes: Vec<Probe> =
        (0..count).map(|index| own[index * own.len() / count].clone()).collect();
    if let Some(path) = more {
        let unusable = |reason: String| DeployError::Probes { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        probes.extend(parse(&text).map_err(unusable)?);
        let names: BTreeSet<&str> = probes.iter().map(|probe| probe.id.as_str()).collect();
        if names.len() < probes.len() {
            return Err(unusable("a name comes twice".to_owned()));
        }
        if probes.len() > PROBES_MAX {
            return Err(unusable(format!("more than {PROBES_MAX} probes")));
        }
    }
    Ok(probes)
}

fn parse(text: &str) -> Result<Vec<Probe>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let probe = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))
    };
    lines.map(probe).collect()
}

/// Greedy replies of one version to all probes, in their order. One that cannot be rendered is
/// answered by nothing.
///
/// # Errors
/// The engine broke down.
pub async fn ask(
    decoder: &Decoder,
    version: Version,
    renderer: &Renderer,
    probes: &[Probe],
    tokens_max: usize,
) -> Result<Vec<Reply>, DeployError> {
    let broke = |reason: String| DeployError::Gate { reason };
    let options = EngineOptions {
        running_max: AT_ONCE,
        waiting_max: probes.len() + 1,
        cache_tokens_max: CACHE_TOKENS,
        ..EngineOptions::default()
    };
    let engine = Engine::start(Arc::new(decoder.clone()), version, options)
        .map_err(|error| broke(chain(&error)))?;
    let quiet = Map::from_iter([("enable_thinking".to_owned(), Value::Bool(false))]);
    let told = Told { begin_reply: true, template: &quiet };
    let sampling =
        Sampling { temperature: 0.0, max_tokens: tokens_max as u32, ..Sampling::default() };
    let mut asked = Vec::new();
    for probe in probes {
        let prompt = renderer.prompt_told(&probe.messages, probe.tools.as_ref(), told);
        let request = prompt.ok().map(|prompt| GenerateRequest {
            stop_ids: renderer.stop_ids().into(),
            ..GenerateRequest::new(prompt, sampling.clone())
        });
        let prompt = request.as_ref().map(|request| request.prompt.clone()).unwrap_or_default();
        // What is longer than the model reads is no task for it.
        asked.push((prompt, request.and_then(|request| engine.submit(request).ok())));
    }
    let mut replies = Vec::new();
    for (probe, (prompt, generation)) in probes.iter().zip(asked) {
        let mut reply = Reply { prompt, ..Reply::default() };
        if let Some(mut generation) = generation {
            loop {
                match generation.next().await {
                    Some(Emitted::Begun { .. }) => {}
                    Some(Emitted::Token(token)) => reply.ids.push(token.id),
                    Some(Emitted::Done { reason }) => {
                        reply.cut_off = reason == FinishReason::Length;
                        break;
                    }
                    Some(Emitted::Failed(error)) => return Err(broke(chain(&error))),
                    None => return Err(broke("the engine stopped".to_owned())),
                }
            }
        }
        reply.read(probe, renderer);
        reply.solved = reply.solves(&probe.check, renderer);
        replies.push(reply);
    }
    engine.drain(Duration::ZERO).await;
    Ok(replies)
}

impl Reply {
    /// Text and calls of the ids.
    fn read(&mut self, probe: &Probe, renderer: &Renderer) {
        let ends = renderer.stop_ids();
        let ids: Vec<u32> = self.ids.iter().copied().filter(|id| !ends.contains(id)).collect();
        let options = renderer.reply_options(&self.prompt, probe.tools.is_some(), probe.id.clone());
        let mut parser = ReplyParser::new(options);
        let mut parts = parser.push(&renderer.decode(&ids).unwrap_or_default());
        parts.extend(parser.finish());
        for part in parts {
            match part {
                ReplyPart::Content(text) => self.content.push_str(&text),
                ReplyPart::Reasoning(_) => {}
                ReplyPart::Call { name, .. } => self.calls.push((name, String::new())),
                ReplyPart::Arguments { index, text } => {
                    if let Some((_, arguments)) = self.calls.get_mut(index) {
                        arguments.push_str(&text);
                    }
                }
            }
        }
        self.content = self.content.trim().to_owned();
    }

    fn solves(&self, check: &Check, renderer: &Renderer) -> bool {
        match check {
            Check::Equals(text) => {
                let bare = |text: &str| text.trim().trim_end_matches('.').trim_end().to_owned();
                bare(&self.content) == bare(text)
            }
            Check::Contains(text) => self.content.contains(text),
            Check::Number(expected) => {
                last_number(&self.content).is_some_and(|found| (found - expected).abs() < 1e-9)
            }
            Check::Regex(expression) => matches(expression, &self.content, renderer),
            Check::ToolCall { name, arguments } => self.calls.iter().any(|(called, text)| {
                let given: Result<Map<String, Value>, _> = serde_json::from_str(text);
                called == name
                    && given.is_ok_and(|given| {
                        arguments.iter().all(|(key, value)| given.get(key) == Some(value))
                    })
            }),
        }
    }

    /// As a judge is shown it.
    pub fn shown(&self) -> String {
        let calls = self.calls.iter().map(|(name, arguments)| format!("[{name} {arguments}]"));
        std::iter::once(self.content.clone()).chain(calls).collect::<Vec<_>>().join(" ")
    }

    /// Whether it says nothing, does not end, or goes round in a circle.
    pub fn is_degenerate(&self) -> bool {
        let empty = self.content.is_empty() && self.calls.is_empty();
        empty || self.cut_off || loops(&self.ids)
    }
}

/// Whether the end of a reply is one stretch over and over.
fn loops(ids: &[u32]) -> bool {
    (1..=ids.len() / LOOP_TIMES).any(|period| {
        let length = (period * LOOP_TIMES).max(LOOP_TOKENS_MIN);
        let Some(start) = ids.len().checked_sub(length) else { return false };
        let tail = &ids[start..];
        tail.iter().zip(&tail[period..]).all(|(a, b)| a == b)
    })
}

/// The last number of a text; thousands may be set apart by commas.
fn last_number(text: &str) -> Option<f64> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
    let words = text.split(|c: char| !is_part(c));
    let number = |word: &str| {
        let word = word.trim_end_matches(['.', ',', '-']).replace(',', "");
        let start = word.rfind('-').unwrap_or(0);
        word[start..].parse().ok()
    };
    words.filter(|word| word.contains(|c: char| c.is_ascii_digit())).filter_map(number).next_back()
}

/// Whether all of a text matches an expression, by the machine that makes replies follow one.
fn matches(expression: &str, text: &str, renderer: &Renderer) -> bool {
    let follow = || {
        let grammars = Grammars::new(renderer).ok()?;
        let shape = Shape::Regex(expression.to_owned());
        let mut followed = grammars.compile(&shape, Reasoning::None).ok()?.constraint();
        for id in renderer.encode(text).ok()? {
            followed.accept(id).ok()?;
        }
        let mut allowed = crate::engine::AllowedIds::none(renderer.vocab_size());
        followed.allow(&mut allowed).ok()?;
        Some(renderer.stop_ids().iter().any(|id| allowed.contains(*id)))
    };
    follow().unwrap_or(false)
}

/// What the replies of two versions come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Number of probes.
    pub probes: usize,
    /// How many each solves: the live version, the candidate.
    pub solved: [usize; 2],
    /// Names of those that only the live version solves.
    pub lost: Vec<String>,
    /// How many only the candidate solves.
    pub gained: usize,
    /// Chance of so many losses where the candidate is as good.
    pub p: f64,
    /// How many replies of each are degenerate.
    pub degenerate: [usize; 2],
    /// Chance of so many more where the candidate is as good.
    pub degenerate_p: f64,
}

impl Compared {
    /// Why the candidate must not go live.
    pub fn refusal(&self) -> Option<String> {
        let Self { probes, solved, degenerate, .. } = self;
        if self.p < LEVEL {
            let [live, own] = solved;
            return Some(format!("it solves {own} of {probes} probes, the live version {live}"));
        }
        let [live, own] = degenerate;
        (self.degenerate_p < LEVEL).then(|| {
            format!(
                "{own} of {probes} replies to the probes are empty, cut off or looping; of the \
                 live version {live}"
            )
        })
    }
}

/// Compares the replies of the live version and of the candidate.
pub fn compare(probes: &[Probe], live: &[Reply], candidate: &[Reply]) -> Compared {
    let both = || probes.iter().zip(live.iter().zip(candidate));
    let count = |holds: &dyn Fn(&Reply, &Reply) -> bool| {
        both().filter(|(_, (live, candidate))| holds(live, candidate)).count()
    };
    let lost: Vec<String> = both()
        .filter(|(_, (live, candidate))| live.solved && !candidate.solved)
        .map(|(probe, _)| probe.id.clone())
        .collect();
    let gained = count(&|live, candidate| candidate.solved && !live.solved);
    let broken = count(&|live, candidate| candidate.is_degenerate() && !live.is_degenerate());
    let mended = count(&|live, candidate| live.is_degenerate() && !candidate.is_degenerate());
    Compared {
        probes: probes.len(),
        solved: [count(&|live, _| live.solved), count(&|_, candidate| candidate.solved)],
        p: worse(lost.len(), gained),
        lost,
        gained,
        degenerate: [
            count(&|live, _| live.is_degenerate()),
            count(&|_, candidate| candidate.is_degenerate()),
        ],
        degenerate_p: worse(broken, mended),
    }
}

/// At most so many of the replies, from all over, as something that was said.
pub fn samples(replies: &[Reply], at_most: usize) -> Vec<Sample> {
    let sample = |reply: &Reply| Sample::new(reply.prompt.clone(), reply.ids.clone(), 1.0);
    let every = replies.len().div_ceil(at_most.max(1)).max(1);
    replies.iter().step_by(every).filter_map(sample).collect()
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
