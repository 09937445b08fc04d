//! What a reply has to be, and how that is written as a grammar.

use std::fmt::Write as _;

use llguidance::api::TopLevelGrammar;
use llguidance::regex_to_lark;
use serde_json::{Value, json};

use super::{Marks, Reasoning, RenderError, json_grammar, lark_grammar};
use crate::rollout::ConstraintKind;

/// Bytes of all schemas, or of all choices, of one request.
const BYTES_MAX: usize = 1 << 20;
/// Bytes of a regular expression.
const REGEX_BYTES_MAX: usize = 16 << 10;
/// Choices, or tools, of one request.
const ALTERNATIVES_MAX: usize = 10_000;

const SCHEMA: &str = "response_format.json_schema.schema";

/// What a reply has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Any JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema: an object, or `true`.
        schema: Value,
        /// Whether a keyword that cannot be enforced is refused; where not, it is ignored.
        strict: bool,
    },
    /// A text that a regular expression (of the crate `regex`) matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// Calls of tools, in the form `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>`.
    ToolCalls {
        /// Those that may be called: at least one.
        tools: Vec<Tool>,
        /// Whether more than one call may come.
        parallel: bool,
    },
}

/// A tool that may be called.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The schema of its arguments.
    pub parameters: Value,
    /// Its place among the tools of the request, for errors.
    pub index: Option<usize>,
}

