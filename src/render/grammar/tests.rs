//! Grammars on the embedded model's tokenizer: what they accept, refuse, force and report.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::engine::fake::{Fake, Habit};
use crate::engine::{Emitted, Engine, EngineOptions, GenerateRequest};
use crate::rollout::{FinishReason, Sampling, Version};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/model")
}

/// The embedded model's tokenizer with a template that knows of reasoning.
fn reasoning_renderer() -> (tempfile::TempDir, Renderer) {
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        std::fs::copy(model().join(file), dir.path().join(file)).unwrap();
    }
    let template = "{% if messages[0].content == 'open' %}<think>\n{% elif messages[0].content == \
                    'closed' %}<think>\n\n</think>\n\n{% endif %}";
    std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    let renderer = Renderer::open(dir.path()).unwrap();
    (dir, renderer)
}

struct Bench {
    renderer: Renderer,
    grammars: Grammars,
}

/// What came of a text that was given to a grammar.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// All of it fits, and the reply may end there.
    Whole,
    /// All of it fits, but there has to be more.
    Open,
    /// What comes after so many bytes does not fit.
    Refused(usize),
}

impl Bench {
    fn new() -> Self {
        let renderer = Renderer::open(&model()).unwrap();
        let grammars = Grammars::new(&renderer).unwrap();
        Self { renderer, grammars }
    }

    fn compile(&self, shape: &Shape) -> Grammar {
        self.grammars.compile(shape, Reasoning::None).unwrap()
    }

    fn allowed(&self, constraint: &mut dyn Constraint) -> Vec<u32> {
        let mut allowed = AllowedIds::none(self.renderer.vocab_size());
        constraint.allow(&mut allowed).unwrap();
        (0..self.renderer.vocab_size() as u32).filter(|id| allowed.contains(*id)).collect()
    }

    /// Gives it a text, at each step the longest allowed token that spells what comes next.
    fn give(&self, grammar: &Grammar, text: &str) -> Outcome {
        let mut constraint = grammar.constraint();
        let mut rest = text.as_bytes();
        loop {
            let allowed = self.allowed(&mut *constraint);
            if rest.is_empty() {
                let ends = allowed.contains(&self.renderer.stop_ids()[0])
                    || allowed.contains(&self.renderer.stop_ids()[1]);
                return if ends { Outcome::Whole } else { Outcome::Open };
            }
            let fitting = allowed.iter().map(|id| (*id, self.renderer.token_bytes(*id)));
            let fitting = fitting.filter(|(_, bytes)| !bytes.is_empty() && rest.starts_with(bytes));
            let Some((id, bytes)) = fitting.max_by_key(|(_, bytes)| bytes.len()) else {
                return Outcome::Refused(text.len() - rest.len());
            };
            constraint.accept(id).unwrap();
            rest = &rest[bytes.len()..];
        }
    }

    /// Draws at random among what is allowed; the ids, how many of them were forced, and whether
    /// the reply ended.
    fn draw(&self, grammar: &Grammar, seed: u64, ids_max: usize) -> (Vec<u32>, usize, bool) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut constraint = grammar.constraint();
        let (mut ids, mut forced) = (Vec::new(), 0);
        while ids.len() < ids_max {
            let allowed = self.allowed(&mut *constraint);
            forced += usize::from(allowed.len() == 1);
            let id = allowed[random.random_range(0..allowed.len())];
            constraint.accept(id).unwrap();
            if self.renderer.stop_ids().contains(&id) {
                return (ids, forced, true);
            }
            ids.push(id);
        }
        (ids, forced, false)
    }
}

fn schema(schema: Value) -> Shape {
    Shape::JsonSchema { schema, strict: true }
}

fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"enum": ["a", "b", "ccc"]}, "maxItems": 3},
        },
        "required": ["name", "age"],
        "additionalProperties": false,
    })
}

