//! `score` with rules and with judges that misbehave.

use openclaw_rl::config::{Judge, JudgeConfig, ScoreConfig};
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{Rated, Rating, Rollout, Score, ScoreStatus, Spent, TurnKind};
use openclaw_rl::stage::score::{ScoreError, ScoreSummary, run};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::judging::{House, house, judge, nobody, rollout, stub, user};

fn rollouts() -> Vec<Rollout> {
    let asked = json!([user("hello")]);
    let side = rollout(3, &asked, "S", Some("thanks"));
    vec![
        rollout(0, &asked, "A", Some("No, use metric units.")),
        rollout(1, &asked, "B", Some("Thanks!")),
        rollout(2, &asked, "C", Some("And Spain?")),
        Rollout { kind: TurnKind::Side, ..side },
        rollout(4, &asked, "E", None),
    ]
}

fn asking(url: &str) -> ScoreConfig {
    let judge = Judge::at(format!("{url}/v1"));
    ScoreConfig {
        judge: JudgeConfig { judge, tries: 2, timeout_s: 20, ..JudgeConfig::default() },
        ..ScoreConfig::default()
    }
}

async fn score(house: &House, config: &ScoreConfig) -> Result<ScoreSummary, ScoreError> {
    run(config, &house.home, CancellationToken::new()).await
}

#[tokio::test]
async fn the_rules_score_each_main_turn_with_a_next_state_once() {
    let house = house();
    house.write(&rollouts());
    let summary = score(&house, &ScoreConfig::default()).await.unwrap();
    assert_eq!(summary.scores, 3);
    assert_eq!((summary.negative, summary.positive, summary.neutral), (1, 1, 1));
    assert_eq!(summary.judge, "rules@4");
    let mut rows = house.read::<Score>();
    rows.sort_by_key(|row| row.turn_id);
    assert_eq!(rows.iter().map(|row| row.score).collect::<Vec<_>>(), [-1, 1, 0]);
    assert_eq!(rows[0].reasoning, "complaint: no");
    assert_eq!(score(&house, &ScoreConfig::default()).await.unwrap().scores, 0);
}

fn down(text: &str) -> Option<Rated> {
    Some(Rated { rating: Rating::Down, text: Some(text.to_owned()), given_at_us: 1 })
}

#[tokio::test]
async fn what_is_known_later_is_judged_again_and_explicit_feedback_needs_no_judge() {
    let house = house();
    let stub = judge(|_| (200, "\\boxed{1}".to_owned())).await;
    house.write(&rollouts()[..1]);
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().positive, 1);
    let asked = stub.calls();
    assert!((2..=3).contains(&asked), "two votes that agree are enough: {asked}");
    house.write(&[Rollout { revision: 2, rated: down("shorter"), ..rollouts().remove(0) }]);
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().negative, 1);
    assert_eq!(stub.calls(), asked, "nobody was asked");
    let rows = house.read::<Score>();
    assert_eq!(rows.iter().map(|row| row.revision).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(rows[1].judge, "user@1");
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().scores, 0);
}

#[tokio::test]
async fn an_open_turn_is_not_judged_and_any_evidence_will_do() {
    let house = house();
    let [_, _, _, _, bare] = rollouts().try_into().unwrap();
    let open = Rollout { closed_by: None, closed_at_us: None, ..bare.clone() };
    house.write(std::slice::from_ref(&open));
    assert_eq!(score(&house, &ScoreConfig::default()).await.unwrap().scores, 0);
    house.write(&[Rollout { revision: 1, ..bare.clone() }]);
    assert_eq!(score(&house, &ScoreConfig::default()).await.unwrap().scores, 0);
    house.write(&[Rollout { revision: 2, regenerated: 1, abandoned: true, ..bare }]);
    assert_eq!(score(&house, &ScoreConfig::default()).await.unwrap().negative, 1);
    assert!(house.read::<Score>()[0].reasoning.contains("went on with another reply"));
}

