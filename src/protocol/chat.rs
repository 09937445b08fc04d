//! `POST /v1/chat/completions`, in the form of OpenAI.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadField, Fields};

/// Whether the model may call tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    Auto,
    /// It may not: the tools are not shown to it.
    None,
}

/// A request. What is absent is `None`; the server knows the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The model's name.
    pub model: Option<String>,
    /// The conversation, as it came.
    pub messages: Vec<Value>,
    /// The tools, as they came: a non-empty array.
    pub tools: Option<Value>,
    /// Whether tools may be called.
    pub tool_choice: ToolChoice,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
    /// Most tokens of the reply.
    pub max_tokens: Option<u32>,
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Nucleus mass.
    pub top_p: Option<f32>,
    /// Most probable tokens kept; 0 keeps all.
    pub top_k: Option<u32>,
    /// Seed of the random stream.
    pub seed: Option<u64>,
    /// Texts that end the reply.
    pub stop: Vec<String>,
    /// Whether log-probabilities of the sampled tokens are wanted.
    pub logprobs: bool,
    /// Whether token ids are wanted (as vLLM answers them).
    pub return_token_ids: bool,
    /// The fields that place a turn in its session: (name, text), in a fixed order.
    pub session: Vec<(&'static str, String)>,
}

/// Body fields that place a turn in its session.
const SESSION_FIELDS: &[&str] =
    &["user", "session_id", "turn_type", "session_done", "prompt_cache_key"];

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing, wrong or not supported.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let flag = "true or false";
        let messages = fields.get::<Vec<Value>>("messages", "an array of messages")?;
        let messages = messages.ok_or_else(|| fields.bad("messages", "is required"))?;
        if messages.is_empty() {
            return Err(fields.bad("messages", "must hold at least one message"));
        }
        unsupported(&mut fields)?;
        let mut stream_options = fields.object("stream_options")?;
        let max_tokens = positive(&mut fields, "max_tokens")?;
        Ok(Self {
            model: fields.get("model", "a string")?,
            messages,
            tools: tools(&mut fields)?,
            tool_choice: tool_choice(&mut fields)?,
            stream: fields.get("stream", flag)?.unwrap_or_default(),
            include_usage: stream_options.get("include_usage", flag)?.unwrap_or_default(),
            max_tokens: positive(&mut fields, "max_completion_tokens")?.or(max_tokens),
            temperature: fields
                .number("temperature", "a number from 0 to 10", |t| (0.0..=10.0).contains(&t))?,
            top_p: fields
                .number("top_p", "a number above 0, at most 1", |p| p > 0.0 && p <= 1.0)?,
            top_k: fields.top_k()?,
            seed: fields.seed("seed")?,
            stop: fields.stops("stop")?,
            logprobs: fields.get("logprobs", flag)?.unwrap_or_default(),
            return_token_ids: fields.get("return_token_ids", flag)?.unwrap_or_default(),
            session: session(&mut fields),
        })
    }
}

fn positive(fields: &mut Fields, key: &str) -> Result<Option<u32>, BadField> {
    let expected = "a whole number above 0";
    match fields.get::<u32>(key, expected)? {
        Some(0) => Err(fields.bad(key, &format!("expected {expected}, got 0"))),
        limit => Ok(limit),
    }
}

/// Refuses what would change the answer and cannot be done.
fn unsupported(fields: &mut Fields) -> Result<(), BadField> {
    for (key, neutral) in [
        ("n", 1.0),
        ("top_logprobs", 0.0),
        ("frequency_penalty", 0.0),
        ("presence_penalty", 0.0),
        ("repetition_penalty", 1.0),
        ("min_p", 0.0),
    ] {
        fields.neutral(key, neutral)?;
    }
    match fields.raw("logit_bias") {
        Some(Value::Object(bias)) if bias.is_empty() => {}
        None => {}
        Some(_) => return Err(fields.bad("logit_bias", "only an empty object is supported")),
    }
    if fields.raw("response_format").is_some_and(|format| format["type"] != "text") {
        let problem = r#"only {"type": "text"} is supported"#;
        return Err(fields.bad("response_format.type", problem));
    }
    Ok(())
}

