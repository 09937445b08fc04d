//! Changes that wait until the table can be read where they add to it.

use std::collections::HashMap;

use crate::rollout::TurnId;

use super::change::{Change, Late};
use super::rows::{fill, text_bytes};

/// Bytes of text that are kept; what is beyond it comes again with the next start.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// Changes that are tried again at once: each may read a file.
const TRIED_AT_ONCE: usize = 32;

/// One change of each turn, in the order in which they were kept.
#[derive(Default)]
pub struct Kept {
    changes: HashMap<TurnId, (u64, Change)>,
    bytes: usize,
    next_order: u64,
    refused: usize,
}

impl Kept {
    /// Number of changes that wait, or waited in vain for want of room.
    pub fn len(&self) -> usize {
        self.changes.len() + self.refused
    }

    /// Keeps a change of a turn of which none waits.
    pub fn keep(&mut self, change: Change) {
        let bytes = bytes(&change);
        if self.bytes + bytes > KEPT_BYTES_MAX {
            self.refused += 1;
            return;
        }
        self.bytes += bytes;
        self.changes.insert(change.turn_id(), (self.next_order, change));
        self.next_order += 1;
    }

    /// Adds to a change what waits of the same turn, which then waits no more.
    pub fn join(&mut self, change: Change) -> Change {
        let Some(kept) = self.remove(change.turn_id()) else { return change };
        match (kept, change) {
            (Change::Row(kept), Change::Row(mut row)) => {
                fill(&mut row, &kept);
                Change::Row(row)
            }
            (Change::Row(mut row), Change::Late(late))
            | (Change::Late(late), Change::Row(mut row)) => {
                late.apply(&mut row);
                Change::Row(row)
            }
            (Change::Late(first), Change::Late(second)) => Change::Late(both(first, second)),
        }
    }

    /// The changes to try again now, those that were kept first: they wait no more.
    pub fn take(&mut self, may: impl Fn(TurnId) -> bool) -> Vec<Change> {
        let turns = self.changes.iter().filter(|(turn, _)| may(**turn));
        let mut turns: Vec<(u64, TurnId)> = turns.map(|(turn, (at, _))| (*at, *turn)).collect();
        turns.sort_unstable();
        turns.truncate(TRIED_AT_ONCE);
        turns.into_iter().filter_map(|(_, turn)| self.remove(turn)).collect()
    }

    fn remove(&mut self, turn: TurnId) -> Option<Change> {
        let (_, change) = self.changes.remove(&turn)?;
        self.bytes -= bytes(&change);
        Some(change)
    }
}

fn both(first: Late, second: Late) -> Late {
    let given_at = |late: &Late| late.rated.as_ref().map(|rated| rated.given_at_us);
    let second_counts = given_at(&second) >= given_at(&first);
    Late {
        turn_id: first.turn_id,
        next_state: first.next_state.or(second.next_state),
        regenerated: first.regenerated.max(second.regenerated),
        abandoned: first.abandoned || second.abandoned,
        rated: if second_counts { second.rated } else { first.rated },
    }
}

fn bytes(change: &Change) -> usize {
    match change {
        Change::Row(row) => text_bytes(row),
        Change::Late(late) => size_of::<Late>() + late.next_state.as_ref().map_or(0, String::len),
    }
}
