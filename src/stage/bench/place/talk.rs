//! Made-up conversations, as clients would send them, with what placing them should find.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::client::INTERNAL_BEGIN;
use crate::config::TalkSize;
use crate::rollout::{
    FinishReason, Sampling, Turn, TurnId, TurnKind, TurnStatus, Version, VersionSpan,
};

const SECOND: i64 = 1_000_000;
/// Users that the sessions are shared out among.
const USERS: usize = 50;
/// Characters of the agent's system prompt and of its tools.
const AGENT_SYSTEM: usize = 45_000;
const AGENT_TOOLS: usize = 10_000;

/// What placing a turn should find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The session, by number; of a side turn it says nothing.
    pub session: usize,
    /// Main or side.
    pub kind: TurnKind,
    /// Digest of role and text of what came next; `None` if nothing did.
    pub next: Option<u64>,
    /// The turn that it repeats.
    pub retry_of: Option<TurnId>,
}

/// How a turn ended that its session goes on from.
enum Last {
    /// Nothing was said yet.
    Nothing,
    /// The reply was read.
    Answered(TurnId),
    /// The reply broke off; the client asks again.
    Broken(TurnId),
    /// The reply called a tool.
    Called(TurnId, String),
}

/// One conversation.
struct Session {
    user: usize,
    named: bool,
    /// Number among the sessions of its user, so that those found by prefix differ.
    own: usize,
    /// The messages so far, as JSON with a comma behind each.
    history: String,
    last: Last,
    left: usize,
}

/// Many conversations at the same time. Turns come in the order in which they end.
pub struct Talk {
    rng: ChaCha8Rng,
    sessions: Vec<Session>,
    /// When the next turn of each session ends.
    next: BinaryHeap<Reverse<(i64, usize)>>,
    system: String,
    tools: String,
    ids: Vec<u32>,
    made: u64,
    size: TalkSize,
}

/// A turn, and what is now known of the one before it.
pub struct Told {
    pub turn: Turn,
    pub truth: Truth,
    /// The turn before it, which this one tells the next state of.
    pub next_of: Option<(TurnId, u64)>,
}

impl Talk {
    /// `turns` turns of `sessions` sessions that begin in the two hours after `start_us`.
    pub fn new(turns: usize, sessions: usize, size: TalkSize, seed: u64, start_us: i64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut next = BinaryHeap::new();
        let make = |number: usize| Session {
            user: number % USERS,
            named: number % 5 < 3,
            own: number / USERS,
            history: String::new(),
            last: Last::Nothing,
            left: turns / sessions + usize::from(number < turns % sessions),
        };
        for number in 0..sessions {
            next.push(Reverse((start_us + rng.random_range(0..7_200 * SECOND), number)));
        }
        let (system, tools) = match size {
            TalkSize::Chat => ("You help.".to_owned(), String::new()),
            TalkSize::Agent => (agent_system(&mut rng), agent_tools(&mut rng)),
        };
        let ids = (0..1 << 16).map(|_| rng.random_range(0..150_000)).collect();
        let sessions = (0..sessions).map(make).collect();
        Self { rng, sessions, next, system, tools, ids, made: 0, size }
    }

    fn words(&mut self, count: std::ops::Range<usize>) -> String {
        let count = self.rng.random_range(count);
        words(&mut self.rng, count)
    }

    /// A request about housekeeping, now and then.
    fn side(&mut self, number: usize, at: i64) -> Told {
        let subject = self.words(5..20);
        let text = format!("### Task:\nGenerate a concise title for this chat: {subject}");
        let messages = format!("[{}]", message("user", &text));
        let reply = message("assistant", &self.words(2..6));
        let turn = self.turn(number, at, messages, reply, FinishReason::Stop);
        let truth = Truth { session: number, kind: TurnKind::Side, next: None, retry_of: None };
        Told { turn, truth, next_of: None }
    }

