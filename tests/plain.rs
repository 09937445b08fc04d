//! `collect` and `score` on plain files, by the command line.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use openclaw_rl::rollout::{ClosedBy, Feedback, Rated, Rating, Rollout, Score, ScoreStatus, Turn};
use openclaw_rl::store::{Record, read_file, write_file};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::judging::{House, SECOND, assistant, house, turn, user};
use crate::support::last_json;

/// The binary with these arguments and this on standard input; there is no home.
fn openclaw(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw-rl"))
        .args(args)
        .env_remove("OPENCLAW_RL_LOG")
        .env("OPENCLAW_RL_HOME", "/proc/no/such/home")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).ok();
    child.wait_with_output().unwrap()
}

fn summary(args: &[&str]) -> Value {
    let output = openclaw(args, b"");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    last_json(&output.stdout)
}

fn refused(args: &[&str], stdin: &[u8]) -> (Option<i32>, String) {
    let output = openclaw(args, stdin);
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Two sessions of a day ago, and one that was resumed after it had been closed.
fn turns() -> Vec<Turn> {
    let start = openclaw_rl::events::now_us() - 86_400 * SECOND;
    let (a, b) = (assistant("A"), assistant("B"));
    vec![
        turn(0, start, &json!([user("a")]), "A"),
        turn(1, start, &json!([user("x")]), "X"),
        turn(2, start, &json!([user("a"), a, user("Thanks!")]), "B"),
        turn(9_000, start, &json!([user("a"), a, user("Thanks!"), b, user("c")]), "C"),
    ]
}

/// The newest row of each turn of a home's store.
fn newest(house: &House) -> Vec<Rollout> {
    let mut rows = house.read::<Rollout>();
    rows.sort_by_key(|row| (row.turn_id, std::cmp::Reverse(row.revision)));
    rows.dedup_by_key(|row| row.turn_id);
    rows
}

/// What is the same however many steps it was found in.
fn essence(rows: &[Rollout]) -> Vec<Rollout> {
    let mut rows = rows.to_vec();
    rows.iter_mut().for_each(|row| row.revision = 0);
    rows.sort_by_key(|row| row.turn_id);
    rows
}

#[test]
fn files_give_what_a_home_gives_with_one_row_for_each_turn() {
    let house = house();
    let turns = turns();
    let given_at_us = turns[3].finished_at_us + SECOND;
    let rated = Rated { rating: Rating::Down, text: Some("shorter".to_owned()), given_at_us };
    let verdict = Feedback { turn_id: turns[0].turn_id, user: String::new(), rated };
    turns.iter().for_each(|turn| house.write(std::slice::from_ref(turn)));
    house.write(&[verdict]);
    let home = house.home.root();
    let dir = tempfile::tempdir().unwrap();
    let rollouts = dir.path().join("rollouts.parquet");
    let from_files =
        summary(&["collect", "--input", text(&home.join("store")), "--output", text(&rollouts)]);
    assert!(newest(&house).is_empty(), "the home is left alone");
    let from_home = summary(&["collect", "--home", text(home)]);
    for figure in ["turns", "placed", "main", "with_next_state", "open", "feedback"] {
        assert_eq!(from_files[figure], from_home[figure], "{figure}");
    }
    let rows = read_file::<Rollout>(&rollouts).unwrap();
    assert_eq!(rows.len(), turns.len());
    assert_eq!(essence(&rows), essence(&newest(&house)));
    assert!(rows.iter().any(|row| row.rated.is_some()));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "nothing is left beside the output: {left:?}");

    let scores = dir.path().join("scores.parquet");
    let summary = summary(&["score", "--input", text(&rollouts), "--output", text(&scores)]);
    assert_eq!(summary["scores"].as_u64(), Some(read_file::<Score>(&scores).unwrap().len() as u64));
    assert!(summary["scores"].as_u64() > Some(0), "{summary}");
}

/// Writes rows as another tool would: the columns, and nothing that says whose they are.
fn write_unnamed<R: Record>(path: &Path, rows: &[R]) {
    write_file(path, rows).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    // Of our metadata nothing stands in the columns' schema.
    let schema = batches[0].schema();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), schema, None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
}

#[test]
fn files_of_other_tools_are_of_the_table_whose_name_they_or_their_directory_have() {
    let turns = turns();
    let given_at_us = turns[3].finished_at_us + SECOND;
    let verdict = |turn: &Turn, rating| Feedback {
        turn_id: turn.turn_id,
        user: String::new(),
        rated: Rated { rating, text: None, given_at_us },
    };
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out.parquet"));
    for part in ["", "feedback", "day/turns"] {
        fs::create_dir_all(input.join(part)).unwrap();
    }
    let collect = || summary(&["collect", "--input", text(&input), "--output", text(&output)]);
    write_unnamed(&input.join("day/turns/1.parquet"), &turns[1..2]);
    write_unnamed(&input.join("turns.parquet"), &turns[..1]);
    write_unnamed(&input.join("whatever.parquet"), &turns[2..]);
    let without = collect();
    assert_eq!((&without["turns"], &without["feedback"]), (&json!(4), &json!(0)));

    write_unnamed(&input.join("feedback.parquet"), &[verdict(&turns[0], Rating::Down)]);
    write_unnamed(&input.join("feedback/part-0.parquet"), &[verdict(&turns[1], Rating::Up)]);
    fs::copy(&output, input.join("rollouts.parquet")).unwrap();
    write_unnamed(&input.join("scores.parquet"), &[score(&turns[0])]);
    let with = collect();
    assert_eq!((&with["turns"], &with["feedback"]), (&json!(4), &json!(2)));
    let rows = read_file::<Rollout>(&output).unwrap();
    let ratings = essence(&rows).into_iter().map(|row| row.rated.map(|rated| rated.rating));
    let expected = [Some(Rating::Down), Some(Rating::Up), None, None];
    assert_eq!(ratings.collect::<Vec<_>>(), expected);

    // What says by its name whose it is, and is not, is an error that names it.
    fs::copy(input.join("turns.parquet"), input.join("feedback.parquet")).unwrap();
    let (code, stderr) = refused(&["collect", "--input", text(&input), "--output", "-"], b"");
    assert!(stderr.contains("feedback.parquet cannot be read as `feedback`"), "{stderr}");
    assert_eq!(code, Some(1));
}

