//! `collect` on a real store.

use std::time::Duration;

use openclaw_rl::config::CollectConfig;
use openclaw_rl::events::{heartbeat, now_us};
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{ClosedBy, Feedback, Rated, Rating, Rollout, Turn, TurnId, TurnStatus};
use openclaw_rl::stage::collect::{CollectError, CollectSummary, run};
use openclaw_rl::store::{Table, rows_of, write_file};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::judging::{House, SECOND, assistant, house, turn, user};

async fn once(house: &House, close_all: bool) -> CollectSummary {
    let config = CollectConfig { close_all, ..CollectConfig::default() };
    run(&config, &house.home, CancellationToken::new()).await.unwrap()
}

fn talk(start_us: i64) -> [Turn; 3] {
    let (a, b) = (assistant("A"), assistant("B"));
    [
        turn(0, start_us, &json!([user("a")]), "A"),
        turn(1, start_us, &json!([user("a"), a, user("b")]), "B"),
        turn(2, start_us, &json!([user("a"), a, user("b"), b, user("c")]), "C"),
    ]
}

/// The row of each turn that counts, in order of their ids. The revisions of a turn are numbered
/// without a gap, and none is there twice.
fn newest(house: &House) -> Vec<Rollout> {
    let mut rows = house.read::<Rollout>();
    rows.sort_by_key(|row| (row.turn_id, row.revision));
    let mut newest: Vec<Rollout> = Vec::new();
    for row in rows {
        match newest.last_mut().filter(|last| last.turn_id == row.turn_id) {
            Some(last) => {
                assert_eq!(row.revision, last.revision + 1);
                *last = row;
            }
            None => {
                assert_eq!(row.revision, 0);
                newest.push(row);
            }
        }
    }
    newest
}

fn closings(house: &House) -> Vec<Option<ClosedBy>> {
    newest(house).iter().map(|row| row.closed_by).collect()
}

fn verdict(turn: &Turn, rating: Rating, given_at_us: i64) -> Feedback {
    let rated = Rated { rating, text: None, given_at_us };
    Feedback { turn_id: turn.turn_id, user: turn.user.clone(), rated }
}