    fn main(&mut self, number: usize, at: i64) -> Told {
        let last = std::mem::replace(&mut self.sessions[number].last, Last::Nothing);
        let (next_of, retry_of) = match last {
            Last::Broken(turn) => (None, Some(turn)),
            Last::Nothing => {
                let own = self.sessions[number].own;
                let mut said = format!("Topic {own}: {}", self.words(5..40));
                // An agent without headers names its session in its first message.
                if self.size == TalkSize::Agent && !self.sessions[number].named {
                    let names = format!("session=main | sessionId=s{number}");
                    said.push_str(&format!("\n\nRuntime: agent=main | {names} | host=bench"));
                }
                self.add(number, &message("user", &said));
                (None, None)
            }
            Last::Answered(turn) => {
                let said = self.words(5..60);
                self.add(number, &message("user", &said));
                (Some((turn, digest([("user", said.as_str())]))), None)
            }
            Last::Called(turn, call) => {
                let result = self.words(20..120);
                let answer = json!({"role": "tool", "tool_call_id": call, "content": result});
                self.add(number, &answer.to_string());
                (Some((turn, digest([("tool", result.as_str())]))), None)
            }
        };
        let messages = self.messages(number, at);
        let broken = retry_of.is_none() && self.rng.random_bool(0.03);
        let calls = self.rng.random_bool(0.15) && self.sessions[number].left > 1;
        let (reply, kept, finish) = self.reply(calls && !broken);
        let finish = if broken { FinishReason::Cancelled } else { finish };
        let turn = self.turn(number, at, messages, reply.clone(), finish);
        let id = turn.turn_id;
        self.sessions[number].last = match kept {
            _ if broken => Last::Broken(id),
            Some((kept, call)) => {
                self.add(number, &kept);
                Last::Called(id, call)
            }
            None => {
                self.add(number, &reply);
                Last::Answered(id)
            }
        };
        let truth = Truth { session: number, kind: TurnKind::Main, next: None, retry_of };
        Told { turn, truth, next_of }
    }

    /// A reply, and, where it calls a tool, how the client keeps it: with another id, and the
    /// arguments written anew.
    fn reply(&mut self, calls: bool) -> (String, Option<(String, String)>, FinishReason) {
        if !calls {
            return (message("assistant", &self.words(15..150)), None, FinishReason::Stop);
        }
        let number = self.rng.next_u32();
        let (path, query) = (self.words(1..4), self.words(1..6));
        let call = |id: &str, arguments: String| {
            let function = json!({"name": "look", "arguments": arguments});
            let calls = json!([{"id": id, "type": "function", "function": function}]);
            json!({"role": "assistant", "content": null, "tool_calls": calls}).to_string()
        };
        let given = format!("{{\"path\": {}, \"query\": {}}}", json!(path), json!(query));
        let again = json!({"query": query, "path": path}).to_string();
        let id = format!("call{number:08x}");
        let reply = call(&format!("call_{number:08x}"), given);
        (reply, Some((call(&id, again), id)), FinishReason::ToolCalls)
    }

    fn add(&mut self, number: usize, message: &str) {
        let history = &mut self.sessions[number].history;
        history.push_str(message);
        history.push(',');
    }

    /// The messages of a session's next request.
    fn messages(&self, number: usize, at: i64) -> String {
        let session = &self.sessions[number];
        let mut messages = String::with_capacity(self.system.len() + session.history.len() + 256);
        messages.push('[');
        // The prompt of an agent changes each time that it is sent.
        let system = match self.size {
            TalkSize::Chat => self.system.clone(),
            TalkSize::Agent => format!("{}\nThe time is {}.", self.system, at / SECOND),
        };
        messages.push_str(&message("system", &system));
        messages.push(',');
        messages.push_str(&session.history);
        messages.pop();
        if self.size == TalkSize::Agent {
            let context = format!("{INTERNAL_BEGIN}\nThe time is {}.", at / SECOND);
            messages.push(',');
            messages.push_str(&message("user", &context));
        }
        messages.push(']');
        messages
    }

