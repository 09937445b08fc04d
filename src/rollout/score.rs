//! The judge's verdict on a reply.

use serde::Serialize;

use super::{TurnId, labelled};

/// The judge of what the user said explicitly, which outranks any other.
pub const BY_USER: &str = "user@1";

labelled! {
    /// How scoring a turn ended.
    ScoreStatus {
        /// The votes were counted.
        Judged = "judged",
        /// No usable vote could be had; the turn is rejected as `judge_failed`.
        JudgeFailed = "judge_failed",
    }
}

/// What an answer of a model took. Nothing where no model was asked; the tokens as the server
/// counts them, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Milliseconds from the request that was answered to the end of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u32>,
}

/// One sampled verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vote {
    /// -1, 0 or +1; `None` if the judge's text held no verdict.
    pub value: Option<i8>,
    /// What the judge wrote.
    pub text: String,
    /// What it took.
    #[serde(flatten)]
    pub spent: Spent,
}

/// A row of the `scores` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The judged turn.
    pub turn_id: TurnId,
    /// The revision of the rollout that was looked at.
    pub revision: u32,
    /// Name and version of the judge (`rules@4`, `openai@3:<model>`; `user@1` where the user
    /// said it explicitly).
    pub judge: String,
    /// Whether `score` can be used.
    pub status: ScoreStatus,
    /// Every vote, in order.
    pub votes: Vec<Vote>,
    /// The majority: -1, 0 or +1; a tie is 0. 0 also where `status` is not `Judged`.
    pub score: i8,
    /// The text of one vote of the majority, or why the judge failed.
    pub reasoning: String,
    /// Microseconds since the Unix epoch.
    pub judged_at_us: i64,
}