/// Follows the store while `feed` runs, and then until `done` holds; leaves as it is told.
async fn follow(house: &House, done: impl Fn(&[Rollout]) -> bool) -> CollectSummary {
    let shutdown = CancellationToken::new();
    let config = CollectConfig { follow: true, poll_ms: 5, ..CollectConfig::default() };
    let watch = async {
        for _ in 0..2_000 {
            if done(&house.read::<Rollout>()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(run(&config, &house.home, shutdown.clone()), watch);
    summary.unwrap()
}

#[tokio::test]
async fn one_shot_places_everything_and_a_second_run_adds_nothing() {
    let house = house();
    house.write(&talk(now_us()));
    let first = once(&house, false).await;
    assert_eq!((first.turns, first.rollouts, first.placed, first.open), (3, 3, 3, 1));
    assert_eq!(closings(&house), [Some(ClosedBy::NextTurn), Some(ClosedBy::NextTurn), None]);
    let again = once(&house, false).await;
    assert_eq!((again.turns, again.rollouts, again.open), (3, 0, 1));
    let rest = once(&house, true).await;
    assert_eq!((rest.rollouts, rest.placed, rest.open), (1, 0, 0));
    let rows = newest(&house);
    assert_eq!(rows.iter().map(|row| row.revision).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(rows[0].next_state.as_deref(), Some(r#"[{"role":"user","content":"b"}]"#));
    assert!(rows.iter().all(|row| row.session_id == rows[0].session_id));
    assert_eq!(rows.iter().map(|row| row.turn_index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(once(&house, true).await.rollouts, 0);
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_taken_up_where_it_was() {
    let house = house();
    let [first, second, third] = talk(now_us());
    house.write(&[first, second]);
    assert_eq!(once(&house, false).await.rollouts, 2);
    house.write(&[third]);
    let summary = once(&house, true).await;
    assert_eq!((summary.turns, summary.rollouts, summary.placed), (3, 2, 1));
    let rows = newest(&house);
    assert_eq!(rows[1].closed_by, Some(ClosedBy::NextTurn));
    assert_eq!((rows[1].revision, rows[2].revision, rows[2].turn_index), (1, 0, 2));
    assert_eq!(rows[2].session_id, rows[0].session_id);
}

#[tokio::test]
async fn what_a_kill_kept_from_being_written_is_written_by_the_next_run() {
    let whole = house();
    whole.write(&talk(now_us()));
    once(&whole, false).await;
    once(&whole, true).await;
    let expected = newest(&whole);
    let segments = whole.store.segments(Table::Rollouts).unwrap();
    assert_eq!(segments.len(), 2, "the second run closed the last turn");
    for killed in [&segments[1..], &segments[..]] {
        let house = house();
        house.write(&whole.read::<Turn>());
        once(&house, false).await;
        once(&house, true).await;
        for path in house.store.segments(Table::Rollouts).unwrap().iter().rev().take(killed.len()) {
            std::fs::remove_file(path).unwrap();
        }
        once(&house, true).await;
        let mut rows = newest(&house);
        rows.iter_mut().zip(&expected).for_each(|(row, expected)| {
            // When it was closed, and in how many steps, may differ.
            (row.revision, row.closed_at_us) = (expected.revision, expected.closed_at_us);
        });
        assert_eq!(rows, expected);
    }
}

#[tokio::test]
async fn what_has_been_quiet_for_long_is_closed_without_being_told() {
    let house = house();
    house.write(&talk(now_us() - 7_200 * SECOND));
    let summary = once(&house, false).await;
    assert_eq!((summary.rollouts, summary.open), (3, 0));
    assert_eq!(house.read::<Rollout>()[2].closed_by, Some(ClosedBy::IdleTimeout));
}

#[tokio::test]
async fn a_truncated_segment_is_left_out_and_counted_and_the_others_are_read() {
    let house = house();
    let [first, second, third] = talk(now_us());
    house.write(&[first]);
    house.write(&[second, third]);
    let path = &house.store.segments(Table::Turns).unwrap()[0];
    let whole = std::fs::read(path).unwrap();
    std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    let summary = once(&house, true).await;
    assert_eq!((summary.turns, summary.rollouts, summary.unread_segments), (2, 2, 1));
    std::fs::write(path, whole).unwrap();
    assert_eq!(once(&house, true).await.placed, 1);
    assert_eq!(newest(&house).len(), 3);
}

#[tokio::test]
async fn turns_with_rows_that_cannot_be_read_get_no_second_first_row() {
    let house = house();
    house.write(&talk(now_us()));
    once(&house, false).await;
    let path = house.store.segments(Table::Rollouts).unwrap().remove(0);
    let whole = std::fs::read(&path).unwrap();
    // Without a footer, and with one: one byte of the data is another.
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &flipped] {
        std::fs::write(&path, damaged).unwrap();
        let summary = once(&house, true).await;
        assert_eq!((summary.rollouts, summary.unread_segments, summary.unwritten), (0, 1, 3));
    }
    // A turn that is younger than the file has no row in it.
    let young = TurnId(((now_us() / 1_000 + 3_600_000) as u128) << 80);
    let [first, ..] = talk(now_us() + 60 * SECOND);
    house.write(&[Turn { turn_id: young, user: "else".to_owned(), ..first }]);
    let summary = once(&house, false).await;
    assert_eq!((summary.placed, summary.unwritten), (1, 3));

    // A daemon goes on with the others as soon as the file is mended.
    let mend = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::fs::write(&path, &whole).unwrap();
    };
    let shut = |rows: &[Rollout]| rows.len() > 3;
    let read = || house.store.read_all::<Rollout>().unwrap_or_default();
    let shutdown = CancellationToken::new();
    let config = CollectConfig { follow: true, poll_ms: 5, ..CollectConfig::default() };
    let watch = async {
        for _ in 0..400 {
            if shut(&read()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.cancel();
    };
    let (ended, (), ()) = tokio::join!(run(&config, &house.home, shutdown.clone()), watch, mend);
    assert_eq!(ended.unwrap().unwritten, 0);
    let rows = newest(&house);
    assert_eq!((rows.len(), rows[2].closed_by), (4, Some(ClosedBy::Shutdown)));

    // One that was moved away is written anew.
    for path in house.store.segments(Table::Rollouts).unwrap() {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(once(&house, true).await.placed, 4);
}

#[tokio::test]
async fn turns_of_two_servers_are_placed_in_the_order_in_which_they_ended() {
    let house = house();
    let [first, second, third] = talk(now_us());
    // By writer, the second turn would come last.
    house.store.writer::<Turn>("serve-a").unwrap().append(&[first, third]).unwrap();
    house.store.writer::<Turn>("serve-b").unwrap().append(&[second]).unwrap();
    once(&house, true).await;
    let rows = newest(&house);
    assert_eq!(rows.iter().map(|row| row.turn_index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(rows[0].next_state.as_deref(), Some(r#"[{"role":"user","content":"b"}]"#));
}

#[tokio::test]
async fn a_daemon_gives_each_turn_its_row_at_once_and_closes_what_is_open_when_it_leaves() {
    let house = house();
    let [first, second, third] = talk(now_us());
    house.write(&[first]);
    let summary = follow(&house, |rows| rows.len() == 1).await;
    assert_eq!((summary.placed, summary.rollouts, summary.open), (1, 2, 0));
    assert_eq!(closings(&house), [Some(ClosedBy::Shutdown)]);
    let beat = heartbeat::read(&house.home.state("collect")).unwrap();
    assert_eq!((beat.doing.as_str(), beat.figures["open"]), ("done", 0.0));

    // What comes later is more evidence for a turn that the shutdown closed.
    house.write(&[second]);
    let seen = |rows: &[Rollout]| rows.iter().any(|row| row.next_state.is_some());
    let summary = follow(&house, seen).await;
    assert_eq!((summary.placed, summary.with_next_state), (1, 1));
    let rows = newest(&house);
    assert_eq!(rows[0].next_state.as_deref(), Some(r#"[{"role":"user","content":"b"}]"#));
    assert_eq!((rows[0].revision, rows[1].revision), (2, 1));

    // Nothing new, nothing written, however often it starts and leaves.
    let before = house.read::<Rollout>().len();
    assert_eq!(follow(&house, |_| true).await.rollouts, 0);
    assert_eq!(house.read::<Rollout>().len(), before);

    // A turn that is recorded while it follows counts for the lag.
    let write = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        house.write(&[Turn { finished_at_us: now_us(), ..third }]);
    };
    let placed = |rows: &[Rollout]| rows.iter().any(|row| row.turn_index == 2);
    let (summary, ()) = tokio::join!(follow(&house, placed), write);
    let lag = summary.lag_ms_p95.expect("a lag");
    assert!(lag < 5_000, "{lag}");
}

#[tokio::test]
async fn a_daemon_that_finds_much_at_once_does_not_hold_it_all_back() {
    let house = house();
    let start = now_us() - 3_600 * SECOND;
    let mut turns: Vec<Turn> =
        (0..1_100).map(|number| turn(number, start, &json!([user("a")]), "A")).collect();
    turns.iter_mut().for_each(|turn| turn.session_keys = r#"{"x-turn-type":"side"}"#.to_owned());
    // Of the first ones the lag is an hour.
    turns[1_030..].iter_mut().for_each(|turn| turn.finished_at_us = now_us());
    let write = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        house.write(&turns);
    };
    let (summary, ()) = tokio::join!(follow(&house, |rows| rows.len() == turns.len()), write);
    assert_eq!((summary.placed, summary.side), (1_100, 1_100));
    let segments = house.store.segments(Table::Rollouts).unwrap();
    let rows: Vec<u64> =
        segments.iter().map(|path| rows_of(path, Table::Rollouts).unwrap()).collect();
    assert_eq!(rows, [1_000, 24, 76], "what is closed is written before all is read");
    assert!(summary.lag_ms_p50 > Some(1_000_000), "{summary:?}");
}

#[tokio::test]
async fn a_verdict_is_added_to_a_turn_that_was_closed_long_ago() {
    let house = house();
    let turns = talk(now_us() - 86_400 * SECOND);
    house.write(&turns);
    once(&house, false).await;
    let mut feedback = house.store.writer::<Feedback>("serve").unwrap();
    feedback.append(&[verdict(&turns[0], Rating::Down, now_us())]).unwrap();
    let summary = once(&house, false).await;
    assert_eq!((summary.feedback, summary.rollouts), (1, 1));
    let row = newest(&house).remove(0);
    assert_eq!(row.rated.as_ref().unwrap().rating, Rating::Down);
    assert!(row.next_state.is_some(), "what was known is kept");
    assert_eq!((row.revision, row.closed_by), (1, Some(ClosedBy::NextTurn)));
    assert_eq!(once(&house, false).await.rollouts, 0);
    feedback.append(&[verdict(&turns[0], Rating::Up, now_us())]).unwrap();
    assert_eq!(once(&house, false).await.rollouts, 1);
    assert_eq!(newest(&house)[0].rated.as_ref().unwrap().rating, Rating::Up);
}

#[tokio::test]
async fn a_verdict_closes_an_open_turn_and_the_next_state_comes_on_top() {
    let house = house();
    let [first, second, _] = talk(now_us());
    house.write(std::slice::from_ref(&first));
    house.write(&[verdict(&first, Rating::Up, now_us())]);
    once(&house, false).await;
    assert_eq!(closings(&house), [Some(ClosedBy::Feedback)]);
    house.write(&[second]);
    once(&house, false).await;
    let rated: Vec<bool> = house
        .read::<Rollout>()
        .iter()
        .filter(|row| row.turn_id == first.turn_id)
        .map(|row| row.rated.is_some())
        .collect();
    assert_eq!(rated, [true, true], "no revision says less than the one before");
    assert!(newest(&house)[0].next_state.is_some());
    assert_eq!(once(&house, false).await.rollouts, 0);
}

#[tokio::test]
async fn a_verdict_on_an_unknown_turn_is_counted_and_waits_for_it() {
    let house = house();
    let [first, second, _] = talk(now_us());
    house.write(&[verdict(&first, Rating::Up, now_us())]);
    house.write(std::slice::from_ref(&second));
    let summary = once(&house, false).await;
    assert_eq!((summary.feedback, summary.feedback_unknown, summary.placed), (1, 1, 1));
    assert!(newest(&house)[0].rated.is_none());
    let write = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.write(&[first]);
    };
    let rated = |rows: &[Rollout]| rows.iter().any(|row| row.rated.is_some());
    let (summary, ()) = tokio::join!(follow(&house, rated), write);
    assert_eq!(summary.feedback_unknown, 0);
}

#[tokio::test]
async fn what_nobody_may_learn_from_has_no_row() {
    let house = house();
    let [first, second, _] = talk(now_us());
    let hidden = Turn {
        status: TurnStatus::DoNotTrain,
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        session_keys: r#"{"do_not_train":"header"}"#.to_owned(),
        ..first.clone()
    };
    house.write(&[hidden, second]);
    house.write(&[verdict(&first, Rating::Up, now_us())]);
    let summary = once(&house, true).await;
    assert_eq!((summary.turns, summary.placed, summary.do_not_train), (2, 1, 1));
    assert_eq!(summary.feedback_unknown, 0, "the turn is known, and stays without a row");
    assert_eq!(newest(&house).len(), 1);
}

#[tokio::test]
async fn an_error_closes_nothing_and_is_told() {
    let house = house();
    house.write(&talk(now_us()));
    std::fs::write(house.store.root().join("rollouts"), "in the way").unwrap();
    let error = run(&CollectConfig::default(), &house.home, CancellationToken::new()).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("rollouts"), "{error}");
    assert_eq!((error.label(), error.exit_code()), ("store_io", 2));
    assert!(error.hint().is_some());

    // The same in the middle: there is no room for temporary files any more.
    std::fs::remove_file(house.store.root().join("rollouts")).unwrap();
    let shutdown = CancellationToken::new();
    let config = CollectConfig { follow: true, poll_ms: 5, ..CollectConfig::default() };
    let break_it = async {
        while house.read::<Rollout>().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let temporary = house.store.root().join(".tmp");
        std::fs::remove_dir_all(&temporary).unwrap();
        std::fs::write(&temporary, "in the way").unwrap();
        let [more, ..] = talk(now_us());
        let epoch = house.store.root().join("turns/w=late/e=00000000000000000000");
        std::fs::create_dir_all(&epoch).unwrap();
        let path = epoch.join("00000000000000000000.parquet");
        write_file(&path, &[Turn { turn_id: TurnId(77), ..more }]).unwrap();
    };
    let (ended, ()) = tokio::join!(run(&config, &house.home, shutdown), break_it);
    assert_eq!(ended.unwrap_err().label(), "store_io");
    let beat = heartbeat::read(&house.home.state("collect")).unwrap();
    assert_eq!(beat.doing, "failing: store_io");
    let shut = |row: &Rollout| row.closed_by == Some(ClosedBy::Shutdown);
    assert!(!house.read::<Rollout>().iter().any(shut));
}

#[tokio::test]
async fn a_wrong_value_is_named() {
    let house = house();
    let config = CollectConfig { poll_ms: 0, ..CollectConfig::default() };
    let error = run(&config, &house.home, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, CollectError::Config(_)), "{error}");
    assert!(error.to_string().contains("poll_ms"), "{error}");
    assert_eq!(error.exit_code(), 2);
}
