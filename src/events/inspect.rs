//! Events of whoever looks at a home.

use super::{Event, Level};

/// Requests arrive, and none of them can be trained on.
pub struct NothingTrainable {
    /// How many in a row.
    pub requests: usize,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub what_to_do: String,
}

impl Event for NothingTrainable {
    const NAME: &'static str = "nothing_trainable";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        let Self { requests, why, what_to_do } = self;
        format!("nothing can be learned from the last {requests} requests: {why}; {what_to_do}")
    }
}