fn tools(fields: &mut Fields) -> Result<Option<Value>, BadField> {
    let Some(tools) = fields.get::<Vec<Value>>("tools", "an array of tools")? else {
        return Ok(None);
    };
    for (index, tool) in tools.iter().enumerate() {
        if !tool["function"]["name"].is_string() {
            let param = format!("tools[{index}].function.name");
            return Err(BadField::new(param, "expected a function with a name"));
        }
    }
    Ok(Some(tools).filter(|tools| !tools.is_empty()).map(Value::Array))
}

fn tool_choice(fields: &mut Fields) -> Result<ToolChoice, BadField> {
    match fields.raw("tool_choice") {
        None => Ok(ToolChoice::Auto),
        Some(Value::String(choice)) if choice == "auto" => Ok(ToolChoice::Auto),
        Some(Value::String(choice)) if choice == "none" => Ok(ToolChoice::None),
        Some(_) => Err(fields.bad(
            "tool_choice",
            "supported are \"auto\" (the model decides) and \"none\"; a call cannot be forced",
        )),
    }
}

fn session(fields: &mut Fields) -> Vec<(&'static str, String)> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    SESSION_FIELDS
        .iter()
        .filter_map(|key| fields.raw(key).map(|value| (*key, text(value))))
        .collect()
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletion {
    /// `chatcmpl-<turn id>`.
    pub id: String,
    /// `chat.completion`.
    pub object: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The model's name, as it was asked for.
    pub model: String,
    /// One choice.
    pub choices: Vec<ChatChoice>,
    /// Token counts.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// `weights-<version>` of the version that answered.
    #[serde(default)]
    pub system_fingerprint: Option<String>,
    /// The prompt's ids, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// The choice of a whole reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChoice {
    /// 0.
    pub index: u32,
    /// The reply.
    pub message: AssistantMessage,
    /// Of the sampled tokens, if they were asked for.
    #[serde(default)]
    pub logprobs: Option<Logprobs>,
    /// `stop`, `length` or `tool_calls`.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// The sampled ids, the end-of-turn token included, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What the assistant answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssistantMessage {
    /// `assistant`.
    pub role: String,
    /// What it says; null where it only calls tools.
    #[serde(default)]
    pub content: Option<String>,
    /// What it thought before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The tools that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Name of the call.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// Log-probabilities of sampled tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logprobs {
    /// One entry per sampled token, the end-of-turn token included.
    pub content: Vec<TokenLogprob>,
}

/// A sampled token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text; a part of a character shows as a replacement character.
    pub token: String,
    /// Its log-probability, as the store records it.
    pub logprob: f32,
    /// Its bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// Always empty: other tokens are not reported.
    #[serde(default)]
    pub top_logprobs: Vec<Value>,
}

/// Token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that the model read.
    pub prompt_tokens: usize,
    /// Tokens that it sampled.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
}

/// A piece of a streamed reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// `chatcmpl-<turn id>`.
    pub id: String,
    /// `chat.completion.chunk`.
    pub object: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    /// The model's name, as it was asked for.
    pub model: String,
    /// One choice; none in the chunk that carries the usage.
    pub choices: Vec<ChunkChoice>,
    /// Token counts, in the last chunk, if they were asked for (null in the others then).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// `weights-<version>`, in the chunk that carries the finish reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// The prompt's ids, in the first chunk, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_token_ids: Option<Vec<u32>>,
}

/// The choice of a piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkChoice {
    /// 0.
    pub index: u32,
    /// What is new.
    pub delta: Delta,
    /// Of the tokens that were sampled since the piece before, if they were asked for.
    #[serde(default)]
    pub logprobs: Option<Logprobs>,
    /// In the last one: `stop`, `length` or `tool_calls`.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// The ids sampled since the piece before, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
}

/// What is new in a piece.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// More of what the assistant says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of what it thinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Calls of tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCallDelta>>,
}

/// A call of a tool within a stream; here always whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// Position among the calls of the reply, from 0.
    pub index: usize,
    /// Name of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is called.
    pub function: FunctionCall,
}
