//! Grammars that a reply has to follow: JSON, regular expressions, choices, tool calls.

mod shape;
mod tokens;

use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher, ParserFactory, panic_utils};
use serde_json::{Value, json};

pub use shape::{Shape, Tool};

use self::tokens::Vocabulary;
use super::{RenderError, Renderer};
use crate::engine::{AllowedIds, Constraint, ConstraintError};
use crate::rollout::ConstraintKind;

/// Whether a reply reasons before it says what its grammar wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reasoning {
    /// It does not: the model has no reasoning block, or the prompt has closed it already.
    #[default]
    None,
    /// It may open a reasoning block first.
    Possible,
    /// The prompt has opened the block already.
    Open,
}

/// White space that may stand between two parts of a JSON text: enough to indent, not enough to
/// fill a reply.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,40}";

/// Work that compiling one grammar may take, and that one step may take, in the units of
/// llguidance: about 20 ms and 15 ms.
const COMPILE_FUEL: u64 = 1_000_000;
const STEP_FUEL: u64 = 200_000;

/// What grammars need to know of one tokenizer: made once, used by every request.
///
/// Compiling takes milliseconds and belongs on a thread that may block; one [`Grammar`] serves any
/// number of replies.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use openclaw_rl::engine::GenerateRequest;
/// use openclaw_rl::render::{Grammars, Renderer, Shape};
/// use openclaw_rl::rollout::Sampling;
/// use serde_json::json;
///
/// let renderer = Renderer::open("model".as_ref())?;
/// let grammars = Grammars::new(&renderer)?; // once, at the start
///
/// // A schema, with an error for what cannot be enforced.
/// let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
/// let shape = Shape::JsonSchema { schema, strict: true };
/// // `tool_choice`: "required" (any of the tools) or one function by its name.
/// let tools = json!([{"type": "function", "function": {"name": "read", "parameters": {}}}]);
/// let parallel = true; // `parallel_tool_calls`
/// let calls = Shape::tool_calls(&tools, None, parallel)?;
///
/// let prompt = renderer.prompt(&[json!({"role": "user", "content": "hi"})], Some(&tools))?;
/// let grammar = grammars.compile(&calls, renderer.reasoning(&prompt))?;
/// let kind = grammar.kind(); // goes into `Turn::constraint`
/// let request = GenerateRequest {
///     stop_ids: renderer.stop_ids().into(),
///     constraint: Some(grammar.constraint()), // one for each of the `n` replies
///     ..GenerateRequest::new(prompt, Sampling { max_tokens: 512, ..Sampling::default() })
/// };
/// # drop((shape, kind, request));
/// # Ok(())
/// # }
/// ```
pub struct Grammars {
    factory: ParserFactory,
    /// Ids that end a reply, the model's own end of turn first.
    ends: Arc<[u32]>,
    marks: Marks,
}

/// The single ids of the markers that a reply's parts have, where the tokenizer has them.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    /// `<think>` and `</think>`.
    think: Option<[u32; 2]>,
    /// `<tool_call>` and `</tool_call>`.
    call: Option<[u32; 2]>,
}

/// A compiled grammar.
#[derive(Clone)]
pub struct Grammar {
    matcher: Matcher,
    ends: Arc<[u32]>,
    kind: ConstraintKind,
}