    fn turn(
        &mut self,
        number: usize,
        at: i64,
        messages: String,
        reply: String,
        finish_reason: FinishReason,
    ) -> Turn {
        let session = &self.sessions[number];
        let session_keys = match session.named {
            true => json!({"x-session-id": format!("s{number}:1")}).to_string(),
            false => "{}".to_owned(),
        };
        self.made += 1;
        let millis = (at / 1_000) as u128;
        let turn_id = TurnId(millis << 80 | 0x7 << 76 | 0x2 << 62 | u128::from(self.made));
        let tokens = |characters: usize| (characters / 4).clamp(1, self.ids.len() / 2);
        let (prompt, response) = (tokens(messages.len() + self.tools.len()), tokens(reply.len()));
        let from = (number * 97) % (self.ids.len() / 2);
        let response_ids = self.ids[from..from + response].to_vec();
        let response_logprobs =
            (0..response).map(|_| -self.rng.random_range(0.0_f32..3.0)).collect();
        Turn {
            turn_id,
            received_at_us: at - self.rng.random_range(SECOND / 2..8 * SECOND),
            finished_at_us: at,
            user: format!("user-{}", self.sessions[number].user),
            policy: "default".to_owned(),
            model: "openclaw".to_owned(),
            session_keys,
            messages,
            tools: self.tools.clone(),
            reply,
            prompt_ids: self.ids[from..from + prompt].to_vec(),
            response_ids,
            response_logprobs,
            drawn_logprobs: Vec::new(),
            forced: Vec::new(),
            constraint: None,
            version_spans: vec![VersionSpan { start: 0, version: Version::BASE }],
            sampling: Sampling { temperature: 0.6, max_tokens: 8192, ..Sampling::default() },
            finish_reason,
            status: TurnStatus::Answered,
        }
    }
}

impl Iterator for Talk {
    type Item = Told;

    fn next(&mut self) -> Option<Told> {
        let Reverse((at, number)) = self.next.pop()?;
        // The first request of a session is no housekeeping: nothing is known of it yet.
        let begun = !matches!(self.sessions[number].last, Last::Nothing);
        let side = begun && self.rng.random_bool(0.03);
        let told = if side { self.side(number, at) } else { self.main(number, at) };
        let session = &mut self.sessions[number];
        session.left -= 1;
        if session.left > 0 {
            let pause = match (&session.last, self.rng.random_range(0..40)) {
                // The client asks again, or answers a call, by itself.
                (Last::Broken(_) | Last::Called(..), _) => self.rng.random_range(9..20),
                // The user comes back long after the session was closed.
                (_, 0) => self.rng.random_range(3_600..14_400),
                _ => self.rng.random_range(12..240),
            };
            self.next.push(Reverse((at + pause * SECOND, number)));
        }
        Some(told)
    }
}

/// Role and text of what came next, as one number.
pub fn digest<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    messages.into_iter().for_each(|message| message.hash(&mut hasher));
    hasher.finish()
}

/// The same of a rollout's `next_state`.
pub fn digest_of(next_state: &str) -> Option<u64> {
    let messages: Vec<Value> = serde_json::from_str(next_state).ok()?;
    let each = messages.iter().map(|message| {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        (text("role"), text("content"))
    });
    Some(digest(each))
}

fn message(role: &str, content: &str) -> String {
    json!({"role": role, "content": content}).to_string()
}

fn words(rng: &mut ChaCha8Rng, count: usize) -> String {
    const STARTS: &[&str] = &["ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu", "dra"];
    const ENDS: &[&str] = &["n", "rel", "st", "ma", "ching", "ph", "la", "t", "dor", "s"];
    let mut text = String::new();
    for at in 0..count {
        if at > 0 {
            text.push(' ');
        }
        for _ in 0..rng.random_range(1..3) {
            text.push_str(STARTS[rng.random_range(0..STARTS.len())]);
        }
        text.push_str(ENDS[rng.random_range(0..ENDS.len())]);
    }
    text
}

fn agent_system(rng: &mut ChaCha8Rng) -> String {
    // The first words are those by which an agent of this kind is known.
    let mut text = "You are a personal assistant running inside OpenClaw.".to_owned();
    while text.len() < AGENT_SYSTEM {
        let heading = words(rng, 3);
        text.push_str(&format!("\n\n## {heading}\n- {}.", words(rng, 40)));
    }
    text
}

fn agent_tools(rng: &mut ChaCha8Rng) -> String {
    let mut tools = Vec::new();
    let mut length = 0;
    while length < AGENT_TOOLS {
        let parameters = json!({"type": "object", "properties": {
            "path": {"type": "string", "description": words(rng, 12)},
            "query": {"type": "string", "description": words(rng, 12)}}});
        let name = words(rng, 1);
        let function =
            json!({"name": name, "description": words(rng, 30), "parameters": parameters});
        let tool = json!({"type": "function", "function": function});
        length += tool.to_string().len();
        tools.push(tool);
    }
    Value::from(tools).to_string()
}
