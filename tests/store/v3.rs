//! What the files in `testdata/store/v3` hold, where that is not what an earlier version held.
//! Never changes again.

use openclaw_rl::rollout::{
    ClosedBy, Feedback, Hint, Rated, Rating, Rollout, Score, Step, Turn, TurnId, TurnStatus,
};

use super::{v1, v2};

const GIVEN_AT_US: i64 = 1_790_000_009_000_000;

pub fn turns() -> Vec<Turn> {
    let mut turns = v2::turns();
    let command = Turn {
        turn_id: TurnId(0x0190_a5c0_0003_7000_8000_0000_0000_0004),
        messages: r#"[{"role":"user","content":"/bad in metric units"}]"#.to_owned(),
        prompt_ids: Vec::new(),
        status: TurnStatus::Command,
        ..turns[1].clone()
    };
    let private = Turn {
        turn_id: TurnId(0x0190_a5c0_0004_7000_8000_0000_0000_0005),
        session_keys: "{}".to_owned(),
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        status: TurnStatus::DoNotTrain,
        ..command.clone()
    };
    turns.extend([command, private]);
    turns
}

pub fn rollouts() -> Vec<Rollout> {
    let mut rows = v1::rollouts();
    let open = Rollout {
        turn_id: TurnId(0x0190_a5c0_0005_7000_8000_0000_0000_0006),
        next_state: None,
        closed_by: None,
        closed_at_us: None,
        ..rows[0].clone()
    };
    let rated = Rollout {
        revision: 1,
        closed_by: Some(ClosedBy::Feedback),
        closed_at_us: Some(GIVEN_AT_US),
        regenerated: 2,
        abandoned: true,
        rated: Some(Rated {
            rating: Rating::Down,
            text: Some("in metric units".to_owned()),
            given_at_us: GIVEN_AT_US,
        }),
        ..open.clone()
    };
    rows.extend([open, rated]);
    rows
}

pub fn feedback() -> Vec<Feedback> {
    let rated = Rated { rating: Rating::Up, text: None, given_at_us: GIVEN_AT_US };
    let first = Feedback { turn_id: v1::turns()[0].turn_id, user: "anna".to_owned(), rated };
    let text = Some("kürzer".to_owned());
    let rated = Rated { rating: Rating::Down, text, given_at_us: GIVEN_AT_US + 1 };
    vec![first.clone(), Feedback { rated, ..first }]
}

pub fn scores() -> Vec<Score> {
    let mut rows = v1::scores();
    rows[0].revision = 7;
    rows
}

pub fn hints() -> Vec<Hint> {
    let mut rows = v1::hints();
    rows[0].revision = 7;
    rows
}

pub fn steps() -> Vec<Step> {
    let mut steps = v2::steps();
    steps[0].rejected[0].revision = 3;
    steps
}
