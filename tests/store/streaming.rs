//! Reading a few rows at a time: the same rows as all at once, in order, and those of one turn.

use std::fs;
use std::path::{Path, PathBuf};

use openclaw_rl::rollout::{Rollout, Turn, TurnId};
use openclaw_rl::store::{
    FileWriter, Located, Record, RolloutPart, StoreError, Table, TurnText, Turns, TurnsItem, files,
    output_file, read_file, rows, rows_of, write_file,
};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{open, rows as sampled};

/// A turn that ended at this second.
fn at(second: i64) -> Turn {
    let mut turn = sampled::<Turn>(second as u64, 1).remove(0);
    turn.finished_at_us = second * 1_000_000;
    turn.turn_id = TurnId(second as u128);
    turn
}

/// When the turns of some files ended, in the order in which they come, and how often reading a
/// file failed.
fn order<L: Located + Send>(turns: Turns<L>) -> (Vec<i64>, usize) {
    let (mut seconds, mut failed) = (Vec::new(), 0);
    for item in turns {
        match item {
            TurnsItem::Turn(turn) => seconds.push(turn.finished_at_us / 1_000_000),
            TurnsItem::Read(_) => {}
            TurnsItem::Unread(..) => failed += 1,
        }
    }
    (seconds, failed)
}

#[test]
fn streaming_gives_the_rows_of_reading_at_once() {
    let (dir, _store) = open();
    let path = dir.path().join("file.parquet");
    for count in [0, 1, 31, 32, 33, 1_000] {
        let turns = sampled::<Turn>(7, count);
        // In several row groups, of which some end in the middle of a batch.
        grouped(&path, &turns, 45);
        assert_eq!(groups(&path), count.div_ceil(45));
        let streamed: Vec<Turn> =
            rows::<Turn>(&path).unwrap().flat_map(|batch| batch.unwrap()).collect();
        assert_eq!(streamed, turns);
        assert_eq!(read_file::<Turn>(&path).unwrap(), turns);
        assert_eq!(rows_of(&path, Table::Turns).unwrap(), count as u64);
        assert!(rows::<Turn>(&path).unwrap().all(|batch| batch.unwrap().len() <= 32));
        let texts: Vec<TurnText> =
            rows::<TurnText>(&path).unwrap().flat_map(|batch| batch.unwrap()).collect();
        assert_eq!(texts, turns.iter().map(text).collect::<Vec<_>>());
    }
}

fn text(turn: &Turn) -> TurnText {
    TurnText {
        turn_id: turn.turn_id,
        received_at_us: turn.received_at_us,
        finished_at_us: turn.finished_at_us,
        user: turn.user.clone(),
        session_keys: turn.session_keys.clone(),
        messages: turn.messages.clone(),
        tools: turn.tools.clone(),
        reply: turn.reply.clone(),
        finish_reason: turn.finish_reason,
        status: turn.status,
    }
}

/// Writes a file with a row group for every so many rows.
fn grouped<R: Record>(path: &Path, rows: &[R], each: usize) {
    let mut writer = FileWriter::create(path).unwrap().grouping(each);
    rows.chunks(each).for_each(|rows| writer.write(rows).unwrap());
    writer.finish().unwrap();
}

fn groups(path: &Path) -> usize {
    SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap().num_row_groups()
}

#[test]
fn a_file_begins_with_its_earliest_turn_in_whatever_row_group_that_is() {
    let (dir, _store) = open();
    let (late, early) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
    // The first group is the latest; the earliest one is neither the first nor the last.
    let seconds: Vec<i64> = (60..90).chain(0..30).chain(30..60).collect();
    grouped(&late, &seconds.iter().map(|n| at(n * 2)).collect::<Vec<_>>(), 30);
    grouped(&early, &seconds.iter().map(|n| at(n * 2 + 1)).collect::<Vec<_>>(), 30);
    assert_eq!((groups(&late), groups(&early)), (3, 3));
    for files in [[late.clone(), early.clone()], [early, late]] {
        assert_eq!(order(Turns::new(files.to_vec())), ((0..180).collect(), 0));
    }
}

