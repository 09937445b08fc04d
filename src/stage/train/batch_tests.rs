//! Every way a turn can be ready, wait, or be rejected.

use super::*;
use crate::config::Method;
use crate::rollout::{
    ClosedBy, ConstraintKind, FinishReason, HintCandidate, HintStatus, Likeliest, Rejection,
    Rollout, Sampling, ScoreStatus, Splice, TrainedTurn, TrainingSignal, TurnKind, TurnStatus,
    Version, VersionSpan,
};

const LIMITS: Limits = Limits {
    method: Method::Combine,
    tokens_max: 16,
    vocab: 100,
    allow_penalties: false,
    same_call_max: 2,
    staleness_max: 4,
    kept_top: 0,
};
const FULL: Closing = Closing { size: 2, sessions_min: 1, wait_us_max: None };

fn turn(id: u128) -> Turn {
    Turn {
        turn_id: TurnId(id),
        received_at_us: 0,
        finished_at_us: 0,
        user: String::new(),
        policy: "default".to_owned(),
        model: String::new(),
        session_keys: "{}".to_owned(),
        messages: "[]".to_owned(),
        tools: String::new(),
        reply: "{}".to_owned(),
        prompt_ids: vec![1, 2, 3],
        response_ids: vec![4, 5],
        response_logprobs: vec![-0.5, -1.5],
        drawn_logprobs: Vec::new(),
        forced: Vec::new(),
        constraint: None,
        version_spans: vec![VersionSpan { start: 0, version: Version(0) }],
        sampling: Sampling {
            temperature: 0.6,
            top_p: 1.0,
            top_k: 0,
            seed: 1,
            max_tokens: 9,
            ..Sampling::default()
        },
        finish_reason: FinishReason::Stop,
        status: TurnStatus::Answered,
    }
}

