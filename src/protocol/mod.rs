//! The wire: structs that are read from and written to HTTP, and nothing else.
//!
//! Requests are read field by field ([`Fields`]), so that a wrong type is answered with the path
//! of the field; unknown fields are tolerated. Responses derive both directions: our server
//! writes them and our client reads them.

mod chat;
mod completions;
mod error;
mod feedback;
mod fields;
mod generate;
mod messages;
mod models;
mod prompt;
mod reply;
mod sampling;
mod session;
mod shape;
pub mod sse;
mod tokenize;
mod usage;

pub use chat::{CHOICES_MAX, ChatRequest, ToolChoice};
pub use completions::{
    Completion, CompletionChoice, CompletionLogprobs, CompletionRequest, PROMPTS_MAX,
};
pub use error::{ErrorBody, ErrorDetail};
pub use feedback::{FEEDBACK_TEXT_MAX, FeedbackRequest, FeedbackTaken};
pub use fields::{BadField, Fields};
pub use generate::{
    FinishInfo, GenerateAnswer, GenerateRequest, MetaInfo, SamplingParams, TokenScore, TopScores,
};
pub use messages::{
    BlockDelta, ContentBlock, Message, MessageDelta, MessageError, MessageErrorDetail,
    MessageEvent, MessageUsage, OutputTokensDetails, parse_count_tokens, parse_messages,
};
pub use models::{
    LoadAdapter, ModelCard, ModelInfo, ModelList, UnloadAdapter, UpdateWeights, WeightsUpdated,
    parse_pause,
};
pub use prompt::{NoPrompt, Prompt};
pub use reply::{
    AssistantMessage, ChatChoice, ChatChunk, ChatCompletion, ChunkChoice, Delta, FunctionCall,
    FunctionDelta, Logprobs, TokenLogprob, ToolCall, ToolCallDelta, TopLogprob,
};
pub use sampling::SamplingFields;
pub use session::{Session, split_user};
pub use shape::TextShape;
pub use tokenize::{DetokenizeRequest, Detokenized, Source, TokenizeRequest, Tokenized};
pub use usage::{CompletionTokensDetails, PromptTokensDetails, Usage};
