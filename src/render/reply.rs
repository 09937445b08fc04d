//! Text to content, reasoning and tool calls, as it comes.

use sha2::{Digest, Sha256};

use super::call::{self, Head};
use super::json::{JsonScan, Step};

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
    /// A tool call begins; its arguments follow.
    Call {
        /// Position among the calls of this reply, from 0.
        index: usize,
        /// `call_<hex>`; the same seed and index give the same id.
        id: String,
        /// The function's name.
        name: String,
    },
    /// More of the last call's arguments, which joined are the text of a JSON object.
    Arguments {
        /// The call's position.
        index: usize,
        /// The text.
        text: String,
    },
}

/// How a reply is to be read.
#[derive(Clone, Debug, Default)]
pub struct ReplyOptions {
    /// Whether tool calls are looked for; where not, their markers are text.
    pub tools: bool,
    /// Whether the prompt has opened the reasoning block already.
    pub thinking: bool,
    /// Whether a call is told as soon as its arguments have begun well, before it is whole. What
    /// turns out not to be JSON after that cannot be taken back: it stays a call, whose arguments
    /// are what was written.
    pub eager: bool,
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
    /// Inside the arguments of a call that was told.
    Arguments,
    /// Inside the arguments of a call that was told, which are no JSON.
    Broken,
    /// Between the arguments of a call that was told and its end marker.
    Tail,
}

/// Reads a reply piece by piece: `<think>…</think>` at its very beginning is reasoning,
/// `<tool_call>{json}</tool_call>` is a tool call, and what only looks like one stays text.
///
/// What is returned does not depend on how the text was cut into pieces (after joining), and a
/// marker never shows in part. Arguments are told as they were written.
#[derive(Debug)]
pub struct ReplyParser {
    options: ReplyOptions,
    state: State,
    /// What was not returned yet.
    buffer: String,
    /// The white space between the last content and the marker of the call being read.
    gap: String,
    calls: usize,
    malformed: usize,
    /// The arguments being told.
    scan: JsonScan,
    /// Whether something other than white space came after the last call.
    text_since_call: bool,
}

impl ReplyParser {
    /// A parser for one reply.
    pub fn new(options: ReplyOptions) -> Self {
        let state = if options.thinking { State::ThinkStart } else { State::Start };
        Self {
            options,
            state,
            buffer: String::new(),
            gap: String::new(),
            calls: 0,
            malformed: 0,
            scan: JsonScan::new(),
            text_since_call: false,
        }
    }

    /// Whether the reasoning block is open.
    pub const fn is_thinking(&self) -> bool {
        matches!(self.state, State::ThinkStart | State::Think)
    }

    /// How many calls began and were none, or were cut off.
    pub const fn malformed(&self) -> usize {
        self.malformed
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
            State::Arguments => self.arguments(last, parts),
            State::Broken => self.broken(last, parts),
            State::Tail => self.tail(last, parts),
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
        if self.options.eager {
            match call::head(&self.buffer[CALL.len()..]) {
                Head::Begun { name, at } => {
                    self.buffer.drain(..CALL.len() + at);
                    self.begin(name, parts);
                    self.scan = JsonScan::new();
                    self.state = State::Arguments;
                    return true;
                }
                Head::Open if !last => return false,
                Head::Open | Head::Other => {}
            }
        }
        let mut from = CALL.len();
        while let Some(end) = self.buffer[from..].find(CALL_END).map(|at| from + at) {
            let body = &self.buffer[CALL.len()..end];
            match call::whole(body) {
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
        match call::whole(&self.buffer[CALL.len()..]) {
            Some(call) => {
                self.buffer.clear();
                self.answer(call, parts);
                false
            }
            None => self.not_a_call(parts),
        }
    }

    /// Tells what is there of the arguments: whatever has been told can still become JSON.
    fn arguments(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let (mut read, mut step) = (0, Step::More);
        for byte in self.buffer.bytes() {
            step = self.scan.push(byte);
            read += usize::from(step != Step::Wrong);
            if step != Step::More {
                break;
            }
        }
        self.argue(read, parts);
        match step {
            Step::More => {
                self.malformed += usize::from(last);
                return false;
            }
            Step::End => self.state = State::Tail,
            Step::Wrong => {
                self.malformed += 1;
                self.state = State::Broken;
            }
        }
        true
    }

    fn broken(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let end = self.buffer.find(CALL_END);
        let cut = end.unwrap_or_else(|| {
            self.buffer.len() - if last { 0 } else { begun(&self.buffer, CALL_END) }
        });
        self.argue(cut, parts);
        if end.is_some() {
            self.buffer.drain(..CALL_END.len());
            self.state = State::Content;
        }
        end.is_some()
    }

    fn tail(&mut self, last: bool, parts: &mut Vec<ReplyPart>) -> bool {
        let further_fields = self.buffer.trim_start().starts_with(',');
        let rest = call::after_braces(&self.buffer);
        let end = match further_fields {
            true => self.fields_end(),
            false => rest.starts_with(CALL_END).then(|| self.buffer.len() - rest.len()),
        };
        let open = further_fields || CALL_END.starts_with(rest);
        if end.is_none() && open && !last {
            return false;
        }
        if let Some(end) = end {
            let tail = self.buffer[..end].to_owned();
            self.buffer.drain(..end + CALL_END.len());
            if !call::is_tail(&tail) {
                self.malformed += 1;
                self.say(tail, parts);
            }
        } else if call::is_tail(&self.buffer) {
            self.buffer.clear();
        } else {
            self.malformed += 1;
            self.buffer = rest.to_owned();
        }
        self.state = State::Content;
        true
    }

    /// Where the end marker stands after further fields of a call, outside of their strings.
    fn fields_end(&self) -> Option<usize> {
        let ends = self.buffer.match_indices(CALL_END).map(|(end, _)| end);
        ends.into_iter().find(|end| !inside_string(&self.buffer[..*end]))
    }

    /// Tells so many bytes of the buffer as arguments.
    fn argue(&mut self, bytes: usize, parts: &mut Vec<ReplyPart>) {
        if bytes > 0 {
            let text = self.buffer.drain(..bytes).collect();
            parts.push(ReplyPart::Arguments { index: self.calls - 1, text });
        }
    }

    /// The marker was only text; what follows it is read on as content.
    fn not_a_call(&mut self, parts: &mut Vec<ReplyPart>) -> bool {
        self.malformed += 1;
        self.buffer.drain(..CALL.len());
        let text = std::mem::take(&mut self.gap) + CALL;
        self.say(text, parts);
        self.state = State::Content;
        true
    }

    fn answer(&mut self, (name, text): call::Call, parts: &mut Vec<ReplyPart>) {
        self.begin(name, parts);
        parts.push(ReplyPart::Arguments { index: self.calls - 1, text });
        self.state = State::Content;
    }

    fn begin(&mut self, name: String, parts: &mut Vec<ReplyPart>) {
        let index = self.calls;
        let digest = Sha256::digest(format!("{}:{index}", self.options.id_seed));
        let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(ReplyPart::Call { index, id: format!("call_{hex}"), name });
        self.calls += 1;
        self.gap.clear();
        self.text_since_call = false;
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
