//! The store on a real directory: round trips, writers side by side, faults, files of old.

mod files;
mod sample;
mod streaming;
mod v1;
mod v2;
mod v3;
mod v4;
mod v5;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use openclaw_rl::config::Home;
use openclaw_rl::fault::Explain;
use openclaw_rl::rollout::{
    Deployment, Feedback, Hint, Placement, Rollout, Score, Step, Turn, TurnId,
};
use openclaw_rl::store::{
    Record, RolloutPart, Store, StoreError, Table, TurnPart, TurnText, read_file, write_file,
};
use sample::Sample;

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Home::new(dir.path())).unwrap();
    (dir, store)
}

fn rows<R: Sample>(seed: u64, count: usize) -> Vec<R> {
    let mut rng = sample::rng(seed);
    (0..count).map(|_| R::sample(&mut rng)).collect()
}

fn round_trip<R: Record + Sample + PartialEq + std::fmt::Debug>() {
    let (dir, store) = open();
    let path = dir.path().join("file.parquet");
    for seed in 0..20 {
        let mut rows = rows::<R>(seed, seed as usize * 5);
        rows.extend(R::extremes());
        write_file(&path, &rows).unwrap();
        assert_eq!(read_file::<R>(&path).unwrap(), rows, "{} seed {seed}", R::TABLE);
    }
    write_file::<R>(&path, &[]).unwrap();
    assert_eq!(read_file::<R>(&path).unwrap(), []);

    let (first, second) = (rows::<R>(100, 3), rows::<R>(101, 40));
    let mut writer = store.writer::<R>("test").unwrap();
    writer.append(&first).unwrap();
    writer.append(&second).unwrap();
    assert_eq!(store.read_all::<R>().unwrap(), [first, second].concat());
}

#[test]
fn every_record_comes_back_as_it_was() {
    round_trip::<Turn>();
    round_trip::<Rollout>();
    round_trip::<Feedback>();
    round_trip::<Score>();
    round_trip::<Hint>();
    round_trip::<Step>();
    round_trip::<Deployment>();
}

#[test]
fn a_logprob_that_is_no_number_is_kept_as_it_is() {
    let (_dir, store) = open();
    let mut turn = rows::<Turn>(1, 1).remove(0);
    turn.response_logprobs = vec![f32::NAN, f32::NEG_INFINITY, -0.0];
    store.writer("test").unwrap().append(&[turn]).unwrap();
    let read = store.read_all::<Turn>().unwrap().remove(0).response_logprobs;
    assert!(read[0].is_nan());
    assert_eq!(read[1], f32::NEG_INFINITY);
    assert_eq!(read[2].to_bits(), (-0.0f32).to_bits());
}

#[test]
fn parts_agree_with_whole_rows() {
    let (_dir, store) = open();
    let turns = rows::<Turn>(3, 50);
    let rollouts = rows::<Rollout>(4, 50);
    store.writer("serve").unwrap().append(&turns).unwrap();
    store.writer("collect").unwrap().append(&rollouts).unwrap();
    let expected: Vec<TurnPart> =
        turns.iter().map(|turn| TurnPart { turn_id: turn.turn_id, status: turn.status }).collect();
    assert_eq!(store.read_all::<TurnPart>().unwrap(), expected);
    let texts = store.read_all::<TurnText>().unwrap();
    for (text, turn) in texts.iter().zip(&turns) {
        assert_eq!((text.turn_id, text.status), (turn.turn_id, turn.status));
        assert_eq!((&text.messages, &text.reply), (&turn.messages, &turn.reply));
        assert_eq!(text.finish_reason, turn.finish_reason);
    }
    let expected: Vec<RolloutPart> = rollouts
        .iter()
        .map(|row| RolloutPart {
            turn_id: row.turn_id,
            session_id: row.session_id.clone(),
            placed_by: row.placed_by.clone(),
            placement: Placement {
                revision: row.revision,
                kind: row.kind,
                closed: row.closed_by.is_some(),
                has_evidence: row.has_evidence(),
                is_retry: row.retry_of.is_some(),
            },
            has_next_state: row.next_state.is_some(),
            regenerated: row.regenerated,
            abandoned: row.abandoned,
            rated_at_us: row.rated.as_ref().map(|rated| rated.given_at_us),
        })
        .collect();
    assert_eq!(store.read_all::<RolloutPart>().unwrap(), expected);
}