fn rollout(id: u128) -> Rollout {
    Rollout {
        turn_id: TurnId(id),
        revision: 0,
        session_id: "s".to_owned(),
        generation: "0".to_owned(),
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

fn score(id: u128, score: i8) -> Score {
    Score {
        turn_id: TurnId(id),
        revision: 0,
        judge: "rules@1".to_owned(),
        status: ScoreStatus::Judged,
        votes: Vec::new(),
        score,
        reasoning: String::new(),
        judged_at_us: 1_000_000,
    }
}

fn hint(id: u128, status: HintStatus) -> Hint {
    let row = |value: f32| if status == HintStatus::Accepted { vec![value; 2] } else { Vec::new() };
    Hint {
        turn_id: TurnId(id),
        revision: 0,
        judge: "rules@1".to_owned(),
        status,
        votes: Vec::new(),
        hint: String::new(),
        scored_by: Some(Version(0)),
        teacher_logprobs: row(-0.25),
        student_logprobs: row(-0.75),
        top_k: 0,
        teacher_top: Likeliest::default(),
        student_top: Likeliest::default(),
        candidates: Vec::new(),
        detail: String::new(),
        hinted_at_us: 2_000_000,
    }
}

/// What one turn comes to, once its four rows are there.
fn settled(
    method: Method,
    turn: Turn,
    score: Score,
    hint: Hint,
) -> Result<Sample, Option<Rejection>> {
    let mut pool = Pool::new(Limits { method, ..LIMITS });
    place(&mut pool, &rollout(turn.turn_id.0));
    pool.hint(hint);
    pool.score(score);
    pool.turn(turn);
    let rejected = pool.settle();
    let batch = pool.batch(Closing { size: 1, ..FULL }, 0);
    batch.and_then(|mut batch| batch.pop()).ok_or(rejected.first().map(|turn| turn.reason))
}

#[test]
fn each_method_takes_the_feedback_it_learns_from() {
    let cases = [
        // method, score, hint, expected signal or reason
        (Method::Binary, 1, HintStatus::NoHint, Ok((TrainingSignal::Score, 1.0))),
        (Method::Binary, -1, HintStatus::Accepted, Ok((TrainingSignal::Score, -1.0))),
        (Method::Binary, 0, HintStatus::Accepted, Err(Some(Rejection::Neutral))),
        (Method::Opd, 1, HintStatus::Accepted, Ok((TrainingSignal::Hint, 0.0))),
        (Method::Opd, 1, HintStatus::NoHint, Err(Some(Rejection::Neutral))),
        (Method::Combine, 1, HintStatus::Accepted, Ok((TrainingSignal::Both, 1.0))),
        (Method::Combine, 1, HintStatus::NoHint, Ok((TrainingSignal::Score, 1.0))),
        (Method::Combine, 1, HintStatus::TeacherFailed, Ok((TrainingSignal::Score, 1.0))),
        (Method::Combine, 0, HintStatus::Accepted, Ok((TrainingSignal::Hint, 0.0))),
        // what the ledger derives from the other tables needs no row
        (Method::Combine, 0, HintStatus::NoHint, Err(None)),
        (Method::Combine, 1, HintStatus::RenderMismatch, Err(None)),
    ];
    for (method, score_value, status, expected) in cases {
        let got = settled(method, turn(1), score(1, score_value), hint(1, status));
        let what = format!("{method:?} {score_value} {status}");
        match (got, expected) {
            (Ok(sample), Ok((signal, reward))) => {
                assert_eq!((sample.signal, sample.reward), (signal, reward), "{what}");
                assert_eq!(sample.scored.is_some(), signal != TrainingSignal::Score, "{what}");
                assert_eq!((sample.tokens.len(), sample.response_start), (5, 3));
            }
            (got, expected) => assert_eq!(got.map(|_| ()), expected.map(|_| ()), "{what}"),
        }
    }
}

#[test]
fn what_cannot_be_trained_on_is_rejected_with_its_reason() {
    let with = |change: &dyn Fn(&mut Turn)| {
        let mut turn = turn(1);
        change(&mut turn);
        settled(Method::Combine, turn, score(1, 1), hint(1, HintStatus::Accepted)).err().flatten()
    };
    let malformed = Some(Rejection::Malformed);
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|t| t.response_logprobs[0] = f32::NAN), malformed);
    assert_eq!(with(&|t| t.response_logprobs[0] = f32::NEG_INFINITY), malformed);
    assert_eq!(with(&|t| t.response_logprobs[0] = 0.5), malformed);
    assert_eq!(with(&|t| t.response_logprobs[0] = -1e30), malformed);
    assert_eq!(with(&|t| t.response_logprobs[0] = -105.0), malformed, "never drawn in f32");
    assert_eq!(with(&|t| t.response_logprobs[0] = -90.0), None);
    assert_eq!(with(&|t| t.response_logprobs.push(-1.0)), malformed);
    assert_eq!(with(&|t| t.response_ids[1] = 100), malformed);
    assert_eq!(with(&|t| t.prompt_ids.clear()), malformed);
    assert_eq!(with(&|t| t.sampling.temperature = f32::INFINITY), malformed);
    assert_eq!(with(&|t| t.sampling.temperature = 0.0), Some(Rejection::Greedy));
    assert_eq!(with(&|t| t.prompt_ids = vec![1; 15]), Some(Rejection::TooLong));
    assert_eq!(with(&|t| t.policy = "an-adapter".to_owned()), Some(Rejection::OtherPolicy));
    assert_eq!(with(&|t| t.forced = vec![2]), malformed);
    assert_eq!(with(&|t| t.forced = vec![1, 0]), malformed);
    assert_eq!(with(&|t| t.forced = vec![0, 1]), Some(Rejection::Forced));
    assert_eq!(with(&|t| t.forced = vec![1]), None);
    let penalties = Some(Rejection::Penalties);
    assert_eq!(with(&|t| t.sampling.repetition_penalty = 1.1), penalties);
    assert_eq!(with(&|t| t.sampling.presence_penalty = 0.1), penalties);
    assert_eq!(with(&|t| t.sampling.frequency_penalty = -0.1), penalties);
    assert_eq!(with(&|t| t.sampling.logit_bias = vec![(7, 1.0)]), penalties);
    assert_eq!(with(&|t| t.sampling.logit_bias = vec![(7, 0.0)]), None);
    assert_eq!(with(&|t| (t.sampling.min_p, t.sampling.top_k) = (0.1, 5)), None);
    let cut_off = Some(Rejection::CutOff);
    assert_eq!(with(&|t| t.finish_reason = FinishReason::Cancelled), cut_off);
    assert_eq!(with(&|t| t.finish_reason = FinishReason::Length), cut_off);
    assert_eq!(with(&|t| t.version_spans.clear()), malformed);
    let shorten = |length: usize| {
        move |t: &mut Turn| {
            t.response_ids.truncate(length);
            t.response_logprobs.truncate(length);
        }
    };
    let empty = Some(Rejection::Empty);
    assert_eq!(with(&shorten(0)), empty);
    assert_eq!(with(&shorten(1)), empty, "it holds its end only");
    let call = r#"{"role":"assistant","tool_calls":[{"function":{"name":"ls","arguments":"{}"}}]}"#;
    let calls = |times: usize| {
        move |t: &mut Turn| {
            t.reply = call.to_owned();
            t.messages = format!("[{}]", vec![call; times].join(","));
        }
    };
    assert_eq!(with(&calls(1)), None);
    assert_eq!(with(&calls(2)), Some(Rejection::RepeatedCall));
}

