//! `score --exchanges` and `hint --exchanges`: exchanges that somebody wrote down, without a home.

use std::io::Write;
use std::process::{Output, Stdio};

use openclaw_rl::config::{HintConfig, Judge, JudgeConfig, ScoreConfig};
use openclaw_rl::stage;
use openclaw_rl::stage::score::Written;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::judging::{assistant, judge, user};
use crate::support::command;

fn line(reaction: &str) -> String {
    let exchange = json!({
        "messages": [user("What is 3 plus 4?")],
        "reply": assistant("8"),
        "next_state": [user(reaction)],
    });
    format!("{exchange}\n")
}

fn told(args: &[&str], input: &str) -> (Output, Vec<Value>) {
    let home = tempfile::tempdir().unwrap();
    let mut child = command(home.path(), args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    let values = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(home.path().read_dir().unwrap().next().is_none(), "nothing is written");
    (output, values)
}

#[test]
fn the_rules_decide_on_each_line_in_order() {
    let input = line("Thanks!") + "\n" + &line("No, use plain words.") + &line("And Spain?");
    let (output, scores) = told(&["score", "--judge", "rules", "--exchanges", "-"], &input);
    assert!(output.status.success(), "{output:?}");
    let found: Vec<_> = scores.iter().map(|row| row["score"].as_i64().unwrap()).collect();
    assert_eq!(found, [1, -1, 0]);
    assert!(scores.iter().all(|row| row["judge"] == "rules@4" && row["votes"].is_array()));
    let (_, hints) = told(&["hint", "--judge", "rules", "--exchanges", "-"], &input);
    let found: Vec<_> = hints.iter().map(|row| &row["hint"]).collect();
    assert_eq!(found, [&Value::Null, &json!("use plain words."), &Value::Null]);
}

#[test]
fn a_line_that_is_no_exchange_is_named_before_anything_is_judged() {
    let input = line("Thanks!") + "{\"messages\": 7}\n";
    let (output, scores) = told(&["score", "--judge", "rules", "--exchanges", "-"], &input);
    assert_eq!((output.status.code(), scores.len()), (Some(2), 0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("standard input, line 2"), "{said}");
    let (output, _) = told(&["hint", "--exchanges", "/nowhere/x.jsonl"], "");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/x.jsonl not read"), "{said}");
}

fn asking(url: &str) -> JudgeConfig {
    let judge = Judge::at(format!("{url}/v1"));
    JudgeConfig { judge, tries: 1, concurrency: 3, ..JudgeConfig::default() }
}

#[tokio::test]
async fn a_model_is_asked_with_votes_of_their_own_and_told_in_order() {
    let stub = judge(|_| {
        let text = "\\boxed{1}\n[HINT_START]Use plain words.[HINT_END]";
        (200, text.to_owned())
    })
    .await;
    let exchanges: Vec<_> =
        (0..5).map(|at| Written::read(&line(&format!("number {at}"))).unwrap()).collect();
    let stop = CancellationToken::new();
    let config = ScoreConfig { judge: asking(&stub.url), ..ScoreConfig::default() };
    let mut ballots = Vec::new();
    stage::score::run_written(&config, &exchanges, &stop, |ballot| ballots.push(ballot))
        .await
        .unwrap();
    assert_eq!(ballots.len(), 5);
    assert!(ballots.iter().all(|ballot| ballot.score == Some(1) && ballot.votes.len() >= 2));
    let seeds: std::collections::BTreeSet<_> =
        stub.asked.lock().unwrap().iter().map(|body| body["seed"].as_u64().unwrap()).collect();
    let asked = stub.calls();
    assert_eq!(seeds.len(), asked, "each vote has a seed of its own");
    assert!((10..=15).contains(&asked), "{asked}");
    let config = HintConfig { judge: asking(&stub.url), ..HintConfig::default() };
    let mut hints = Vec::new();
    stage::hint::run_written(&config, &exchanges, &stop, |found| hints.push(found.hint))
        .await
        .unwrap();
    assert_eq!(hints, vec![Some("Use plain words.".to_owned()); 5]);
}

#[tokio::test]
async fn a_hint_of_the_rules_or_their_praise_spares_the_model() {
    let stub =
        judge(|_| (200, "\\boxed{1}\n[HINT_START]Look it up first.[HINT_END]".to_owned())).await;
    let exchanges: Vec<_> = ["Thanks!", "No, use plain words.", "It is Lyon, is it not?"]
        .iter()
        .map(|reaction| Written::read(&line(reaction)).unwrap())
        .collect();
    let mut config = HintConfig { judge: asking(&stub.url), ..HintConfig::default() };
    config.judge.judge = format!("rules+{}", stub.url).parse().unwrap();
    let (stop, mut found) = (CancellationToken::new(), Vec::new());
    stage::hint::run_written(&config, &exchanges, &stop, |told| {
        found.push((told.ballot.judge, told.hint.unwrap_or_default()));
    })
    .await
    .unwrap();
    let expected =
        [("rules@4", ""), ("rules@4", "use plain words."), ("openai@3:judge", "Look it up first.")];
    assert_eq!(found, expected.map(|(judge, hint)| (judge.to_owned(), hint.to_owned())));
    assert_eq!(stub.calls(), 3);
}

#[tokio::test]
async fn a_judge_that_cannot_be_asked_ends_it_with_what_waits() {
    let stub = judge(|_| (401, "no".to_owned())).await;
    let exchanges = vec![Written::read(&line("hm")).unwrap(); 4];
    let config = ScoreConfig { judge: asking(&stub.url), ..ScoreConfig::default() };
    let stop = CancellationToken::new();
    let error = stage::score::run_written(&config, &exchanges, &stop, |_| ()).await.unwrap_err();
    assert!(error.to_string().starts_with("4 turns wait"), "{error}");
}
