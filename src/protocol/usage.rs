//! Token counts, in the form of OpenAI.

use serde::{Deserialize, Serialize};

/// Token counts of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that the model read; those of a prompt count once, however many choices it has.
    pub prompt_tokens: usize,
    /// Tokens that it sampled, for all choices.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// More about the first.
    #[serde(default)]
    pub prompt_tokens_details: PromptTokensDetails,
    /// More about the second.
    #[serde(default)]
    pub completion_tokens_details: CompletionTokensDetails,
}

/// More about the tokens that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Those that did not have to be computed.
    #[serde(default)]
    pub cached_tokens: usize,
}

/// More about the tokens that were sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionTokensDetails {
    /// Those of the reasoning block, its markers included.
    #[serde(default)]
    pub reasoning_tokens: usize,
}