impl Grammars {
    /// What is needed of the renderer's tokenizer: a tenth of a second for a large one.
    ///
    /// # Errors
    /// [`RenderError::Tokenizer`] if its ids stand for nothing that a grammar could work with.
    pub fn new(renderer: &Renderer) -> Result<Self, RenderError> {
        let marks = Marks {
            think: renderer.marks(["<think>", "</think>"]),
            call: renderer.marks(["<tool_call>", "</tool_call>"]),
        };
        let markers: Vec<u32> = [marks.think, marks.call].into_iter().flatten().flatten().collect();
        let ends: Arc<[u32]> = renderer.end_ids().into();
        let made = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let vocabulary = Vocabulary::new(renderer, &ends, &markers).into_env();
            let capabilities = InferenceCapabilities::default();
            let slices = llguidance::earley::SlicedBiasComputer::general_slices();
            ParserFactory::new(&vocabulary, capabilities, &slices)
        }));
        let mut factory =
            made.map_err(|error| RenderError::Tokenizer { problem: first_line(&error) })?;
        // Nothing of a reply may reach a log, and nothing goes to stderr from here.
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.initial_lexer_fuel = COMPILE_FUEL;
        limits.step_lexer_fuel = STEP_FUEL;
        Ok(Self { factory, ends, marks })
    }

    /// Compiles what a reply has to be, after its reasoning if there is any.
    ///
    /// # Errors
    /// [`RenderError::Request`], which names the field: a schema or an expression that is none,
    /// that needs what is not supported, or that is too large.
    pub fn compile(&self, shape: &Shape, reasoning: Reasoning) -> Result<Grammar, RenderError> {
        shape.check()?;
        let failed = |at: String, problem: String| RenderError::Request { at, problem };
        match (self.compiled(shape, reasoning), shape) {
            (Ok(matcher), _) => {
                Ok(Grammar { matcher, ends: Arc::clone(&self.ends), kind: shape.kind() })
            }
            (Err(problem), Shape::ToolCalls { tools, .. }) => {
                // Which of them it was is known only by trying each.
                for (index, tool) in tools.iter().enumerate() {
                    let alone = Shape::ToolCalls { tools: vec![tool.clone()], parallel: false };
                    if let Err(problem) = self.compiled(&alone, Reasoning::None) {
                        let index = tool.index.unwrap_or(index);
                        return Err(failed(format!("tools[{index}].function.parameters"), problem));
                    }
                }
                Err(failed(shape.field().to_owned(), problem))
            }
            (Err(problem), _) => Err(failed(shape.field().to_owned(), problem)),
        }
    }

    fn compiled(&self, shape: &Shape, reasoning: Reasoning) -> Result<Matcher, String> {
        let grammar = shape.grammar(reasoning, &self.marks);
        let parser = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.factory.create_parser(grammar)
        }));
        let mut matcher = Matcher::new(parser);
        // The first step shows whether there is anything at all that may come.
        match matcher.get_error() {
            None => match matcher.compute_mask_or_eos() {
                Ok(_) => Ok(matcher),
                Err(error) => Err(first_line(&error)),
            },
            Some(error) => Err(first_line(&error)),
        }
    }
}

impl Grammar {
    /// What kind of grammar it is, for the turn.
    pub fn kind(&self) -> ConstraintKind {
        self.kind
    }

    /// The grammar at its beginning, for one reply.
    pub fn constraint(&self) -> Box<dyn Constraint> {
        let (matcher, ends) = (self.matcher.clone(), Arc::clone(&self.ends));
        Box::new(Followed { matcher, ends, ended: false })
    }
}

/// What the machine says, without the traces that follow.
fn first_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or("it cannot be followed").to_owned()
}

/// A grammar that one reply follows.
struct Followed {
    matcher: Matcher,
    ends: Arc<[u32]>,
    ended: bool,
}

impl Constraint for Followed {
    fn allow(&mut self, allowed: &mut AllowedIds) -> Result<(), ConstraintError> {
        if self.ended {
            return Err(ConstraintError { reason: "the reply has ended".to_owned() });
        }
        if self.matcher.is_stopped() && !self.matcher.is_error() {
            // Which end it is is no choice: the model's own.
            self.ends.first().iter().for_each(|id| allowed.insert(**id));
            return Ok(());
        }
        let mask = self.matcher.compute_mask().map_err(failed)?;
        allowed.insert_words(mask.as_slice());
        Ok(())
    }

    fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        if self.ends.contains(&id) {
            self.ended = true;
            return Ok(());
        }
        self.matcher.consume_token(id).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> ConstraintError {
    ConstraintError { reason: first_line(&error) }
}

/// JSON by a schema, as a grammar of its own, with bounded white space.
fn json_grammar(name: String, schema: &Value, strict: bool) -> GrammarWithLexer {
    let mut schema = match schema {
        Value::Object(schema) => schema.clone(),
        Value::Bool(false) => [("not".to_owned(), json!({}))].into_iter().collect(),
        _ => serde_json::Map::new(),
    };
    // The client's own settings for llguidance, if it sends any, are not a part of the schema.
    let settings = json!({ "whitespace_pattern": WHITE_SPACE, "lenient": !strict });
    schema.insert("x-guidance".to_owned(), settings);
    let json_schema = Some(Value::Object(schema));
    GrammarWithLexer { name: Some(name), json_schema, lark_grammar: None }
}

/// A grammar in Lark's notation, with those that it names.
fn lark_grammar(lark: String, named: Vec<GrammarWithLexer>) -> TopLevelGrammar {
    let main = GrammarWithLexer::from_lark(lark);
    TopLevelGrammar { grammars: [vec![main], named].concat(), max_tokens: None }
}

#[cfg(test)]
mod tests;
