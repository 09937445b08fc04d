//! `hint` with the embedded model's renderer and teachers that misbehave.

use openclaw_rl::config::{HintConfig, Home, Judge, JudgeConfig};
use openclaw_rl::fault::Explain;
use openclaw_rl::render::Renderer;
use openclaw_rl::rollout::{Hint, HintStatus, Likeliest, Rated, Rating, Rollout, Turn, Version};
use openclaw_rl::stage::hint::{HintError, HintSummary, run};
use openclaw_rl::weights::{Base, Registry};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::judging::{House, Stub, house, judge, nobody, rollout, stub, turn, user};

const DIRECTIVE: &str = "No. You should have answered in one word.";
const HINT: &str = "You should have answered in one word.";

fn messages() -> Value {
    json!([user("What is the capital of France?")])
}

fn recorded(home: &Home) -> Turn {
    let registry = Registry::open(home).unwrap();
    registry.ensure_base(Base::Embedded).unwrap();
    let renderer = Renderer::open(&registry.dir(Version::BASE)).unwrap();
    let messages = messages();
    let prompt_ids = renderer.prompt(messages.as_array().unwrap(), None).unwrap();
    Turn { prompt_ids, ..turn(0, 0, &messages, "Paris, of course.") }
}

/// A house with a model, and one turn after which the user said `next`.
fn furnished(next: &str) -> (House, Turn) {
    let house = house();
    let turn = recorded(&house.home);
    house.write(std::slice::from_ref(&turn));
    house.write(&[rollout(0, &messages(), "Paris, of course.", Some(next))]);
    (house, turn)
}

/// The right answer of a teacher: every id's log-probability is minus its position.
fn right(body: &Value, version: &str) -> Value {
    let ids = body["input_ids"].as_array().unwrap();
    let start = body["logprob_start_len"].as_u64().unwrap() as usize;
    let entry = |at: usize| json!([-(at as f64), ids[at], null]);
    let entries: Vec<Value> = (start..ids.len()).map(entry).collect();
    json!({"text": "", "meta_info": {
        "input_token_logprobs": entries, "prompt_tokens": ids.len(), "weight_version": version}})
}

fn config(teacher: &str) -> HintConfig {
    HintConfig {
        teacher: teacher.to_owned(),
        judge: JudgeConfig { tries: 1, timeout_s: 20, ..JudgeConfig::default() },
        ..HintConfig::default()
    }
}

async fn hint(house: &House, config: &HintConfig) -> Result<HintSummary, HintError> {
    run(config, &house.home, CancellationToken::new()).await
}

async fn row(house: &House, teacher: &Stub) -> Hint {
    let summary = hint(house, &config(&teacher.url)).await.unwrap();
    assert_eq!(summary.hints, 1);
    house.read::<Hint>().remove(0)
}

#[tokio::test]
async fn what_the_user_said_should_have_been_done_is_the_hint_however_late_it_came() {
    let (house, _) = furnished("And Spain?");
    let teacher = stub(|_, body| (200, right(body, "0").to_string())).await;
    assert_eq!(row(&house, &teacher).await.status, HintStatus::NoHint);
    let rated = Rated { rating: Rating::Down, text: Some("shorter".to_owned()), given_at_us: 1 };
    let known = rollout(0, &messages(), "Paris, of course.", Some("And Spain?"));
    house.write(&[Rollout { revision: 2, rated: Some(rated), ..known }]);
    assert_eq!(hint(&house, &config(&teacher.url)).await.unwrap().accepted, 1);
    let late = house.read::<Hint>().remove(1);
    assert_eq!((late.revision, late.judge.as_str()), (2, "user@1"));
    assert_eq!((late.status, late.hint.as_str()), (HintStatus::Accepted, "shorter"));
    assert_eq!(hint(&house, &config(&teacher.url)).await.unwrap().hints, 0);
}

#[tokio::test]
async fn both_rows_cover_the_replys_exact_tokens_at_the_turns_temperature() {
    let (house, turn) = furnished(DIRECTIVE);
    let teacher = stub(|_, body| (200, right(body, "3").to_string())).await;
    let row = row(&house, &teacher).await;
    assert_eq!((row.status, row.hint.as_str()), (HintStatus::Accepted, HINT));
    assert_eq!(row.scored_by, Some(Version(3)));
    let plain = turn.prompt_ids.len();
    assert_eq!(row.student_logprobs, [-(plain as f32), -(plain as f32 + 1.0)]);
    assert_eq!(row.teacher_logprobs.len(), 2);
    assert!(row.teacher_logprobs[0] < row.student_logprobs[0], "the hint makes the prompt longer");
    let asked = teacher.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|body| body["sampling_params"]["temperature"] == 0.5));
    assert!(asked.iter().all(|body| {
        let ids = body["input_ids"].as_array().unwrap();
        ids[ids.len() - 2..] == [json!(3), json!(4)]
    }));
    assert_eq!(hint(&house, &config(&teacher.url)).await.unwrap().hints, 0);
}

