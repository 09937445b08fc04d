//! The tokens of a request, counted over its choices.

use super::reply::Finished;
use crate::protocol::Usage;

/// Counts replies as they end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Choices of one prompt: it was read for the first of them.
    choices: usize,
    usage: Usage,
}

impl Tally {
    /// A count of replies of which each `choices`, one after the other, are to one prompt.
    pub(super) fn new(choices: usize) -> Self {
        Self { choices, usage: Usage::default() }
    }

    /// Counts a reply.
    pub(super) fn add(&mut self, index: usize, finished: &Finished) {
        let usage = &mut self.usage;
        if index.is_multiple_of(self.choices) {
            usage.prompt_tokens += finished.prompt_tokens;
            usage.prompt_tokens_details.cached_tokens += finished.cached_tokens;
        }
        usage.completion_tokens += finished.tokens.len();
        usage.completion_tokens_details.reasoning_tokens += finished.reasoning_tokens;
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
    }

    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }
}