#[tokio::test]
async fn votes_are_counted_and_kept() {
    let house = house();
    house.write(&rollouts()[..1]);
    // whichever two come first, the third could still decide
    let says = ["bad \\boxed{-1}", "fine \\boxed{1}", "I cannot say"];
    let stub = judge(move |number| (200, says[number % 3].to_owned())).await;
    let summary = score(&house, &asking(&stub.url)).await.unwrap();
    assert_eq!((summary.neutral, stub.calls()), (1, 3));
    let row = house.read::<Score>().remove(0);
    assert_eq!(row.judge, "openai@3:judge");
    let mut values: Vec<_> = row.votes.iter().map(|vote| vote.value).collect();
    values.sort();
    assert_eq!(values, [None, Some(-1), Some(1)]);
    assert_eq!(row.reasoning, "the votes are tied");
    let asked = stub.asked.lock().unwrap();
    let seeds: std::collections::BTreeSet<_> =
        asked.iter().map(|body| body["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds.len(), 3);
    let shown = asked[0]["messages"][1]["content"].as_str().unwrap();
    assert!(shown.contains("No, use metric units."), "{shown}");
}

#[tokio::test]
async fn a_judge_that_stumbles_loses_nothing() {
    let house = house();
    house.write(&rollouts()[..1]);
    let stub = judge(|number| match number {
        0..3 => (if number == 1 { 503 } else { 429 }, "busy".to_owned()),
        _ => (200, "\\boxed{1}".to_owned()),
    })
    .await;
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().positive, 1);
}

#[tokio::test]
async fn one_valid_vote_decides_and_half_a_box_is_none() {
    let house = house();
    house.write(&rollouts()[..1]);
    let stub = judge(|number| {
        (200, if number == 1 { "\\boxed{-1}" } else { "it was \\boxed{1" }.to_owned())
    })
    .await;
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().negative, 1);
    let values: Vec<_> = house.read::<Score>()[0].votes.iter().map(|vote| vote.value).collect();
    assert_eq!(values.iter().filter(|value| value.is_none()).count(), 2);
}

/// Of each vote it is kept what it took; the rules take nothing that is worth a figure.
#[tokio::test]
async fn what_a_vote_took_is_kept() {
    let house = house();
    house.write(&rollouts()[..1]);
    let answer = json!({"choices": [{"message": {"content": "\\boxed{1}"}}],
        "usage": {"prompt_tokens": 321, "completion_tokens": 7}});
    let stub = stub(move |_, _| (200, answer.to_string())).await;
    score(&house, &asking(&stub.url)).await.unwrap();
    for vote in &house.read::<Score>()[0].votes {
        let tokens = (vote.spent.prompt_tokens, vote.spent.completion_tokens);
        assert_eq!(tokens, (Some(321), Some(7)));
        assert!(vote.spent.latency_ms.is_some());
    }
    let again = ScoreConfig { rejudge: true, ..ScoreConfig::default() };
    score(&house, &again).await.unwrap();
    let rows = house.read::<Score>();
    let by_rules = rows.iter().find(|row| row.judge == "rules@4").unwrap();
    assert_eq!(by_rules.votes[0].spent, Spent::default());
}

#[tokio::test]
async fn a_judge_sees_what_was_said_later_if_it_is_told_to_wait() {
    let house = house();
    let session = |number: u128, says: &str| Rollout {
        session_id: "one".to_owned(),
        turn_index: number as u32,
        ..rollout(number, &json!([user("hello")]), &format!("reply {number}"), Some(says))
    };
    house.write(&[session(0, "And Spain?"), session(1, "By the way, your first was wrong.")]);
    let stub = judge(|_| (200, "\\boxed{0}".to_owned())).await;
    let mut config = asking(&stub.url);
    config.judge.horizon = 2;
    let summary = score(&house, &config).await.unwrap();
    assert_eq!((summary.scores, summary.judge.as_str()), (2, "openai@3+2:judge"));
    let bodies = stub.asked.lock().unwrap();
    let shown: Vec<_> =
        bodies.iter().filter_map(|body| body["messages"][1]["content"].as_str()).collect();
    let late = |text: &&&str| text.contains("later>>>") && text.contains("your first was wrong");
    let first = shown.iter().filter(late).count();
    let second = shown.iter().filter(|text| !text.contains("later>>>")).count();
    assert!((2..=3).contains(&first) && (2..=3).contains(&second), "{first} and {second} votes");
}

