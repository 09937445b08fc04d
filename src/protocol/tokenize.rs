//! `POST /tokenize` and `POST /detokenize`, in the form of vLLM.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat::template;
use super::{BadField, Fields};

/// What is to be tokenised.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A text.
    Text {
        /// The text.
        text: String,
        /// Whether the tokenizer adds what it adds to a text of its own (a beginning, an end).
        add_special_tokens: bool,
    },
    /// A conversation, as the model reads it.
    Conversation {
        /// The messages.
        messages: Vec<Value>,
        /// The tools, if there are any.
        tools: Option<Value>,
        /// Whether the beginning of the assistant's reply is part of it.
        add_generation_prompt: bool,
        /// What the chat template is told beside messages and tools.
        template: Map<String, Value>,
    },
}

/// A request to tokenise.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizeRequest {
    /// What.
    pub source: Source,
    /// Whether the tokens' texts are wanted as well.
    pub return_token_strs: bool,
}

const FLAG: &str = "true or false";

impl TokenizeRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The first field that is missing or wrong.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let return_token_strs = fields.get("return_token_strs", FLAG)?.unwrap_or_default();
        let messages = fields.get::<Vec<Value>>("messages", "an array of messages")?;
        let text = fields.get::<String>("prompt", "one string")?;
        let source = match (text, messages) {
            (Some(_), Some(_)) => {
                return Err(fields.bad("prompt", "give either `prompt` or `messages`"));
            }
            (None, None) => {
                return Err(fields.bad("prompt", "give either `prompt` or `messages`"));
            }
            (Some(text), None) => Source::Text {
                text,
                add_special_tokens: fields.get("add_special_tokens", FLAG)?.unwrap_or(true),
            },
            (None, Some(messages)) => Source::Conversation {
                messages,
                tools: fields.get::<Vec<Value>>("tools", "an array of tools")?.map(Value::Array),
                add_generation_prompt: fields.get("add_generation_prompt", FLAG)?.unwrap_or(true),
                template: template(&mut fields)?,
            },
        };
        Ok(Self { source, return_token_strs })
    }
}

/// The answer to a [`TokenizeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenized {
    /// Number of tokens.
    pub count: usize,
    /// Longest prompt and reply together, in tokens.
    pub max_model_len: usize,
    /// Their ids.
    pub tokens: Vec<u32>,
    /// Their texts, if they were asked for; a part of a character shows as a replacement character.
    #[serde(default)]
    pub token_strs: Option<Vec<String>>,
}

/// A request to make text of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetokenizeRequest {
    /// The ids.
    pub tokens: Vec<u32>,
}

impl DetokenizeRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// `tokens` is missing or no array of ids.
    pub fn parse(body: Value) -> Result<Self, BadField> {
        let mut fields = Fields::of_body(body)?;
        let tokens = fields.get("tokens", "an array of token ids")?;
        Ok(Self { tokens: tokens.ok_or_else(|| fields.bad("tokens", "is required"))? })
    }
}

/// The answer to a [`DetokenizeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detokenized {
    /// The text, special tokens included.
    pub prompt: String,
}
