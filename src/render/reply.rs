//! Text to content, reasoning and tool calls, as it comes.

use serde_json::Value;
use sha2::{Digest, Sha256};

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// A piece of a reply. Pieces of the same kind follow one another and are to be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyPart {
    /// What the assistant says.
    Content(String),
    /// What it thought before.
    Reasoning(String),
    /// A whole tool call.
    ToolCall {
        /// Position among the calls of this reply, from 0.
        index: usize,
        /// `call_<hex>`; the same seed and index give the same id.
        id: String,
        /// The function's name.
        name: String,
        /// A JSON object, as text.
        arguments: String,
    },
}

/// How a reply is to be read.
#[derive(Clone, Debug, Default)]
pub struct ReplyOptions {
    /// Whether tool calls are looked for; where not, their markers are text.
    pub tools: bool,
    /// Whether the prompt has opened the reasoning block already.
    pub thinking: bool,
    /// What makes the ids of the tool calls unique: the turn's id.
    pub id_seed: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known yet: the text may begin with the reasoning marker.
    Start,
    /// Inside the reasoning block, of which nothing but newlines was seen.
    ThinkStart,
    /// Inside the reasoning block.
    Think,
    /// After the reasoning block, of whose following newlines none is content.
    ThinkEnd,
    /// In the reply itself.
    Content,
    /// The buffer begins with the marker of a tool call.
    Call,
}

/// Reads a reply piece by piece: `<think>…</think>` at its very beginning is reasoning,
/// `<tool_call>{json}</tool_call>` is a tool call, and what only looks like one stays text.
///
/// What is returned does not depend on how the text was cut into pieces (after joining), and a
/// marker never shows in part.
#[derive(Debug)]
pub struct ReplyParser {
    options: ReplyOptions,
    state: State,
    /// What was not returned yet.
    buffer: String,
    /// The white space between the last content and the marker of the call being read.
    gap: String,
    calls: usize,
    /// Whether something other than white space came after the last call.
    text_since_call: bool,
}

impl ReplyParser {
    /// A parser for one reply.
    pub fn new(options: ReplyOptions) -> Self {
        let state = if options.thinking { State::ThinkStart } else { State::Start };
        let (buffer, gap) = (String::new(), String::new());
        Self { options, state, buffer, gap, calls: 0, text_since_call: false }
    }

    /// Takes the next text; what is certain now.
    pub fn push(&mut self, text: &str) -> Vec<ReplyPart> {
        self.buffer.push_str(text);
        self.advance(false)
    }

    /// What is left once the text is complete. A call whose end marker is missing counts if its
    /// JSON is whole.
    pub fn finish(&mut self) -> Vec<ReplyPart> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Vec<ReplyPart> {
        let mut parts = Vec::new();
        while self.step(last, &mut parts) {}
        parts
    }

    /// One transition; whether another may follow.
    fn step(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        match self.state {
            State::Start => {
                if self.buffer.starts_with(THINK) {
                    self.buffer.drain(..THINK.len());
                    self.state = State::ThinkStart;
                } else if !last && THINK.starts_with(self.buffer.as_str()) {
                    return false;
                } else {
                    self.state = State::Content;
                }
                true
            }
            State::ThinkStart => self.skip_newlines(State::Think),
            State::Think => self.think(last, parts),
            State::ThinkEnd => self.skip_newlines(State::Content),
            State::Content if self.options.tools => self.content(last, parts),
            State::Content => {
                let text = std::mem::take(&mut self.buffer);
                self.say(text, parts);
                false
            }
            State::Call => self.call(last, parts),
        }
    }

    fn skip_newlines(&mut self, next: State) -> bool {
        let kept = self.buffer.trim_start_matches('\n').len();
        self.buffer.drain(..self.buffer.len() - kept);
        let known = kept > 0;
        if known {
            self.state = next;
        }
        known
    }

    fn think(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let end = self.buffer.find(THINK_END);
        let cut = end.unwrap_or_else(|| {
            self.buffer.len() - if last { 0 } else { begun(&self.buffer, THINK_END) }
        });
        let kept = self.buffer[..cut].trim_end_matches('\n').len();
        if kept > 0 {
            parts.push(ReplyPart::Reasoning(self.buffer[..kept].to_owned()));
        }
        let gone = if end.is_some() { cut + THINK_END.len() } else { kept };
        self.buffer.drain(..gone);
        if end.is_some() {
            self.state = State::ThinkEnd;
        }
        end.is_some()
    }

