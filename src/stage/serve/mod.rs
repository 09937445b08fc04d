//! The `serve` stage.