#[test]
fn a_reply_that_repeats_itself_is_kept_out() {
    let mut pool = Pool::new(Limits { tokens_max: 10_000, ..LIMITS });
    let mut looped = turn(1);
    looped.response_ids = vec![7; 8000];
    looped.response_logprobs = vec![-0.01; 8000];
    pool.turn(looped);
    place(&mut pool, &rollout(1));
    pool.score(score(1, 1));
    pool.hint(hint(1, HintStatus::NoHint));
    let looping = RejectedTurn { turn_id: TurnId(1), reason: Rejection::Looping, revision: 0 };
    assert_eq!(pool.settle(), [looping]);
}

#[test]
fn what_is_forced_is_masked_however_improbable_it_was() {
    let mut turn = turn(1);
    turn.response_logprobs = vec![-5000.0, -1.5];
    let feedback = || (score(1, 1), hint(1, HintStatus::Accepted));
    let (verdict, lesson) = feedback();
    let got = settled(Method::Combine, turn.clone(), verdict, lesson);
    assert_eq!(got, Err(Some(Rejection::Malformed)), "nothing but a grammar draws that");
    turn.constraint = Some(ConstraintKind::JsonObject);
    turn.forced = vec![0];
    let (verdict, lesson) = feedback();
    let sample = settled(Method::Combine, turn, verdict, lesson).unwrap();
    assert_eq!(sample.mask(), [0.0, 1.0]);
    assert_eq!((sample.response_tokens(), sample.trained_tokens()), (2, 1));
}

#[test]
fn penalties_may_be_allowed() {
    let mut pool = Pool::new(Limits { allow_penalties: true, ..LIMITS });
    let mut turn = turn(1);
    turn.sampling.presence_penalty = 0.5;
    pool.turn(turn);
    place(&mut pool, &rollout(1));
    pool.score(score(1, 1));
    pool.hint(hint(1, HintStatus::NoHint));
    assert_eq!((pool.settle(), pool.ready()), (vec![], 1));
}

#[test]
fn a_hint_whose_rows_do_not_fit_is_malformed() {
    let mut short = hint(1, HintStatus::Accepted);
    short.student_logprobs.pop();
    let got = settled(Method::Combine, turn(1), score(1, 1), short);
    assert_eq!(got, Err(Some(Rejection::Malformed)));
    let mut infinite = hint(1, HintStatus::Accepted);
    infinite.teacher_logprobs[1] = f32::NEG_INFINITY;
    let got = settled(Method::Opd, turn(1), score(1, 1), infinite);
    assert_eq!(got, Err(Some(Rejection::Malformed)));
}

#[test]
fn failed_judges_are_told_apart() {
    let failed = Score { status: ScoreStatus::JudgeFailed, ..score(1, 0) };
    let got = settled(Method::Binary, turn(1), failed.clone(), hint(1, HintStatus::Accepted));
    assert_eq!(got, Err(Some(Rejection::JudgeFailed)));
    let got = settled(Method::Combine, turn(1), failed, hint(1, HintStatus::Accepted)).unwrap();
    assert_eq!(got.signal, TrainingSignal::Hint);
    let got = settled(Method::Opd, turn(1), score(1, 1), hint(1, HintStatus::JudgeFailed));
    assert_eq!(got, Err(Some(Rejection::JudgeFailed)));
}

