use super::*;
use crate::rollout::{
    ClosedBy, DeploymentEvent, Likeliest, Rated, Rating, RejectedTurn, TrainedTurn, TrainingSignal,
};

const A: TurnId = TurnId(1);
const B: TurnId = TurnId(2);

fn placed(turn_id: TurnId) -> Rollout {
    Rollout {
        turn_id,
        revision: 0,
        session_id: "s".to_owned(),
        generation: String::new(),
        turn_index: 0,
        kind: TurnKind::Main,
        placed_by: "header".to_owned(),
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        next_state: Some("[]".to_owned()),
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(0),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}

fn score(turn_id: TurnId, status: ScoreStatus, score: i8) -> Score {
    let (judge, reasoning) = (String::new(), String::new());
    Score {
        turn_id,
        revision: 0,
        judge,
        status,
        votes: Vec::new(),
        score,
        reasoning,
        judged_at_us: 0,
    }
}

fn hint(turn_id: TurnId, status: HintStatus) -> Hint {
    Hint {
        turn_id,
        revision: 0,
        judge: String::new(),
        status,
        votes: Vec::new(),
        hint: String::new(),
        scored_by: None,
        teacher_logprobs: Vec::new(),
        student_logprobs: Vec::new(),
        top_k: 0,
        teacher_top: Likeliest::default(),
        student_top: Likeliest::default(),
        candidates: Vec::new(),
        detail: String::new(),
        hinted_at_us: 0,
    }
}

fn step(version: Option<u64>, parent: u64, trained: &[TurnId], rejected: &[TurnId]) -> Step {
    let signal = TrainingSignal::Both;
    let trained = trained.iter();
    let rejected = rejected.iter();
    Step {
        version: version.map(Version),
        parent: Version(parent),
        method: "combine".to_owned(),
        trained: trained
            .map(|turn_id| TrainedTurn { turn_id: *turn_id, signal, reward: 1.0, tokens: 1 })
            .collect(),
        rejected: rejected
            .map(|turn_id| RejectedTurn {
                turn_id: *turn_id,
                reason: Rejection::Stale,
                revision: 0,
            })
            .collect(),
        metrics: Vec::new(),
        detail: String::new(),
        finished_at_us: 0,
    }
}

fn retired(versions: &[u64]) -> Deployment {
    Deployment {
        event: DeploymentEvent::RolledBack,
        version: Version(0),
        previous: None,
        retired: versions.iter().copied().map(Version).collect(),
        servers: Vec::new(),
        gate: String::new(),
        deployed_at_us: 0,
    }
}

/// A ledger in which the turn A waits for the judge.
fn closed() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.recorded(A, TurnStatus::Answered);
    ledger.rollout(&placed(A));
    ledger
}

#[test]
fn a_turn_walks_through_its_states() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.state(A), None);
    ledger.recorded(A, TurnStatus::Answered);
    assert_eq!(ledger.state(A), Some(TurnState::Answered));
    ledger.rollout(&placed(A));
    assert_eq!(ledger.state(A), Some(TurnState::Closed));
    ledger.score(&score(A, ScoreStatus::Judged, 1));
    assert_eq!(ledger.state(A), Some(TurnState::HalfJudged));
    ledger.hint(&hint(A, HintStatus::NoHint));
    assert_eq!(ledger.state(A), Some(TurnState::Ready));
    ledger.step(&step(Some(1), 0, &[A], &[]));
    assert_eq!(ledger.state(A), Some(TurnState::Trained(Version(1))));
    ledger.deployment(&retired(&[1]));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::Quarantined)));
}

#[test]
fn a_retry_whose_reply_the_client_kept_may_teach() {
    let mut ledger = closed();
    ledger.rollout(&Rollout { retry_of: Some(B), ..placed(A) });
    ledger.score(&score(A, ScoreStatus::Judged, 1));
    ledger.hint(&hint(A, HintStatus::NoHint));
    assert_eq!(ledger.state(A), Some(TurnState::Ready));
}

