//! Which rows are written, and as which revision.
//!
//! A row of a turn is written when it says more than the rows of the turn that are in the table.
//! So a replay writes nothing twice, and evidence only accumulates.

use std::collections::HashMap;
use std::mem;
use std::ops::RangeInclusive;

use crate::rollout::{Rollout, TurnId};
use crate::store::{Finder, RolloutPart, Store, StoreError, Writer};

use super::change::{Change, Late, rate};
use super::kept::Kept;
use super::summary::CollectSummary;

/// Rows of one segment.
const ROWS_MAX: usize = 1_000;
/// Bytes of text of one segment.
const SEGMENT_BYTES_MAX: usize = 32 << 20;
/// Bytes of text that may wait to be written.
const PENDING_BYTES_MAX: usize = 128 << 20;

/// What may be known of a turn after it was placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Evidence {
    closed: bool,
    next_state: bool,
    regenerated: u32,
    /// Another reply was asked for, and this one left out of the history for it.
    replaced: bool,
    rated_at_us: Option<i64>,
}

impl Evidence {
    fn of(row: &Rollout) -> Self {
        Self {
            closed: row.closed_by.is_some(),
            next_state: row.next_state.is_some(),
            regenerated: row.regenerated,
            replaced: row.abandoned && row.regenerated > 0,
            rated_at_us: row.rated.as_ref().map(|rated| rated.given_at_us),
        }
    }

    /// Whether this says anything that the other does not.
    fn exceeds(self, other: Self) -> bool {
        (self.closed && !other.closed)
            || (self.next_state && !other.next_state)
            || self.regenerated > other.regenerated
            || (self.replaced && !other.replaced)
            || self.rated_at_us > other.rated_at_us
    }
}

/// What the table says of a turn.
#[derive(Clone, Copy, Debug)]
struct Known {
    revision: u32,
    says: Evidence,
}

/// A row that waits to be written.
#[derive(Debug)]
struct Pending {
    /// Position in the order in which the rows came.
    order: u64,
    row: Rollout,
}

/// Rows on their way into the table.
pub struct Rows {
    writer: Writer<Rollout>,
    finder: Finder<Rollout>,
    known: HashMap<TurnId, Known>,
    pending: HashMap<TurnId, Pending>,
    pending_bytes: usize,
    pending_closed: usize,
    next_order: u64,
    /// What the table must be readable for.
    kept: Kept,
    doubt: Vec<RangeInclusive<TurnId>>,
}

