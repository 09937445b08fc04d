//! `collect` on a real store.

use std::time::Duration;

use openclaw_rl::config::CollectConfig;
use openclaw_rl::events::{heartbeat, now_us};
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{ClosedBy, Rollout, Turn};
use openclaw_rl::stage::collect::{CollectError, CollectSummary, run};
use openclaw_rl::store::Table;
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

#[tokio::test]
async fn one_shot_closes_what_is_closed_and_a_second_run_adds_nothing() {
    let house = house();
    house.write(&talk(now_us()));
    let first = once(&house, false).await;
    assert_eq!((first.turns, first.rollouts, first.open), (3, 2, 1));
    let again = once(&house, false).await;
    assert_eq!((again.turns, again.rollouts, again.open), (3, 0, 1));
    let rest = once(&house, true).await;
    assert_eq!((rest.rollouts, rest.open), (1, 0));
    let rows = house.read::<Rollout>();
    assert_eq!(rows.len(), 3);
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
    assert_eq!(once(&house, false).await.rollouts, 1);
    house.write(&[third]);
    let summary = once(&house, true).await;
    assert_eq!((summary.turns, summary.rollouts), (3, 2));
    let rows = house.read::<Rollout>();
    assert_eq!(rows[1].closed_by, Some(ClosedBy::NextTurn));
    assert_eq!(rows[2].turn_index, 2);
    assert_eq!(rows[2].session_id, rows[0].session_id);
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
    assert_eq!(once(&house, true).await.rollouts, 1);
    assert_eq!(house.read::<Rollout>().len(), 3);
}

#[tokio::test]
async fn a_daemon_places_turns_as_they_come_and_leaves_when_told() {
    let house = house();
    let shutdown = CancellationToken::new();
    let config = CollectConfig { follow: true, poll_ms: 5, ..CollectConfig::default() };
    let feed = async {
        for turn in talk(now_us()) {
            house.write(&[turn]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..1_000 {
            if house.read::<Rollout>().len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(run(&config, &house.home, shutdown.clone()), feed);
    assert_eq!(summary.unwrap().rollouts, 2);
    let beat = heartbeat::read(&house.home.state("collect")).unwrap();
    assert_eq!(beat.doing, "done");
    assert_eq!(beat.figures["open"], 1.0);
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
