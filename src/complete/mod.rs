//! The `complete` room.
