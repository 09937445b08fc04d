//! A reply, in the form of Anthropic: whole, or as a sequence of events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `msg_<turn id>`.
    pub id: String,
    /// `message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `assistant`.
    pub role: String,
    /// The model's name, as it was asked for.
    pub model: String,
    /// What was thought, said and called, in this order.
    pub content: Vec<ContentBlock>,
    /// `end_turn`, `max_tokens`, `stop_sequence` or `tool_use`; null in the first event of a
    /// stream.
    pub stop_reason: Option<String>,
    /// The stop sequence that ended it.
    pub stop_sequence: Option<String>,
    /// Token counts.
    pub usage: MessageUsage,
}

/// A piece of content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentBlock {
    /// What was thought before.
    Thinking {
        /// The text.
        thinking: String,
        /// Always empty: nothing here checks it.
        signature: String,
    },
    /// What is said.
    Text {
        /// The text.
        text: String,
    },
    /// A call of a tool.
    ToolUse {
        /// Name of the call.
        id: String,
        /// The tool's name.
        name: String,
        /// Its arguments: an object.
        input: Value,
    },
}

/// Token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageUsage {
    /// Tokens of the prompt that had to be computed.
    pub input_tokens: usize,
    /// Always 0: nothing is charged for.
    pub cache_creation_input_tokens: usize,
    /// Tokens of the prompt that did not have to be computed.
    pub cache_read_input_tokens: usize,
    /// Tokens that were sampled.
    pub output_tokens: usize,
    /// More about them.
    #[serde(default)]
    pub output_tokens_details: OutputTokensDetails,
}

/// More about the tokens that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputTokensDetails {
    /// Those of the reasoning block, its markers included.
    pub thinking_tokens: usize,
}

/// An event of a stream; its name on the wire is that of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessageEvent {
    /// The first one.
    MessageStart {
        /// The reply, with nothing in it yet.
        message: Message,
    },
    /// A block begins.
    ContentBlockStart {
        /// Its place.
        index: usize,
        /// The block, empty.
        content_block: ContentBlock,
    },
    /// More of a block.
    ContentBlockDelta {
        /// Its place.
        index: usize,
        /// What is new.
        delta: BlockDelta,
    },
    /// A block is complete.
    ContentBlockStop {
        /// Its place.
        index: usize,
    },
    /// How the reply ended.
    MessageDelta {
        /// Why.
        delta: MessageDelta,
        /// Final counts.
        usage: MessageUsage,
    },
    /// The last one.
    MessageStop,
    /// Nothing yet.
    Ping,
    /// The reply could not be completed.
    Error {
        /// What went wrong.
        error: MessageErrorDetail,
    },
}

impl MessageEvent {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
            Self::Error { .. } => "error",
        }
    }
}

/// What is new of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BlockDelta {
    /// Of what is said.
    TextDelta {
        /// More text.
        text: String,
    },
    /// Of what is thought.
    ThinkingDelta {
        /// More text.
        thinking: String,
    },
    /// Of a call's arguments.
    InputJsonDelta {
        /// More of the JSON.
        partial_json: String,
    },
}

/// How a reply ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDelta {
    /// As in [`Message`].
    pub stop_reason: Option<String>,
    /// As in [`Message`].
    pub stop_sequence: Option<String>,
}

/// The body of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageError {
    /// `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error.
    pub error: MessageErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageErrorDetail {
    /// The family: `invalid_request_error`, `authentication_error`, `not_found_error`,
    /// `request_too_large`, `rate_limit_error`, `api_error`, `overloaded_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}
