//! Of the engine only what grammars are for it.

#[path = "../../../src/engine/constraint.rs"]
mod constraint;

pub use constraint::{AllowedIds, Constraint, ConstraintError};
