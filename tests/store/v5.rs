//! What the files in `testdata/store/v5` hold, where that is not what an earlier version held.
//! Changes only until schema version 5 has been released.

use openclaw_rl::rollout::{Hint, Likeliest, Score, Spent};

use super::{v3, v4};

const SPENT: Spent =
    Spent { latency_ms: Some(840), prompt_tokens: Some(1_210), completion_tokens: Some(37) };

pub fn scores() -> Vec<Score> {
    let mut rows = v3::scores();
    rows[0].votes[0].spent = SPENT;
    rows[0].votes[1].spent = Spent { latency_ms: Some(0), ..Spent::default() };
    rows
}

pub fn hints() -> Vec<Hint> {
    let mut rows = v4::hints();
    rows[0].votes[0].spent = SPENT;
    rows[1].votes[0].leak = true;
    rows[0].top_k = 2;
    rows[0].teacher_top =
        Likeliest { ids: vec![7, 0, 9, 151_935], logprobs: vec![-0.1, -2.5, -0.7, -0.8] };
    rows[0].student_top =
        Likeliest { ids: vec![8, 7, 9, 1], logprobs: vec![-0.2, -2.25, -0.5, -1.5] };
    rows
}
