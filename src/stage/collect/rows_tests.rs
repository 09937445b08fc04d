//! Which rows are written, on a real store.

use crate::config::Home;
use crate::rollout::{ClosedBy, Rated, Rating, Rollout, TurnId, TurnKind};
use crate::store::{RolloutPart, Store, Table};

use super::rows::Rows;
use super::{Change, CollectSummary, Late};

const TURN: TurnId = TurnId(7);

/// A row of a closed turn.
pub fn row(turn: TurnId) -> Rollout {
    Rollout {
        turn_id: turn,
        revision: 0,
        session_id: "s".to_owned(),
        generation: "0".to_owned(),
        turn_index: 0,
        kind: TurnKind::Main,
        placed_by: "test".to_owned(),
        messages: "[]".to_owned(),
        reply: "{}".to_owned(),
        next_state: None,
        closed_by: Some(ClosedBy::NextTurn),
        closed_at_us: Some(1),
        retry_of: None,
        regenerated: 0,
        abandoned: false,
        rated: None,
    }
}

/// A table, and what is being written to it.
struct Desk {
    store: Store,
    rows: Rows,
    summary: CollectSummary,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::new(dir.path())).unwrap();
        let rows = Rows::open(&store).unwrap();
        Self { store, rows, summary: CollectSummary::default(), _dir: dir }
    }

    /// The same table, by a program that was started again.
    fn again(&mut self) {
        self.rows = Rows::open(&self.store).unwrap();
        for row in self.store.read_all::<RolloutPart>().unwrap() {
            self.rows.recall(&row);
        }
    }

    /// Takes a change and writes what comes of it: the new rows.
    fn write(&mut self, change: Change) -> Vec<Rollout> {
        let before = self.store.read_all::<Rollout>().unwrap().len();
        self.rows.take(change, &mut self.summary);
        self.rows.flush(&mut self.summary).unwrap();
        self.store.read_all::<Rollout>().unwrap().split_off(before)
    }
}

fn replaced() -> Rollout {
    Rollout { regenerated: 1, abandoned: true, ..row(TURN) }
}

#[test]
fn going_on_with_another_reply_is_evidence() {
    for restart in [false, true] {
        let mut desk = Desk::new();
        desk.write(Change::Row(Rollout { regenerated: 1, ..row(TURN) }));
        if restart {
            desk.again();
        }
        let written = desk.write(Change::Row(replaced()));
        assert_eq!(written, [Rollout { revision: 1, ..replaced() }]);
        if restart {
            desk.again();
        }
        assert_eq!(desk.write(Change::Row(replaced())), [], "nothing is written twice");
        // The same where the core does not hold the turn any more.
        let late = Late { abandoned: true, regenerated: 1, ..Late::about(TURN) };
        assert_eq!(desk.write(Change::Late(late)), []);
    }
}

#[test]
fn going_on_with_another_reply_comes_late_too() {
    let mut desk = Desk::new();
    desk.write(Change::Row(Rollout { regenerated: 1, ..row(TURN) }));
    desk.again();
    let late = Late { abandoned: true, ..Late::about(TURN) };
    assert_eq!(desk.write(Change::Late(late)), [Rollout { revision: 1, ..replaced() }]);
}

#[test]
fn a_reply_that_was_cut_off_alone_is_no_evidence() {
    let mut desk = Desk::new();
    desk.write(Change::Row(row(TURN)));
    assert_eq!(desk.write(Change::Row(Rollout { abandoned: true, ..row(TURN) })), []);
    let late = Late { abandoned: true, ..Late::about(TURN) };
    assert_eq!(desk.write(Change::Late(late)), []);
}

