//! Immutable versions of the model, and which of them is live.
//!
//! A version is a directory `weights/v<number>` in Hugging Face's form with a `manifest.json` that
//! names its parent, the optimizer step that made it, and size and SHA-256 of every file. It is
//! prepared in a [`Draft`] beside, made durable, and renamed into place as a whole: a version is
//! there entirely or not at all. What is live and what is dead stands in `state.json`, which is
//! replaced by rename under a lock.

mod base;
mod content;
mod embedded;
mod errors;
mod files;
mod hub;
mod manifest;
mod prune;
mod registry;
mod state;
mod version;

pub use base::Base;
pub use content::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, Content, INDEX, WEIGHTS, adapter_base};
pub use errors::WeightsError;
pub use hub::{HubError, HubModel, HubNote, Snapshot, Watch, fetch};
pub use manifest::{FileEntry, Manifest, SCHEMA_VERSION};
pub use prune::{Held, OPTIMIZER_FILE, Pruning};
pub use registry::{Draft, NewVersion, Registry};
pub use state::RegistryState;