impl Shape {
    /// Calls of the request's `tools`: of the one with this name (exactly one call), else of any
    /// (one, or several if `parallel`).
    ///
    /// # Errors
    /// [`RenderError::Request`], which names the field: a tool without a name, no tools, no tool of
    /// that name.
    pub fn tool_calls(
        tools: &Value,
        named: Option<&str>,
        parallel: bool,
    ) -> Result<Self, RenderError> {
        let listed = tools.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut wanted = Vec::new();
        for (index, tool) in listed.iter().enumerate() {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name").and_then(Value::as_str).ok_or_else(|| {
                RenderError::request(format!("tools[{index}].function.name"), "expected a name")
            })?;
            if named.is_none_or(|named| named == name) {
                let parameters = function.get("parameters").cloned().unwrap_or_else(|| json!({}));
                wanted.push(Tool { name: name.to_owned(), parameters, index: Some(index) });
            }
        }
        match (wanted.is_empty(), named) {
            (false, named) => {
                Ok(Self::ToolCalls { tools: wanted, parallel: parallel && named.is_none() })
            }
            (true, Some(named)) => Err(RenderError::request(
                "tool_choice.function.name",
                format!("`{named}` is not one of the {} `tools`", listed.len()),
            )),
            (true, None) => {
                Err(RenderError::request("tool_choice", "a call is required, but `tools` is empty"))
            }
        }
    }

    /// The kind that a turn records.
    pub fn kind(&self) -> ConstraintKind {
        match self {
            Self::JsonObject => ConstraintKind::JsonObject,
            Self::JsonSchema { .. } => ConstraintKind::JsonSchema,
            Self::Regex(_) => ConstraintKind::Regex,
            Self::Choice(_) => ConstraintKind::Choice,
            Self::ToolCalls { .. } => ConstraintKind::ToolCalls,
        }
    }

    /// The field of a request that says it.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::JsonObject => "response_format",
            Self::JsonSchema { .. } => SCHEMA,
            Self::Regex(_) => "structured_outputs.regex",
            Self::Choice(_) => "structured_outputs.choice",
            Self::ToolCalls { .. } => "tools",
        }
    }

    /// Whether it is of a size that can be compiled, and holds anything.
    pub(super) fn check(&self) -> Result<(), RenderError> {
        let (count, bytes, bytes_max) = match self {
            Self::JsonObject => (1, 1, BYTES_MAX),
            Self::JsonSchema { schema, .. } => (1, schema.to_string().len(), BYTES_MAX),
            Self::Regex(regex) => (1, regex.len(), REGEX_BYTES_MAX),
            Self::Choice(choices) => {
                let bytes = choices.iter().map(String::len).sum();
                (choices.len(), bytes, BYTES_MAX)
            }
            Self::ToolCalls { tools, .. } => {
                let sizes = tools.iter().map(|tool| tool.parameters.to_string().len());
                (tools.len(), sizes.sum(), BYTES_MAX)
            }
        };
        let problem = match self {
            _ if count == 0 || bytes == 0 => "is empty".to_owned(),
            _ if count > ALTERNATIVES_MAX => {
                format!("holds {count} alternatives, more than {ALTERNATIVES_MAX}")
            }
            _ if bytes > bytes_max => format!("has {bytes} bytes, more than {bytes_max}"),
            Self::Choice(choices) if choices.iter().any(String::is_empty) => {
                "holds an empty text".to_owned()
            }
            _ => return Ok(()),
        };
        Err(RenderError::request(self.field(), problem))
    }

    /// It as a grammar, after the reasoning.
    pub(super) fn grammar(&self, reasoning: Reasoning, marks: &Marks) -> TopLevelGrammar {
        let mut lark = opening(reasoning, marks);
        let mut named = Vec::new();
        match self {
            Self::JsonObject => {
                lark.push_str("body: @json\n");
                named.push(json_grammar("json".to_owned(), &json!({"type": "object"}), true));
            }
            Self::JsonSchema { schema, strict } => {
                lark.push_str("body: @json\n");
                named.push(json_grammar("json".to_owned(), schema, *strict));
            }
            Self::Regex(regex) => {
                let _ = writeln!(lark, "body: /{}/", regex_to_lark(regex, ""));
            }
            Self::Choice(choices) => {
                let texts: Vec<String> = choices.iter().map(|text| literal(text)).collect();
                let _ = writeln!(lark, "body: {}", texts.join(" | "));
            }
            Self::ToolCalls { tools, parallel } => {
                let [open, close] = match marks.call {
                    Some(ids) => ids.map(|id| format!("<[{id}]>")),
                    None => ["<tool_call>", "</tool_call>"].map(literal),
                };
                let more = if *parallel { " (\"\\n\" call)*" } else { "" };
                let names: Vec<String> = (0..tools.len()).map(|at| format!("f{at}")).collect();
                let _ = writeln!(lark, "body: call{more}");
                let _ = writeln!(lark, "call: {open} \"\\n\" function \"}}\\n\" {close}");
                let _ = writeln!(lark, "function: {}", names.join(" | "));
                for (at, tool) in tools.iter().enumerate() {
                    let name = Value::from(tool.name.as_str());
                    let head = format!("{{\"name\": {name}, \"arguments\": ");
                    let _ = writeln!(lark, "f{at}: {} @args{at}", literal(&head));
                    named.push(json_grammar(format!("args{at}"), &arguments(tool), false));
                }
            }
        }
        lark_grammar(lark, named)
    }
}

/// The schema of a tool's arguments, which are an object whatever it says.
fn arguments(tool: &Tool) -> Value {
    match &tool.parameters {
        Value::Object(schema) => {
            let mut schema = schema.clone();
            schema.entry("type").or_insert_with(|| json!("object"));
            Value::Object(schema)
        }
        _ => json!({"type": "object"}),
    }
}

/// `start` and the rules for what comes before `body`.
fn opening(reasoning: Reasoning, marks: &Marks) -> String {
    let open = match marks.think {
        Some([open, _]) => format!("<[{open}]>"),
        None => literal("<think>"),
    };
    let start = match reasoning {
        Reasoning::None => return "start: body\n".to_owned(),
        Reasoning::Possible => format!("start: body | {open} thought gap body\n"),
        Reasoning::Open => "start: thought gap body\n".to_owned(),
    };
    let thought = match marks.think {
        Some([_, close]) => format!("thought: TEXT <[{close}]>\n"),
        None => format!("thought[suffix={}]: TEXT\n", literal("</think>")),
    };
    format!("{start}{thought}TEXT: /(?s:.*)/\ngap: (\"\\n\" (\"\\n\")?)?\n")
}

/// A text as Lark writes it, which is as JSON writes it, DEL escaped as well.
fn literal(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