fn place(pool: &mut Pool, row: &Rollout) {
    pool.placement(row.turn_id, Placement::of(row), row.session_id.clone());
}

fn full_of(pool: &mut Pool, ids: impl IntoIterator<Item = u128>) {
    for id in ids {
        pool.turn(turn(id));
        place(pool, &rollout(id));
        pool.score(score(id, 1));
        pool.hint(hint(id, HintStatus::NoHint));
    }
    assert_eq!(pool.settle(), []);
}

fn ids(batch: Option<Vec<Sample>>) -> Vec<u128> {
    batch.unwrap_or_default().iter().map(|sample| sample.turn_id.0).collect()
}

fn trained(ids: &[u128], version: u64) -> Step {
    let of = |id: &u128| TrainedTurn {
        turn_id: TurnId(*id),
        signal: TrainingSignal::Score,
        reward: 1.0,
        tokens: 2,
    };
    Step {
        version: Some(Version(version)),
        parent: Version(version - 1),
        method: "combine".to_owned(),
        trained: ids.iter().map(of).collect(),
        rejected: Vec::new(),
        metrics: Vec::new(),
        detail: String::new(),
        finished_at_us: 0,
    }
}

#[test]
fn the_oldest_go_first_and_the_surplus_waits() {
    let mut pool = Pool::new(LIMITS);
    full_of(&mut pool, [5, 3, 4]);
    assert_eq!(ids(pool.batch(FULL, 0)), [3, 4]);
    assert_eq!(ids(pool.batch(FULL, 0)), [3, 4], "an unfinished step costs nothing");
    pool.step(&trained(&[3, 4], 1));
    pool.settle();
    assert_eq!((pool.ready(), pool.batch(FULL, 0)), (1, None));
    full_of(&mut pool, [9]);
    assert_eq!(ids(pool.batch(FULL, 0)), [5, 9]);
}

#[test]
fn a_smaller_batch_closes_once_its_oldest_waited_long_enough() {
    let mut pool = Pool::new(LIMITS);
    let closing = Closing { wait_us_max: Some(10_000_000), ..FULL };
    assert_eq!(pool.batch(closing, i64::MAX), None, "an empty batch never closes");
    full_of(&mut pool, [1]);
    assert_eq!(pool.batch(closing, 11_999_999), None);
    assert_eq!(ids(pool.batch(closing, 12_000_000)), [1]);
}

#[test]
fn a_trained_turn_never_comes_back_not_even_with_its_version_dead() {
    let mut pool = Pool::new(LIMITS);
    full_of(&mut pool, [1, 2]);
    pool.step(&trained(&[1, 2], 1));
    pool.settle();
    pool.score(score(1, -1));
    pool.turn(turn(1));
    pool.settle();
    assert_eq!(pool.ready(), 0);
    pool.deployment(&Deployment {
        event: crate::rollout::DeploymentEvent::RolledBack,
        version: Version(0),
        previous: Some(Version(1)),
        retired: vec![Version(1)],
        servers: Vec::new(),
        gate: String::new(),
        deployed_at_us: 0,
    });
    pool.score(score(1, -1));
    pool.settle();
    assert_eq!(pool.ready(), 0);
    let quarantined = Some(TurnState::Rejected(Rejection::Quarantined));
    assert_eq!(pool.ledger().state(TurnId(1)), quarantined);
}

#[test]
fn late_feedback_reopens_a_turn_that_had_no_next_state() {
    let mut pool = Pool::new(LIMITS);
    pool.turn(turn(1));
    place(&mut pool, &Rollout { next_state: None, ..rollout(1) });
    assert_eq!(pool.settle(), []);
    place(&mut pool, &Rollout { revision: 1, ..rollout(1) });
    pool.score(Score { revision: 1, ..score(1, 1) });
    pool.hint(Hint { revision: 1, ..hint(1, HintStatus::NoHint) });
    assert_eq!(pool.wanted(), [TurnId(1)]);
    pool.turn(turn(1));
    pool.settle();
    assert_eq!(pool.ready(), 1);
}