    fn content(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let call = self.buffer.find(CALL);
        let cut = call.unwrap_or_else(|| {
            self.buffer.len() - if last { 0 } else { begun(&self.buffer, CALL) }
        });
        let kept = self.buffer[..cut].trim_end().len();
        if call.is_some() {
            self.gap = self.buffer[kept..cut].to_owned();
            let text = self.buffer[..kept].to_owned();
            self.buffer.drain(..cut);
            self.say(text, parts);
            self.state = State::Call;
            return true;
        }
        let whole = last && (self.text_since_call || self.calls == 0 || kept > 0);
        let text: String = self.buffer.drain(..if whole { cut } else { kept }).collect();
        self.say(text, parts);
        false
    }

    fn call(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let mut from = CALL.len();
        while let Some(end) = self.buffer[from..].find(CALL_END).map(|at| from + at) {
            let body = &self.buffer[CALL.len()..end];
            match parse_call(body) {
                Some(call) => {
                    self.buffer.drain(..end + CALL_END.len());
                    self.answer(call, parts);
                    return true;
                }
                // The marker may stand inside a string of the arguments.
                None if inside_string(body) => from = end + CALL_END.len(),
                None => return self.not_a_call(parts),
            }
        }
        if !last {
            return false;
        }
        match parse_call(&self.buffer[CALL.len()..]) {
            Some(call) => {
                self.buffer.clear();
                self.answer(call, parts);
                false
            }
            None => self.not_a_call(parts),
        }
    }

    /// The marker was only text; what follows it is read on as content.
    fn not_a_call(&mut self, parts: &mut Vec<ReplyPart>) -> bool {
        self.buffer.drain(..CALL.len());
        let text = std::mem::take(&mut self.gap) + CALL;
        self.say(text, parts);
        self.state = State::Content;
        true
    }

    fn answer(&mut self, (name, arguments): (String, String), parts: &mut Vec<ReplyPart>) {
        let index = self.calls;
        let digest = Sha256::digest(format!("{}:{index}", self.options.id_seed));
        let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(ReplyPart::ToolCall { index, id: format!("call_{hex}"), name, arguments });
        self.calls += 1;
        self.gap.clear();
        self.text_since_call = false;
        self.state = State::Content;
    }

    fn say(&mut self, text: String, parts: &mut Vec<ReplyPart>) {
        if !text.is_empty() {
            self.text_since_call |= !text.trim().is_empty();
            parts.push(ReplyPart::Content(text));
        }
    }
}

/// How many bytes at the end of `text` may be the beginning of `marker`.
fn begun(text: &str, marker: &str) -> usize {
    (1..marker.len().min(text.len() + 1))
        .rev()
        .find(|length| text.as_bytes().ends_with(&marker.as_bytes()[..*length]))
        .unwrap_or(0)
}

/// Name and arguments (a JSON object as text) of a call's body, if it is one.
fn parse_call(body: &str) -> Option<(String, String)> {
    let Value::Object(mut call) = serde_json::from_str(body.trim()).ok()? else { return None };
    let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let arguments = match call.remove("arguments").or_else(|| call.remove("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::String(text)) => {
            serde_json::from_str::<Value>(&text).ok().filter(Value::is_object)?;
            text
        }
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return None,
    };
    Some((name, arguments))
}

