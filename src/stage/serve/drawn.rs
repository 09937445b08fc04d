//! How the tokens of a reply were drawn, as its turn has it.

use crate::engine::SampledToken;

/// What is kept of each token beside its id, its log-probability and its version.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    logprobs: Vec<f32>,
    /// Whether one of them is another than the recorded log-probability.
    differ: bool,
    forced: Vec<u32>,
}

impl Drawn {
    /// Takes the next token of the reply.
    pub(super) fn push(&mut self, token: &SampledToken) {
        if token.forced {
            self.forced.push(self.logprobs.len() as u32);
        }
        self.differ |= token.drawn_logprob != token.logprob;
        self.logprobs.push(token.drawn_logprob);
    }

    /// The turn's `drawn_logprobs`.
    pub(super) fn logprobs(&self) -> Vec<f32> {
        if self.differ { self.logprobs.clone() } else { Vec::new() }
    }

    /// The turn's `forced`.
    pub(super) fn forced(&self) -> Vec<u32> {
        self.forced.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Version;

    fn token(logprob: f32, drawn_logprob: f32, forced: bool) -> SampledToken {
        let (top, version) = (Vec::new(), Version::BASE);
        SampledToken { id: 1, logprob, drawn_logprob, forced, top, version }
    }

    #[test]
    fn what_differs_nowhere_is_left_out() {
        let mut drawn = Drawn::default();
        drawn.push(&token(-0.5, -0.5, false));
        assert_eq!((drawn.logprobs(), drawn.forced()), (vec![], vec![]));
        drawn.push(&token(-0.5, 0.0, true));
        drawn.push(&token(-0.25, -0.25, false));
        drawn.push(&token(-0.25, 0.0, true));
        assert_eq!(drawn.logprobs(), [-0.5, 0.0, -0.25, 0.0]);
        assert_eq!(drawn.forced(), [1, 3]);
    }
}