#[test]
fn what_is_known_later_counts_once_it_is_judged() {
    let mut pool = Pool::new(LIMITS);
    pool.turn(turn(1));
    place(&mut pool, &rollout(1));
    pool.score(score(1, 1));
    pool.hint(hint(1, HintStatus::NoHint));
    pool.settle();
    assert_eq!(pool.batch(Closing { size: 1, ..FULL }, 0).unwrap()[0].reward, 1.0);
    place(&mut pool, &Rollout { revision: 1, ..rollout(1) });
    pool.settle();
    assert_eq!(pool.ready(), 0, "what was judged of less does not count any more");
    pool.hint(Hint { revision: 1, ..hint(1, HintStatus::NoHint) });
    pool.score(Score { revision: 1, ..score(1, -1) });
    pool.score(score(1, 1));
    pool.settle();
    assert_eq!(pool.batch(Closing { size: 1, ..FULL }, 0).unwrap()[0].reward, -1.0);
}

#[test]
fn what_a_method_had_no_use_for_is_open_again_when_more_is_known() {
    let mut pool = Pool::new(Limits { method: Method::Binary, ..LIMITS });
    pool.turn(turn(1));
    place(&mut pool, &rollout(1));
    pool.score(score(1, 0));
    pool.hint(hint(1, HintStatus::Accepted));
    let rejected = pool.settle();
    let neutral = RejectedTurn { turn_id: TurnId(1), reason: Rejection::Neutral, revision: 0 };
    assert_eq!(rejected, [neutral]);
    pool.step(&Step { rejected, ..trained(&[], 1) });
    assert_eq!(pool.ledger().state(TurnId(1)), Some(TurnState::Rejected(Rejection::Neutral)));
    place(&mut pool, &Rollout { revision: 1, ..rollout(1) });
    pool.score(Score { revision: 1, ..score(1, -1) });
    assert_eq!(pool.wanted(), [TurnId(1)]);
    pool.turn(turn(1));
    assert_eq!((pool.settle(), pool.ready()), (vec![], 1));
}

#[test]
fn tokens_are_wanted_when_their_feedback_is_there() {
    let mut pool = Pool::new(LIMITS);
    pool.recorded(TurnId(1), TurnStatus::Answered);
    place(&mut pool, &rollout(1));
    assert_eq!((pool.settle(), pool.wanted()), (vec![], vec![]));
    pool.score(score(1, 0));
    assert_eq!(pool.wanted(), []);
    pool.hint(hint(1, HintStatus::NoHint));
    assert_eq!((pool.settle(), pool.wanted()), (vec![], vec![]), "neutral");
    place(&mut pool, &Rollout { revision: 1, ..rollout(1) });
    pool.score(Score { revision: 1, ..score(1, 1) });
    pool.hint(Hint { revision: 1, ..hint(1, HintStatus::NoHint) });
    assert_eq!(pool.settle(), []);
    assert_eq!(pool.wanted(), [TurnId(1)]);
    pool.turn(turn(1));
    assert_eq!((pool.settle(), pool.wanted(), pool.ready()), (vec![], vec![], 1));
}

#[test]
fn side_turns_and_retries_are_left_to_the_ledger() {
    let mut pool = Pool::new(LIMITS);
    pool.turn(turn(1));
    place(&mut pool, &Rollout { kind: TurnKind::Side, ..rollout(1) });
    pool.turn(turn(2));
    place(&mut pool, &Rollout { retry_of: Some(TurnId(1)), next_state: None, ..rollout(2) });
    pool.score(score(2, 1));
    pool.hint(hint(2, HintStatus::NoHint));
    assert_eq!(pool.settle(), []);
    assert_eq!(pool.ready(), 0);
}