#[test]
fn what_comes_late_is_judged_anew_unless_the_turn_is_trained() {
    let rated = Rated { rating: Rating::Down, text: None, given_at_us: 9 };
    let late = Rollout { revision: 1, rated: Some(rated), ..placed(A) };
    let again = Score { revision: 1, ..score(A, ScoreStatus::Judged, -1) };
    for trained in [false, true] {
        let mut ledger = closed();
        ledger.score(&score(A, ScoreStatus::Judged, 1));
        ledger.hint(&hint(A, HintStatus::NoHint));
        if trained {
            ledger.step(&step(Some(1), 0, &[A], &[]));
        }
        let before = ledger.state(A);
        ledger.rollout(&late);
        let expected = if trained { before } else { Some(TurnState::Closed) };
        assert_eq!(ledger.state(A), expected);
        ledger.score(&again);
        ledger.score(&score(A, ScoreStatus::Judged, 1));
        ledger.hint(&Hint { revision: 1, ..hint(A, HintStatus::NoHint) });
        let expected = if trained { before } else { Some(TurnState::Ready) };
        assert_eq!(ledger.state(A), expected);
    }
}

#[test]
fn a_rejection_holds_as_long_as_its_reason_does() {
    for (reason, reopens) in [(Rejection::Neutral, true), (Rejection::Degenerate, false)] {
        let mut ledger = closed();
        let rejected = vec![RejectedTurn { turn_id: A, reason, revision: 0 }];
        ledger.step(&Step { rejected, ..step(None, 0, &[], &[]) });
        assert_eq!(ledger.state(A), Some(TurnState::Rejected(reason)));
        ledger.rollout(&Rollout { revision: 1, ..placed(A) });
        let expected = if reopens { TurnState::Closed } else { TurnState::Rejected(reason) };
        assert_eq!(ledger.state(A), Some(expected));
        let again = vec![RejectedTurn { turn_id: A, reason, revision: 1 }];
        ledger.step(&Step { rejected: again, ..step(None, 0, &[], &[]) });
        assert_eq!(ledger.state(A), Some(TurnState::Rejected(reason)));
    }
}

#[test]
fn an_open_turn_waits_and_evidence_of_any_kind_counts() {
    let bare = Rollout { next_state: None, closed_by: None, closed_at_us: None, ..placed(A) };
    let mut ledger = Ledger::new();
    ledger.recorded(A, TurnStatus::Answered);
    ledger.rollout(&bare);
    assert_eq!(ledger.state(A), Some(TurnState::Placed));
    assert_eq!(ledger.tally().waiting, 1);
    let closed = Rollout { revision: 1, closed_by: Some(ClosedBy::Shutdown), ..bare };
    ledger.rollout(&closed);
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::NoNextState)));
    ledger.rollout(&Rollout { revision: 2, regenerated: 1, ..closed });
    assert_eq!(ledger.state(A), Some(TurnState::Closed));
}

#[test]
fn who_asked_not_to_be_learned_from_is_not() {
    let mut ledger = Ledger::new();
    ledger.recorded(A, TurnStatus::DoNotTrain);
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::DoNotTrain)));
    let tally = ledger.tally();
    assert_eq!((tally.turns, tally.waiting, tally.rejected["do_not_train"]), (1, 0, 1));
}

#[test]
fn the_placement_decides_before_the_judge() {
    let cases = [
        (Rollout { kind: TurnKind::Side, next_state: None, ..placed(A) }, Rejection::Side),
        (Rollout { retry_of: Some(B), next_state: None, ..placed(A) }, Rejection::Retry),
        (Rollout { next_state: None, ..placed(A) }, Rejection::NoNextState),
    ];
    for (row, reason) in cases {
        let mut ledger = closed();
        ledger.score(&score(A, ScoreStatus::Judged, 1));
        ledger.hint(&hint(A, HintStatus::Accepted));
        ledger.rollout(&Rollout { revision: 1, ..row });
        assert_eq!(ledger.state(A), Some(TurnState::Rejected(reason)));
    }
}

