//! What the files in `testdata/store/v2` hold, where that is not what version 1 held. Never
//! changes.

use openclaw_rl::rollout::{ConstraintKind, RejectedTurn, Rejection, Sampling, Step, Turn, TurnId};

use super::v1;

pub fn turns() -> Vec<Turn> {
    let [plain, empty] = v1::turns().try_into().unwrap();
    let constrained = Turn {
        turn_id: TurnId(0x0190_a5c0_0002_7000_8000_0000_0000_0003),
        drawn_logprobs: vec![-0.25, 0.0],
        forced: vec![1],
        constraint: Some(ConstraintKind::JsonSchema),
        sampling: Sampling {
            min_p: 0.05,
            repetition_penalty: 1.1,
            presence_penalty: -0.5,
            frequency_penalty: 0.25,
            logit_bias: vec![(14_990, 2.5), (0, -100.0)],
            min_tokens: 1,
            ..plain.sampling.clone()
        },
        ..plain.clone()
    };
    vec![plain, empty, constrained]
}

pub fn steps() -> Vec<Step> {
    let mut steps = v1::steps();
    let reasons = [Rejection::Penalties, Rejection::Forced, Rejection::OtherPolicy];
    let rejected = (1_u128..).zip(reasons);
    let rejected =
        rejected.map(|(id, reason)| RejectedTurn { turn_id: TurnId(id), reason, revision: 0 });
    steps[0].rejected.extend(rejected);
    steps
}