#[test]
fn a_reply_of_a_version_too_far_back_is_stale() {
    let mut pool = Pool::new(LIMITS);
    let lineage = |ids: &[u64]| ids.iter().rev().map(|id| Version(*id)).collect::<Vec<_>>();
    pool.head(lineage(&[0, 1, 2, 3, 4]));
    let mut mixed = turn(2);
    let span = |start, version| VersionSpan { start, version: Version(version) };
    mixed.version_spans = vec![span(0, 3), span(1, 1)];
    pool.turn(mixed);
    place(&mut pool, &rollout(2));
    pool.score(score(2, 1));
    pool.hint(hint(2, HintStatus::NoHint));
    full_of(&mut pool, [1]);
    assert_eq!(pool.ready(), 2, "four behind");
    // 5 and 6 are dead: they do not count
    pool.head(lineage(&[0, 1, 2, 3, 4, 7]));
    let stale = |id| RejectedTurn { turn_id: TurnId(id), reason: Rejection::Stale, revision: 0 };
    assert_eq!(pool.settle(), [stale(1)]);
    assert_eq!(pool.behind(Version(1)), 4);
    pool.head(lineage(&[0, 1, 2, 3, 4, 7, 8]));
    assert_eq!(pool.settle(), [stale(2)], "by its oldest token");
    assert_eq!(pool.ready(), 0);
}

#[test]
fn a_batch_is_of_enough_sessions() {
    let mut pool = Pool::new(LIMITS);
    let of = |pool: &mut Pool, id: u128, session: &str| {
        pool.turn(turn(id));
        place(pool, &Rollout { session_id: session.to_owned(), ..rollout(id) });
        pool.score(score(id, 1));
        pool.hint(hint(id, HintStatus::NoHint));
        assert_eq!(pool.settle(), []);
    };
    (1..=5).for_each(|id| of(&mut pool, id, "a"));
    let two = Closing { size: 3, sessions_min: 2, wait_us_max: None };
    assert_eq!(pool.batch(two, 0), None, "however many of one session there are");
    let patient = Closing { wait_us_max: Some(1), ..two };
    assert_eq!(ids(pool.batch(patient, i64::MAX)), [1, 2, 3], "but not forever");
    of(&mut pool, 6, "b");
    of(&mut pool, 7, "c");
    assert_eq!(ids(pool.batch(two, 0)), [1, 2, 6]);
    assert_eq!(ids(pool.batch(Closing { sessions_min: 3, ..two }, 0)), [1, 6, 7]);
    assert_eq!(ids(pool.batch(Closing { sessions_min: 1, ..two }, 0)), [1, 2, 3]);
}

#[test]
fn what_was_put_back_is_trained_on_again() {
    let mut pool = Pool::new(LIMITS);
    full_of(&mut pool, [1, 2]);
    pool.step(&trained(&[1, 2], 1));
    pool.settle();
    let event = |event, at| Deployment {
        event,
        version: Version(0),
        previous: Some(Version(1)),
        retired: vec![Version(1)],
        servers: Vec::new(),
        gate: String::new(),
        deployed_at_us: at,
    };
    pool.deployment(&event(crate::rollout::DeploymentEvent::RolledBack, 1));
    full_of(&mut pool, [1, 2]);
    assert_eq!(pool.ready(), 0);
    pool.deployment(&event(crate::rollout::DeploymentEvent::Requeued, 2));
    full_of(&mut pool, [1, 2]);
    assert_eq!(ids(pool.batch(FULL, 0)), [1, 2]);
}

#[test]
fn a_teacher_of_the_trainers_own_needs_the_hinted_prompts() {
    let candidate = |head, tail, ids: &[u32]| HintCandidate {
        hint: "h".to_owned(),
        prompt: Splice { head, tail, ids: ids.to_vec() },
    };
    let with = |method, candidates: Vec<HintCandidate>| {
        let lesson = Hint { candidates, ..hint(1, HintStatus::Accepted) };
        settled(method, turn(1), score(1, 1), lesson)
    };
    let both = vec![candidate(2, 1, &[9]), candidate(3, 0, &[8; 12])];
    let sample = with(Method::Topk, both.clone()).unwrap();
    assert_eq!(sample.candidates, [vec![1, 2, 9, 3]], "the other one would be too long");
    assert_eq!((sample.signal, sample.scored), (TrainingSignal::Hint, None));
    let sample = with(Method::Hybrid, both).unwrap();
    assert_eq!((sample.signal, sample.candidates.len()), (TrainingSignal::Both, 1));
    let reason = |method, candidates| with(method, candidates).err().flatten();
    assert_eq!(reason(Method::Topk, Vec::new()), Some(Rejection::TeacherFailed));
    assert_eq!(reason(Method::Topk, vec![candidate(3, 0, &[8; 12])]), Some(Rejection::TooLong));
    let torn = vec![candidate(4, 1, &[9])];
    assert_eq!(reason(Method::Topk, torn), Some(Rejection::Malformed));
    let sample = with(Method::Hybrid, Vec::new()).unwrap();
    assert_eq!((sample.signal, sample.reward), (TrainingSignal::Score, 1.0), "the score is left");
}

