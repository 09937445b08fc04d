//! The `loss` room.