#[test]
fn a_turn_is_found_in_whatever_row_group_it_is() {
    let (_dir, store) = open();
    let row = |turn: u128| {
        let mut row = sampled::<Rollout>(turn as u64, 1).remove(0);
        row.turn_id = TurnId(turn);
        row
    };
    let mut writer = store.writer::<Rollout>("collect").unwrap();
    let path = writer.append(&[row(1)]).unwrap();
    let turns: Vec<u128> = (40..50).chain(10..20).chain(70..80).chain(20..30).collect();
    grouped(&path, &turns.iter().map(|turn| row(*turn)).collect::<Vec<_>>(), 10);
    assert_eq!(groups(&path), 4);
    let mut finder = store.finder::<Rollout>();
    for turn in [10, 19, 25, 40, 49, 70, 79] {
        assert_eq!(finder.find(TurnId(turn)).rows, [row(turn)], "{turn}");
    }
    for turn in [0, 9, 30, 60, 80] {
        assert!(finder.find(TurnId(turn)).rows.is_empty(), "{turn}");
    }
}

/// A file that is too large to be read into memory at once.
fn large(path: &Path) -> Vec<Turn> {
    let mut turns = sampled::<Turn>(3, 300);
    for (number, turn) in turns.iter_mut().enumerate() {
        turn.prompt_ids =
            (0..8_000_u32).map(|at| at.wrapping_mul(2_654_435_761) >> (number % 8)).collect();
    }
    write_file(path, &turns).unwrap();
    assert!(fs::metadata(path).unwrap().len() > 1 << 20);
    turns
}

#[test]
fn a_large_file_is_checked_before_its_first_row() {
    let (dir, _store) = open();
    let path = dir.path().join("file.parquet");
    let turns = large(&path);
    assert_eq!(read_file::<Turn>(&path).unwrap(), turns);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len() / 2).step_by(99_991) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        let error = rows::<Turn>(&path).err().expect("damage that is not found");
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    }
    for cut in [0, 1 << 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = rows::<Turn>(&path).err().expect("a cut that is not found");
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
    }
}