#[test]
fn what_was_kept_of_the_teacher_is_taken_where_it_suffices() {
    let prompt = Splice { head: 3, tail: 0, ids: vec![9] };
    let candidates = vec![HintCandidate { hint: "h".to_owned(), prompt }];
    let top = |ids: &[u32], p: &[f32]| Likeliest { ids: ids.into(), logprobs: p.into() };
    let sample = |kept_top, teacher_top: &Likeliest| {
        let mut pool = Pool::new(Limits { method: Method::Topk, kept_top, ..LIMITS });
        pool.turn(turn(1));
        place(&mut pool, &rollout(1));
        pool.score(score(1, 1));
        let (candidates, teacher_top) = (candidates.clone(), teacher_top.clone());
        pool.hint(Hint { candidates, top_k: 3, teacher_top, ..hint(1, HintStatus::Accepted) });
        match pool.settle().first() {
            Some(rejected) => Err(rejected.reason),
            None => Ok(pool.batch(Closing { size: 1, ..FULL }, 0).unwrap().remove(0).teacher_top),
        }
    };
    let (ids, logprobs) = ([7, 8, 9, 4, 5, 6], [-0.25, -2.0, -3.0, -0.5, -1.0, -4.0]);
    let (kept, failed) = (top(&ids, &logprobs), Err(Rejection::TeacherFailed));
    assert_eq!(sample(3, &kept), Ok(Some(kept.clone())));
    assert_eq!(sample(2, &kept), Ok(Some(top(&[7, 8, 4, 5], &[-0.25, -2.0, -0.5, -1.0]))));
    assert_eq!((sample(4, &kept), sample(0, &kept)), (failed.clone(), Ok(None)), "too few, none");
    let strange = top(&[7, 8, 9, 4, 5, 100], &logprobs);
    for broken in [top(&[], &[]), strange, top(&ids, &[-0.25; 6]), top(&ids, &[f32::NAN; 6])] {
        assert_eq!(sample(3, &broken), failed, "{broken:?}");
    }
}

#[test]
fn what_was_found_good_is_a_target() {
    let greedy = |value| {
        let mut turn = turn(1);
        turn.sampling.temperature = 0.0;
        settled(Method::Sft, turn, score(1, value), hint(1, HintStatus::Accepted))
    };
    let sample = greedy(1).unwrap();
    assert_eq!((sample.temperature, sample.behaviour.len()), (1.0, 0));
    assert_eq!((sample.response_tokens(), sample.mask()), (2, vec![1.0, 1.0]));
    assert_eq!(greedy(-1).err(), Some(Some(Rejection::Neutral)));
    assert_eq!(greedy(0).err(), Some(Some(Rejection::Neutral)));
}

#[test]
fn of_two_verdicts_on_one_revision_the_newer_counts_whichever_is_read_last() {
    let first = score(1, 1);
    let second = Score { judged_at_us: first.judged_at_us + 1, ..score(1, -1) };
    for rows in [[first.clone(), second.clone()], [second, first]] {
        let mut pool = Pool::new(Limits { method: Method::Binary, ..LIMITS });
        place(&mut pool, &rollout(1));
        pool.hint(hint(1, HintStatus::NoHint));
        rows.into_iter().for_each(|row| pool.score(row));
        pool.turn(turn(1));
        assert!(pool.settle().is_empty());
        let batch = pool.batch(Closing { size: 1, ..FULL }, 0).unwrap();
        assert_eq!(batch[0].reward, -1.0);
    }
}
