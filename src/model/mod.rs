//! The decoder: configuration, weights, the forward pass and its gradient.
//!
//! One definition serves batched decoding, chunked prefill, scoring and training. What differs
//! between them is where keys and values come from, and that is the [`Attend`] trait.

mod adapter;
mod attention;
mod block;
mod config;
mod decoder;
mod device;
mod error;
mod flash;
mod fused;
mod gradient;
mod head;
mod kernels;
mod layer;
mod linear;
mod load;
mod matrix;
mod merge;
mod pack;
mod parameters;
mod random;
mod rope;
mod save;

pub use adapter::{Adapter, LoraSettings};
pub use attention::{Attend, Causal, attend_chunk};
pub use config::{Architecture, ModelConfig};
pub use decoder::{Decoder, Precision};
pub use device::Placement;
pub use error::ModelError;
pub use gradient::{
    Answers, Differentiation, Gradients, Recompute, Slopes, Tape, answers, backward, forward,
    score, top, top_and_answers,
};
pub use head::{Support, TopK};
pub use linear::Projection;
pub use pack::{Pack, Sequence, plan};
pub use parameters::{Parameter, ParameterSpec, Parameters};
pub use random::RandomWeights;
pub use rope::{RopeScaling, Yarn};
pub use save::SaveDtype;