/// A backlog that does not fit onto the docket, and a judge with every fault that a judge can have
/// while it is there: each turn is judged once, by what was really said.
#[tokio::test]
async fn a_judge_with_every_fault_loses_nothing_and_nothing_is_made_up() {
    let house = house();
    let turns: Vec<Rollout> =
        (0..700).map(|at| rollout(at, &json!([user("hello")]), "S", Some("And Spain?"))).collect();
    for part in turns.chunks(70) {
        house.write(part);
    }
    let stub = judge(|number| match number % 9 {
        0 => (429, "slow down".to_owned()),
        1 => (503, "loading".to_owned()),
        2 => (200, "I like turtles".to_owned()),
        3 => (200, "it was \\boxed{1".to_owned()),
        4 => (200, "\u{7ed3}\u{8bba}\u{ff1a}\u{597d} \\boxed{1}".to_owned()),
        5 => (200, "and so on ".repeat(2_000)),
        6 => (200, "\\boxed{-1} \\boxed{2}".to_owned()),
        7 => (200, String::new()),
        _ => (200, "\\boxed{0}".to_owned()),
    })
    .await;
    let mut config = asking(&stub.url);
    config.judge.tries = 16;
    let summary = score(&house, &config).await.unwrap();
    let mut rows = house.read::<Score>();
    assert_eq!((summary.scores, summary.waiting, rows.len()), (700, 0, 700));
    rows.sort_by_key(|row| row.turn_id);
    rows.dedup_by_key(|row| row.turn_id);
    assert_eq!(rows.len(), 700, "each turn once");
    for row in &rows {
        let count = |value| row.votes.iter().filter(|vote| vote.value == Some(value)).count();
        let counts = [count(-1), count(0), count(1)];
        let most = *counts.iter().max().unwrap();
        let winners: Vec<i8> = [-1, 0, 1]
            .into_iter()
            .zip(counts)
            .filter(|(_, n)| *n == most)
            .map(|(v, _)| v)
            .collect();
        match row.status {
            ScoreStatus::Judged if winners.len() == 1 => assert_eq!([row.score], winners[..]),
            ScoreStatus::Judged => assert_eq!(row.score, 0, "a tie: {counts:?}"),
            ScoreStatus::JudgeFailed => assert_eq!((most, row.score), (0, 0)),
        }
        for vote in &row.votes {
            assert_eq!(
                vote.value.is_some(),
                vote.text.contains("boxed{") && vote.text.contains('}')
            );
        }
    }
    assert!(summary.positive > 0 && summary.negative > 0 && summary.neutral > 0, "{summary:?}");
}

#[tokio::test]
async fn a_judge_that_talks_nonsense_has_failed_and_its_words_are_kept() {
    let house = house();
    house.write(&rollouts()[..1]);
    let stub = judge(|_| (200, "I like turtles".to_owned())).await;
    let summary = score(&house, &asking(&stub.url)).await.unwrap();
    assert_eq!((summary.judge_failed, summary.neutral), (1, 0));
    assert_eq!(stub.calls(), 6, "two rounds of three votes");
    let row = house.read::<Score>().remove(0);
    assert_eq!((row.status, row.score, row.votes.len()), (ScoreStatus::JudgeFailed, 0, 6));
}

#[tokio::test]
async fn a_judge_that_is_down_ends_the_command_and_no_row_is_written() {
    let house = house();
    house.write(&rollouts());
    let config = asking(&nobody().await);
    let error = score(&house, &config).await.unwrap_err();
    assert!(matches!(error, ScoreError::Judge { waiting: 1.., .. }), "{error:?}");
    assert_eq!((error.label(), error.exit_code()), ("complete_unavailable", 1));
    assert!(error.hint().unwrap().contains("is the judge running"));
    assert!(house.read::<Score>().is_empty());
    let stub = judge(|_| (200, "\\boxed{0}".to_owned())).await;
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().neutral, 3);
}

