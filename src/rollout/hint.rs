//! What should have been done, and how the policy's own reply looks in its light.

use serde::Serialize;

use super::{Spent, TurnId, Version, labelled};

labelled! {
    /// How looking for a hint ended.
    HintStatus {
        /// A hint was accepted, and both log-probability rows are there.
        Accepted = "accepted",
        /// The next state holds no directive.
        NoHint = "no_hint",
        /// No usable answer of the judge could be had.
        JudgeFailed = "judge_failed",
        /// The teacher could not score the reply.
        TeacherFailed = "teacher_failed",
        /// Rendering the recorded messages again did not give the recorded `prompt_ids`.
        RenderMismatch = "render_mismatch",
        /// The hinted prompt and the reply do not fit into the teacher's context.
        TooLong = "too_long",
    }
}

/// One sampled answer to "was there a directive, and which?".
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HintVote {
    /// The decision: +1 a hint, -1 none; `None` if the text held none.
    pub value: Option<i8>,
    /// The hint it named.
    pub hint: Option<String>,
    /// What the judge wrote.
    pub text: String,
    /// The hint says something that nobody had said before the reply was judged: the answer, most
    /// likely.
    pub leak: bool,
    /// What it took.
    #[serde(flatten)]
    pub spent: Spent,
}

/// How a hinted prompt comes from the recorded one: what both begin with, what stands in between,
/// and what both end with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splice {
    /// Tokens that both begin with.
    pub head: u32,
    /// Tokens that both end with.
    pub tail: u32,
    /// What the hinted prompt has in between.
    pub ids: Vec<u32>,
}

impl Splice {
    /// What turns `plain` into `hinted`, with the longest common beginning, then the longest common
    /// end.
    pub fn between(plain: &[u32], hinted: &[u32]) -> Self {
        let head = plain.iter().zip(hinted).take_while(|(a, b)| a == b).count();
        let rest = (plain[head..].iter().rev()).zip(hinted[head..].iter().rev());
        let tail = rest.take_while(|(a, b)| a == b).count();
        let ids = hinted[head..hinted.len() - tail].to_vec();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { head: count(head), tail: count(tail), ids }
    }

    /// The hinted prompt; `None` where this splice is of another prompt, one that is too short.
    pub fn apply(&self, plain: &[u32]) -> Option<Vec<u32>> {
        let tail = plain.len().checked_sub(self.tail as usize)?;
        let kept = plain.get(..self.head as usize).filter(|head| head.len() <= tail)?;
        Some([kept, &self.ids, &plain[tail..]].concat())
    }
}

/// A hint that may be taken, and the prompt with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintCandidate {
    /// Its text.
    pub hint: String,
    /// From the recorded prompt to the one with the hint.
    pub prompt: Splice,
}

/// The K likeliest ids at each position of a response, likeliest first, and their
/// log-probabilities: both hold K entries for each position, one position after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Likeliest {
    /// Token ids.
    pub ids: Vec<u32>,
    /// log π of each, in nats, at the turn's own temperature.
    pub logprobs: Vec<f32>,
}

/// A row of the `hints` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// The turn.
    pub turn_id: TurnId,
    /// The revision of the rollout that was looked at.
    pub revision: u32,
    /// Name and version of the judge.
    pub judge: String,
    /// Whether the hint can be used.
    pub status: HintStatus,
    /// Every vote, in order.
    pub votes: Vec<HintVote>,
    /// The accepted hint; empty if none was.
    pub hint: String,
    /// The one version that computed both rows below; `None` if nothing was scored.
    pub scored_by: Option<Version>,
    /// log π(a_t | prompt + hint), one per response token, at the turn's own temperature.
    pub teacher_logprobs: Vec<f32>,
    /// log π(a_t | prompt), one per response token, at the turn's own temperature.
    pub student_logprobs: Vec<f32>,
    /// K of the two rows below; 0 where they were not asked for.
    pub top_k: u32,
    /// What is likeliest with the hint.
    pub teacher_top: Likeliest,
    /// What is likeliest without it.
    pub student_top: Likeliest,
    /// Every hint that was accepted, without repetitions, shortest first: what a teacher that the
    /// trainer computes itself may be given. Empty where none was, and in rows of older programs.
    pub candidates: Vec<HintCandidate>,
    /// What went wrong, if something did.
    pub detail: String,
    /// Microseconds since the Unix epoch.
    pub hinted_at_us: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splice_gives_the_hinted_prompt_back() {
        let cases: [(&[u32], &[u32]); 7] = [
            (&[1, 2, 3, 4], &[1, 2, 9, 9, 3, 4]),
            (&[1, 2, 3], &[1, 2, 3]),
            (&[1, 1, 1], &[1, 1, 1, 1, 1]),
            (&[1, 1, 1, 1], &[1, 1]),
            (&[], &[5]),
            (&[5], &[]),
            (&[1, 2, 3], &[4, 5, 6]),
        ];
        for (plain, hinted) in cases {
            let splice = Splice::between(plain, hinted);
            assert_eq!(splice.apply(plain).as_deref(), Some(hinted), "{splice:?}");
        }
        assert_eq!(Splice::between(&[1, 2, 3, 4], &[1, 2, 9, 3, 4]).ids, [9]);
    }

    #[test]
    fn a_splice_of_a_longer_prompt_does_not_fit() {
        let splice = Splice { head: 2, tail: 2, ids: vec![7] };
        assert_eq!(splice.apply(&[1, 2, 3]), None);
        assert_eq!(splice.apply(&[1]), None);
        assert_eq!(splice.apply(&[1, 2, 3, 4]), Some(vec![1, 2, 7, 3, 4]));
    }
}