#[test]
fn segments_lie_where_the_design_says() {
    let (dir, store) = open();
    let mut writer = store.writer::<Score>("score").unwrap();
    let path = writer.append(&rows(1, 1)).unwrap();
    let expected = "store/scores/w=score/e=00000000000000000000/00000000000000000000.parquet";
    assert_eq!(path, dir.path().join(expected));
    assert_eq!(writer.append(&[]).unwrap(), path.parent().unwrap(), "no rows, no segment");
    assert_eq!(store.segments(Table::Scores).unwrap(), [path]);
    assert!(store.segments(Table::Hints).unwrap().is_empty());
}

#[test]
fn writers_side_by_side_lose_nothing() {
    let (_dir, store) = open();
    let all: Vec<Vec<Score>> = (0..6).map(|seed| rows(seed, 25)).collect();
    std::thread::scope(|scope| {
        for rows in &all {
            let store = store.clone();
            scope.spawn(move || {
                let mut writer = store.writer::<Score>("same").unwrap();
                for row in rows {
                    writer.append(std::slice::from_ref(row)).unwrap();
                }
            });
        }
    });
    let read: BTreeSet<TurnId> =
        store.read_all::<Score>().unwrap().into_iter().map(|row| row.turn_id).collect();
    let expected: BTreeSet<TurnId> = all.iter().flatten().map(|row| row.turn_id).collect();
    assert_eq!(read, expected);
    assert_eq!(store.segments(Table::Scores).unwrap().len(), 150);
    assert_eq!(fs::read_dir(store.root().join(".tmp")).unwrap().count(), 0, "no leftovers");
}

#[test]
fn each_start_takes_a_later_epoch_and_an_unused_one_goes_away() {
    let (_dir, store) = open();
    let epoch = |path: &Path| path.parent().unwrap().file_name().unwrap().to_owned();
    let mut first = store.writer::<Score>("score").unwrap();
    let mut second = store.writer::<Score>("score").unwrap();
    let a = first.append(&rows(1, 1)).unwrap();
    let b = second.append(&rows(2, 1)).unwrap();
    assert!(epoch(&a) < epoch(&b));
    let unused = store.writer::<Score>("score").unwrap();
    let count = || fs::read_dir(store.root().join("scores/w=score")).unwrap().count();
    assert_eq!(count(), 3);
    drop(unused);
    assert_eq!(count(), 2);
}

#[test]
fn a_foreign_segment_under_our_name_fences_the_writer() {
    let (dir, store) = open();
    let mut writer = store.writer::<Score>("score").unwrap();
    let path = writer.append(&rows(1, 1)).unwrap();
    let next = path.with_file_name("00000000000000000001.parquet");
    write_file::<Score>(&next, &rows(2, 1)).unwrap();
    let error = writer.append(&rows(3, 1)).unwrap_err();
    assert!(matches!(&error, StoreError::Fenced { path } if *path == next), "{error}");
    assert!(error.hint().unwrap().contains("second process"));

    // The very same content is no conflict: a put whose answer was lost is done already.
    let mut writer = store.writer::<Score>("score").unwrap();
    let rows = rows::<Score>(4, 1);
    let copy = dir.path().join("copy.parquet");
    write_file(&copy, &rows).unwrap();
    let target = writer.append(&[]).unwrap().join("00000000000000000000.parquet");
    fs::copy(&copy, &target).unwrap();
    assert_eq!(writer.append(&rows).unwrap(), target);
}

#[test]
fn leftovers_of_a_crash_are_not_read() {
    let (_dir, store) = open();
    let mut writer = store.writer::<Score>("score").unwrap();
    let path = writer.append(&rows(1, 2)).unwrap();
    let table = store.root().join("scores");
    fs::write(store.root().join(".tmp/abc.tmp"), b"PAR1 half a file").unwrap();
    fs::write(path.with_file_name("00000000000000000001.parquet.tmp"), b"x").unwrap();
    fs::write(path.with_file_name("notes.txt"), b"x").unwrap();
    fs::write(path.with_file_name("1.parquet"), b"x").unwrap();
    fs::create_dir_all(table.join("w=score/e=00000000000000000009")).unwrap();
    fs::create_dir_all(table.join("w=dead/e=00000000000000000000")).unwrap();
    fs::write(table.join("w=file"), b"x").unwrap();
    assert_eq!(store.read_all::<Score>().unwrap().len(), 2);
    let polled = store.tail::<Score>().poll();
    assert_eq!((polled.rows.len(), polled.broken.len()), (2, 0));
    let path = store.writer::<Score>("score").unwrap().append(&rows(2, 1)).unwrap();
    assert!(path.to_string_lossy().contains("e=00000000000000000010"));
}