#[test]
fn a_schema_accepts_what_it_describes_and_nothing_else() {
    let bench = Bench::new();
    let grammar = bench.compile(&schema(person()));
    assert_eq!(grammar.kind(), ConstraintKind::JsonSchema);
    for text in [
        r#"{"name":"Ada","age":36}"#,
        r#"{"name": "Ada", "age": 36, "tags": ["a", "ccc"]}"#,
        "{\n    \"name\": \"Zoë 👋\",\n    \"age\": 0\n}",
    ] {
        assert_eq!(bench.give(&grammar, text), Outcome::Whole, "{text}");
    }
    assert_eq!(bench.give(&grammar, r#"{"name": "Ada""#), Outcome::Open);
    for (text, at) in [
        (r#"Sure: {"#, 0),
        (r#"{"age": 36"#, 2),
        (r#"{"name": "Ada", "age": 151}"#, 25),
        (r#"{"name": "Ada", "age": 36}}"#, 26),
        (r#"{"name": "Ada", "age": 36, "more""#, 28),
    ] {
        assert_eq!(bench.give(&grammar, text), Outcome::Refused(at), "{text}");
    }
}

#[test]
fn whatever_is_drawn_validates() {
    let bench = Bench::new();
    let grammar = bench.compile(&schema(person()));
    let validator = jsonschema::validator_for(&person()).unwrap();
    let mut ended = 0;
    for seed in 0..40 {
        let (ids, _, end) = bench.draw(&grammar, seed, 200);
        if end {
            let text = bench.renderer.decode(&ids).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(validator.is_valid(&value), "{text}");
            ended += 1;
        }
    }
    assert!(ended > 20, "{ended} of 40 ended");
}

#[tokio::test]
async fn what_an_engine_draws_validates() {
    let bench = Bench::new();
    // More rows than the tokenizer has ids, as models have them.
    let vocab = bench.renderer.vocab_size() + 45;
    let fake = Fake::new(vocab, 4096, Habit::Hash(4));
    let engine = Engine::start(Arc::new(fake), Version::BASE, EngineOptions::default()).unwrap();
    let grammar = bench.compile(&schema(person()));
    let replies: Vec<_> = (0..12)
        .map(|seed| {
            let sampling = Sampling { seed, max_tokens: 300, ..Sampling::default() };
            let request = GenerateRequest {
                stop_ids: bench.renderer.stop_ids().into(),
                constraint: Some(grammar.constraint()),
                ..GenerateRequest::new(vec![1, 2, 3], sampling)
            };
            engine.submit(request).unwrap()
        })
        .collect();
    let validator = jsonschema::validator_for(&person()).unwrap();
    let mut forced = 0;
    for mut reply in replies {
        let mut ids = Vec::new();
        let reason = loop {
            match reply.next().await.unwrap() {
                Emitted::Begun { .. } => {}
                Emitted::Token(token) => {
                    forced += usize::from(token.forced);
                    assert!(token.drawn_logprob <= 0.0 && token.logprob < 0.0);
                    ids.push(token.id);
                }
                Emitted::Done { reason } => break reason,
                Emitted::Failed(error) => panic!("{error}"),
            }
        };
        if reason == FinishReason::Stop {
            let text = bench.renderer.decode(&ids).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            assert!(validator.is_valid(&value), "{text}");
        }
    }
    assert!(forced > 12, "{forced}");
}

#[test]
fn white_space_does_not_fill_a_reply() {
    let bench = Bench::new();
    let grammar = bench.compile(&Shape::JsonObject);
    assert_eq!(bench.give(&grammar, &format!("{{{}}}", " ".repeat(40))), Outcome::Whole);
    let text = format!("{{{}}}", "\n".repeat(41));
    assert!(matches!(bench.give(&grammar, &text), Outcome::Refused(_)));
    assert_eq!(bench.give(&grammar, "[]"), Outcome::Refused(0), "an object");
}

#[test]
fn special_tokens_are_no_text() {
    let bench = Bench::new();
    let grammar = bench.compile(&Shape::JsonObject);
    let mut constraint = grammar.constraint();
    for id in bench.renderer.encode("{\"a\": \"b").unwrap() {
        constraint.accept(id).unwrap();
    }
    let allowed = bench.allowed(&mut *constraint);
    assert!(allowed.len() > 1000);
    for name in ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<think>", "</tool_call>"] {
        let [id] = bench.renderer.encode(name).unwrap()[..] else { panic!("{name}") };
        assert!(!allowed.contains(&id), "{name}");
    }
    // A text that is spelled like one is forced all the same, in other ids.
    let grammar = bench.compile(&Shape::Choice(vec!["<|im_end|> or </think>".to_owned()]));
    assert_eq!(bench.give(&grammar, "<|im_end|> or </think>"), Outcome::Whole);
}

#[test]
fn expressions_and_choices() {
    let bench = Bench::new();
    let regex = bench.compile(&Shape::Regex(r"[A-Z]{2}-\d{3}(/x)?".to_owned()));
    assert_eq!(regex.kind(), ConstraintKind::Regex);
    assert_eq!(bench.give(&regex, "AB-123"), Outcome::Whole);
    assert_eq!(bench.give(&regex, "AB-123/x"), Outcome::Whole);
    assert_eq!(bench.give(&regex, "AB-12"), Outcome::Open);
    assert_eq!(bench.give(&regex, "AB-1234"), Outcome::Refused(6));
    let texts = ["yes", "yes, but", "\"no\"\n"].map(str::to_owned);
    let choice = bench.compile(&Shape::Choice(texts.to_vec()));
    assert_eq!(choice.kind(), ConstraintKind::Choice);
    for text in &texts {
        assert_eq!(bench.give(&choice, text), Outcome::Whole, "{text}");
    }
    assert_eq!(bench.give(&choice, "no"), Outcome::Refused(0));
}

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "read", "parameters": {"type": "object",
            "properties": {"path": {"$ref": "#/$defs/Path"}}, "required": ["path"],
            "additionalProperties": false, "$defs": {"Path": {"type": "string", "maxLength": 9}}}}},
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "wri\"te", "parameters": {"type": "object",
            "properties": {"n": {"type": "integer"}}, "required": ["n"],
            "additionalProperties": false, "if": {}}}},
    ])
}