fn score(turn: &Turn) -> Score {
    Score {
        turn_id: turn.turn_id,
        judge: "rules".to_owned(),
        revision: 0,
        status: ScoreStatus::Judged,
        votes: Vec::new(),
        score: 0,
        reasoning: String::new(),
        judged_at_us: 0,
    }
}

#[test]
fn of_several_rows_of_a_turn_the_newest_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("rows");
    fs::create_dir(&input).unwrap();
    let row = |revision: u32, next: Option<&str>| Rollout {
        revision,
        closed_by: Some(ClosedBy::IdleTimeout),
        ..crate::judging::rollout(0, &json!([user("a")]), "A", next)
    };
    write_file(&input.join("1.parquet"), &[row(1, Some("Thanks, perfect!"))]).unwrap();
    write_file(&input.join("2.parquet"), &[row(0, None)]).unwrap();
    // A directory as output takes the table's name.
    let summary = summary(&["score", "--input", text(&input), "--output", text(dir.path())]);
    assert_eq!((&summary["scores"], &summary["positive"]), (&json!(1), &json!(1)));
    let scores = read_file::<Score>(&dir.path().join("scores.parquet")).unwrap();
    assert_eq!((scores.len(), scores[0].revision), (1, 1));
}

#[test]
fn pipes_carry_parquet_and_the_summary_goes_to_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("turns.parquet");
    write_file(&file, &turns()).unwrap();
    let input = fs::read(&file).unwrap();
    let output = openclaw(&["collect", "--input", "-", "--output", "-"], &input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let piped = dir.path().join("piped.parquet");
    fs::write(&piped, &output.stdout).unwrap();
    assert_eq!(read_file::<Rollout>(&piped).unwrap().len(), 4);
    assert_eq!(last_json(&output.stderr)["placed"], 4);

    let output = openclaw(&["score", "--input", "-", "--output", "-"], &output.stdout);
    fs::write(&piped, &output.stdout).unwrap();
    assert_eq!(read_file::<Score>(&piped).unwrap().len(), 2);
    assert_eq!(last_json(&output.stderr)["scores"], 2);
}

#[test]
fn what_cannot_be_read_or_written_is_named_and_the_output_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    write_file(Path::new(&path("turns.parquet")), &turns()).unwrap();
    write_file::<Score>(Path::new(&path("scores.parquet")), &[]).unwrap();
    fs::write(path("text.parquet"), "some text").unwrap();
    let whole = fs::read(path("turns.parquet")).unwrap();
    fs::write(path("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("out.parquet"), "before").unwrap();
    let (turns, out) = (path("turns.parquet"), path("out.parquet"));
    let beyond = path("no/such/dir/out.parquet");
    for (input, output, named, code) in [
        (path("none.parquet"), &out, "none.parquet", 2),
        (path("text.parquet"), &out, "text.parquet cannot be read as `turns`", 1),
        (path("cut.parquet"), &out, "cut.parquet cannot be read as `turns`", 1),
        (path("scores.parquet"), &out, "holds the table `scores`, expected `turns`", 2),
        (path("empty"), &out, "holds no Parquet file of the table `turns`", 2),
        (turns.clone(), &turns, "is input and output", 2),
        (turns.clone(), &beyond, "no/such/dir", 2),
    ] {
        let (got, stderr) = refused(&["collect", "--input", &input, "--output", output], b"");
        assert!(stderr.contains(named), "{input}: {stderr}");
        assert!(stderr.contains("hint:"), "{input}: {stderr}");
        assert_eq!(got, Some(code), "{input}: {stderr}");
    }
    assert_eq!(fs::read(&out).unwrap(), b"before");
    assert_eq!(fs::read(&turns).unwrap(), whole);

    let (code, stderr) = refused(&["score", "--input", &turns, "--output", &out], b"");
    assert!(stderr.contains("holds the table `turns`, expected `rollouts`"), "{stderr}");
    assert_eq!(code, Some(2));
    let (code, stderr) = refused(&["score", "--input", "-", "--output", "-"], b"no parquet");
    assert!(stderr.contains("cannot be read as `rollouts`"), "{stderr}");
    assert_eq!(code, Some(1));
}

#[test]
fn input_and_output_go_together_and_not_with_following() {
    for args in [
        &["collect", "--input", "a"][..],
        &["collect", "--output", "a"],
        &["score", "--input", "a", "--output", "b", "--follow"],
        &["collect", "--follow", "--input", "a", "--output", "b"],
    ] {
        let (code, stderr) = refused(args, b"");
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
    }
}
