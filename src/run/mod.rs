//! The `run` room.