/// As [`right`], with two ids of which the first is the likeliest.
fn right_with_top(body: &Value) -> Value {
    let mut answer = right(body, "3");
    let entries = answer["meta_info"]["input_token_logprobs"].as_array().unwrap().len();
    let top = |at: usize| json!([[-2.0 - at as f64, 5, null], [-0.25, 6 + at, null]]);
    let tops: Vec<Value> =
        (0..entries).map(|at| if at == 0 { Value::Null } else { top(at) }).collect();
    answer["meta_info"]["input_top_logprobs"] = json!(tops);
    answer
}

#[tokio::test]
async fn the_likeliest_ids_are_kept_where_they_are_wanted() {
    let (house, _) = furnished(DIRECTIVE);
    let teacher = stub(|_, body| (200, right_with_top(body).to_string())).await;
    let wants = HintConfig { top_k: 2, ..config(&teacher.url) };
    assert_eq!(hint(&house, &wants).await.unwrap().accepted, 1);
    let row = house.read::<Hint>().remove(0);
    let expected = Likeliest { ids: vec![7, 5, 8, 5], logprobs: vec![-0.25, -3.0, -0.25, -4.0] };
    assert_eq!((row.top_k, &row.teacher_top), (2, &expected));
    assert_eq!(row.student_top, expected);
    assert!(teacher.asked.lock().unwrap().iter().all(|body| body["top_logprobs_num"] == 2));
}

#[tokio::test]
async fn a_teacher_that_leaves_the_likeliest_ids_out_has_failed() {
    let (house, _) = furnished(DIRECTIVE);
    let teacher = stub(|_, body| (200, right(body, "3").to_string())).await;
    let wants = HintConfig { top_k: 2, ..config(&teacher.url) };
    assert_eq!(hint(&house, &wants).await.unwrap().teacher_failed, 1);
    let row = house.read::<Hint>().remove(0);
    assert!(row.detail.contains("input_top_logprobs"), "{}", row.detail);
    assert_eq!((row.top_k, row.teacher_top), (0, Likeliest::default()));
}

#[tokio::test]
async fn a_turn_without_a_directive_is_done_without_a_teacher() {
    let (house, _) = furnished("Thanks!");
    let summary = hint(&house, &config(&nobody().await)).await.unwrap();
    assert_eq!((summary.no_hint, summary.hints), (1, 1));
}

#[tokio::test]
async fn a_version_that_changes_in_between_is_asked_again() {
    let (house, _) = furnished(DIRECTIVE);
    let teacher =
        stub(|number, body| (200, right(body, if number == 0 { "1" } else { "2" }).to_string()))
            .await;
    let row = row(&house, &teacher).await;
    assert_eq!((row.status, row.scored_by), (HintStatus::Accepted, Some(Version(2))));
    assert_eq!(teacher.calls(), 4);
}