#[test]
fn a_row_takes_over_what_an_older_one_says() {
    let next = |text: &str| Some(text.to_owned());
    let rated = |given_at_us| Some(Rated { rating: Rating::Up, text: None, given_at_us });
    for (abandoned, regenerated, stays) in [(true, 1, true), (true, 0, false), (false, 1, false)] {
        let mut desk = Desk::new();
        let older = Rollout { abandoned, regenerated, rated: rated(5), ..row(TURN) };
        desk.write(Change::Row(older));
        desk.again();
        let newer = Rollout { next_state: next("[]"), closed_by: None, ..row(TURN) };
        let written = desk.write(Change::Row(newer)).remove(0);
        assert_eq!((written.next_state, written.regenerated), (next("[]"), regenerated));
        assert_eq!((written.closed_by, written.rated), (Some(ClosedBy::NextTurn), rated(5)));
        assert_eq!((written.revision, written.abandoned), (1, stays));

        // And a row that lacks the next state is not left out because of that.
        desk.again();
        let newer = Rollout { abandoned: true, rated: rated(6), ..row(TURN) };
        let written = desk.write(Change::Row(newer)).remove(0);
        assert_eq!((written.next_state, written.revision), (next("[]"), 2));
        assert_eq!((written.rated, written.abandoned), (rated(6), regenerated > 0));
    }
}

/// The turn closed, then rated; the second row cannot be read. Gives it, and its file.
fn unreadable(desk: &mut Desk) -> (Rollout, std::path::PathBuf, Vec<u8>) {
    desk.write(Change::Row(row(TURN)));
    let rated = Some(Rated { rating: Rating::Up, text: None, given_at_us: 5 });
    let newest = desk.write(Change::Row(Rollout { rated, ..row(TURN) })).remove(0);
    desk.again();
    let path = desk.store.segments(Table::Rollouts).unwrap().remove(1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    (newest, path, whole)
}

#[test]
fn what_adds_to_a_row_that_cannot_be_read_waits_for_it() {
    let next = || Some("[1]".to_owned());
    let row_without = || Change::Row(Rollout { next_state: next(), ..row(TURN) });
    let late = || Change::Late(Late { next_state: next(), ..Late::about(TURN) });
    for changes in [vec![row_without()], vec![late()], vec![late(), late()]] {
        let mut desk = Desk::new();
        let (newest, path, whole) = unreadable(&mut desk);
        let mut broken = Vec::new();
        for change in changes {
            broken.extend(desk.rows.take(change, &mut desk.summary));
        }
        assert!(!broken.is_empty(), "it is told");
        desk.rows.try_again(&mut desk.summary);
        desk.rows.flush(&mut desk.summary).unwrap();
        assert_eq!((desk.store.segments(Table::Rollouts).unwrap().len(), desk.rows.kept()), (2, 1));

        std::fs::write(&path, &whole).unwrap();
        desk.rows.try_again(&mut desk.summary);
        desk.rows.flush(&mut desk.summary).unwrap();
        assert_eq!(desk.rows.kept(), 0);
        let rows = desk.store.read_all::<Rollout>().unwrap();
        let expected = Rollout { revision: 2, next_state: next(), ..newest };
        assert_eq!((rows.len(), &rows[2]), (3, &expected), "it says what the unread one says too");
    }
}

#[test]
fn what_waits_is_joined_and_nothing_of_it_is_lost() {
    let mut desk = Desk::new();
    desk.rows.doubt(vec![TurnId(0)..=TURN]);
    let rated = Some(Rated { rating: Rating::Down, text: None, given_at_us: 9 });
    let lates = [
        Late { regenerated: 1, abandoned: true, ..Late::about(TURN) },
        Late { rated: rated.clone(), ..Late::about(TURN) },
    ];
    for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0]] {
        let mut desk = Desk::new();
        desk.rows.doubt(vec![TurnId(0)..=TURN]);
        let rows = [Change::Row(row(TURN))].into_iter();
        let changes: Vec<Change> = rows.chain(lates.clone().map(Change::Late)).collect();
        for at in order {
            assert_eq!(desk.write(changes[at].clone()), []);
        }
        assert_eq!(desk.rows.kept(), 1);
        desk.rows.doubt(Vec::new());
        desk.rows.try_again(&mut desk.summary);
        desk.rows.flush(&mut desk.summary).unwrap();
        let expected = Rollout { rated: rated.clone(), ..replaced() };
        assert_eq!(desk.store.read_all::<Rollout>().unwrap(), [expected]);
    }
    // A turn that is not in doubt is written at once.
    assert_eq!(desk.write(Change::Row(row(TurnId(8)))).len(), 1);
}