impl Rows {
    /// No rows yet.
    pub fn open(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            writer: store.writer("collect")?,
            finder: store.finder(),
            known: HashMap::new(),
            pending: HashMap::new(),
            pending_bytes: 0,
            pending_closed: 0,
            next_order: 0,
            kept: Kept::default(),
            doubt: Vec::new(),
        })
    }

    /// Takes what a row of the table says.
    pub fn recall(&mut self, row: &RolloutPart) {
        let says = Evidence {
            closed: row.placement.closed,
            next_state: row.has_next_state,
            regenerated: row.regenerated,
            replaced: row.abandoned && row.regenerated > 0,
            rated_at_us: row.rated_at_us,
        };
        let new = Known { revision: row.placement.revision, says };
        let known = self.known.entry(row.turn_id).or_insert(new);
        if new.revision >= known.revision {
            *known = new;
        }
    }

    /// Number of turns that have a row in the table.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether a turn has a row, be it one that was not written yet.
    pub fn has(&self, turn: TurnId) -> bool {
        self.known.contains_key(&turn) || self.pending.contains_key(&turn)
    }

    /// The revision of the turn's row that counts.
    pub fn revision(&self, turn: TurnId) -> Option<u32> {
        self.known.get(&turn).map(|known| known.revision)
    }

    /// These turns may have rows in the table that cannot be read at present: what comes of them
    /// waits.
    pub fn doubt(&mut self, turns: Vec<RangeInclusive<TurnId>>) {
        self.doubt = turns;
    }

    fn is_in_doubt(&self, turn: TurnId) -> bool {
        self.doubt.iter().any(|turns| turns.contains(&turn))
    }

    /// Number of turns of which something waits until the table can be read.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Tries again what could not be written because the table could not be read.
    pub fn try_again(&mut self, summary: &mut CollectSummary) {
        let doubt = &self.doubt;
        for change in self.kept.take(|turn| !doubt.iter().any(|turns| turns.contains(&turn))) {
            // What cannot be read has been told.
            self.take(change, summary);
        }
    }

    /// Takes a change; the row that comes of it waits for [`flush`](Self::flush). Gives what could
    /// not be read of the table on the way.
    pub fn take(&mut self, change: Change, summary: &mut CollectSummary) -> Vec<StoreError> {
        let change = self.kept.join(change);
        if !self.is_news(&change) {
            return Vec::new();
        }
        if self.is_in_doubt(change.turn_id()) {
            self.kept.keep(change);
            return Vec::new();
        }
        match change {
            Change::Row(row) => self.take_row(row),
            Change::Late(late) => self.take_late(late, summary),
        }
    }

    /// Whether a change may say anything that the table does not.
    fn is_news(&self, change: &Change) -> bool {
        let turn = change.turn_id();
        if self.pending.contains_key(&turn) {
            return true;
        }
        match (change, self.known.get(&turn)) {
            (Change::Row(row), Some(known)) => Evidence::of(row).exceeds(known.says),
            (Change::Row(_), None) => true,
            (Change::Late(late), Some(known)) => exceeds(late, known.says),
            (Change::Late(_), None) => self.is_in_doubt(turn),
        }
    }

    fn take_row(&mut self, mut row: Rollout) -> Vec<StoreError> {
        let mut broken = Vec::new();
        if let Some(pending) = self.pending.get(&row.turn_id) {
            fill(&mut row, &pending.row);
        } else if let Some(known) = self.known.get(&row.turn_id).copied()
            && known.says.exceeds(Evidence::of(&row))
        {
            // What the core does not hold of the turn any more, or not yet again after a restart.
            let newest;
            (newest, broken) = self.newest(row.turn_id, known);
            let Some(older) = newest else {
                self.kept.keep(Change::Row(row));
                return broken;
            };
            fill(&mut row, &older);
        }
        self.hold(row);
        broken
    }

    fn take_late(&mut self, late: Late, summary: &mut CollectSummary) -> Vec<StoreError> {
        if let Some(pending) = self.pending.remove(&late.turn_id) {
            let Pending { order, mut row } = self.release(pending);
            summary.late += usize::from(late.apply(&mut row));
            self.hold_at(order, row);
            return Vec::new();
        }
        let Some(known) = self.known.get(&late.turn_id).copied() else { return Vec::new() };
        let (newest, broken) = self.newest(late.turn_id, known);
        let Some(mut row) = newest else {
            self.kept.keep(Change::Late(late));
            return broken;
        };
        if late.apply(&mut row) {
            summary.late += 1;
            self.hold(row);
        }
        broken
    }

    /// The row of the turn that counts, as it stands in the table; none where it cannot be read at
    /// present. An older one says less.
    fn newest(&mut self, turn: TurnId, known: Known) -> (Option<Rollout>, Vec<StoreError>) {
        let sought = self.finder.find(turn);
        let mut rows = sought.rows.into_iter();
        (rows.find(|row| row.revision == known.revision), sought.broken)
    }

    fn hold(&mut self, row: Rollout) {
        let order = self.next_order;
        self.next_order += 1;
        self.hold_at(order, row);
    }

    fn hold_at(&mut self, order: u64, row: Rollout) {
        self.pending_bytes += text_bytes(&row);
        self.pending_closed += usize::from(row.closed_by.is_some());
        if let Some(before) = self.pending.insert(row.turn_id, Pending { order, row }) {
            self.release(before);
        }
    }

    /// Counts a row as waiting no more.
    fn release(&mut self, pending: Pending) -> Pending {
        self.pending_bytes -= text_bytes(&pending.row);
        self.pending_closed -= usize::from(pending.row.closed_by.is_some());
        pending
    }

    /// Writes the rows of closed turns if there are enough for a segment; those of open ones
    /// wait, since most are closed soon, unless they become too many. Gives what was written.
    pub fn flush_some(&mut self, summary: &mut CollectSummary) -> Result<Vec<TurnId>, StoreError> {
        if self.pending_bytes > PENDING_BYTES_MAX {
            return self.flush(summary);
        }
        if self.pending_closed < ROWS_MAX {
            return Ok(Vec::new());
        }
        let closed = |pending: &Pending| pending.row.closed_by.is_some();
        let ids = self.pending.iter().filter(|(_, pending)| closed(pending));
        let ids: Vec<TurnId> = ids.map(|(id, _)| *id).collect();
        self.write(ids, summary)
    }

    /// Writes every row that waits; on return they are durable. Gives the turns that had no row
    /// before.
    pub fn flush(&mut self, summary: &mut CollectSummary) -> Result<Vec<TurnId>, StoreError> {
        self.write(self.pending.keys().copied().collect(), summary)
    }

    fn write(
        &mut self,
        ids: Vec<TurnId>,
        summary: &mut CollectSummary,
    ) -> Result<Vec<TurnId>, StoreError> {
        let mut pending: Vec<Pending> = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(taken) = self.pending.remove(&id) {
                pending.push(self.release(taken));
            }
        }
        pending.sort_unstable_by_key(|pending| pending.order);
        let mut placed = Vec::new();
        let (mut segment, mut bytes) = (Vec::new(), 0);
        for Pending { mut row, .. } in pending {
            row.revision = self.known.get(&row.turn_id).map_or(0, |known| known.revision + 1);
            bytes += text_bytes(&row);
            segment.push(row);
            if segment.len() >= ROWS_MAX || bytes >= SEGMENT_BYTES_MAX {
                self.put(&mem::take(&mut segment), summary, &mut placed)?;
                bytes = 0;
            }
        }
        self.put(&segment, summary, &mut placed)?;
        Ok(placed)
    }

    fn put(
        &mut self,
        rows: &[Rollout],
        summary: &mut CollectSummary,
        placed: &mut Vec<TurnId>,
    ) -> Result<(), StoreError> {
        self.writer.append(rows)?;
        for row in rows {
            let says = Evidence::of(row);
            let before = self.known.insert(row.turn_id, Known { revision: row.revision, says });
            let had_next = before.is_some_and(|known| known.says.next_state);
            summary.count(row, before.is_none(), says.next_state && !had_next);
            if before.is_none() {
                placed.push(row.turn_id);
            }
        }
        Ok(())
    }
}