#[test]
fn late_feedback_reopens_by_a_higher_revision_in_any_order() {
    let last = Rollout { revision: 0, next_state: None, ..placed(A) };
    let late = Rollout { revision: 1, closed_by: Some(ClosedBy::Feedback), ..placed(A) };
    for rows in [[&last, &late], [&late, &last]] {
        let mut ledger = Ledger::new();
        rows.iter().for_each(|row| ledger.rollout(row));
        ledger.recorded(A, TurnStatus::Answered);
        assert_eq!(ledger.state(A), Some(TurnState::Closed));
    }
}

#[test]
fn score_and_hint_together_decide() {
    use HintStatus::{
        Accepted, JudgeFailed as NoJudge, NoHint, RenderMismatch, TeacherFailed, TooLong,
    };
    use ScoreStatus::{JudgeFailed, Judged};
    let ready = TurnState::Ready;
    let no = TurnState::Rejected;
    let cases = [
        (Judged, 1, Accepted, ready),
        (Judged, -1, NoHint, ready),
        (Judged, 0, Accepted, ready),
        (JudgeFailed, 0, Accepted, ready),
        (Judged, 1, NoJudge, ready),
        (Judged, -1, TeacherFailed, ready),
        (Judged, 1, TooLong, ready),
        (Judged, 0, NoHint, no(Rejection::Neutral)),
        (Judged, 0, NoJudge, no(Rejection::JudgeFailed)),
        (JudgeFailed, 0, NoHint, no(Rejection::JudgeFailed)),
        (Judged, 0, TeacherFailed, no(Rejection::TeacherFailed)),
        (Judged, 0, TooLong, no(Rejection::TooLong)),
        (Judged, 1, RenderMismatch, no(Rejection::RenderMismatch)),
        (JudgeFailed, 0, RenderMismatch, no(Rejection::RenderMismatch)),
    ];
    for (score_status, value, hint_status, expected) in cases {
        let mut ledger = closed();
        ledger.hint(&hint(A, hint_status));
        assert_eq!(ledger.state(A), Some(TurnState::HalfJudged));
        ledger.score(&score(A, score_status, value));
        let case = format!("{score_status} {value} {hint_status}");
        assert_eq!(ledger.state(A), Some(expected), "{case}");
    }
}

#[test]
fn a_batch_counts_once_and_only_in_the_surviving_lineage() {
    let mut ledger = closed();
    ledger.step(&step(Some(1), 0, &[A], &[]));
    ledger.step(&step(Some(1), 0, &[A], &[]));
    assert!(ledger.trained_twice().is_empty(), "one version, told twice");
    ledger.step(&step(Some(2), 1, &[A], &[]));
    assert_eq!(ledger.trained_twice(), [(A, vec![Version(1), Version(2)])]);
    ledger.deployment(&retired(&[2]));
    assert!(ledger.trained_twice().is_empty());
    assert_eq!(ledger.state(A), Some(TurnState::Trained(Version(1))));
}

#[test]
fn what_is_built_on_a_dead_version_is_dead() {
    let mut ledger = closed();
    ledger.retire([Version(1)]);
    ledger.step(&step(Some(2), 1, &[A], &[]));
    ledger.step(&step(Some(1), 0, &[], &[]));
    ledger.step(&step(Some(3), 0, &[], &[]));
    assert!(ledger.is_dead(Version(1)) && ledger.is_dead(Version(2)));
    assert!(!ledger.is_dead(Version(0)) && !ledger.is_dead(Version(3)));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::Quarantined)));
}