#[tokio::test]
async fn a_judge_that_refuses_the_key_ends_even_a_daemon_and_no_turn_is_given_up() {
    let house = house();
    house.write(&rollouts());
    let stub = judge(|_| (401, r#"{"error": {"message": "who are you?"}}"#.to_owned())).await;
    let config = ScoreConfig { follow: true, ..asking(&stub.url) };
    let error = score(&house, &config).await.unwrap_err();
    assert!(error.hint().unwrap().contains("key"), "{error:?}");
    assert!(house.read::<Score>().is_empty());
}

#[tokio::test]
async fn a_daemon_gives_up_a_turn_only_after_its_tries() {
    let house = house();
    house.write(&rollouts()[..1]);
    let mut config = ScoreConfig { follow: true, poll_ms: 5, ..asking(&nobody().await) };
    config.judge.tries = 1;
    let shutdown = CancellationToken::new();
    let watch = async {
        for _ in 0..1_000 {
            if !house.read::<Score>().is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(run(&config, &house.home, shutdown.clone()), watch);
    assert_eq!(summary.unwrap().judge_failed, 1);
    assert_eq!(house.read::<Score>()[0].status, ScoreStatus::JudgeFailed);
}

#[tokio::test]
async fn plain_files_go_through_collect_and_score() {
    use openclaw_rl::config::CollectConfig;
    use openclaw_rl::rollout::Turn;
    use openclaw_rl::stage::{collect, score};
    use openclaw_rl::store::{read_file, write_file};

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let first = json!([user("a")]);
    let second = json!([user("a"), crate::judging::assistant("A"), user("Thanks!")]);
    let turns: [Turn; 2] =
        [crate::judging::turn(0, 0, &first, "A"), crate::judging::turn(1, 0, &second, "B")];
    std::fs::create_dir(path("turns")).unwrap();
    write_file(&path("turns/0.parquet"), &turns[..1]).unwrap();
    write_file(&path("turns/1.parquet"), &turns[1..]).unwrap();
    let on = CancellationToken::new();
    let config = CollectConfig { close_all: true, ..CollectConfig::default() };
    let rollouts = path("rollouts.parquet");
    let summary = collect::run_files(&config, &path("turns"), &rollouts, &on).unwrap();
    assert_eq!((summary.turns, summary.rollouts, summary.with_next_state), (2, 2, 1));
    let scores = path("scores.parquet");
    let config = ScoreConfig::default();
    assert_eq!(score::run_files(&config, &rollouts, &scores, &on).await.unwrap().positive, 1);
    assert_eq!(read_file::<Score>(&scores).unwrap()[0].turn_id, turns[0].turn_id);
    let error = score::run_files(&config, &path("none"), &scores, &on).await.unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

#[tokio::test]
async fn the_rules_come_first_where_both_are_named_and_the_model_does_the_rest() {
    let house = house();
    house.write(&rollouts());
    let stub = judge(|_| (200, "\\boxed{-1}".to_owned())).await;
    let judge: Judge = format!("rules+{}/v1", stub.url).parse().unwrap();
    let mut config = asking(&stub.url);
    config.judge.judge = judge;
    let summary = score(&house, &config).await.unwrap();
    assert_eq!(summary.judge, "rules@4+openai@3:judge");
    assert_eq!((summary.negative, summary.positive, summary.neutral), (2, 1, 0));
    let mut rows = house.read::<Score>();
    rows.sort_by_key(|row| row.turn_id);
    let judges: Vec<_> = rows.iter().map(|row| row.judge.as_str()).collect();
    assert_eq!(judges, ["rules@4", "rules@4", "openai@3:judge"]);
    assert!((2..=3).contains(&stub.calls()), "asked about one turn: {}", stub.calls());
}

#[tokio::test]
async fn another_judge_adds_rows_of_its_own_where_that_is_wanted() {
    let house = house();
    house.write(&rollouts());
    assert_eq!(score(&house, &ScoreConfig::default()).await.unwrap().scores, 3);
    let stub = judge(|_| (200, "\\boxed{-1}".to_owned())).await;
    assert_eq!(score(&house, &asking(&stub.url)).await.unwrap().scores, 0);
    let again = ScoreConfig { rejudge: true, ..asking(&stub.url) };
    assert_eq!(score(&house, &again).await.unwrap().negative, 3);
    assert_eq!(score(&house, &again).await.unwrap().scores, 0, "it has judged them");
    let rows = house.read::<Score>();
    let by = |judge: &str| rows.iter().filter(|row| row.judge == judge).count();
    assert_eq!((by("rules@4"), by("openai@3:judge")), (3, 3));
}

#[tokio::test]
async fn parts_give_the_same_rows_as_one_process() {
    let turns: Vec<Rollout> = (0..40)
        .map(|at| {
            let says = ["Thanks!", "No, use metric units.", "And Spain?"][at % 3];
            rollout(at as u128 * 31, &json!([user("hello")]), "S", Some(says))
        })
        .collect();
    let (whole, parted) = (house(), house());
    whole.write(&turns);
    parted.write(&turns);
    score(&whole, &ScoreConfig::default()).await.unwrap();
    let parts = (1..=4).map(|at| ScoreConfig {
        shard: Some(format!("{at}/4").parse().unwrap()),
        ..ScoreConfig::default()
    });
    let parts: Vec<_> = parts.collect();
    let runs = parts.iter().map(|config| score(&parted, config));
    let scored: usize =
        futures::future::join_all(runs).await.into_iter().map(|run| run.unwrap().scores).sum();
    assert_eq!(scored, 40);
    let rows = |house: &House| {
        let mut rows = house.read::<Score>();
        rows.iter_mut().for_each(|row| row.judged_at_us = 0);
        rows.sort_by_key(|row| row.turn_id);
        rows
    };
    assert_eq!(rows(&whole), rows(&parted));
}