#[test]
fn a_part_is_read_without_the_columns_that_it_does_not_name() {
    let (dir, _store) = open();
    let path = dir.path().join("file.parquet");
    let turns = sampled::<Turn>(5, 40);
    let write = |turns: &[Turn]| write_file(&path, turns).unwrap();
    write(&turns);
    let parts = read_file::<openclaw_rl::store::TurnPart>(&path).unwrap();
    let expected = turns.iter().map(|turn| (turn.turn_id, turn.status));
    let parts = parts.iter().map(|part| (part.turn_id, part.status));
    assert_eq!(parts.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let rollouts = sampled::<Rollout>(6, 70);
    write_file(&path, &rollouts).unwrap();
    let parts = read_file::<RolloutPart>(&path).unwrap();
    let parts = parts.iter().map(|part| (part.turn_id, &part.placed_by, part.abandoned));
    let expected = rollouts.iter().map(|row| (row.turn_id, &row.placed_by, row.abandoned));
    assert_eq!(parts.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn turns_come_in_the_order_in_which_they_ended() {
    let (dir, store) = open();
    // Two servers at the same time, and one that was started again later.
    let mut first = store.writer::<Turn>("serve-a").unwrap();
    let mut second = store.writer::<Turn>("serve-b").unwrap();
    first.append(&[at(1), at(4), at(3)]).unwrap();
    second.append(&[at(2), at(6)]).unwrap();
    second.append(&[at(5)]).unwrap();
    first.append(&[at(7), at(10)]).unwrap();
    let mut third = store.writer::<Turn>("serve-a").unwrap();
    third.append(&[at(8), at(9)]).unwrap();
    let found = store.tail::<TurnText>().find();
    assert_eq!(found.segments.len(), 5);
    assert_eq!(order(Turns::new(found.segments)), ((1..=10).collect(), 0));

    // One large file, out of order by less than what is read ahead, and another one within it.
    let (long, short) = (dir.path().join("long.parquet"), dir.path().join("short.parquet"));
    let mut turns: Vec<Turn> = (0..2_000).filter(|n| n % 10 != 0).map(at).collect();
    turns.chunks_mut(50).for_each(<[Turn]>::reverse);
    write_file(&long, &turns).unwrap();
    write_file(&short, &(0..200).map(|n| at(n * 10)).collect::<Vec<_>>()).unwrap();
    let paths = vec![long.clone(), short.clone()];
    assert_eq!(order(Turns::new(paths.clone())), ((0..2_000).collect(), 0));

    // Where nothing may be held back the order is near, and nothing is lost.
    let (mut seconds, failed) = order(Turns::new(paths.clone()).holding(0));
    assert_eq!((seconds.len(), failed), (2_000, 0));
    seconds.sort_unstable();
    assert_eq!(seconds, (0..2_000).collect::<Vec<_>>());

    fs::write(&short, "PAR1").unwrap();
    let (seconds, failed) = order(Turns::new(paths));
    assert_eq!((seconds.len(), failed), (1_800, 1), "the others are read all the same");
}

#[test]
fn the_rows_of_one_turn_are_found_the_newest_first() {
    let (_dir, store) = open();
    let row = |turn: u128, revision: u32| {
        let mut row = sampled::<Rollout>(turn as u64, 1).remove(0);
        (row.turn_id, row.revision) = (TurnId(turn), revision);
        row
    };
    let mut writer = store.writer::<Rollout>("collect").unwrap();
    writer.append(&(0..100).map(|n| row(n, 0)).collect::<Vec<_>>()).unwrap();
    writer.append(&(100..200).map(|n| row(n, 0)).collect::<Vec<_>>()).unwrap();
    let mut finder = store.finder::<Rollout>();
    assert_eq!(finder.find(TurnId(150)).rows, [row(150, 0)]);
    let late = writer.append(&[row(150, 1), row(7, 1)]).unwrap();
    let sought = finder.find(TurnId(150));
    assert_eq!((sought.rows, sought.broken.len()), (vec![row(150, 1), row(150, 0)], 0));
    assert_eq!(store.find::<Rollout>(TurnId(7)).rows, [row(7, 1), row(7, 0)]);
    assert!(store.find::<Rollout>(TurnId(500)).rows.is_empty());

    fs::write(late, "PAR1").unwrap();
    let sought = store.find::<Rollout>(TurnId(7));
    assert_eq!((sought.rows, sought.broken.len()), (vec![row(7, 0)], 1));
    assert!(store.find::<Turn>(TurnId(7)).rows.is_empty(), "another table");
}

#[test]
fn a_directory_gives_its_files_of_the_table() {
    let (dir, store) = open();
    store.writer::<Turn>("serve").unwrap().append(&[at(1)]).unwrap();
    store.writer::<Rollout>("collect").unwrap().append(&sampled(1, 1)).unwrap();
    let turns = files(store.root(), Table::Turns).unwrap();
    assert_eq!(turns, store.segments(Table::Turns).unwrap());
    assert_eq!(files(&turns[0], Table::Rollouts).unwrap(), turns, "a named file is taken at word");
    let error = files(store.root(), Table::Scores).unwrap_err();
    assert!(error.to_string().ends_with("holds no Parquet file of the table `scores`"), "{error}");
    let error = files(&dir.path().join("nowhere"), Table::Turns).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");

    let outside = output_file(dir.path(), Table::Rollouts, &turns).unwrap();
    assert_eq!(outside, dir.path().join("rollouts.parquet"));
    let same = output_file(&turns[0], Table::Rollouts, &turns).unwrap_err();
    assert!(matches!(same, StoreError::SameFile { .. }), "{same}");
    let missing: PathBuf = dir.path().join("no/such/file.parquet");
    let error = output_file(&missing, Table::Rollouts, &turns).unwrap_err();
    assert!(error.to_string().contains("no/such"), "{error}");
}

#[test]
fn a_file_is_not_to_be_seen_before_it_is_finished() {
    let (dir, _store) = open();
    let path = dir.path().join("turns.parquet");
    let mut writer = FileWriter::create(&path).unwrap();
    writer.write(&[at(1)]).unwrap();
    assert!(!path.exists());
    drop(writer);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.path().is_dir()), "{left:?}");
}
