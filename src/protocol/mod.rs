//! The wire: structs that are read from and written to HTTP, and nothing else.
//!
//! Requests are read field by field ([`Fields`]), so that a wrong type is answered with the path
//! of the field; unknown fields are tolerated. Responses derive both directions: our server
//! writes them and our client reads them.

mod chat;
mod error;
mod fields;
mod generate;
mod models;
pub mod sse;

pub use chat::{
    AssistantMessage, ChatChoice, ChatChunk, ChatCompletion, ChatRequest, ChunkChoice, Delta,
    FunctionCall, Logprobs, TokenLogprob, ToolCall, ToolCallDelta, ToolChoice, Usage,
};
pub use error::{ErrorBody, ErrorDetail};
pub use fields::{BadField, Fields};
pub use generate::{
    FinishInfo, GenerateAnswer, GenerateRequest, MetaInfo, Prompt, SamplingParams, TokenScore,
};
pub use models::{ModelCard, ModelInfo, ModelList, UpdateWeights, WeightsUpdated};