/// Adds to a row what an older row of the same turn says and it does not.
pub(super) fn fill(row: &mut Rollout, older: &Rollout) {
    if row.closed_by.is_none() {
        row.closed_by = older.closed_by;
        row.closed_at_us = older.closed_at_us;
    }
    row.regenerated = row.regenerated.max(older.regenerated);
    // A reply that its user went on with was not left out, unless another one was asked for.
    let stays = row.regenerated > 0;
    row.abandoned = match (&row.next_state, &older.next_state) {
        (None, None) => row.abandoned || older.abandoned,
        (None, Some(_)) => older.abandoned || row.abandoned && stays,
        (Some(_), _) => row.abandoned || older.abandoned && stays,
    };
    if row.next_state.is_none() {
        row.next_state.clone_from(&older.next_state);
    }
    if let Some(rated) = &older.rated {
        rate(row, rated.clone());
    }
}

/// Whether late evidence says anything that the table does not.
fn exceeds(late: &Late, known: Evidence) -> bool {
    Evidence {
        closed: false,
        next_state: late.next_state.is_some(),
        regenerated: late.regenerated,
        replaced: late.abandoned && late.regenerated.max(known.regenerated) > 0,
        rated_at_us: late.rated.as_ref().map(|rated| rated.given_at_us),
    }
    .exceeds(known)
}

/// Bytes of a row in memory, about.
pub(super) fn text_bytes(row: &Rollout) -> usize {
    size_of::<Rollout>()
        + row.messages.len()
        + row.reply.len()
        + row.next_state.as_ref().map_or(0, String::len)
}