#[tokio::test]
async fn incomplete_answers_are_never_filled_up() {
    let spoil: [fn(&mut Value); 4] = [
        |entries| drop(entries.as_array_mut().unwrap().pop()),
        |entries| entries[1][0] = Value::Null,
        |entries| entries[2][1] = json!(77),
        |entries| *entries = Value::Null,
    ];
    for spoil in spoil {
        let (house, _) = furnished(DIRECTIVE);
        let teacher = stub(move |_, body| {
            let mut answer = right(body, "0");
            spoil(&mut answer["meta_info"]["input_token_logprobs"]);
            (200, answer.to_string())
        })
        .await;
        let row = row(&house, &teacher).await;
        assert_eq!(row.status, HintStatus::TeacherFailed, "{}", row.detail);
        assert!(row.teacher_logprobs.is_empty() && row.student_logprobs.is_empty());
        assert!(!row.detail.is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_was_incomplete_once_is_asked_for_again() {
    let (house, _) = furnished(DIRECTIVE);
    let teacher = stub(|number, body| match number {
        0 => (200, "{}".to_owned()),
        _ => (200, right(body, "0").to_string()),
    })
    .await;
    assert_eq!(row(&house, &teacher).await.status, HintStatus::Accepted);
}

#[tokio::test]
async fn what_does_not_render_as_recorded_is_a_mismatch() {
    let house = house();
    let mut turn = recorded(&house.home);
    turn.prompt_ids.pop();
    house.write(&[turn]);
    house.write(&[rollout(0, &messages(), "Paris.", Some(DIRECTIVE))]);
    let summary = hint(&house, &config(&nobody().await)).await.unwrap();
    assert_eq!(summary.render_mismatch, 1);
    let row = house.read::<Hint>().remove(0);
    assert_eq!(row.status, HintStatus::RenderMismatch);
    assert!(row.detail.contains("ids instead of"), "{}", row.detail);
}

#[tokio::test]
async fn what_cannot_be_taught_says_why() {
    let (house, _) = furnished(DIRECTIVE);
    let too_long = r#"{"error": {"message": "too long", "code": "context_length_exceeded"}}"#;
    let teacher = stub(move |_, _| (400, too_long.to_owned())).await;
    assert_eq!(row(&house, &teacher).await.status, HintStatus::TooLong);

    let house = crate::judging::house();
    let mut greedy = recorded(&house.home);
    greedy.sampling.temperature = 0.0;
    house.write(&[greedy]);
    house.write(&[rollout(0, &messages(), "Paris.", Some(DIRECTIVE))]);
    let row = row(&house, &teacher).await;
    assert_eq!((row.status, row.detail.as_str()), (HintStatus::TeacherFailed, "greedy"));
}

#[tokio::test]
async fn a_teacher_that_is_down_ends_the_command_and_no_row_is_written() {
    let (house, _) = furnished(DIRECTIVE);
    let error = hint(&house, &config(&nobody().await)).await.unwrap_err();
    assert!(error.hint().unwrap().contains("is the teacher running"), "{error:?}");
    assert_eq!(error.exit_code(), 1);
    assert!(house.read::<Hint>().is_empty());
}

#[tokio::test]
async fn a_home_without_a_model_is_named() {
    let house = house();
    house.write(&[turn(0, 0, &messages(), "Paris.")]);
    house.write(&[rollout(0, &messages(), "Paris.", Some(DIRECTIVE))]);
    let error = hint(&house, &config(&nobody().await)).await.unwrap_err();
    assert_eq!(error.label(), "hint_no_model");
    assert!(house.read::<Hint>().is_empty());
}

#[tokio::test]
async fn the_longest_hint_of_a_model_judge_is_taken() {
    let (house, _) = furnished("hm");
    let says = [
        "\\boxed{1}[HINT_START]Use one word only.[HINT_END]",
        "\\boxed{1}[HINT_START]Use one word only, please.[HINT_END]",
        "\\boxed{-1}[HINT_START]This longer one comes from a negative vote.[HINT_END]",
    ];
    let asked = judge(move |number| (200, says[number % 3].to_owned())).await;
    let teacher = stub(|_, body| (200, right(body, "0").to_string())).await;
    let mut config = config(&teacher.url);
    config.judge.judge = Judge::at(asked.url.clone());
    assert_eq!(hint(&house, &config).await.unwrap().accepted, 1);
    let row = house.read::<Hint>().remove(0);
    assert_eq!(row.hint, "Use one word only, please.");
    assert_eq!((row.judge.as_str(), row.votes.len()), ("openai@3:judge", 3));
}

/// `furnished` is asked what France's capital is, and the reply was Paris.
#[tokio::test]
async fn a_hint_that_hands_over_the_answer_is_flagged_and_kept_out() {
    let (house, _) = furnished("hm, wrong");
    let says = [
        "\\boxed{1}[HINT_START]Say that it was founded in 1253 as Lutetia.[HINT_END]",
        "\\boxed{1}[HINT_START]Use one word only.[HINT_END]",
        "\\boxed{-1}",
    ];
    let asked = judge(move |number| (200, says[number % 3].to_owned())).await;
    let teacher = stub(|_, body| (200, right(body, "0").to_string())).await;
    let mut config = config(&teacher.url);
    config.judge.judge = Judge::at(asked.url.clone());
    assert_eq!(hint(&house, &config).await.unwrap().accepted, 1);
    let row = house.read::<Hint>().remove(0);
    assert_eq!(row.hint, "Use one word only.");
    assert_eq!(row.votes.iter().filter(|vote| vote.leak).count(), 1);

    let leaking = judge(move |_| (200, says[0].to_owned())).await;
    for (keep_leaks, status) in [(false, HintStatus::NoHint), (true, HintStatus::Accepted)] {
        let (house, _) = furnished("hm, wrong");
        config.judge.judge = Judge::at(leaking.url.clone());
        hint(&house, &HintConfig { keep_leaks, ..config.clone() }).await.unwrap();
        let row = house.read::<Hint>().remove(0);
        assert_eq!(row.status, status);
        assert!(row.votes.iter().all(|vote| vote.leak), "{:?}", row.votes);
        assert_eq!(row.detail == "the hint hands over the answer", !keep_leaks);
    }
}
