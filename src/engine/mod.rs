//! Token ids in, sampled ids with their log-probabilities out, while weights change underneath.
//!
//! One thread runs steps: one decode batch of every running reply, and a bounded number of prompt
//! tokens, so that a long prompt never stalls a stream. [`Engine`] is the handle to it,
//! [`scheduler`] decides (a pure state machine), [`prefix`] knows which tokens need not be computed
//! again, [`sampler`] draws, `worker` carries out, and [`Forward`] is what a model must be able to
//! do. A swap becomes live between two steps: sequences in flight finish on the version that they
//! began with.

mod check;
mod constraint;
mod decoder;
pub mod fake;
mod forward;
mod handle;
mod host;
pub mod prefix;
mod request;
pub mod sampler;
pub mod scheduler;
mod task;
mod worker;

pub use constraint::{AllowedIds, Constraint, ConstraintError};
pub use decoder::{KvBlock, KvCache};
pub use forward::{Forward, ForwardError, ModelSet, Rows, Work};
pub use handle::Engine;
pub use request::{
    Answer, Emitted, EngineError, EngineOptions, EngineStats, GenerateRequest, Generation,
    SampledToken, ScoreRequest, Scored, TOP_LOGPROBS_MAX, TopLogprobs,
};

#[cfg(test)]
mod drawing_tests;
#[cfg(test)]
mod sharing_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