#[test]
fn the_trainer_may_reject_and_orphans_are_told() {
    let mut ledger = closed();
    ledger.step(&step(None, 0, &[], &[A, B]));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::Stale)));
    assert_eq!(ledger.state(B), None, "no turn row records it");
    assert_eq!(ledger.orphans(), [B]);
    assert_eq!(ledger.states().collect::<Vec<_>>().len(), 1);
}

#[test]
fn the_tally_accounts_for_every_turn() {
    let mut ledger = Ledger::new();
    for number in 0..100u128 {
        let turn = TurnId(number);
        ledger.recorded(turn, TurnStatus::Answered);
        match number % 5 {
            0 => {}
            1 => ledger.rollout(&placed(turn)),
            2 => ledger.rollout(&Rollout { kind: TurnKind::Side, ..placed(turn) }),
            3 => {
                ledger.rollout(&placed(turn));
                ledger.score(&score(turn, ScoreStatus::Judged, 1));
                ledger.hint(&hint(turn, HintStatus::NoHint));
            }
            _ => ledger.step(&step(Some(1), 0, &[turn], &[])),
        }
    }
    let tally = ledger.tally();
    assert_eq!((tally.turns, tally.placed, tally.scored, tally.hinted), (100, 60, 20, 20));
    assert_eq!((tally.waiting, tally.trained), (60, 20));
    assert_eq!(tally.rejected, BTreeMap::from([("side", 20)]));
    let expected = [("answered", 20), ("closed", 20), ("ready", 20), ("rejected", 20)];
    assert!(expected.iter().all(|(state, count)| tally.by_state[state] == *count));
    assert_eq!(tally.turns, tally.waiting + tally.trained + tally.rejected.values().sum::<u64>());
}

fn requeued(versions: &[u64], deployed_at_us: i64) -> Deployment {
    Deployment { event: DeploymentEvent::Requeued, deployed_at_us, ..retired(versions) }
}

#[test]
fn the_turns_of_a_dead_version_can_be_put_back_once() {
    let mut ledger = closed();
    ledger.step(&step(Some(1), 0, &[A], &[]));
    ledger.deployment(&retired(&[1]));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::Quarantined)));
    ledger.deployment(&requeued(&[1], 5));
    assert_eq!(ledger.state(A), Some(TurnState::Closed));
    ledger.step(&step(Some(2), 0, &[A], &[]));
    assert_eq!(ledger.state(A), Some(TurnState::Trained(Version(2))));
    ledger.deployment(&retired(&[2]));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::Quarantined)));
}

#[test]
fn a_live_version_keeps_its_turns_whatever_is_put_back() {
    let mut ledger = closed();
    ledger.step(&step(Some(1), 0, &[A], &[]));
    ledger.deployment(&requeued(&[1], 5));
    assert_eq!(ledger.state(A), Some(TurnState::Trained(Version(1))));
}

#[test]
fn a_batch_that_was_set_aside_can_be_put_back_and_set_aside_again() {
    let mut ledger = closed();
    let aside = |finished_at_us, reason| {
        let mut row = Step { finished_at_us, ..step(None, 0, &[], &[A]) };
        row.rejected[0].reason = reason;
        row
    };
    for reason in [Rejection::NotFinite, Rejection::Exploding, Rejection::Quarantined] {
        ledger.step(&aside(10, reason));
        assert_eq!(ledger.state(A), Some(TurnState::Rejected(reason)));
    }
    ledger.deployment(&requeued(&[], 20));
    assert_eq!(ledger.state(A), Some(TurnState::Closed));
    ledger.step(&aside(30, Rejection::NotFinite));
    assert_eq!(ledger.state(A), Some(TurnState::Rejected(Rejection::NotFinite)));
    let stale = aside(10, Rejection::Stale);
    let mut other = closed();
    other.step(&stale);
    other.deployment(&requeued(&[], 20));
    assert_eq!(other.state(A), Some(TurnState::Rejected(Rejection::Stale)), "a turn's own fault");
}