const READ: &str =
    "<tool_call>\n{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>";
const WRITE: &str =
    "<tool_call>\n{\"name\": \"wri\\\"te\", \"arguments\": {\"n\": 1}}\n</tool_call>";

#[test]
fn a_required_call_is_a_call_of_one_of_the_tools() {
    let bench = Bench::new();
    let one = bench.compile(&Shape::tool_calls(&tools(), None, false).unwrap());
    assert_eq!(one.kind(), ConstraintKind::ToolCalls);
    for text in [READ, WRITE] {
        assert_eq!(bench.give(&one, text), Outcome::Whole, "{text}");
    }
    let two = format!("{READ}\n{WRITE}");
    assert_eq!(bench.give(&one, &two), Outcome::Refused(READ.len()));
    let several = bench.compile(&Shape::tool_calls(&tools(), None, true).unwrap());
    assert_eq!(bench.give(&several, &two), Outcome::Whole);
    assert_eq!(bench.give(&several, "I will"), Outcome::Refused(0));
    let named = bench.compile(&Shape::tool_calls(&tools(), Some("read"), true).unwrap());
    assert_eq!(bench.give(&named, READ), Outcome::Whole);
    assert_eq!(bench.give(&named, &two), Outcome::Refused(READ.len()), "exactly one");
    assert!(matches!(bench.give(&named, WRITE), Outcome::Refused(_)));
    let unknown = WRITE.replace("\"n\"", "\"m\"");
    assert!(matches!(bench.give(&one, &unknown), Outcome::Refused(_)));
}

#[test]
fn what_is_forced_is_what_the_tokenizer_would_write() {
    let bench = Bench::new();
    let grammar = bench.compile(&Shape::tool_calls(&tools(), Some("read"), true).unwrap());
    let forced = "<tool_call>\n{\"name\": \"read\", \"arguments\": {";
    let expected = bench.renderer.encode(forced).unwrap();
    let mut constraint = grammar.constraint();
    // The last ids may be others, depending on what follows.
    for id in &expected[..expected.len() - 2] {
        assert_eq!(bench.allowed(&mut *constraint), [*id]);
        constraint.accept(*id).unwrap();
    }
    for seed in 0..20 {
        let (ids, forced, _) = bench.draw(&grammar, seed, 100);
        assert!(forced > 10, "{forced} of {}", ids.len());
    }
}

#[test]
fn a_complete_reply_ends_with_the_models_own_end_of_turn() {
    let bench = Bench::new();
    let grammar = bench.compile(&Shape::Choice(vec!["yes".to_owned()]));
    let mut constraint = grammar.constraint();
    for id in bench.renderer.encode("yes").unwrap() {
        constraint.accept(id).unwrap();
    }
    let [end] = bench.renderer.encode("<|im_end|>").unwrap()[..] else { panic!() };
    assert_eq!(bench.allowed(&mut *constraint), [end]);
    constraint.accept(end).unwrap();
    let error = constraint.allow(&mut AllowedIds::none(9)).unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
    // Where more may come, every end is one.
    let grammar = bench.compile(&Shape::Regex("a+".to_owned()));
    let mut constraint = grammar.constraint();
    constraint.accept(bench.renderer.encode("a").unwrap()[0]).unwrap();
    let allowed = bench.allowed(&mut *constraint);
    assert!(bench.renderer.stop_ids().iter().all(|id| allowed.contains(id)), "{allowed:?}");
}

