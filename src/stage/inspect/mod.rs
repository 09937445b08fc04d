//! The `inspect` stage.
