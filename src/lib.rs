//! openclaw-rl: an agent's model that learns from the conversations it has, while it keeps serving.
//!
//! The rooms, in the order the data flows (see `docs/ARCHITECTURE.md` for the walk):
//!
//! 0. [`fault`]: how an error explains itself; [`events`]: every named event.
//! 1. [`config`]: one pure struct per stage, with `validate()`.
//! 2. [`rollout`]: the domain: turns, rollouts, scores, hints, steps, and the states of a turn.
//!    [`client`]: what clients put around what their users say.
//! 3. [`store`]: append-only tables of Parquet segments, where the stages meet.
//! 4. [`weights`]: immutable versions of the model, and which of them is live.
//! 5. [`render`]: messages to tokens and back; the only room that knows the tokenizer.
//! 6. [`protocol`]: the wire structs.
//! 7. [`model`]: the decoder and its gradient.
//! 8. [`engine`]: token ids in, sampled ids and log-probabilities out; swaps between steps.
//! 9. [`complete`]: asking a model for a completion or for log-probabilities over HTTP.
//! 10. [`judge`]: rules, prompts and votes, shared by `score` and `hint`.
//! 11. [`loss`]: the objectives, as pure functions of tensors.
//! 12. [`stage`]: the six stages, none importing another, `inspect`, `eval` and `bench`.
//! 13. [`run`]: the supervisor that starts the stages as child processes.
//!
//! The library never prints, never exits, and never reads the environment: `cmd/` does.

pub mod client;
pub mod complete;
pub mod config;
pub mod engine;
pub mod events;
pub mod fault;
pub mod judge;
pub mod loss;
pub mod model;
pub mod protocol;
pub mod render;
pub mod rollout;
pub mod run;
pub mod stage;
pub mod store;
pub mod weights;
