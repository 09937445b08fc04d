//! The `hint` stage.
