//! What should have been done, and how the policy's own reply looks in its light.

use super::{TurnId, Version, labelled};

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
#[derive(Clone, Debug, PartialEq)]
pub struct HintVote {
    /// The decision: +1 a hint, -1 none; `None` if the text held none.
    pub value: Option<i8>,
    /// The hint it named.
    pub hint: Option<String>,
    /// What the judge wrote.
    pub text: String,
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
    /// What went wrong, if something did.
    pub detail: String,
    /// Microseconds since the Unix epoch.
    pub hinted_at_us: i64,
}