#[test]
fn a_tail_sees_each_row_once_while_writers_append() {
    let (_dir, store) = open();
    let expected: Vec<Score> = rows(9, 120);
    let mut tail = store.tail::<Score>();
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        let halves: Vec<_> = expected
            .chunks(60)
            .map(|half| {
                let store = store.clone();
                scope.spawn(move || {
                    for part in half.chunks(20) {
                        let mut writer = store.writer::<Score>("score").unwrap();
                        for rows in part.chunks(3) {
                            writer.append(rows).unwrap();
                        }
                    }
                })
            })
            .collect();
        while halves.iter().any(|half| !half.is_finished()) {
            let polled = tail.poll();
            assert!(polled.broken.is_empty());
            seen.extend(polled.rows);
        }
    });
    seen.extend(tail.poll().rows);
    assert!(tail.poll().rows.is_empty());
    let key = |row: &Score| row.turn_id;
    let mut expected = expected;
    expected.sort_by_key(key);
    seen.sort_by_key(key);
    assert_eq!(seen, expected);
}

#[test]
fn a_broken_segment_is_reported_once_and_read_when_it_is_mended() {
    let (_dir, store) = open();
    let mut writer = store.writer::<Score>("score").unwrap();
    let paths: Vec<PathBuf> = (0..4).map(|seed| writer.append(&rows(seed, 2)).unwrap()).collect();
    let whole = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &whole[..whole.len() / 2]).unwrap();

    let error = store.read_all::<Score>().unwrap_err();
    assert!(error.to_string().contains(paths[1].to_str().unwrap()), "{error}");
    assert!(error.hint().unwrap().contains("store verify"));
    assert_eq!((error.label(), error.exit_code()), ("store_broken", 1));

    let mut tail = store.tail::<Score>();
    let polled = tail.poll();
    assert_eq!((polled.rows.len(), polled.broken.len()), (6, 1));
    let polled = tail.poll();
    assert_eq!((polled.rows.len(), polled.broken.len()), (0, 0), "reported once");
    fs::write(&paths[1], &whole[..whole.len() / 3]).unwrap();
    assert_eq!(tail.poll().broken.len(), 1, "reported again when it changed");
    writer.append(&rows(4, 1)).unwrap();
    assert_eq!(tail.poll().rows.len(), 1, "what comes after is read");
    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(tail.poll().broken.len(), 0);
    fs::write(&paths[1], &whole).unwrap();
    assert_eq!(tail.poll().rows, rows::<Score>(1, 2), "mended");
    assert!(tail.poll().rows.is_empty());
}

#[test]
fn a_segment_that_was_moved_away_does_not_hide_the_later_ones() {
    let (dir, store) = open();
    let mut writer = store.writer::<Score>("score").unwrap();
    let paths: Vec<PathBuf> = (0..3).map(|seed| writer.append(&rows(seed, 1)).unwrap()).collect();
    let away = dir.path().join("away.parquet");
    fs::rename(&paths[1], &away).unwrap();
    let mut tail = store.tail::<Score>();
    assert_eq!(tail.poll().rows.len(), 2);
    writer.append(&rows(3, 1)).unwrap();
    assert_eq!(tail.poll().rows, rows::<Score>(3, 1));
    fs::rename(&away, &paths[1]).unwrap();
    assert_eq!(tail.poll().rows, rows::<Score>(1, 1));
}

#[test]
fn damage_is_found_and_never_panics() {
    let (dir, _store) = open();
    let path = dir.path().join("file.parquet");
    write_file::<Turn>(&path, &rows(5, 100)).unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(101) {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = read_file::<Turn>(&path).unwrap_err();
        assert!(matches!(error, StoreError::Broken { .. }), "cut at {cut}: {error}");
    }
    for at in (0..whole.len()).step_by(53) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        let read = read_file::<Turn>(&path);
        // The first half of the file is data, which the checksum covers; the footer is not.
        assert!(at > whole.len() / 2 || read.is_err(), "byte {at}");
    }
}
