//! What the files in `testdata/store/v4` hold, where that is not what an earlier version held.
//! Never changes.

use openclaw_rl::rollout::{Hint, HintCandidate, RejectedTurn, Rejection, Splice, Step};

use super::v3;

pub fn hints() -> Vec<Hint> {
    let mut rows = v3::hints();
    let candidate = |hint: &str, prompt| HintCandidate { hint: hint.to_owned(), prompt };
    rows[0].candidates = vec![
        candidate("in one line", Splice { head: 2, tail: 1, ids: vec![7, 8] }),
        candidate("answer in one line", Splice { head: 0, tail: 0, ids: vec![1] }),
    ];
    rows
}

pub fn steps() -> Vec<Step> {
    let mut rows = v3::steps();
    let turn_id = rows[0].rejected[0].turn_id;
    rows.push(Step {
        version: None,
        trained: Vec::new(),
        rejected: vec![RejectedTurn { turn_id, reason: Rejection::Exploding, revision: 0 }],
        detail: "the gradient's norm is 1e9, at most 12 was expected".to_owned(),
        ..rows[0].clone()
    });
    rows
}