/// Whether JSON text that was cut off ends inside a string.
fn inside_string(text: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            _ => {}
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn read(pieces: &[&str], options: &ReplyOptions) -> Vec<ReplyPart> {
        let mut parser = ReplyParser::new(options.clone());
        let mut parts: Vec<ReplyPart> = Vec::new();
        let streamed: Vec<_> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
        for part in streamed.into_iter().chain(parser.finish()) {
            match (parts.last_mut(), part) {
                (Some(ReplyPart::Content(text)), ReplyPart::Content(more))
                | (Some(ReplyPart::Reasoning(text)), ReplyPart::Reasoning(more)) => {
                    text.push_str(&more);
                }
                (_, part) => parts.push(part),
            }
        }
        parts
    }

    fn tools() -> ReplyOptions {
        ReplyOptions { tools: true, thinking: false, id_seed: "turn".into() }
    }

    fn content(text: &str) -> ReplyPart {
        ReplyPart::Content(text.into())
    }

    fn call(index: usize, name: &str, arguments: &str) -> (usize, String, String) {
        (index, name.into(), arguments.into())
    }

    fn calls(parts: &[ReplyPart]) -> Vec<(usize, String, String)> {
        let calls = parts.iter().filter_map(|part| match part {
            ReplyPart::ToolCall { index, name, arguments, .. } => {
                Some((*index, name.clone(), arguments.clone()))
            }
            _ => None,
        });
        calls.collect()
    }

    const REPLIES: &[&str] = &[
        "",
        "hello",
        "\n\n",
        "hello <think>no</think>",
        "<think>\nwhy </thin not\n\n</think>\n\nbecause\n",
        "<think>never closed\n",
        "<think></think>x",
        "<thinker>",
        "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"é\"]}}\n\
         </tool_call>",
        "<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\
         \"arguments\":\"{\\\"b\\\":2}\"}</tool_call>\n",
        "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"</tool_call>\"}}</tool_call> done ",
        "a \n<tool_call>oops</tool_call> b <tool_call>{\"name\":\"f\",\"arguments\":{}}\
         </tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":{}",
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}",
        "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"open</tool_call> and on",
        "<tool_call>{\"name\":\"f\",\"arguments\":{</tool_call> text",
        "<tool_call>x<tool_call>{\"name\":\"f\"}</tool_call>",
        "<tool_call></tool_call>",
        "<tool_c",
        "🦞 <tool_call",
    ];

    #[test]
    fn pieces_do_not_change_the_meaning() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for (reply, options) in REPLIES.iter().flat_map(|reply| {
            [true, false].into_iter().flat_map(move |tools| {
                [true, false].map(|thinking| {
                    (reply, ReplyOptions { tools, thinking, id_seed: String::new() })
                })
            })
        }) {
            let whole = read(&[reply], &options);
            for _ in 0..100 {
                let cuts: Vec<&str> =
                    reply.split_inclusive(|_: char| rng.random_bool(0.4)).collect();
                assert_eq!(read(&cuts, &options), whole, "{reply:?} as {cuts:?}");
            }
        }
    }

    #[test]
    fn reasoning_only_at_the_beginning() {
        let parts = read(&["<think>\nwhy\n\n</think>\n\nbecause\n"], &tools());
        assert_eq!(parts, [ReplyPart::Reasoning("why".into()), content("because\n")]);
        let parts = read(&["so <think>x</think>"], &tools());
        assert_eq!(parts, [content("so <think>x</think>")]);
        let options = ReplyOptions { thinking: true, ..tools() };
        let parts = read(&["\nwhy\n</think>\n\nbecause"], &options);
        assert_eq!(parts, [ReplyPart::Reasoning("why".into()), content("because")]);
    }

    #[test]
    fn calls_with_content_before_them() {
        let parts = read(&[REPLIES[8]], &tools());
        assert_eq!(parts[0], content("Let me see."));
        assert_eq!(calls(&parts), [call(0, "f", r#"{"a":[1,"é"]}"#)]);
        let parts = read(&[REPLIES[9]], &tools());
        assert_eq!(calls(&parts), [call(0, "f", "{}"), call(1, "g", r#"{"b":2}"#)]);
        assert_eq!(parts.len(), 2, "white space around calls is no content");
    }

    #[test]
    fn the_end_marker_may_stand_in_an_argument() {
        let parts = read(&[REPLIES[10]], &tools());
        assert_eq!(calls(&parts), [call(0, "f", r#"{"a":"</tool_call>"}"#)]);
        assert_eq!(parts[1], content(" done "));
    }

    #[test]
    fn what_is_no_call_comes_back_as_it_was() {
        for reply in [REPLIES[12], REPLIES[14], REPLIES[15], REPLIES[17], REPLIES[18]] {
            assert_eq!(read(&[reply], &tools()), [content(reply)]);
        }
        let parts = read(&[REPLIES[11]], &tools());
        assert_eq!(parts[0], content("a \n<tool_call>oops</tool_call> b"));
        assert_eq!(calls(&parts), [call(0, "f", "{}")]);
        assert_eq!(calls(&read(&[REPLIES[13]], &tools())), [call(0, "f", "{}")]);
        let plain = ReplyOptions::default();
        assert_eq!(read(&[REPLIES[13]], &plain), [content(REPLIES[13])]);
    }

    #[test]
    fn ids_are_stable_and_differ() {
        let ids = |seed: &str| {
            let options = ReplyOptions { id_seed: seed.into(), ..tools() };
            read(&[REPLIES[9]], &options)
                .into_iter()
                .filter_map(|part| match part {
                    ReplyPart::ToolCall { id, .. } => Some(id),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("a"), ids("a"));
        assert_ne!(ids("a")[0], ids("a")[1]);
        assert_ne!(ids("a")[0], ids("b")[0]);
        assert!(ids("a")[0].starts_with("call_") && ids("a")[0].len() == 29);
    }
}
