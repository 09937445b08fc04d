//! A reply, in the form of OpenAI: whole, or in pieces.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Usage;

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
    /// As many as were asked for.
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
    /// Which of the choices it is, from 0.
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
    /// The most probable tokens of its position, if they were asked for.
    #[serde(default)]
    pub top_logprobs: Vec<TopLogprob>,
}

/// A token that might have been sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    /// Its text; a part of a character shows as a replacement character.
    pub token: String,
    /// Its log-probability, by the same definition as that of the sampled one.
    pub logprob: f32,
    /// Its bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
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
    /// Which of the choices it is, from 0.
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

/// A call of a tool within a stream: its id and name first, then its arguments as they come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// Position among the calls of the reply, from 0.
    pub index: usize,
    /// Name of the call, in its first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, in its first piece.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is new of it.
    pub function: FunctionDelta,
}

/// What is new of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionDelta {
    /// The function's name, in the call's first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// More of the arguments: all pieces joined are the text of a JSON object.
    #[serde(default)]
    pub arguments: String,
}