#[test]
fn replies_of_one_grammar_do_not_meet() {
    let bench = Bench::new();
    let grammar = bench.compile(&schema(person()));
    let ids = bench.renderer.encode("{\"name\": \"A").unwrap();
    let (mut first, mut second) = (grammar.constraint(), grammar.constraint());
    ids.iter().for_each(|id| first.accept(*id).unwrap());
    assert_eq!(bench.give(&grammar, r#"{"name":"Ada","age":36}"#), Outcome::Whole);
    assert!(bench.allowed(&mut *first).len() > 1000, "within a text");
    assert_eq!(bench.renderer.token_bytes(bench.allowed(&mut *second)[0])[0], b'{');
}

#[test]
fn reasoning_comes_first_where_the_model_reasons() {
    let (_dir, renderer) = reasoning_renderer();
    let prompt = |text: &str| renderer.prompt(&[json!({"role": "user", "content": text})], None);
    let reasoning = ["hi", "open", "closed"].map(|text| renderer.reasoning(&prompt(text).unwrap()));
    assert_eq!(reasoning, [Reasoning::Possible, Reasoning::Open, Reasoning::None]);
    let plain = Renderer::open(&model()).unwrap();
    let prompt = plain.prompt(&[json!({"role": "user", "content": "hi"})], None).unwrap();
    assert_eq!(plain.reasoning(&prompt), Reasoning::None, "its template knows of none");

    let grammars = Grammars::new(&renderer).unwrap();
    let bench = Bench { renderer, grammars };
    let compile = |reasoning| bench.grammars.compile(&Shape::JsonObject, reasoning).unwrap();
    let thought = "\nA {thought} of <|im_end|> \"any\" kind\n</think>";
    for gap in ["", "\n", "\n\n"] {
        let open = format!("{thought}{gap}{{}}");
        assert_eq!(bench.give(&compile(Reasoning::Open), &open), Outcome::Whole);
        let whole = format!("<think>{open}");
        assert_eq!(bench.give(&compile(Reasoning::Possible), &whole), Outcome::Whole);
        assert_eq!(bench.give(&compile(Reasoning::None), &whole), Outcome::Refused(0));
    }
    assert_eq!(bench.give(&compile(Reasoning::Possible), "{}"), Outcome::Whole);
    assert_eq!(bench.give(&compile(Reasoning::Open), "{}"), Outcome::Open, "still a thought");
    let wrong = format!("{thought}\n\nSure");
    assert!(matches!(bench.give(&compile(Reasoning::Open), &wrong), Outcome::Refused(_)));
}

/// The field and the problem of a shape that cannot be compiled.
fn refused(bench: &Bench, shape: &Shape) -> (String, String) {
    match bench.grammars.compile(shape, Reasoning::None).map(|_| ()).unwrap_err() {
        RenderError::Request { at, problem } => (at, problem),
        other => panic!("{other}"),
    }
}

#[test]
fn what_cannot_be_compiled_is_named() {
    let bench = Bench::new();
    let at = "response_format.json_schema.schema".to_owned();
    let unsupported = json!({"type": "object", "if": {}, "then": {}});
    let (field, problem) = refused(&bench, &schema(unsupported.clone()));
    assert!(field == at && problem.contains("if"), "{field} {problem}");
    bench.compile(&Shape::JsonSchema { schema: unsupported, strict: false });
    for wrong in [
        json!({"type": "thing"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"type": "string", "pattern": "("}),
        json!({"enum": []}),
        json!(false),
    ] {
        let (field, problem) = refused(&bench, &schema(wrong.clone()));
        assert!(field == at && !problem.is_empty(), "{wrong}: {field} {problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
    let large = json!({"enum": ["x".repeat(1 << 20)]});
    assert!(refused(&bench, &schema(large)).1.contains("bytes"));
    let (field, problem) = refused(&bench, &Shape::Regex("a(".to_owned()));
    assert!(field == "structured_outputs.regex" && !problem.is_empty(), "{problem}");
    assert_eq!(refused(&bench, &Shape::Regex(String::new())).1, "is empty");
    assert_eq!(refused(&bench, &Shape::Choice(vec![])).1, "is empty");
    let empty = Shape::Choice(vec![String::new(), "a".to_owned()]);
    assert_eq!(refused(&bench, &empty).1, "holds an empty text");
    let mut tools = tools();
    tools[2]["function"]["parameters"]["properties"]["n"] = json!({"type": "wrong"});
    let shape = Shape::tool_calls(&tools, None, true).unwrap();
    assert_eq!(refused(&bench, &shape).0, "tools[2].function.parameters");
}

#[test]
fn tools_that_cannot_be_called_are_named() {
    let fault = |tools: &Value, named| match Shape::tool_calls(tools, named, true).unwrap_err() {
        RenderError::Request { at, .. } => at,
        other => panic!("{other}"),
    };
    assert_eq!(fault(&json!([]), None), "tool_choice");
    assert_eq!(fault(&tools(), Some("none")), "tool_choice.function.name");
    assert_eq!(fault(&json!([{"function": {}}]), None), "tools[0].function.name");
}

#[test]
fn an_id_that_does_not_fit_is_an_error_that_tells_nothing_of_the_reply() {
    let bench = Bench::new();
    let grammar = bench.compile(&Shape::JsonObject);
    let mut constraint = grammar.constraint();
    for id in bench.renderer.encode("{\"secret\": \"").unwrap() {
        constraint.accept(id).unwrap();
    }
    let [bad] = bench.renderer.encode("<|im_start|>").unwrap()[..] else { panic!() };
    let error = constraint.accept(bad).unwrap_err().to_string();
    assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
    assert!(constraint.allow(&mut AllowedIds::none(4096)).is_err());
}
